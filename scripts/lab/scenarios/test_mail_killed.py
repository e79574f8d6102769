"""The mail program dies by force: it is back at once, and so is the mail."""

from __future__ import annotations

import time

from clients import ANSWER_TIMEOUT, STRANGER, new_message
from conftest import Box
from waiting import wait_until

#: Seconds from SIGKILL to the next message taken: a start takes some seconds in emulation.
BACK_WITHIN = 30.0


def test_mail_comes_back(box: Box) -> None:
    """A new process, counted as a restart, with every message in its place."""
    message = new_message("before the kill", STRANGER, box.account.address)
    box.clients.deliver(message)
    received = box.clients.wait_message(message)
    before = box.machine.service("mail")

    box.machine.kill("mail")
    killed = time.monotonic()
    wait_until(
        "a new mail process to be ready",
        lambda: (now := box.machine.service("mail"))["state"] == "ready" and now["pid"] != before["pid"],
        ANSWER_TIMEOUT,
    )
    next_message = new_message("after the kill", STRANGER, box.account.address)
    box.clients.deliver(next_message)
    assert time.monotonic() - killed < BACK_WITHIN

    assert box.machine.service("mail")["restarts"] == before["restarts"] + 1
    assert box.clients.wait_message(message) == received
    box.clients.wait_message(next_message)
    assert box.machine.status()["ready"]


def test_killed_in_the_middle_of_a_message(box: Box) -> None:
    """What was not acknowledged is not half there; the next try is taken."""
    message = new_message("cut in two", STRANGER, box.account.address, "z" * 70 + "\n")
    before = box.machine.service("mail")
    with box.clients.connect(25) as connection:
        answers = connection.makefile("rb")
        for command in (
            b"", b"HELO client.friends.home.arpa\r\n", f"MAIL FROM:<{STRANGER}>\r\n".encode(),
            f"RCPT TO:<{box.account.address}>\r\n".encode(), b"DATA\r\n",
        ):
            connection.sendall(command)
            assert answers.readline()[:1] in b"23"
        connection.sendall(bytes(message))
        box.machine.kill("mail")
        assert answers.read() == b"", "an answer from a dead program"
    wait_until(
        "a new mail process to be ready",
        lambda: (now := box.machine.service("mail"))["state"] == "ready" and now["pid"] != before["pid"],
        ANSWER_TIMEOUT,
    )
    assert not box.clients.has_message(message)
    box.clients.deliver(message)
    box.clients.wait_message(message)
