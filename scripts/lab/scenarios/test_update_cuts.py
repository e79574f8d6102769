"""The connection, then the power is cut while an update is written; the next try sends only the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, Patient, Workshop


#: More bytes than the box writes between two syncs (`disk.rs` of the updater), twice.
SYNCED = 32 << 20


def written(line: str, to_write: int) -> int:
    """How many of the bytes to write are written, if a line of `roost update` says so."""
    event = json.loads(line)
    if event.get("name") != "send and write" or "position" not in event:
        return 0
    return int(event["position"]) - (int(event["total"]) - to_write)


@pytest.mark.parametrize("power", [False, True], ids=["connection", "power"])
def test_cut_while_writing(boot: Boot, workshop: Workshop, tmp_path: Path, power: bool) -> None:
    """The old version runs on with its mail; then the update goes through, with less to write and no more to send."""
    second = workshop.release(NEXT)
    patient = Patient(workshop, boot, tmp_path / "box")
    whole = patient.update(second, "--dry-run")["outlook"]["offer"]
    command = workshop.start_update(patient.machine, second)
    assert command.stdout is not None
    # A part of the slot is on the card, and most of it is not.
    assert any(written(line, whole["write"]) >= SYNCED for line in command.stdout)
    if power:
        patient.machine.power_cut()
    command.kill()
    command.wait(60)
    if power:
        patient.power_on()
    patient.check(SLOT_A, FIRST)

    rest = patient.update(second, "--dry-run")["outlook"]["offer"]
    assert rest["write"] < whole["write"] and rest["send"] <= whole["send"], (rest, whole)
    result = patient.update(second)
    assert result["outcome"] == "kept" and result["sent_bytes"] <= rest["send"], (result, rest)
    patient.check(SLOT_B, NEXT)
