"""A new version whose initramfs is broken."""

from __future__ import annotations

from pathlib import Path

import elf
from conftest import Boot
from updates import NEXT, Patient, Workshop


def test_broken_initramfs(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Its program ends at once."""
    broken = workshop.release(NEXT, replaced={"stage1": elf.write(tmp_path / "stage1", elf.EXIT)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(broken)
    assert "did not come up" in reason["summary"], reason
