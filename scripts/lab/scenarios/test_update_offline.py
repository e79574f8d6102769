"""A new version that cannot reach the internet is kept: a home's line being down is no fault of the update."""

from __future__ import annotations

from pathlib import Path

from card import SLOT_B
from conftest import Boot
from updates import NEXT, Patient, Workshop

#: The emulator's network, but with a gateway and a name server that are not there.
OFFLINE = """
mode = "static"
address = "10.0.2.15/24"
gateway = "10.0.2.77"
dns = ["10.0.2.78"]
"""


def test_internet_down(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Nothing outside answers any more; mail works on the box, so the version is committed."""
    patient = Patient(workshop, boot, tmp_path / "box")
    assert patient.update(workshop.release(NEXT, tables={"network": OFFLINE}))["outcome"] == "kept"
    patient.check(SLOT_B, NEXT)
