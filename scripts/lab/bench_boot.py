"""How soon the box is up, and how much memory it has in use then, against Debian.

Both are started by the same QEMU as the same machine with the same kernel and run the same mail
program with the same settings; Debian's is in `guest/arm.py`. They take turns. Time counts from
QEMU's leave to run (`cont`), which is when the kernel starts, and what is reached is seen from
outside: a greeting on port 25. What only the inside knows is told by the inside: of the box by
init, of Debian by its kernel and its systemd.

Environment: `ROOST`, `ROOST_IMAGE`; `ROOST_BENCH_BOOTS` (counted boots of each, 5),
`ROOST_BENCH_IDLE` (seconds without work before memory is read, 60), `ROOST_BENCH_ARGUMENTS` (more
boot arguments for the box, to see what one of them changes).
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).parent / "guest"))

import arm  # noqa: E402
from arm import Kernel, Sdk  # noqa: E402

BOOTS = int(os.environ.get("ROOST_BENCH_BOOTS", "5"))
IDLE = float(os.environ.get("ROOST_BENCH_IDLE", "60"))
CPUS, MEMORY_MB = 2, 1024
#: Seconds until a machine that does not greet is given up.
LIMIT = 300.0
#: The first start makes keys and is not counted; it may take longer.
FIRST_LIMIT = 900.0
#: Seconds between two tries to be greeted, and until one is given up.
TRY_EVERY, TRY_LIMIT = 0.1, 1.0
LOCK = Path(__file__).parents[2] / "roost.lock"

#: What runs in Debian beside Debian: the mail program as init would start it, and a report.
MAIL_UNIT = """\
[Unit]
Description=Mail
After=local-fs.target

[Service]
ExecStart=/usr/local/bin/mail
User=mail-box
Environment=ROOST_DATA=/data/services/mail ROOST_RUN=/run/services/mail ROOST_NAME=roost ROOST_DATA_FORMAT=1 TMPDIR=/tmp
RuntimeDirectory=services/mail
AmbientCapabilities=CAP_NET_BIND_SERVICE
NoNewPrivileges=yes
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
#: Debian's way to tell the benchmark, and the boot argument of a start that is only to be ended in order.
PORT, FIRST = "/dev/virtio-ports/bench", "bench.first"
REPORT_UNIT = f"""\
[Unit]
Description=Report of the benchmark

[Service]
Type=simple
ExecStart=/bin/sh -c 'if grep -q {FIRST} /proc/cmdline; then read go < {PORT}; exec systemctl poweroff; fi; sleep {IDLE:.0f}; exec > {PORT}; cat /proc/meminfo; journalctl --boot --output=short-monotonic --no-hostname; echo END'

[Install]
WantedBy=multi-user.target
"""


@dataclass
class System:
    """What is booted, and what was measured of it."""

    name: str
    kernel: Path
    initrd: Path
    arguments: str
    card: Path
    port: str
    milestones: dict[str, list[float]] = field(default_factory=dict)
    idle_bytes: list[float] = field(default_factory=list)
    #: What each service has resident then, in MB, for people.
    resident: str = ""

    def note(self, what: str, seconds: float) -> None:
        """One more figure."""
        self.milestones.setdefault(what, []).append(seconds)

    def median(self, what: str) -> float:
        """The middle one."""
        return statistics.median(self.milestones[what])


