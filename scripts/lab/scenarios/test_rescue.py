"""A data partition that cannot be mounted: the box says so and changes nothing on the card."""

from __future__ import annotations

from pathlib import Path

import pytest

import card
from clients import ANSWER_TIMEOUT
from conftest import CARD_BYTES, Boot, Subject
from machine import BOOT_TIMEOUT, MachineError
from waiting import wait_until

#: Bytes at the start of the data partition that are destroyed, from and to. Without a superblock the
#: check gives up at once; with one but no group descriptors it has begun to repair when it gives up.
DESTROYED = {"superblock": (0, 1 << 16), "descriptors": (4096, 8192)}


@pytest.mark.parametrize("what", DESTROYED)
def test_nothing_is_formatted(boot: Boot, subject: Subject, tmp_path: Path, what: str) -> None:
    """Rescue state with a reason in plain words; off by request; not one byte of the card is another."""
    state = tmp_path / "box"
    file = card.insert(subject.image, state, CARD_BYTES)
    start, _ = card.partition(file, card.DATA)
    with file.open("r+b") as opened:
        first, end = DESTROYED[what]
        opened.seek(start + first)
        opened.write(b"\xa5" * (end - first))
    before = card.digest(file)

    machine = boot(state)
    reason = wait_until(
        "the rescue state",
        lambda: machine.status()["rescue"],
        BOOT_TIMEOUT,
        # Before init listens nobody answers.
        retry_on=(OSError, MachineError),
    )
    assert "data partition" in reason
    wait_until("the reason on the console", lambda: f"roost: rescue: {reason}" in machine.console(), ANSWER_TIMEOUT)
    status = machine.status()
    assert not status["ready"] and status["data_total"] == 0
    assert {service["state"] for service in status["services"]} == {"waiting"}
    assert machine.power_off() == "power-off"
    assert card.digest(file) == before
