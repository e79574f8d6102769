"""A new version that has no network is kept: a home's line being down is no fault of the update."""

from __future__ import annotations

from pathlib import Path

from card import SLOT_B
from conftest import Boot
from updates import Patient, Workshop, wait_slot

#: A network that is not the emulator's: nothing answers there, and nobody reaches the box.
ELSEWHERE = """
[network]
mode = "static"
address = "192.0.2.7/24"
gateway = "192.0.2.1"
dns = ["192.0.2.1"]
"""


def test_network_down(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The box cannot reach anything and cannot be reached; mail works on it, so the version is committed."""
    offline = workshop.release(2, extra=ELSEWHERE)
    patient = Patient(workshop, boot, tmp_path / "box")
    # The command cannot hear how it ended; it is not waited for.
    command = patient.workshop.start_update(patient.machine, offline)
    patient.machine.wait_event("reset", 300)
    wait_slot(patient.machine, SLOT_B)
    patient.machine.reboot()
    wait_slot(patient.machine, SLOT_B)
    command.terminate()
    command.wait(60)
