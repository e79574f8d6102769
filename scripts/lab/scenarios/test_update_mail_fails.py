"""New versions in which the mail service does not do its job."""

from __future__ import annotations

from pathlib import Path

import elf
from conftest import Boot
from updates import Patient, Workshop, copy_of_checkout


def test_mail_never_ready(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The program ends whenever it is started."""
    broken = workshop.release(2, replaced={"mail": elf.write(tmp_path / "mail", elf.EXIT)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(broken)
    assert "mail" in reason["summary"], reason


def test_mail_ready_but_not_delivering(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Every port answers, and every message is refused for its looks."""
    changed = copy_of_checkout(tmp_path / "changed")
    rules = changed / "services/mail/share/spam-rules.toml"
    text = rules.read_text()
    assert text.count('reject = "20.0"') == 1
    rules.write_text(text.replace('reject = "20.0"', 'reject = "-100.0"'))
    refusing = workshop.release(2, checkout=changed)
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(refusing)
    assert any(check["name"].startswith("mail") and check["passed"] is False for check in reason["checks"]), reason
