"""The line of the box's home: a router with an address of its own, NAT for IPv4, and a name server.

    internet ── home ── the emulated network (`neighbour.py`)

The emulator's own router takes every packet over IPv4 that leaves the emulated network for itself too, and
then two answer. So only IPv6 is sure to get through here; of IPv4 it is counted who tries to send mail.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from namespaces import Machine, cable, stop
from neighbour import ANNOUNCED, INTERFACE, OWN_ADDRESS, Neighbour
from waiting import wait_until

#: What the world calls the home's router.
LINE4, LINE6 = "192.0.2.10", "2001:db8:b::10"
#: The router's address at home.
ROUTER4 = "10.0.2.1"
#: How `roost flash` makes the card of a box that lives here; the emulator's forwards lead to this address.
CARD = ("--static", "10.0.2.15/24", "--gateway", ROUTER4, "--dns", OWN_ADDRESS)
#: Seconds until a program here runs.
START_TIMEOUT = 30.0
RULES = f"""
    table inet line {{
        counter mail {{ }}
        chain from_home {{
            type filter hook prerouting priority filter;
            iifname "{INTERFACE}" tcp dport 25 counter name mail
        }}
        chain out {{
            type nat hook postrouting priority srcnat;
            oifname "wan" meta nfproto ipv4 masquerade
        }}
    }}"""
#: The whole of the DNS in one zone, so that what is not in it is known not to be.
ZONE = f"""$ORIGIN .
$TTL 60
@ SOA here hostmaster 1 3600 3600 86400 60
@ NS here
here AAAA {OWN_ADDRESS}
"""
KNOT = f"""
server:
  rundir: {{folder}}
  listen: {OWN_ADDRESS}@53
database:
  storage: {{folder}}
log:
  - target: stderr
    any: info
zone:
  - domain: .
    storage: {{folder}}
    file: root.zone
    zonefile-load: whole
    journal-content: none
"""


class Home:
    """The router, from a box's start on; ends with `with`."""

    def __init__(self, internet: Machine, lan: str, records: str, folder: Path) -> None:
        """Switches it on. Its name server knows `records`, lines of a zone file, and nothing else on earth."""
        folder.mkdir()
        self._open = ExitStack()
        with self._open:
            self._machine = self._open.enter_context(Machine("home"))
            cable(self._machine, "wan", internet, "home")
            self._machine.address("wan", f"{LINE4}/24", f"{LINE6}/64")
            internet.address("home", "192.0.2.1/24", "2001:db8:b::1/64")
            internet.route(str(ANNOUNCED), LINE6)
            self._machine.route("default", "192.0.2.1")
            self._machine.route("default", "2001:db8:b::1")
            self._machine.forward()
            self._machine.run("nft", "-f", "-", stdin=RULES)
            self._neighbour = self._open.enter_context(Neighbour(lan, within=self._machine.enter))
            self._join()
            self._name_server(records, folder)
            self._open = self._open.pop_all()

    def _join(self) -> None:
        """Waits for the interface that the neighbour makes."""

        def joined() -> bool:
            if OWN_ADDRESS not in self._machine.run("ip", "-6", "address", "show", "dev", INTERFACE):
                return False
            self._machine.address(INTERFACE, f"{ROUTER4}/24")
            return True

        wait_until("the home's network", joined, START_TIMEOUT, retry_on=(RuntimeError,))

    def _name_server(self, records: str, folder: Path) -> None:
        (folder / "root.zone").write_text(ZONE + records)
        settings = folder / "knot.conf"
        settings.write_text(KNOT.format(folder=folder))
        program = self._machine.start("/usr/sbin/knotd", "-c", str(settings), log=folder / "knot.log")
        self._open.callback(stop, [program])

        def answers() -> bool:
            asked = self._machine.run("dig", f"@{OWN_ADDRESS}", ".", "SOA", "+time=1", "+tries=1", check=False)
            return "status: NOERROR" in asked

        wait_until("the home's name server", answers, START_TIMEOUT)

    def wait_address(self, addresses: Callable[[], list[str]]) -> str:
        """The IPv6 address that a box gives itself here; `addresses` asks for all it has."""
        return self._neighbour.wait_address(addresses)

    def mail_packets(self) -> int:
        """Packets for anybody's port 25 that came from the home, whatever became of them."""
        listed = json.loads(self._machine.run("nft", "--json", "list", "counter", "inet", "line", "mail"))
        return next(int(entry["counter"]["packets"]) for entry in listed["nftables"] if "counter" in entry)

    def __enter__(self) -> Home:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Switches it off."""
        self._open.close()
