"""A relay of another make, wireguard-go, on a network of its own that the emulated box reaches over the internet.

The box sends to a UDP port of this machine; `carrier.py` carries the datagrams into the relay's namespace and back.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from types import TracebackType

from carrier import Carrier
from namespaces import Machine, stop
from relay import MODULE
from waiting import wait_until

#: This machine, as an emulated box sees it.
HOST = "10.0.2.2"
#: Where WireGuard listens in the namespace.
PORT = 51820
#: Addresses within the tunnel.
RELAY, BOX = "10.77.0.1", "10.77.0.2"
#: Seconds until wireguard-go takes its settings.
START_TIMEOUT = 30.0


class DistantRelay:
    """The relay; knows nobody until `expect`."""

    def __init__(self, folder: Path) -> None:
        """Switches it on. Needs root, `wireguard-go` and `wg`."""
        self.machine = Machine("relay")
        # The name is also that of a socket which all of this machine's namespaces share.
        self._interface = f"wg{os.getpid()}"
        key = folder / "relay.key"
        key.touch(mode=0o600)
        key.write_text(self.machine.run("wg", "genkey"))
        self.public_key = self.machine.run("wg", "pubkey", stdin=key.read_text()).strip()
        self._programs = [self.machine.start("wireguard-go", "-f", self._interface, log=folder / "wireguard-go.log")]
        settings = ("listen-port", str(PORT), "private-key", str(key))

        def set_up() -> bool:
            self._wg("set", self._interface, *settings)
            return True

        wait_until("wireguard-go", set_up, START_TIMEOUT, retry_on=(RuntimeError,))
        self.machine.address(self._interface, f"{RELAY}/24")
        self._outside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._outside.bind(("127.0.0.1", 0))
        inside = self.machine.socket(socket.AF_INET, socket.SOCK_DGRAM)
        inside.connect(("127.0.0.1", PORT))
        self._carrier = Carrier(self._outside, inside)

    @property
    def endpoint(self) -> str:
        """Where the box finds it."""
        return f"{HOST}:{self._outside.getsockname()[1]}"

    def expect(self, public_key: str) -> None:
        """Lets the box with this key in."""
        self._wg("set", self._interface, "peer", public_key, "allowed-ips", f"{BOX}/32")

    def remember(self, folder: Path) -> None:
        """Has it say which box may serve, as a relay that Roost sets up does: by its script, for each who calls."""
        folder.mkdir()
        settings = folder / "relay.env"
        settings.write_text(f"RELAY4={RELAY}\nZONES=''\n")
        self._programs.append(
            self.machine.start(
                "systemd-socket-activate", "--listen", f"{RELAY}:8077", "--accept", "--inetd",
                "-E", f"ROOST_ENV={settings}", "-E", f"STATE_DIRECTORY={folder}", "sh", str(MODULE / "files/health"),
                log=folder / "health.log",
            )
        )  # fmt: skip

    def _wg(self, *words: str) -> str:
        return self.machine.run("wg", *words)

    def __enter__(self) -> DistantRelay:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Switches it off."""
        self._carrier.__exit__(kind, error, trace)
        stop(self._programs)
        self.machine.__exit__(kind, error, trace)
        Path(f"/run/wireguard/{self._interface}.sock").unlink(missing_ok=True)
