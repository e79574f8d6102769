"""A box's card as a file: where its partitions lie, and what is on them."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
from pathlib import Path

#: Offset of the first entry of a master boot record, and the length of an entry, in bytes.
FIRST_ENTRY = 446
ENTRY = 16
#: Where an entry keeps its first sector; the number of sectors follows.
START = 8
SECTOR = 512
#: Where an erofs keeps its superblock, and how that begins (Linux, fs/erofs/erofs_fs.h).
EROFS_SUPERBLOCK = 1024
EROFS_MAGIC = b"\xe2\xe1\xf5\xe0"
#: How a cpio archive and a gzip file begin, and where files begin in a slot (multiples of it).
CPIO_MAGIC = b"070701"
GZIP_MAGIC = b"\x1f\x8b\x08\x00"
CLUSTER = 4096
#: Partition numbers.
SLOT_A = 2
SLOT_B = 3
DATA = 4
#: What ext4 keeps for itself while it is mounted (`ext4_calculate_resv_clusters`): a part of its blocks, up to so many.
KEPT_PART = 50
KEPT_BLOCKS = 4096
#: Bytes that are read at once.
PIECE = 1 << 20


def partition(image: Path, number: int) -> tuple[int, int]:
    """First byte and length of a partition."""
    with image.open("rb") as file:
        start, sectors = struct.unpack_from("<II", file.read(SECTOR), FIRST_ENTRY + (number - 1) * ENTRY + START)
    return start * SECTOR, sectors * SECTOR


def root_image(slot: bytes | bytearray) -> int:
    """Where the root file system begins in a slot: on a sector, with its magic in the right place."""
    at = slot.find(EROFS_MAGIC)
    while at >= 0 and (at - EROFS_SUPERBLOCK) % SECTOR:
        at = slot.find(EROFS_MAGIC, at + 1)
    assert at >= 0, "no erofs in the slot"
    return at - EROFS_SUPERBLOCK


def kernel(slot: bytes | bytearray) -> tuple[int, int]:
    """First byte of the packed kernel in a slot, and the one behind it: the initramfs follows."""
    end = slot.index(CPIO_MAGIC)
    return max(at for at in range(0, end, CLUSTER) if slot[at : at + 4] == GZIP_MAGIC), end


def insert(image: Path, state: Path, size: int) -> Path:
    """Puts a fresh card of `size` bytes into a virt machine that has not been started yet."""
    state.mkdir(parents=True)
    card = state / "virt.card"
    shutil.copyfile(image, card)
    with card.open("r+b") as file:
        file.truncate(size)
    return card


def on_data(card: Path, request: str) -> str:
    """Has debugfs do something to the data file system while the box is off; returns what it says."""
    start, _ = partition(card, DATA)
    done = subprocess.run(
        ["debugfs", "-w", "-R", request, f"{card}?offset={start}"], capture_output=True, text=True, check=True
    )
    # It says what failed and ends with 0.
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
    assert not complaints, complaints
    return done.stdout


def fill_data(card: Path, left: int) -> None:
    """Fills the data file system of a box that is off until services have so many bytes left."""
    said = on_data(card, "show_super_stats -h")
    block, blocks, free, for_root = (
        int(re.search(rf"^{name}:\s+(\d+)$", said, re.MULTILINE).group(1))
        for name in ("Block size", "Block count", "Free blocks", "Reserved block count")
    )
    filler = card.with_name("filler")
    filler.write_bytes(b"\xa5" * ((free - for_root - min(blocks // KEPT_PART, KEPT_BLOCKS)) * block - left))
    on_data(card, f"write {filler} filler")
    filler.unlink()


def digest(card: Path) -> str:
    """SHA-256 of everything on the card."""
    with card.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
