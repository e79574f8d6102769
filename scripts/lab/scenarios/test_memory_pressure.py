"""Services that take memory until the kernel ends them, and begin anew: it is always they who are ended."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot
from strangers import PATIENCE, SMALL, boot_with, check_service
from updates import Workshop
from waiting import wait_until

#: Ends of each that are waited for.
ENDS = 2


def test_memory_without_end(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Five services take all that they may, again and again, and init says so each time."""
    machine = boot_with(boot, workshop, tmp_path, "memory")

    def ends(service: str) -> int:
        begun = f"{service} was ended: "
        return sum(begun in line and "memory" in line.partition(begun)[2] for line in machine.logs("init", 1000))

    wait_until("their ends", lambda: all(ends(service) >= ENDS for service in SMALL), PATIENCE, interval=1.0)
    check_service(machine, workshop, tmp_path)
    # init itself was not ended: else the machine would have started again, and these lines would be of another start.
    assert all(machine.service(service)["restarts"] >= ENDS for service in SMALL)
