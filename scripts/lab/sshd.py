"""OpenSSH's server on this machine, from `build/openssh` (`scripts/setup test`), for a box that backs up to it."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from waiting import wait_until

#: Where `scripts/setup` unpacks it.
UNPACKED = Path(__file__).resolve().parents[2] / "build/openssh"
#: Since OpenSSH 9.8 it has other programs, at places that its configuration can name.
PARTS = {"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"}
#: Seconds until it takes connections.
START_TIMEOUT = 30.0


class Sshd:
    """An SFTP server with one account: the user who runs this, in a folder of the test's."""

    def __init__(self, folder: Path) -> None:
        """Starts it; it takes no key yet."""
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self._keys = folder / "authorized_keys"
        self._keys.touch()
        key = folder / "host_key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        shown = subprocess.run(["ssh-keygen", "-lf", str(key)], check=True, capture_output=True, text=True).stdout
        #: Fingerprint of its host key, as its owner would read it there.
        self.fingerprint = shown.split()[1]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        libraries = UNPACKED / "usr/lib/openssh"
        settings = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {key}", f"AuthorizedKeysFile {self._keys}", "PidFile none",
            "UsePAM no", "StrictModes no", "PermitRootLogin prohibit-password", f"Subsystem sftp {libraries / 'sftp-server'} -d {self.home}",
            # The same versions make whoever was refused wait.
            *(f"{option} {libraries / name}\nPerSourcePenalties no" for option, name in PARTS.items() if (libraries / name).exists()),
        ]  # fmt: skip
        (folder / "config").write_text("\n".join(settings) + "\n")
        command = [str(UNPACKED / "usr/sbin/sshd"), "-D", "-e", "-f", str(folder / "config")]
        if os.geteuid() == 0:
            # As root it wants a user of its own and a folder, which its package would make.
            users = folder / "passwd"
            users.write_text(Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n")
            command = [
                "bwrap", "--die-with-parent", "--dev-bind", "/", "/", "--ro-bind", str(users), "/etc/passwd",
                "--perms", "0755", "--tmpfs", "/run/sshd", *command,
            ]  # fmt: skip
        libraries_of = {**os.environ, "LD_LIBRARY_PATH": str(UNPACKED / "usr/lib/x86_64-linux-gnu")}
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=libraries_of)
        # Not by connecting: to a port that nobody has yet, the kernel may connect a socket with itself.
        wait_until("sshd to listen", lambda: "Server listening" in self._log.read_text(), START_TIMEOUT, interval=0.1)

    def authorize(self, line: str) -> None:
        """Takes this public key from now on."""
        self._keys.write_text(line + "\n")

    def place(self, host: str, folder: str) -> str:
        """A folder of its account, for a box that knows this machine as `host`."""
        return f"sftp://{self.user}@{host}:{self.port}/~/{folder}"

    def __enter__(self) -> Sshd:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
