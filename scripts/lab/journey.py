"""The owner's way from `roost init` on, in chapters: for the scenario `test_journey`, and for `scripts/lab/up`.

What a person does is counted: commands on the owner's computer, and values that they type. The emulated internet is
that of `lab.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import elf
import lab
from clients import Account, Clients, new_message, parse
from home import BOX4, CARD, Home
from lab import Lab, Owner
from laptop import Api, Laptop
from machine import BOOT_TIMEOUT, Machine
from updates import ROLLED_BACK
from waiting import wait_until

#: What the owner types into the pairing page.
ADMIN_PASSWORD = "wobbly lantern orbits quietly"
DOMAIN, ACCOUNT = "example.org", "alice"
#: What the box calls the owner's computer.
COMPUTER = "desk"
#: Seconds until a change is everywhere.
PATIENCE = 60.0
#: Seconds until all certificates are there: accounts, orders and challenges on an emulated box.
ORDER_TIMEOUT = 180.0
#: Seconds until the doctor has found each thing well.
HEALTH_TIMEOUT = 180.0
#: Seconds until a restored card serves: the relay waits until the one before has surely stopped.
TAKEOVER_TIMEOUT = 240.0
#: zstd level of bundles: packing as tightly as for owners takes most of a minute of two processors each time.
PACKING = "6"


@dataclass
class Journey:
    """What the chapters hand on."""

    roost: Path
    boot: Callable[..., Machine]
    folder: Path
    lab: Lab
    owner: Owner
    say: Callable[[str], None]
    account: Account
    machine: Machine | None = None
    home: Home | None = None
    api: Api | None = None
    #: Message-IDs of mail that has come in.
    kept: list[str] = field(default_factory=list)

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
        return self.lab.call(self.account.host, self.account.address, self.account.password, *action)

    def wait(self, what: str, probe: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Waits; a failure carries what everybody said."""
        try:
            return wait_until(what, probe, seconds, interval=0.5)
        except AssertionError as late:
            services = ("dns", "certificates", "resolver", "mail", "portal", "tunnel")
            logs = "\n".join(f"{name}: {line}" for name in services for line in self.box.logs(name)[-40:])
            raise AssertionError(f"{late}\n{logs}\n{self.lab.world.logs()}\n{self.lab.strict.log()[-4000:]}") from late


def build(journey: Journey) -> Path:
    """`roost init` and `roost flash`, which makes the image and writes it into a file."""
    owner = journey.owner
    owner.count.fields += ["domain", "account"]
    password = owner.secret("mail password", journey.account.password)
    owner.roost("init", DOMAIN, "--domain", DOMAIN, "--account", ACCOUNT, "--password-file", str(password))
    owner.project = owner.folder / DOMAIN
    config = owner.project / "roost.toml"
    # The lab's own: a root that is not the world's, and an image at an AWS that has not Debian's.
    journey.lab.adapt(config)
    card = journey.folder / "card.img"
    flashed = owner.roost("flash", str(card), "--offline", "--name", "roost", "--laptop", COMPUTER, *CARD, "--yes")
    assert [event["event"] for event in flashed if event["event"] in ("built", "result")] == ["built", "result"], flashed
    assert flashed[-1]["laptop"] == COMPUTER
    journey.chapter("a card is flashed")
    return card


def start(journey: Journey, card: Path, *, pair: bool = True) -> None:
    """The box boots at home, and is paired in a browser if that is wanted."""
    owner = journey.owner
    machine = switch_on(journey, card, "box")
    assert machine.code
    journey.chapter("the box is on")
    if not pair:
        return
    password = owner.secret("admin password", ADMIN_PASSWORD)
    # The code is in the link, if a phone reads it from the screen; somebody without one types it.
    owner.count.fields.append("pairing code")
    left = owner.browse("pair_box.py", f"https://{BOX4}", machine.code, str(password))
    assert left == "1", f"{left} fields were empty"
    journey.chapter("paired in Chromium")


def switch_on(journey: Journey, card: Path, name: str) -> Machine:
    """A box with this card at home, and the owner with it."""
    machine = journey.boot(journey.folder / name, image=card, options=("--lan", "--lan-only"))
    journey.machine = machine
    card.unlink()
    journey.home, machine.forwards = journey.lab.open_home(str(machine.lan_path))
    journey.owner.comes_home(journey.home)
    machine.wait_ready()
    return machine


