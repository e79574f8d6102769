"""A laptop of the owner: the `roost` command with a configuration folder of its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import Machine
from waiting import wait_until

#: TCP ports of the box's pages and of its device API.
HTTPS = 443
API = 7625
#: Seconds for one command.
COMMAND_TIMEOUT = 120.0
#: Seconds until the tunnel is up, or down, on an emulated box.
TUNNEL_TIMEOUT = 60.0


class Laptop:
    """What one computer knows of boxes."""

    def __init__(self, roost: Path, folder: Path, password: str) -> None:
        """A computer that knows no box; `password` is the admin password that its owner types."""
        folder.mkdir(parents=True)
        self.name = folder.name
        self.folder = folder
        self._roost = roost
        self.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
        self.password = folder / "password"
        self.password.write_text(password)
        self.password.chmod(0o600)

    @classmethod
    def of(cls, roost: Path, folder: Path) -> Laptop:
        """A computer that is there already, with its folder `config`."""
        made = cls.__new__(cls)
        made.name, made.folder, made._roost = folder.name, folder, roost
        made.environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
        made.password = folder / "admin-password"
        return made

    def run(self, *arguments: str, expect: int | None = 0, wrap: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Runs a command, as the last arguments of `wrap`; `expect` is its exit code, `None` for any. Gives its events."""
        done = subprocess.run(
            [*wrap, str(self._roost), *arguments, "--json"],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=COMMAND_TIMEOUT, check=False,
        )  # fmt: skip
        assert expect is None or done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Runs a command without waiting for its end."""
        return subprocess.Popen(
            [str(self._roost), *arguments, "--json"],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def pair(self, machine: Machine, *options: str, expect: int | None = 0) -> dict[str, Any]:
        """`roost pair`; gives its result, or its error."""
        assert machine.fingerprint, "the card has no certificate"
        web = f"127.0.0.1:{machine.forwards[HTTPS]}"
        own = ("--laptop", self.name, "--api-port", str(machine.forwards[API]), "--password-file", str(self.password))
        known = () if "--fingerprint" in options else ("--fingerprint", machine.fingerprint)
        return self.run("pair", web, *own, *known, *options, expect=expect)[-1]

    def at(self, machine: Machine) -> str:
        """Where the box's device API answers from here."""
        return f"127.0.0.1:{machine.forwards[API]}"

    def credentials(self) -> tuple[Path, Path]:
        """Certificate and key of the one box that it is paired with, as files of PEM for other programs."""
        (record,) = (self.folder / "config/roost/boxes").glob("*.json")
        seed = bytes.fromhex(json.loads(record.read_text())["key"])
        # An Ed25519 key in PKCS #8 (RFC 8410, section 7).
        der = bytes.fromhex("302e020100300506032b657004220420") + seed
        key, certificate = self.folder / "key.pem", self.folder / "certificate.pem"
        body = base64.b64encode(der).decode()
        key.write_text(f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
        key.chmod(0o600)
        subprocess.run(
            ["openssl", "req", "-x509", "-key", str(key), "-out", str(certificate), "-subj", "/CN=laptop", "-days", "2"],
            check=True, capture_output=True,
        )  # fmt: skip
        return certificate, key


class Api:
    """The box's device API, as the laptop calls it."""

    def __init__(self, machine: Machine, laptop: Laptop) -> None:
        """For a laptop that is paired with the box."""
        certificate, key = laptop.credentials()
        self._url = f"https://{laptop.at(machine)}/api/v1"
        self._curl = ("curl", "--silent", "--show-error", "--insecure", "--cert", str(certificate), "--key", str(key))

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of the answer."""
        sent = () if body is None else ("--header", "Content-Type: application/json", "--data", json.dumps(body))
        command = [*self._curl, "--request", method, "--write-out", "\n%{http_code}", *sent, f"{self._url}/{path}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        text, _, status = said.rpartition("\n")
        return int(status), json.loads(text) if text else None

    def wait_state(self, state: str, timeout: float = TUNNEL_TIMEOUT) -> dict[str, Any]:
        """Waits for a state of the tunnel; gives all that the box says of it."""

        def there() -> dict[str, Any] | None:
            status, answer = self.call("GET", "tunnel")
            return answer if status == 200 and answer["state"] == state else None

        return wait_until(f"a tunnel that is {state}", there, timeout, interval=1.0)
