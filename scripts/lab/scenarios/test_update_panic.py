"""A new version whose kernel panics: the box returns by itself."""

from __future__ import annotations

from pathlib import Path

import elf
from conftest import Boot
from updates import Patient, Workshop


def test_broken_initramfs(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The initramfs' program ends at once, which is a kernel panic."""
    broken = workshop.release(2, replaced={"stage1": elf.write(tmp_path / "stage1", elf.EXIT)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(broken)
    assert "by itself" in reason["summary"], reason


def test_init_that_ends(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """PID 1 ends, whenever it is started."""
    broken = workshop.release(2, replaced={"init": elf.write(tmp_path / "init", elf.EXIT)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(broken)
    assert "by itself" in reason["summary"], reason
