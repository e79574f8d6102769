"""The booted box behind a relay that is made from its user data: mail from and to another's server, by the Elastic IP.

    peer (Postfix) ── internet (1:1 NAT) ── relay
                          └── home (router, NAT) ── box, whose tunnel leads to the relay

The home's line leads to the peer as well: mail that took it would show its address there.
"""

from __future__ import annotations

import os
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from clients import Clients, new_message, parse
from conftest import Boot, Subject
from home import CARD, Home
from internet import CLIENT4, CLIENT6, PUBLIC4, Relay, connect_client, why_not
from laptop import Api, Laptop
from namespaces import Machine
from postfix import DOMAIN, HOST, Postfix
from waiting import wait_until

PASSWORD = "wobbly lantern orbits quietly"
#: What the home's name server knows. The peer has an IPv6 address too, where no mail may go.
RECORDS = f"""
{DOMAIN}. MX 10 {HOST}.
{DOMAIN}. TXT "v=spf1 ip4:{CLIENT4} -all"
{HOST}. A {CLIENT4}
{HOST}. AAAA {CLIENT6}
10.100.51.198.in-addr.arpa. PTR {HOST}.
gmail.com. MX 10 {HOST}.
"""
BOB = f"bob@{DOMAIN}"
#: Seconds from one mail server to the other, when nothing is in the way.
TRANSFER_TIMEOUT = 60.0
#: Seconds in which mail that found another way would have come.
SILENCE = 5.0


def flash(subject: Subject, card: Path, folder: Path) -> None:
    """A card for the box of this home."""
    command = [str(subject.roost), "flash", str(card), "--image", str(subject.image), "--name", "roost", *CARD, "--yes", "--json"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "XDG_CONFIG_HOME": str(folder)})


def test_mail_in_and_out_by_the_elastic_ip(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """In with the peer's own address, out with the relay's, and not at all while there is no tunnel."""
    if why := why_not("mail through the relay"):
        pytest.skip(why)
    account = subject.account
    card = tmp_path / "card.img"
    flash(subject, card, tmp_path / "desk-of-the-card")
    machine = boot(tmp_path / "box", image=card, options=("--lan",))
    card.unlink()
    with (
        Machine("internet") as internet,
        Postfix(account.domain, PUBLIC4, tmp_path / "peer") as peer,
        Home(internet, str(machine.lan_path), RECORDS, tmp_path / "home") as home,
    ):
        connect_client(peer.machine, internet)
        machine.wait_ready()
        laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
        assert machine.code
        laptop.pair(machine, "--code", machine.code)
        api = Api(machine, laptop)
        clients = Clients(machine.forwards, account, tmp_path)
        home.wait_address(lambda: machine.status()["addresses"])

        def submit(subject_line: str) -> EmailMessage:
            message = new_message(subject_line, account.address, BOB)
            with clients.smtp(465) as smtp:
                smtp.login(account.name, account.password)
                assert smtp.send_message(message) == {}
            return message

        def wait_received(message: EmailMessage) -> EmailMessage:
            return wait_until(
                f"{message['Subject']!r} at the peer", lambda: peer.received(message), TRANSFER_TIMEOUT, interval=0.5
            )

        def waiting() -> list[str]:
            status, queue = api.call("GET", "mail/queue")
            assert status == 200, queue
            return [receiver["address"] for message in queue["messages"] for receiver in message["receivers"]]

        def attempts() -> int:
            # The last that the mail program says before it connects: it has looked for a policy, in vain.
            return sum("(mta-sts.policy-not-found)" in line and BOB in line for line in machine.logs("mail"))

        with Relay(internet, api.wait_state("unconfigured")["public_key"], tmp_path / "relay") as relay:
            assert api.call("PUT", "relay", relay.text) == (204, None)
            api.wait_state("up")

            coming = new_message("from another's server", BOB, account.address)
            peer.send(coming)
            kept = parse(clients.wait_message(coming))
            first = str(kept["Received"])
            assert f"[{CLIENT4}]" in first, f"the box does not say that the peer itself called: {first}"
            judged = str(kept["Received-SPF"])
            assert judged.startswith("pass ") and f"client-ip={CLIENT4};" in judged, judged

            going = wait_received(submit("to another's server"))
            first = str(going["Received"])
            assert f"[{PUBLIC4}]" in first, f"the peer was not called by the Elastic IP: {first}"
            assert peer.callers() == [PUBLIC4], peer.log()

            relay.down()
            api.wait_state("down")
            kept_back = submit("while there is no tunnel")
            wait_until("an attempt to deliver it", lambda: attempts() == 2, TRANSFER_TIMEOUT)
            time.sleep(SILENCE)
            assert waiting() == [BOB], "the message left without a tunnel"
            assert peer.callers() == [PUBLIC4], f"somebody called while there was no tunnel: {peer.log()}"

            relay.up()
            first = str(wait_received(kept_back)["Received"])
            assert f"[{PUBLIC4}]" in first, f"the peer was not called by the Elastic IP: {first}"
            assert peer.callers() == [PUBLIC4] * 2, peer.log()
            # What the owner is told of it, by one of the receivers that the box tries.
            status, tried = api.call("GET", "port25")
            assert (status, tried["state"]) == (200, "open"), tried
            assert peer.callers() == [PUBLIC4] * 3, peer.log()
            assert home.mail_packets() == 0, "the box tried to send mail by the home's own line"

            # What was counted would have been seen: without a relay, mail takes the home's line.
            assert api.call("DELETE", "relay") == (204, None)
            api.wait_state("unconfigured")
            submit("with no relay")
            wait_until("mail on the home's line", lambda: home.mail_packets() > 0, TRANSFER_TIMEOUT, interval=0.5)
        assert machine.service("tunnel")["restarts"] == 0
        assert machine.status()["ready"]
