"""The power or the connection is cut while an update is written; the next try sends only the rest."""

from __future__ import annotations

import random
from pathlib import Path

from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, Patient, Workshop

#: Power cuts while the slot is written.
CUTS = 3


def test_cuts_while_writing(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Each time the old version runs on with its mail; at last the update goes through."""
    seed = random.Random(5)
    second = workshop.release(NEXT)
    patient = Patient(workshop, boot, tmp_path / "box")
    for _ in range(CUTS):
        command = workshop.start_update(patient.machine, second)
        assert command.stdout is not None
        # The first progress means that the slot is being written; the cut comes a random number of them later.
        left = seed.randrange(1, 12)
        for line in command.stdout:
            left -= '"progress"' in line and '"send and write"' in line
            if left <= 0:
                break
        patient.machine.power_cut()
        command.kill()
        command.wait(60)
        patient.power_on()
        patient.check(SLOT_A, FIRST)
    assert patient.update(second)["outcome"] == "kept"
    patient.check(SLOT_B, NEXT)
