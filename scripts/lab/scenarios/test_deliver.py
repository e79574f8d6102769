"""A stranger's mail arrives, and every way of reading it gives the same message."""

from __future__ import annotations

import random
import string

import pytest

from clients import STRANGER, Clients, fetch, new_message, parse, text_of, uids_of
from jmap import Jmap
from waiting import wait_until


@pytest.fixture(scope="module")
def seed() -> random.Random:
    """Random text that is the same in every run."""
    return random.Random(5321)


def test_one_message_four_ways(box, seed: random.Random) -> None:
    """Port 25 in; IMAP, POP3 and JMAP out: the same bytes."""
    clients: Clients = box.clients
    body = "".join(seed.choices(string.printable[:95] + "äöüß€\n", k=20_000)) + "\n.\n..dots\n"
    message = new_message("one message, four ways", STRANGER, clients.account.address, body)
    clients.deliver(message)

    by_imap = clients.wait_message(message)
    assert text_of(parse(by_imap)) == text_of(parse(bytes(message)))
    assert parse(by_imap)["Received"], "no trace of its way (RFC 5321 section 4.4)"

    with clients.imap(143) as imap:
        assert fetch(imap, uids_of(imap, "INBOX", message["Message-ID"])) == [by_imap]

    for port in (995, 110):
        with clients.pop3(port) as pop:
            count, _ = pop.stat()
            listed = [b"\r\n".join(pop.retr(number)[1]) + b"\r\n" for number in range(1, count + 1)]
        assert by_imap in listed, f"port {port}"

    jmap = Jmap(clients)
    found = wait_until(
        "the message by JMAP",
        lambda: [m for m in jmap.emails() if message["Message-ID"] == f"<{m['messageId'][0]}>"],
        30,
    )
    assert found[0]["subject"] == message["Subject"]
    assert jmap.download(found[0]["blobId"]) == by_imap


def test_unknown_recipient_is_refused(clients: Clients) -> None:
    """Mail for nobody is refused at once, so that the sender learns of it."""
    with clients.smtp() as smtp:
        smtp.ehlo()
        assert smtp.mail(STRANGER)[0] == 250
        assert smtp.rcpt(f"nobody@{clients.account.domain}")[0] == 550


@pytest.mark.parametrize("local_part", ["postmaster", "Postmaster", "abuse"])
def test_required_addresses(clients: Clients, local_part: str) -> None:
    """RFC 5321 section 4.5.1 and RFC 2142: these reach a person, whatever their case."""
    message = new_message(f"for {local_part}", STRANGER, f"{local_part}@{clients.account.domain}")
    clients.deliver(message, to=str(message["To"]))
    clients.wait_message(message)


def test_bare_postmaster(clients: Clients) -> None:
    """RFC 5321 section 4.5.1: `RCPT TO:<postmaster>` without a domain."""
    message = new_message("for the bare postmaster", STRANGER, "postmaster")
    with clients.smtp() as smtp:
        smtp.ehlo()
        assert smtp.mail(STRANGER)[0] == 250
        assert smtp.docmd("RCPT", "TO:<Postmaster>")[0] == 250
        assert smtp.data(bytes(message))[0] == 250
    clients.wait_message(message)
