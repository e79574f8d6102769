"""An update of a box whose data partition is full."""

from __future__ import annotations

import subprocess
from pathlib import Path

import card
from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, REFUSED, Patient, Workshop

#: Bytes that are left: enough for messages, not for an update.
LEFT = 13 << 20
#: What ext4 keeps for itself on a file system that has grown (`s_resv_clusters`, from the second mount on).
RESERVED = 16 << 20


def test_disk_full(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """It is refused with the reason, mail goes on; with room again it goes through."""
    good = workshop.release(NEXT)
    patient = Patient(workshop, boot, tmp_path / "box")
    free = patient.machine.status()["data_free"]
    patient.machine.power_off()
    filler = tmp_path / "filler"
    filler.write_bytes(b"\xa5" * (free - RESERVED - LEFT))
    on_card(patient, f"write {filler} filler")

    patient.power_on()
    said = patient.update(good, expect=REFUSED)["said"]
    assert "the data partition has" in said, said
    patient.check(SLOT_A, FIRST)

    patient.machine.power_off()
    on_card(patient, "rm filler")
    patient.power_on()
    assert patient.update(good)["outcome"] == "kept"
    patient.check(SLOT_B, NEXT)


def on_card(patient: Patient, request: str) -> None:
    """Changes the data file system while the box is off."""
    file = patient.state / "virt.card"
    start, _ = card.partition(file, card.DATA)
    done = subprocess.run(
        ["debugfs", "-w", "-R", request, f"{file}?offset={start}"], capture_output=True, text=True, check=True
    )
    # It says what failed and ends with 0.
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
    assert not complaints, complaints