def mail_at_home(journey: Journey) -> None:
    """A mail program on the home's network sends and reads: three commands and five fields from nothing."""
    clients = Clients(journey.box.forwards, journey.account, journey.folder)
    message = new_message("to myself", journey.account.address, journey.account.address)
    with clients.smtp(465) as smtp:
        smtp.login(journey.account.name, journey.account.password)
        assert smtp.send_message(message) == {}
    clients.wait_message(message)
    journey.chapter("the first mail is read at home")
    few(journey)


def few(journey: Journey) -> None:
    """What a new owner may have to do until mail comes and goes: three commands and five fields from nothing."""
    count = journey.owner.count
    assert len(count.commands) <= 3, count.commands
    assert len(count.fields) <= 5, count.fields
    journey.say(f"commands: {', '.join(count.commands)}; fields: {', '.join(count.fields)}")


def connect(journey: Journey) -> None:
    """`roost relay apply`: the box knows the computer by its card, and what is shown goes to the registrar meanwhile."""
    owner = journey.owner
    assert not (owner.folder / "config/roost/boxes").exists(), "nobody has paired this computer"
    make_relay(journey)
    journey.api = Api(journey.box, Laptop.of(journey.roost, owner.folder))
    status, known = journey.api.call("GET", "laptops")
    assert (status, [laptop["name"] for laptop in known["laptops"]]) == (200, [COMPUTER]), known


def make_relay(journey: Journey) -> None:
    """A relay is made, the domain is delegated while the command waits for that, and the address leads back."""
    world = journey.lab.world
    waited = []

    def registrar(told: dict[str, Any]) -> None:
        journey.chapter("the relay is made")
        assert told["mail_host"] == journey.account.host
        servers = [(server["name"], server["value"]) for server in told["name_servers"]]
        world.delegate(DOMAIN, servers, told["ds"])
        journey.wait("an answer that validates from the root", lambda: world.secure(DOMAIN, "MX"))
        waited.append(told["address"])
        journey.chapter("the domain is delegated")

    # With --agree-terms the box would look for Let's Encrypt, which is not in this world.
    applied = journey.owner.follow({"delegate": registrar}, "relay", "apply", "--yes")[-1]
    assert applied["tunnel"]["state"] == "up" and applied["finished"], applied
    assert applied["relay"]["reverse_name"].rstrip(".") == journey.account.host
    (address,) = waited
    assert address == applied["relay"]["public_ipv4"]
    journey.wait("the reverse name", lambda: journey.account.host in world.machine.run("dig", f"@{lab.RESOLVER}", "-x", address, "+short"))
    journey.chapter("the relay is finished")


def certified(journey: Journey) -> None:
    """The world's authority plays the part of Let's Encrypt; so it is named, in a command that is not counted: an owner
    has agreed to Let's Encrypt's terms in `roost relay apply`, which asks on a terminal or takes `--agree-terms`."""
    assert journey.api is not None
    journey.owner.roost("certificates", "agree", "--yes", *journey.lab.authority, counted=False)

    again: set[str] = set()

    def valid() -> bool:
        status, told = journey.api.call("GET", "certificates")
        if status != 200:
            return False
        for one in told["certificates"]:
            # A busy machine's box may miss an answer, and would wait five minutes; an owner who looks asks again.
            if one.get("failure") and one["state"] != "valid" and one["id"] not in again:
                again.add(one["id"])
                journey.say(f"{one['id']} is ordered again: {one['failure']['why']}")
                journey.api.call("POST", f"certificates/{one['id']}/renew")
        return {one["id"]: one["state"] for one in told["certificates"]} == {"mail": "valid", DOMAIN: "valid"}

    journey.wait("certificates", valid, ORDER_TIMEOUT)
    world = journey.lab.world
    journey.wait("TLSA", lambda: "TLSA\t3 1 1" in world.resolve(f"_25._tcp.{journey.account.host}", "TLSA"))
    journey.wait("MTA-STS", lambda: "v=STSv1" in world.resolve(f"_mta-sts.{DOMAIN}", "TXT"))
    page = ("curl", "--silent", "--cacert", str(journey.lab.roots), "--max-time", "10", "--write-out", "%{http_code}", "--output", "/dev/null")
    journey.wait("them on the portal", lambda: journey.lab.phone.run(*page, f"https://{journey.account.host}/", check=False) != "000")
    journey.chapter("the box has certificates")


