"""A small internet around a relay that is made from its rendered user data.

    client ── internet (1:1 NAT as at AWS) ── relay

Each machine is a network namespace; needs root, and terraform for the relay's files.
"""

from __future__ import annotations

import base64
import ipaddress
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import namespaces
import relay as relay_files
from namespaces import Machine, cable

CLIENT4, CLIENT6 = "198.51.100.10", "2001:db8:c::10"
#: What the world calls the relay, and the private address that a cloud maps it to.
PUBLIC4, PRIVATE4 = "203.0.113.5", "10.76.0.10"
PUBLIC6, SECOND6 = "2001:db8:a::10", "2001:db8:a::53"
BOX4, BOX6, RELAY4, RELAY6 = "10.77.0.2", "fd77:77::2", "10.77.0.1", "fd77:77::1"
#: UDP port of the tunnel.
PORT = 51820
MTU = "1380"
ZONE = "example.org"
#: Name of the key of zone transfers, and one for tests.
TRANSFER_KEY = "roost-relay"
TRANSFER_SECRET = base64.b64encode(bytes(range(32))).decode()



@dataclass(frozen=True)
class Place:
    """What the world calls a relay: its addresses, and the second name server's."""

    public4: str = PUBLIC4
    public6: str = PUBLIC6
    second6: str = SECOND6


#: What the module that renders the user data is told.
VARIABLES = {
    "box_public_key": "K" * 42 + "o=",
    "region": "eu-central-1",
    "key_parameter": "/roost/test/wireguard-key",
    "tsig_parameter": "/roost/test/tsig-secret",
    "zones": [ZONE, "example.net"],
    "public_ipv4": [PUBLIC4],
    "second_ipv6": [SECOND6],
}


def why_not(what: str) -> str | None:
    """Why there can be no such internet here, in words that say what was not tested."""
    if shutil.which("terraform") is None:
        return relay_files.NO_TERRAFORM
    return None if namespaces.is_root() else f"not root: NOTHING about {what} was tested"


def connect_client(client: Machine, internet: Machine) -> None:
    """Lays the client's cable and sets addresses and routes."""
    cable(client, "eth0", internet, "client")
    client.address("eth0", f"{CLIENT4}/24", f"{CLIENT6}/64")
    internet.address("client", "198.51.100.1/24", "2001:db8:c::1/64")
    client.route("default", "198.51.100.1")
    client.route("default", "2001:db8:c::1")


def connect_relay(relay: Machine, internet: Machine, place: Place = Place()) -> None:
    """Lays the relay's cable and sets addresses, routes and the cloud's NAT, in the place of those of a former relay."""
    cable(relay, "ens5", internet, "relay")
    relay.address("ens5", f"{PRIVATE4}/24", f"{place.public6}/64")
    network = ipaddress.IPv6Interface(f"{place.public6}/64").network
    internet.address("relay", "10.76.0.1/24", f"{network[1]}/64")
    relay.route("default", "10.76.0.1")
    relay.route("default", str(network[1]))
    internet.forward()
    # A cloud's router knows which machine has an address, and does not ask it.
    mac = relay.run("cat", "/sys/class/net/ens5/address").strip()
    internet.run("ip", "neighbour", "add", place.second6, "lladdr", mac, "dev", "relay")
    internet.run("nft", "-f", "-", stdin=f"""
        table ip cloud {{ }}
        delete table ip cloud
        table ip cloud {{
            chain in {{ type nat hook prerouting priority dstnat; ip daddr {place.public4} dnat to {PRIVATE4}; }}
            chain out {{ type nat hook postrouting priority srcnat; ip saddr {PRIVATE4} oifname != "relay" snat to {place.public4}; }}
        }}""")


def knot_key(secret: str) -> str:
    """The key of transfers as knot reads it; on the relay this file is written by the script `key`."""
    return f"key:\n  - id: {TRANSFER_KEY}\n    algorithm: hmac-sha256\n    secret: {secret}\n"


