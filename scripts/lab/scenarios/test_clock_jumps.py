"""One time server of several tells a time years ahead; the others cannot be reached. What waits for the time: backups.

The box backs up to an SFTP server of its owner's here, then to a bucket of an S3 server, because this is the one with a
clock that is set; and a new card is made from what is at either.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import subprocess
import urllib.request
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aws
from clients import STRANGER, Clients, new_message, parse
from conftest import Boot, Subject
from laptop import Laptop
from machine import BOOT_TIMEOUT, Machine
from neighbour import SYNC_TIMEOUT, TIME_SETTINGS, Neighbour
from screen import flash
from sshd import Sshd
from waiting import wait_until

CONFIG = Path(__file__).resolve().parents[1] / "roost.toml"
#: How far the liar is ahead, in seconds.
AHEAD = 5 * 365 * 86_400.0
#: This machine, as the emulated box sees it.
HOST = "10.0.2.2"
PASSWORD = "wobbly lantern orbits quietly"


def test_years_ahead(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """The time is not trusted and not kept, no service is started again, mail stays in order; honest time is followed."""
    config = tmp_path / "roost.toml"
    config.write_text(CONFIG.read_text() + TIME_SETTINGS)
    output = tmp_path / "out"
    subprocess.run(
        [str(subject.roost), "build", "--quiet", "--offline", "--config", str(config), "--output", str(output)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    card = tmp_path / "card.img"
    flash(replace(subject, image=output / "roost.img"), card)
    machine = boot(tmp_path / "box", image=card, options=("--lan",))
    machine.wait_ready()
    laptop = Laptop(subject.roost, tmp_path / "laptop", PASSWORD)
    assert machine.code
    laptop.pair(machine, "--code", machine.code)
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
    assert subjects(clients) == ["before", "during", "after"]
    cards = []
    with ExitStack() as stack:
        places: list[tuple[Callable[..., tuple[str, ...]], Any]] = [(backs_up_to, stack.enter_context(Sshd(tmp_path / "sshd")))]
        if aws.MISSING:
            warnings.warn("no terraform or no schema, so no moto: NOTHING of a bucket was tested", stacklevel=1)
        else:
            places.append((backs_up_into, stack.enter_context(aws.moto_server(tmp_path))))
        for backs_up, at in places:
            here = backs_up(at, laptop, machine, tmp_path)
            cards.append(tmp_path / f"{backs_up.__name__}.img")
            scratch = ("--scratch", str(tmp_path), "--image", str(output / "roost.img"))
            restored = laptop.run("restore", here[0], str(cards[-1]), *here[1:], *scratch, "--yes")[-1]
            assert restored["fingerprint"] == machine.fingerprint
    machine.power_cut()
    for card in cards:
        again = boot(tmp_path / card.stem, image=card)
        card.unlink()
        again.wait_ready()
        assert again.fingerprint == machine.fingerprint
        assert subjects(Clients(again.forwards, subject.account, tmp_path)) == ["before", "during", "after"]
        again.power_cut()


def subjects(clients: Clients) -> list[str]:
    """Of all messages in the inbox."""
    with clients.imap() as imap:
        imap.select("INBOX", readonly=True)
        state, parts = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    assert state == "OK"
    return [str(parse(part[1])["Subject"]) for part in parts if isinstance(part, tuple)]


def backs_up_to(server: Sshd, laptop: Laptop, machine: Machine, folder: Path) -> tuple[str, ...]:
    """By the box's own key, to the server that was confirmed and no other; the laptop and restic read what is there.

    Gives the place and the options by which the laptop reads it.
    """
    at, place = ("--box", laptop.at(machine)), server.place(HOST, "attic")
    target = ("backup", "target", "set", place, "--host-key", server.fingerprint, *at)
    error = json.dumps(laptop.run("backup", "target", "set", place, *at, expect=2)[-1])
    assert f"{HOST}:{server.port} shows {server.fingerprint}" in error, error
    error = json.dumps(laptop.run(*target, expect=1)[-1])
    assert "does not take the key" in error, error
    server.authorize(laptop.run("backup", "target", "key", *at)[-1]["key"])
    laptop.run(*target)
    made, code = backed_up(laptop, machine, folder)
    # The laptop signs in by itself, with a key of its owner's.
    own = folder / "owner"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(own)], check=True)
    server.authorize(own.with_suffix(".pub").read_text().strip())
    here = (server.place("127.0.0.1", "attic"), "--host-key", server.fingerprint, "--key-file", str(own), "--code-file", str(code))
    listed = laptop.run("backup", "list", *here)[-1]["backups"]
    assert made["id"] in [one["id"] for one in listed], listed
    restic(str(server.home / "attic"), code)
    return here


def backs_up_into(moto: str, laptop: Laptop, machine: Machine, folder: Path) -> tuple[str, ...]:
    """Into a bucket from now on; the rest as `backs_up_to`."""
    urllib.request.urlopen(urllib.request.Request(f"{moto}/attic", method="PUT"), timeout=60)
    secret = folder / "secret"
    secret.write_text(aws.ACCOUNT["AWS_SECRET_ACCESS_KEY"])
    place, key = "s3://attic/box", ("--key-id", aws.ACCOUNT["AWS_ACCESS_KEY_ID"], "--secret-file", str(secret))
    seen_by_the_box = moto.replace("127.0.0.1", HOST)
    laptop.run("backup", "target", "set", place, "--endpoint", seen_by_the_box, *key, "--box", laptop.at(machine))
    made, code = backed_up(laptop, machine, folder)
    here = (place, "--endpoint", moto, *key, "--code-file", str(code))
    listed = laptop.run("backup", "list", *here)[-1]["backups"]
    assert made["id"] in [one["id"] for one in listed], listed
    restic(f"s3:{moto}/attic/box", code)
    return here


def backed_up(laptop: Laptop, machine: Machine, folder: Path) -> tuple[dict[str, Any], Path]:
    """A backup that was made and proven, and the code that opens it."""
    at = ("--box", laptop.at(machine))
    # The first begins at once.
    wait_until("the first backup", lambda: laptop.run("backup", "status", *at)[-1]["made"], BOOT_TIMEOUT, interval=1.0)
    made = laptop.run("backup", "now", *at)[-1]["made"]
    proof = laptop.run("backup", "prove", *at)[-1]["proof"]
    assert proof["id"] == made["id"] and proof["fault"] is None, proof
    code = folder / "code.txt"
    code.write_text(laptop.run("backup", "code", *at)[-1]["recovery_code"])
    return made, code


def restic(repository: str, code: Path) -> None:
    """Another program than the one that made it reads every byte of it."""
    done = subprocess.run(
        ["restic", "--no-cache", "--repo", repository, "check", "--read-data"],
        env={"RESTIC_PASSWORD": code.read_text().strip(), "PATH": "/usr/bin:/bin", **aws.ACCOUNT},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


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
