"""New versions in which the mail service does not do its job."""

from __future__ import annotations

from pathlib import Path

import elf
from conftest import Boot
from updates import Patient, Workshop, copy_of_checkout, replace_text


def test_mail_never_ready(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The program ends whenever it is started."""
    broken = workshop.release(2, replaced={"mail": elf.write(tmp_path / "mail", elf.EXIT)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(broken)
    assert "mail" in reason["summary"], reason


def test_mail_ready_but_not_delivering(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Every port answers, and every message is refused for its looks."""
    changed = copy_of_checkout(tmp_path / "changed")
    scores = "[spam-filter.list.scores]\n"
    # A tag that every message to one person gets.
    replace_text(changed / "services/mail/share/spam-rules.toml", scores, f'{scores}RCPT_COUNT_ONE = "reject"\n')
    refusing = workshop.release(2, checkout=changed)
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(refusing)
    assert any(check["name"].startswith("mail") and check["passed"] is False for check in reason["checks"]), reason
