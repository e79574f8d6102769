"""Services that start busy threads without end: each comes to its own limit, and mail has its share of the processor."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot
from strangers import PATIENCE, boot_with, check_service, used_up
from updates import Workshop
from waiting import wait_until

#: Who does it, and what each may have, with its first thread.
SERVICES, TASKS = ("certificates", "updater"), 64


def test_threads_without_end(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Two services have all the threads that they may, and want more all the time."""
    machine = boot_with(boot, workshop, tmp_path, "tasks", SERVICES)

    def all_of_them() -> dict[str, tuple[int, str]] | None:
        kept = {service: used_up(machine, service, "tasks") for service in SERVICES}
        return {service: found for service, found in kept.items() if found} if all(kept.values()) else None

    kept = wait_until("the threads of all", all_of_them, PATIENCE, interval=1.0)
    assert all(count < TASKS and "unavailable" in why for count, why in kept.values()), kept
    check_service(machine, workshop, tmp_path)
    lines = machine.logs("init", 1000)
    for service in SERVICES:
        assert any(f"{service} wanted more than {TASKS} processes and threads" in line for line in lines), lines
        assert machine.service(service)["restarts"] == 0
