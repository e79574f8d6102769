"""A new version whose PID 1 does not live."""

from __future__ import annotations

from pathlib import Path

import elf
from conftest import Boot
from updates import NEXT, Patient, Workshop


def test_init_crashes(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """It ends whenever it is started, which is a kernel panic each time."""
    broken = workshop.release(NEXT, replaced={"init": elf.write(tmp_path / "init", elf.EXIT)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(broken)
    assert "did not come up" in reason["summary"], reason
