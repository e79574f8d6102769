"""Somebody's old mail server: Debian's Dovecot on this machine, with a folder of its own."""

from __future__ import annotations

import hashlib
import imaplib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from waiting import wait_until

START_TIMEOUT = 60.0
#: Who may read mail there: Dovecot does not as root.
NOBODY = 65534
#: Name in the server's certificate.
HOST = "mail.old.home.arpa"


def free_port() -> int:
    """A TCP port of loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Dovecot:
    """Serves IMAP over TLS on loopback, with accounts that all have one password."""

    def __init__(self, accounts: tuple[str, ...], password: str) -> None:
        """Makes and starts it. Needs root and Debian's `dovecot-imapd`."""
        assert shutil.which("dovecot", path="/usr/sbin:/usr/bin"), "dovecot is missing: apt-get install dovecot-imapd"
        # Its parts run as other users, who may not enter a test's own folder.
        self._folder = tempfile.TemporaryDirectory(prefix="roost-dovecot.", dir="/var/tmp")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        self.port = free_port()
        self._log = folder / "log"
        self._password = password
        (folder / "users").write_text("".join(f"{name}:{{PLAIN}}{password}\n" for name in accounts))
        (folder / "mail").mkdir()
        os.chown(folder / "mail", NOBODY, NOBODY)
        self.certificate = folder / "cert.pem"
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
                "-keyout", str(folder / "key.pem"), "-out", str(self.certificate),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        config = folder / "dovecot.conf"
        config.write_text(settings(folder, self.port))
        self._process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", str(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        try:
            wait_until("Dovecot", self._answers, START_TIMEOUT, retry_on=(OSError,))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _answers(self) -> bool:
        assert self._process.poll() is None, self.log()
        with self.imap("", login=False):
            return True

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest()

    def url(self, account: str) -> str:
        """An account, as `roost import` wants it named."""
        return f"imaps://{account}@127.0.0.1:{self.port}"

    def imap(self, account: str, *, login: bool = True) -> imaplib.IMAP4:
        """A connection of a mail program."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False
        client = imaplib.IMAP4_SSL("127.0.0.1", self.port, ssl_context=context, timeout=START_TIMEOUT)
        if login:
            # LOGIN takes ASCII alone, and passwords need not be that.
            client.authenticate("PLAIN", lambda _: f"\0{account}\0{self._password}".encode())
        return client

    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Dovecot:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends it, and its children with it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(START_TIMEOUT)
        self._folder.cleanup()


def settings(folder: Path, port: int) -> str:
    """Everything in one folder; special folders have names as a provider may have chosen them."""
    special = {"Gesendet": "Sent", "Papierkorb": "Trash", "Entw&APw-rfe": "Drafts"}
    mailboxes = "\n".join(
        f'mailbox "{name.replace("&APw-", "ü")}" {{\n special_use = \\{use}\n auto = create\n}}' for name, use in special.items()
    )
    return f"""
protocols = imap
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = required
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
mail_location = maildir:{folder}/mail/%u
first_valid_uid = 1
passdb {{
 driver = passwd-file
 args = username_format=%u {folder}/users
}}
userdb {{
 driver = static
 args = uid={NOBODY} gid={NOBODY} home={folder}/mail/%u
}}
namespace inbox {{
 inbox = yes
 separator = .
 {mailboxes}
}}
service imap-login {{
 inet_listener imap {{
  port = 0
 }}
 inet_listener imaps {{
  port = {port}
  ssl = yes
 }}
}}
"""
