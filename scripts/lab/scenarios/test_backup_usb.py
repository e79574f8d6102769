"""Backups to a USB disk that is plugged into the box: chosen, written, proven, pulled out too early, and read elsewhere.

One box for everything. Each disk is a file of this machine, so what the box has written is looked at by the programs of
others: mtools, e2fsck and debugfs, restic.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from laptop import Laptop
from machine import BOOT_TIMEOUT, Machine
from neighbour import SYNC_TIMEOUT, TIME_SETTINGS, Neighbour
from screen import flash
from waiting import wait_until

CONFIG = Path(__file__).resolve().parents[1] / "roost.toml"
PASSWORD = "wobbly lantern orbits quietly"
MIB = 1 << 20
#: Bytes a second of a disk at which something can happen in the middle of a backup, and seconds until it has.
SLOW = 100_000
MIDDLE = 180.0
#: What a backup then has to bring there, in bytes.
NEWS = 3 * MIB
#: Bytes that a full disk has left: less than any backup.
LEFT = 48 << 10
#: Seconds until a disk is found, and until it is let go.
FOUND = 90.0
LET_GO = 120.0
#: What init says each time.
UNMOUNTED = "the USB disk is unmounted, and can be pulled out"


def test_disk_at_the_box(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """The right disk is written to and no other; it is mounted only meanwhile; what goes wrong with it is told and made up for."""
    box = Room(boot, subject, tmp_path)
    refuses_what_it_cannot_use(box)
    backs_up_to_fat(box)
    goes_on_after_it_was_pulled(box)
    knows_other_file_systems(box)
    tells_that_it_is_full(box)


class Room:
    """A box with its owner's laptop, and disks on the table."""

    def __init__(self, boot: Boot, subject: Subject, folder: Path) -> None:
        """Starts it; its clock is set, as backups want it."""
        config, output = folder / "roost.toml", folder / "out"
        config.write_text(CONFIG.read_text() + TIME_SETTINGS)
        subprocess.run(
            [str(subject.roost), "build", "--quiet", "--offline", "--config", str(config), "--output", str(output)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.folder, self.image = folder, output / "roost.img"
        card = folder / "card.img"
        flash(replace(subject, image=self.image), card)
        self.machine: Machine = boot(folder / "box", image=card, options=("--lan", "--monitor", "--usb"))
        self.machine.wait_ready()
        self.laptop = Laptop(subject.roost, folder / "laptop", PASSWORD)
        assert self.machine.code
        self.laptop.pair(self.machine, "--code", self.machine.code)
        self.clients = Clients(self.machine.forwards, subject.account, folder)
        with Neighbour(self.machine.lan_path) as neighbour:

            def is_set() -> bool:
                neighbour.announce()
                return bool(self.machine.status()["clock_synced"])

            wait_until("a clock that is set", is_set, SYNC_TIMEOUT, interval=1.0)
        self.code = folder / "code.txt"
        self.code.write_text(self.run("code")["recovery_code"])

    def run(self, *command: str, expect: int = 0) -> dict[str, Any]:
        """`roost backup …`; gives what it says."""
        return self.laptop.run("backup", *command, "--box", self.laptop.at(self.machine), expect=expect)[-1]

    def refused(self, *command: str) -> str:
        """The same; gives why it is refused."""
        return json.dumps(self.run(*command, expect=1))

    def look(self) -> list[dict[str, Any]] | None:
        """Which disks are plugged in, if that is told in time."""
        said = self.laptop.run("backup", "target", "disks", "--box", self.laptop.at(self.machine), expect=None)
        return said[-1].get("disks")

    def disks(self) -> dict[str, dict[str, Any]]:
        """Those that are plugged in, by their names."""
        return {disk["name"]: disk for disk in self.run("target", "disks")["disks"]}

    def wait_disks(self, count: int) -> list[dict[str, Any]]:
        """Waits until so many are plugged in."""

        def all_of_them() -> list[dict[str, Any]] | None:
            found = list(self.disks().values())
            return found if len(found) == count else None

        return wait_until(f"{count} disks", all_of_them, FOUND, interval=1.0) if count else []

    def image_of(self, name: str, size: int) -> Path:
        """A disk with nothing on it, where the emulator sees it."""
        path = self.machine.state / f"{name}.disk"
        with path.open("wb") as file:
            file.truncate(size)
        return path

    def wait_status(self, what: str, found: Callable[[dict[str, Any]], object], timeout: float = BOOT_TIMEOUT) -> dict[str, Any]:
        """Waits until backups stand so."""

        def so() -> dict[str, Any] | None:
            status = self.run("status")
            return status if found(status) else None

        return wait_until(what, so, timeout, interval=0.5)

    def let_go(self) -> int:
        """How often init has said that a disk can be pulled out."""
        return sum(UNMOUNTED in line for line in self.machine.logs("init", 5000))

    def use(self, place: str) -> dict[str, Any]:
        """Has the box back up to a disk; gives what it made there."""
        before = self.let_go()
        self.run("target", "set", place)
        status = self.wait_status("the first backup", lambda now: not now["running"] and (now["made"] or now["failure"]))
        assert status["failure"] is None, status
        # It was tried, and written.
        wait_until("a disk that is let go", lambda: self.let_go() >= before + 2, LET_GO, interval=1.0)
        return status["made"]

    def prove(self, made: dict[str, Any]) -> None:
        """Has the box read its backup back."""
        before = self.let_go()
        proof = self.run("prove")["proof"]
        assert proof["fault"] is None and proof["id"] == made["id"], proof
        wait_until("a disk that is let go", lambda: self.let_go() > before, LET_GO, interval=1.0)

    def reads(self, folder: Path, made: dict[str, Any]) -> None:
        """Looks at a folder of a disk by the laptop's own program, and by restic."""
        own = ("--code-file", str(self.code))
        listed = self.laptop.run("backup", "list", str(folder), *own)[-1]["backups"]
        assert made["id"] in [backup["id"] for backup in listed], listed
        # Every file is got back, and its hash compared with what the box noted.
        checked = self.laptop.run("backup", "check", str(folder), *own, "--scratch", str(self.folder))[-1]
        assert (checked["backup"]["id"], checked["files"]) == (made["id"], made["files"]), checked
        restic = subprocess.run(
            ["restic", "--no-cache", "--repo", str(folder), "check", "--read-data"],
            env={"RESTIC_PASSWORD": self.code.read_text().strip(), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert restic.returncode == 0, restic.stderr


def refuses_what_it_cannot_use(box: Room) -> None:
    """No driver until somebody asks. Garbage, an encrypted disk, and one that is locked: each with words."""
    kernel = "\n".join(box.machine.logs("kernel", 5000))
    assert "xhci" not in kernel and "usb-storage" not in kernel, "what is plugged in finds no driver"
    # The first look loads drivers. On a machine with much else to do that outlasts the portal's patience, and goes on.
    wait_until("a first look", lambda: box.look() == [], FOUND, interval=1.0)
    error = box.refused("target", "set", "usb://")
    assert "there is no USB disk that the box can back up to" in error and "none is plugged in" in error, error
    garbage, luks, locked = (box.image_of(name, 40 * MIB) for name in ("garbage", "luks", "locked"))
    garbage.write_bytes(os.urandom(4 * MIB))
    with luks.open("r+b") as file:
        file.write(b"LUKS\xba\xbe\x00\x02" + os.urandom(4096))
    run("mkfs.vfat", "-F", "16", "-n", "LOCKED", "-i", "0badcafe", locked)
    box.machine.plug("garbage", garbage)
    box.machine.plug("luks", luks)
    box.machine.plug("locked", locked, read_only=True)
    found = box.wait_disks(3)
    problems = sorted(str(disk["problem"]) for disk in found)
    assert problems == [
        "it can only be read",
        "it has LUKS (it is encrypted), which the box cannot write to",
        "there is no file system on it that the box knows",
    ], found
    assert all(disk["hint"] and "QEMU" in disk["model"] for disk in found), found
    error = box.refused("target", "set", "usb://0BAD-CAFE")
    assert "LOCKED (FAT, 0BAD-CAFE): it can only be read" in error and "switch" in error, error
    assert box.run("status")["target"] is None
    for name in ("garbage", "luks", "locked"):
        box.machine.unplug(name)
    wait_until("no disks", lambda: not box.disks(), FOUND, interval=1.0)


def backs_up_to_fat(box: Room) -> None:
    """A stick as it is sold: a partition with FAT32. What is there is a folder like any other, for the laptop, too."""
    stick = box.image_of("stick", 80 * MIB)
    partition(stick)
    run("mkfs.vfat", "-F", "32", "-s", "1", "--offset", "2048", "-n", "BACKUP", "-i", "1a2b3c4d", stick, str(79 << 10))
    run("mcopy", "-i", f"{stick}@@1M", CONFIG, "::/holiday.txt")
    box.machine.plug("stick", stick)
    (disk,) = box.wait_disks(1)
    assert disk["mark"] == {"file_system": "vfat", "id": "1A2B-3C4D", "label": "BACKUP"} and not disk["problem"], disk
    made = box.use("usb://BACKUP")
    box.prove(made)
    target = box.run("target", "show")["target"]
    assert target == {"disk": disk["mark"], "folder": "roost-backups"}, target
    folder = box.folder / "stick"
    run("mcopy", "-s", "-n", "-i", f"{stick}@@1M", "::/", folder)
    assert (folder / "holiday.txt").read_bytes() == CONFIG.read_bytes(), "what is beside it stays"
    box.reads(folder / "roost-backups", made)
    new = box.folder / "new.img"
    restored = box.laptop.run(
        "restore", str(folder / "roost-backups"), str(new), "--code-file", str(box.code),
        "--scratch", str(box.folder), "--image", str(box.image), "--yes",
    )[-1]  # fmt: skip
    assert restored["fingerprint"] == box.machine.fingerprint
    new.unlink()


def goes_on_after_it_was_pulled(box: Room) -> None:
    """Out while nothing is at work: told, and no failure. Out in the middle, and a service that is killed: the next try works."""
    stick = box.machine.state / "stick.disk"
    before = box.run("status")["made"]
    message = new_message("much", STRANGER, box.clients.account.address, os.urandom(NEWS // 2).hex())
    box.clients.deliver(message)
    box.clients.wait_message(message)
    box.machine.unplug("stick")
    wait_until("no disks", lambda: not box.disks(), FOUND, interval=1.0)
    error = box.refused("now")
    assert "the disk BACKUP (FAT, 1A2B-3C4D) is not plugged in" in error, error
    assert box.run("status")["failure"] is None

    def begun() -> None:
        """The disk is back, but slow: a backup is under way."""
        box.machine.plug("stick", stick, slow=SLOW)
        box.wait_disks(1)
        box.run("now", "--no-wait")
        box.wait_status("a backup under way", lambda now: (now["running"] or {}).get("read"), MIDDLE)

    begun()
    box.machine.unplug("stick", slow=True)
    status = box.wait_status("a failure", lambda now: not now["running"] and now["failure"], MIDDLE)
    assert "the disk BACKUP (FAT, 1A2B-3C4D) was pulled out before it was done" in status["failure"]["why"], status
    assert "plug it in again" in status["failure"]["hint"] and status["made"] == before, status

    wait_until("no disks", lambda: not box.disks(), FOUND, interval=1.0)
    let_go = box.let_go()
    begun()
    box.machine.kill("backup")
    wait_until("a disk that is let go", lambda: box.let_go() > let_go, LET_GO, interval=1.0)
    box.machine.wait_service_ready("backup", BOOT_TIMEOUT)
    box.machine.unplug("stick", slow=True)
    wait_until("no disks", lambda: not box.disks(), FOUND, interval=1.0)

    box.machine.plug("stick", stick)
    box.wait_disks(1)
    status = box.run("now")
    assert status["failure"] is None and status["made"]["id"] != before["id"], status
    box.machine.unplug("stick")
    folder = box.folder / "again"
    run("mcopy", "-s", "-n", "-i", f"{stick}@@1M", "::/roost-backups", folder)
    box.reads(folder, status["made"])


def knows_other_file_systems(box: Room) -> None:
    """exFAT and ext4, one after the other; both are plugged in, and each is told from the other."""
    exfat, vault = box.image_of("exfat", 64 * MIB), box.image_of("vault", 64 * MIB)
    run("mkfs.exfat", "-L", "Stick", exfat)
    run("mke2fs", "-q", "-t", "ext4", "-L", "vault", vault)
    box.machine.plug("exfat", exfat)
    box.machine.plug("vault", vault)
    box.wait_disks(2)
    error = json.dumps(box.run("target", "set", "usb://", expect=2))
    assert "several disks may be meant" in error and "Stick (exFAT" in error and "vault (ext4" in error, error
    box.use("usb://Stick/attic")
    made = box.use("usb://vault/a/b")
    for name in ("exfat", "vault"):
        box.machine.unplug(name)
    # Unmounted: nothing is left to be made up for.
    run("e2fsck", "-f", "-n", vault)
    run("fsck.exfat", "-n", exfat)
    folder = box.folder / "vault"
    folder.mkdir()
    run("debugfs", "-R", f"rdump /a/b {folder}", vault)
    box.reads(folder / "b", made)


def tells_that_it_is_full(box: Room) -> None:
    """A disk with next to no room: what it is, and what to do."""
    full = box.image_of("full", 8 * MIB)
    run("mkfs.vfat", "-F", "16", "-s", "2", "-n", "FULL", "-i", "00000f11", full)
    sector = full.read_bytes()[:512]
    reserved, fats, entries, sectors = struct.unpack_from("<HBHH", sector, 14)
    (fat,) = struct.unpack_from("<H", sector, 22)
    clusters = (sectors - reserved - fats * fat - entries * 32 // 512) // 2
    (box.folder / "much").write_bytes(bytes(clusters * 1024 - LEFT))
    run("mcopy", "-i", full, box.folder / "much", "::/much")
    box.machine.plug("full", full)
    box.wait_disks(1)
    box.run("target", "set", "usb://FULL")
    status = box.wait_status("a failure", lambda now: not now["running"] and now["failure"])
    assert status["failure"]["why"] == "the disk FULL (FAT, 0000-0F11) is full", status
    assert "make room" in status["failure"]["hint"], status


def partition(disk: Path) -> None:
    """A table with one partition for FAT32, from the first mebibyte on."""
    entry = struct.pack("<B3xB3xII", 0, 0x0C, 2048, disk.stat().st_size // 512 - 2048)
    with disk.open("r+b") as file:
        file.seek(446)
        file.write(entry.ljust(64, b"\0") + b"\x55\xaa")


def run(program: str, *arguments: str | Path) -> None:
    """Runs a program of others that has to succeed."""
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "MTOOLS_SKIP_CHECK": "1"}
    done = subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