def mail_with_the_strict(journey: Journey) -> None:
    """In from peers that insist, one on the box's MTA-STS policy, one on DANE; out to them, with everything proven."""
    account = journey.account
    for peer in journey.lab.peers:
        coming = new_message(f"from {peer.domain}", f"bob@{peer.domain}", account.address)
        peer.send(coming)
        kept = journey.phone("imap", str(coming["Message-ID"]))
        assert f"[{peer.address}]" in kept, kept
        journey.kept.append(str(coming["Message-ID"]))
        assert journey.phone("jmap", str(coming["Message-ID"])) == coming["Subject"]
        journey.chapter(f"mail from {peer.domain} is read by IMAP and JMAP")
        going = journey.phone("send", f"bob@{peer.domain}", f"to {peer.domain}")
        message = journey.wait(f"mail at {peer.domain}", lambda peer=peer, going=going: peer.received(going))
        verdict = peer.verdict(message)
        journey.say(f"{peer.domain} found: {verdict}; it had sent to a server that was {peer.sent(account.host)}")
        proven = {name: found for name, found in verdict.items() if name != "TLS"}
        assert proven.pop("DKIM") == "pass, pass", verdict
        assert set(proven.values()) == {"pass"}, verdict
        journey.chapter(f"mail to {peer.domain} was taken")
    # The first mail from and to the internet, proven to those that insist.
    few(journey)
    strict, exact = journey.lab.peers
    assert "Verified" in strict.sent(account.host), strict.log()
    assert exact.sent(account.host) == "dane", exact.log()
    assert strict.policy(DOMAIN).startswith(f"secure match={account.host}"), strict.log()
    assert journey.phone("calendar", "Feed the hens") == "Feed the hens"
    journey.chapter("an entry is in the calendar")


#: What `roost doctor` can only know of a domain that the world sees; the large receivers that it asks too are not here.
SEEN_BY_THE_WORLD = (
    "net-lookups", "net-validation", "dns-world", "dnssec-validates", "out-ptr", "out-name",
    "mail-spf", "mail-dkim", "mail-dmarc", "mail-mta-sts", "mail-tlsa",
)  # fmt: skip


def healthy(journey: Journey) -> None:
    """`roost doctor` finds nothing wrong, and all is as it should be that the world sees."""

    def unwell() -> dict[str, str]:
        checks = journey.owner.roost("doctor", expect=None, counted=False)[-1]["checks"]
        return {
            check["id"]: f"{check['level']}: {check['found']}"
            for check in checks
            if check["level"] == "failed" or check["id"] in SEEN_BY_THE_WORLD and check["level"] not in ("ok", "note")
        }

    # Of some things it is told a little later than they are so, and a box on a busy machine is too slow for one question or
    # another, each time for others: what it has not found well even once is left.
    left = unwell()

    def well() -> bool:
        for check in left.keys() - (left and unwell().keys()):
            del left[check]
        return not left

    with suppress(AssertionError):
        wait_until("the doctor to find nothing", well, HEALTH_TIMEOUT, interval=5.0)
    assert left == {}
    journey.chapter("the doctor finds nothing wrong")


def peers_are_strict(journey: Journey) -> None:
    """What they say of the box would be worth nothing otherwise: they refuse each other's mail, which nobody signs."""
    strict, exact = journey.lab.peers
    for one, other in ((strict, exact), (exact, strict)):
        unsigned = new_message("not signed", f"bob@{one.domain}", f"bob@{other.domain}")
        one.send(unsigned)
        wait_until(f"a refusal by {other.domain}", lambda other=other: re.search("no signature of|no DKIM signature", other.log()), PATIENCE)
        assert other.received(str(unsigned["Message-ID"])) is None


def bundle(journey: Journey, changed: str) -> Path:
    """A new version from another `roost.toml`. `roost update` does this by itself, but packs for a minute."""
    owner = journey.owner
    (owner.project / "roost.toml").write_text(changed)
    owner.roost("bundle", "make", "--quiet", "--level", PACKING, "--offline", counted=False)
    return owner.project / "build/roost.bundle"


def good_update(journey: Journey) -> None:
    """A changed setting is sent, tried and kept."""
    owner = journey.owner
    before = (owner.project / "roost.toml").read_text()
    assert before.count("\n[mail]\n") == 1
    made = bundle(journey, before.replace("\n[mail]\n", '\n[mail]\nmax_message_size = "20 MiB"\n'))
    result = owner.roost("update", "--bundle", str(made), "--yes")[-1]
    assert result["outcome"] == "kept", result
    back_in_service(journey)
    journey.chapter("updated to a good version")


