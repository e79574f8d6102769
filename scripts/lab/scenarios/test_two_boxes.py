"""Two booted boxes with the same keys at one relay: the old card stands down, and the restored one serves."""

from __future__ import annotations

import smtplib
from pathlib import Path

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from distant import BOX, RELAY, DistantRelay
from laptop import Api, Laptop
from screen import flash
from test_backup import restore
from waiting import wait_until

PASSWORD = "wobbly lantern orbits quietly"
#: Seconds until a box has noticed that another serves; on the way are a handshake and a question every 20 s.
NOTICED = 150.0
#: Seconds until a card that was restored serves: it waits for the lease of the one before, which is a minute.
SERVES = 240.0
#: Seconds for a connection through the relay.
CONNECT_TIMEOUT = 10.0
#: Seconds in which the relay learns at which of two addresses the box is now.
MOVED = 90.0


def test_the_restored_card_serves_and_the_old_one_stands_down(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """For good, over a restart; until the owner takes the place back."""
    card = tmp_path / "card.img"
    flash(subject, card)
    old = boot(tmp_path / "old", image=card)
    old.wait_ready()
    laptop = Laptop(subject.roost, tmp_path / "laptop", PASSWORD)
    assert old.code
    laptop.pair(old, "--code", old.code)
    at_old = Api(old, laptop)
    with DistantRelay(tmp_path) as relay:
        relay.remember(tmp_path / "memory")
        relay.expect(at_old.wait_state("unconfigured")["public_key"])
        text = {
            "relay": {"public_key": relay.public_key, "endpoint": relay.endpoint, "address4": RELAY},
            "address4": BOX,
        }
        assert at_old.call("PUT", "relay", text) == (204, None)
        assert at_old.wait_state("up")["guarded"] is True

        def deliver(subject_line: str, clients: Clients) -> None:
            message = new_message(subject_line, STRANGER, subject.account.address)

            def sent() -> bool:
                with relay.machine.inside(), smtplib.SMTP(BOX, 25, timeout=CONNECT_TIMEOUT) as smtp:
                    return smtp.send_message(message, STRANGER, [subject.account.address]) == {}

            wait_until("a box that answers at the relay", sent, MOVED, retry_on=(OSError,))
            clients.wait_message(message)

        deliver("to the old card", Clients(old.forwards, subject.account, tmp_path))
        folder, code = tmp_path / "backups", tmp_path / "code.txt"
        laptop.run("backup", str(folder), "--box", laptop.at(old))
        code.write_text(laptop.run("backup", "code", "--box", laptop.at(old))[-1]["recovery_code"])
        again = tmp_path / "again.img"
        restore(subject, laptop, folder, again, code)
        new = boot(tmp_path / "new", image=again)
        new.wait_ready()
        at_new = Api(new, laptop)

        said = at_old.wait_state("replaced", NOTICED)["summary"]
        assert "another card with this box's keys, made on " in said, said
        assert at_new.wait_state("up", SERVES)["guarded"] is True
        assert at_old.call("GET", "tunnel")[1]["state"] == "replaced"
        deliver("to the new card", Clients(new.forwards, subject.account, tmp_path))
        checks = {check["id"]: check for check in at_old.call("GET", "health")[1]["checks"]}
        assert checks["tunnel-alone"]["level"] == checks["tunnel-up"]["level"] == "failed", checks
        assert "`roost relay takeover`" in checks["tunnel-alone"]["to_do"]

        # It stays so, and the new one is not disturbed.
        connected = new.service("tunnel")["restarts"]
        old.reboot()
        at_old.wait_state("replaced")
        deliver("after a restart of the old card", Clients(new.forwards, subject.account, tmp_path))
        assert new.service("tunnel")["restarts"] == connected

        laptop.run("relay", "takeover", "--yes", "--no-wait", "--box", laptop.at(old))
        at_new.wait_state("replaced", NOTICED)
        at_old.wait_state("up", SERVES)
        deliver("to the old card again", Clients(old.forwards, subject.account, tmp_path))
        assert laptop.run("relay", "takeover", "--yes", "--box", laptop.at(old), expect=1)
        for machine in (old, new):
            assert machine.service("tunnel")["restarts"] == 0
            assert machine.status()["ready"]
