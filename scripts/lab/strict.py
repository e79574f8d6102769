"""Somebody else's mail server that refuses what is not proven: Debian's Postfix with the usual programs around it.

It takes mail over TLS alone, from a host whose name and address lead to each other (FCrDNS), with SPF (policyd-spf),
DKIM (OpenDKIM) and DMARC (OpenDMARC). It sends by the receiver's MTA-STS policy (postfix-mta-sts-resolver), by DANE where there is none.
Its own domain lies in `org`, with a TLSA record for the key that it shows.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType

import namespaces
from clients import parse
from namespaces import Machine, cable
from postfix import MAIL, NOBODY, START_TIMEOUT, stop_postfix
from waiting import wait_until
from world import RESOLVER4, TTL, anchor

#: What the machine's programs ask, and believe.
RESOLV_CONF = f"nameserver {RESOLVER4}\noptions edns0 trust-ad timeout:5\n"
MILTER_PORT, DMARC_PORT, POLICY_PORT = 8891, 8893, 8461
#: What `scripts/setup test` unpacks, as it would take the place of other packages, or bring a database with it.
PEERS = Path(__file__).resolve().parents[2] / "build/peers"


class Peer:
    """A mail domain in `org` with one server, on a machine of its own."""

    def __init__(self, internet: Machine, domain: str, network: str, folder: Path, files: Path) -> None:
        """Makes the machine and lays its cable; `network` is three bytes of its address."""
        self.domain, self.host, self.address = domain, f"mx.{domain}", f"{network}.10"
        folder.mkdir(exist_ok=True)
        settings = files / "etc/peer"
        settings.mkdir(parents=True, exist_ok=True)
        (files / "etc/resolv.conf").write_text(RESOLV_CONF)
        (files / MAIL).mkdir(parents=True)
        os.chown(files / MAIL, NOBODY, NOBODY)
        key = settings / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", f"/CN={self.host}", "-keyout", str(key), "-out", str(settings / "certificate.pem")],
            check=True, capture_output=True,
        )  # fmt: skip
        public = subprocess.run(["openssl", "pkey", "-in", str(key), "-pubout", "-outform", "DER"], check=True, capture_output=True)
        self._hash = hashlib.sha256(public.stdout).hexdigest()
        self._folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []
        self.machine = Machine(domain.partition(".")[0], files)
        try:
            name = self.machine.name
            cable(self.machine, "eth0", internet, name)
            self.machine.address("eth0", f"{self.address}/24")
            internet.address(name, f"{network}.1/24")
            self.machine.route("default", f"{network}.1")
        except BaseException:
            self.machine.__exit__(None, None, None)
            raise

    def records(self) -> Sequence[str]:
        """What stands in the zone `org` about it."""
        return [
            f"{self.domain}. {TTL} IN MX 10 {self.host}.", f"{self.host}. {TTL} IN A {self.address}",
            f'{self.domain}. {TTL} IN TXT "v=spf1 ip4:{self.address} -all"', f'{self.host}. {TTL} IN TXT "v=spf1 a -all"',
            f"_25._tcp.{self.host}. {TTL} IN TLSA 3 1 1 {self._hash}",
        ]  # fmt: skip

    def start(self, name: str, *command: str) -> None:
        """Starts a program of the server's."""
        self._programs.append(self.machine.start(*command, log=self._folder / f"{name}.log"))

    def log(self) -> str:
        """What its programs said so far."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self._folder.glob("*.log")))

    def send(self, message: EmailMessage) -> None:
        """Gives it a message to send, as a program on its own machine does."""
        sender, to = str(message["From"]), str(message["To"])
        self.machine.run("sendmail", "-i", "-f", sender, to, stdin=message.as_string())

    def received(self, message_id: str) -> EmailMessage | None:
        """A message as it lies in a mailbox there, if it does."""
        look = f'grep -rlF -e "$1" /{MAIL}/inbox/new | xargs -r cat'
        found = self.machine.run("sh", "-c", look, "sh", message_id, check=False)
        return parse(found.encode()) if found else None

    def verdict(self, message: EmailMessage) -> dict[str, str]:
        """What it found of a message that it took: `SPF`, `DKIM` (of each signature), `DMARC` if it knows that, `FCrDNS`, `TLS`."""
        raise NotImplementedError

    def sent(self, to: str) -> str:
        """How the last server of this name that it sent to was known to be the right one, in its own word."""
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends it."""
        namespaces.stop(self._programs)
        self.machine.__exit__(kind, error, trace)


