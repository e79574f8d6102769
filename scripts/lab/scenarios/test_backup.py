"""Backups pulled by a laptop, and a new card from one: the same box, with everything in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from laptop import Laptop
from screen import flash

PASSWORD = "wobbly lantern orbits quietly"
#: Seconds for a command that reads, writes and compares a whole card.
CARD_TIMEOUT = 900
#: Bytes that a second backup may add when a few messages have come: much less than the first.
SMALL = 2_000_000
#: What tells a restored card from the one before.
GENERATION = "services/tunnel/generation.json"
#: Files of a backup that a box is known by.
KEYS = ("services/mail/", "services/dns/", "services/tunnel/", "services/portal/identity.pem")


def keys(subject: Subject, folder: Path, code: Path, into: Path) -> dict[str, bytes]:
    """What the newest backup has of keys, got back by restic: another program than the one that made it."""
    subprocess.run(
        ["restic", "--no-cache", "--repo", str(folder), "restore", "latest", "--target", str(into)],
        check=True, capture_output=True, env={"RESTIC_PASSWORD": code.read_text().strip(), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    data = into / "data"
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.suffix in {".pem", ".key", ".json"} and str(path.relative_to(data)).startswith(KEYS)
    }


def test_new_card_is_the_same_box(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Mail, a backup, more mail, a second one that is small; the card is thrown away, and all is there again."""
    card = tmp_path / "card.img"
    flash(subject, card)
    machine = boot(tmp_path / "box", image=card)
    machine.wait_ready()
    fingerprint = machine.fingerprint
    laptop = Laptop(subject.roost, tmp_path / "laptop", PASSWORD)
    assert machine.code
    laptop.pair(machine, "--code", machine.code)
    clients = Clients(machine.forwards, subject.account, tmp_path)
    early = [new_message(f"before the first backup {n}", STRANGER, subject.account.address, "x" * 20_000) for n in range(5)]
    for message in early:
        clients.deliver(message)
        clients.wait_message(message)

    at, folder = ("--box", laptop.at(machine)), tmp_path / "backups"
    first = laptop.run("backup", str(folder), *at)[-1]
    assert first["backup"]["added"] > 0, first
    late = new_message("between the backups", STRANGER, subject.account.address)
    clients.deliver(late)
    clients.wait_message(late)
    second = laptop.run("backup", str(folder), *at)[-1]
    assert 0 < second["sent"] < SMALL, second
    assert second["sent"] < first["sent"], (first, second)
    code = tmp_path / "code.txt"
    code.write_text(laptop.run("backup", "code", *at)[-1]["recovery_code"])
    listed = laptop.run("backup", "list", str(folder), "--code-file", str(code))[-1]["backups"]
    assert [one["id"] for one in listed] == [first["backup"]["id"], second["backup"]["id"]]
    proven = laptop.run("backup", "check", str(folder), "--code-file", str(code))[-1]
    assert proven["backup"]["id"] == second["backup"]["id"]
    assert proven["files"] == second["backup"]["files"] - 1, (proven, second)
    before = keys(subject, folder, code, tmp_path / "before")
    assert any("dkim" in name for name in before), before.keys()
    # The card is gone for good.
    machine.power_cut()
    card.unlink()
    for left in (tmp_path / "box").glob("*.card"):
        left.unlink()

    new = tmp_path / "new.img"
    restored = restore(subject, laptop, folder, new, code)
    assert restored["fingerprint"] == fingerprint
    machine = boot(tmp_path / "again", image=new)
    machine.wait_ready()
    assert machine.fingerprint == fingerprint
    # All mail, by the password of before; what had come after the first backup too.
    clients = Clients(machine.forwards, subject.account, tmp_path)
    for message in [*early, late]:
        assert clients.has_message(message), message["Subject"]
    # The laptop is still known, and the next backup goes on in the same folder.
    at = ("--box", laptop.at(machine))
    later = new_message("to the new card", STRANGER, subject.account.address)
    clients.deliver(later)
    clients.wait_message(later)
    third = laptop.run("backup", str(folder), *at)[-1]
    assert third["sent"] < first["sent"], (first, third)
    assert laptop.run("backup", "code", *at)[-1]["recovery_code"] == code.read_text()
    after = keys(subject, folder, code, tmp_path / "after")
    # All but the number by which the relay knows the newer card.
    numbers = [json.loads(found.pop(GENERATION))["number"] for found in (before, after)]
    assert numbers[0] < numbers[1], numbers
    assert {name: before[name] for name in after if name in before} == {
        name: after[name] for name in after if name in before
    }
    assert set(before) <= set(after)
    # It stays the same box after a restart, which checks the file system.
    machine.reboot()
    assert clients.has_message(later)


def restore(subject: Subject, laptop: Laptop, folder: Path, card: Path, code: Path) -> dict[str, Any]:
    """`roost restore` into a file; gives its result."""
    done = subprocess.run(
        [
            str(subject.roost), "restore", str(folder), str(card), "--image", str(subject.image),
            "--code-file", str(code), "--scratch", str(laptop.folder), "--yes", "--json",
        ],
        env=laptop.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CARD_TIMEOUT,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_wrong_code_opens_nothing(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Neither does a folder of another box take this one's backups."""
    card = tmp_path / "card.img"
    flash(subject, card)
    machine = boot(tmp_path / "box", image=card)
    machine.wait_ready()
    laptop = Laptop(subject.roost, tmp_path / "laptop", PASSWORD)
    assert machine.code
    laptop.pair(machine, "--code", machine.code)
    folder, code = tmp_path / "backups", tmp_path / "code.txt"
    laptop.run("backup", str(folder), "--box", laptop.at(machine))
    code.write_text("legal winner thank year wave sausage worth useful legal winner thank yellow")
    error = laptop.run("backup", "list", str(folder), "--code-file", str(code), expect=1)[-1]
    assert "does not open" in json.dumps(error), error
    code.write_text("legal winner thank year wave sausage worth useful legal winner thank thank")
    error = laptop.run("backup", "list", str(folder), "--code-file", str(code), expect=2)[-1]
    assert "do not belong together" in json.dumps(error), error
