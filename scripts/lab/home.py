"""The line of the box's home: a router with an address of its own, NAT for IPv4, and a name server.

    internet ── home ── the emulated network (`neighbour.py`)

A box of `roost run --lan --lan-only` has no other way out, and `Forwards` lead to its ports. Without the second
option the emulator's own router takes every packet over IPv4 that leaves the emulated network for itself too, and
then two answer: only IPv6 is sure to get through here then, and of IPv4 it is counted who tries to send mail.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from namespaces import Machine, cable, stop
from neighbour import ANNOUNCED, INTERFACE, OWN_ADDRESS, Neighbour
from waiting import wait_until

#: What the world calls the home's router.
LINE4, LINE6 = "192.0.2.10", "2001:db8:b::10"
#: The router's address at home, and the box's.
ROUTER4, BOX4 = "10.0.2.65", "10.0.2.15"
#: How `roost flash` makes the card of a box that lives here.
CARD = ("--static", f"{BOX4}/24", "--gateway", ROUTER4, "--dns", OWN_ADDRESS)
#: Ports of the box that forwards lead to.
PORTS = (25, 53, 110, 143, 443, 465, 587, 993, 995, 4190, 7625)
#: Bytes that are carried at once.
PIECE = 65_536
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


#: A provider's resolver behind a home's router; it knows a time server of the box's at home.
UNBOUND = f"""
server:
  interface: {OWN_ADDRESS}
  interface: {ROUTER4}
  access-control: ::/0 allow
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  directory: "{{folder}}"
  pidfile: "{{folder}}/unbound.pid"
  use-syslog: no
  logfile: ""
  module-config: "iterator"
  cache-max-ttl: 5
  cache-max-negative-ttl: 5
  local-data: "time.cloudflare.com. AAAA {OWN_ADDRESS}"
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: {{resolver}}
"""


class Home:
    """The router, from a box's start on; ends with `with`."""

    def __init__(self, internet: Machine, lan: str, records: str, folder: Path, resolver: str | None = None) -> None:
        """Switches it on. Its name server knows `records`, lines of a zone file, and nothing else on earth.

        With the address of a `resolver` it asks that one instead.
        """
        folder.mkdir()
        self._open = ExitStack()
        with self._open:
            self._machine = self._open.enter_context(Machine("home"))
            cable(self._machine, "wan", internet, "home")
            # The kernel takes its time to end a network with its cables; the next home's must be new at once.
            self._open.callback(internet.run, "ip", "link", "delete", "home")
            # A line that is down for a while comes back with the address it had.
            self._machine.sysctl("net/ipv6/conf/wan/keep_addr_on_down", "1")
            self._machine.address("wan", f"{LINE4}/24", f"{LINE6}/64")
            internet.address("home", "192.0.2.1/24", "2001:db8:b::1/64")
            internet.route(str(ANNOUNCED), LINE6)
            self._machine.route("default", "192.0.2.1")
            self._machine.route("default", "2001:db8:b::1")
            self._machine.forward()
            self._machine.run("nft", "-f", "-", stdin=RULES)
            self._neighbour = self._open.enter_context(Neighbour(lan, within=self._machine.enter))
            self._join()
            if resolver is None:
                self._name_server(records, folder)
            else:
                self._forwarder(resolver, folder)
            self._open = self._open.pop_all()

    @property
    def machine(self) -> Machine:
        """The router, where a computer at home stands as well."""
        return self._machine

    @property
    def name_server(self) -> str:
        """What computers at home ask for names."""
        return OWN_ADDRESS

    def announce(self) -> None:
        """Tells the home's network again that this is its IPv6 router."""
        self._neighbour.announce()

    def plug(self, plugged: bool) -> None:
        """The line works, or it does not."""
        self._machine.run("ip", "link", "set", "wan", "up" if plugged else "down")
        if plugged:
            # They went with it.
            self._machine.run("ip", "-4", "route", "replace", "default", "via", "192.0.2.1")
            self._machine.run("ip", "-6", "route", "replace", "default", "via", "2001:db8:b::1")

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
        self._start("/usr/sbin/knotd", "-c", str(settings), log=folder / "knot.log")

    def _forwarder(self, resolver: str, folder: Path) -> None:
        settings = folder / "unbound.conf"
        settings.write_text(UNBOUND.format(folder=folder, resolver=resolver))
        self._start("/usr/sbin/unbound", "-d", "-c", str(settings), log=folder / "unbound.log")

    def _start(self, *command: str, log: Path) -> None:
        program = self._machine.start(*command, log=log)
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


class Forwards:
    """Ports of this machine's loopback that lead to the box's at home, as the emulator's own do. Ends with `with`."""

    def __init__(self, home: Home) -> None:
        """Opens them; whoever comes while the box is off is turned away."""
        self._home = home
        self._listeners: list[socket.socket] = []
        #: The box's ports, and this machine's.
        self.ports: dict[int, int] = {}
        for port in PORTS:
            listener = socket.create_server(("127.0.0.1", 0))
            self._listeners.append(listener)
            self.ports[port] = listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()

    def _accept(self, listener: socket.socket, port: int) -> None:
        # Closing the listener ends this.
        with suppress(OSError):
            while True:
                caller, _ = listener.accept()
                threading.Thread(target=self._carry, args=(caller, port), daemon=True).start()

    def _carry(self, caller: socket.socket, port: int) -> None:
        with caller, suppress(OSError):
            with self._home.machine.inside():
                box = socket.create_connection((BOX4, port), START_TIMEOUT)
            with box:
                box.settimeout(None)
                back = threading.Thread(target=_pump, args=(box, caller), daemon=True)
                back.start()
                _pump(caller, box)
                back.join()

    def __enter__(self) -> Forwards:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes them."""
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Carries bytes one way until there are no more."""
    with suppress(OSError):
        while piece := one.recv(PIECE):
            other.sendall(piece)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
