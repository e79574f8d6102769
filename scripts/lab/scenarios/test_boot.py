"""The box comes up by itself, complete, small, and uses its whole card."""

from __future__ import annotations

import card
from clients import PORTS, STRANGER, new_message
from conftest import CARD_BYTES, Box, Subject
from waiting import wait_until

#: Most memory that an idle box may use, in bytes (total minus available).
MEMORY_LIMIT = 200_000_000
#: Part of a file system that its own tables may take.
OVERHEAD = 0.10


def test_services_are_ready(box: Box) -> None:
    """The console says so, and the status agrees with it."""
    assert "roost: services ready after " in box.machine.console()
    assert "roost: rescue:" not in box.machine.console()
    status = box.machine.status()
    assert status["ready"] and status["rescue"] is None
    assert status["slot"] == 2
    assert 0 < status["ready_after_s"] <= status["uptime_s"]
    assert {service["name"]: service["state"] for service in status["services"]}["mail"] == "ready"
    assert status["addresses"], "no address from DHCP"


def test_idle_memory(box: Box) -> None:
    """An idle box leaves the rest of the memory to its owner's mail."""

    def used() -> int:
        status = box.machine.status()
        return int(status["memory_total"] - status["memory_available"])

    # The last of what the start needed is given back some seconds after it.
    wait_until(f"memory in use to be at most {MEMORY_LIMIT}", lambda: used() <= MEMORY_LIMIT, 30)


def test_data_grew_to_the_card(box: Box, subject: Subject) -> None:
    """The image holds a small data partition; on the card it has all the rest."""
    start, shipped = card.partition(subject.image, card.DATA)
    available = CARD_BYTES - start
    assert shipped < available * (1 - OVERHEAD), "the image leaves no room to grow"
    assert box.machine.status()["data_total"] >= available * (1 - OVERHEAD)


def test_writes_are_counted(box: Box) -> None:
    """A message writes to the card, and the status tells how much."""
    before = box.machine.status()["data_written"]
    message = new_message("written", STRANGER, box.account.address)
    box.clients.deliver(message)
    box.clients.wait_message(message)
    assert box.machine.status()["data_written"] >= before + len(bytes(message))


def test_every_port_answers(box: Box) -> None:
    """Nothing but the nine ports is forwarded, and each of them is served."""
    assert set(PORTS) <= set(box.machine.forwards)
    greetings = {25: b"220 ", 587: b"220 ", 143: b"* OK", 110: b"+OK", 4190: b'"IMPLEMENTATION"'}
    for port, expected in greetings.items():
        with box.clients.connect(port) as connection:
            assert connection.recv(4096).startswith(expected), port
    for port in (443, 465, 993, 995):
        with box.clients.connect(port) as plain, box.clients.context(port).wrap_socket(plain) as tls:
            assert tls.version() is not None
