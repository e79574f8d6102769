"""The power is cut ten times while mail comes in: what was acknowledged is there."""

from __future__ import annotations

import hashlib
import random
import smtplib
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from clients import ANSWER_TIMEOUT, STRANGER, Clients, new_message, fetch, parse, text_of
from conftest import Boot, Subject
from waiting import wait_until

CUTS = 10
#: Senders at work at the same time.
SENDERS = 2
#: Acknowledged messages before a cut, at least.
BEFORE_CUT = 5
#: Longest wait after the last of these, in seconds, so that the cut hits a random moment.
RANDOM_WAIT = 1.0
#: Seconds for all acknowledged messages to be in their folder after a start.
SETTLE = 120.0
#: Header with the SHA-256 of the text, so that damage is seen.
DIGEST = "X-Lab-Digest"


@dataclass
class Ledger:
    """What the box has acknowledged with 250."""

    acknowledged: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, message_id: str) -> None:
        """Notes an acknowledgement."""
        with self.changed:
            self.acknowledged.append(message_id)
            self.changed.notify_all()

    def wait_for(self, count: int, timeout: float) -> bool:
        """Waits until so many are noted."""
        with self.changed:
            return self.changed.wait_for(lambda: len(self.acknowledged) >= count, timeout)


def send_until_cut(clients: Clients, ledger: Ledger, seed: random.Random) -> None:
    """Delivers one message after the other until the connection breaks."""
    try:
        with clients.smtp() as smtp:
            while True:
                # From a line to more than what one write to the card holds.
                text = seed.randbytes(seed.choice([30, 2_000, 100_000])).hex() + "\n"
                message = new_message("in the stream", STRANGER, clients.account.address, text)
                message[DIGEST] = hashlib.sha256(text.encode()).hexdigest()
                smtp.send_message(message)
                ledger.add(message["Message-ID"])
    except (smtplib.SMTPServerDisconnected, OSError):
        return


def check_mail(clients: Clients, ledger: Ledger) -> int:
    """Every acknowledged message is there and whole; returns the number of surplus copies."""

    found: Counter[str] = Counter()

    def all_there() -> bool:
        found.clear()
        with clients.imap() as imap:
            state, counts = imap.select("INBOX", readonly=True)
            assert state == "OK", counts
            for raw in fetch(imap, ["1:*"]):
                message = parse(raw)
                digest = hashlib.sha256(text_of(message).encode()).hexdigest()
                assert digest == message[DIGEST], f"{message['Message-ID']} is damaged"
                found[message["Message-ID"]] += 1
        return set(ledger.acknowledged) <= set(found)

    try:
        wait_until("every acknowledged message", all_there, SETTLE, interval=1.0)
    except AssertionError as error:
        missing = set(ledger.acknowledged) - set(found)
        places = {message_id: clients.folders_of(message_id) for message_id in missing}
        raise AssertionError(
            f"{len(missing)} of {len(ledger.acknowledged)} acknowledged messages are not in the inbox: {places}"
        ) from error
    return sum(copies - 1 for copies in found.values())


def test_acknowledged_mail_survives(
    boot: Boot, subject: Subject, tmp_path: Path, record_property
) -> None:
    """After each cut the box starts by itself, without a repair by hand, with all its mail."""
    seed = random.Random(10)
    ledger = Ledger()
    surplus = 0
    for cut in range(CUTS + 1):
        machine = boot(tmp_path / "card", cpus=2)
        machine.wait_ready()
        assert machine.status()["rescue"] is None
        clients = Clients(machine.forwards, subject.account, tmp_path)
        surplus = check_mail(clients, ledger)
        if cut == CUTS:
            break
        senders = [
            threading.Thread(
                target=send_until_cut, args=(clients, ledger, random.Random(cut * SENDERS + number))
            )
            for number in range(SENDERS)
        ]
        for sender in senders:
            sender.start()
        before = len(ledger.acknowledged)
        enough = ledger.wait_for(before + BEFORE_CUT, ANSWER_TIMEOUT)
        ledger.wait_for(before + 1_000, seed.uniform(0, RANDOM_WAIT))
        machine.power_cut()
        for sender in senders:
            sender.join(ANSWER_TIMEOUT)
        assert enough, f"too few deliveries before cut {cut}: {len(ledger.acknowledged) - before}"
    record_property("acknowledged", len(ledger.acknowledged))
    record_property("surplus copies", surplus)
    print(f"{CUTS} cuts, {len(ledger.acknowledged)} messages acknowledged, {surplus} surplus copies")
