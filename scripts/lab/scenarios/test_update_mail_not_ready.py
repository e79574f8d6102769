"""A new version whose mail service never gets ready."""

from __future__ import annotations

from pathlib import Path

import elf
from conftest import Boot
from updates import NEXT, Patient, Workshop


def test_mail_never_ready(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The program ends whenever it is started."""
    broken = workshop.release(NEXT, replaced={"mail": elf.write(tmp_path / "mail", elf.EXIT)})
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(broken)
    assert "mail was started again" in reason["summary"], reason
