"""A slot with a damaged root file system, though the bundle is right in itself."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot
from updates import NEXT, Patient, Workshop


def test_slot_flipped(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """dm-verity does not let it boot; the box returns."""
    # Byte 1024 on is the file system's superblock, which is read first of all.
    damaged = workshop.repacked(workshop.release(NEXT), "slot-flipped", flipped=1024 + 100)
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(damaged)
    assert "by itself" in reason["summary"], reason
