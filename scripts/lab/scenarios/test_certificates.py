"""From a delegated domain to certificates, DANE and MTA-STS, on an internet with a root and an authority of its own.

    world (root, org, Pebble, Unbound) ┐
    client (public tools) ─────────────┴─ internet (1:1 NAT) ── relay (Knot: copies)
                                              └── home (router, NAT) ── box, whose tunnel leads to the relay

The scenarios share one box, in the order in which they stand here.
"""

from __future__ import annotations

import imaplib
import json
import re
import smtplib
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from clients import new_message
from conftest import Subject, machine_room
from home import Home
from internet import PUBLIC4, PUBLIC6, Relay, connect_client, why_not
from laptop import Api, Laptop
from machine import Machine as Box
from namespaces import Machine
from neighbour import OWN_ADDRESS
from receivers import ALL, MISMATCH, PINNED, PLAIN, POLICY, SILENT, Receivers
from test_behind_relay import PASSWORD, flash
from waiting import wait_until
from world import DIRECTORY, RESOLVER, RESOLVER4, ROOT, World, anchor

#: Seconds until a change is everywhere.
PATIENCE = 60.0
#: The same of what the box asks the parent: every ten minutes, if a busy machine let the first time pass.
PARENT_PATIENCE = 720.0
#: Seconds until all certificates are there: accounts, orders and challenges on an emulated box.
ORDER_TIMEOUT = 180.0
#: Where mail programs and servers of the world speak TLS, and what comes before.
TLS_PORTS = {25: "smtp", 465: None, 587: "smtp", 993: None, 995: None, 443: None}
#: What the home's own name server knows: without a time server the box orders and checks nothing.
RECORDS = f"time.cloudflare.com. AAAA {OWN_ADDRESS}\n"
#: Files of the machine on which the public tools run: they ask the world's resolver, and believe it.
RESOLV_CONF = f"nameserver {RESOLVER}\noptions edns0 trust-ad timeout:5\n"
POSTFIX = "compatibility_level = 3.6\nmaillog_file = /dev/stdout\nmyhostname = client.org\nsmtp_dns_support_level = dnssec\n"


#: What Zonemaster finds and docs/dns-judges.md explains: addresses kept for documentation, one IPv4 address for
#: both name servers, no reverse name of the second IPv6 address.
EXPLAINED = {
    "NAMESERVER_IP_PRIVATE_NETWORK", "NAMESERVER_IP_WITHOUT_REVERSE", "DEL_NS_SAME_IP", "CHILD_NS_SAME_IP", "SAME_IP_ADDRESS",
}  # fmt: skip
#: What checkdmarc says of a domain's first week.
UNENFORCED = "A p tag value of none makes DMARC unenforced"


