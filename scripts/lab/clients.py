"""Real clients for every protocol of the box, all trusting one pinned certificate.

The box has a self-signed certificate until it gets a real one. The first one
that port 465 shows is pinned, and every other connection must present the same
one for the box's name: a port with another certificate, or a wrong name in it,
fails every scenario that uses it.
"""

from __future__ import annotations

import email
import email.policy
import imaplib
import poplib
import re
import smtplib
import socket
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from waiting import wait_until

#: Seconds for one answer of an emulated box under load.
ANSWER_TIMEOUT = 60.0
#: Seconds from an accepted message to its place in a folder.
DELIVERY_TIMEOUT = 90.0
#: Every port that the box serves; `True` where TLS comes first.
PORTS: Mapping[int, bool] = {
    25: False,
    110: False,
    143: False,
    443: True,
    465: True,
    587: False,
    993: True,
    995: True,
    4190: False,
}
#: A stranger in a domain that is valid but certainly publishes no SPF or DMARC record (RFC 8375):
#: reserved names like example.net publish that they send no mail at all.
STRANGER = "stranger@friends.home.arpa"
#: Name of the box on the home network (`roost.toml`), for which the portal's certificate is.
LOCAL_NAME = "roost.local"


@dataclass(frozen=True)
class Account:
    """The account that the image makes on its first boot."""

    name: str
    password: str
    domain: str
    host: str

    @property
    def address(self) -> str:
        """The account's mail address."""
        return f"{self.name}@{self.domain}"


class PinnedContext(ssl.SSLContext):
    """Trusts one certificate, for one name, whatever address was connected to."""

    name: str

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        """Like the original, but always asks for the pinned name."""
        options["server_hostname"] = self.name
        return super().wrap_socket(sock, *args, **options)


class PinnedAdapter(HTTPAdapter):
    """Carries the pinned context into `requests`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Uses `context` for every connection."""
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Called by `requests`; adds the context."""
        super().init_poolmanager(*args, ssl_context=self._context, **options)


def new_message(subject: str, sender: str, to: str, body: str = "") -> EmailMessage:
    """A message with an id of its own."""
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = email.utils.formatdate(localtime=False)
    message["Message-ID"] = f"<{uuid.uuid4()}@lab.example>"
    message.set_content(body or f"{subject}: grüße from the lab.\n")
    return message


def parse(raw: bytes) -> EmailMessage:
    """A message as another protocol gave it back."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(message: EmailMessage) -> str:
    """The text of a message, with line ends as in Python."""
    part = message.get_body(("plain",))
    assert part is not None, "the message has no text"
    return str(part.get_content()).replace("\r\n", "\n")


