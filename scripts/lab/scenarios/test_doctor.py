"""`roost doctor` on a booted box: something real is broken, and exactly the checks about it change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import card
from conftest import CARD_OPTION, Boot, Subject
from distant import BOX, RELAY, DistantRelay
from laptop import Api, Laptop
from machine import Machine
from waiting import wait_until

PASSWORD = "wobbly lantern orbits quietly"
#: A service that nothing else in these scenarios needs.
VICTIM = "certificates"
#: After so many ends in a row init waits for half a minute: long enough to be seen.
KILLS = 8
#: Seconds until a killed service is started again: the longest of those waits, and its start.
AGAIN = 90.0
#: Bytes that are left on a full card.
LEFT = 1 << 20

Checks = dict[str, dict[str, Any]]


def doctor(laptop: Laptop, machine: Machine) -> Checks:
    """What it finds, by the checks' names; its exit code must fit."""
    events = laptop.run("doctor", "--box", laptop.at(machine), expect=None)
    (result,) = [event for event in events if event["event"] == "result"]
    checks: Checks = {check["id"]: check for check in result["checks"]}
    assert len(checks) == len(result["checks"]) >= 40
    failed = [name for name, check in checks.items() if check["level"] == "failed"]
    errors = [event for event in events if event["event"] == "error"]
    assert [error["exit_code"] for error in errors] == ([1] if failed else []), (failed, errors)
    for check in checks.values():
        assert check["found"] and check["docs"] == f"docs/doctor.md#{check['id']}", check
        assert check["to_do"] or check["level"] not in ("warning", "failed"), check
    return checks


def changed(before: Checks, after: Checks) -> dict[str, tuple[str, str]]:
    """Which checks are at another level, from which to which."""
    return {
        name: (before[name]["level"], after[name]["level"])
        for name in before
        if before[name]["level"] != after[name]["level"]
    }


def paired(boot: Boot, subject: Subject, tmp_path: Path) -> tuple[Machine, Laptop]:
    """A box with a laptop that it knows."""
    machine = boot(tmp_path / "box", options=("--disk-size", CARD_OPTION))
    machine.wait_ready()
    laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    assert machine.code
    laptop.pair(machine, "--code", machine.code)
    return machine, laptop


def settled(laptop: Laptop, machine: Machine) -> Checks:
    """What is found once two looks in a row say the same."""
    looks: list[Checks] = []

    def same() -> bool:
        looks.append(doctor(laptop, machine))
        return len(looks) > 1 and not changed(looks[-2], looks[-1])

    wait_until("two looks that say the same", same, 400.0, interval=1.0)
    return looks[-1]


def test_a_service_that_ends_again_and_again(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Its restarts are counted, its absence is told with why, and what it alone knows is not guessed."""
    machine, laptop = paired(boot, subject, tmp_path)
    before = settled(laptop, machine)
    assert before["box-services"]["level"] == before["card-room"]["level"] == "ok", before
    assert before["access-owner"]["level"] == before["tls-imap"]["level"] == "ok", before
    # The image has a domain, and nobody has agreed to an authority's terms, nor set up a relay.
    assert before["cert-agreed"]["level"] == before["tunnel-up"]["level"] == "warning", before
    assert before["out-blocklists"]["level"] == "unknown", before["out-blocklists"]

    for _ in range(KILLS):
        machine.wait_service_ready(VICTIM, AGAIN)
        machine.kill(VICTIM)
        # Else the same process may be killed twice.
        wait_until("its end", lambda: machine.service(VICTIM)["state"] != "ready", 20.0, interval=0.05)
    wait_until("the wait before the next start", lambda: machine.service(VICTIM)["state"] == "backoff", 20.0)
    while_away = doctor(laptop, machine)
    assert changed(before, while_away) == {
        "box-services": ("ok", "failed"),
        "box-restarts": ("ok", "warning"),
        "cert-agreed": ("warning", "unknown"),
    }
    assert f"{VICTIM} is in the state backoff" in while_away["box-services"]["found"]
    assert f"{VICTIM} " in while_away["box-restarts"]["found"], while_away["box-restarts"]
    assert "`roost logs SERVICE`" in while_away["box-services"]["to_do"]
    assert "does not answer" in while_away["cert-agreed"]["found"]

    machine.wait_service_ready(VICTIM, AGAIN)
    assert changed(before, doctor(laptop, machine)) == {"box-restarts": ("ok", "warning")}


def test_a_full_card(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """It is told in figures, whatever else goes on, and is over once there is room again."""
    machine, laptop = paired(boot, subject, tmp_path)
    before = settled(laptop, machine)
    assert machine.power_off() == "power-off"
    image = machine.state / "virt.card"
    card.fill_data(image, LEFT)

    machine = boot(tmp_path / "box", options=("--disk-size", CARD_OPTION))
    machine.wait_ready()
    full = settled(laptop, machine)
    assert changed(before, full) == {"card-room": ("ok", "failed")}
    assert " are free." in full["card-room"]["found"], full["card-room"]
    assert "Delete mail" in full["card-room"]["to_do"]
    assert machine.power_off() == "power-off"
    card.on_data(image, "rm filler")

    machine = boot(tmp_path / "box", options=("--disk-size", CARD_OPTION))
    machine.wait_ready()
    assert changed(before, settled(laptop, machine)) == {}


def test_a_relay_that_goes_away(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """While it answers the tunnel is well; when it stops, that is what has failed."""
    machine, laptop = paired(boot, subject, tmp_path)
    api = Api(machine, laptop)
    key = api.wait_state("unconfigured")["public_key"]
    with DistantRelay(tmp_path) as relay:
        relay.expect(key)
        text = {
            "relay": {"public_key": relay.public_key, "endpoint": relay.endpoint, "address4": RELAY},
            "address4": BOX,
        }
        assert api.call("PUT", "relay", text) == (204, None)
        api.wait_state("up")
        there = doctor(laptop, machine)
        assert there["tunnel-up"]["level"] == "ok", there["tunnel-up"]
        # It is none that Roost has set up.
        assert there["relay-answers"]["level"] == "unknown", there["relay-answers"]
    api.wait_state("down")
    away = doctor(laptop, machine)
    assert away["tunnel-up"]["level"] == "failed"
    assert away["tunnel-up"]["found"].startswith("The relay has not answered for "), away["tunnel-up"]
    assert "`roost relay status`" in away["tunnel-up"]["to_do"]
    assert away["tunnel-loss"]["level"] == away["ports-mail-in"]["level"] == "unknown"


def test_a_box_that_is_off(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Its exit code is another than that of a check that has failed."""
    machine, laptop = paired(boot, subject, tmp_path)
    at = laptop.at(machine)
    machine.power_cut()
    error = laptop.run("doctor", "--box", at, expect=2)[-1]
    assert error["event"] == "error" and error["what"].startswith("cannot examine"), error
