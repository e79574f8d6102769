"""The rest of an emulated internet: the DNS from its root on, a certificate authority, and a resolver.

    2001:db8:d::1   the root (NSD)          2001:db8:d::53  a resolver that validates (Unbound)
    2001:db8:d::2   `org` (NSD)             2001:db8:d::ac  the certificate authority (Pebble)

The root's key follows from a text, so that an image can be built that trusts it.

    world.py anchor     prints the DS record of the root for `roost.toml`
"""

from __future__ import annotations

import base64
import hashlib
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives.asymmetric import ec

import namespaces
from namespaces import Machine, cable
from waiting import wait_until

ROOT, ORG, RESOLVER, AUTHORITY = (f"2001:db8:d::{end}" for end in ("1", "2", "53", "ac"))
#: The same machines over IPv4, which only those on the emulated internet reach.
ROOT4, ORG4, RESOLVER4 = "198.18.5.1", "198.18.5.2", "198.18.5.53"
#: Name of the certificate authority, and where its directory is.
AUTHORITY_NAME = "acme.org"
DIRECTORY = f"https://{AUTHORITY_NAME}:14000/dir"
#: Where `scripts/setup test` puts the certificate authority.
PEBBLE = Path(__file__).resolve().parents[2] / "build/pebble/usr/bin/pebble"
#: TTL of everything, in seconds: changes are to be seen soon.
TTL = 5
START_TIMEOUT = 30.0
#: How long its zones are signed for, in seconds: longer than any test moves a clock.
SIGNED_S = 365 * 86_400
#: How long certificates live, in seconds, where nothing else is said: as Let's Encrypt's.
LIFETIME_S = 90 * 86_400
#: From which the root's private key follows. It guards nothing: nobody trusts it but images of these tests.
ROOT_KEY_TEXT = b"The root's key of Roost's lab"
#: Order of the group P-256 (FIPS 186-4, D.1.2.3).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
#: Bits of a DNSKEY record: zone key, secure entry point. ECDSA P-256 with SHA-256 (RFC 6605).
KSK_FLAGS, PROTOCOL, ALGORITHM = 257, 3, 13
NSD = """
server:
  ip-address: {address}
  ip-address: {address4}
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  database: ""
  zonefiles-check: yes
  verbosity: 2
remote-control:
  control-enable: no
zone:
  name: "{zone}"
  zonefile: "zone.signed"
"""
UNBOUND = """
server:
  interface: {address}
  interface: {address4}
  access-control: ::/0 allow
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  use-syslog: no
  logfile: ""
  root-hints: "{folder}/hints"
  trust-anchor-file: "{folder}/anchor"
  val-log-level: 2
  qname-minimisation: yes
  aggressive-nsec: no
  cache-max-ttl: {ttl}
  cache-max-negative-ttl: {ttl}
  infra-host-ttl: {ttl}
  local-zone: "113.0.203.in-addr.arpa." nodefault
  local-zone: "8.b.d.0.1.0.0.2.ip6.arpa." nodefault
remote-control:
  control-enable: no
"""


def _root_key() -> tuple[int, bytes]:
    """Private number and public key (RFC 6605, section 4)."""
    secret = int.from_bytes(hashlib.sha256(ROOT_KEY_TEXT).digest(), "big") % ORDER
    public = ec.derive_private_key(secret, ec.SECP256R1()).public_key().public_numbers()
    return secret, public.x.to_bytes(32, "big") + public.y.to_bytes(32, "big")


def _root_data() -> bytes:
    return struct.pack("!HBB", KSK_FLAGS, PROTOCOL, ALGORITHM) + _root_key()[1]


def _key_tag(data: bytes) -> int:
    """RFC 4034, appendix B."""
    total = sum(byte << 8 if at % 2 == 0 else byte for at, byte in enumerate(data))
    return (total + (total >> 16)) & 0xFFFF


def anchor() -> str:
    """DS record of the root with SHA-256 (RFC 4509), as in a zone file."""
    data = _root_data()
    # The root's name is one byte.
    digest = hashlib.sha256(b"\0" + data).hexdigest().upper()
    return f". IN DS {_key_tag(data)} {ALGORITHM} 2 {digest}"


