"""A phone somewhere in the world: mail and calendar by the domain's own names, with certificates as everybody checks them.

usage: phone.py HOST ADDRESS PASSWORD send TO SUBJECT   prints the message's id
       phone.py HOST ADDRESS PASSWORD imap ID           prints the message, once it is there
       phone.py HOST ADDRESS PASSWORD about TEXT        prints the message with this in its subject, once it is there
       phone.py HOST ADDRESS PASSWORD jmap ID           prints its subject
       phone.py HOST ADDRESS PASSWORD calendar TITLE    enters an event, and prints the title as another look finds it

`lab.py` runs it on a machine of the emulated internet; the authorities are those of SSL_CERT_FILE and
REQUESTS_CA_BUNDLE.
"""

from __future__ import annotations

import datetime
import imaplib
import smtplib
import ssl
import sys
import uuid

import caldav
import requests

from clients import DELIVERY_TIMEOUT, fetch, new_message, uids_of
from jmap import CORE, MAIL
from waiting import wait_until

#: Seconds for one answer.
TIMEOUT = 60.0
EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//Roost//Lab//EN\r
BEGIN:VEVENT\r
UID:{uid}\r
DTSTAMP:20261101T000000Z\r
DTSTART:20261224T160000Z\r
DTEND:20261224T170000Z\r
SUMMARY:{title}\r
END:VEVENT\r
END:VCALENDAR\r
"""


def name_of(address: str) -> str:
    """The account's name, with which its owner signs in."""
    return address.partition("@")[0]


def send(host: str, address: str, password: str, to: str, subject: str) -> str:
    """Submits a message (RFC 8314, port 465)."""
    message = new_message(subject, address, to)
    with smtplib.SMTP_SSL(host, 465, timeout=TIMEOUT, context=ssl.create_default_context()) as smtp:
        smtp.login(name_of(address), password)
        assert smtp.send_message(message) == {}
    return str(message["Message-ID"])


def imap(host: str, address: str, password: str, message_id: str) -> str:
    """Waits for a message in the inbox."""
    with imaplib.IMAP4_SSL(host, timeout=TIMEOUT, ssl_context=ssl.create_default_context()) as client:
        client.login(name_of(address), password)
        found = wait_until(f"message {message_id}", lambda: uids_of(client, "INBOX", message_id), DELIVERY_TIMEOUT)
        return fetch(client, found)[0].decode(errors="replace")


def about(host: str, address: str, password: str, text: str) -> str:
    """Waits for a message in the inbox with a text in its subject."""
    with imaplib.IMAP4_SSL(host, timeout=TIMEOUT, ssl_context=ssl.create_default_context()) as client:
        client.login(name_of(address), password)

        def found() -> list[bytes]:
            client.select("INBOX", readonly=True)
            return client.uid("SEARCH", "SUBJECT", f'"{text}"')[1][0].split()

        uid = wait_until(f"a message about {text!r}", found, DELIVERY_TIMEOUT)[-1]
        return fetch(client, [uid.decode()])[0].decode(errors="replace")


def jmap(host: str, address: str, password: str, message_id: str) -> str:
    """Finds a message by its id (RFC 8620, RFC 8621)."""
    web = requests.Session()
    web.auth = (name_of(address), password)
    session = web.get(f"https://{host}/.well-known/jmap", timeout=TIMEOUT)
    session.raise_for_status()
    account = session.json()["primaryAccounts"][MAIL]
    # What is asked for follows from what the query finds (RFC 8620 section 3.7).
    query = {"accountId": account, "sort": [{"property": "receivedAt", "isAscending": False}], "limit": 50}
    ids = {"resultOf": "q", "name": "Email/query", "path": "/ids"}
    get = {"accountId": account, "#ids": ids, "properties": ["messageId", "subject"]}
    answer = web.post(session.json()["apiUrl"], timeout=TIMEOUT, json={
        "using": [CORE, MAIL], "methodCalls": [["Email/query", query, "q"], ["Email/get", get, "g"]],
    })  # fmt: skip
    answer.raise_for_status()
    emails = answer.json()["methodResponses"][1][1]["list"]
    return str(next(email["subject"] for email in emails if email["messageId"] == [message_id.strip("<>")]))


def calendar(host: str, address: str, password: str, title: str) -> str:
    """Enters an event (RFC 4791), found from the well-known address."""

    def entries() -> list[str]:
        client = caldav.DAVClient(f"https://{host}/.well-known/caldav", username=name_of(address), password=password)
        (first, *_) = client.principal().calendars()
        day = datetime.datetime(2026, 12, 24)
        titles = [str(event.vobject_instance.vevent.summary.value) for event in first.date_search(day, day + datetime.timedelta(days=1), expand=False)]
        if title not in titles:
            first.save_event(EVENT.format(uid=uuid.uuid4(), title=title))
        return titles

    entries()
    return next(found for found in entries() if found == title)


def main() -> None:
    """One thing at a time."""
    match sys.argv[1:]:
        case [host, address, password, "send", to, subject]:
            print(send(host, address, password, to, subject))
        case [host, address, password, "imap", message_id]:
            print(imap(host, address, password, message_id))
        case [host, address, password, "about", text]:
            print(about(host, address, password, text))
        case [host, address, password, "jmap", message_id]:
            print(jmap(host, address, password, message_id))
        case [host, address, password, "calendar", title]:
            print(calendar(host, address, password, title))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
