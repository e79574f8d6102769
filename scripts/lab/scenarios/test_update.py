"""Updates from one slot to the other and back, with everything in the slot changing."""

from __future__ import annotations

import zlib
from pathlib import Path

import card
from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import NEXT, Patient, Workshop, copy_of_checkout, replace_text

#: Who has built the kernel, as it says when it starts: the true one, and another of the same length.
KERNEL_NAMES = ("debian-kernel@", "second-kernel@")
#: Of zlib: with the header of a gzip file.
GZIP = 31


def test_there_and_back(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """A to B to A; then the owner returns to B. Initramfs, init and mail are those of each slot."""
    changed = copy_of_checkout(tmp_path / "changed")
    replace_text(changed / "services/init/src/bin/stage1.rs", '"stage1: board {board}', '"stage1 of the second release: board {board}')
    replace_text(changed / "services/init/src/pid1/setup.rs", "there is no watchdog:", "there is no watchdog at all:")
    second = workshop.repacked(workshop.release(NEXT, checkout=changed), "second-kernel", edit=rename_kernel)
    third = workshop.release(NEXT + 1)
    patient = Patient(workshop, boot, tmp_path / "box")
    assert not second_release(patient)

    result = patient.update(second)
    assert result["outcome"] == "kept", result
    patient.check(SLOT_B, NEXT)
    assert second_release(patient)

    patient.update(third)
    report = patient.check(SLOT_A, NEXT + 1)
    assert report["update"]["other"]["number"] == NEXT
    assert not second_release(patient)

    # The same again: there is nothing to do, and nothing is sent.
    result = patient.update(third)
    assert result["outcome"] == "nothing_to_do"

    address = workshop.address(patient.machine)
    workshop.roost("rollback", address, "--yes")
    patient.check(SLOT_B, NEXT)
    # A restart does not change it: it was committed.
    patient.machine.reboot()
    patient.check(SLOT_B, NEXT)


def second_release(patient: Patient) -> bool:
    """Whether this boot began with kernel and initramfs of the second release; not with one of them only."""
    log = "\n".join(patient.machine.logs("kernel", 2000))
    assert (KERNEL_NAMES[1] in log) == ("of the second release" in log), log
    return KERNEL_NAMES[1] in log


def rename_kernel(slot: bytearray) -> None:
    """Makes the kernel tell another address of its builders."""
    start, end = card.kernel(slot)
    unpacked = zlib.decompressobj(GZIP).decompress(bytes(slot[start:end]))
    old, new = (name.encode() for name in KERNEL_NAMES)
    assert old in unpacked and len(old) == len(new)
    packer = zlib.compressobj(9, zlib.DEFLATED, GZIP)
    packed = packer.compress(unpacked.replace(old, new)) + packer.flush()
    # The file keeps its length.
    slot[start:end] = packed.ljust(end - start, b"\0")
    assert len(packed) <= end - start
