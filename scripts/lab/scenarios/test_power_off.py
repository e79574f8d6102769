"""A clean stop is clean: the next start has nothing to repair. A power cut has."""

from __future__ import annotations

from pathlib import Path

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from recovery import recovery_lines


def test_off_and_on(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Power-off by request, by SIGTERM and by a cut, each followed by a start."""
    card = tmp_path / "card"
    message = new_message("kept while off", STRANGER, subject.account.address)

    machine = boot(card)
    machine.wait_ready()
    clients = Clients(machine.forwards, subject.account, tmp_path)
    certificate = clients.certificate
    clients.deliver(message)
    received = clients.wait_message(message)
    assert machine.power_off() == "power-off"
    assert "roost: power off" in machine.console_tail()

    machine = boot(card)
    machine.wait_ready()
    assert recovery_lines(machine) == [], "the request did not stop the box cleanly"
    clients = Clients(machine.forwards, subject.account, tmp_path)
    assert clients.certificate == certificate, "the box made itself a new identity"
    assert clients.wait_message(message) == received
    assert machine.terminate() == "power-off"
    assert "roost: power off" in machine.console_tail()

    machine = boot(card)
    machine.wait_ready()
    assert recovery_lines(machine) == [], "SIGTERM to roost run did not stop the box cleanly"
    # Something to lose, so that the journal is not empty.
    clients = Clients(machine.forwards, subject.account, tmp_path)
    clients.deliver(new_message("before the cut", STRANGER, subject.account.address))
    machine.power_cut()

    machine = boot(card)
    machine.wait_ready()
    assert recovery_lines(machine), "a power cut left no trace: this scenario proves nothing"
    clients = Clients(machine.forwards, subject.account, tmp_path)
    assert clients.wait_message(message) == received
