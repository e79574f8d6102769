"""A damaged root file system is noticed: the box restarts and runs nothing of it."""

from __future__ import annotations

from pathlib import Path

import card
from conftest import CARD_BYTES, Boot, Subject
from machine import BOOT_TIMEOUT

#: Of every block of the file system one bit is turned; blocks of this many bytes.
BLOCK = 4096
#: Bytes from the start of the file system that are damaged: the programs are among them.
DAMAGED = 16 << 20


def test_one_bit_in_each_block(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Restart instead of running what nobody signed for; an undamaged card boots in the other scenarios."""
    state = tmp_path / "box"
    file = card.insert(subject.image, state, CARD_BYTES)
    start, length = card.partition(file, card.SLOT_A)
    with file.open("r+b") as opened:
        opened.seek(start)
        slot = opened.read(length)
        root = card.root_image(slot)
        # The superblock itself stays good: mounting it must succeed, or verity proves nothing.
        damaged = bytearray(slot[root : root + DAMAGED])
        for at in range(BLOCK, DAMAGED, BLOCK):
            damaged[at + BLOCK // 2] ^= 1
        opened.seek(start + root)
        opened.write(damaged)

    machine = boot(state)
    machine.wait_event("reset", BOOT_TIMEOUT)
    machine.wait_event("reset", BOOT_TIMEOUT)
    assert "verity" in machine.console() and "corrupted" in machine.console()
    assert "services ready" not in machine.console()
