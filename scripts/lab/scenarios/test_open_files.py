"""Services that open files without end: each comes to its own limit, and everybody else opens theirs."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot
from strangers import PATIENCE, SMALL, boot_with, check_service, limit, used_up
from updates import Workshop
from waiting import wait_until

#: What a service may have where its spec says nothing else, and how many it has open before it begins.
USUAL, OWN = 1024, 16


def test_files_without_end(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Five services have all the files open that they may, and try to open more all the time."""
    machine = boot_with(boot, workshop, tmp_path, "files")

    def all_of_them() -> dict[str, tuple[int, str]] | None:
        kept = {service: used_up(machine, service, "files") for service in SMALL}
        return {service: found for service, found in kept.items() if found} if all(kept.values()) else None

    kept = wait_until("the files of all", all_of_them, PATIENCE, interval=1.0)
    for service, (count, why) in kept.items():
        most = limit(service, "open_files", USUAL)
        assert most - OWN < count < most and "Too many open files" in why, (service, count, why)
    check_service(machine, workshop, tmp_path)
    assert all(machine.service(service)["restarts"] == 0 for service in SMALL)
