"""Measures updates and prints a table: what is sent, how fast a slot is written, how long mail is away.

Environment: `ROOST`, `ROOST_IMAGE` and `ROOST_PASSWORD`, as for the scenarios; `ROOST_APPLY` is the
example `apply` of the updater, built for this machine.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import card
import elf
from conftest import Subject
from clients import Account
from machine import Machine
from updates import COMMITTED, FIRST, NEXT, ROLLED_BACK, Patient, Release, Workshop, copy_of_checkout, replace_text

#: Lines that change nothing, in one file of each program.
TOUCHED = {
    "init": ("services/init/src/pid1/setup.rs", "there is no watchdog:", "there is no watchdog at all:"),
    "updater": ("services/updater/src/main.rs", "updater: stopping", "updater: is stopping"),
    "what init and stage1 share": ("services/init/src/boot.rs", "boot arguments: {e}", "the boot arguments: {e}"),
}
#: Runs of the engine and of `dd`; the middle one is told.
RUNS = 3
#: A card of the slow kind: bytes a second that it writes and reads.
CARD = {"write": 20_000_000, "read": 80_000_000}
#: Control group (version 1) whose programs get a disk as slow as that.
SLOW = Path("/sys/fs/cgroup/blkio/roost-bench")
#: How often mail's door is tried while the box is away, in seconds.
KNOCK = 0.1


def row(name: str, value: str) -> None:
    """A row of the table."""
    print(f"| {name} | {value} |", flush=True)


def kilobytes(count: int) -> str:
    """Bytes as they are told in the table."""
    return f"{count / 1e3:,.0f} kB"


@dataclass
class Door:
    """Knocks at port 25 all the time, and notes the longest time without a greeting."""

    port: int
    longest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Door":
        """Begins."""
        self._thread = threading.Thread(target=self._knock)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends."""
        self._stop.set()
        self._thread.join()

    def _knock(self) -> None:
        greeted = time.monotonic()
        while not self._stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as connection:
                    connection.settimeout(2)
                    if connection.recv(64).startswith(b"220 "):
                        now = time.monotonic()
                        self.longest = max(self.longest, now - greeted)
                        greeted = now
            except OSError:
                pass
            self._stop.wait(KNOCK)


def to_send(patient: Patient, release: Release) -> tuple[int, int]:
    """Bytes that the box would fetch and write for a release; nothing is written."""
    result = patient.update(release, "--dry-run")
    return int(result["outlook"]["offer"]["send"]), int(result["outlook"]["offer"]["write"])


def touched(workshop: Workshop, folder: Path, name: str) -> Release:
    """The release after the first, with a line of one program changed."""
    file, old, new = TOUCHED[name]
    checkout = copy_of_checkout(folder / name.replace(" ", "-"))
    replace_text(checkout / file, old, new)
    return workshop.release(NEXT, checkout=checkout)


def other_kernel(slot: bytearray) -> None:
    """Puts other bytes where the kernel is, as many of them and as hard to pack."""
    start, end = card.kernel(slot)
    slot[start:end] = random.Random(1).randbytes(end - start)


def slow_disk(folder: Path) -> bool:
    """Makes the control group for the disk that a folder is on; needs root, and the controller `blkio`."""
    device = os.stat(folder).st_dev
    try:
        SLOW.mkdir(exist_ok=True)
        for what, rate in CARD.items():
            limit = f"{os.major(device)}:{os.minor(device)} {rate}"
            (SLOW / f"blkio.throttle.{what}_bps_device").write_text(limit)
    except OSError:
        return False
    return True


