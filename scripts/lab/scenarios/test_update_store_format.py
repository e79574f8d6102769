"""New versions that store mail in another way: a copy is taken first, and put back if they fail."""

from __future__ import annotations

from pathlib import Path

from card import SLOT_A, SLOT_B
from conftest import Boot
from updates import FIRST, NEXT, REFUSED, Patient, Workshop, copy_of_checkout, replace_text


def test_migrated_store(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The first one fails after it has taken the store over; the second one is kept."""
    changed = copy_of_checkout(tmp_path / "changed")
    replace_text(changed / "services/mail/service.toml", "data_format = 1", "data_format = 2")
    good = workshop.release(NEXT + 1, checkout=changed)
    scores = "[spam-filter.list.scores]\n"
    replace_text(changed / "services/mail/share/spam-rules.toml", scores, f'{scores}RCPT_COUNT_ONE = "reject"\n')
    failing = workshop.release(NEXT, checkout=changed)

    patient = Patient(workshop, boot, tmp_path / "box")
    patient.rolled_back(failing)
    log = patient.machine.logs("mail")
    assert any("snapshot" in line for line in log), log

    assert patient.update(good)["outcome"] == "kept"
    patient.check(SLOT_B, NEXT + 1)
    # The version before has none of the mail that came since then: the owner must say that this is meant.
    rollback = ("rollback", workshop.address(patient.machine), "--yes")
    assert "mail that came since" in workshop.roost(*rollback, expect=REFUSED).stderr
    workshop.roost(*rollback, "--allow-older-mail")
    patient.check(SLOT_A, FIRST)
