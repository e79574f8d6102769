"""Bundles that a box does not take: nothing is written, and it says why."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import card
from conftest import Boot, Subject
from updates import Patient, Release, Workshop


def slot_b(state: Path) -> str:
    """SHA-256 of the other slot on the card."""
    file = state / "virt.card"
    start, length = card.partition(file, card.SLOT_B)
    with file.open("rb") as opened:
        opened.seek(start)
        return hashlib.sha256(opened.read(length)).hexdigest()


def altered(release: Release, folder: Path, data: bytes) -> Release:
    """The same release with another bundle."""
    folder.mkdir()
    (folder / release.bundle.name).write_bytes(data)
    return replace(release, folder=folder)


def flipped(data: bytes, place: int) -> bytes:
    """The same bytes with one bit turned."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def test_refused_bundles(boot: Boot, subject: Subject, workshop: Workshop, tmp_path: Path) -> None:
    """Somebody else's key, a turned bit in each part, a short file, an older version."""
    good = workshop.release(2)
    older = workshop.release(0)
    state = tmp_path / "box"
    patient = Patient(workshop, boot, state)
    before = slot_b(state)
    data = good.bundle.read_bytes()

    def refused(release: Release, *options: str) -> str:
        result = patient.update(release, *options, expect=1)
        assert result["said"].startswith("error: "), result
        assert slot_b(state) == before
        return result["said"]

    strangers = Workshop(subject, tmp_path / "stranger").release(2)
    assert "key" in refused(strangers)
    # Header, signature, manifest, tables: none of them may be other than signed.
    for place in (3, 60, 300, 20_000):
        refused(altered(good, tmp_path / f"bit-{place}", flipped(data, place)))
    refused(altered(good, tmp_path / "short", data[: len(data) // 2]))
    assert "older" in refused(older)
    patient.check(card.SLOT_A, workshop.first.number)

    # The same box still takes the good one.
    assert patient.update(good)["outcome"] == "kept"
    patient.check(card.SLOT_B, 2)
