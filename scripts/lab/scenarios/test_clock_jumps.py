"""One time server of several tells a time years ahead; the others cannot be reached."""

from __future__ import annotations

import datetime
import email.utils
import subprocess
from pathlib import Path

from clients import STRANGER, Clients, new_message, parse
from conftest import Boot, Subject
from machine import BOOT_TIMEOUT
from neighbour import OWN_ADDRESS, Neighbour
from waiting import wait_until

CONFIG = Path(__file__).resolve().parents[1] / "roost.toml"
#: Two addresses that nobody has (RFC 3849).
TIME = f"""
[time]
servers = ["{OWN_ADDRESS}", "2001:db8:1:2::fe", "2001:db8:1:2::fd"]
"""
#: How far the liar is ahead, in seconds.
AHEAD = 5 * 365 * 86_400.0
#: Seconds until the box has asked all three.
SYNC_TIMEOUT = 240.0


def test_years_ahead(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """The time is not trusted and not kept, no service is started again, mail stays in order; honest time is followed."""
    config = tmp_path / "roost.toml"
    config.write_text(CONFIG.read_text() + TIME)
    output = tmp_path / "out"
    subprocess.run(
        [str(subject.roost), "build", "--quiet", "--offline", "--config", str(config), "--output", str(output)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    machine = boot(tmp_path / "box", image=output / "roost.img", options=("--lan",))
    machine.wait_ready()
    clients = Clients(machine.forwards, subject.account, tmp_path)
    before = machine.status()
    assert abs(ahead_of_us(clients, "before")) < 120

    with Neighbour(machine.lan_path, AHEAD) as neighbour:
        heard(machine, neighbour, "one time server alone says so")
    jumped = machine.status()
    assert not jumped["clock_synced"], "nothing may be signed by it"
    assert jumped["ready"] and pids(jumped) == pids(before)
    assert abs(ahead_of_us(clients, "during") - AHEAD) < 120
    # Timers go by the time since the start: a killed service is back as soon as ever.
    machine.kill("portal")
    machine.wait_service_ready("portal", BOOT_TIMEOUT)

    machine.reboot()
    with Neighbour(machine.lan_path) as neighbour:
        heard(machine, neighbour, "clock set, moved by")
    assert machine.status()["clock_synced"]
    assert abs(ahead_of_us(clients, "after")) < 120
    with clients.imap() as imap:
        imap.select("INBOX", readonly=True)
        state, parts = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert state == "OK"
    assert [str(parse(part[1])["Subject"]) for part in parts if isinstance(part, tuple)] == ["before", "during", "after"]


def heard(machine, neighbour: Neighbour, line: str) -> None:
    """Waits until init says this of the time server's answer."""

    def said() -> bool:
        neighbour.announce()
        return any(line in said for said in machine.logs("init"))

    wait_until(f"{line!r} in init's log", said, SYNC_TIMEOUT, interval=1.0)


def ahead_of_us(clients: Clients, subject: str) -> float:
    """How far the box's clock is ahead of this machine's, by the time stamp on a message."""
    message = new_message(subject, STRANGER, clients.account.address)
    clients.deliver(message)
    received = str(parse(clients.wait_message(message))["Received"])
    stamp = email.utils.parsedate_to_datetime(received.rsplit(";", 1)[1].strip())
    return (stamp - datetime.datetime.now(datetime.timezone.utc)).total_seconds()


def pids(status: dict) -> dict[str, int]:
    """The process of each service."""
    return {service["name"]: service["pid"] for service in status["services"]}
