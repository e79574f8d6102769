"""An update that the owner sends from a file in the browser."""

from __future__ import annotations

import subprocess
from pathlib import Path

from card import SLOT_B
from conftest import Boot
from laptop import HTTPS
from updates import NEXT, UPDATE_TIMEOUT, Patient, Workshop
from waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[3]
#: Made by scripts/setup.
PYTHON = CHECKOUT / "build/tools/bin/python"


def test_update_from_a_browser(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The page refuses another file, offers the bundle, sends what the box lacks; the box tries and keeps it."""
    good = workshop.release(NEXT)
    patient = Patient(workshop, boot, tmp_path / "box")
    workshop.address(patient.machine)
    foreign = tmp_path / "holiday.bundle"
    foreign.write_bytes(b"no bundle at all" * 100)
    url = f"https://127.0.0.1:{patient.machine.forwards[HTTPS]}"
    done = subprocess.run(
        [str(PYTHON), str(CHECKOUT / "scripts/lab/browser/send_update.py"), url, str(workshop.admin_password),
         str(foreign), str(good.bundle)],
        capture_output=True, text=True, timeout=UPDATE_TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

    def kept() -> bool:
        last = workshop.report(patient.machine)["update"]["last"]
        return last is not None and last["to"]["number"] == NEXT

    wait_until("the end of the trial", kept, UPDATE_TIMEOUT, interval=2.0, retry_on=(AssertionError,))
    patient.check(SLOT_B, NEXT)
