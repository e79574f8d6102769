"""`roost update` by itself: it builds what roost.toml describes, packs it, and gives it to the box."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from card import SLOT_B
from clients import Clients
from conftest import Boot
from updates import FIRST, HISTORY, Patient, Workshop


def test_update_builds(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Changed settings are all that the owner does; the number of the release grows by one.

    The name is one of them: the new version still finds the disk that the old name was for.
    """
    patient = Patient(workshop, boot, tmp_path / "box")
    owner = tmp_path / "owner"
    owner.mkdir()
    shutil.copyfile(workshop.first.folder / HISTORY, owner / HISTORY)
    text = (workshop.first.folder / "roost.toml").read_text()
    for before, after in {
        "\n[mail]\n": '\n[mail]\nmax_message_size = "20 MiB"\n',
        '\nname = "roost"\n': '\nname = "nest"\n',
    }.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    (owner / "roost.toml").write_text(text)
    done = workshop.roost(
        "update", workshop.address(patient.machine), "--config", str(owner / "roost.toml"),
        "--output", str(owner / "build"), "--yes", "--json",
    )  # fmt: skip
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["outcome"], result["to"]["number"]) == ("kept", FIRST + 1), result
    # Mail's own certificate is for the box's name too, so it is another one now.
    patient.clients = Clients(patient.machine.forwards, workshop.subject.account, tmp_path)
    patient.check(SLOT_B, FIRST + 1)
    assert patient.machine.status()["name"] == "nest"
    with patient.clients.smtp() as smtp:
        smtp.ehlo()
        assert int(smtp.esmtp_features["size"]) == 20 << 20
