"""Calendar, contacts and files over HTTPS, found from the well-known addresses."""

from __future__ import annotations

import datetime
import subprocess
import uuid
from pathlib import Path
from urllib.parse import urljoin

import caldav
import pytest
from lxml import etree

from clients import ANSWER_TIMEOUT, LOCAL_NAME, Clients, PinnedAdapter

#: Prefixes of RFC 4918 (WebDAV) and RFC 6352 (CardDAV).
NAMES = {"d": "DAV:", "c": "urn:ietf:params:xml:ns:carddav"}
EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//Roost//Lab//EN\r
BEGIN:VEVENT\r
UID:{uid}\r
DTSTAMP:20261101T000000Z\r
DTSTART:20261224T160000Z\r
DTEND:20261224T170000Z\r
SUMMARY:Feed the hens\r
END:VEVENT\r
END:VCALENDAR\r
"""
CONTACT = """BEGIN:VCARD\r
VERSION:4.0\r
UID:{uid}\r
FN:Bärbel Example\r
EMAIL:baerbel@elsewhere.example\r
END:VCARD\r
"""


def test_calendar(clients: Clients) -> None:
    """PUT, GET, REPORT by time range and DELETE of an event with a CalDAV client (RFC 4791)."""
    client = caldav.DAVClient(
        clients.well_known("caldav"),
        username=clients.account.name,
        password=clients.account.password,
        ssl_verify_cert=str(clients.web_certificate_file),
    )
    client.session.mount("https://", PinnedAdapter(clients.context(443)))
    calendars = client.principal().calendars()
    assert calendars, "the account has no calendar"
    calendar = calendars[0]
    uid = str(uuid.uuid4())
    calendar.save_event(EVENT.format(uid=uid))

    event = calendar.event_by_uid(uid)
    event.load()
    assert "SUMMARY:Feed the hens" in event.data

    def found(day: datetime.datetime) -> list[str]:
        events = calendar.date_search(day, day + datetime.timedelta(days=1), expand=False)
        return [e.vobject_instance.vevent.uid.value for e in events]

    assert uid in found(datetime.datetime(2026, 12, 24))
    assert uid not in found(datetime.datetime(2026, 12, 26))
    event.delete()
    assert uid not in found(datetime.datetime(2026, 12, 24))


def dav(clients: Clients, method: str, url: str, body: str, depth: int) -> etree._Element:
    """A WebDAV request with an XML body; the multistatus element of the answer."""
    answer = clients.https().request(
        method,
        url,
        data=body.encode(),
        headers={"Depth": str(depth), "Content-Type": "application/xml; charset=utf-8"},
        timeout=ANSWER_TIMEOUT,
    )
    assert answer.status_code == 207, answer.text
    return etree.fromstring(answer.content)


def href_of(clients: Clients, url: str, prop: str) -> str:
    """The address in a property of a resource."""
    body = f'<d:propfind xmlns:d="DAV:" xmlns:c="{NAMES["c"]}"><d:prop><{prop}/></d:prop></d:propfind>'
    answer = dav(clients, "PROPFIND", url, body, 0)
    return urljoin(url, answer.findtext(f".//{prop}/d:href", namespaces=NAMES))


def test_contacts(clients: Clients) -> None:
    """Address book discovery, PUT, GET, REPORT and DELETE of a contact (RFC 6352)."""
    principal = href_of(clients, clients.well_known("carddav"), "d:current-user-principal")
    home = href_of(clients, principal, "c:addressbook-home-set")
    listed = dav(
        clients, "PROPFIND", home, '<d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/></d:prop></d:propfind>', 1
    )
    books = listed.xpath("//d:response[.//c:addressbook]/d:href/text()", namespaces=NAMES)
    assert books, "the account has no address book"

    uid = str(uuid.uuid4())
    card = CONTACT.format(uid=uid)
    https = clients.https()
    url = urljoin(home, books[0].rstrip("/") + f"/{uid}.vcf")
    put = https.put(
        url, data=card.encode(), headers={"Content-Type": "text/vcard; charset=utf-8"}, timeout=ANSWER_TIMEOUT
    )
    assert put.status_code == 201, put.text
    got = https.get(url, timeout=ANSWER_TIMEOUT)
    assert got.status_code == 200 and "FN:Bärbel Example" in got.content.decode()

    def found(name: str) -> list[str]:
        query = f"""<c:addressbook-query xmlns:d="DAV:" xmlns:c="{NAMES["c"]}">
            <d:prop><d:getetag/><c:address-data/></d:prop>
            <c:filter><c:prop-filter name="FN"><c:text-match>{name}</c:text-match></c:prop-filter></c:filter>
            </c:addressbook-query>"""
        return dav(clients, "REPORT", urljoin(home, books[0]), query, 1).xpath("//c:address-data/text()", namespaces=NAMES)

    assert any(uid in card for card in found("Bärbel"))
    assert not any(uid in card for card in found("Rosalind"))
    assert https.delete(url, timeout=ANSWER_TIMEOUT).status_code == 204
    assert https.get(url, timeout=ANSWER_TIMEOUT).status_code == 404


def test_file(clients: Clients, tmp_path: Path) -> None:
    """PUT, GET, range, MOVE and DELETE of a file with curl, a client of another make."""
    sent = tmp_path / "sent.bin"
    sent.write_bytes(bytes(range(256)) * 400)
    base = f"https://{LOCAL_NAME}:{clients.forwards[443]}"
    folder = f"{base}/dav/file/{clients.account.name}"
    name = f"{uuid.uuid4()}.bin"

    def curl(*arguments: str) -> str:
        """Runs curl; the status code of the answer."""
        secret = f'user = "{clients.account.name}:{clients.account.password}"\n'
        done = subprocess.run(
            [
                "curl", "--silent", "--show-error", "--config", "-",
                "--cacert", str(clients.web_certificate_file),
                "--connect-to", f"::127.0.0.1:{clients.forwards[443]}",
                "--write-out", "%{http_code}", "--max-time", str(ANSWER_TIMEOUT),
                *arguments,
            ],
            input=secret, capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout[-3:]

    assert curl("--upload-file", str(sent), f"{folder}/{name}") == "201"
    back = tmp_path / "back.bin"
    assert curl("--output", str(back), f"{folder}/{name}") == "200"
    assert back.read_bytes() == sent.read_bytes()
    moved = f"{base}/dav/file/{clients.account.name}/moved-{name}"
    assert curl("--request", "MOVE", "--header", f"Destination: {moved}", f"{folder}/{name}") in ("201", "204")
    assert curl("--output", str(back), moved) == "200"
    assert back.read_bytes() == sent.read_bytes()
    assert curl("--output", "/dev/null", f"{folder}/{name}") == "404"
    assert curl("--request", "DELETE", moved) == "204"


@pytest.mark.parametrize("name", ["jmap", "caldav", "carddav"])
def test_well_known(clients: Clients, name: str) -> None:
    """A client that is given only the host's name finds every service (RFC 8615)."""
    assert clients.well_known(name).startswith(clients.https_url)
    stranger = clients.https("not the password")
    answer = stranger.get(clients.well_known(name), timeout=ANSWER_TIMEOUT)
    assert answer.status_code == 401, "a service is open to everybody"
