"""A bundle with a bit turned in what is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, REFUSED, Patient, Workshop, copy_of_checkout, flipped, replace_text


def test_chunk_flipped(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Found when it arrives; the box serves on. The bundle as it was is taken after that."""
    # Something that is sent whole: deltas come last in the file, so its last byte is in one.
    changed = copy_of_checkout(tmp_path / "changed")
    replace_text(changed / "services/init/src/pid1/setup.rs", "there is no watchdog:", "there is no watchdog at all:")
    good = workshop.release(NEXT, checkout=changed)
    data = good.bundle.read_bytes()
    folder = tmp_path / "flipped"
    folder.mkdir()
    bad = replace(good, folder=folder)
    bad.bundle.write_bytes(flipped(data, len(data) - 10))

    patient = Patient(workshop, boot, tmp_path / "box")
    said = patient.update(bad, expect=REFUSED)["said"]
    assert '"event":"error"' in said, said
    patient.check(SLOT_A, FIRST)
    assert patient.update(good)["outcome"] == "kept"
    patient.check(SLOT_B, NEXT)
