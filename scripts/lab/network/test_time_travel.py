"""Four months of a box's zone and certificates in some minutes: the real programs, with a clock that is moved.

    world (root, org, Unbound, Pebble) ── internet ── box (dns, certificates)

libfaketime reads the time from a file, in the box's programs, Unbound and Pebble; a program in Go asks the kernel
past the C library, so Pebble runs below qemu-x86_64, which asks the library. BIND's tools and NSD do not look at the
clock here, and the former do not get on with libfaketime. The clock is moved by a day at a time. After each day the
world's resolver has to validate everything from the root on, no signature may be near its end, TLSA has to match
the certificate that mail is given, and that has to be good for days.
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import namespaces
from internet import PUBLIC4
from namespaces import Machine, cable
from waiting import wait_until
from world import DIRECTORY, RESOLVER, RESOLVER4, World

DOMAIN = "roost-lab.org"
HOST = f"mail.{DOMAIN}"
DAY = 86_400
#: Longer than a zone-signing key's life and its replacement together, with time to replace the other keys.
DAYS = 110
#: How long certificates live: five renewals fit into the time.
LIFETIME_S = 30 * DAY
#: A signature is made anew with 22 days left (services/dns/README.md); a box looks at it once a day here.
LEAST_LEFT_S = 21 * DAY
#: A certificate is renewed with a third of its life left; a step of a day and an order come on top.
LEAST_VALID_S = LIFETIME_S // 3 - 2 * DAY
#: Days on which the owner has keys replaced: of the zone, of the mail server.
ZONE_KEY_DAY, TLS_KEY_DAY = 20, 45
#: Seconds for what follows a step.
PATIENCE = 60.0
#: Real seconds after which it is somebody's turn to try again, seconds that the clock is moved for that, and how often.
RETRY_AFTER, RETRY_S, RETRIES = 20.0, 660, 12
#: Users of services, as the table of services has them. The programs of the test are root, which is `dns` there.
PORTAL, DNS, MAIL = 60_001, 0, 60_003
FAKETIME = "/usr/$LIB/faketime/libfaketimeMT.so.1"
#: What is asked after each day; the last is not there.
QUESTIONS = [
    (DOMAIN, "SOA"), (DOMAIN, "DNSKEY"), (DOMAIN, "MX"), (DOMAIN, "NS"), (DOMAIN, "CAA"), (DOMAIN, "CDS"), (HOST, "A"),
    (f"_25._tcp.{HOST}", "TLSA"), (f"_443._tcp.{HOST}", "TLSA"), (f"_mta-sts.{DOMAIN}", "TXT"), (f"_dmarc.{DOMAIN}", "TXT"),
    (f"gone.{DOMAIN}", "A"),
]  # fmt: skip


class Init:
    """Something in the place of init, which says that a time server has set the clock."""

    STATUS = {
        "answer": "status", "name": "roost", "version": "1", "slot": 2, "trial_left_s": None, "uptime_s": 1.0, "rescue": None,
        "ready": True, "ready_after_s": None, "clock_synced": True, "addresses": [], "memory_total": 0, "memory_available": 0,
        "data_total": 0, "data_free": 0, "data_written": 0, "services": [],
    }  # fmt: skip

    def __init__(self, path: Path) -> None:
        """Listens at once."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            stream, _ = self._listener.accept()
            with stream, stream.makefile("rwb") as lines:
                lines.readline()
                lines.write(json.dumps(self.STATUS).encode() + b"\n")