class Boot:
    """One run of a machine."""

    def __init__(self, sdk: Sdk, system: System, folder: Path) -> None:
        """Starts it; returns as its kernel starts."""
        self.folder = folder
        self.smtp = _free_port()
        qmp_path, port_path = folder / "qmp", folder / "port"
        for path in (qmp_path, port_path):
            path.unlink(missing_ok=True)
        self._console = (folder / f"{system.name}.log").open("ab")
        command = sdk.command(
            "qemu-system-aarch64", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-S",
            "-machine", "virt,dtb-randomness=off", "-cpu", "cortex-a72", "-smp", str(CPUS), "-m", str(MEMORY_MB),
            "-serial", "stdio", "-kernel", system.kernel, "-initrd", system.initrd, "-append", system.arguments,
            "-drive", f"if=none,id=disk,format=raw,cache=writeback,file={system.card}", "-device", "virtio-blk-pci,drive=disk",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.smtp}-:25",
            "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
            "-device", "i6300esb", "-action", "watchdog=reset", "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=port,path={port_path},server=on,wait=off",
            "-device", f"virtserialport,chardev=port,name={system.port}",
            "-qmp", f"unix:{qmp_path},server=on,wait=off",
            folders=(folder, system.kernel.parent),
        )
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self._console, stderr=subprocess.STDOUT)
        self._qmp = _connect(qmp_path).makefile("rw", encoding="utf-8")
        self._qmp.readline()
        self._ask("qmp_capabilities")
        self.port: IO[str] = _connect(port_path).makefile("rw", encoding="utf-8", errors="replace")
        self._ask("cont")
        self.began = time.monotonic()

    def _ask(self, command: str) -> None:
        self._qmp.write(json.dumps({"execute": command}) + "\n")
        self._qmp.flush()
        while "return" not in json.loads(self._qmp.readline()):
            pass

    def greeted(self, limit: float) -> float:
        """Seconds from the kernel's start to the greeting on port 25."""
        # The emulator takes connections before the machine does. Those hang or end without a word,
        # and the emulator tries them again at ever longer intervals: so there is a young one always,
        # but no more than one a tenth of a second: a flood of them would be all that the machine does.
        tries: dict[socket.socket, float] = {}
        next_try = self.began
        try:
            while (now := time.monotonic()) < self.began + limit and self._process.poll() is None:
                for old in [each for each, since in tries.items() if now - since > TRY_LIMIT]:
                    del tries[old]
                    old.close()
                if now >= next_try:
                    tries[socket.create_connection(("127.0.0.1", self.smtp), 5)] = now
                    next_try = now + TRY_EVERY
                for readable in select.select(list(tries), [], [], max(0.0, next_try - now))[0]:
                    if _said(readable).startswith(b"220 "):
                        return time.monotonic() - self.began
                    del tries[readable]
                    readable.close()
        finally:
            for each in tries:
                each.close()
        raise RuntimeError(f"no greeting within {limit:.0f} s; the consoles are in {self.folder}")

    def control(self, op: str) -> dict:
        """Asks the box's init."""
        self.port.write(json.dumps({"op": op}) + "\n")
        self.port.flush()
        return json.loads(self.port.readline())

    def report(self) -> list[str]:
        """What Debian's report unit says, once."""
        lines = []
        while (line := self.port.readline().rstrip("\n")) != "END":
            lines.append(line)
        return lines

    def end(self, system: System, *, orderly: bool) -> None:
        """Powers it off and waits, or cuts the power."""
        if orderly:
            if system.name == "box":
                self.control("power_off")
            else:
                self.port.write("off\n")
                self.port.flush()
            self._process.wait(LIMIT)
        self._process.kill()
        self._process.wait()
        self._console.close()


def _said(connection: socket.socket) -> bytes:
    try:
        return connection.recv(200)
    except OSError:
        return b""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connect(path: Path) -> socket.socket:
    end = time.monotonic() + 30
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            connection.settimeout(LIMIT)
            return connection
        except OSError:
            connection.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def the_box(sdk: Sdk, image: Path, folder: Path) -> System:
    """The image, with kernel, initramfs and boot arguments out of its slot A, as the firmware takes them."""
    card = folder / "box.card"
    shutil.copy(image, card)
    os.truncate(card, 4 << 30)
    slot = f"{card}@@{_partition(card, 2)}"
    for name in ("config.txt", "cmdline.txt"):
        sdk.run("mcopy", "-n", "-i", slot, f"::{name}", folder / name, folders=(folder,))
    config = (folder / "config.txt").read_text()
    kernel = re.search(r"^kernel=(\S+)", config, re.M)
    initramfs = re.search(r"^initramfs (\S+)", config, re.M)
    if not kernel or not initramfs:
        raise RuntimeError("config.txt names no kernel or no initramfs")
    for name in (kernel[1], initramfs[1]):
        sdk.run("mcopy", "-n", "-i", slot, f"::{name}", folder / name, folders=(folder,))
    more = os.environ.get("ROOST_BENCH_ARGUMENTS", "")
    arguments = f"{(folder / 'cmdline.txt').read_text().strip()} roost.partition=2 {more}".rstrip()
    return System("box", folder / kernel[1], folder / initramfs[1], arguments, card, "roost.control")


