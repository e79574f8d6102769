"""The owner sends mail: with a password, inside TLS, under the owner's own name, signed."""

from __future__ import annotations

import base64
import smtplib

import dkim
import dkim.canonicalization
import pytest

from clients import Clients, new_message, parse


@pytest.mark.parametrize(("port", "starttls"), [(465, False), (587, True)])
def test_submission(clients: Clients, port: int, starttls: bool) -> None:
    """Both ways of submission (RFC 8314, RFC 6409), with a DKIM signature of either kind."""
    account = clients.account
    message = new_message(f"submitted on {port}", account.address, account.address)
    with clients.smtp(port, starttls=starttls) as smtp:
        assert smtp.login(account.name, account.password)[0] == 235
        assert smtp.send_message(message) == {}
    received = clients.wait_message(message)
    signatures = dkim_signatures(received)
    assert set(signatures) == {"rsa-sha256", "ed25519-sha256"}
    # A 2048-bit RSA key and a curve 25519 one (RFC 8463) make signatures of these lengths.
    assert {name: len(value) for name, value in signatures.items()} == {
        "rsa-sha256": 256,
        "ed25519-sha256": 64,
    }


def dkim_signatures(raw: bytes) -> dict[str, bytes]:
    """The signatures of a message by algorithm; each must cover the body and the `From` line.

    Their keys are published in the domain's zone, which this lab has not: the
    body hash and the tags are checked here, the signature's value is not.
    """
    found = {}
    domain = parse(raw)["From"].addresses[0].domain.encode()
    for value in parse(raw).get_all("DKIM-Signature", []):
        tags = dkim.util.parse_tag_value(str(value).encode())
        assert tags[b"d"] == domain
        assert b"from" in tags[b"h"].lower().split(b":")
        policy = dkim.canonicalization.CanonicalizationPolicy.from_c_value(tags[b"c"])
        body = policy.canonicalize_body(raw.split(b"\r\n\r\n", 1)[1])
        digest = dkim.HASH_ALGORITHMS[tags[b"a"]](body).digest()
        assert base64.b64decode(tags[b"bh"]) == digest, "the body hash is not of this body"
        found[tags[b"a"].decode()] = base64.b64decode(b"".join(tags[b"b"].split()))
    return found


@pytest.mark.parametrize(("port", "starttls"), [(465, False), (587, True)])
def test_nothing_without_a_login(clients: Clients, port: int, starttls: bool) -> None:
    """A submission port takes no mail from a stranger, not even for the box's own domain."""
    with clients.smtp(port, starttls=starttls) as smtp:
        smtp.ehlo()
        codes = [smtp.mail("stranger@elsewhere.example")[0], smtp.rcpt(clients.account.address)[0]]
    assert all(code >= 500 for code in codes), codes


@pytest.mark.parametrize("sender", ["bob@example.org", "alice@elsewhere.example"])
def test_only_under_ones_own_name(clients: Clients, sender: str) -> None:
    """A login does not allow to send as somebody else."""
    with clients.smtp(465) as smtp:
        smtp.login(clients.account.name, clients.account.password)
        code, _ = smtp.mail(sender)
        with pytest.raises(smtplib.SMTPException):
            smtp.send_message(
                new_message("not from me", sender, clients.account.address), sender
            )
    assert 500 <= code < 600
