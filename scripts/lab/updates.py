"""An owner's workshop: releases of one box, their bundles, and updates of a running box."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from card import SLOT_A
from clients import DELIVERY_TIMEOUT, STRANGER, Clients, new_message
from conftest import Boot, Subject
from machine import BOOT_TIMEOUT, PI_BOOT_TIMEOUT, Machine
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
        """Makes the box's `roost.toml` and keys, as an owner does on the first day, and its first image."""
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
        #: What is on a new card.
        self.first = self.release(1)

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
            digest = hashlib.sha256(program.read_bytes()).hexdigest()
            text += f'\n[components.{name}]\npath = "{program}"\nsha256 = "{digest}"\n'
        folder = self.folder / f"release-{number}-{len(list(self.folder.glob('release-*')))}"
        config = folder / "roost.toml"
        folder.mkdir()
        config.write_text(text)
        shared = ("--config", str(config), "--output", str(folder), "--release", str(number), "--offline")
        self.roost("build", "--quiet", *shared, checkout=checkout)
        self.roost("bundle", "make", "--quiet", *shared, checkout=checkout)
        return Release(number, folder)

    def update(
        self, machine: Machine, release: Release, *options: str, expect: int | None = COMMITTED
    ) -> dict[str, Any]:
        """`roost update` to its end; gives its result, with what it said on standard error as `said`."""
        command = ("update", self.address(machine), "--config", str(self.config), "--bundle", str(release.bundle))
        done = self.roost(*command, "--yes", "--json", *options, expect=expect)
        results = [line for line in map(json.loads, done.stdout.splitlines()) if line.get("event") == "result"]
        return {**(results[-1] if results else {}), "said": done.stderr}

    def start_update(self, machine: Machine, release: Release) -> subprocess.Popen[str]:
        """`roost update`, without waiting for its end."""
        command = ("update", self.address(machine), "--config", str(self.config), "--bundle", str(release.bundle))
        return subprocess.Popen(
            [str(self.subject.roost), *command, "--yes", "--json"],
            cwd=CHECKOUT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def report(self, machine: Machine) -> dict[str, Any]:
        """`roost status`."""
        done = self.roost("status", self.address(machine), "--config", str(self.config), "--json")
        return json.loads(done.stdout.splitlines()[-1])

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


def replace_text(file: Path, old: str, new: str) -> None:
    """Changes the one place in a source file that says `old`."""
    text = file.read_text()
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file.name}"
    file.write_text(text.replace(old, new))


class Patient:
    """A box with mail in it, which updates are tried on."""

    def __init__(self, workshop: Workshop, boot: Boot, state: Path, *, machine: str = "virt") -> None:
        """Boots the first release and delivers a message."""
        self.workshop = workshop
        self.machine = boot(state, machine=machine, image=workshop.first.image)
        self.machine.wait_ready(BOOT_TIMEOUT if machine == "virt" else PI_BOOT_TIMEOUT)
        self.clients = Clients(self.machine.forwards, workshop.subject.account, state)
        self.message = new_message("from before the update", STRANGER, workshop.subject.account.address)
        self.clients.deliver(self.message)
        self.kept = self.clients.wait_message(self.message)

    def update(self, release: Release, *options: str, expect: int | None = COMMITTED) -> dict[str, Any]:
        """`roost update` to its end."""
        return self.workshop.update(self.machine, release, *options, expect=expect)

    def check(self, slot: int, number: int) -> dict[str, Any]:
        """It is in regular service from this slot, with this version and its mail; gives the report."""
        report = self.workshop.report(self.machine)
        machine = report["machine"]
        assert (machine["slot"], report["update"]["running"]["number"]) == (slot, number)
        assert machine["ready"] and machine["rescue"] is None and machine["trial_left_s"] is None
        assert report["update"]["phase"]["phase"] in ("idle", "staged")
        assert self.clients.wait_message(self.message) == self.kept
        later = new_message("after the update", STRANGER, self.workshop.subject.account.address)
        self.clients.deliver(later)
        self.clients.wait_message(later)
        return report

    def rolled_back(self, release: Release) -> dict[str, Any]:
        """The update fails on the box, which returns by itself; gives the reason."""
        result = self.update(release, expect=ROLLED_BACK)
        assert result["outcome"] == "rolled_back", result
        report = self.check(SLOT_A, self.workshop.first.number)
        last = report["update"]["last"]
        assert last["to"]["number"] == release.number and last["rolled_back"], last
        self.told_owner(release)
        return last["rolled_back"]

    def told_owner(self, release: Release) -> None:
        """There is a message about it in the owner's inbox."""

        def found() -> bool:
            with self.clients.imap() as imap:
                imap.select("INBOX", readonly=True)
                _, numbers = imap.search(None, "HEADER", "Subject", f"+{release.number}", "FROM", "postmaster")
                return bool(numbers[0])

        wait_until("the box's message to its owner", found, DELIVERY_TIMEOUT, interval=1.0)
