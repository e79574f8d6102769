"""The same image starts on the emulated Raspberry Pi 3, and carries mail there."""

from __future__ import annotations

from pathlib import Path

from clients import STRANGER, Clients, new_message
from conftest import Boot, Subject
from machine import PI_BOOT_TIMEOUT


def test_mail_on_a_pi(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Firmware's choice of the slot, SD card, data partition, USB network, mail: all as on virt."""
    machine = boot(tmp_path / "card", machine="raspi3b")
    machine.wait_ready(PI_BOOT_TIMEOUT)
    assert "roost: services ready after " in machine.console()
    assert "roost: rescue:" not in machine.console()
    # Our own kernel module among them, without which no update could be tried.
    assert "cannot load module" not in machine.console()

    clients = Clients(machine.forwards, subject.account, tmp_path)
    message = new_message("to a Pi", STRANGER, subject.account.address)
    clients.deliver(message)
    clients.wait_message(message)
