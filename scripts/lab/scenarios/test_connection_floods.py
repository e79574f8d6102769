"""Somebody on the network opens connections without end, says nothing and stays."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from clients import ANSWER_TIMEOUT, Clients
from conftest import Boot, Subject, machine_room
from machine import Machine
from neighbour import Neighbour
from waiting import wait_until

#: More than a port of the mail service takes (`MAX_CONNECTIONS`).
CONNECTIONS = 300
#: Ports of mail, and the name server's.
FLOODED = (25, 993, 53)
#: Seconds until a port that was full serves again.
PATIENCE = 60.0
#: Bytes that the box may take for all of it.
MEMORY = 128 << 20


@pytest.fixture(scope="module")
def machine(
    subject: Subject, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A box that a neighbour can reach."""
    with machine_room(subject, pytestconfig) as start:
        machine = start(tmp_path_factory.mktemp("floods") / "box", options=("--lan",))
        machine.wait_ready()
        yield machine


def test_silent_connections(machine: Machine, subject: Subject, tmp_path: Path) -> None:
    """All services stay as they are, other ports serve, memory is bounded; when they are gone, the port serves at once."""
    clients = Clients(machine.forwards, subject.account, tmp_path)
    before = machine.status()
    with Neighbour(machine.lan_path) as neighbour:
        address = neighbour.wait_address(lambda: machine.status()["addresses"])
        with ExitStack() as held:
            for port in FLOODED:
                # The name server learns of a new address by looking, some seconds later.
                held.enter_context(
                    wait_until(f"port {port}", lambda port=port: neighbour.connect(address, port), PATIENCE, retry_on=(OSError,))
                )
                for _ in range(CONNECTIONS):
                    held.enter_context(neighbour.connect(address, port))
            during = machine.status()
            assert during["ready"] and pids(during) == pids(before)
            assert before["memory_available"] - during["memory_available"] < MEMORY, (before, during)
            wait_until(
                "the log to say so",
                lambda: any("too many connections, refused" in line for line in machine.logs("mail")),
                PATIENCE,
            )
            # Whoever sends mail with a password comes in, on a port of its own.
            with clients.smtp(465) as smtp:
                assert smtp.login(clients.account.name, clients.account.password)[0] == 235
            with clients.connect(443) as plain:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
                context.wrap_socket(plain).close()
        # The neighbour stays so long: its goodbyes are still under way.
        wait_until("port 25 to serve again", lambda: greets(clients, 25), PATIENCE, retry_on=(OSError,))
    with clients.imap() as imap:
        assert imap.noop()[0] == "OK"
    after = machine.status()
    assert after["ready"] and pids(after) == pids(before)


def test_endless_lines(machine: Machine) -> None:
    """A line or a header without an end is cut off, and takes no memory."""
    before = machine.status()
    # From the network, not through forwarded ports: QEMU's own network ends the emulator ("buf_len != 0", socket.c) when
    # somebody hangs up while the box reads no more.
    with Neighbour(machine.lan_path) as neighbour:
        address = neighbour.wait_address(lambda: machine.status()["addresses"])
        for port in (25, 143, 110, 4190):
            with wait_until(
                f"port {port}", lambda port=port: neighbour.connect(address, port), PATIENCE, retry_on=(OSError,)
            ) as connection:
                send_until_cut_off(connection, b"A" * 65536, 64 << 20)
    after = machine.status()
    assert after["ready"] and pids(after) == pids(before)
    assert before["memory_available"] - after["memory_available"] < MEMORY, (before, after)


def send_until_cut_off(connection: socket.socket, piece: bytes, limit: int) -> None:
    """Sends the same until the other side hangs up or `limit` bytes went out."""
    connection.settimeout(ANSWER_TIMEOUT)
    sent = 0
    try:
        while sent < limit:
            connection.sendall(piece)
            sent += len(piece)
    except OSError:
        return


def greets(clients: Clients, port: int) -> bool:
    """Whether a port says what it is."""
    with clients.connect(port) as connection:
        return connection.recv(4) == b"220 "


def pids(status: dict) -> dict[str, int]:
    """The process of each service."""
    return {service["name"]: service["pid"] for service in status["services"]}
