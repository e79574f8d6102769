"""One update on the emulated Raspberry Pi, through the firmware's one-shot trial."""

from __future__ import annotations

from pathlib import Path

import elf
from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, Patient, Workshop


def test_good_and_bad_on_a_pi(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """A bad version returns to A by itself, a good one stays in B."""
    # Not stage1: until that has loaded the watchdog's driver, nothing can restart a Pi (docs/limits.md).
    bad = workshop.release(NEXT, replaced={"init": elf.write(tmp_path / "init", elf.EXIT)})
    good = workshop.release(NEXT + 1)
    patient = Patient(workshop, boot, tmp_path / "box", machine="raspi3b")
    patient.rolled_back(bad)
    patient.check(SLOT_A, FIRST)
    assert patient.update(good)["outcome"] == "kept"
    patient.check(SLOT_B, NEXT + 1)
