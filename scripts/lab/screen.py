"""The block on the box's console, and cards that have something to show there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from conftest import Subject
from machine import Machine

NAME = "attic"
#: Seconds from ready to the block: the portal speaks, then nothing may change for two seconds.
SHOWN_TIMEOUT = 60.0
#: Every log that there is.
LOGS = ("init", "kernel", "portal", "mail", "updater")


def flash(subject: Subject, card: Path) -> dict[str, str]:
    """Makes a card with a name and a code of its own; returns what `roost flash` said at the end."""
    command = [str(subject.roost), "flash", str(card), "--image", str(subject.image), "--name", NAME, "--yes", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def block(console: str) -> str:
    """The last whole block on a console; empty if there is none."""
    found = re.findall(r"^\+-+\+\r?\n((?:\|.*\|\r?\n)+)\+-+\+", console, re.MULTILINE)
    return found[-1] if found else ""


def logs(machine: Machine) -> str:
    """All logs of the box."""
    return "\n".join(line for name in LOGS for line in machine.logs(name, 5000))