class Zone:
    """A signed zone and the program that serves it."""

    def __init__(self, machine: Machine, name: str, addresses: tuple[str, str], folder: Path) -> None:
        """Nothing is served before the first `publish`."""
        folder.mkdir()
        self._machine, self.name, self._addresses, self._folder = machine, name, addresses, folder
        self._program: subprocess.Popen[bytes] | None = None
        self._serial = 0
        self._key = self._root_key_files() if name == "." else self._new_key()

    def _root_key_files(self) -> Path:
        secret, public = _root_key()
        data = _root_data()
        key = self._folder / f"K.+{ALGORITHM:03}+{_key_tag(data):05}"
        key.with_name(key.name + ".key").write_text(
            f". {TTL} IN DNSKEY {KSK_FLAGS} {PROTOCOL} {ALGORITHM} {base64.b64encode(public).decode()}\n"
        )
        key.with_name(key.name + ".private").write_text(
            f"Private-key-format: v1.3\nAlgorithm: {ALGORITHM} (ECDSAP256SHA256)\n"
            f"PrivateKey: {base64.b64encode(secret.to_bytes(32, 'big')).decode()}\n"
        )
        return key

    def _new_key(self) -> Path:
        made = subprocess.run(
            ["dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-L", str(TTL), self.name],
            cwd=self._folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return self._folder / made.stdout.strip()

    def ds(self) -> str:
        """Its DS record for the zone above."""
        key = f"{self._key}.key"
        return subprocess.run(["dnssec-dsfromkey", "-2", key], check=True, capture_output=True, text=True).stdout

    def publish(self, records: Sequence[str]) -> None:
        """Serves these records from now on, signed, with a SOA and the key."""
        self._serial += 1
        soa = f"{self.name} {TTL} IN SOA a.nic.org. hostmaster.nic.org. {self._serial} 3600 600 86400 {TTL}"
        key = Path(f"{self._key}.key").read_text()
        plain = self._folder / "zone"
        plain.write_text("\n".join([f"$TTL {TTL}", soa, key, *records]) + "\n")
        subprocess.run(
            ["dnssec-signzone", "-q", "-z", "-e", f"now+{SIGNED_S}", "-o", self.name, "-f", "zone.signed", "zone", str(self._key)],
            cwd=self._folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        if self._program is None:
            self._start()
        else:
            self._program.send_signal(signal.SIGHUP)
        wait_until(f"the zone {self.name}", lambda: self.serial() == self._serial, START_TIMEOUT)

    def _start(self) -> None:
        settings = self._folder / "nsd.conf"
        address, address4 = self._addresses
        settings.write_text(NSD.format(address=address, address4=address4, folder=self._folder, zone=self.name))
        log = self._folder / "nsd.log"
        self._program = self._machine.start("/usr/sbin/nsd", "-d", "-c", str(settings), log=log)

    def serial(self) -> int | None:
        """The serial number that is served."""
        said = self._machine.run("dig", f"@{self._addresses[0]}", self.name, "SOA", "+short", "+time=1", "+tries=1", check=False)
        fields = said.split()
        return int(fields[2]) if len(fields) == 7 else None

    def stop(self) -> None:
        """Ends the program."""
        if self._program is not None:
            namespaces.stop([self._program])


class World:
    """All of it on one machine; ends with `with`."""

    def __init__(
        self, internet: Machine, folder: Path, clock: Sequence[str] = (), lifetime_s: int = LIFETIME_S
    ) -> None:
        """Switches it on; `internet` is the router that it hangs on.

        `clock` is what the resolver and the authority begin with if their time is not this machine's; certificates
        live for `lifetime_s` seconds.
        """
        folder.mkdir()
        self._folder = folder
        self._clock, self._lifetime_s = clock, lifetime_s
        self._programs: list[subprocess.Popen[bytes]] = []
        self._zones: list[Zone] = []
        self._delegations: dict[str, list[str]] = {}
        self._pointers: dict[str, str] = {}
        self.machine = Machine("world")
        try:
            cable(self.machine, "eth0", internet, "world")
            self.machine.address("eth0", *(f"{address}/64" for address in (ROOT, ORG, RESOLVER, AUTHORITY)))
            self.machine.address("eth0", f"{ROOT4}/24", f"{ORG4}/24", f"{RESOLVER4}/24")
            internet.address("world", "198.18.5.254/24", "2001:db8:d::ffff/64")
            self.machine.route("default", "198.18.5.254")
            self.machine.route("default", "2001:db8:d::ffff")
            self._org = Zone(self.machine, "org.", (ORG, ORG4), folder / "org")
            self._zones.append(self._org)
            self._root = Zone(self.machine, ".", (ROOT, ROOT4), folder / "root")
            self._zones.append(self._root)
            self._publish_org()
            self._publish_root([])
            self._resolve()
            self._certify()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _publish_root(self, records: Sequence[str]) -> None:
        self._root.publish([
            ". IN NS a.root.", f"a.root. IN AAAA {ROOT}", f"a.root. IN A {ROOT4}",
            "org. IN NS a.nic.org.", f"a.nic.org. IN AAAA {ORG}", f"a.nic.org. IN A {ORG4}", self._org.ds(),
            *records,
        ])  # fmt: skip

    def _publish_org(self) -> None:
        self._org.publish([
            "org. IN NS a.nic.org.", f"a.nic.org. IN AAAA {ORG}", f"a.nic.org. IN A {ORG4}",
            f"{AUTHORITY_NAME}. IN AAAA {AUTHORITY}",
            *(line for lines in self._delegations.values() for line in lines),
        ])  # fmt: skip

    def delegate(self, domain: str, name_servers: Sequence[tuple[str, str]], ds: Sequence[str]) -> None:
        """What an owner enters at the registrar: names of servers with an address each, and DS records as text."""
        lines = [f"{domain}. IN NS {name}." for name in dict.fromkeys(name for name, _ in name_servers)]
        for name, address in name_servers:
            lines.append(f"{name}. IN {'AAAA' if ':' in address else 'A'} {address}")
        self._delegations[domain] = lines + list(ds)
        self._publish_org()

    def publish(self, records: Sequence[str]) -> None:
        """Puts these beside what else stands in `org`, until the next ones."""
        self._delegations[""] = list(records)
        self._publish_org()

    def reverse(self, addresses: Sequence[str], name: str) -> None:
        """What a cloud is told: the name that an address has, until another."""
        self._pointers |= {pointer_of(address): name for address in addresses}
        self._publish_root([f"{pointer} IN PTR {its}." for pointer, its in self._pointers.items()])

    def _resolve(self) -> None:
        folder = self._folder / "unbound"
        folder.mkdir()
        self.anchor_file = folder / "anchor"
        self.anchor_file.write_text(anchor() + "\n")
        self.hints_file = folder / "hints"
        self.hints_file.write_text(f". 3600 IN NS a.root.\na.root. 3600 IN AAAA {ROOT}\na.root. 3600 IN A {ROOT4}\n")
        settings = folder / "unbound.conf"
        settings.write_text(UNBOUND.format(address=RESOLVER, address4=RESOLVER4, folder=folder, ttl=TTL))
        self._programs.append(self.machine.start(*self._clock, "/usr/sbin/unbound", "-d", "-c", str(settings), log=folder / "unbound.log"))
        wait_until("the resolver", lambda: self.secure(AUTHORITY_NAME, "AAAA"), START_TIMEOUT)

    def resolve(self, name: str, kind: str) -> str:
        """What the resolver says."""
        return self.machine.run("dig", f"@{RESOLVER}", name, kind, "+dnssec", "+time=5", "+tries=1", check=False)

    def secure(self, name: str, kind: str) -> bool:
        """Whether the resolver has proven what it answers, as far as the root."""
        said = self.resolve(name, kind)
        return "status: NOERROR" in said and " ad" in said.partition("flags:")[2].partition(";")[0]

    def _certify(self) -> None:
        folder = self._folder / "pebble"
        folder.mkdir()
        self.authority_file = folder / "pebble.pem"
        key = folder / "pebble.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
             "-subj", f"/CN={AUTHORITY_NAME}", "-addext", f"subjectAltName=DNS:{AUTHORITY_NAME}", "-addext", "basicConstraints=critical,CA:FALSE",
             "-keyout", str(key), "-out", str(self.authority_file)],
            check=True, capture_output=True,
        )  # fmt: skip
        settings = folder / "pebble.json"
        settings.write_text(f"""{{"pebble": {{
            "listenAddress": "[{AUTHORITY}]:14000", "managementListenAddress": "[{AUTHORITY}]:15000",
            "certificate": "{self.authority_file}", "privateKey": "{key}",
            "httpPort": 5002, "tlsPort": 5001, "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": {self._lifetime_s}
        }}}}""")
        # Otherwise it waits up to 15 s before each look-up, and refuses a twentieth of all nonces.
        options = ["env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=5"]
        if self._clock:
            # A program in Go asks the kernel for the time, the emulator asks the C library.
            options += [*self._clock, "qemu-x86_64", "-U", "LD_PRELOAD"]
        self._programs.append(
            self.machine.start(
                *options, str(PEBBLE), "-config", str(settings), "-dnsserver", f"[{RESOLVER}]:53", log=folder / "pebble.log"
            )
        )
        wait_until("the certificate authority", lambda: self.issuer() or None, START_TIMEOUT, retry_on=(RuntimeError,))

    def issuer(self) -> str:
        """The certificate that signs those of the authority, which it makes at each start: PEM."""
        url = f"https://[{AUTHORITY}]:15000/roots/0"
        return self.machine.run("curl", "--silent", "--fail", "--insecure", "--max-time", "5", url)

    def logs(self) -> str:
        """What the certificate authority and the resolver said last."""
        logs = (self._folder / "pebble/pebble.log", self._folder / "unbound/unbound.log")
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-3000:]}" for log in logs if log.exists())

    def __enter__(self) -> World:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Switches it off."""
        namespaces.stop(self._programs)
        for zone in self._zones:
            zone.stop()
        self.machine.__exit__(kind, error, trace)


def pointer_of(address: str) -> str:
    """The name under which the name of an address stands (RFC 1035, section 3.5; RFC 3596, section 2.5)."""
    if ":" in address:
        digits = socket.inet_pton(socket.AF_INET6, address).hex()
        return ".".join(reversed(digits)) + ".ip6.arpa."
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa."


if __name__ == "__main__":
    if sys.argv[1:] != ["anchor"]:
        sys.exit(__doc__)
    print(anchor())
