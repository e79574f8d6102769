"""Cards written by `roost flash`, into a file: one that is complete and one that is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from screen import logs

NAME = "attic"
#: The address that the emulator's forwards lead to; the box must not have asked for it.
ADDRESS = "10.0.2.15/24"
#: Exit code after Ctrl-C.
INTERRUPTED = 130


def flash(subject: Subject, card: Path) -> list[str]:
    """The command that writes the image under test."""
    own = ["--name", NAME, "--static", ADDRESS, "--gateway", "10.0.2.2", "--dns", "10.0.2.3"]
    return [str(subject.roost), "flash", str(card), "--image", str(subject.image), *own, "--yes", "--json"]


def test_box_is_what_its_card_says(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Name and address are the card's, also after a restart; the rest is the image's."""
    card = tmp_path / "card.img"
    home = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}
    done = subprocess.run(flash(subject, card), check=True, capture_output=True, text=True, env=home)
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["address"] == f"https://{NAME}.local", result
    assert len(result["pairing_code"].replace("-", "")) == 8

    machine = boot(tmp_path / "box", image=card)
    # `roost run` keeps what `roost flash` has put on the card.
    assert machine.code == result["pairing_code"]
    assert machine.fingerprint == result["fingerprint"]
    machine.wait_ready()
    for _ in range(2):
        status = machine.status()
        assert status["name"] == NAME
        assert ADDRESS in status["addresses"]
        assert not any("DHCP" in line for line in machine.logs("init"))
        machine.reboot()
    # No secret of the card is in a log.
    assert result["pairing_code"] not in logs(machine)
    clients = Clients(machine.forwards, subject.account, tmp_path)
    message = new_message("to a flashed box", STRANGER, subject.account.address)
    clients.deliver(message)
    clients.wait_message(message)


def test_card_that_is_not_complete_does_not_boot(subject: Subject, tmp_path: Path) -> None:
    """Ctrl-C while it is written: the command says so, and there is nothing to boot from."""
    card = tmp_path / "card.img"
    command = subprocess.Popen(flash(subject, card), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert command.stdout is not None
    said = ""
    for line in command.stdout:
        said += line
        event = json.loads(line)
        if (event.get("name"), event.get("state")) == ("write", "started"):
            command.send_signal(signal.SIGINT)
    assert command.wait() == INTERRUPTED, said
    assert "does not boot" in said
    run = subprocess.run(
        [str(subject.roost), "run", "--image", str(card), "--state", str(tmp_path / "box"), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1, run
    assert "partition table" in run.stdout + run.stderr