class StrictPostfix(Peer):
    """Postfix; ends with `with`."""

    def __init__(self, internet: Machine, domain: str, network: str, roots: str, folder: Path) -> None:
        """Switches it on; `roots` are certificates (PEM) of the authorities that it trusts."""
        files = folder / "files"
        super().__init__(internet, domain, network, folder, _with_settings(files, domain, roots))
        try:
            # Debian's jails have a resolver's address of their own.
            self.machine.run("postconf", "-F", "*/*/chroot=n")
            self.machine.run("postconf", "-M", "spf/unix=spf unix - n n - 0 spawn user=nobody argv=/usr/bin/policyd-spf /etc/peer/spf.conf")
            self.start("opendkim", "/usr/sbin/opendkim", "-f", "-x", "/etc/peer/opendkim.conf")
            libraries = f"LD_LIBRARY_PATH={PEERS}/usr/lib:{PEERS}/usr/lib/x86_64-linux-gnu"
            self.start("opendmarc", "env", libraries, f"{PEERS}/usr/sbin/opendmarc", "-f", "-c", "/etc/peer/opendmarc.conf")
            self.start("mta-sts", "env", "SSL_CERT_FILE=/etc/peer/roots.pem", "/usr/bin/mta-sts-daemon", "-c", "/etc/peer/mta-sts.yml")
            self._postfix = self.machine.start("postfix", "start-fg", log=folder / "postfix.log")
            wait_until("Postfix", lambda: "daemon started" in self.log(), START_TIMEOUT)
            for port in (MILTER_PORT, DMARC_PORT, POLICY_PORT):
                listens = f"sport = :{port}"
                wait_until(f"port {port} of {domain}", lambda: str(port) in self.machine.run("ss", "-Hltn", listens), START_TIMEOUT)
        except BaseException:
            super().__exit__(None, None, None)
            raise

    def verdict(self, message: EmailMessage) -> dict[str, str]:
        """What it found."""
        said = " ".join(str(value) for value in message.get_all("Authentication-Results", []))
        spf = " ".join(str(value) for value in message.get_all("Received-SPF", []))
        received = str(message["Received"])
        return {
            "SPF": spf.partition(" ")[0].lower(),
            "DKIM": ", ".join(re.findall(r"dkim=(\w+)", said)),
            "DMARC": (re.findall(r"dmarc=(\w+)", said) or ["none"])[0],
            "FCrDNS": "pass" if re.search(r"\(mail\.\S+ \[", received) else received,
            "TLS": (re.findall(r"using (TLSv[\d.]+)", received) or ["none"])[0],
        }

    def policy(self, domain: str) -> str:
        """What Postfix is told by a domain's MTA-STS policy; empty if it has none."""
        return self.machine.run("postmap", "-q", domain, f"socketmap:inet:127.0.0.1:{POLICY_PORT}:postfix", check=False).strip()

    def waits(self, message: EmailMessage) -> bool:
        """Whether a message of its own could not be delivered yet, and stays."""
        queued = re.search(r"(\w+): message-id=" + re.escape(str(message["Message-ID"])), self.log())
        return queued is not None and re.search(queued[1] + r": .*status=deferred", self.log()) is not None

    def sent(self, to: str) -> str:
        """`Verified` is the policy's or DANE's word; without either it would be `Untrusted`."""
        found = re.findall(r"(\w+) TLS connection established to " + re.escape(to), self.log())
        return found[-1] if found else "none"

    def __enter__(self) -> StrictPostfix:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends it."""
        stop_postfix(self.machine, self._postfix)
        super().__exit__(kind, error, trace)


def _with_settings(files: Path, domain: str, roots: str) -> Path:
    """Writes what Postfix and the programs around it read."""
    settings = files / "etc/peer"
    (files / "etc/postfix").mkdir(parents=True)
    settings.mkdir(parents=True)
    (settings / "roots.pem").write_text(roots)
    (settings / "root.anchor").write_text(anchor() + "\n")
    (settings / "spf.conf").write_text("debugLevel = 1\nTestOnly = 1\nHELO_reject = SPF_Not_Pass\nMail_From_reject = SPF_Not_Pass\nPermError_reject = True\nTempError_Defer = True\nHeader_Type = SPF\n")
    (settings / "opendkim.conf").write_text(f"""
Mode v
Socket inet:{MILTER_PORT}@127.0.0.1
AuthservID mx.{domain}
Nameservers {RESOLVER4}
TrustAnchorFile /etc/peer/root.anchor
On-NoSignature reject
On-BadSignature reject
On-KeyNotFound reject
UserID nobody
Syslog no
LogWhy yes
""")
    (settings / "opendmarc.conf").write_text(f"""
Socket inet:{DMARC_PORT}@127.0.0.1
AuthservID mx.{domain}
TrustedAuthservIDs mx.{domain}
RejectFailures true
RequiredHeaders true
SPFSelfValidate true
SPFIgnoreResults true
UserID nobody
Syslog false
""")
    (settings / "mta-sts.yml").write_text(f"""
host: 127.0.0.1
port: {POLICY_PORT}
cache:
  type: internal
  options: {{cache_size: 100}}
cache_grace: 5
default_zone:
  strict_testing: true
  timeout: 10
""")
    (files / "etc/postfix/main.cf").write_text(f"""
compatibility_level = 3.6
maillog_file = /dev/stdout
myhostname = mx.{domain}
mydestination = localhost
mynetworks = 127.0.0.0/8
inet_protocols = ipv4
smtpd_helo_required = yes
smtpd_client_restrictions = permit_mynetworks, reject_unknown_client_hostname
smtpd_helo_restrictions = permit_mynetworks, reject_unknown_helo_hostname
smtpd_sender_restrictions = permit_mynetworks, reject_unknown_sender_domain
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, check_policy_service unix:private/spf
smtpd_milters = inet:127.0.0.1:{MILTER_PORT}, inet:127.0.0.1:{DMARC_PORT}
milter_default_action = tempfail
smtpd_tls_security_level = encrypt
smtpd_tls_received_header = yes
smtpd_tls_chain_files = /etc/peer/key.pem /etc/peer/certificate.pem
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane
smtp_tls_policy_maps = socketmap:inet:127.0.0.1:{POLICY_PORT}:postfix
smtp_tls_CAfile = /etc/peer/roots.pem
smtp_tls_loglevel = 1
# Somebody who looks again soon.
queue_run_delay = 5s
minimal_backoff_time = 5s
maximal_backoff_time = 10s
smtp_connect_timeout = 10s
virtual_mailbox_domains = {domain}
virtual_mailbox_base = /{MAIL}
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{NOBODY}
virtual_gid_maps = static:{NOBODY}
""")
    return files
