"""Services in the hands of a stranger: what each tries from inside its container, and what becomes of it.

The hostile program is in half of them at a time, so that the other half is there to be looked at meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from machine import Machine
from strangers import SMALL, compile_hostile, said, wait_started
from updates import Workshop
from waiting import wait_until

#: Seconds for all tries of one service, on a busy machine.
PATIENCE = 400.0
#: Numbers of the releases that are made here.
NUMBER = 50
#: Error numbers that are an answer to a try: not permitted, nothing there, no such process, no access, read-only,
#: not implemented, no such protocol or address family, and an argument that is refused before anything else.
SAYS_NO = {1, 2, 3, 13, 22, 30, 38, 93, 94, 97, 101}
#: What a service may do although others may not: its spec gives it the right, and says why.
MAY: dict[str, set[str]] = {
    # Of processes that it sees, which are its own (multicast DNS is one).
    "portal": {"call pidfd_open"},
    "tunnel": {"network_admin"},
}
#: Room of a small service on the card, in bytes and in files; that of the portal is larger, and mail has nearly all.
ROOM, NAMES = 16 << 20, 1024
PORTAL_ROOM = 64 << 20
#: What mail must leave to others, at the least.
LEFT_BY_MAIL = 8 << 20
#: In each container it has only its own, which changes nothing for anybody else.
HARMLESS = {"see_processes"}


@pytest.fixture(scope="module")
def program(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hostile program, compiled for the box."""
    return compile_hostile(subject, tmp_path_factory.mktemp("hostile") / "source")


def wait_done(machine: Machine, services: Sequence[str]) -> dict[str, list[str]]:
    """Waits until each has tried everything, and gives what it said."""

    def done() -> dict[str, list[str]] | None:
        reports = {service: said(machine, service) for service in services}
        return reports if all("done" in lines for lines in reports.values()) else None

    return wait_until(f"all tries of {', '.join(services)}", done, PATIENCE, interval=2.0)


def number_in(lines: list[str], what: str) -> int:
    """How much of something could be used."""
    found = [re.fullmatch(rf"use {what}: (\d+), then .*", line) for line in lines]
    numbers = [int(match[1]) for match in found if match]
    assert len(numbers) == 1, f"{what}: {lines}"
    return numbers[0]


def look(machine: Machine, reports: dict[str, list[str]]) -> None:
    """Nothing worked but what the spec allows, and nothing could be used up."""
    rooms = {"portal": PORTAL_ROOM, "mail": machine.status()["data_total"] - LEFT_BY_MAIL}
    worked = {
        (service, line.removesuffix(": WORKED"))
        for service, lines in reports.items()
        for line in lines
        if line.endswith(": WORKED") and line.removesuffix(": WORKED") not in MAY.get(service, set()) | HARMLESS
    }
    assert not worked, sorted(worked)
    for service, lines in reports.items():
        refused = [line for line in lines if ": refused, error " in line]
        odd = [line for line in refused if int(line.rsplit(" ", 1)[1]) not in SAYS_NO]
        assert not odd, f"{service}: {odd}"
        ends = [line for line in lines if re.search(r"^call \w+: ended (by signal 31|the service)$", line)]
        # Only the portal may have children, in which it can try everything.
        least = (80, 20) if service == "portal" else (45, 5)
        assert (len(refused) + len(ends), len(ends)) >= least, f"{service}: {lines}"
        assert number_in(lines, "tasks") < 1000, lines
        assert number_in(lines, "files") < 20_000, lines
        assert number_in(lines, "scratch") <= 300 << 20, lines
        assert number_in(lines, "card") <= rooms.get(service, ROOM), lines
        if service not in rooms:
            assert number_in(lines, "names") <= NAMES, lines
        # It ended when it took too much, and was started again.
        assert "use memory: ended the service" in lines, lines
        assert any("memory" in line and service in line for line in machine.logs("init", 1000)), machine.logs("init", 50)


def test_small_services(boot: Boot, workshop: Workshop, program: Path, tmp_path: Path) -> None:
    """Five are hostile: mail comes in and is read meanwhile, and neither mail nor portal restarts."""
    hostile = SMALL
    release = workshop.release(NUMBER, replaced=dict.fromkeys(hostile, program))
    machine = boot(tmp_path / "box", image=release.image)
    wait_started(machine, ("mail", "portal"))
    clients = Clients(machine.forwards, workshop.subject.account, tmp_path / "box")
    for when in ("while they begin", "when they are done"):
        message = new_message(when, STRANGER, clients.account.address)
        clients.deliver(message)
        clients.wait_message(message)
        reports = wait_done(machine, hostile)
    look(machine, reports)
    for honest in ("mail", "portal"):
        assert machine.service(honest)["restarts"] == 0
    # What the kernel was asked for in vain is in its log.
    assert any("type=1326" in line for line in machine.logs("kernel", 5000))


def test_mail_and_portal(boot: Boot, workshop: Workshop, program: Path, tmp_path: Path) -> None:
    """The two large ones are hostile: the small ones neither restart nor wait."""
    hostile = ("mail", "portal")
    release = workshop.release(NUMBER + 1, replaced=dict.fromkeys(hostile, program))
    honest_ones = SMALL
    machine = boot(tmp_path / "box", image=release.image)
    wait_started(machine, honest_ones)
    reports = wait_done(machine, hostile)
    look(machine, reports)
    for honest in honest_ones:
        status = machine.service(honest)
        assert (status["state"], status["restarts"]) == ("ready", 0), status
