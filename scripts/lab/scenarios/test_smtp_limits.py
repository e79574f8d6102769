"""What a stranger may not learn or do on port 25."""

from __future__ import annotations

import smtplib

import pytest

from clients import STRANGER, Clients, new_message


def advertised_size(smtp: smtplib.SMTP) -> int:
    """The largest message that the box says it takes (RFC 1870)."""
    smtp.ehlo()
    return int(smtp.esmtp_features["size"])


@pytest.mark.parametrize("command", ["VRFY alice", "VRFY alice@example.org", "EXPN alice", "EXPN postmaster"])
def test_no_address_is_confirmed(clients: Clients, command: str) -> None:
    """VRFY and EXPN tell nothing (RFC 5321 section 7.3)."""
    with clients.smtp() as smtp:
        smtp.ehlo()
        code, text = smtp.docmd(command)
        assert code == 252 or 500 <= code < 600, (code, text)
        assert b"Alice" not in text


def test_oversize_declared(clients: Clients) -> None:
    """A message that says it is too large is refused before it is sent."""
    with clients.smtp() as smtp:
        limit = advertised_size(smtp)
        assert smtp.mail(STRANGER, [f"SIZE={limit + 1}"])[0] == 552
        smtp.rset()
        assert smtp.mail(STRANGER, [f"SIZE={limit}"])[0] == 250


def test_oversize_undeclared(clients: Clients) -> None:
    """A message that turns out too large is refused, and nothing of it is kept."""
    message = new_message("too large", STRANGER, clients.account.address)
    with clients.smtp() as smtp:
        limit = advertised_size(smtp)
        line = b"x" * 998 + b"\r\n"
        body = bytes(message) + line * (limit // len(line) + 1)
        assert smtp.mail(STRANGER)[0] == 250
        assert smtp.rcpt(clients.account.address)[0] == 250
        try:
            code, _ = smtp.data(body)
        except (smtplib.SMTPServerDisconnected, ConnectionError):
            code = 0
    assert code in (0, 552)
    after = new_message("after the large one", STRANGER, clients.account.address)
    clients.deliver(after)
    clients.wait_message(after)
    assert not clients.has_message(message)


def test_largest_message_is_taken(clients: Clients) -> None:
    """The limit is the promise: a message just below it arrives whole."""
    with clients.smtp() as smtp:
        limit = advertised_size(smtp)
    message = new_message(
        "large", STRANGER, clients.account.address, ("y" * 76 + "\n") * ((limit - 100_000) // 78)
    )
    clients.deliver(message)
    received = clients.wait_message(message)
    assert received.count(b"y" * 76) == (limit - 100_000) // 78
    clients.delete(message)
