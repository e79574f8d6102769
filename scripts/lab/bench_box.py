"""Boots the image several times and prints, as one JSON object, how long that takes, how much
memory it needs, and how much is written to the card, by a message and by an idle hour.

Ends with status 1 if more is written than the ceilings below allow. Bytes do not depend on how
busy the host is. They are counted by the box's kernel, for the data partition
(`data_written` of init's status, from /sys/class/block/*/stat).

Environment: `ROOST`, `ROOST_IMAGE` and `ROOST_PASSWORD`, as for the scenarios.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from clients import STRANGER, Account, Clients, new_message
from machine import Machine
from waiting import wait_until

#: Boots; the first makes keys and grows the data partition, so it is not counted.
BOOTS = 4
#: New cards that are started for the first time.
FLASHED = 3
#: Seconds without traffic before memory is read.
SETTLE = 20.0
#: Seconds without traffic in which writes are counted: the log is spilled each minute, so several of
#: its turns. What comes only every quarter of an hour (the clock's floor) counts as it falls.
IDLE = 300.0
#: Messages whose writes are counted, and the length of their text in bytes.
MESSAGES = 200
MESSAGE_BYTES = 8_000
#: Seconds after the last message until the kernel has written what it held back
#: (30 s, Linux `dirty_expire_centisecs`) and more.
WRITE_BACK = 45.0


#: What may be written at most, in bytes: somewhat above the 376 kB of a message, and the 3.1 MB of an
#: hour without any, that docs/benchmarks.md has. To be lowered with each figure that is.
CEILINGS = {"written_per_message": 390_000, "written_per_idle_hour": 4_390_000}


def banner_s(machine: Machine) -> float:
    """Seconds since the kernel's start at which port 25 greets, asked as soon as the box is ready."""
    with socket.create_connection(("127.0.0.1", machine.forwards[25]), 30) as connection:
        assert connection.recv(200).startswith(b"220 ")
    return float(machine.control("status", "status")["uptime_s"])


def pairing_page_s(folder: Path) -> float:
    """Seconds from power-on of a card that `roost flash` has just written until its pairing page is served."""
    card = folder / "card.img"
    own = ["--name", "roost", "--yes", "--json"]
    command = [os.environ["ROOST"], "flash", str(card), "--image", os.environ["ROOST_IMAGE"], *own]
    subprocess.run(command, check=True, capture_output=True)
    began = time.monotonic()
    machine = Machine(Path(os.environ["ROOST"]), card, folder / "box")
    url = f"https://127.0.0.1:{machine.forwards[443]}/pair"

    def served() -> bool:
        # The emulator takes connections before the box does; those end without an answer.
        got = subprocess.run(["curl", "--silent", "--insecure", "--max-time", "2", url], capture_output=True, check=False)
        return b"Pairing code" in got.stdout

    wait_until("the pairing page", served, 120, interval=0.1)
    seconds = time.monotonic() - began
    machine.power_cut()
    return seconds


def pause(what: str, seconds: float) -> None:
    """Lets the box alone for some seconds."""
    end = time.monotonic() + seconds
    wait_until(what, lambda: time.monotonic() > end, seconds + 5)


def deliver(clients: Clients) -> float:
    """Delivers all messages on one connection; returns the seconds until the last was acknowledged."""
    began = time.monotonic()
    with clients.smtp() as smtp:
        for number in range(MESSAGES):
            text = (f"{number:07d}\n" * (MESSAGE_BYTES // 8))[:MESSAGE_BYTES]
            smtp.send_message(new_message(f"number {number}", STRANGER, clients.account.address, text))
    seconds = time.monotonic() - began

    def all_there() -> bool:
        with clients.imap() as imap:
            return int(imap.select("INBOX", readonly=True)[1][0]) >= MESSAGES

    wait_until("the last message in its folder", all_there, 120, interval=1.0)
    return seconds


def main() -> None:
    """Measures and prints."""
    ready: list[float] = []
    banner: list[float] = []
    account = Account("alice", os.environ["ROOST_PASSWORD"], "example.org", "mail.example.org")
    pairing: list[float] = []
    for _ in range(FLASHED):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
            pairing.append(pairing_page_s(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        for boot in range(BOOTS):
            machine = Machine(Path(os.environ["ROOST"]), Path(os.environ["ROOST_IMAGE"]), Path(folder))
            after = machine.wait_ready()
            greeted = banner_s(machine)
            if boot > 0:
                ready.append(after)
                banner.append(greeted)
            if boot == BOOTS - 1:
                pause("the box to settle", SETTLE)
                before = machine.status()
                pause("an idle while", IDLE)
                idle = machine.status()
                seconds = deliver(Clients(machine.forwards, account, Path(folder)))
                pause("the last writes", WRITE_BACK)
                busy = machine.status()
            machine.power_off()
    mail = next(service for service in idle["services"] if service["name"] == "mail")
    idle_bytes = idle["data_written"] - before["data_written"]
    idle_seconds = idle["uptime_s"] - before["uptime_s"]
    figures = {
        "pairing_s": round(statistics.median(pairing), 1),
        "ready_s": statistics.median(ready),
        "banner_s": round(statistics.median(banner), 2),
        "idle_bytes": idle["memory_total"] - idle["memory_available"],
        "mail_bytes": mail["memory"],
        "written_per_message": round((busy["data_written"] - idle["data_written"]) / MESSAGES),
        "written_per_idle_hour": round(idle_bytes * 3600 / idle_seconds),
        "messages_per_s": round(MESSAGES / seconds, 1),
    }
    print(json.dumps(figures))
    above = [f"{name} is {figures[name]}, at most {ceiling} is allowed" for name, ceiling in CEILINGS.items() if figures[name] > ceiling]
    if above:
        sys.exit("error: " + "; ".join(above))


if __name__ == "__main__":
    main()
