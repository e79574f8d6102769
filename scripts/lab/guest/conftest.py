"""A relay that is made from its rendered user data in an emulated cloud machine, and a box with the real tunnel.

    this machine ── emulated network ── guest ══ box, a network namespace with `tunnel` in it

The guest is set up once, and the tests follow each other. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import namespaces
import relay as relay_files
from carrier import Carrier
from disk import disk
from guest import Guest
from namespaces import Machine
from servers import Echo

BOX4, BOX6, RELAY4, RELAY6 = "10.77.0.2", "fd77:77::2", "10.77.0.1", "fd77:77::1"
WIREGUARD, MTU = 51820, 1380
ZONE = "example.org"
#: Seconds for packages, keys and services, on an emulated processor beside a compiler.
SETUP_TIMEOUT = 2400.0


@dataclass
class World:
    """Both ends."""

    guest: Guest
    box: Machine
    folder: Path
    box_data: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        """Starts something in the box that ends with the world at the latest."""
        self.processes[name] = self.box.start(*command, log=self.folder / f"{name}.log")

    def stop(self, name: str) -> None:
        """Ends it earlier."""
        namespaces.stop([self.processes.pop(name)])

    def log(self, name: str) -> str:
        """What it said so far."""
        return (self.folder / f"{name}.log").read_text()

    def relay_key(self) -> str:
        """The relay's WireGuard key, as the guest's kernel says it."""
        return self.guest.run("wg", "show", "roost0", "public-key").strip()

    def start_tunnel(self) -> None:
        """The box's program, with what the owner pastes into the portal; the carrier's end is where the relay is."""
        config = {
            "relay": {"public_key": self.relay_key(), "endpoint": f"127.0.0.1:{WIREGUARD}", "address4": RELAY4},
            "address4": BOX4, "address6": BOX6,
        }
        (self.box_data / "tunnel.json").write_text(json.dumps(config))
        (self.folder / "services.json").write_text("[]")
        self.start(
            "tunnel", "env", f"ROOST_DATA={self.box_data}", f"ROOST_SERVICES={self.folder / 'services.json'}",
            os.environ["ROOST_TUNNEL_PROGRAM"],
        )


def pytest_sessionstart() -> None:
    """Whoever asks for these tests shall not take skipped ones for passed."""
    if shutil.which("terraform") is None:
        pytest.exit(relay_files.NO_TERRAFORM, returncode=1)
    if not namespaces.is_root():
        pytest.exit("not root: NOTHING about the relay as a machine was tested", returncode=1)


def wg(command: str, stdin: str | None = None) -> str:
    """`wg` of this machine."""
    return subprocess.run(["wg", command], input=stdin, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def box_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tunnel's data folder, with the box's key."""
    folder = tmp_path_factory.mktemp("box")
    key = folder / "private.key"
    key.touch(mode=0o600)
    key.write_text(wg("genkey") + "\n")
    return folder


@pytest.fixture(scope="session")
def rendered(box_data: Path) -> dict[str, object]:
    """The outputs of the module that makes the user data, for a machine that is not at AWS and makes its own keys."""
    box_key = wg("pubkey", (box_data / "private.key").read_text())
    return relay_files.render({"box_public_key": box_key, "zones": [ZONE]})


@pytest.fixture(scope="session")
def world(
    rendered: dict[str, object], box_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The guest after cloud-init has done all that the user data says; a box that knows of no relay yet."""
    folder = tmp_path_factory.mktemp("world")
    tcp_ports = [int(port) for port in rendered["tcp_ports"]]  # type: ignore[attr-defined]
    forwards = [("udp", WIREGUARD), ("udp", 53), ("tcp", 53), ("tcp", 22), ("tcp", 8077), *(("tcp", port) for port in tcp_ports)]
    with Guest(disk(), folder, str(rendered["user_data"]), forwards) as guest, Machine("box") as box:
        near = box.socket(socket.AF_INET, socket.SOCK_DGRAM)
        near.bind(("127.0.0.1", WIREGUARD))
        far = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        far.connect(("127.0.0.1", guest.forwards["udp", WIREGUARD]))
        made = World(guest, box, folder, box_data)
        with Carrier(near, far):
            guest.wait_up()
            guest.run("cloud-init", "status", "--wait", timeout=SETUP_TIMEOUT, check=False)
            try:
                yield made
            finally:
                namespaces.stop(list(made.processes.values()))


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Servers that say who they think called."""
    with Echo() as servers:
        yield servers
