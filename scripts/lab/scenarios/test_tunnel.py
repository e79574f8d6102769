"""The booted box behind a relay of another make: mail comes through the tunnel, and only there mail would leave."""

from __future__ import annotations

import smtplib
from pathlib import Path

from clients import STRANGER, Clients, new_message, parse
from conftest import Boot, Subject
from distant import BOX, RELAY, DistantRelay
from laptop import Api, Laptop

PASSWORD = "wobbly lantern orbits quietly"
#: Seconds for a connection through it.
CONNECT_TIMEOUT = 10.0


def test_mail_through_the_relay(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Set by the laptop, refused if it is none, kept over a restart, taken away."""
    machine = boot(tmp_path / "box")
    machine.wait_ready()
    laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    assert machine.code
    laptop.pair(machine, "--code", machine.code)
    api = Api(machine, laptop)
    clients = Clients(machine.forwards, subject.account, tmp_path)
    key = api.wait_state("unconfigured")["public_key"]

    with DistantRelay(tmp_path) as relay:
        relay.expect(key)
        text = {
            "relay": {"public_key": relay.public_key, "endpoint": relay.endpoint, "address4": RELAY},
            "address4": BOX,
        }
        status, refused = api.call("PUT", "relay", {**text, "table": 254})
        assert status == 422 and "it is at least 1000" in refused["because"], refused
        assert api.call("PUT", "relay", text) == (204, None)
        up = api.wait_state("up")
        assert (up["addresses"], up["public_key"]) == ([BOX], key)

        def deliver(subject_line: str) -> None:
            message = new_message(subject_line, STRANGER, subject.account.address)
            with relay.machine.inside(), smtplib.SMTP(BOX, 25, timeout=CONNECT_TIMEOUT) as smtp:
                assert smtp.send_message(message, STRANGER, [subject.account.address]) == {}
            kept = parse(clients.wait_message(message))
            assert f"[{RELAY}]" in kept["Received"], kept["Received"]

        deliver("through the tunnel")
        machine.reboot()
        api.wait_state("up")
        deliver("after a restart")

        assert api.call("DELETE", "relay") == (204, None)
        api.wait_state("unconfigured")
        with relay.machine.inside():
            try:
                smtplib.SMTP(BOX, 25, timeout=CONNECT_TIMEOUT).close()
            except OSError:
                pass
            else:
                raise AssertionError("the box still answers through the tunnel")
        assert machine.service("tunnel")["restarts"] == 0
        assert machine.status()["ready"]
