"""Somebody else's mail server: Debian's Postfix on a machine of its own."""

from __future__ import annotations

import os
import re
import subprocess
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType

from clients import parse
from namespaces import Machine
from waiting import wait_until

#: Its mail domain, and its own name. The box takes names that end in `.example` for invalid.
DOMAIN = "peer.home.arpa"
HOST = f"mx.{DOMAIN}"
#: Where its mail lies, and who may write there (`nobody`).
MAIL = "var/mail/peer"
NOBODY = 65534
START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0


def settings(there: str, exchanger: str) -> str:
    """What differs from what Debian sets: mail for `there` has one way, and no name is looked up."""
    return f"""
compatibility_level = 3.6
maillog_file = /dev/stdout
myhostname = {HOST}
mydestination = localhost
mynetworks = 127.0.0.0/8
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtp_tls_security_level = may
transport_maps = inline:{{{there}=smtp:[{exchanger}]:25}}
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_base = /{MAIL}
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{NOBODY}
virtual_gid_maps = static:{NOBODY}
"""


def stop_postfix(machine: Machine, program: subprocess.Popen[bytes]) -> None:
    """Ends a Postfix that was started by `start-fg` on a machine; by force if it does not end, as what is tested is over."""
    machine.run("postfix", "stop", check=False)
    try:
        program.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


class Postfix:
    """Takes mail for everybody in its domain; gives mail for one other domain to one address."""

    def __init__(self, there: str, exchanger: str, folder: Path) -> None:
        """Makes the machine, which has no cable yet. Needs root and Debian's `postfix`."""
        files = folder / "files"
        (files / "etc/postfix").mkdir(parents=True)
        (files / "etc/postfix/main.cf").write_text(settings(there, exchanger))
        (files / MAIL).mkdir(parents=True)
        os.chown(files / MAIL, NOBODY, NOBODY)
        self._log = folder / "postfix.log"
        self.machine = Machine("peer", files)
        self._program = self.machine.start("postfix", "start-fg", log=self._log)
        try:
            wait_until("Postfix", lambda: "daemon started" in self.log(), START_TIMEOUT)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text(errors="replace")

    def callers(self) -> list[str]:
        """Addresses of those who connected to it, one for each time."""
        return re.findall(r"/smtpd\[\d+\]: connect from \S+\[([^\]]+)\]", self.log())

    def send(self, message: EmailMessage) -> None:
        """Gives it a message to send, as a program on its own machine does."""
        sender, to = str(message["From"]), str(message["To"])
        self.machine.run("sendmail", "-i", "-f", sender, to, stdin=message.as_string())

    def received(self, message: EmailMessage) -> EmailMessage | None:
        """A message as it lies in a mailbox there, if it does."""
        look = f'grep -rlF -e "$1" /{MAIL}/inbox/new | xargs -r cat'
        found = self.machine.run("sh", "-c", look, "sh", str(message["Message-ID"]), check=False)
        return parse(found.encode()) if found else None

    def __enter__(self) -> Postfix:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends it."""
        stop_postfix(self.machine, self._program)
        self.machine.__exit__(kind, error, trace)
