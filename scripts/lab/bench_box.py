"""Boots the image several times and prints, as one JSON object, how long that takes, how much
memory it needs, and how much a message writes to the card.

Environment: `ROOST`, `ROOST_IMAGE` and `ROOST_PASSWORD`, as for the scenarios.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
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
#: Messages whose writes are counted, and the length of their text in bytes.
MESSAGES = 200
MESSAGE_BYTES = 8_000
#: Seconds after the last message until the kernel has written what it held back
#: (30 s, Linux `dirty_expire_centisecs`) and more.
WRITE_BACK = 45.0


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
                idle = machine.status()
                seconds = deliver(Clients(machine.forwards, account, Path(folder)))
                pause("the last writes", WRITE_BACK)
                busy = machine.status()
            machine.power_off()
    mail = next(service for service in idle["services"] if service["name"] == "mail")
    print(
        json.dumps(
            {
                "pairing_s": round(statistics.median(pairing), 1),
                "ready_s": statistics.median(ready),
                "banner_s": round(statistics.median(banner), 2),
                "idle_bytes": idle["memory_total"] - idle["memory_available"],
                "mail_bytes": mail["memory"],
                "written_per_message": round((busy["data_written"] - idle["data_written"]) / MESSAGES),
                "messages_per_s": round(MESSAGES / seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
