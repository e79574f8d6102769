"""A data partition without a free block: mail waits with its senders, everything else goes on."""

from __future__ import annotations

import smtplib
from pathlib import Path

import card
import pytest
import requests
from clients import ANSWER_TIMEOUT, STRANGER, Clients, new_message
from conftest import CARD_OPTION, Boot, Subject
from waiting import wait_until

#: Bytes that are left to services.
LEFT = 1 << 20
#: What the mail service holds back for its start on a full card, in bytes.
BALLAST = 8 << 20
SETTLE = 60.0


def test_mail_is_put_off_and_kept(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """452 for new mail, old mail can be read and deleted, the reason is said; with room again mail is taken."""
    state = tmp_path / "box"

    def start() -> Clients:
        nonlocal machine
        machine = boot(state, options=("--disk-size", CARD_OPTION))
        machine.wait_ready()
        return Clients(machine.forwards, subject.account, tmp_path)

    machine = None
    clients = start()
    kept, unwanted = (new_message(name, STRANGER, clients.account.address) for name in ("kept", "unwanted"))
    for message in (kept, unwanted):
        clients.deliver(message)
        clients.wait_message(message)
    total = machine.status()["data_total"]
    assert machine.power_off() == "power-off"
    card.fill_data(state / "virt.card", LEFT)

    clients = start()
    assert any("the card is full; what was held back" in line for line in machine.logs("mail"))
    status = wait_until("the reason", lambda: machine.service("mail")["detail"], SETTLE)
    assert status.startswith("the card is full: no new mail is taken"), status
    state_of_box = machine.status()
    assert state_of_box["ready"] and state_of_box["rescue"] is None
    assert state_of_box["data_free"] < BALLAST + LEFT < total
    refused = new_message("refused", STRANGER, clients.account.address)
    for _ in range(3):
        with clients.smtp() as smtp, pytest.raises(smtplib.SMTPSenderRefused) as why:
            smtp.send_message(refused, STRANGER, [clients.account.address])
        assert why.value.smtp_code == 452, why.value
    # With log-in too: what is written now stays in the outbox of the mail program.
    with clients.smtp(465) as smtp:
        smtp.login(clients.account.name, clients.account.password)
        assert smtp.mail(clients.account.address)[0] == 452
    assert clients.has_message(kept)
    clients.delete(unwanted)
    assert not clients.has_message(unwanted) and clients.has_message(kept)
    page = requests.get(f"{clients.https_url}/pair", verify=False, timeout=ANSWER_TIMEOUT)
    assert page.status_code == 200
    assert {service["restarts"] for service in machine.status()["services"]} == {0}
    assert machine.power_off() == "power-off"
    card.on_data(state / "virt.card", "rm filler")

    clients = start()
    clients.deliver(refused)
    clients.wait_message(refused)
    assert clients.has_message(kept) and not clients.has_message(unwanted)
    assert not machine.service("mail")["detail"]