@dataclass
class Clock:
    """The time of all programs: so many seconds ahead of this machine's."""

    file: Path
    ahead: int = 0

    def move(self, seconds: int) -> None:
        """Moves it on; the file is there as a whole at any moment."""
        self.ahead += seconds
        new = self.file.with_suffix(".new")
        new.write_text(f"+{self.ahead}\n")
        new.rename(self.file)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a program begins with that follows it, also with what it measures pauses by."""
        return ("env", f"LD_PRELOAD={FAKETIME}", f"FAKETIME_TIMESTAMP_FILE={self.file}", "FAKETIME_NO_CACHE=1")

    def now(self) -> int:
        """Seconds since 1970."""
        return int(time.time()) + self.ahead


@dataclass
class Scene:
    """A box whose domain is delegated, with certificates of the world's authority."""

    clock: Clock
    world: World
    box: Machine
    folder: Path
    delegated: list[str] = field(default_factory=list)

    def call(self, service: str, call: dict[str, Any], user: int = PORTAL) -> dict[str, Any]:
        """Asks a service as the service with this user."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            # The folders above belong to root alone.
            home = os.open(".", os.O_PATH)
            os.chdir(self.folder / service)
            os.seteuid(user)
            try:
                stream.connect(f"{service}.sock")
            finally:
                os.seteuid(0)
                os.fchdir(home)
                os.close(home)
            stream.sendall(json.dumps(call).encode() + b"\n")
            with stream.makefile("rb") as answer:
                said = answer.readline()
        assert said, f"{service} hung up: {call}\n{self.logs()}"
        return json.loads(said)

    def zone(self) -> dict[str, Any]:
        """What dns says of the zone."""
        return self.call("dns", {"call": "status"})["zones"][0]

    def certificates(self) -> dict[str, dict[str, Any]]:
        """What the certificate service says, by id."""
        return {one["id"]: one for one in self.call("certificates", {"call": "status"})["certificates"]}

    def leaf(self) -> x509.Certificate:
        """The mail host's certificate, as mail gets it."""
        answer = self.call("certificates", {"call": "get", "id": "mail"}, MAIL)
        assert answer["answer"] == "certificate", answer
        return x509.load_pem_x509_certificate(answer["chain_pem"].encode())

    def delegate(self, ds: list[str]) -> None:
        """The owner enters these DS records at the registrar."""
        self.delegated = ds
        self.world.delegate(DOMAIN, [(f"ns1.{DOMAIN}", PUBLIC4), (f"ns2.{DOMAIN}", PUBLIC4)], ds)

    def answers(self, server: str, questions: Sequence[tuple[str, str]] = QUESTIONS) -> list[str]:
        """What a server says to each."""
        options = ("+dnssec", "+tries=2", "+time=5")
        words = (word for name, kind in questions for word in (name, kind, *options))
        said = self.world.machine.run("dig", f"@{server}", *words).split(";; ->>HEADER<<-")[1:]
        assert len(said) == len(questions), said
        return said

    def logs(self) -> str:
        """What everybody said last."""
        logs = [(self.folder / name).with_suffix(".log") for name in ("dns", "certificates")]
        return "\n".join(log.read_text()[-3000:] for log in logs) + self.world.logs()


def program(name: str) -> str:
    """A program of the box, built for this machine."""
    path = os.environ.get(f"ROOST_{name.upper()}_PROGRAM")
    assert path, f"ROOST_{name.upper()}_PROGRAM is not set: scripts/test relay builds and names it"
    return path


def start(box: Machine, service: str, folder: Path, clock: Clock, **more: str) -> Any:
    """Starts a program of the box."""
    for place in (folder / service, folder / f"{service}-data"):
        place.mkdir(exist_ok=True)
        place.chmod(0o755)
    settings = {
        "ROOST_DATA": folder / f"{service}-data", "ROOST_RUN": folder / service, "ROOST_SERVICES": folder / "services.json",
        "ROOST_CONTROL": folder / "init.sock", "ROOST_CERTIFICATES_SOCKET": folder / "certificates/certificates.sock",
        "ROOST_MAIL_SOCKET": folder / "nobody", "ROOST_TUNNEL_SOCKET": folder / "nobody", **more,
    }  # fmt: skip
    texts = (f"{name}={value}" for name, value in settings.items())
    return box.start("env", *texts, *clock.prefix, program(service), log=folder / f"{service}.log")


