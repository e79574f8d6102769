"""A new version whose PID 1 hangs: the watchdog ends it."""

from __future__ import annotations

from pathlib import Path

import elf
from conftest import Boot
from updates import NEXT, Patient, Workshop


def test_init_hangs(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """It never ends, waits for nothing and feeds nothing; stage1 has left the watchdog running."""
    hanging = workshop.release(NEXT, replaced={"init": elf.write(tmp_path / "init", elf.HANG)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(hanging)
    assert "did not come up" in reason["summary"], reason