class Clients:
    """Connections to one running box."""

    def __init__(self, forwards: Mapping[int, int], account: Account, folder: Path) -> None:
        """Pins the box's certificate, which is kept as a file in `folder`."""
        self.forwards = forwards
        self.account = account
        # QEMU lets one connection wait for it. Further ones at the same moment are answered by Linux
        # with a SYN cookie and then forgotten: whoever waits for a greeting on one waits for ever.
        self._one_at_a_time = threading.Lock()
        self.certificate = ssl.get_server_certificate(
            ("127.0.0.1", forwards[465]), timeout=ANSWER_TIMEOUT
        )
        self.certificate_file = folder / "box.pem"
        self.certificate_file.write_text(self.certificate)
        self._folder = folder

    @cached_property
    def web_certificate(self) -> str:
        """The portal's certificate, which is the card's and not that of mail."""
        return ssl.get_server_certificate(("127.0.0.1", self.forwards[443]), timeout=ANSWER_TIMEOUT)

    @cached_property
    def web_certificate_file(self) -> Path:
        """The same as a file."""
        file = self._folder / "web.pem"
        file.write_text(self.web_certificate)
        return file

    def certificate_at(self, port: int) -> str:
        """The certificate that a port of the box shows."""
        return self.web_certificate if port == 443 else self.certificate

    def context(self, port: int = 465) -> PinnedContext:
        """TLS settings of a careful client: 1.2 or later, one certificate, the right name."""
        context = PinnedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.name = LOCAL_NAME if port == 443 else self.account.host
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=self.certificate_at(port))
        return context

    def connect(self, port: int) -> socket.socket:
        """A bare TCP connection to a port of the box."""
        connection = socket.create_connection(("127.0.0.1", self.forwards[port]), ANSWER_TIMEOUT)
        connection.settimeout(ANSWER_TIMEOUT)
        return connection

    @contextmanager
    def smtp(self, port: int = 25, *, starttls: bool = False) -> Iterator[smtplib.SMTP]:
        """SMTP; over TLS from the start on port 465."""
        client: smtplib.SMTP
        with self._one_at_a_time:
            if port == 465:
                client = smtplib.SMTP_SSL(
                    "127.0.0.1", self.forwards[port], "client.friends.home.arpa",
                    timeout=ANSWER_TIMEOUT, context=self.context(),
                )
            else:
                client = smtplib.SMTP(
                    "127.0.0.1", self.forwards[port], "client.friends.home.arpa", timeout=ANSWER_TIMEOUT
                )
        with client:
            if starttls:
                client.starttls(context=self.context())
            yield client

    @contextmanager
    def imap(self, port: int = 993, *, login: bool = True) -> Iterator[imaplib.IMAP4]:
        """IMAP; with STARTTLS on port 143."""
        client: imaplib.IMAP4
        if port == 993:
            client = imaplib.IMAP4_SSL(
                "127.0.0.1", self.forwards[port], ssl_context=self.context(), timeout=ANSWER_TIMEOUT
            )
        else:
            client = imaplib.IMAP4("127.0.0.1", self.forwards[port], timeout=ANSWER_TIMEOUT)
        with client:
            if port == 143:
                client.starttls(self.context())
            if login:
                client.login(self.account.name, self.account.password)
            yield client

    @contextmanager
    def pop3(self, port: int = 995, *, login: bool = True) -> Iterator[poplib.POP3]:
        """POP3; with STLS on port 110."""
        client: poplib.POP3
        if port == 995:
            client = poplib.POP3_SSL(
                "127.0.0.1", self.forwards[port], context=self.context(), timeout=ANSWER_TIMEOUT
            )
        else:
            client = poplib.POP3("127.0.0.1", self.forwards[port], timeout=ANSWER_TIMEOUT)
        try:
            if port == 110:
                client.stls(self.context())
            if login:
                client.user(self.account.name)
                client.pass_(self.account.password)
            yield client
        finally:
            client.close()

    @property
    def https_url(self) -> str:
        """Where HTTPS answers, without a trailing slash."""
        return f"https://127.0.0.1:{self.forwards[443]}"

    def https(self, password: str | None = None) -> requests.Session:
        """An HTTPS session with the account's name and password."""
        session = requests.Session()
        session.mount("https://", PinnedAdapter(self.context(443)))
        # Without this `requests` would add the public authorities to the context.
        session.verify = str(self.web_certificate_file)
        session.auth = (self.account.name, password or self.account.password)
        return session

    def here(self, url: str) -> str:
        """The same path on the forwarded port: the box knows only its own name and ports."""
        parts = urlsplit(url)
        return self.https_url + parts.path + (f"?{parts.query}" if parts.query else "")

    def well_known(self, name: str) -> str:
        """Where `/.well-known/<name>` leads (RFC 8615)."""
        asked = f"{self.https_url}/.well-known/{name}"
        answer = self.https().get(asked, allow_redirects=False, timeout=ANSWER_TIMEOUT)
        if answer.is_redirect:
            return self.here(urljoin(asked, answer.headers["Location"]))
        answer.raise_for_status()
        return asked

    def sieve(self, *action: str, password: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs `sieve-connect` (a ManageSieve client, RFC 5804) with STARTTLS."""
        return subprocess.run(
            [
                "sieve-connect", "--nosrv", "--4",
                "--server", "127.0.0.1", "--port", str(self.forwards[4190]),
                "--tlscafile", str(self.certificate_file), "--tlshostname", self.account.host,
                "--noclearchan", "--authmech", "PLAIN",
                "--user", self.account.name, "--passwordfd", "0", *action,
            ],
            input=(password or self.account.password) + "\n",
            capture_output=True, text=True, timeout=ANSWER_TIMEOUT, check=False,
        )

    def deliver(self, message: EmailMessage, sender: str = STRANGER, to: str | None = None) -> None:
        """Hands a message to port 25 as a stranger; returns once it is acknowledged."""
        with self.smtp() as smtp:
            refused = smtp.send_message(message, sender, [to or self.account.address])
        assert refused == {}

    def wait_message(self, message: EmailMessage, folder: str = "INBOX") -> bytes:
        """Waits until a message is in a folder and returns it as IMAP gives it."""
        with self.imap() as imap:
            found = wait_until(
                f"message {message['Message-ID']} in {folder}",
                lambda: uids_of(imap, folder, message["Message-ID"]),
                DELIVERY_TIMEOUT,
            )
            assert len(found) == 1, f"{len(found)} copies of one message"
            return fetch(imap, found)[0]

    def has_message(self, message: EmailMessage, folder: str = "INBOX") -> bool:
        """Whether a message is in a folder now."""
        with self.imap() as imap:
            return bool(uids_of(imap, folder, message["Message-ID"]))

    def delete(self, message: EmailMessage, folder: str = "INBOX") -> None:
        """Removes a message that would slow the others down."""
        with self.imap() as imap:
            found = uids_of(imap, folder, message["Message-ID"])
            imap.select(f'"{folder}"')
            imap.uid("STORE", ",".join(found), "+FLAGS", r"(\Deleted)")
            imap.expunge()

    def folders_of(self, message_id: str) -> list[str]:
        """The folders that hold a message."""
        with self.imap() as imap:
            _, lines = imap.list()
            names = [re.sub(rb'^\(.*?\) "." ', b"", line).decode().strip('"') for line in lines]
            return [name for name in names if uids_of(imap, name, message_id)]


def uids_of(imap: imaplib.IMAP4, folder: str, message_id: str) -> list[str]:
    """The UIDs of the messages with an id; none if there is no such folder."""
    state, _ = imap.select(f'"{folder}"', readonly=True)
    if state != "OK":
        return []
    state, parts = imap.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert state == "OK", parts
    found = []
    for part in parts:
        # imaplib mixes (envelope, literal) pairs with the text between them.
        if isinstance(part, tuple) and parse(part[1])["Message-ID"] == message_id:
            found.append(re.search(rb"UID (\d+)", part[0]).group(1).decode())
    return found


def fetch(imap: imaplib.IMAP4, uids: list[str]) -> list[bytes]:
    """Whole messages of the selected folder."""
    state, parts = imap.uid("FETCH", ",".join(uids), "(BODY.PEEK[])")
    assert state == "OK", parts
    return [part[1] for part in parts if isinstance(part, tuple)]