def _partition(image: Path, number: int) -> int:
    """Where it begins, in bytes (MBR)."""
    with image.open("rb") as disk:
        entry = disk.read(512)[446 + 16 * (number - 1) :][:16]
    return int.from_bytes(entry[8:12], "little") * 512


def debian(sdk: Sdk, box: System, folder: Path) -> System:
    """Debian's disk, with the mail program, its data files and its settings out of the box's image."""
    made = arm.disk(sdk, Kernel.of_lock(LOCK, sdk.cache))
    card = folder / "debian.card"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", made.root, card], check=True)
    root = _root_of(sdk, box, folder)
    ours = folder / "ours"
    ours.mkdir()
    files = {
        "usr/local/bin/mail": root / "bin/mail",
        **{f"etc/roost/{path.name}": path for path in (root / "etc/roost").iterdir() if path.is_file()},
        **{f"share/mail/{path.name}": path for path in (root / "share/mail").iterdir()},
    }
    (ours / "mail.service").write_text(MAIL_UNIT)
    (ours / "bench.service").write_text(REPORT_UNIT)
    (ours / "users.conf").write_text('u mail-box 800 "Mail" /data/services/mail\n')
    (ours / "folders.conf").write_text("d /data/services/mail 0700 mail-box mail-box\n")
    files |= {
        "etc/systemd/system/mail.service": ours / "mail.service",
        "etc/systemd/system/bench.service": ours / "bench.service",
        "etc/sysusers.d/mail-box.conf": ours / "users.conf",
        "etc/tmpfiles.d/mail-box.conf": ours / "folders.conf",
    }
    made_folders = ["/share", "/share/mail", "/etc/roost", "/etc/sysusers.d", "/etc/tmpfiles.d"]
    commands = [f"mkdir {name}" for name in made_folders]
    for inside, outside in files.items():
        commands.append(f"write {outside} /{inside}")
    commands.append("set_inode_field /usr/local/bin/mail mode 0100755")
    wants = "/etc/systemd/system/multi-user.target.wants"
    commands += [f"symlink {wants}/{name} /etc/systemd/system/{name}" for name in ("mail.service", "bench.service")]
    subprocess.run(["debugfs", "-w", "-f", "-", str(card)], input="\n".join(commands), text=True, check=True, capture_output=True)
    arguments = "root=/dev/vda ro console=ttyAMA0 loglevel=4 panic=10"
    return System("debian", made.kernel, made.initrd, arguments, card, "bench")


def _root_of(sdk: Sdk, box: System, folder: Path) -> Path:
    """The files of the box's root file system."""
    slot = f"{box.card}@@{_partition(box.card, 2)}"
    sdk.run("mcopy", "-n", "-i", slot, "::root.img", folder / "root.img", folders=(folder,))
    root = folder / "root"
    sdk.run("fsck.erofs", f"--extract={root}", "--no-preserve", folder / "root.img", folders=(folder,))
    return root


