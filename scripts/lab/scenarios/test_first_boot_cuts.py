"""Power cuts while the first boot grows the partition, makes keys and opens the mail store."""

from __future__ import annotations

import time
from pathlib import Path

from clients import STRANGER, Clients, new_message
from conftest import CARD_BYTES, CARD_OPTION, Boot, Subject
from waiting import wait_until

#: Seconds after the emulator's start at which the power goes; a first boot takes about ten.
CUTS = (3.0, 5.0, 6.5, 8.0, 9.5)


def test_a_first_boot_is_taken_up_again(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """However far it came: the next start needs no help, and the last one serves."""
    state = tmp_path / "box"
    for seconds in CUTS:
        machine = boot(state, options=("--disk-size", CARD_OPTION))
        began = time.monotonic()
        wait_until("the moment of the cut", lambda: time.monotonic() - began > seconds, seconds + 5, interval=0.05)
        machine.power_cut()
        assert "roost: rescue:" not in machine.console()
    machine = boot(state)
    machine.wait_ready()
    status = machine.status()
    assert status["rescue"] is None
    # Everything behind the end of the image was added to the data partition.
    assert status["data_total"] > CARD_BYTES - subject.image.stat().st_size
    clients = Clients(machine.forwards, subject.account, tmp_path)
    message = new_message("after a bad start", STRANGER, subject.account.address)
    clients.deliver(message)
    clients.wait_message(message)