def enforce(relay: Machine) -> None:
    """Puts the relay's own rules and kernel parameters in force, as its units do at a start."""
    relay.run("/lib/systemd/systemd-sysctl", "/etc/sysctl.d/90-roost.conf", check=False)
    relay.run("nft", "-f", "/etc/roost/relay.nft")


class RelayMachine:
    """A relay as its user data says, tunnel included: the kernel's WireGuard, or wireguard-go where the kernel has none."""

    def __init__(self, internet: Machine, user_data: str, key: str, place: Place, folder: Path) -> None:
        """Switches it on, with the private key that its script `key` would fetch from a store."""
        self.place = place
        self._folder = folder
        self._programs: list[subprocess.Popen[bytes]] = []
        files = folder / "files"
        relay_files.write(user_data, files)
        kept = files / "etc/wireguard/roost.key"
        kept.touch(mode=0o600)
        kept.write_text(key)
        self.machine = Machine("relay", files)
        try:
            connect_relay(self.machine, internet, place)
            enforce(self.machine)
            self.up()
        except BaseException:
            self.machine.__exit__(None, None, None)
            raise

    def answer_dns(self, secret: str = TRANSFER_SECRET) -> None:
        """Starts its name server, as its package's unit does, and what decides who answers."""
        self.machine.run("sh", "-c", """
            mkdir -p /run/knot /run/roost && chown knot: /run/knot
            cat > /etc/knot/roost-tsig.conf && chgrp knot /etc/knot/roost-tsig.conf && chmod 640 /etc/knot/roost-tsig.conf
        """, stdin=knot_key(secret))
        for name, command in (
            ("knotd", ("/usr/sbin/knotd", "-c", "/etc/knot/knot.conf")),
            ("dns-watch", ("/usr/local/lib/roost/dns-watch",)),
        ):
            self._programs.append(self.machine.start(*command, log=self._folder / f"{name}.log"))

    def zones(self) -> str:
        """How its name server stands."""
        return self.machine.run("sh", "-c", "knotc -c /etc/knot/knot.conf zone-status 2>&1", check=False)

    def up(self) -> None:
        """Brings its end of the tunnel up."""
        self.machine.run("wg-quick", "up", "roost0")

    def down(self) -> None:
        """Takes its end of the tunnel away, and with it the program that it may have."""
        self.machine.run("wg-quick", "down", "roost0", check=False)

    def __enter__(self) -> Self:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Switches it off."""
        namespaces.stop(self._programs)
        self.down()
        self.machine.__exit__(kind, error, trace)


class Relay(RelayMachine):
    """The relay of one box, from user data that is rendered here."""

    def __init__(self, internet: Machine, box_public_key: str, folder: Path) -> None:
        """Makes it as its user data says, and switches it on."""
        self._outputs = relay_files.render({**VARIABLES, "box_public_key": box_public_key})
        key = _wg("genkey")
        self.public_key = _wg("pubkey", stdin=key).strip()
        super().__init__(internet, str(self._outputs["user_data"]), key, Place(), folder)

    @property
    def outside(self) -> dict[str, object]:
        """Where the internet reaches the box, and who has copies of its zones, as `roost relay apply` tells it."""
        return {
            "addresses": [PUBLIC4, PUBLIC6],
            "second_name_server": [PUBLIC4, SECOND6],
            "secondary": {"addresses": [RELAY4, RELAY6], "key": TRANSFER_KEY, "secret": TRANSFER_SECRET},
        }

    @property
    def text(self) -> dict[str, object]:
        """What the box has to know, as the output `box_text` puts it; but by way of IPv6."""
        return {
            "relay": {
                "public_key": self.public_key,
                "endpoint": f"[{PUBLIC6}]:{PORT}",
                "address4": self._outputs["relay_ipv4"],
            },
            "address4": self._outputs["box_ipv4"],
            "address6": self._outputs["box_ipv6"],
            "mtu": int(MTU),
        }


def _wg(command: str, stdin: str = "") -> str:
    return subprocess.run(["wg", command], input=stdin, check=True, capture_output=True, text=True).stdout