def prepare(folder: Path) -> None:
    """What lies on the card, and who is who."""
    spec = {"description": "", "required": False, "ready_timeout_s": 1, "stop_timeout_s": 1}
    users = {"portal": PORTAL, "dns": DNS, "mail": MAIL}
    table = [{"name": name, "program": f"/bin/{name}", "user": user, **spec} for name, user in users.items()]
    (folder / "services.json").write_text(json.dumps(table))
    (folder / "dns-data").mkdir()
    known = {
        "published": {"host": HOST, "domains": [DOMAIN], "dkim": []},
        "reached": {"outside": {"addresses": [PUBLIC4]}, "within": []},
    }
    (folder / "dns-data/known.json").write_text(json.dumps(known))
    (folder / "resolv.conf").write_text(f"nameserver {RESOLVER4}\n")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Everything there, the zone secure, the certificates valid."""
    clock = Clock(tmp_path / "clock")
    clock.move(0)
    prepare(tmp_path)
    # Kept for as long as the programs need it.
    init = Init(tmp_path / "init.sock")
    with (
        Machine("internet") as internet,
        World(internet, tmp_path / "world", (*clock.prefix, "DONT_FAKE_MONOTONIC=1"), LIFETIME_S) as world,
        Machine("box") as box,
    ):
        internet.forward()
        cable(box, "eth0", internet, "box")
        box.address("eth0", f"{PUBLIC4}/24", "2001:db8:a::10/64")
        internet.address("box", "203.0.113.1/24", "2001:db8:a::1/64")
        box.route("default", "203.0.113.1")
        box.route("default", "2001:db8:a::1")
        scene = Scene(clock, world, box, tmp_path)
        programs = []
        # The certificate service looks its authority's name up like any other program.
        hosts = tmp_path / "hosts"
        hosts.write_text("2001:db8:d::ac acme.org\n")
        box.enter = [*box.enter, "unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
        try:
            programs.append(start(box, "certificates", tmp_path, clock))
            programs.append(start(box, "dns", tmp_path, clock, ROOST_RESOLV_CONF=str(tmp_path / "resolv.conf")))
            wait_until("the zone", lambda: scene.zone()["serial"], PATIENCE, retry_on=(OSError,))
            scene.delegate(scene.zone()["ds"])
            wait_until("the domain", lambda: world.secure(DOMAIN, "SOA"), PATIENCE)
            choice = {"directory": {"url": DIRECTORY}, "roots_pem": world.authority_file.read_text(), "terms_agreed": True}
            done = scene.call("certificates", {"call": "set", "choice": choice})
            assert done["answer"] == "done", done
            yield scene
        finally:
            namespaces.stop(programs)
            del init


def moment(text: str) -> int:
    """A time in a signature (RFC 4034, section 3.2), in seconds since 1970."""
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S"))


def signatures(answer: str) -> list[tuple[int, int]]:
    """From when until when those of an answer hold."""
    fields = [line.split() for line in answer.splitlines() if "\tRRSIG\t" in line and not line.startswith(";")]
    return [(moment(one[9]), moment(one[8])) for one in fields]


def serial_of(scene: Scene) -> int:
    """The zone's, as it is served."""
    lines = scene.answers(PUBLIC4, [(DOMAIN, "SOA")])[0].splitlines()
    return next(int(line.split()[6]) for line in lines if "\tSOA\t" in line and not line.startswith(";"))


def judge(scene: Scene, day: int) -> list[str]:
    """What is wrong with what is served on this day."""
    wrong = []
    now = scene.clock.now()
    answers = zip(QUESTIONS, scene.answers(PUBLIC4), scene.answers(RESOLVER), strict=True)
    pins = ""
    for (name, kind), own, said in answers:
        found = signatures(own)
        if not found:
            wrong.append(f"{name} {kind}: no signature")
        if any(begin > now or end < now + LEAST_LEFT_S for begin, end in found):
            wrong.append(f"{name} {kind}: signed for {[((begin - now) / DAY, (end - now) / DAY) for begin, end in found]} days")
        if name.startswith("_25."):
            pins = own.replace(" ", "").lower()
        there = "NXDOMAIN" if name.startswith("gone.") else "NOERROR"
        if f"status: {there}" not in said or " ad" not in said.partition("flags:")[2].partition(";")[0]:
            wrong.append(f"{name} {kind}: the world cannot validate it: {said}")
    leaf = scene.leaf()
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if hashlib.sha256(key).hexdigest() not in pins:
        wrong.append(f"TLSA does not match: {pins}")
    left = calendar.timegm(leaf.not_valid_after.timetuple()) - now
    if left < LEAST_VALID_S:
        wrong.append(f"the certificate is good for {left / DAY:.1f} days")
    return [f"day {day}: {one}" for one in wrong]


