"""A restart on request: the same box comes back with the same mail."""

from __future__ import annotations

from clients import STRANGER, new_message
from conftest import Box
from recovery import recovery_lines


def test_reboot(box: Box) -> None:
    """In order, counted from a new kernel start, with nothing to repair."""
    message = new_message("kept over a restart", STRANGER, box.account.address)
    box.clients.deliver(message)
    received = box.clients.wait_message(message)
    uptime = box.machine.status()["uptime_s"]

    box.machine.reboot()

    assert "roost: reboot" in box.machine.console()
    status = box.machine.status()
    assert status["ready"] and status["rescue"] is None
    assert status["uptime_s"] < uptime
    assert box.machine.service("mail")["restarts"] == 0
    assert recovery_lines(box.machine) == []
    assert box.clients.wait_message(message) == received
