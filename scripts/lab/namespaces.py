"""Machines that are network namespaces, and cables between them.

The kernel drops a namespace, and its cables, with its last process and descriptor, so nothing of a
test that was killed stays behind. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

LIBC = ctypes.CDLL(None, use_errno=True)
#: `CLONE_NEWNET` of linux/sched.h.
CLONE_NEWNET = 0x40000000
#: Run inside of a machine's own mount namespace: a root whose files are the host's with those of
#: `$1` over them. The layers lie in memory, as an overlay may not lie inside of what it is over.
OWN_ROOT = r"""
set -eu
mount --make-rprivate /
mkdir -p /run/roost-lab && mount -t tmpfs tmpfs /run/roost-lab && cd /run/roost-lab
mkdir upper work root && cp -a "$1/." upper/
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount --rbind /dev root/dev && mount --rbind /proc root/proc
mount -t sysfs sysfs root/sys
mount -t tmpfs tmpfs root/run && mount -t tmpfs tmpfs root/tmp
echo ready
exec chroot root sleep infinity
"""


class Machine:
    """A network namespace, kept by a process that sleeps; with files over the host's if wanted."""

    def __init__(self, name: str, files: Path | None = None) -> None:
        """Makes it, with loopback up and addresses usable at once."""
        self.name = name
        if files is None:
            command = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"]
        else:
            command = ["unshare", "--net", "--mount", "sh", "-c", OWN_ROOT, "sh", str(files)]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            self._holder.wait()
            raise RuntimeError(f"no machine {name}: is this root, and does the kernel have overlayfs?")
        #: What a command begins with that runs in it.
        self.enter = ["nsenter", f"--target={self._holder.pid}", "--net"]
        if files is not None:
            self.enter += ["--mount", "--root", "--wd"]
        self.run("ip", "link", "set", "lo", "up")
        for where in ("all", "default"):
            self.sysctl(f"net/ipv6/conf/{where}/accept_dad", "0")

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._holder.kill()
        self._holder.wait()

    @property
    def pid(self) -> int:
        """Of the process that keeps the namespace."""
        return self._holder.pid

    def run(self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = 60) -> str:
        """Runs a command in it, for `timeout` seconds at most, and returns what it printed; a failure carries all that it said."""
        done = subprocess.run([*self.enter, *command], input=stdin, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {done.stdout}{done.stderr}")
        return done.stdout

    def start(self, *command: str, log: Path) -> subprocess.Popen[bytes]:
        """Starts a command in it; what it says goes to a file."""
        with log.open("ab") as out:
            return subprocess.Popen([*self.enter, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the namespace; a socket made here stays there."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/proc/{self.pid}/ns/net", "rb") as there:
            self._set(there.fileno())
            try:
                yield
            finally:
                self._set(home.fileno())

    @staticmethod
    def _set(descriptor: int) -> None:
        if LIBC.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """A socket in it."""
        with self.inside():
            return socket.socket(family, kind)

    def sysctl(self, name: str, value: str) -> None:
        """Sets a kernel parameter of it, named by its path below /proc/sys."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/{name}")

    def address(self, interface: str, *addresses: str) -> None:
        """Gives an interface addresses and switches it on."""
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))
        self.run("ip", "link", "set", interface, "up")

    def route(self, destination: str, via: str) -> None:
        """Adds a route."""
        self.run("ip", "-6" if ":" in via else "-4", "route", "add", destination, "via", via)

    def forward(self) -> None:
        """Makes a router of it."""
        self.sysctl("net/ipv4/ip_forward", "1")
        self.sysctl("net/ipv6/conf/all/forwarding", "1")


def cable(one: Machine, one_end: str, other: Machine, other_end: str) -> None:
    """Lays a cable between two machines, by the names of its ends."""
    one.run("ip", "link", "add", one_end, "type", "veth", "peer", "name", other_end, "netns", str(other.pid))


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends processes that `start` started."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(timeout=20)


def is_root() -> bool:
    """Whether namespaces can be made at all."""
    return os.geteuid() == 0
