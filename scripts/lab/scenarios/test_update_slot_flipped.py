"""A slot with a damaged root file system, though the bundle is right in itself."""

from __future__ import annotations

from pathlib import Path

import card
from conftest import Boot
from updates import NEXT, Patient, Workshop


def test_slot_flipped(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """dm-verity does not let it boot; the box returns."""

    def flip(slot: bytearray) -> None:
        # In the file system's superblock, which is read first of all.
        slot[card.root_image(slot) + card.EROFS_SUPERBLOCK + 100] ^= 1

    damaged = workshop.repacked(workshop.release(NEXT), "slot-flipped", edit=flip)
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(damaged)
    assert "did not come up" in reason["summary"], reason
