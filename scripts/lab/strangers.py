"""Services in the hands of a stranger: the program in `hostile` stands where services have theirs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from machine import Machine, MachineError
from updates import CHECKOUT, LAB, Workshop
from waiting import wait_until

TARGET = "aarch64-unknown-linux-gnu"
#: Number of the release that is made here.
NUMBER = 50
#: Services that others do not need to deliver mail.
SMALL = ("certificates", "dns", "resolver", "tunnel", "updater")
#: Seconds until services are ready that share the processor with hostile ones.
START_TIMEOUT = 300.0
#: Seconds until services have used something up, on a busy machine.
PATIENCE = 120.0
#: How many messages the box must take and give back meanwhile.
MESSAGES = 5


def compile_hostile(subject: Subject, folder: Path, *features: str) -> Path:
    """The hostile program, compiled for the box."""
    shutil.copytree(LAB / "hostile", folder, ignore=shutil.ignore_patterns("target"))
    chosen = ("--features", ",".join(features)) if features else ()
    subprocess.run(
        [str(subject.roost), "sdk", "run", "cargo", "build", "--quiet", "--release", "--locked", "--offline", "--target", TARGET, *chosen],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder / "target" / TARGET / "release" / "hostile"


def said(machine: Machine, service: str) -> list[str]:
    """What the hostile program in a service has reported."""
    return [line.split("hostile: ", 1)[1] for line in machine.logs(service, 1000) if "hostile: " in line]


def wait_started(machine: Machine, services: Sequence[str]) -> None:
    """Waits for these alone: with the hostile ones, which end all the time, the box may never be ready."""

    def started() -> bool:
        return all(machine.service(service)["state"] == "ready" for service in services)

    wait_until(f"{', '.join(services)} to be ready", started, START_TIMEOUT, retry_on=(OSError, MachineError))


def used_up(machine: Machine, service: str, what: str) -> tuple[int, str] | None:
    """How much of something a service keeps, and what it was told when it wanted more."""
    lines = [re.fullmatch(rf"use {what}: keeps (\d+), then (.*)", line) for line in said(machine, service)]
    found = [(int(match[1]), match[2]) for match in lines if match]
    return found[-1] if found else None


def limit(service: str, name: str, usual: int) -> int:
    """What the spec of a service says, or what holds where it says nothing."""
    spec = tomllib.loads((CHECKOUT / "services" / service / "service.toml").read_text())
    return int(spec.get("limits", {}).get(name, usual))


def boot_with(boot: Boot, workshop: Workshop, folder: Path, what: str, services: Sequence[str] = SMALL) -> Machine:
    """A box where these use something up and keep it; mail and portal are as they should be."""
    program = compile_hostile(workshop.subject, folder / "hostile", f"keep-{what}")
    release = workshop.release(NUMBER, replaced=dict.fromkeys(services, program))
    machine = boot(folder / "box", image=release.image)
    wait_started(machine, ("mail", "portal"))
    return machine


def check_service(machine: Machine, workshop: Workshop, folder: Path) -> None:
    """Mail comes in, is read and goes on being there, the portal has its page, and none of this ended even once."""
    clients = Clients(machine.forwards, workshop.subject.account, folder / "box")
    messages = [new_message(f"meanwhile {number}", STRANGER, clients.account.address) for number in range(MESSAGES)]
    for message in messages:
        clients.deliver(message)
        clients.wait_message(message)
    workshop.pair(machine)
    assert machine.status()["rescue"] is None
    for name in ("mail", "portal"):
        service = machine.service(name)
        assert (service["state"], service["restarts"]) == ("ready", 0), service
