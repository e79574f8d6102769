"""Factory reset: by a file on the card's first partition and by asking init; also with a power cut in the middle."""

from __future__ import annotations

import json
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from machine import BOOT_TIMEOUT, STOP_TIMEOUT, Machine
from screen import NAME, SHOWN_TIMEOUT, block, flash, logs
from waiting import wait_until

#: What init says when the owner's data is gone.
WIPED = "factory reset: mail, accounts and settings are gone"
#: A code that nobody has used.
NEW_CODE = "7QXM4KPB"


def deliver(machine: Machine, subject: Subject, folder: Path) -> EmailMessage:
    """A message that a reset has to take away."""
    clients = Clients(machine.forwards, subject.account, folder)
    message = new_message("before the reset", STRANGER, subject.account.address)
    clients.deliver(message)
    clients.wait_message(message)
    return message


def assert_new(
    machine: Machine, subject: Subject, folder: Path, message: EmailMessage, code: str, old: str
) -> None:
    """A box as new: no mail, its name, the new code on the screen, the old one nowhere."""
    status = machine.status()
    assert status["name"] == NAME

    def shown() -> str | None:
        last = block(machine.console())
        return last if code in last else None

    last = wait_until("the new code on the console", shown, SHOWN_TIMEOUT)
    assert f"https://{NAME}.local" in last
    assert old not in last
    assert code not in logs(machine)
    clients = Clients(machine.forwards, subject.account, folder)
    assert not clients.has_message(message)


def test_by_a_file_on_the_card(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """`roost reset --card`: obeyed at the next start, and only then."""
    card = tmp_path / "card.img"
    old = flash(subject, card)["pairing_code"]
    state = tmp_path / "box"
    machine = boot(state, image=card)
    machine.wait_ready()
    message = deliver(machine, subject, tmp_path)
    machine.power_off()

    command = [str(subject.roost), "reset", "--card", str(state / "virt.card"), "--yes", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    code = json.loads(done.stdout.splitlines()[-1])["pairing_code"]
    assert code != old

    machine = boot(state, image=card)
    machine.wait_ready()
    assert any(WIPED in line for line in machine.logs("init"))
    assert_new(machine, subject, tmp_path, message, code, old)
    # The file is still there, and is no second wish.
    later = deliver(machine, subject, tmp_path)
    machine.reboot()
    assert not any(WIPED in line for line in machine.logs("init")[-50:])
    assert Clients(machine.forwards, subject.account, tmp_path).has_message(later)


def test_asked_of_the_box(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """By request, as portal and `roost reset` make it: the box restarts as new."""
    card = tmp_path / "card.img"
    old = flash(subject, card)["pairing_code"]
    machine = boot(tmp_path / "box", image=card)
    machine.wait_ready()
    message = deliver(machine, subject, tmp_path)
    machine.control("factory_reset", "ok", code=NEW_CODE)
    machine.hang_up()
    machine.wait_event("reset", STOP_TIMEOUT)
    machine.wait_ready()
    assert_new(machine, subject, tmp_path, message, f"{NEW_CODE[:4]}-{NEW_CODE[4:]}", old)


@pytest.mark.parametrize("seconds", [2.0, 9.0, 12.0])
def test_a_cut_is_taken_up_again(boot: Boot, subject: Subject, tmp_path: Path, seconds: float) -> None:
    """The power is cut some seconds after the acknowledged request, and once more in the start that wipes."""
    card = tmp_path / "card.img"
    old = flash(subject, card)["pairing_code"]
    state = tmp_path / "box"
    machine = boot(state, image=card)
    machine.wait_ready()
    message = deliver(machine, subject, tmp_path)
    machine.control("factory_reset", "ok", code=NEW_CODE)
    time.sleep(seconds)
    machine.power_cut()

    machine = boot(state, image=card)
    time.sleep(seconds)
    machine.power_cut()

    machine = boot(state, image=card)
    machine.wait_ready(BOOT_TIMEOUT)
    assert_new(machine, subject, tmp_path, message, f"{NEW_CODE[:4]}-{NEW_CODE[4:]}", old)