def bad_update(journey: Journey) -> None:
    """One without a mail program that lives is left again, and the owner is told why."""
    owner = journey.owner
    config = owner.project / "roost.toml"
    good = config.read_text()
    program = elf.write(owner.project / "mail", elf.EXIT)
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    made = bundle(journey, f'{good}\n[components.mail]\npath = "mail"\nsha256 = "{digest}"\n')
    result = owner.roost("update", "--bundle", str(made), "--yes", expect=ROLLED_BACK)[-1]
    config.write_text(good)
    back_in_service(journey)
    last = owner.roost("status", counted=False)[-1]["update"]["last"]
    why = last["rolled_back"]["summary"]
    assert "mail was started again" in why, (result, last)
    letter = journey.phone("about", f"+{last['to']['number']} did not work")
    assert "mail was started again" in parse(letter.encode()).get_content().replace("\n", " "), letter
    journey.say(f"the box says of the bad version: {why}")
    journey.chapter("a bad version was left again")


def back_in_service(journey: Journey) -> None:
    """The services are ready, and so is the tunnel."""
    assert journey.api is not None
    journey.box.hang_up()
    journey.wait("the services", lambda: journey.owner.roost("status", expect=None, counted=False)[-1].get("machine", {}).get("ready"), BOOT_TIMEOUT)
    journey.api.wait_state("up")


def another_relay(journey: Journey) -> None:
    """`roost relay destroy`, and all of it anew; mail of in between waits at its senders."""
    strict, owner = journey.lab.strict, journey.owner
    owner.roost("relay", "destroy", "--yes")
    wait_until("the end of the relay", lambda: journey.lab.cloud.relay is None, PATIENCE)
    meanwhile = new_message("while there is no relay", f"bob@{strict.domain}", journey.account.address)
    strict.send(meanwhile)
    journey.wait("a failed attempt", lambda: strict.waits(meanwhile))
    journey.chapter("the relay is gone")
    # Its IPv6 addresses are others.
    make_relay(journey)
    journey.phone("imap", str(meanwhile["Message-ID"]))
    journey.kept.append(str(meanwhile["Message-ID"]))
    going = journey.phone("send", f"bob@{strict.domain}", "by another relay")
    verdict = strict.verdict(journey.wait("mail at the strict server", lambda: strict.received(going)))
    assert verdict["SPF"] == "pass" and verdict["FCrDNS"] == "pass", verdict
    journey.chapter("another relay is made, and waiting mail is there")


def line_down(journey: Journey) -> None:
    """The home's line is dead for a while: mail waits at its sender, and the domain's names are still answered for."""
    strict, home = journey.lab.strict, journey.home
    assert home is not None
    home.plug(False)
    meanwhile = new_message("while the line is down", f"bob@{strict.domain}", journey.account.address)
    strict.send(meanwhile)
    journey.wait("a failed attempt", lambda: strict.waits(meanwhile))
    relay = journey.lab.cloud.relay
    assert relay is not None

    def answered() -> bool:
        said = journey.lab.phone.run("dig", f"@{relay.place.public4}", DOMAIN, "MX", "+norecurse", "+time=2", "+tries=1", check=False)
        return " aa" in said and journey.account.host in said

    journey.wait("an answer of the relay's copy", answered)
    home.plug(True)
    # On a busy machine the first question may be lost while the tunnel comes up; a phone asks again.
    journey.wait("the box's name", lambda: journey.lab.phone.run("getent", "ahosts", journey.account.host, check=False))
    journey.phone("imap", str(meanwhile["Message-ID"]))
    journey.kept.append(str(meanwhile["Message-ID"]))
    journey.chapter("the line was down, and the mail that waited is there")


def new_card(journey: Journey) -> None:
    """A backup; the card is lost; another one from the backup has all mail, and the relay lets it serve."""
    owner, strict = journey.owner, journey.lab.strict
    folder = owner.folder / "backups"
    owner.roost("backup", str(folder))
    code = owner.secret("recovery code", owner.roost("backup", "code", counted=False)[-1]["recovery_code"])
    journey.chapter("a backup is made")
    journey.box.power_cut()
    # The last image that was built is the bad one's.
    owner.roost("build", "--offline")
    card = journey.folder / "new-card.img"
    restored = owner.roost("restore", str(folder), str(card), "--code-file", str(code), "--scratch", str(journey.folder), "--yes")[-1]
    machine = switch_on(journey, card, "again")
    assert machine.fingerprint == restored["fingerprint"]
    journey.api = Api(machine, Laptop.of(journey.roost, owner.folder))
    journey.api.wait_state("up", TAKEOVER_TIMEOUT)
    coming = new_message("to the new card", f"bob@{strict.domain}", journey.account.address)
    strict.send(coming)
    for known in (*journey.kept, str(coming["Message-ID"])):
        journey.phone("imap", known)
    journey.chapter(f"a new card from the backup has all {len(journey.kept)} messages, and more come in")
