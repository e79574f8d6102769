"""An update of a box whose data partition is full."""

from __future__ import annotations

from pathlib import Path

import card
from card import SLOT_A, SLOT_B
from clients import STRANGER
from conftest import Boot
from updates import FIRST, NEXT, REFUSED, Patient, Workshop

#: Bytes that are left: not enough for an update; enough for an update, but not for new mail.
TOO_LITTLE = 13 << 20
RESERVE = 26 << 20


def test_disk_full(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Without room it is refused with the reason; where mail stopped, it goes through; mail is kept all the time."""
    good = workshop.release(NEXT)
    patient = Patient(workshop, boot, tmp_path / "box")
    file = patient.state / "virt.card"
    patient.machine.power_off()
    card.fill_data(file, TOO_LITTLE)

    patient.power_on()
    said = patient.update(good, expect=REFUSED)["said"]
    assert "the data partition has" in said, said
    check(patient, SLOT_A, FIRST)

    patient.machine.power_off()
    card.on_data(file, "rm filler")
    card.fill_data(file, RESERVE)
    patient.power_on()
    assert patient.update(good)["outcome"] == "kept"
    patient.machine.hang_up()
    check(patient, SLOT_B, NEXT)

    patient.machine.power_off()
    card.on_data(file, "rm filler")
    patient.power_on()
    patient.check(SLOT_B, NEXT)


def check(patient: Patient, slot: int, number: int) -> None:
    """It runs from this slot, gives its mail out and takes none."""
    report = patient.workshop.report(patient.machine)
    assert (report["machine"]["slot"], report["update"]["running"]["number"]) == (slot, number)
    assert patient.clients.wait_message(patient.message) == patient.kept
    with patient.clients.smtp() as smtp:
        smtp.ehlo()
        assert smtp.mail(STRANGER)[0] == 452
