"""Another machine on the box's home network, with a kernel's own IPv6.

QEMU forwards ports to a guest over IPv4 only. So a network namespace of its
own gets a tap device, and the frames of that device go to and from the
emulated network by the socket that `roost run --lan` names in its `started`
event, a datagram each. Connections are made inside the namespace and handed out as descriptors.
The machine is also the network's IPv6 router, which announces `ANNOUNCED`, and
a time server, whose clock may be ahead.

Run as a program (`python3 neighbour.py SOCKET SECONDS-AHEAD`), it is the process inside the
namespace; its standard input is a Unix socket with one request a line.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from waiting import wait_until

#: `TUNSETIFF`, `IFF_TAP | IFF_NO_PI` of linux/if_tun.h.
TUNSETIFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x0002 | 0x1000
#: Name of the tap device.
INTERFACE = "home"
#: Longest frame of the emulated network with room to spare, in bytes.
FRAME = 65_536
#: The network that is announced (RFC 3849), and this machine's own address in it.
ANNOUNCED = ipaddress.IPv6Network("2001:db8:1:2::/64")
OWN_ADDRESS = str(ANNOUNCED[1])
#: What a box asks for the time: this machine, and two addresses that nobody has (RFC 3849).
TIME_SETTINGS = f"""
[time]
servers = ["{OWN_ADDRESS}", "2001:db8:1:2::fe", "2001:db8:1:2::fd"]
"""
#: Seconds until a box has asked all three.
SYNC_TIMEOUT = 240.0
#: The request to announce the network; every other one is an address and a port.
ANNOUNCE = b"announce"
#: UDP port of time servers, and seconds from their epoch (1900) to Unix's (1970).
TIME_PORT = 123
TIME_EPOCH = 2_208_988_800
#: Seconds for a connection, which begins with finding an address.
CONNECT_TIMEOUT = 60.0
#: Seconds until a box has an address of the network that is announced.
ADDRESS_TIMEOUT = 60.0


class Neighbour:
    """The other machine. Needs root, or the right to make user namespaces and `/dev/net/tun`."""

    def __init__(self, lan: str, clock_ahead: float = 0.0, within: Sequence[str] = ()) -> None:
        """Starts it and has it join the network; its clock is ahead by some seconds.

        With `within`, which enters the namespace of a machine that is there already, it is that machine.
        """
        namespaces = ["--net"] if os.geteuid() == 0 else ["--net", "--user", "--map-root-user"]
        place = within or ["unshare", *namespaces]
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [*place, sys.executable, __file__, lan, str(clock_ahead)], stdin=theirs
            )

    def announce(self) -> None:
        """Has it announce the network; may be lost before it is on the network itself."""
        self._ask(ANNOUNCE)

    def _ask(self, request: bytes) -> None:
        try:
            self._requests.sendall(request)
        except BrokenPipeError as error:
            raise OSError(f"the neighbour ended with {self._process.wait(CONNECT_TIMEOUT)}; what it said is above") from error

    def wait_address(self, addresses: Callable[[], list[str]]) -> str:
        """The address that a box gives itself in the network that is announced; `addresses` asks for all it has."""

        def announced() -> str | None:
            self.announce()
            found = (ipaddress.ip_interface(text).ip for text in addresses())
            return next((str(address) for address in found if address in ANNOUNCED), None)

        return wait_until("an IPv6 address by router advertisement", announced, ADDRESS_TIMEOUT, interval=1.0)

    def connect(self, address: str, port: int) -> socket.socket:
        """A TCP connection from there to an IPv6 address."""
        self._requests.settimeout(CONNECT_TIMEOUT)
        self._ask(json.dumps([address, port]).encode())
        answer, descriptors, _, _ = socket.recv_fds(self._requests, 4096, 1)
        if not descriptors:
            raise OSError(f"the neighbour cannot connect to {address} port {port}: {answer.decode()}")
        return socket.socket(fileno=descriptors[0])

    def run(self, *command: str) -> str:
        """What a program prints that runs on this machine."""
        joined = ["--net"] if os.geteuid() == 0 else ["--user", "--preserve-credentials", "--net"]
        enter = ["nsenter", "--target", str(self._process.pid), *joined]
        return subprocess.run([*enter, *command], check=True, capture_output=True, text=True).stdout

    def __enter__(self) -> Neighbour:
        """For `with`."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Switches it off."""
        self._requests.close()
        self._process.wait(CONNECT_TIMEOUT)


