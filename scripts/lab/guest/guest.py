"""An emulated cloud machine: boots `disk.py`'s disk with user data, and runs commands in it for the test."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from disk import Disk
from waiting import wait_until

#: What the emulated network calls this machine: whoever calls by a forwarded port has this address.
HOST = "10.0.2.2"
#: Somebody on the internet, whose port 25 answers each call with one line.
OUTSIDE, GREETING = "10.0.2.100", "220 outside"
#: Megabytes; as much as AWS's smallest machine has.
MEMORY = 512
#: Seconds for a command that does not say otherwise.
COMMAND_TIMEOUT = 60.0
#: Seconds from power-on to the first command: an unaccelerated guest took a minute beside a compiler.
BOOT_TIMEOUT = 600.0
#: Seconds from a request to restart to the end of all services.
STOP_TIMEOUT = 300.0


class Refused(Exception):
    """A command in the guest failed."""


def accelerated() -> bool:
    """Whether KVM boots stock kernels here: some machines have the device, but not what it needs."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return ("vmx" in flags or "svm" in flags) and os.access("/dev/kvm", os.R_OK | os.W_OK)


class Guest:
    """From power-on to the end of the emulator."""

    def __init__(self, disk: Disk, folder: Path, user_data: str, forwards: Sequence[tuple[str, int]]) -> None:
        """Switches it on; `forwards` are kinds and ports of the guest that this machine's loopback shall reach."""
        self._disk, self._folder = disk, folder
        self._count = 0
        seed = folder / "seed"
        seed.mkdir()
        (seed / "user-data").write_text(user_data)
        (seed / "meta-data").write_text("instance-id: relay\nlocal-hostname: relay\n")
        subprocess.run(["cp", "--sparse=always", str(disk.root), str(folder / "root.ext4")], check=True)
        #: Kind and port of the guest to port of this machine's loopback; the emulator finds free ones.
        self.forwards = dict.fromkeys(forwards, 0)
        self._switch_on()

    def _switch_on(self) -> None:
        """Starts the emulator, which ends when the guest restarts."""
        root, seed = self._folder / "root.ext4", self._folder / "seed"
        agent, agent_end = socket.socketpair()
        monitor, monitor_end = socket.socketpair()
        network = ",".join([
            "user,id=net", f"guestfwd=tcp:{OUTSIDE}:25-cmd:/bin/echo {GREETING}",
            *(f"hostfwd={kind}:127.0.0.1:{here}-:{port}" for (kind, port), here in self.forwards.items()),
        ])
        with agent_end, monitor_end, (self._folder / "qemu.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # No emulator outlives the test, however that ends.
                    "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64",
                    "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-m", str(MEMORY), "-smp", "2",
                    *(["-accel", "kvm", "-cpu", "host"] if accelerated() else ["-accel", "tcg", "-cpu", "max,la57=off"]),
                    "-kernel", str(self._disk.kernel), "-initrd", str(self._disk.initrd),
                    "-append", "root=LABEL=root ro console=ttyS0",
                    "-chardev", f"file,id=console,path={self._folder / 'console.log'},append=on", "-serial", "chardev:console",
                    "-drive", f"if=virtio,format=raw,cache=unsafe,file={root}",
                    "-blockdev", f"driver=vvfat,node-name=seed,dir={seed},label=CIDATA,read-only=on",
                    "-device", "virtio-blk-pci,drive=seed",
                    "-netdev", network, "-device", "virtio-net-pci,netdev=net",
                    "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                    "-chardev", f"socket,id=agent,fd={agent_end.fileno()}", "-device", "virtserialport,chardev=agent,name=roost",
                    "-chardev", f"socket,id=monitor,fd={monitor_end.fileno()}", "-mon", "chardev=monitor,mode=control",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(agent_end.fileno(), monitor_end.fileno()),
            )
        self._agent, self._agent_lines = agent, agent.makefile("rb")
        self._monitor, self._monitor_lines = monitor, monitor.makefile("rb")
        self._monitor.settimeout(COMMAND_TIMEOUT)
        try:
            self._ask("qmp_capabilities")
            self.forwards = self._forwards()
        except BaseException:
            self.off()
            raise

    def __enter__(self) -> Guest:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Pulls the plug."""
        self.off()

    def off(self) -> None:
        """Pulls the plug."""
        self._process.kill()
        self._process.wait()
        for end in (self._agent_lines, self._agent, self._monitor_lines, self._monitor):
            end.close()

    def _ask(self, command: str, **arguments: object) -> object:
        """Asks the emulator."""
        self._monitor.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        for line in self._monitor_lines:
            said = json.loads(line)
            if "return" in said:
                return said["return"]
            if "error" in said:
                raise RuntimeError(f"{command}: {said['error']}")
        raise RuntimeError(f"the emulator ended; {self._folder / 'qemu.log'} says why")

    def _forwards(self) -> dict[tuple[str, int], int]:
        """The ports that the emulator found free."""
        said = str(self._ask("human-monitor-command", **{"command-line": "info usernet"}))
        lines = re.findall(r"(TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)", said)
        return {(kind.lower(), int(inside)): int(here) for kind, here, inside in lines}

    def run(self, *command: str, timeout: float = COMMAND_TIMEOUT, check: bool = True) -> str:
        """Runs a command in it and returns what it printed; a failure carries all that it said."""
        self._count += 1
        self._agent.settimeout(timeout)
        self._agent.sendall(json.dumps([self._count, command]).encode() + b"\n")
        while True:
            try:
                line = self._agent_lines.readline()
            except TimeoutError as late:
                # A file that has seen a time-out reads no more.
                self._agent_lines = self._agent.makefile("rb")
                raise Refused(f"{' '.join(command)}: no answer in {timeout:.0f} s") from late
            if not line:
                raise RuntimeError("the emulator ended")
            try:
                number, code, out, err = json.loads(line)
            except ValueError:
                # Cut off by a restart.
                continue
            if number == self._count:
                break
        if check and code != 0:
            raise Refused(f"{' '.join(command)}: {out}{err}")
        return str(out)

    def sh(self, line: str, timeout: float = COMMAND_TIMEOUT, check: bool = True) -> str:
        """Runs a line of shell."""
        return self.run("sh", "-c", line, timeout=timeout, check=check)

    def wait_up(self) -> None:
        """Waits until commands are taken."""
        wait_until("the guest", lambda: self.run("echo", "up", timeout=10), BOOT_TIMEOUT, interval=1.0, retry_on=(Refused,))

    def restart(self) -> None:
        """Restarts it in order, and waits until it takes commands.

        In a new emulator: one that has run a kernel took minutes to unpack it again (QEMU 7.2), as it minds
        every write to memory that held a program.
        """
        self.run("systemctl", "--no-block", "reboot")
        self._process.wait(timeout=STOP_TIMEOUT)
        self.off()
        self._switch_on()
        self.wait_up()