def one_boot(sdk: Sdk, system: System, folder: Path, *, counted: bool, idle: bool) -> None:
    """Boots once and notes what is measured."""
    # The first start's keys are to be there at the second.
    boot = Boot(sdk, system if counted else replace(system, arguments=f"{system.arguments} {FIRST}"), folder)
    # Lines wait in the port until somebody reads.
    said: list[list[str]] = []
    reader = threading.Thread(target=lambda: said.append(boot.report()), daemon=True)
    if system.name == "debian" and idle:
        reader.start()
    banner = boot.greeted(LIMIT if counted else FIRST_LIMIT)
    if counted:
        system.note("SMTP banner", banner)
    if system.name == "box":
        status = boot.control("status")
        while not status["ready"]:
            time.sleep(0.1)
            status = boot.control("status")
        if counted:
            times = boot.control("boot_times")
            system.note("first program", times["steps"][0]["end_us"] / 1e6)
            for mark in times["marks"]:
                system.note(mark["name"], mark["at_us"] / 1e6)
    if idle:
        if system.name == "box":
            time.sleep(IDLE)
            status = boot.control("status")
            system.idle_bytes.append(status["memory_total"] - status["memory_available"])
            resident = [f"{service['name']} {(service['memory'] or 0) / 1e6:.1f}" for service in status["services"]]
            system.resident = ", ".join(resident)
        else:
            reader.join(LIMIT)
            _note_report(system, said[0])
    boot.end(system, orderly=not counted)


def _note_report(system: System, lines: list[str]) -> None:
    """Debian's own figures."""
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest.endswith(" kB")}
    system.idle_bytes.append((kib["MemTotal"] - kib["MemAvailable"]) * 1024)
    for what, pattern in (
        ("first program", r"Run /init as init process"),
        ("network address", r"DHCPv4 address"),
        ("multi-user.target", r"Reached target multi-user\.target"),
    ):
        for line in lines:
            if re.search(pattern, line) and (at := re.match(r"\[\s*(\d+\.\d+)\]", line)):
                system.note(what, float(at[1]))
                break


def show(box: System, other: System, sdk: Sdk, kernel: Kernel) -> None:
    """The table."""
    load = " ".join(Path("/proc/loadavg").read_text().split()[:3])
    print(f"{BOOTS} boots of each, taking turns; QEMU {sdk.qemu}, {CPUS} CPUs, {MEMORY_MB} MB, Linux {kernel.version}; load {load}\n")
    print("| seconds from kernel start, median | box | Debian |\n|---|---|---|")
    names = [*box.milestones, *(name for name in other.milestones if name not in box.milestones)]
    for name in names:
        figures = [f"{system.median(name):.2f}" if name in system.milestones else "" for system in (box, other)]
        print(f"| {name} | {figures[0]} | {figures[1]} |")
    pairs = [ours / theirs for ours, theirs in zip(box.milestones["SMTP banner"], other.milestones["SMTP banner"], strict=True)]
    ratio = box.median("SMTP banner") / other.median("SMTP banner")
    print(f"| SMTP banner, box / Debian | {ratio:.2f} | {min(pairs):.2f} to {max(pairs):.2f} |")
    memory = [f"{statistics.median(system.idle_bytes) / 1e6:.1f} MB" for system in (box, other)]
    print(f"| memory in use {IDLE:.0f} s later (MemTotal - MemAvailable) | {memory[0]} | {memory[1]} |")
    print(f"\nResident then, MB: {box.resident}")


def main() -> None:
    """Measures and prints."""
    sdk = Sdk(Path(os.environ["ROOST"]))
    with tempfile.TemporaryDirectory(prefix="roost-boot.", dir=os.environ.get("TMPDIR", "/var/tmp")) as place:
        folder = Path(place)
        box = the_box(sdk, Path(os.environ["ROOST_IMAGE"]), folder)
        systems = [box, debian(sdk, box, folder)]
        for system in systems:
            one_boot(sdk, system, folder, counted=False, idle=False)
        for turn in range(BOOTS):
            # Each begins every other time: what the machine does meanwhile hits both.
            for system in systems if turn % 2 == 0 else reversed(systems):
                one_boot(sdk, system, folder, counted=True, idle=turn == BOOTS - 1)
        show(systems[0], systems[1], sdk, Kernel.of_lock(LOCK, sdk.cache))


if __name__ == "__main__":
    main()