def tap_device(name: str) -> int:
    """Makes a network interface whose frames are read and written here."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), TAP_WITHOUT_HEADER))
    # A router makes no address of its own from what it announces, and nobody
    # else here has the ones it takes: asking around would cost a second each.
    for setting in ("accept_ra", "accept_dad"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/{setting}").write_text("0")
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    subprocess.run(["ip", "-6", "address", "add", f"{OWN_ADDRESS}/{ANNOUNCED.prefixlen}", "dev", name], check=True)
    return device


def advertisement() -> bytes:
    """A router advertisement for `ANNOUNCED` (RFC 4861 section 4.2); the kernel adds the checksum."""
    header = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    on_link_and_autonomous = 0xC0
    prefix = struct.pack(">BBBBIII", 3, 4, ANNOUNCED.prefixlen, on_link_and_autonomous, 86_400, 14_400, 0)
    return header + prefix + ANNOUNCED.network_address.packed


def announce(name: str) -> None:
    """Tells every machine on the network that this one is its IPv6 router, as far as the network takes it."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        # A smaller hop limit would mean that a router elsewhere had sent it (section 6.1.2).
        raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        with suppress(OSError):
            raw.sendto(advertisement(), ("ff02::1", 0, 0, socket.if_nametoindex(name)))


def time_answer(question: bytes, ahead: float) -> bytes:
    """A time server's answer (RFC 4330 section 4): stratum 1, our clock, and the asker's own mark."""
    version_4_server = 4 << 3 | 4
    now = int((time.time() + ahead + TIME_EPOCH) * (1 << 32))
    header = struct.pack(">BBbb8s4sQ", version_4_server, 1, 6, -20, bytes(8), b"LAB", now)
    return header + question[40:48] + struct.pack(">QQ", now, now)


def own_end(lan: str) -> socket.socket:
    """This machine's end of the cable, where the emulator expects it (`roost_emulator::lan_peer`)."""
    path = Path(f"{lan}-peer")
    path.unlink(missing_ok=True)
    end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    end.bind(str(path))
    return end


def main() -> None:
    """Carries frames and does what it is asked for until the other side hangs up."""
    requests = socket.socket(fileno=os.dup(0))
    lan = own_end(sys.argv[1])
    device = tap_device(INTERFACE)
    selector = selectors.DefaultSelector()
    selector.register(device, selectors.EVENT_READ, "device")
    selector.register(lan, selectors.EVENT_READ, "lan")
    selector.register(requests, selectors.EVENT_READ, "requests")
    clock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    clock.bind(("::", TIME_PORT))
    selector.register(clock, selectors.EVENT_READ, "clock")
    connecting: socket.socket | None = None

    def begin() -> bool:
        nonlocal connecting
        request = requests.recv(4096)
        if not request:
            return False
        if request == ANNOUNCE:
            announce(INTERFACE)
            return True
        connecting = socket.socket(socket.AF_INET6)
        connecting.setblocking(False)
        error = connecting.connect_ex(tuple(json.loads(request)))
        if error == errno.EINPROGRESS:
            selector.register(connecting, selectors.EVENT_WRITE, "connecting")
        else:
            finish(error)
        return True

    def finish(error: int) -> None:
        nonlocal connecting
        assert connecting is not None
        if error:
            requests.sendall(os.strerror(error).encode())
        else:
            connecting.setblocking(True)
            socket.send_fds(requests, [b"connected"], [connecting.fileno()])
        connecting.close()
        connecting = None

    while True:
        for key, _ in selector.select():
            if key.data == "device":
                frame = os.read(device, FRAME)
                # As a cable does: what the other end does not take is lost, as when that machine is off.
                with suppress(OSError):
                    lan.sendto(frame, sys.argv[1])
            elif key.data == "lan":
                frame = lan.recv(FRAME)
                with suppress(OSError):
                    os.write(device, frame)
            elif key.data == "clock":
                question, asker = clock.recvfrom(FRAME)
                with suppress(OSError):
                    clock.sendto(time_answer(question, float(sys.argv[2])), asker)
            elif key.data == "requests":
                if not begin():
                    return
            else:
                selector.unregister(key.fileobj)
                finish(key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


if __name__ == "__main__":
    main()
