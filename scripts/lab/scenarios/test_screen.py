"""What the box shows on its console: where it is, how to pair with it; and nothing of that in a log."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot, Subject
from screen import NAME, SHOWN_TIMEOUT, block, flash, logs
from waiting import wait_until


def test_console_shows_how_to_pair(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Name, address, code and the certificate's words are on the console; the code is in no log."""
    card = tmp_path / "card.img"
    made = flash(subject, card)
    code = made["pairing_code"]
    machine = boot(tmp_path / "box", image=card)
    machine.wait_ready()

    def addressed() -> str | None:
        last = block(machine.console())
        return last if "https://10." in last else None

    shown = wait_until("the address in the block", addressed, SHOWN_TIMEOUT)
    assert f"https://{NAME}.local" in shown
    assert code in shown, shown
    assert " ".join(made["fingerprint_words"]) in shown
    assert shown.isascii()
    for line in shown.splitlines():
        assert len(line) <= 80, line
    said = logs(machine)
    assert code not in said
    assert code.replace("-", "") not in said
