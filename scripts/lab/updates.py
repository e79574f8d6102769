"""An owner's workshop: releases of one box, their bundles, and updates of a running box."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import Subject
from machine import Machine
from waiting import wait_until

LAB = Path(__file__).resolve().parent
CHECKOUT = LAB.parents[1]
#: TCP port of the device API.
API = 7625
#: Seconds for a whole update of an emulated box: sending, a restart, the gate, perhaps a restart back.
UPDATE_TIMEOUT = 900.0
#: Exit codes of `roost update`.
COMMITTED = 0
ROLLED_BACK = 4


@dataclass(frozen=True)
class Release:
    """What one build gave."""

    number: int
    folder: Path

    @property
    def image(self) -> Path:
        """The whole card."""
        return self.folder / "roost.img"

    @property
    def bundle(self) -> Path:
        """The update to it."""
        return self.folder / "roost.bundle"


class Workshop:
    """Keys, `roost.toml` and releases of one box, made with the `roost` command alone."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        """Makes the box's `roost.toml` and keys, as an owner does on the first day."""
        self.subject = subject
        self.folder = folder
        folder.mkdir(parents=True)
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "home")}
        self.config = folder / "box" / "roost.toml"
        password = folder / "password"
        password.write_text(subject.account.password)
        password.chmod(0o600)
        self.roost(
            "init", str(self.config.parent), "--domain", subject.account.domain, "--account", subject.account.name,
            "--display-name", "Alice Example", "--password-file", str(password),
        )  # fmt: skip

    def roost(self, *arguments: str, checkout: Path = CHECKOUT, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs the command; `expect` is its exit code, `None` for any."""
        done = subprocess.run(
            [str(self.subject.roost), *arguments],
            cwd=checkout, env=self.environment, capture_output=True, text=True, timeout=UPDATE_TIMEOUT, check=False,
        )  # fmt: skip
        assert expect is None or done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def release(
        self, number: int, *, replaced: Mapping[str, Path] | None = None, extra: str = "", checkout: Path = CHECKOUT
    ) -> Release:
        """Builds release `number` and its bundle; `replaced` gives other programs for components."""
        text = self.config.read_text() + extra
        for name, program in (replaced or {}).items():
            digest = subprocess.run(["sha256sum", program], capture_output=True, text=True, check=True).stdout.split()[0]
            text += f'\n[components.{name}]\npath = "{program}"\nsha256 = "{digest}"\n'
        folder = self.folder / f"release-{number}-{len(list(self.folder.glob('release-*')))}"
        config = folder / "roost.toml"
        folder.mkdir()
        config.write_text(text)
        shared = ("--config", str(config), "--output", str(folder), "--release", str(number), "--offline")
        self.roost("build", "--quiet", *shared, checkout=checkout)
        self.roost("bundle", "make", *shared, checkout=checkout)
        return Release(number, folder)

    def update(self, machine: Machine, bundle: Path, *options: str, expect: int | None = COMMITTED) -> dict[str, Any]:
        """`roost update` to its end; gives its last line of JSON, with `stderr` added."""
        done = self.roost(
            "update", self.address(machine), "--config", str(self.config), "--bundle", str(bundle), "--yes", "--json",
            *options, expect=expect,
        )  # fmt: skip
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return {**(lines[-1] if lines else {}), "stderr": done.stderr, "exit": done.returncode, "lines": lines}

    def report(self, machine: Machine) -> dict[str, Any]:
        """`roost status`."""
        done = self.roost("status", self.address(machine), "--config", str(self.config), "--json")
        return json.loads(done.stdout)

    def address(self, machine: Machine) -> str:
        """Where the box's device API answers from here."""
        return f"127.0.0.1:{machine.forwards[API]}"


def copy_of_checkout(to: Path) -> Path:
    """The files of this checkout, to be changed."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in names.decode().split("\0"):
        if name and (CHECKOUT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, to / name)
    return to


def wait_slot(machine: Machine, slot: int, timeout: float = UPDATE_TIMEOUT) -> dict[str, Any]:
    """Waits until the box runs from a slot (2 = A, 3 = B), not on trial and ready; gives init's status."""

    def there() -> dict[str, Any] | None:
        status = machine.status()
        return status if status["slot"] == slot and status["ready"] and status["trial_left_s"] is None else None

    return wait_until(f"slot {slot} in regular service", there, timeout, interval=1.0, retry_on=(OSError, ValueError))


