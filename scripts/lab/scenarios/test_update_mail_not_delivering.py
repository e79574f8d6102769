"""A new version whose mail service runs and takes no mail."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot
from updates import NEXT, Patient, Workshop, copy_of_checkout, replace_text


def test_mail_ready_but_not_delivering(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Every port answers, and every message is refused for its looks."""
    changed = copy_of_checkout(tmp_path / "changed")
    scores = "[spam-filter.list.scores]\n"
    # A tag that every message to one person gets.
    replace_text(changed / "services/mail/share/spam-rules.toml", scores, f'{scores}RCPT_COUNT_ONE = "reject"\n')
    refusing = workshop.release(NEXT, checkout=changed)
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(refusing)
    assert any(check["name"] == "mail works" and check["passed"] is False for check in reason["checks"]), reason
