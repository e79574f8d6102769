"""Another strict mail server, of another make: Exim, with what is built into it.

It takes mail over TLS alone, from a host whose name and address lead to each other, with SPF, with every signature of
DKIM good and one of them of the author's domain; and it sends by DANE alone. Debian's package takes the place of
Postfix, so `scripts/setup test` unpacks it into `build/peers`.
"""

from __future__ import annotations

import re
import shutil
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType

from namespaces import Machine
from postfix import MAIL, NOBODY, START_TIMEOUT
from strict import PEERS, Peer
from waiting import wait_until

PROGRAM = "/usr/sbin/exim4"
#: Whom Debian's build looks up at each start.
USER = f"Debian-exim:x:{NOBODY}:{NOBODY}::/var/spool/exim4:/usr/sbin/nologin\n"
GROUP = f"Debian-exim:x:{NOBODY}:\n"


class ExactExim(Peer):
    """Exim; ends with `with`."""

    def __init__(self, internet: Machine, domain: str, network: str, folder: Path) -> None:
        """Switches it on."""
        files = folder / "files"
        shutil.copytree(PEERS / "usr", files / "usr", symlinks=True)
        (files / "etc/exim4").mkdir(parents=True, exist_ok=True)
        (files / "etc/exim4/exim4.conf").write_text(settings(domain))
        for name, line in (("passwd", USER), ("group", GROUP)):
            (files / f"etc/{name}").write_text(Path(f"/etc/{name}").read_text() + line)
        super().__init__(internet, domain, network, folder, files)
        try:
            self.machine.run("sh", "-c", f"mkdir -p /var/spool/exim4 && chown {NOBODY}:{NOBODY} /var/spool/exim4 /etc/peer/*.pem && ldconfig")
            self.start("exim", PROGRAM, "-bdf", "-q5s")
            wait_until("Exim", lambda: ":25" in self.machine.run("ss", "-Hltn", "sport = :25"), START_TIMEOUT)
        except BaseException:
            super().__exit__(None, None, None)
            raise

    def log(self) -> str:
        """What it said so far."""
        return super().log() + self.machine.run("sh", "-c", f"cat /{MAIL}/log/* 2>&1", check=False)

    def verdict(self, message: EmailMessage) -> dict[str, str]:
        """What it found."""
        said = " ".join(str(value) for value in message.get_all("Authentication-Results", []))
        received = str(message["Received"])
        return {
            "SPF": (re.findall(r"spf=(\w+)", said) or ["none"])[0],
            "DKIM": ", ".join(re.findall(r"dkim=(\w+)", said)),
            "FCrDNS": (re.findall(r"iprev=(\w+)", said) or ["none"])[0],
            "TLS": (re.findall(r"\(?(TLS1[.\d]+)", received) or ["none"])[0],
        }

    def sent(self, to: str) -> str:
        """`dane`, as Exim's log says it."""
        found = re.findall(r"=> .* H=" + re.escape(to) + r" .* CV=(\w+)", self.log())
        return found[-1] if found else "none"

    def __enter__(self) -> ExactExim:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends it."""
        super().__exit__(kind, error, trace)


def settings(domain: str) -> str:
    """Its one file."""
    return f"""
primary_hostname = mx.{domain}
domainlist local_domains = {domain}
exim_user = Debian-exim
exim_group = Debian-exim
spool_directory = /var/spool/exim4
log_file_path = /{MAIL}/log/%slog
log_selector = +tls_certificate_verified +incoming_port
disable_ipv6 = true
dns_dnssec_ok = 1
tls_advertise_hosts = *
tls_certificate = /etc/peer/certificate.pem
tls_privatekey = /etc/peer/key.pem
acl_smtp_rcpt = rcpt
acl_smtp_dkim = dkim
acl_smtp_data = data
dkim_verify_hashes = sha256
begin acl
rcpt:
  accept hosts = :
  deny   condition = ${{if eq{{$tls_in_cipher}}{{}}}}
         message = 5.7.10 not without TLS
  deny   !verify = reverse_host_lookup
         message = 5.7.25 your name and address do not lead to each other
  deny   spf = fail : softfail : none : neutral : permerror
         message = 5.7.23 SPF: $spf_result
  defer  spf = temperror
  accept domains = +local_domains
  deny   message = 5.7.1 not for here
dkim:
  accept dkim_status = pass
  deny   message = 5.7.20 DKIM of $dkim_cur_signer: $dkim_verify_status, $dkim_verify_reason
data:
  accept hosts = :
  deny   condition = ${{if inlisti{{${{domain:$h_from:}}}}{{$dkim_signers}}{{no}}{{yes}}}}
         message = 5.7.20 no signature of the author's domain
  accept add_header = :at_start:${{authresults {{$primary_hostname}}}}
begin routers
local:
  driver = accept
  domains = +local_domains
  transport = inbox
out:
  driver = dnslookup
  transport = smtp
  dnssec_request_domains = *
begin transports
inbox:
  driver = appendfile
  directory = /{MAIL}/inbox
  maildir_format
  user = Debian-exim
  group = Debian-exim
smtp:
  driver = smtp
  dnssec_request_domains = *
  hosts_require_dane = *
  connect_timeout = 10s
begin retry
* * F,1h,5s
"""
