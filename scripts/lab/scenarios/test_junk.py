"""Ten thousand bytes of junk on every port, and the mail goes on."""

from __future__ import annotations

import random
import socket
import time

import pytest

from clients import PORTS, STRANGER, new_message
from conftest import Box

JUNK_BYTES = 10_000
#: Seconds that a port may keep the connection open after the junk ended.
LINGER = 30.0


def junk(kind: str) -> bytes:
    """The same junk in every run."""
    seed = random.Random(kind)
    if kind == "binary":
        return seed.randbytes(JUNK_BYTES)
    if kind == "zeros":
        return bytes(JUNK_BYTES)
    words = seed.choices(["EHLO", "a1", "LOGIN", "{99999999999}", "\"", "\\", "%n%s", "STARTTLS", "\r\n", "é"], k=JUNK_BYTES)
    return " ".join(words).encode()[:JUNK_BYTES]


def drain(connection: socket.socket) -> bytes:
    """Everything that the box answers until it closes, at most for `LINGER` seconds."""
    answer = b""
    end = time.monotonic() + LINGER
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            chunk = connection.recv(65536)
        except (TimeoutError, ConnectionError):
            break
        if not chunk:
            break
        answer += chunk
    return answer


@pytest.mark.parametrize("kind", ["binary", "zeros", "words"])
def test_junk_on_every_port(box: Box, kind: str) -> None:
    """No port falls over, none takes junk for mail, and the program is not even restarted."""
    before = box.machine.service("mail")
    for port, implicit_tls in PORTS.items():
        with box.clients.connect(port) as connection:
            try:
                connection.sendall(junk(kind))
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it hung up in the middle, as it may
            answer = drain(connection)
        if not implicit_tls:
            assert b"\r\n250 2.0.0" not in answer, "junk was taken for a message"
    message = new_message(f"after the {kind}", STRANGER, box.account.address)
    box.clients.deliver(message)
    box.clients.wait_message(message)
    after = box.machine.service("mail")
    assert (after["pid"], after["restarts"]) == (before["pid"], before["restarts"])


@pytest.mark.parametrize("port", [port for port, implicit_tls in PORTS.items() if implicit_tls])
def test_junk_inside_tls(box: Box, port: int) -> None:
    """The protocols behind TLS are as sturdy."""
    before = box.machine.service("mail")
    with box.clients.connect(port) as plain, box.clients.context(port).wrap_socket(plain) as tls:
        try:
            tls.sendall(junk("binary"))
            tls.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it hung up in the middle, as it may
        answer = drain(tls)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert box.machine.service("mail")["pid"] == before["pid"]
    with box.clients.imap() as imap:
        assert imap.noop()[0] == "OK"
