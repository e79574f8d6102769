"""The portal of a booted box in Chromium: pairing, every page, a phone's width, what a screen reader needs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conftest import Boot
from laptop import HTTPS

CHECKOUT = Path(__file__).resolve().parents[3]
#: Made by scripts/setup.
PYTHON = CHECKOUT / "build/tools/bin/python"
#: Seconds for all of it; each page is looked at four times.
JOURNEY_TIMEOUT = 1200.0


def test_owner_in_a_browser(boot: Boot, tmp_path: Path) -> None:
    """The tests of scripts/lab/browser, which also run without a box, with one that is new."""
    machine = boot(tmp_path / "box", cpus=2)
    machine.wait_ready()
    assert machine.code
    box = {"ROOST_URL": f"https://127.0.0.1:{machine.forwards[HTTPS]}", "ROOST_CODE": machine.code}
    done = subprocess.run(
        [str(PYTHON), "-m", "pytest", "-p", "no:cacheprovider", "-q", str(CHECKOUT / "scripts/lab/browser")],
        cwd=tmp_path, env={**os.environ, **box}, capture_output=True, text=True, timeout=JOURNEY_TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert machine.service("portal")["restarts"] == 0