@dataclass
class Scene:
    """A box whose domain is delegated, and those who look at it."""

    subject: Subject
    box: Box
    laptop: Laptop
    api: Api
    internet: Machine
    client: Machine
    world: World
    relay: Relay
    folder: Path

    @property
    def domain(self) -> str:
        """The box's domain."""
        return self.subject.account.domain

    @property
    def host(self) -> str:
        """Name of its mail server."""
        return self.subject.account.host

    def zone(self) -> dict[str, Any]:
        """What the box says of the zone."""
        status, told = self.api.call("GET", "dns")
        zones = told["zones"] if status == 200 else []
        return next((zone for zone in zones if zone["domain"] == self.domain), {"serial": None})

    def certificates(self) -> dict[str, dict[str, Any]]:
        """What the box says of its certificates, by their ids."""
        status, told = self.api.call("GET", "certificates")
        return {one["id"]: one for one in told["certificates"]} if status == 200 else {}

    def ask(self, name: str, kind: str) -> list[str]:
        """Data that the world's resolver has proven, sorted."""
        said = self.world.resolve(name, kind)
        if not self.world.secure(name, kind):
            return []
        lines = [line.split(None, 4) for line in said.splitlines() if line and not line.startswith(";")]
        return sorted(line[4] for line in lines if line[3] == kind)

    def wait(self, what: str, probe: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Waits; a failure carries what everybody said."""
        try:
            return wait_until(what, probe, seconds, interval=0.5)
        except AssertionError as late:
            services = ("dns", "certificates", "resolver", "mail", "portal")
            logs = "\n".join(f"{name}: {line}" for name in services for line in self.box.logs(name)[-40:])
            raise AssertionError(f"{late}\n{self.zone()}\n{self.certificates()}\n{logs}\n{self.world.logs()}") from late

    def tls(self, port: int, name: str, *options: str) -> str:
        """What OpenSSL says of a connection from the client."""
        before = TLS_PORTS[port]
        to = ("openssl", "s_client", "-connect", f"{PUBLIC4}:{port}", "-servername", name)
        return self.client.run(*to, *options, *(() if before is None else ("-starttls", before)), stdin="", check=False)

    def leaf(self, port: int, name: str) -> tuple[str, str]:
        """Serial number of the certificate that is shown there, and what openssl found of it."""
        said = self.tls(port, name, "-verify_hostname", name, "-CAfile", str(self.roots))
        pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", said, re.DOTALL)
        serial = "" if pem is None else certificate_serial(pem.group())
        found = re.search(r"Verif(?:y return code|ication).*", said)
        return serial, "nothing" if found is None else found.group()

    def connection(self, port: int) -> socket.socket:
        """From the client to the box, through the relay."""
        made = self.client.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(PATIENCE)
        made.connect((PUBLIC4, port))
        return made

    @property
    def roots(self) -> Path:
        """The certificate that signs the authority's."""
        roots = self.folder / "roots.pem"
        roots.write_text(self.world.issuer())
        return roots


def certificate_serial(pem: str) -> str:
    """In hex, as the box writes it."""
    done = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=pem, capture_output=True, text=True, check=True)
    return done.stdout.strip().partition("=")[2].lower().lstrip("0")