def apply(workshop: Workshop, bundle: Path, folder: Path, *, slow: bool = False) -> dict[str, float]:
    """Seconds that the engine takes on this machine's disk, and `dd` for the same slot."""
    folder.mkdir()
    enter = ["sh", "-c", f'echo $$ > {SLOW}/cgroup.procs && exec "$@"', "sh"] if slow else []

    def run(*command: str) -> str:
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=True).stdout

    times = json.loads(run(os.environ["ROOST_APPLY"], str(workshop.first.image), str(bundle), str(folder)))
    began = time.monotonic()
    run("dd", f"if={folder / 'b'}", f"of={folder / 'copy'}", "bs=1M", "conv=fdatasync", "iflag=count_bytes",
        f"count={times['slot_bytes']}")  # fmt: skip
    times["dd_s"] = time.monotonic() - began
    shutil.rmtree(folder)
    return times


def main() -> None:
    """Prints the table."""
    work = Path(tempfile.mkdtemp(prefix="roost-bench-update.", dir=os.environ.get("TMPDIR", "/var/tmp")))
    machines: list[Machine] = []

    def boot(state: Path, *, machine: str = "virt", options: tuple[str, ...] = (), image: Path) -> Machine:
        machines.append(Machine(Path(os.environ["ROOST"]), image, state, machine=machine, options=options))
        return machines[-1]

    try:
        account = Account("alice", os.environ["ROOST_PASSWORD"], "example.org", "mail.example.org")
        subject = Subject(Path(os.environ["ROOST"]), Path(os.environ["ROOST_IMAGE"]), account)
        workshop = Workshop(subject, work / "w")
        patient = Patient(workshop, boot, work / "box")
        print("| what | value |\n|---|---|")

        assert patient.update(workshop.first)["outcome"] == "nothing_to_do"
        row("sent when nothing has changed", "0 (the box is only asked what it runs)")
        releases = {name: touched(workshop, work, name) for name in TOUCHED}
        for name, release in releases.items():
            send, write = to_send(patient, release)
            row(f"sent after a changed line in {name}", f"{kilobytes(send)} ({kilobytes(write)} of the slot are written)")
        kernel = workshop.repacked(releases["init"], "kernel", edit=other_kernel)
        row("sent for init and a kernel that has nothing in common with the old one", kilobytes(to_send(patient, kernel)[0]))

        for what, bundle in {"all copied from the running one": workshop.first.bundle, "a line in init sent": releases["init"].bundle}.items():
            runs = [apply(workshop, bundle, work / f"apply-{number}") for number in range(RUNS)]
            runs.sort(key=lambda run: run["write_s"])
            middle = runs[RUNS // 2]
            dd = statistics.median(run["dd_s"] for run in runs)
            row(
                f"a whole slot written and read back on this machine ({what})",
                f"{middle['write_s']:.2f} s; looking before: {middle['examine_s']:.2f} s; `dd` of it: {dd:.2f} s",
            )

        what = "the same (all copied) on a disk held to 20 MB/s for writing and 80 MB/s for reading"
        if slow_disk(work):
            times = apply(workshop, workshop.first.bundle, work / "apply-slow", slow=True)
            row(what, f"{times['write_s']:.2f} s; `dd` of it: {times['dd_s']:.2f} s")
        else:
            row(what, "not measured: needs root and the controller blkio of control groups")

        with Door(patient.machine.forwards[25]) as door:
            began = time.monotonic()
            assert patient.update(releases["init"], expect=COMMITTED)["outcome"] == "kept"
            whole = time.monotonic() - began
        row("a whole update after a changed line in init (virt, emulated)", f"{whole:.0f} s")
        row("of that, without an SMTP greeting", f"{door.longest:.1f} s")
        broken = workshop.release(NEXT + 1, replaced={"stage1": elf.write(work / "stage1", elf.EXIT)})
        with Door(patient.machine.forwards[25]) as door:
            patient.update(broken, expect=ROLLED_BACK)
        row("an update whose initramfs is broken: without a greeting until the version before serves again", f"{door.longest:.1f} s")
    finally:
        for machine in machines:
            machine.power_cut()
        shutil.rmtree(work, ignore_errors=True)
        if SLOW.exists():
            SLOW.rmdir()


if __name__ == "__main__":
    main()
