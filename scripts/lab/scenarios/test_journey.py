"""From `roost init` to a mail server that the strict talk to, and through what happens to one: the owner's whole way.

The chapters are in `journey.py`; what each has reached is printed with the count of commands and fields so far, and
added to the file `ROOST_JOURNEY`, as what workers of pytest print is shown nowhere. All is
done with one machine, as a person has. Not the lab's image but the owner's own is built, as a build whose programs are
in the cache takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import journey as chapters
import lab
from clients import Account
from conftest import Boot, Subject
from journey import ACCOUNT, DOMAIN, Journey
from lab import Lab, Owner


@pytest.fixture
def journey(boot: Boot, subject: Subject, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Journey]:
    """The internet, and an owner who has nothing but the command."""
    if why := lab.why_not():
        pytest.skip(why)

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n  journey: {line}", end="", flush=True)
        if told := os.environ.get("ROOST_JOURNEY"):
            with open(told, "a") as file:
                file.write(f"  {line}\n")

    with Lab(tmp_path / "lab") as made:
        account = Account(ACCOUNT, subject.account.password, DOMAIN, f"mail.{DOMAIN}")
        yield Journey(subject.roost, boot, tmp_path, made, Owner(subject.roost, made), say, account)


def test_the_journey(journey: Journey) -> None:
    """One box, from its first command on."""
    chapters.peers_are_strict(journey)
    card = chapters.build(journey)
    chapters.start(journey, card)
    chapters.mail_at_home(journey)
    chapters.connect(journey)
    chapters.certified(journey)
    chapters.mail_with_the_strict(journey)
    chapters.healthy(journey)
    chapters.good_update(journey)
    chapters.bad_update(journey)
    chapters.another_relay(journey)
    chapters.line_down(journey)
    chapters.new_card(journey)
    journey.chapter("the end")
    journey.say(f"commands: {', '.join(journey.owner.count.commands)}; fields: {', '.join(journey.owner.count.fields)}")
