"""Moving in and moving out: an old server's mail into the booted box, and all that is the owner's out of it again."""

from __future__ import annotations

import base64
import hashlib
import mailbox
import re
import subprocess
import uuid
from pathlib import Path
from urllib.parse import urljoin

import caldav

from clients import ANSWER_TIMEOUT, Account, Clients, PinnedAdapter, fetch, new_message, parse
from conftest import Boot, Subject
from dovecot import Dovecot
from jmap import Jmap
from laptop import Api, Laptop
from machine import Machine
from test_dav import CONTACT, EVENT, NAMES, dav, href_of
from waiting import wait_until

#: Of the box's owner, and of the old account. Letters beyond ASCII, quotes: as people have them.
PASSWORD = "wobbly lantern orbits quietly"
OLD_PASSWORD = 'old "secret" ü'
#: Ports of the box that commands are told of, because the lab forwards others.
IMAPS, HTTPS = 993, 443
#: Seconds since 1970.
LONG_AGO = 1_000_000_000
#: Bytes of the message that is larger than what programs keep in memory.
LARGE = 6_000_000


def old_mailbox(old: Dovecot) -> dict[str, bytes]:
    """Fills the old account; the messages by subject."""
    sent: dict[str, bytes] = {}
    with old.imap("alice") as imap:
        for folder in ('"Arbeit.2019.Q1"', '"&U,BTFw-"', '"Leer"'):
            assert imap.create(folder)[0] == "OK"

        def append(folder: str, flags: str, when: int, subject: str, body: str = "") -> None:
            raw = new_message(subject, "friend@elsewhere.example", "alice@old.example", body).as_bytes()
            assert imap.append(folder, flags, when, raw)[0] == "OK"
            sent[subject] = raw

        append("INBOX", r"(\Seen \Flagged $Forwarded)", LONG_AGO, "read and marked")
        append("INBOX", "", LONG_AGO + 60, "not read")
        append("Gesendet", r"(\Seen)", LONG_AGO, "sent")
        append('"Arbeit.2019.Q1"', r"(\Answered project)", LONG_AGO, "deep")
        append('"&U,BTFw-"', "", LONG_AGO, "Taipei")
        append("INBOX", r"(\Seen)", LONG_AGO, "large", "0123456789abcdef" * 4 + "\n" + ("x" * 70 + "\n") * (LARGE // 71))
    return sent


def found(clients: Clients, folder: str) -> dict[str, tuple[bytes, str]]:
    """The messages of a folder of the box by subject, each with its flags and date."""
    with clients.imap() as imap:
        state, said = imap.select(f'"{folder}"', readonly=True)
        assert state == "OK", said
        _, numbers = imap.uid("SEARCH", "ALL")
        messages = {}
        for uid in numbers[0].decode().split():
            _, about = imap.uid("FETCH", uid, "(FLAGS INTERNALDATE)")
            (raw,) = fetch(imap, [uid])
            line = b" ".join(part if isinstance(part, bytes) else part[0] for part in about).decode()
            messages[str(parse(raw)["Subject"])] = (raw, line)
    return messages


def make_appointment_and_contact(clients: Clients) -> tuple[str, str]:
    """One of each on the box, by other people's programs; their ids."""
    event, contact = str(uuid.uuid4()), str(uuid.uuid4())
    client = caldav.DAVClient(
        clients.well_known("caldav"),
        username=clients.account.name,
        password=clients.account.password,
        ssl_verify_cert=str(clients.web_certificate_file),
    )
    client.session.mount("https://", PinnedAdapter(clients.context(HTTPS)))
    client.principal().calendars()[0].save_event(EVENT.format(uid=event))
    home = href_of(clients, href_of(clients, clients.well_known("carddav"), "d:current-user-principal"), "c:addressbook-home-set")
    body = '<d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/></d:prop></d:propfind>'
    books = dav(clients, "PROPFIND", home, body, 1).xpath("//d:response[.//c:addressbook]/d:href/text()", namespaces=NAMES)
    url = urljoin(home, books[0].rstrip("/") + f"/{contact}.vcf")
    put = clients.https().put(
        url, data=CONTACT.format(uid=contact).encode(), headers={"Content-Type": "text/vcard; charset=utf-8"}, timeout=ANSWER_TIMEOUT
    )
    assert put.status_code == 201, put.text
    return event, contact


def get_addresses(api: Api, domain: str) -> None:
    """Tells the box of a relay, which nobody has set up; it answers for its domain from then on."""
    relay = {"public_key": base64.b64encode(bytes(range(1, 33))).decode(), "endpoint": "192.0.2.7:51820", "address4": "10.77.0.1"}
    text = {"relay": relay, "address4": "10.77.0.2", "outside": {"addresses": ["192.0.2.7"], "second_name_server": ["192.0.2.7"]}}
    assert api.call("PUT", "relay", text) == (204, None)

    def served() -> bool:
        _, told = api.call("GET", "dns")
        return any(zone["domain"] == domain and zone["serial"] for zone in told["zones"])

    wait_until("the zone", served, 60.0, interval=0.5)


def test_move_in_and_out(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """The old mailbox is the new one, with marks, dates and folders, once; the export has all of it."""
    machine = boot(tmp_path / "box")
    machine.wait_ready()
    account: Account = subject.account
    clients = Clients(machine.forwards, account, tmp_path)
    desk = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    assert machine.code
    desk.pair(machine, "--code", machine.code)
    desk.environment |= {"XDG_STATE_HOME": str(desk.folder / "state")}
    old_password = desk.folder / "old-password"
    old_password.write_text(OLD_PASSWORD + "\n")
    with Dovecot(("alice",), OLD_PASSWORD) as old:
        sent = old_mailbox(old)
        command = (
            "import", old.url("alice"), "--fingerprint", old.fingerprint, "--password-file", str(old_password),
            "--imap-port", str(machine.forwards[IMAPS]), "--box", desk.at(machine),
        )  # fmt: skip
        look = desk.run(*command, "--dry-run")[-1]
        assert sum(folder["moved"] for folder in look["folders"]) == len(sent), look
        done = desk.run(*command)[-1]
        assert done["troubles"] == [] and sum(folder["moved"] for folder in done["folders"]) == len(sent), done
        # Without its memory it compares, and finds everything there.
        subprocess.run(["rm", "-r", str(desk.folder / "state")], check=True)
        again = desk.run(*command)[-1]
        assert sum(folder["moved"] for folder in again["folders"]) == 0, again

    inbox = found(clients, "INBOX")
    for subject_line in ("read and marked", "not read", "large"):
        assert inbox[subject_line][0] == sent[subject_line], subject_line
    assert r"\Flagged" in inbox["read and marked"][1] and "$forwarded" in inbox["read and marked"][1].lower(), inbox["read and marked"][1]
    assert "09-Sep-2001" in inbox["read and marked"][1] or " 9-Sep-2001" in inbox["read and marked"][1], inbox["read and marked"][1]
    assert r"\Seen" not in inbox["not read"][1], inbox["not read"][1]
    assert found(clients, "Sent Items")["sent"][0] == sent["sent"]
    deep = found(clients, "Arbeit/2019/Q1")["deep"]
    assert deep[0] == sent["deep"] and r"\Answered" in deep[1] and "project" in deep[1].lower(), deep[1]
    assert found(clients, "&U,BTFw-")["Taipei"][0] == sent["Taipei"]
    assert found(clients, "Leer") == {}
    jmap = Jmap(clients)
    by_subject = {mail["subject"]: mail for mail in jmap.emails()}
    assert sent.keys() <= by_subject.keys()
    assert jmap.download(by_subject["deep"]["blobId"]) == sent["deep"]
    # The password that the box made for the command is taken back, and nobody else's is.
    left = "\n".join(machine.logs("portal"))
    assert OLD_PASSWORD not in left and PASSWORD not in left

    event, contact = make_appointment_and_contact(clients)
    ports = (
        "--imap-port", str(machine.forwards[IMAPS]), "--web-port", str(machine.forwards[HTTPS]), "--box", desk.at(machine),
    )  # fmt: skip
    # A box that has no address on the internet answers for no domain, and one can leave it as well.
    said = desk.run("export", "--output", str(desk.folder / "early.tar"), *ports)
    assert said[-1]["zones"] == [], said[-1]
    assert any(event["event"] == "warning" and "does not answer for" in event["text"] for event in said), said
    get_addresses(Api(machine, desk), account.domain)
    archive = desk.folder / "all.tar.zst"
    packed = desk.run("export", "--output", str(archive), *ports)[-1]
    (alice,) = [one for one in packed["accounts"] if one["account"] == account.name]
    assert alice["contacts"] == 1 and alice["appointments"] == 1, packed
    assert alice["messages"] >= len(sent), packed
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-C", str(unpacked), "-xf", str(archive)], check=True)
    (root,) = unpacked.iterdir()
    subprocess.run(["sha256sum", "--quiet", "--check", "SHA256SUMS"], cwd=root, check=True)
    # Python's own reader of maildirs, which nobody of us has written.
    maildir = mailbox.Maildir(root / "mail" / account.name, create=False)
    kept = {str(message["Subject"]): message for message in maildir}
    assert {"read and marked", "not read", "large"} <= kept.keys()
    assert "F" in kept["read and marked"].get_flags() and "S" not in kept["not read"].get_flags()
    folders = set(maildir.list_folders())
    assert {"Sent Items", "Arbeit.2019.Q1", "&U,BTFw-", "Leer"} <= folders, folders
    (deep_file,) = (root / "mail" / account.name / ".Arbeit.2019.Q1/cur").iterdir()
    assert deep_file.read_bytes().replace(b"\n", b"\r\n") == sent["deep"].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert int(deep_file.stat().st_mtime) == LONG_AGO
    calendars = "".join(file.read_text() for file in (root / "calendars" / account.name).glob("*.ics"))
    assert event in calendars and "Feed the hens" in calendars
    contacts = "".join(file.read_text() for file in (root / "contacts" / account.name).glob("*.vcf"))
    assert contact in contacts and "Bärbel Example" in contacts
    zone = (root / "dns" / f"{account.domain}.zone").read_text()
    assert re.search(r"\sMX\s", zone) and "_domainkey" in zone, zone
    readme = (root / "README.txt").read_text()
    assert account.domain in readme and "Dovecot" in readme
    assert not any(b"PRIVATE KEY" in file.read_bytes() for file in root.rglob("*") if file.is_file())
    with_keys(desk, machine, account, ports, tmp_path)

    # And back, below another folder: the same messages.
    back = desk.run(
        "import", str(root / "mail" / account.name), "--into", "Back", "--imap-port", str(machine.forwards[IMAPS]),
        "--box", desk.at(machine),
    )[-1]  # fmt: skip
    assert back["troubles"] == [], back
    hashes = {hashlib.sha256(raw).hexdigest() for raw, _ in found(clients, "Back/INBOX").values()}
    assert {hashlib.sha256(sent[name]).hexdigest() for name in ("read and marked", "not read", "large")} <= hashes
    assert desk.run("import", str(tmp_path / "missing"), "--box", desk.at(machine), expect=None)[-1]["event"] != "result"


def with_keys(desk: Laptop, machine: Machine, account: Account, ports: tuple[str, ...], tmp_path: Path) -> None:
    """A backup has the keys: BIND signs the zone with them as the registrar knows it, OpenSSL reads what signs mail."""
    box = ("--box", desk.at(machine))
    backups, code, archive = tmp_path / "backups", tmp_path / "code.txt", tmp_path / "keys.tar"
    desk.run("backup", str(backups), *box)
    code.write_text(desk.run("backup", "code", *box)[-1]["recovery_code"])
    packed = desk.run(
        "export", "--output", str(archive), "--keys-from", str(backups), "--code-file", str(code), *ports,
    )[-1]  # fmt: skip
    unpacked = tmp_path / "unpacked-keys"
    unpacked.mkdir()
    subprocess.run(["tar", "-C", str(unpacked), "-xf", str(archive)], check=True)
    (root,) = unpacked.iterdir()
    assert {name for name in packed["keys"]} == {str(file.relative_to(root)) for file in (root / "keys").rglob("*") if file.is_file()}
    zone, keys = root / "dns" / f"{account.domain}.zone", root / "keys" / "dnssec"
    signed = tmp_path / "signed.zone"
    # `-P` would pass over what a zone lacks; without, BIND verifies the whole zone that it has signed.
    subprocess.run(
        ["dnssec-signzone", "-S", "-K", str(keys), "-d", str(tmp_path), "-o", account.domain, "-f", str(signed), str(zone)],
        check=True, capture_output=True,
    )  # fmt: skip
    (ksk,) = (file for file in keys.glob("*.key") if " 257 " in file.read_text())
    ds = subprocess.run(["dnssec-dsfromkey", "-2", str(ksk)], check=True, capture_output=True, text=True).stdout.split()
    _, told = Api(machine, desk).call("GET", "dns")
    (served,) = (one for one in told["zones"] if one["domain"] == account.domain)
    assert ds[-4:] in [line.split()[-4:] for line in served["ds"]], (ds, served)
    rsa = root / "keys" / "dkim-rsa.pem"
    public = subprocess.run(["openssl", "rsa", "-in", str(rsa), "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    text = re.sub(r'"\s*"', "", zone.read_text())
    assert f"p={base64.b64encode(public).decode()}" in text, text
