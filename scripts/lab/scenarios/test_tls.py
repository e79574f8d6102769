"""Encryption is up to date, shows one certificate, and no password travels without it."""

from __future__ import annotations

import imaplib
import poplib
import re
import smtplib
import socket
import ssl
import subprocess

import pytest

from clients import PORTS, Clients

#: Ports that begin in clear text: what to send for TLS, and how an answer to an
#: injected command would begin.
STARTTLS = {
    25: (b"STARTTLS\r\n", b"NOOP\r\n"),
    587: (b"STARTTLS\r\n", b"NOOP\r\n"),
    143: (b"a STARTTLS\r\n", b"b NOOP\r\n"),
    110: (b"STLS\r\n", b"CAPA\r\n"),
    4190: (b"STARTTLS\r\n", b"CAPABILITY\r\n"),
}


def start_tls(clients: Clients, port: int, context: ssl.SSLContext, injected: bytes = b"") -> ssl.SSLSocket:
    """Connects to a port and goes as far as the TLS handshake."""
    plain = clients.connect(port)
    if not PORTS[port]:
        command, _ = STARTTLS[port]
        if port in (25, 587):
            read_until(plain, rb"^220 .*\r\n")
            plain.sendall(b"EHLO client.elsewhere.example\r\n")
            read_until(plain, rb"^250 .*\r\n")
        elif port == 4190:
            read_until(plain, rb"^OK.*\r\n")
        else:
            read_until(plain, rb"\r\n")
        plain.sendall(command + injected)
        read_until(plain, rb"^(220|a OK|\+OK|OK).*\r\n")
    return context.wrap_socket(plain)


def read_until(connection: socket.socket, pattern: bytes) -> bytes:
    """Reads until a line matches."""
    got = b""
    while not re.search(pattern, got, re.MULTILINE):
        chunk = connection.recv(4096)
        assert chunk, f"closed after {got!r}"
        got += chunk
    return got


@pytest.mark.parametrize("port", PORTS)
def test_versions_and_certificate(clients: Clients, port: int) -> None:
    """TLS 1.2 and 1.3 with the one certificate of mail, or that of the portal; 1.1 is refused by the box itself."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = clients.context(port)
        context.minimum_version = context.maximum_version = version
        with start_tls(clients, port, context) as tls:
            assert tls.version() == version.name.replace("_", ".")
            # The handshake checked the name and that this is the pinned certificate.
            assert ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True)) == clients.certificate_at(port)

    old = clients.context(port)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    # An alert is the box's answer; without one the client itself would have given up.
    with pytest.raises(ssl.SSLError, match="ALERT_(PROTOCOL_VERSION|HANDSHAKE_FAILURE)"):
        start_tls(clients, port, old)


def test_certificate_names(clients: Clients) -> None:
    """The certificate is for the mail host, the domain and the box's local name."""
    names = subprocess.run(
        ["openssl", "x509", "-in", str(clients.certificate_file), "-noout", "-ext", "subjectAltName"],
        capture_output=True, text=True, check=True,
    ).stdout
    for name in (clients.account.host, clients.account.domain, ".local"):
        assert name in names


@pytest.mark.parametrize("port", STARTTLS)
def test_nothing_is_carried_into_tls(clients: Clients, port: int) -> None:
    """What an attacker adds behind STARTTLS is not obeyed inside (CVE-2011-0411)."""
    _, injected = STARTTLS[port]
    try:
        tls = start_tls(clients, port, clients.context(), injected)
    except (ssl.SSLError, ConnectionError):
        return  # the box took it for a broken handshake, which is as good
    with tls:
        if port == 4190:
            # The one protocol whose server speaks first after STARTTLS (RFC 5804 section 2.2).
            read_until(tls, rb"^OK.*\r\n")
        tls.settimeout(2)
        with pytest.raises(TimeoutError):
            tls.recv(4096)


@pytest.mark.parametrize("port", [25, 587])
def test_no_smtp_login_in_the_clear(clients: Clients, port: int) -> None:
    """AUTH is neither offered nor taken before STARTTLS."""
    with clients.smtp(port) as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features
        assert "starttls" in smtp.esmtp_features
        initial = smtplib.encode_base64(
            f"\0{clients.account.name}\0{clients.account.password}".encode(), eol=""
        )
        code, _ = smtp.docmd("AUTH", f"PLAIN {initial}")
        assert 500 <= code < 600


def test_no_login_on_the_port_for_strangers(clients: Clients) -> None:
    """Port 25 is for other servers: nobody logs in there, not even inside TLS."""
    with clients.smtp(25, starttls=True) as smtp:
        smtp.ehlo()
        assert "auth" not in smtp.esmtp_features


def test_no_imap_login_in_the_clear(clients: Clients) -> None:
    """LOGIN is refused before STARTTLS (RFC 9051 section 6.2.3)."""
    client = imaplib.IMAP4("127.0.0.1", clients.forwards[143])
    with client:
        assert "LOGINDISABLED" in client.capabilities
        with pytest.raises(imaplib.IMAP4.error):
            client.login(clients.account.name, clients.account.password)


def test_no_pop3_login_in_the_clear(clients: Clients) -> None:
    """USER and PASS are refused before STLS (RFC 2595 section 4)."""
    client = poplib.POP3("127.0.0.1", clients.forwards[110])
    try:
        assert "USER" not in client.capa()
        with pytest.raises(poplib.error_proto):
            client.user(clients.account.name)
            client.pass_(clients.account.password)
    finally:
        client.close()


def test_no_sieve_login_in_the_clear(clients: Clients) -> None:
    """No password mechanism is offered or taken before STARTTLS (RFC 5804 section 1.7)."""
    with clients.connect(4190) as connection:
        capabilities = read_until(connection, rb"^OK.*\r\n")
        assert b'"STARTTLS"' in capabilities
        offered = re.search(rb'^"SASL" "(.*)"', capabilities, re.MULTILINE)
        assert offered is None or b"PLAIN" not in offered.group(1).split()
        secret = smtplib.encode_base64(
            f"\0{clients.account.name}\0{clients.account.password}".encode(), eol=""
        )
        connection.sendall(f'AUTHENTICATE "PLAIN" "{secret}"\r\n'.encode())
        assert read_until(connection, rb"\r\n").startswith(b"NO")