def is_settled(scene: Scene) -> bool:
    """Whether signatures and certificates will do until tomorrow."""
    now = scene.clock.now()
    return (
        (scene.zone()["signed_until"] or 0) > now + LEAST_LEFT_S
        and all(one["state"] == "valid" for one in scene.certificates().values())
        and calendar.timegm(scene.leaf().not_valid_after.timetuple()) > now + LEAST_VALID_S
    )


def settle(scene: Scene) -> None:
    """After a step of the clock: waits until dns has looked, and no order is under way.

    The programs' timers see the step when something wakes them; these questions do. What failed on a busy machine
    is tried again by the programs themselves, minutes later by the clock.
    """
    for _ in range(RETRIES):
        try:
            wait_until("a zone and certificates until tomorrow", lambda: is_settled(scene), RETRY_AFTER, interval=0.1)
        except AssertionError:
            scene.clock.move(RETRY_S)
        else:
            return
    raise AssertionError(f"signatures or certificates do not come: {scene.zone()}\n{scene.certificates()}\n{scene.logs()}")


def test_four_months_without_a_bad_answer(scene: Scene) -> None:
    """Signatures, keys of both kinds, certificates and TLSA through renewals and replacements."""
    wanted = {"mail", DOMAIN}
    wait_until(
        "certificates",
        lambda: set(found := scene.certificates()) == wanted and all(one["state"] == "valid" for one in found.values()),
        PATIENCE,
    )
    wait_until("TLSA", lambda: scene.world.secure(f"_25._tcp.{HOST}", "TLSA"), PATIENCE)
    wait_until("MTA-STS", lambda: scene.world.secure(f"_mta-sts.{DOMAIN}", "TXT"), PATIENCE)
    ksks, zsks, tls_keys, serials = set(), set(), set(), {"mail": set(), DOMAIN: set()}
    serial = serial_of(scene)
    for day in range(DAYS):
        scene.clock.move(DAY)
        settle(scene)
        wrong = judge(scene, day)
        assert not wrong, "\n".join([*wrong, scene.logs()])
        last, serial = serial, serial_of(scene)
        assert serial >= last, (day, last, serial)
        zone = scene.zone()
        ksks |= {key["tag"] for key in zone["keys"] if key["role"] == "key-signing key"}
        zsks |= {key["tag"] for key in zone["keys"] if key["role"] != "key-signing key"}
        leaf = scene.leaf()
        tls_keys.add(leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        for id, one in scene.certificates().items():
            serials[id].add(one["serial"])
        if day == ZONE_KEY_DAY:
            assert scene.call("dns", {"call": "replace_key", "domain": DOMAIN})["answer"] == "done"
        if day == TLS_KEY_DAY:
            assert scene.call("certificates", {"call": "switch_key", "id": "mail"})["answer"] == "done"
        if zone["ds"] and set(zone["ds"]) != set(scene.delegated):
            # The owner does what the box says.
            scene.delegate(zone["ds"])
    assert len(ksks) == 2, f"the key that the registrar knows was replaced once: {ksks}"
    assert len(zsks) == 2, f"the key that signs was replaced once: {zsks}"
    assert len(tls_keys) == 2, "the mail host's key was replaced once"
    # One at the start, one for each two thirds of a life, one for the key. More is a storm, fewer is luck.
    expected = 1 + DAYS * DAY // (LIFETIME_S * 2 // 3)
    assert len(serials[DOMAIN]) in (expected, expected + 1), serials
    assert len(serials["mail"]) in (expected, expected + 1, expected + 2), serials