@pytest.fixture(scope="module")
def scene(subject: Subject, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The box behind its relay, its domain delegated."""
    if why := why_not("certificates"):
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("certificates")
    card = folder / "card.img"
    flash(subject, card, folder / "desk-of-the-card")
    files = folder / "client"
    (files / "etc/postfix").mkdir(parents=True)
    (files / "etc/resolv.conf").write_text(RESOLV_CONF)
    (files / "etc/postfix/main.cf").write_text(POSTFIX)
    # What Debian's GnuTLS trusts: the file's name is compiled in.
    (files / "usr/share/dns").mkdir(parents=True)
    (files / "usr/share/dns/root.key").write_text(anchor() + "\n")
    with machine_room(subject, pytestconfig) as boot:
        box = boot(folder / "box", image=card, options=("--lan",))
        card.unlink()
        with (
            Machine("internet") as internet,
            World(internet, folder / "world") as world,
            Machine("client", files) as client,
            Home(internet, str(box.lan_path), RECORDS, folder / "home") as home,
        ):
            connect_client(client, internet)
            box.wait_ready()
            laptop = Laptop(subject.roost, folder / "desk", PASSWORD)
            assert box.code
            laptop.pair(box, "--code", box.code)
            api = Api(box, laptop)
            home.wait_address(lambda: box.status()["addresses"])
            with Relay(internet, api.wait_state("unconfigured")["public_key"], folder / "relay") as relay:
                relay.answer_dns()
                assert api.call("PUT", "relay", relay.text | {"outside": relay.outside}) == (204, None)
                api.wait_state("up")
                scene = Scene(subject, box, laptop, api, internet, client, world, relay, folder)
                scene.wait("the zone", lambda: scene.zone()["serial"])
                yield scene


def test_the_domain_is_delegated(scene: Scene) -> None:
    """What `roost dns ds` says is entered at the registrar; then the world resolves and validates, and the box sees it."""
    told = scene.laptop.run("dns", "ds")[-1]
    servers = [(record["name"], record["value"]) for record in told["name_servers"]]
    scene.world.delegate(scene.domain, servers, told["ds"])
    scene.world.reverse([PUBLIC4, PUBLIC6], scene.host)
    scene.wait("an answer that validates from the root", lambda: scene.ask(scene.domain, "MX"))
    assert scene.ask(scene.host, "A") == [PUBLIC4]
    seen = scene.wait(
        "the box's word on its delegation",
        lambda: (scene.zone().get("delegation") or {}).get("state") == "secure" and scene.zone(),
        PARENT_PATIENCE,
    )
    assert seen["delegation"]["parent"] == "org" and seen["delegation"]["ds"], seen


def test_certificates_come(scene: Scene) -> None:
    """With the owner's consent alone; mail and portal show them at once, and they are good for the world."""
    assert scene.ask(f"_25._tcp.{scene.host}", "TLSA") == [], "a key is pinned that nobody certified"
    assert scene.ask(f"_mta-sts.{scene.domain}", "TXT") == []
    choice = {
        "directory": {"url": DIRECTORY}, "roots_pem": scene.world.authority_file.read_text(), "terms_agreed": True,
        "contact": scene.subject.account.address,
    }  # fmt: skip
    status, told = scene.api.call("PUT", "certificates", choice)
    assert status == 204, told
    wanted = {"mail", scene.domain}
    scene.wait(
        "certificates",
        lambda: set(found := scene.certificates()) == wanted and all(one["state"] == "valid" for one in found.values()),
        ORDER_TIMEOUT,
    )
    serials = {id: one["serial"].lower().lstrip("0") for id, one in scene.certificates().items()}
    for port in TLS_PORTS:
        scene.wait(
            f"the certificate on port {port}",
            lambda port=port: scene.leaf(port, scene.host)[0] == serials["mail"],
        )
        assert scene.leaf(port, scene.host)[1].endswith(("0 (ok)", "OK")), scene.leaf(port, scene.host)
    for page in ("mta-sts", "autoconfig", "autodiscover"):
        found = scene.leaf(443, f"{page}.{scene.domain}")
        assert found[0] == serials[scene.domain], (page, found)


def test_others_can_insist_on_encryption(scene: Scene) -> None:
    """TLSA, MTA-STS, CAA and TLS reports stand in the zone once they are true; strict senders are content."""
    hashes = scene.wait("TLSA", lambda: scene.ask(f"_25._tcp.{scene.host}", "TLSA"))
    assert len(hashes) == 2 and all(value.startswith("3 1 1 ") for value in hashes), hashes
    scene.wait("MTA-STS", lambda: scene.ask(f"_mta-sts.{scene.domain}", "TXT"))
    policy = scene.client.run(
        "curl", "--silent", "--show-error", "--fail", "--cacert", str(scene.roots), "--max-time", "20",
        f"https://mta-sts.{scene.domain}/.well-known/mta-sts.txt",
    )  # fmt: skip
    assert policy.splitlines()[0] == "version: STSv1" and f"mx: {scene.host}" in policy, policy
    assert scene.ask(f"_smtp._tls.{scene.domain}", "TXT")
    # Postfix's own test, which delivers nothing: "Verified" is what DANE alone gives at this level.
    said = scene.client.run("posttls-finger", "-c", "-l", "dane-only", "-t", "30", scene.domain, check=False)
    assert "Verified TLS connection established" in said, said
    # And OpenSSL's, which is told the records, on each port that has some.
    for port in TLS_PORTS:
        hashes = scene.ask(f"_{port}._tcp.{scene.host}", "TLSA")
        assert hashes, port
        # The world's tools put a space into long hashes.
        pins = [f"3 1 1 {value.removeprefix('3 1 1 ').replace(' ', '')}" for value in hashes]
        said = scene.tls(port, scene.host, "-dane_tlsa_domain", scene.host, *(part for pin in pins for part in ("-dane_tlsa_rrdata", pin)))
        assert "DANE TLSA 3 1 1" in said and "Verification: OK" in said, said


def test_a_renewal_keeps_connections_and_keys(scene: Scene) -> None:
    """The new certificate is shown to new connections, with the key that is pinned; old connections go on."""
    hashes = scene.ask(f"_25._tcp.{scene.host}", "TLSA")
    before = scene.certificates()["mail"]["serial"]
    context = ssl.create_default_context(cafile=str(scene.roots))
    with (
        context.wrap_socket(scene.connection(993), server_hostname=scene.host) as imap,
        context.wrap_socket(scene.connection(443), server_hostname=scene.host) as web,
    ):
        assert imap.recv(1000).startswith(b"* OK")
        assert scene.api.call("POST", "certificates/mail/renew")[0] == 204
        after = scene.wait(
            "another certificate",
            lambda: (found := scene.certificates()["mail"])["serial"] != before and found["state"] == "valid" and found["serial"],
            ORDER_TIMEOUT,
        )
        for port in (25, 993, 443):
            scene.wait(f"it on port {port}", lambda port=port: scene.leaf(port, scene.host)[0] == after.lower().lstrip("0"))
        imap.sendall(b"a NOOP\r\n")
        assert imap.recv(1000).startswith(b"a OK")
        web.sendall(f"GET / HTTP/1.1\r\nHost: {scene.host}\r\nConnection: close\r\n\r\n".encode())
        assert web.recv(100).startswith(b"HTTP/1.1 ")
    assert scene.ask(f"_25._tcp.{scene.host}", "TLSA") == hashes


def test_the_boxs_own_resolver_validates(scene: Scene) -> None:
    """From the root on; the box says so."""
    logs = "\n".join(scene.box.logs("resolver"))
    assert "answers come from the domains' own name servers, and are checked" in logs, logs


def test_mail_goes_only_to_whom_it_is_for(scene: Scene, tmp_path: Path) -> None:
    """Out by DANE and with a policy announced: a wrong key or certificate gets nothing, nor does doubt; else any TLS."""
    account = scene.subject.account

    def queue() -> dict[str, dict[str, Any]]:
        status, told = scene.api.call("GET", "mail/queue")
        assert status == 200, told
        return {one["address"]: one | {"id": message["id"]} for message in told["messages"] for one in message["receivers"]}

    with Receivers(scene.internet, tmp_path) as there:
        scene.world.publish(there.records())
        assert scene.ask(f"_25._tcp.{PINNED.host}", "TLSA"), "the world has no TLSA record"
        sent = {one: new_message(one.domain, account.address, f"bob@{one.domain}") for one in ALL}
        # Who is who on the box is not the question here.
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        with smtplib.SMTP_SSL("127.0.0.1", scene.box.forwards[465], context=trusting, timeout=PATIENCE) as smtp:
            smtp.login(account.name, account.password)
            for message in sent.values():
                assert smtp.send_message(message) == {}

        def attempted() -> bool:
            waits = queue()
            return (
                there.received(sent[PINNED]) is not None
                and f"bob@{MISMATCH.domain}" not in waits
                and all(waits[f"bob@{one.domain}"]["tries"] == 1 for one in (SILENT, POLICY, PLAIN))
            )

        scene.wait("an attempt for each", attempted)
        kept = there.received(sent[PINNED])
        assert kept is not None and "with ESMTPS" in str(kept["Received"]), kept
        for one in (POLICY, PLAIN):
            assert scene.api.call("POST", f"mail/queue/{queue()[f'bob@{one.domain}']['id']}/retry")[0] == 202
        kept = scene.wait("mail for whoever has TLS", lambda: there.received(sent[PLAIN]))
        assert "with ESMTPS" in str(kept["Received"]), kept
        scene.wait("a second attempt", lambda: queue()[f"bob@{POLICY.domain}"]["tries"] == 2)
        waits = queue()
        assert set(waits) == {f"bob@{SILENT.domain}", f"bob@{POLICY.domain}"}, waits
        for one in (MISMATCH, SILENT, POLICY):
            assert there.received(sent[one]) is None, f"{one.domain} got it"
        # What the library makes of a key that is not the pinned one: it comes back at once.
        with imaplib.IMAP4_SSL("127.0.0.1", scene.box.forwards[993], ssl_context=trusting, timeout=PATIENCE) as imap:
            imap.login(account.name, account.password)

            def told() -> bool:
                imap.select()
                return imap.search(None, "TEXT", '"No matching certificates found in TLSA records"')[1] != [b""]

            scene.wait("the word that it did not leave", told)
        for address in list(waits):
            assert scene.api.call("DELETE", f"mail/queue/{waits[address]['id']}")[0] == 204


def test_the_check_is_content(scene: Scene) -> None:
    """`roost dns check`: box, copies, public name servers and the registry agree."""
    told = scene.laptop.run("dns", "check", expect=None)[-1]
    wrong = [row for row in told["rows"] if not row["right"]]
    assert not wrong, json.dumps(wrong, indent=1)
    assert {place["name"] for place in told["places"]} >= {"box", "secondary", "parent"}


@pytest.mark.parametrize("judge", ["zonemaster", "dnsviz", "checkdmarc", "opendkim", "danetool"])
def test_public_judges(scene: Scene, judge: str) -> None:
    """They find nothing but what docs/dns-judges.md explains."""
    judges = {"zonemaster": zonemaster, "dnsviz": dnsviz, "checkdmarc": checkdmarc, "opendkim": opendkim, "danetool": danetool}
    found = judges[judge](scene)
    assert not found, "\n".join(found)


def zonemaster(scene: Scene) -> list[str]:
    """Findings of zonemaster-cli."""
    command = ("zonemaster-cli", "--hints", str(scene.world.hints_file), "--level", "WARNING", "--json", "--no-progress", scene.domain)
    found = json.loads(scene.client.run(*command, check=False))
    assert {one["tag"] for one in found} >= {"NAMESERVER_IP_PRIVATE_NETWORK"}, "it has seen no address of this lab"
    return [json.dumps(one) for one in found if one["tag"] not in EXPLAINED]


def dnsviz(scene: Scene) -> list[str]:
    """Findings of dnsviz from the root on."""
    place = ("env", "PYTHONWARNINGS=ignore")
    hints = f".:a.root=[{ROOT}]"
    probe = scene.folder / "dnsviz.json"
    scene.client.run(*place, "dnsviz", "probe", "-A", "-a", ".", "-x", hints, "-o", str(probe), scene.domain, scene.host)
    said = scene.client.run(*place, "dnsviz", "grok", "-l", "warning", "-t", str(scene.world.anchor_file), "-r", str(probe))
    return [said] if said.strip() not in ("", "{}") else []


def checkdmarc(scene: Scene) -> list[str]:
    """Findings of checkdmarc."""
    program = Path(__file__).resolve().parents[3] / "build/tools/bin/checkdmarc"
    trust = ("env", f"REQUESTS_CA_BUNDLE={scene.roots}", f"SSL_CERT_FILE={scene.roots}")
    said = json.loads(scene.client.run(*trust, str(program), "-n", RESOLVER, "-t", "5", "--skip-tls", scene.domain))
    assert said["mta_sts"]["valid"] and said["spf"]["valid"] and said["dmarc"]["valid"], said
    parts = {name: part for name, part in said.items() if isinstance(part, dict) and name != "bimi"}
    found = [(name, text) for name, part in parts.items() for text in [part.get("error"), *part.get("warnings", [])] if text]
    return [f"{name}: {text}" for name, text in found if not text.startswith(UNENFORCED)]


def opendkim(scene: Scene) -> list[str]:
    """Findings of opendkim-testkey, for both keys."""
    names = [record["name"] for record in scene.api.call("GET", f"dns/{scene.domain}/records")[1]["records"]]
    selectors = [name.partition("._domainkey.")[0] for name in names if "._domainkey." in name]
    assert len(selectors) == 2
    # Debian's asks the root's servers by itself otherwise.
    settings = scene.folder / "opendkim.conf"
    settings.write_text(f"Nameservers {RESOLVER4}\nTrustAnchorFile {scene.world.anchor_file}\n")
    found = []
    for selector in selectors:
        done = subprocess.run(
            [*scene.client.enter, "opendkim-testkey", "-x", str(settings), "-d", scene.domain, "-s", selector, "-vvv"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        # "secure": it has followed the signatures from the root on.
        if done.returncode != 0 or "key OK" not in done.stdout or "key secure" not in done.stderr:
            found.append(f"{selector}: {done.stdout}{done.stderr}")
    return found


def danetool(scene: Scene) -> list[str]:
    """Findings of GnuTLS's danetool, which validates the TLSA records itself, on each port that has some."""
    # It tries one address only.
    hosts = scene.folder / "hosts"
    hosts.write_text(f"{PUBLIC4} {scene.host}\n")
    place = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@" 2>&1', str(hosts))
    found = []
    for port, protocol in TLS_PORTS.items():
        start = [f"--starttls-proto={protocol}"] if protocol else []
        # "Local" is the resolver that the machine has; otherwise it asks the root's servers on the internet.
        said = scene.client.run(*place, "danetool", "--local-dns", "--check", scene.host, "--port", str(port), *start, check=False)
        if "Verification: Certificate matches." not in said:
            found.append(f"port {port}: {said}")
    return found
