"""What the box logs: over a restart and a power cut, while it comes, and without secrets."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import card
from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from laptop import Laptop
from machine import Machine
from waiting import wait_until

PASSWORD = "wobbly lantern orbits quietly"
#: Seconds until lines are on the card: init writes them once a minute.
SPILLED = 90.0
#: A line begins with the time it was written, or with the seconds since the kernel's start.
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z|\[ *\d+\.\d{3}\]) ")


def everything(machine: Machine) -> str:
    """All lines of all logs, those of earlier boots included."""
    names = ["init", "kernel", *(service["name"] for service in machine.status()["services"])]
    return "\n".join(line for name in names for line in machine.logs(name, 5000, None))


def on_card(machine: Machine, folder: Path) -> str:
    """What is in the card's folder of logs."""
    file = machine.state / "virt.card"
    start, _ = card.partition(file, card.DATA)
    folder.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump /log {folder}", f"{file}?offset={start}"], capture_output=True, check=True)
    files = list(folder.glob("log/*"))
    assert any(file.name == "init.log" for file in files), files
    return "\n".join(file.read_text() for file in files)


def test_logs_outlive_the_box(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """One story: pair, follow, restart, power cut, and what is on the card after it."""
    machine = boot(tmp_path / "card")
    machine.wait_ready()
    assert machine.code
    code = machine.code
    desk = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    desk.pair(machine, "--code", code)

    follows = desk.start("logs", "--follow", "--lines", "1", "mail", "--box", desk.at(machine))
    assert follows.stdout is not None
    follows.stdout.readline()
    clients = Clients(machine.forwards, subject.account, tmp_path)
    message = new_message("for the log", STRANGER, subject.account.address)
    clients.deliver(message)
    clients.wait_message(message)
    line = follows.stdout.readline()
    assert '"event":"log"' in line, line
    follows.kill()
    follows.communicate()

    lines = machine.logs("mail") + machine.logs("init") + machine.logs("kernel", 2000)
    assert all(STAMP.match(line) for line in lines), [line for line in lines if not STAMP.match(line)]
    assert any("Linux version" in line for line in machine.logs("kernel", 5000))

    said = machine.logs("init")[0].split(" ", 1)[1]
    machine.reboot()
    assert any(line.endswith(said) for line in machine.logs("init", 5000, 1))
    together = machine.logs("init", 5000, None)
    assert together[0].startswith("-- the box was started"), together[0]
    assert sum(line.startswith("-- the box was started") for line in together) == 2

    first = machine.logs("init")[0].split(" ", 1)[1]
    uptime = machine.status()["uptime_s"]
    wait_until("lines to be on the card", lambda: machine.status()["uptime_s"] > uptime + SPILLED, SPILLED * 3)
    machine.power_cut()
    machine = boot(tmp_path / "card")
    machine.wait_ready()
    assert any(line.endswith(first) for line in machine.logs("init", 5000, 1))
    assert any(line.endswith(said) for line in machine.logs("init", 5000, 2))

    shown = everything(machine)
    machine.power_off()
    shown += on_card(machine, tmp_path / "dump")
    key = next((desk.folder / "config/roost/boxes").glob("*.json")).read_text()
    seed = re.search(r'"key": ?"([0-9a-f]{64})"', key)
    assert seed
    secrets = (PASSWORD, subject.account.password, code, code.replace("-", ""), seed[1], "PRIVATE KEY", "$argon2", "$6$")
    assert [secret for secret in secrets if secret in shown] == []
