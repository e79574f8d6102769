"""Boots the image several times and prints, as one JSON object, how long that takes and how much memory it needs.

Environment: `ROOST` (the command) and `ROOST_IMAGE` (the image), as for the scenarios.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path

from machine import Machine
from waiting import wait_until

#: Boots; the first makes keys and grows the data partition, so it is not counted.
BOOTS = 4
#: Seconds without traffic before memory is read.
SETTLE = 20.0


def banner_s(machine: Machine) -> float:
    """Seconds since the kernel's start at which port 25 greets, asked as soon as the box is ready."""
    with socket.create_connection(("127.0.0.1", machine.forwards[25]), 30) as connection:
        assert connection.recv(200).startswith(b"220 ")
    return float(machine.control("status", "status")["uptime_s"])


def main() -> None:
    """Measures and prints."""
    ready: list[float] = []
    banner: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for boot in range(BOOTS):
            machine = Machine(Path(os.environ["ROOST"]), Path(os.environ["ROOST_IMAGE"]), Path(folder))
            after = machine.wait_ready()
            greeted = banner_s(machine)
            if boot > 0:
                ready.append(after)
                banner.append(greeted)
            if boot == BOOTS - 1:
                settled = time.monotonic() + SETTLE
                wait_until("the box to settle", lambda: time.monotonic() > settled, SETTLE + 5)
                status = machine.control("status", "status")
            machine.power_off()
    mail = next(service for service in status["services"] if service["name"] == "mail")
    print(
        json.dumps(
            {
                "ready_s": statistics.median(ready),
                "banner_s": round(statistics.median(banner), 2),
                "idle_bytes": status["memory_total"] - status["memory_available"],
                "mail_bytes": mail["memory"],
            }
        )
    )


if __name__ == "__main__":
    main()
