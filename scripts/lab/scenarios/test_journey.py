"""From `roost init` to a mail server that the strict talk to, and through what happens to one: the owner's whole way.

What a person does is counted: commands on the owner's computer, and values that they type. The emulated internet is
that of `lab.py`, which `scripts/lab/up` shows to people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import lab
from clients import Account, Clients, new_message
from conftest import Boot, Subject
from home import BOX4, CARD
from lab import Lab, Owner
from laptop import Api, Laptop
from machine import Machine
from waiting import wait_until

ADMIN_PASSWORD = "wobbly lantern orbits quietly"
DOMAIN, ACCOUNT = "example.org", "alice"
#: Seconds until a change is everywhere.
PATIENCE = 60.0
#: Seconds until all certificates are there: accounts, orders and challenges on an emulated box.
ORDER_TIMEOUT = 180.0
#: zstd level of bundles: packing as tightly as for owners takes most of a minute of two processors each time.
PACKING = "6"


@dataclass
class Journey:
    """What the chapters hand on."""

    subject: Subject
    boot: Boot
    folder: Path
    lab: Lab
    owner: Owner
    say: Callable[[str], None]
    account: Account
    machine: Machine | None = None
    api: Api | None = None

    @property
    def box(self) -> Machine:
        """The box, once it is on."""
        assert self.machine is not None
        return self.machine

    def chapter(self, title: str) -> None:
        """A line about what was reached."""
        self.say(f"{title}: {self.owner.count}")

    def phone(self, *action: str) -> str:
        """What the owner's phone, somewhere, shows."""
        return self.lab.call(self.account.host, self.account.name, self.account.password, *action)

    def wait(self, what: str, probe: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Waits; a failure carries what everybody said."""
        try:
            return wait_until(what, probe, seconds, interval=0.5)
        except AssertionError as late:
            services = ("dns", "certificates", "resolver", "mail", "portal", "tunnel")
            logs = "\n".join(f"{name}: {line}" for name in services for line in self.box.logs(name)[-40:])
            raise AssertionError(f"{late}\n{logs}\n{self.lab.world.logs()}\n{self.lab.strict.log()[-4000:]}") from late


@pytest.fixture
def journey(boot: Boot, subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The internet, and an owner who has nothing but the command."""
    if why := lab.why_not():
        pytest.skip(why)

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n  journey: {line}", end="", flush=True)

    with Lab(tmp_path / "lab") as made:
        owner = Owner(subject.roost, made)
        yield Journey(subject, boot, tmp_path, made, owner, say, Account(ACCOUNT, subject.account.password, DOMAIN, f"mail.{DOMAIN}"))


def test_the_journey(journey: Journey) -> None:
    """One box, from its first command on."""
    card = build(journey)
    start(journey, card)
    mail_at_home(journey)
    connect(journey)
    certified(journey)
    mail_with_the_strict(journey)


def build(journey: Journey) -> Path:
    """`roost init`, `roost build`, `roost flash`, into a file."""
    owner = journey.owner
    owner.count.fields += ["domain", "account"]
    password = owner.secret("mail password", journey.account.password)
    owner.roost("init", DOMAIN, "--domain", DOMAIN, "--account", ACCOUNT, "--password-file", str(password))
    owner.project = owner.folder / DOMAIN
    config = owner.project / "roost.toml"
    # The lab's own: a root that is not the world's, and an image at an AWS that has not Debian's.
    journey.lab.adapt(config)
    owner.roost("build", "--offline")
    card = journey.folder / "card.img"
    owner.roost("flash", str(card), "--name", "roost", *CARD, "--yes")
    journey.chapter("a card is flashed")
    return card


def start(journey: Journey, card: Path) -> None:
    """The box boots at home, and is paired in a browser."""
    machine = journey.boot(journey.folder / "box", image=card, options=("--lan", "--lan-only"))
    journey.machine = machine
    card.unlink()
    owner = journey.owner
    home, machine.forwards = journey.lab.open_home(str(machine.lan_path))
    owner.comes_home(home)
    machine.wait_ready()
    assert machine.code
    journey.chapter("the box is on")
    password = owner.secret("admin password", ADMIN_PASSWORD)
    # The code is in the link, if a phone reads it from the screen; somebody without one types it.
    owner.count.fields.append("pairing code")
    left = owner.browse("pair_box.py", f"https://{BOX4}", machine.code, str(password))
    assert left == "1", f"{left} fields were empty"
    journey.chapter("paired in Chromium")


def mail_at_home(journey: Journey) -> None:
    """A mail program on the home's network sends and reads: three commands and five fields from nothing."""
    clients = Clients(journey.box.forwards, journey.account, journey.folder)
    message = new_message("to myself", journey.account.address, journey.account.address)
    with clients.smtp(465) as smtp:
        smtp.login(journey.account.name, journey.account.password)
        assert smtp.send_message(message) == {}
    clients.wait_message(message)
    count = journey.owner.count
    journey.chapter("the first mail is read at home")
    assert len(count.commands) <= 3, count.commands
    assert len(count.fields) <= 5, count.fields


def connect(journey: Journey) -> None:
    """`roost relay apply`; what `roost dns ds` says goes to the registrar; `roost relay finish`."""
    owner, world = journey.owner, journey.lab.world
    password = owner.secret("admin password", ADMIN_PASSWORD)
    owner.roost("pair", BOX4, "--laptop", "desk", "--password-file", str(password))
    journey.api = Api(journey.box, Laptop.of(journey.subject.roost, owner.folder))
    journey.chapter("the computer is paired")
    applied = owner.roost("relay", "apply", "--yes")[-1]
    assert applied["tunnel"]["state"] == "up", applied
    journey.chapter("the relay is made")
    delegate(journey)
    journey.chapter("the domain is delegated")
    address = applied["relay"]["public_ipv4"]
    finished = owner.roost("relay", "finish", "--yes", "--agree-terms")
    relay = next(event["relay"] for event in finished if "relay" in event)
    assert relay["reverse_name"].rstrip(".") == journey.account.host
    journey.wait("the reverse name", lambda: journey.account.host in world.machine.run("dig", f"@{lab.RESOLVER}", "-x", address, "+short"))
    journey.chapter("the relay is finished")


def delegate(journey: Journey) -> None:
    """The registrar is told what `roost dns ds` says."""
    told = journey.wait("DS records", lambda: (said := journey.owner.roost("dns", "ds", counted=False)[-1])["ds"] and said)
    journey.owner.count.commands.append("roost dns ds")
    servers = [(record["name"], record["value"]) for record in told["name_servers"]]
    journey.lab.world.delegate(DOMAIN, servers, told["ds"])
    journey.wait("an answer that validates from the root", lambda: journey.lab.world.secure(DOMAIN, "MX"))


def certified(journey: Journey) -> None:
    """The world's authority plays the part of Let's Encrypt, to whose terms `finish` has agreed."""
    assert journey.api is not None
    status, told = journey.api.call("PUT", "certificates", journey.lab.authority())
    assert status == 204, told

    def valid() -> bool:
        status, told = journey.api.call("GET", "certificates")
        found = {one["id"]: one["state"] for one in told["certificates"]} if status == 200 else {}
        return found == {"mail": "valid", DOMAIN: "valid"}

    journey.wait("certificates", valid, ORDER_TIMEOUT)
    world = journey.lab.world
    journey.wait("TLSA", lambda: "TLSA\t3 1 1" in world.resolve(f"_25._tcp.{journey.account.host}", "TLSA"))
    journey.wait("MTA-STS", lambda: "v=STSv1" in world.resolve(f"_mta-sts.{DOMAIN}", "TXT"))
    journey.chapter("the box has certificates")


def mail_with_the_strict(journey: Journey) -> None:
    """In from a peer that insists on the box's MTA-STS policy; out to it, with everything proven."""
    strict, account = journey.lab.strict, journey.account
    bob = f"bob@{strict.domain}"
    coming = new_message("from a strict server", bob, account.address)
    strict.send(coming)
    kept = journey.phone("imap", str(coming["Message-ID"]))
    assert f"[{strict.address}]" in kept, kept
    assert journey.phone("jmap", str(coming["Message-ID"])) == coming["Subject"]
    journey.chapter("the first mail from the internet is read")
    going = journey.phone("send", bob, "to a strict server")
    message = journey.wait("mail at the strict server", lambda: strict.received(going))
    verdict = strict.verdict(message)
    journey.say(f"{strict.domain} found: {verdict}; it sent to a server that was {strict.sent(account.host)}")
    assert verdict["SPF"] == "pass" and verdict["DKIM"] == "pass, pass" and verdict["FCrDNS"] == "pass", verdict
    journey.chapter("the first mail to the internet is there")
    assert journey.phone("calendar", "Feed the hens") == "Feed the hens"
    journey.chapter("an entry is in the calendar")
