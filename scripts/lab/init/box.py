"""init, the program itself, as PID 1 of namespaces of its own: a box without a disk.

Only the check of the data partition is another program here (a `/data` in memory stands in its place;
it has its own tests), and the kernel's log is a terminal that the test reads. Everything else is real:
mounts, netlink, signals, the control socket, a service, and reboot(2), which in a PID namespace ends
PID 1 by SIGHUP (reboot(2), "Behavior inside PID namespaces"). The clock cannot be set from here.
Needs root, and strace, which lets system calls fail.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import tty
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

LIBC = ctypes.CDLL(None, use_errno=True)
#: linux/sched.h.
CLONE_NEWPID = 0x20000000
CHECKOUT = Path(__file__).resolve().parents[3]
#: `/bin/init`: its helpers. `--data` would look for the box's disk among the host's.
HELPERS = """#!/usr/bin/sh
case $1 in
    --data) PATH=/usr/bin; mount --bind /keep /data && mkdir -p -m 711 /data/services /data/settings /data/log &&
        mkdir -p /data/first-boot && cp /etc/roost/card /data/first-boot/card ;;
    --sntp) exit 1 ;;
    *) exec /sbin/init "$@" ;;
esac
"""
#: Run in the new namespaces: what the kernel and stage1 leave to init. `$1` is the root, `$2` the
#: folder with what is the boot's own, `$3` that of the data, or nothing; a line on the standard input lets init begin.
BOOT = r"""
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"; cd "$1"
mount --bind -o ro /usr usr
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind "$2/cmdline" proc/cmdline
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=0755 tmpfs dev
for node in null zero full random urandom; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
if [ -n "$3" ]; then mount --bind "$3" keep; else mount -t tmpfs -o mode=0755 tmpfs keep; fi
touch dev/kmsg; mount --bind "$2/kmsg" dev/kmsg
# Not chroot(2): whoever lives in one may make no user namespaces (user_namespaces(7)).
pivot_root . old
cd /
export PATH=/usr/sbin:/usr/bin
umount -l /old
# The last program before init is as small as can be: strace counts its calls, too.
exec env -i setpriv --bounding-set -sys_time --inh-caps -sys_time sh -c 'echo made; read -r _; exec /sbin/init'
"""
CMDLINE = f"roost.disk=00000001 roost.root=2048,17000,{'ab' * 32},{'cd' * 32} roost.partition=2 roost.watchdog=off\n"
#: One instruction: every call is allowed (`BPF_RET`, SECCOMP_RET_ALLOW; linux/seccomp.h).
ALLOW_ALL = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
#: A card that says nothing but that it is one (services/service/src/card.rs).
CARD = (b"roost card 1 set by roost flash\n" + b'{"format":1}').ljust((16 << 10) - 1) + b"\n"
SETTINGS = {"name": "roost", "network": {"mode": "dhcp"}, "time_servers": ["192.0.2.1"],
            "mail": {"max_message_size": 1000, "spam_filter": True}}


#: What the kernel said before init began to listen: a warning (linux/Documentation/ABI/testing/dev-kmsg).
KERNEL_LINE = b"4,1,1000000,-;the test says hello\n"


def why_not() -> str | None:
    """Why these tests cannot run here, and what to do."""
    if os.geteuid() != 0:
        return "init as PID 1 of a namespace needs root: run this as root, for example with sudo"
    if not shutil.which("strace"):
        return "strace is missing: `scripts/setup test` installs it"
    return None


class Strace:
    """strace(1) on a running process, from when this is made until it is let go.

    The process is stopped for that: otherwise strace would miss what it does until it is quite there.
    """

    def __init__(self, pid: int, output: Path, *options: str) -> None:
        output.unlink(missing_ok=True)
        os.kill(pid, signal.SIGSTOP)
        status = Path(f"/proc/{pid}/status")
        wait_for(lambda: "State:\tT" in status.read_text(), 20, "a process that is stopped")
        self.process = subprocess.Popen(
            ["strace", "-qq", "-y", "-p", str(pid), "-o", output, *options],
            stdout=subprocess.DEVNULL, stderr=output.with_suffix(".errors").open("wb"),
        )
        wait_for(lambda: output.exists() and "stopped by SIGSTOP" in output.read_text(), 20, "strace")
        os.kill(pid, signal.SIGCONT)

    def let_go(self) -> None:
        """Ends it; the process goes on, or stays stopped if it was."""
        self.process.terminate()
        self.process.wait(20)


class Root:
    """The files of an image, as far as init needs them, with `services` in its table."""

    def __init__(self, folder: Path, init: Path, service: Path, services: list[dict[str, object]]) -> None:
        self.folder = folder
        for name in ("usr", "proc", "sys", "dev", "run", "tmp", "data", "keep", "bin", "sbin", "etc/roost", "old"):
            (folder / name).mkdir(parents=True)
        (folder / "lib").symlink_to("usr/lib")
        (folder / "lib64").symlink_to("usr/lib64")
        (folder / "bin/init").write_text(HELPERS)
        (folder / "bin/init").chmod(0o755)
        shutil.copy(init, folder / "sbin/init")
        shutil.copy(service, folder / "bin/service")
        settings = folder / "etc/roost"
        (settings / "services.json").write_text(json.dumps(services))
        (settings / "settings.json").write_text(json.dumps(SETTINGS))
        (settings / "card").write_bytes(CARD)
        # Filters have tests of their own.
        filters = settings / "seccomp"
        (filters / "services").mkdir(parents=True)
        for name in ("absent", "hostile", *(f"services/{service['name']}" for service in services)):
            (filters / name).write_bytes(ALLOW_ALL)
        (settings / "release.json").write_text('{"version": "1"}')


class Box:
    """One boot of a root.

    What is on the data partition is forgotten with the boot, unless `data` is a folder for it. With
    options for strace, PID 1 runs under it, and what it says is in the file `trace` of the folder.
    """

    def __init__(self, root: Root, folder: Path, data: Path | None = None, strace: tuple[str, ...] = ()) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "cmdline").write_text(CMDLINE)
        # A terminal rather than a pipe: init also reads there, and must not get what it has written.
        self.kmsg, self.terminal = os.openpty()
        tty.setraw(self.terminal)
        os.set_blocking(self.kmsg, False)
        (folder / "kmsg").symlink_to(os.ttyname(self.terminal))
        self.said = b""
        # In a control group of its own: in this namespace that is the root of all.
        tree = Path("/sys/fs/cgroup/unified")
        self.group = (tree if tree.exists() else tree.parent) / f"roost-init-{os.getpid()}-{folder.name}"
        self.group.mkdir()
        spaces = ("--pid", "--fork", "--kill-child", "--mount", "--net", "--uts", "--ipc", "--cgroup")
        self.process = subprocess.Popen(
            ["sh", "-c", 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"', "sh", self.group,
             "unshare", *spaces, "sh", "-c", BOOT, "sh", root.folder, folder, data or ""],
            stdin=subprocess.PIPE, stdout=(folder / "output").open("wb"), stderr=subprocess.STDOUT,
        )
        wait_for(lambda: b"made" in (folder / "output").read_bytes(), 20, "the namespaces")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        self.pid = int(children.read_text())
        os.write(self.kmsg, KERNEL_LINE)
        self.strace = Strace(self.pid, folder / "trace", *strace) if strace else None
        self.process.stdin.write(b"\n")
        self.process.stdin.close()

    def __enter__(self) -> Box:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.strace:
            self.strace.process.wait(20)
        os.close(self.terminal)
        os.close(self.kmsg)
        # The kernel takes the last processes out of the group a moment later.
        def gone() -> bool:
            try:
                for below in self.group.glob("services/*/"):
                    below.rmdir()
                if (self.group / "services").exists():
                    (self.group / "services").rmdir()
                self.group.rmdir()
            except OSError:
                return False
            return True
        wait_for(gone, 10, "an empty control group")

    def log(self) -> str:
        """What init told the kernel's log so far."""
        try:
            while more := os.read(self.kmsg, 65536):
                self.said += more
        except BlockingIOError:
            pass
        return self.said.decode()

    def ask(self, *requests: dict[str, object], limit: float = 12) -> list[dict[str, object]]:
        """Answers of the control socket. A wake-up that init lost is made up for within five seconds."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(limit)
            self._connect(sock)
            sock.sendall(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
            sock.shutdown(socket.SHUT_WR)
            with sock.makefile() as lines:
                # Its end may come later: init may have something else to do.
                return [json.loads(line) for line in itertools.islice(lines, len(requests))]

    def _connect(self, sock: socket.socket) -> None:
        """From inside: init knows nobody whose process it cannot see."""
        child = os.fork()
        if child == 0:
            try:
                with open(f"/proc/{self.pid}/ns/pid", "rb") as space:
                    if LIBC.setns(space.fileno(), CLONE_NEWPID) != 0:
                        os._exit(1)
                inner = os.fork()
                if inner == 0:
                    sock.connect(f"/proc/{self.pid}/root/run/roost/control.sock")
                    os._exit(0)
                os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]))
            except BaseException:
                os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            raise ConnectionRefusedError("init does not take the connection")

    def children(self) -> list[int]:
        """Processes whose parent PID 1 is."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def ended(self) -> bool:
        """Whether PID 1 is gone."""
        return self.process.poll() is not None

    def how(self) -> str:
        """What ended PID 1: a signal's name, or "status" and a number (unshare's own for SIGKILL is 1)."""
        code = self.process.wait(10)
        return signal.Signals(-code).name if code < 0 else f"status {code}"


def wait_for(done: Callable[[], bool], seconds: float, what: str, every: float = 0.005) -> None:
    """Looks again and again, with `every` seconds between, until `done` says yes."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(every)
