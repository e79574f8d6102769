"""A wrong password opens nothing, on any protocol, and the right one goes on working."""

from __future__ import annotations

import imaplib
import itertools
import poplib
import smtplib
from concurrent.futures import ThreadPoolExecutor

import pytest

from clients import ANSWER_TIMEOUT, Clients

WRONG = "not the password"


@pytest.fixture(autouse=True)
def right_password_still_works(clients: Clients):
    """Whatever was tried, the owner is not locked out."""
    yield
    with clients.imap() as imap:
        assert imap.noop()[0] == "OK"


def test_smtp(clients: Clients) -> None:
    """535 (RFC 4954 section 6), the same whether the user exists or not."""

    def code(port: int, user: str) -> int:
        with clients.smtp(port, starttls=port == 587) as smtp:
            with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
                smtp.login(user, WRONG)
        return refusal.value.smtp_code

    attempts = list(itertools.product([465, 587], [clients.account.name, "nobody"]))
    # At once: the box lets everybody wait for some seconds after a failure.
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda attempt: code(*attempt), attempts)) == [535] * len(attempts)


@pytest.mark.parametrize("port", [993, 143])
def test_imap(clients: Clients, port: int) -> None:
    """NO, and the session stays without a user."""
    with clients.imap(port, login=False) as imap:
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            imap.login(clients.account.name, WRONG)
        assert imap.state == "NONAUTH"


@pytest.mark.parametrize("port", [995, 110])
def test_pop3(clients: Clients, port: int) -> None:
    """-ERR at the password, not at the user name."""
    with clients.pop3(port, login=False) as pop:
        pop.user(clients.account.name)
        with pytest.raises(poplib.error_proto):
            pop.pass_(WRONG)


def test_managesieve(clients: Clients) -> None:
    """The client ends with an error and lists nothing."""
    assert clients.sieve("--list").returncode == 0
    refused = clients.sieve("--list", password=WRONG)
    assert refused.returncode != 0 and "ACTIVE" not in refused.stdout


@pytest.mark.parametrize("path", ["/jmap/session", "/dav/cal/alice/", "/dav/card/alice/", "/dav/file/alice/"])
def test_https(clients: Clients, path: str) -> None:
    """401 with a challenge."""
    answer = clients.https(WRONG).get(clients.https_url + path, timeout=ANSWER_TIMEOUT)
    assert answer.status_code == 401
    assert "basic" in answer.headers["WWW-Authenticate"].lower()


@pytest.mark.parametrize("path", ["/api/principal", "/api/settings/list", "/api/queue/messages", "/api/reload"])
def test_mail_user_is_no_administrator(clients: Clients, path: str) -> None:
    """The library's management API is closed to the owner's mail password, too."""
    answer = clients.https().get(clients.https_url + path, timeout=ANSWER_TIMEOUT)
    assert answer.status_code in (401, 403, 404), answer.text[:200]
