"""The box is found by name on its network: multicast DNS over IPv4 and IPv6, and `roost find`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from conftest import Boot, Subject
from neighbour import INTERFACE, Neighbour
from screen import NAME, flash
from waiting import wait_until

ASK = Path(__file__).resolve().parents[1] / "mdns.py"
#: The neighbour's own address on the emulated network, which leads nowhere else.
OWN_ADDRESS4 = "10.0.2.77/24"
#: Seconds until the box has an address of the announced network.
ADDRESS_TIMEOUT = 60.0
SERVICE = "_roost._tcp.local"


def test_neighbour_finds_the_box(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Service, host name in both families, and the laptop's own tool."""
    card = tmp_path / "card.img"
    made = flash(subject, card)
    machine = boot(tmp_path / "box", image=card, options=("--lan",))
    machine.wait_ready()
    with Neighbour(machine.lan_path) as neighbour:
        box6 = neighbour.wait_address(lambda: machine.status()["addresses"])
        box4 = next(a.split("/")[0] for a in machine.status()["addresses"] if a.startswith("10.0.2."))
        neighbour.run("ip", "address", "add", OWN_ADDRESS4, "dev", INTERFACE)

        def ask(family: int, name: str, kind: str) -> list[list[str]]:
            return json.loads(neighbour.run(sys.executable, str(ASK), INTERFACE, str(family), name, kind))

        for family in (4, 6):
            assert [SERVICE, "PTR", f"{NAME}.{SERVICE}"] in ask(family, SERVICE, "PTR")
            assert [f"{NAME}.local", "A", box4] in ask(family, f"{NAME}.local", "A")

            def knows_address6() -> bool:
                return [f"{NAME}.local", "AAAA", box6] in ask(family, f"{NAME}.local", "AAAA")

            # The responder looks for new addresses every few seconds.
            wait_until("the new address behind the name", knows_address6, ADDRESS_TIMEOUT)

        found = json.loads(neighbour.run(str(subject.roost), "find", "--json").splitlines()[-1])
        (box,) = found["boxes"]
        assert box["name"] == NAME
        assert {box4, box6} <= set(box["addresses"])
        assert box["paired"] is False
        assert made["fingerprint"].startswith(box["fingerprint"])
        assert box["version"] == machine.status()["version"]
