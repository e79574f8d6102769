"""The network cable is pulled and plugged in again and again."""

from __future__ import annotations

import time
from pathlib import Path

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from waiting import wait_until

FLAPS = 6
#: Seconds between two of them: shorter than a lease takes, and about as long.
PAUSES = (0.2, 2.0)
#: Seconds until the box has noticed, and until it has an address.
NOTICED = 30.0
ADDRESS_TIMEOUT = 60.0


def test_services_stay(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """The address comes back each time, no service is started again, an open connection goes on, memory does not grow."""
    machine = boot(tmp_path / "box", options=("--monitor",))
    machine.wait_ready()
    clients = Clients(machine.forwards, subject.account, tmp_path)

    def address() -> bool:
        return any(a.startswith("10.0.2.15/") for a in machine.status()["addresses"])

    wait_until("an address", address, ADDRESS_TIMEOUT)
    before = machine.status()
    with clients.imap() as imap:
        for flap in range(FLAPS):
            machine.cable(False)
            time.sleep(PAUSES[flap % len(PAUSES)])
            machine.cable(True)
            time.sleep(PAUSES[flap % len(PAUSES)])
        wait_until("the address again", address, ADDRESS_TIMEOUT)
        # TCP repeats what was lost.
        assert imap.noop()[0] == "OK"
    message = new_message("after the flaps", STRANGER, clients.account.address)
    clients.deliver(message)
    clients.wait_message(message)
    after = machine.status()
    assert after["ready"] and after["rescue"] is None
    assert pids(after) == pids(before), "no service was started again"
    assert before["memory_available"] - after["memory_available"] < 64 << 20


def pids(status: dict) -> dict[str, int]:
    """The process of each service."""
    return {service["name"]: service["pid"] for service in status["services"]}
