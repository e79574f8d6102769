"""A small internet around a relay that is made from its rendered user data.

    client ── internet (1:1 NAT as at AWS) ── relay ══ box

A plain cable stands in the place of the tunnel. Each machine is a network namespace; needs root.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import namespaces
import relay as relay_files
from internet import BOX4, BOX6, MTU, RELAY4, RELAY6, VARIABLES, connect_client, connect_relay, enforce, why_not
from namespaces import Machine, cable
from servers import Echo

#: What a TSIG secret looks like; this one protects nothing.
TSIG = "cm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3Qgcm8="


@dataclass
class World:
    """The machines, and what runs on them."""

    client: Machine
    internet: Machine
    relay: Machine
    box: Machine
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, machine: Machine, *command: str) -> None:
        """Starts something that ends with the world at the latest."""
        self.processes[name] = machine.start(*command, log=self.folder / f"{name}.log")

    def stop(self, name: str) -> None:
        """Ends it earlier."""
        namespaces.stop([self.processes.pop(name)])

    def log(self, name: str) -> str:
        """What it said so far."""
        return (self.folder / f"{name}.log").read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the tests cannot run they are skipped, and the summary says so loudly."""
    why = why_not("the relay's rules")
    if why:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def rendered() -> dict[str, object]:
    """The outputs of the module that makes the user data."""
    return relay_files.render(VARIABLES)


def connect_box(box: Machine, relay: Machine) -> None:
    """Lays the cable in the place of the tunnel."""
    cable(relay, "roost0", box, "tunnel")
    relay.address("roost0", f"{RELAY4}/30", f"{RELAY6}/126")
    box.address("tunnel", f"{BOX4}/30", f"{BOX6}/126")
    for machine, end in ((relay, "roost0"), (box, "tunnel")):
        machine.run("ip", "link", "set", end, "mtu", MTU)
    box.route("default", RELAY4)
    box.route("default", RELAY6)


@pytest.fixture(scope="module")
def world(rendered: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All of it, with the relay's rules and kernel parameters in force and no service running."""
    folder = tmp_path_factory.mktemp("world")
    relay_root, box_root = folder / "relay", folder / "box"
    relay_files.write(str(rendered["user_data"]), relay_root)
    box_root.mkdir()
    with (
        Machine("client") as client, Machine("internet") as internet,
        Machine("relay", relay_root) as relay, Machine("box", box_root) as box,
    ):
        connect_client(client, internet)
        connect_relay(relay, internet)
        connect_box(box, relay)
        enforce(relay)
        made = World(client, internet, relay, box, folder)
        try:
            yield made
        finally:
            namespaces.stop(list(made.processes.values()))


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Servers that say who they think called."""
    with Echo() as servers:
        yield servers
