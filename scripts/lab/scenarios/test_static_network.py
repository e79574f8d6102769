"""Another `roost.toml`: a fixed address, and a time server on the home network."""

from __future__ import annotations

import datetime
import email.utils
import subprocess
from pathlib import Path

from clients import STRANGER, Clients, new_message, parse
from conftest import Boot, Subject
from neighbour import OWN_ADDRESS, Neighbour
from waiting import wait_until

CONFIG = Path(__file__).resolve().parents[1] / "roost.toml"
#: The address that the emulator's forwards lead to; the box must not have asked for it.
ADDRESS = "10.0.2.15/24"
NETWORK = f"""
[network]
mode = "static"
address = "{ADDRESS}"
gateway = "10.0.2.2"
dns = ["10.0.2.3"]
[time]
servers = ["{OWN_ADDRESS}"]
"""
#: How far the time server is ahead of this machine, in seconds: more than any delay here.
AHEAD = 5 * 3600.0
#: Seconds until the box has asked again after a time without an answer.
SYNC_TIMEOUT = 240.0


def test_fixed_address_and_time(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Mail at the fixed address, stamped with the time that the server gave; after a restart not with an earlier one."""
    config = tmp_path / "roost.toml"
    config.write_text(CONFIG.read_text() + NETWORK)
    output = tmp_path / "out"
    subprocess.run(
        [str(subject.roost), "build", "--quiet", "--offline", "--config", str(config), "--output", str(output)],
        check=True, stdout=subprocess.DEVNULL,
    )
    machine = boot(tmp_path / "box", image=output / "roost.img", options=("--lan",))
    machine.wait_ready()
    assert ADDRESS in machine.status()["addresses"]
    assert not any("DHCP" in line for line in machine.logs("init"))
    assert not machine.status()["clock_synced"], "there was nobody to ask yet"

    with Neighbour(machine.lan_path, AHEAD) as neighbour:

        def synced() -> bool:
            neighbour.announce()
            return machine.status()["clock_synced"]

        wait_until("an answer from the time server", synced, SYNC_TIMEOUT, interval=1.0)
    clients = Clients(machine.forwards, subject.account, tmp_path)
    assert abs(ahead_of_us(clients) - AHEAD) < 60

    machine.reboot()
    # The machine's own clock is that of this machine again, which is too early.
    assert ahead_of_us(clients) > AHEAD - 120


def ahead_of_us(clients: Clients) -> float:
    """How far the box's clock is ahead of this machine's, by the time stamp on a message."""
    message = new_message("what time is it", STRANGER, clients.account.address)
    clients.deliver(message)
    received = str(parse(clients.wait_message(message))["Received"])
    stamp = email.utils.parsedate_to_datetime(received.rsplit(";", 1)[1].strip())
    return (stamp - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
