"""A small internet around a relay that is made from its rendered user data.

    client ── internet (1:1 NAT as at AWS) ── relay ══ box

A plain cable stands in the place of the tunnel. Each machine is a network namespace; needs root.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import namespaces
import relay as relay_files
from namespaces import Machine, cable
from servers import Echo

CLIENT4, CLIENT6 = "198.51.100.10", "2001:db8:c::10"
#: What the world calls the relay, and the private address that a cloud maps it to.
PUBLIC4, PRIVATE4 = "203.0.113.5", "10.76.0.10"
PUBLIC6, SECOND6 = "2001:db8:a::10", "2001:db8:a::53"
BOX4, BOX6, RELAY4, RELAY6 = "10.77.0.2", "fd77:77::2", "10.77.0.1", "fd77:77::1"
MTU = "1380"
#: What a TSIG secret looks like; this one protects nothing.
TSIG = "cm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3Qgcm9vc3Qgcm8="
ZONE = "example.org"

VARIABLES = {
    "box_public_key": "K" * 42 + "o=",
    "region": "eu-central-1",
    "key_parameter": "/roost/test/wireguard-key",
    "tsig_parameter": "/roost/test/tsig-secret",
    "zones": [ZONE, "example.net"],
    "public_ipv4": [PUBLIC4],
    "second_ipv6": [SECOND6],
}


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
    why = None
    if shutil.which("terraform") is None:
        why = relay_files.NO_TERRAFORM
    elif not namespaces.is_root():
        why = "not root: NOTHING about the relay's rules was tested"
    if why:
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def rendered() -> dict[str, object]:
    """The outputs of the module that makes the user data."""
    return relay_files.render(VARIABLES)


def connect(client: Machine, internet: Machine, relay: Machine, box: Machine) -> None:
    """Lays the cables and sets addresses, routes and the cloud's NAT."""
    cable(client, "eth0", internet, "client")
    cable(relay, "ens5", internet, "relay")
    cable(relay, "roost0", box, "tunnel")
    client.address("eth0", f"{CLIENT4}/24", f"{CLIENT6}/64")
    internet.address("client", "198.51.100.1/24", "2001:db8:c::1/64")
    internet.address("relay", "10.76.0.1/24", "2001:db8:a::1/64")
    relay.address("ens5", f"{PRIVATE4}/24", f"{PUBLIC6}/64")
    relay.address("roost0", f"{RELAY4}/30", f"{RELAY6}/126")
    box.address("tunnel", f"{BOX4}/30", f"{BOX6}/126")
    for machine, end in ((relay, "roost0"), (box, "tunnel")):
        machine.run("ip", "link", "set", end, "mtu", MTU)
    internet.forward()
    for machine, via4, via6 in (
        (client, "198.51.100.1", "2001:db8:c::1"), (relay, "10.76.0.1", "2001:db8:a::1"), (box, RELAY4, RELAY6)
    ):
        machine.route("default", via4)
        machine.route("default", via6)
    # A cloud's router knows which machine has an address, and does not ask it.
    mac = relay.run("cat", "/sys/class/net/ens5/address").strip()
    internet.run("ip", "neighbour", "add", SECOND6, "lladdr", mac, "dev", "relay")
    internet.run("nft", "-f", "-", stdin=f"""
        table ip cloud {{
            chain in {{ type nat hook prerouting priority dstnat; ip daddr {PUBLIC4} dnat to {PRIVATE4}; }}
            chain out {{ type nat hook postrouting priority srcnat; ip saddr {PRIVATE4} oifname client snat to {PUBLIC4}; }}
        }}""")


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
        connect(client, internet, relay, box)
        relay.run("/lib/systemd/systemd-sysctl", "/etc/sysctl.d/90-roost.conf", check=False)
        relay.run("nft", "-f", "/etc/roost/relay.nft")
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
