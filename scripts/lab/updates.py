"""An owner's workshop: releases of one box, their bundles, and updates of a running box."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from card import SLOT_A, SLOT_B, partition
from clients import DELIVERY_TIMEOUT, STRANGER, Clients, new_message
from conftest import Boot, Subject
from laptop import API, HTTPS
from machine import BOOT_TIMEOUT, PI_BOOT_TIMEOUT, Machine
from waiting import wait_until

LAB = Path(__file__).resolve().parent
CHECKOUT = LAB.parents[1]
#: Admin password of every box that is paired here.
ADMIN_PASSWORD = "wobbly lantern orbits quietly"
#: Seconds for a whole update of an emulated box: sending, a restart, the gate, perhaps a restart back.
UPDATE_TIMEOUT = 1800.0
#: Number of the release on a new card, and of one after it.
FIRST = 10
NEXT = 11
#: zstd level of bundles: packing as tightly as for owners takes most of a minute of two processors each time.
PACKING = "6"
#: Where `roost build` notes the releases of a box.
HISTORY = "roost.release.json"
#: Exit codes of `roost update`.
COMMITTED = 0
ROLLED_BACK = 4
REFUSED = 1


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
        #: Fingerprints of the boxes that this laptop is paired with.
        self._paired: set[str] = set()
        self.admin_password = folder / "admin-password"
        self.admin_password.write_text(ADMIN_PASSWORD)
        self.admin_password.chmod(0o600)
        password = folder / "password"
        password.write_text(subject.account.password)
        password.chmod(0o600)
        self.roost(
            "init", str(self.config.parent), "--domain", subject.account.domain, "--account", subject.account.name,
            "--display-name", "Alice Example", "--password-file", str(password),
        )  # fmt: skip
        #: What is on a new card.
        self.first: Release | None = None
        self.first = self.release(FIRST)

    def roost(self, *arguments: str, checkout: Path = CHECKOUT, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Runs the command; `expect` is its exit code, `None` for any."""
        done = subprocess.run(
            [str(self.subject.roost), *arguments],
            cwd=checkout, env=self.environment, capture_output=True, text=True, timeout=UPDATE_TIMEOUT, check=False,
        )  # fmt: skip
        assert expect is None or done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def release(
        self,
        number: int,
        *,
        replaced: Mapping[str, Path] | None = None,
        tables: Mapping[str, str] | None = None,
        checkout: Path = CHECKOUT,
    ) -> Release:
        """Builds release `number` and its bundle.

        `replaced` gives other programs for components, `tables` more lines for tables of `roost.toml`.
        """
        text = self.config.read_text()
        for name, lines in (tables or {}).items():
            assert text.count(f"\n[{name}]\n") == 1
            text = text.replace(f"\n[{name}]\n", f"\n[{name}]\n{lines}\n")
        for name, program in (replaced or {}).items():
            digest = hashlib.sha256(program.read_bytes()).hexdigest()
            text += f'\n[components.{name}]\npath = "{program}"\nsha256 = "{digest}"\n'
        folder = self.folder / f"release-{number}-{len(list(self.folder.glob('release-*')))}"
        config = folder / "roost.toml"
        folder.mkdir()
        config.write_text(text)
        shared = ("--config", str(config), "--output", str(folder), "--release", str(number), "--offline")
        if self.first:
            # The list of earlier releases, as in the folder of one owner; and what the first
            # bundle has packed is not packed again.
            for name in (HISTORY, self.first.bundle.name):
                shutil.copyfile(self.first.folder / name, folder / name)
        # Builds the image as well.
        self.roost("bundle", "make", "--quiet", "--level", PACKING, *shared, checkout=checkout)
        (folder / "roost.img.zst").unlink()
        return Release(number, folder)

    def repacked(
        self, release: Release, name: str, *options: str, edit: Callable[[bytearray], None] = lambda slot: None
    ) -> Release:
        """The same slot in another bundle: with other options of `roost bundle make`, or with bytes changed."""
        report = json.loads((release.folder / "roost.build.json").read_text())
        start, _ = partition(release.image, SLOT_A)
        with release.image.open("rb") as file:
            file.seek(start)
            slot = bytearray(file.read(report["slot_bytes"]))
        edit(slot)
        folder = self.folder / name
        folder.mkdir()
        (folder / "slot.img").write_bytes(slot)
        shutil.copyfile(release.bundle, folder / release.bundle.name)
        self.roost(
            "bundle", "make", "--quiet", "--level", PACKING, "--config", str(release.folder / "roost.toml"), "--output", str(folder),
            "--slot", str(folder / "slot.img"), "--root-hash", report["root_hash"], "--release", str(release.number),
            *options,
        )  # fmt: skip
        (folder / "slot.img").unlink()
        return Release(release.number, folder)

    def update(
        self, machine: Machine, release: Release, *options: str, expect: int | None = COMMITTED
    ) -> dict[str, Any]:
        """`roost update` to its end; gives its result, with everything that it said as `said`."""
        command = ("update", self.address(machine), "--bundle", str(release.bundle))
        done = self.roost(*command, "--yes", "--json", *options, expect=expect)
        results = [line for line in map(json.loads, done.stdout.splitlines()) if line.get("event") == "result"]
        return {**(results[-1] if results else {}), "said": done.stdout + done.stderr}

    def start_update(self, machine: Machine, release: Release) -> subprocess.Popen[str]:
        """`roost update`, without waiting for its end."""
        command = ("update", self.address(machine), "--bundle", str(release.bundle))
        return subprocess.Popen(
            [str(self.subject.roost), *command, "--yes", "--json"],
            cwd=CHECKOUT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def report(self, machine: Machine) -> dict[str, Any]:
        """`roost status`."""
        done = self.roost("status", self.address(machine), "--json")
        return json.loads(done.stdout.splitlines()[-1])

    def address(self, machine: Machine) -> str:
        """Where the box's device API answers from here. A box that is new to this laptop is paired first."""
        if machine.fingerprint not in self._paired:
            self.pair(machine)
        return f"127.0.0.1:{machine.forwards[API]}"

    def pair(self, machine: Machine, *options: str, code: str | None = None, expect: int | None = 0) -> dict[str, Any]:
        """`roost pair` with the code of the machine's card, or another; gives its last event."""
        assert machine.fingerprint and machine.code, "the card has no code"
        done = self.roost(
            "pair", f"127.0.0.1:{machine.forwards[HTTPS]}", "--api-port", str(machine.forwards[API]),
            "--fingerprint", machine.fingerprint, "--code", code or machine.code,
            "--password-file", str(self.admin_password), "--json", *options, expect=expect,
        )  # fmt: skip
        if done.returncode == 0:
            self._paired.add(machine.fingerprint)
        return json.loads(done.stdout.splitlines()[-1])


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

    def __init__(
        self,
        workshop: Workshop,
        boot: Boot,
        state: Path,
        *,
        machine: str = "virt",
        first: Release | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        """Boots a release, the workshop's first if no other, and delivers a message."""
        self.workshop = workshop
        self.state = state
        first = first or workshop.first
        self._boot = lambda: boot(state, machine=machine, image=first.image, options=options)
        self._boot_timeout = BOOT_TIMEOUT if machine == "virt" else PI_BOOT_TIMEOUT
        self.power_on()
        self.message = new_message("from before the update", STRANGER, workshop.subject.account.address)
        self.clients.deliver(self.message)
        self.kept = self.clients.wait_message(self.message)

    def power_on(self) -> None:
        """Starts the box with the card as it is."""
        self.machine = self._boot()
        self.machine.wait_ready(self._boot_timeout)
        self.clients = Clients(self.machine.forwards, self.workshop.subject.account, self.state)

    def update(self, release: Release, *options: str, expect: int | None = COMMITTED) -> dict[str, Any]:
        """`roost update` to its end."""
        return self.workshop.update(self.machine, release, *options, expect=expect)

    def check(self, slot: int, number: int) -> dict[str, Any]:
        """It is in regular service from this slot, with this version and its mail; gives the report."""

        def ready() -> dict[str, Any] | None:
            report = self.workshop.report(self.machine)
            settled = report["update"]["phase"]["phase"] in ("idle", "staged")
            return report if report["machine"]["ready"] and settled else None

        self.machine.hang_up()
        # After a rollback the updater answers before mail does; after a cut line it writes on for a moment.
        report = wait_until("the services to be ready", ready, BOOT_TIMEOUT, interval=1.0)
        machine = report["machine"]
        assert (machine["slot"], report["update"]["running"]["number"]) == (slot, number)
        assert machine["ready"] and machine["rescue"] is None and machine["trial_left_s"] is None
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
                subject = f"+{release.number} did not work"
                _, numbers = imap.search(None, "SUBJECT", f'"{subject}"', "FROM", "postmaster")
                return bool(numbers[0])

        wait_until("the box's message to its owner", found, DELIVERY_TIMEOUT, interval=1.0)


class Refusals:
    """One box for all bundles that it must not take; each leaves it as it was."""

    def __init__(self, workshop: Workshop, boot: Boot, state: Path) -> None:
        """Boots the box, and makes a release that it would take."""
        self.workshop = workshop
        self.good = workshop.release(NEXT)
        self.patient = Patient(workshop, boot, state)
        self._card = state / "virt.card"
        self._before = self._other_slot()

    def _other_slot(self) -> str:
        """SHA-256 of the other slot on the card."""
        start, length = partition(self._card, SLOT_B)
        with self._card.open("rb") as file:
            file.seek(start)
            return hashlib.sha256(file.read(length)).hexdigest()

    def altered(self, name: str, data: bytes) -> Release:
        """The good release with these bytes for its bundle."""
        folder = self.workshop.folder / name
        folder.mkdir()
        release = replace(self.good, folder=folder)
        release.bundle.write_bytes(data)
        return release

    def check(self, release: Release, *options: str) -> str:
        """The update is refused, nothing was written, the box serves on; gives what the command said."""
        said = str(self.patient.update(release, *options, expect=REFUSED)["said"])
        assert '"event":"error"' in said, said
        assert self._other_slot() == self._before
        self.patient.check(SLOT_A, FIRST)
        return said


def flipped(data: bytes, place: int) -> bytes:
    """The same bytes with one bit turned."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)
