"""The box carries nobody's mail to other domains but its owner's."""

from __future__ import annotations

import smtplib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

import pytest

from clients import ANSWER_TIMEOUT, STRANGER, Clients, new_message
from conftest import Box
from neighbour import OWN_ADDRESS, Neighbour
from waiting import wait_until

#: Spellings of a foreign address that open relays have fallen for.
FOREIGN = [
    "victim@foreign.example",
    "victim%foreign.example@example.org",
    '"victim@foreign.example"@example.org',
    "victim@foreign.example@example.org",
    "@example.org:victim@foreign.example",
    "foreign.example!victim",
    "victim@[203.0.113.9]",
    "victim@[IPv6:2001:db8::9]",
    "victim@sub.example.org",
    "victim@example.org.foreign.example",
]
#: Senders that a relay might trust.
SENDERS = [STRANGER, "alice@example.org", "", "root@localhost"]


Connect = Callable[[], AbstractContextManager[smtplib.SMTP]]


def not_refused(attempts: Iterable[tuple[Connect, str, str]]) -> list[tuple[str, str, int, bytes]]:
    """Tries senders and recipients, each on a connection of its own; what was not refused for good.

    All at once: the box lets everybody wait for five seconds after a refusal.
    """

    def attempt(connect: Connect, sender: str, recipient: str) -> tuple[str, str, int, bytes]:
        with connect() as smtp:
            smtp.ehlo()
            smtp.docmd("MAIL", f"FROM:<{sender}>")
            code, text = smtp.docmd("RCPT", f"TO:<{recipient}>")
            return sender, recipient, code, text

    with ThreadPoolExecutor(max_workers=16) as pool:
        answers = pool.map(lambda arguments: attempt(*arguments), attempts)
    return [answer for answer in answers if not 500 <= answer[2] < 600]


@pytest.mark.parametrize("port", [25, 587])
@pytest.mark.parametrize("starttls", [False, True])
def test_refused_over_ipv4(clients: Clients, port: int, starttls: bool) -> None:
    """No spelling of a foreign address is taken from a stranger, with or without TLS."""
    connect = partial(clients.smtp, port, starttls=starttls)
    assert not_refused((connect, STRANGER, recipient) for recipient in FOREIGN) == []


def test_no_sender_is_trusted(clients: Clients) -> None:
    """Whoever the envelope claims to be from: not without a login."""
    attempts = [(clients.smtp, sender, "victim@foreign.example") for sender in SENDERS]
    assert not_refused(attempts) == []


class SmtpOver(smtplib.SMTP):
    """SMTP over a connection that exists already."""

    def __init__(self, connection: socket.socket) -> None:
        """Reads the greeting."""
        self._connection = connection
        super().__init__("neighbour", 25, "client.friends.home.arpa", ANSWER_TIMEOUT)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Called by `smtplib` to connect."""
        self._connection.settimeout(timeout)
        return self._connection


@pytest.fixture(scope="module")
def neighbour(box: Box) -> Iterator[Neighbour]:
    """Another machine on the box's network."""
    with Neighbour(box.machine.lan_path) as neighbour:
        yield neighbour


@pytest.fixture(scope="module")
def address6(box: Box, neighbour: Neighbour) -> str:
    """The address that the box gave itself in the network that the neighbour announced."""
    return neighbour.wait_address(lambda: box.machine.status()["addresses"])


@pytest.fixture
def smtp6(neighbour: Neighbour, address6: str) -> Connect:
    """Connects from that machine to port 25 over IPv6."""
    one_at_a_time = threading.Lock()

    def connect() -> smtplib.SMTP:
        with one_at_a_time:
            connection = wait_until(
                "a connection over IPv6",
                lambda: neighbour.connect(address6, 25),
                ANSWER_TIMEOUT,
                # The box shows an address before it uses it (RFC 4862 section 5.4).
                retry_on=(OSError,),
            )
        return SmtpOver(connection)

    return connect


def test_delivery_over_ipv6(smtp6: Connect, clients: Clients) -> None:
    """A stranger's mail for the owner arrives over IPv6: the refusals below are not for lack of a way."""
    message = new_message("over IPv6", STRANGER, clients.account.address)
    with smtp6() as smtp:
        assert smtp.send_message(message) == {}
    assert OWN_ADDRESS.encode() in clients.wait_message(message)


def test_refused_over_ipv6(smtp6: Connect) -> None:
    """No spelling of a foreign address is taken over IPv6, from the box's own network, either."""
    assert not_refused((smtp6, STRANGER, recipient) for recipient in FOREIGN) == []
