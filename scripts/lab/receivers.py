"""Other people's mail servers that say, or do not say, how to know them: one Postfix with an address for each.

Their domains lie in `org` itself, whose zone is signed, so that a record there counts as proven.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType

from clients import parse
from namespaces import Machine, cable
from postfix import MAIL, NOBODY, START_TIMEOUT, stop_postfix
from waiting import wait_until
from world import TTL

#: Their network, and where the internet hangs on it.
NETWORK, ROUTER4 = "198.51.101", "198.51.101.1"
#: Where nobody is: a name server that never answers.
NOBODY4 = f"{NETWORK}.250"


@dataclass(frozen=True)
class Receiver:
    """A mail domain with one server. All have a certificate that no authority made."""

    domain: str
    #: Its server's address, the last byte.
    end: int
    #: Records about its server and its domain, after those for mail: templates with `host` and `hash`, the SHA-256
    #: of the key that it shows.
    records: tuple[str, ...]

    @property
    def host(self) -> str:
        """Name of its server."""
        return f"mx.{self.domain}"

    @property
    def address(self) -> str:
        """Address of its server."""
        return f"{NETWORK}.{self.end}"


PINNED = Receiver("pinned.org", 11, ("_25._tcp.{host}. IN TLSA 3 1 1 {hash}",))
MISMATCH = Receiver("mismatch.org", 12, ("_25._tcp.{host}. IN TLSA 3 1 1 " + "00" * 32,))
#: Whoever asks for its TLSA records gets no answer, though the name server of its zone can prove that there are some.
SILENT = Receiver("silent.org", 13, (
    "_tcp.{host}. IN NS nobody.silent.org.", f"nobody.silent.org. IN A {NOBODY4}", "_tcp.{host}. IN DS 1 13 2 " + "00" * 32,
))  # fmt: skip
POLICY = Receiver("policy.org", 14, ('_mta-sts.policy.org. IN TXT "v=STSv1; id=1"',))
PLAIN = Receiver("plain.org", 15, ())
ALL = (PINNED, MISMATCH, SILENT, POLICY, PLAIN)


class Receivers:
    """Their machine. Ends with `with`."""

    def __init__(self, internet: Machine, folder: Path) -> None:
        """Switches it on. Needs root and Debian's `postfix`."""
        files = folder / "files"
        settings = files / "etc/postfix"
        settings.mkdir(parents=True)
        (files / MAIL).mkdir(parents=True)
        os.chown(files / MAIL, NOBODY, NOBODY)
        key, certificate = settings / "key.pem", settings / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", "/CN=somebody", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
        public = subprocess.run(
            ["openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER"], check=True, capture_output=True
        ).stdout
        self._hash = hashlib.sha256(public).hexdigest()
        (settings / "main.cf").write_text(f"""
compatibility_level = 3.6
maillog_file = /dev/stdout
myhostname = mx.receivers.org
mydestination = localhost
smtpd_peername_lookup = no
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtpd_tls_chain_files = /etc/postfix/key.pem /etc/postfix/certificate.pem
virtual_mailbox_domains = {", ".join(one.domain for one in ALL)}
virtual_mailbox_base = /{MAIL}
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{NOBODY}
virtual_gid_maps = static:{NOBODY}
""")
        self._log = folder / "receivers.log"
        self.machine = Machine("receivers", files)
        self._program: subprocess.Popen[bytes] | None = None
        try:
            cable(self.machine, "eth0", internet, "receivers")
            self.machine.address("eth0", *(f"{one.address}/24" for one in ALL))
            internet.address("receivers", f"{ROUTER4}/24")
            self.machine.route("default", ROUTER4)
            self._program = self.machine.start("postfix", "start-fg", log=self._log)
            wait_until("Postfix", lambda: "daemon started" in self.log(), START_TIMEOUT)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def records(self) -> Sequence[str]:
        """What stands in the zone `org` about them."""
        lines = []
        for one in ALL:
            lines += [f"{one.domain}. {TTL} IN MX 10 {one.host}.", f"{one.host}. {TTL} IN A {one.address}"]
            lines += [record.format(host=one.host, hash=self._hash) for record in one.records]
        return lines

    def log(self) -> str:
        """What Postfix said so far."""
        return self._log.read_text(errors="replace")

    def received(self, message: EmailMessage) -> EmailMessage | None:
        """A message as it lies in a mailbox there, if it does."""
        look = f'grep -rlF -e "$1" /{MAIL}/inbox/new | xargs -r cat'
        found = self.machine.run("sh", "-c", look, "sh", str(message["Message-ID"]), check=False)
        return parse(found.encode()) if found else None

    def __enter__(self) -> Receivers:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends it."""
        if self._program is not None:
            stop_postfix(self.machine, self._program)
        self.machine.__exit__(kind, error, trace)
