"""Pairing from the command line, with a booted box: code, password, revoking, and boxes that are not the one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import Subject, machine_room
from laptop import Laptop
from machine import Machine

PASSWORD = "wobbly lantern orbits quietly"
#: A code of the right form that is no card's: each has one of 2^40.
WRONG_CODE = "ZZZZ-ZZZZ"
#: Exit codes.
FAILED = 1
#: Seconds until a connection that was open is cut.
CUT_TIMEOUT = 20.0


@dataclass(frozen=True)
class Home:
    """A box, and two laptops of one owner."""

    machine: Machine
    desk: Laptop
    couch: Laptop


@pytest.fixture(scope="module")
def home(subject: Subject, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A new box; the tests of this file are one story, in their order."""
    folder = tmp_path_factory.mktemp("pair")
    with machine_room(subject, pytestconfig) as start:
        machine = start(folder / "box")
        machine.wait_ready()
        yield Home(
            machine,
            Laptop(subject.roost, folder / "desk", PASSWORD),
            Laptop(subject.roost, folder / "couch", PASSWORD),
        )


def why(error: dict[str, object]) -> str:
    """Everything that an error says."""
    because = error["because"]
    assert isinstance(because, list)
    return "\n".join([str(error["what"]), *map(str, because), str(error["hint"])])


def test_a_stranger_learns_nothing(home: Home) -> None:
    """A laptop that is not paired is told so, by itself."""
    error = home.desk.run("status", home.desk.at(home.machine), expect=None)[-1]
    assert "paired with no box" in why(error), error


def test_wrong_code_is_counted(home: Home) -> None:
    """It says how many tries are left; the box stays without an owner."""
    error = home.desk.pair(home.machine, "--code", WRONG_CODE, expect=FAILED)
    assert "4 tries are left" in why(error), error
    error = home.desk.pair(home.machine, "--code", WRONG_CODE, expect=FAILED)
    assert "3 tries are left" in why(error), error


def test_another_certificate_gets_no_code(home: Home) -> None:
    """Whoever is between laptop and box shows a certificate that is not the card's."""
    other = "0" * 64
    assert home.machine.code
    error = home.desk.pair(home.machine, "--fingerprint", other, "--code", home.machine.code, expect=FAILED)
    assert "another certificate" in why(error) and "Nothing was sent" in why(error), error


def test_right_code_makes_an_owner(home: Home) -> None:
    """From then on the laptop is known, by its key; and the code is used up."""
    assert home.machine.code
    result = home.desk.pair(home.machine, "--code", home.machine.code)
    assert result["fingerprint"] == home.machine.fingerprint
    report = home.desk.run("status", home.desk.at(home.machine))[-1]
    assert report["machine"]["ready"] and report["update"]["running"]["number"] > 0
    # Not said, it is the only box that is paired.
    assert home.desk.run("status")[-1]["machine"]["name"] == report["machine"]["name"]
    assert home.desk.run("logs", "updater")
    # Again changes nothing.
    assert home.desk.pair(home.machine)["laptop"] == "desk"


def test_code_works_once(home: Home) -> None:
    """Somebody else with the same code is refused."""
    assert home.machine.code
    error = home.couch.pair(home.machine, "--code", home.machine.code, expect=FAILED)
    assert "used up" in why(error), error
    logs = "\n".join(home.machine.logs("portal") + home.machine.logs("init"))
    assert home.machine.code not in logs and home.machine.code.replace("-", "") not in logs


def test_second_laptop_by_password(home: Home) -> None:
    """Not with a wrong password, with the right one; both are listed."""
    home.couch.password.write_text("wobbly lantern orbits loudly")
    error = home.couch.pair(home.machine, expect=FAILED)
    assert "the password is not right" in why(error), error
    home.couch.password.write_text(PASSWORD)
    home.couch.pair(home.machine)
    laptops = home.desk.run("pair", "--list")[-1]["laptops"]
    assert [(known["name"], known["this"]) for known in laptops] == [("couch", False), ("desk", True)]


def test_revoked_laptop_is_out_at_once(home: Home) -> None:
    """Also the log that it follows just now ends."""
    address = home.couch.at(home.machine)
    follows = home.couch.start("logs", "--follow", "updater", "--box", address)
    assert follows.stdout is not None
    first = follows.stdout.readline()
    assert '"event":"log"' in first, first
    home.desk.run("pair", "--revoke", "couch", "--yes")
    said, _ = follows.communicate(timeout=CUT_TIMEOUT)
    assert follows.returncode == FAILED, said
    error = home.couch.run("status", address, expect=FAILED)[-1]
    assert "does not know this laptop" in why(error), error
    assert [known["name"] for known in home.desk.run("pair", "--list")[-1]["laptops"]] == ["desk"]
    audit = "\n".join(home.machine.logs("portal"))
    assert PASSWORD not in audit


def test_pairing_outlives_a_restart(home: Home) -> None:
    """`roost reboot` waits for the box, which knows the laptop again."""
    result = home.desk.run("reboot", home.desk.at(home.machine), "--yes")[-1]
    assert result["event"] == "result", result
    home.machine.hang_up()


def test_changed_certificate_is_refused(home: Home, subject: Subject, pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """Another box at the address that the laptop knows: neither status nor password goes there."""
    with machine_room(subject, pytestconfig) as start:
        other = start(tmp_path / "other")
        other.wait_ready()
        assert other.fingerprint != home.machine.fingerprint
        # As if the other had taken the address of the first.
        for record in (home.desk.folder / "config/roost/boxes").glob("*.json"):
            record.write_text(record.read_text().replace(home.desk.at(home.machine), home.desk.at(other)))
        error = home.desk.run("status", home.desk.at(other), expect=FAILED)[-1]
        assert "another certificate" in why(error) and "Nothing was sent" in why(error), error
