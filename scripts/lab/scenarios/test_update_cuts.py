"""The connection, then the power is cut while an update is written; the next try sends only the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, Patient, Workshop


@pytest.mark.parametrize("power", [False, True], ids=["connection", "power"])
def test_cut_while_writing(boot: Boot, workshop: Workshop, tmp_path: Path, power: bool) -> None:
    """The old version runs on with its mail; then the update goes through, with less to write and no more to send."""
    second = workshop.release(NEXT)
    patient = Patient(workshop, boot, tmp_path / "box")
    whole = patient.update(second, "--dry-run")["outlook"]["offer"]
    command = workshop.start_update(patient.machine, second)
    assert command.stdout is not None
    # The first progress means that a part of the slot is written, and most of it is not.
    assert any('"send and write"' in line and '"position"' in line for line in command.stdout)
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
