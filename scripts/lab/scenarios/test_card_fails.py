"""A card that takes no more writes while the box runs."""

from __future__ import annotations

import smtplib
from pathlib import Path

import card
from clients import ANSWER_TIMEOUT, STRANGER, Clients, new_message
from conftest import Boot, Subject
from machine import BOOT_TIMEOUT
from waiting import wait_until

#: Seconds until the kernel has given up and init says so.
NOTICED = 90.0


def test_it_is_said_and_mail_is_kept(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """No 250 for what is not on the card; the reason in plain words; a restart with a card that writes again heals it."""
    machine = boot(tmp_path / "box")
    machine.wait_ready()
    clients = Clients(machine.forwards, subject.account, tmp_path)
    kept = new_message("kept", STRANGER, clients.account.address)
    clients.deliver(kept)
    clients.wait_message(kept)

    start, _ = card.partition(machine.state / "virt.card", card.DATA)
    machine.break_card(start)
    refused = new_message("refused", STRANGER, clients.account.address)
    code = answer(clients, refused)
    assert code is None or 400 <= code < 500, code
    reason = wait_until("the box to notice", lambda: machine.status()["rescue"], NOTICED)
    assert reason.startswith("the card is failing") and "restart the box" in reason
    wait_until("the reason on the console", lambda: f"roost: rescue: {reason}" in machine.console(), ANSWER_TIMEOUT)
    status = machine.status()
    assert not status["ready"] and status["data_total"] > 0
    states = {service["name"]: service["state"] for service in status["services"]}
    assert states["portal"] == "ready" and states["dns"] == "ready", states
    code = answer(clients, refused)
    assert code is None or 400 <= code < 500, code

    machine.break_card(None)
    machine.control("reboot", "ok")
    machine.hang_up()
    machine.wait_event("reset", BOOT_TIMEOUT)
    machine.wait_ready()
    assert machine.status()["rescue"] is None
    clients.deliver(refused)
    clients.wait_message(refused)
    assert clients.has_message(kept)


def answer(clients: Clients, message) -> int | None:
    """The answer to a message: its code, or none where there was no conversation."""
    try:
        clients.deliver(message)
    except smtplib.SMTPResponseException as error:
        return error.smtp_code
    except (smtplib.SMTPException, OSError):
        return None
    return 250
