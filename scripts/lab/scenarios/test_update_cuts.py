"""The power or the connection is cut while an update is written; the next try sends only the rest."""

from __future__ import annotations

import random
from pathlib import Path

from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, Patient, Workshop

#: Cuts while the slot is written, in turn of the connection and of the power.
CUTS = 4


def test_cuts_while_writing(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Each time the old version runs on with its mail; at last the update goes through, with less to send."""
    seed = random.Random(5)
    second = workshop.release(NEXT)
    patient = Patient(workshop, boot, tmp_path / "box")
    whole = patient.update(second, "--dry-run")["outlook"]["offer"]
    for cut in range(CUTS):
        command = workshop.start_update(patient.machine, second)
        assert command.stdout is not None
        # The first progress means that the slot is being written; the cut comes with it or with the next.
        left = seed.randrange(1, 3)
        for line in command.stdout:
            left -= '"progress"' in line and '"send and write"' in line
            if left <= 0:
                break
        if cut % 2:
            patient.machine.power_cut()
        command.kill()
        command.wait(60)
        if cut % 2:
            patient.power_on()
        patient.check(SLOT_A, FIRST)
    rest = patient.update(second, "--dry-run")["outlook"]["offer"]
    assert rest["write"] < whole["write"] and rest["send"] <= whole["send"], (rest, whole)
    result = patient.update(second)
    assert result["outcome"] == "kept" and result["sent_bytes"] <= rest["send"], (result, rest)
    patient.check(SLOT_B, NEXT)
