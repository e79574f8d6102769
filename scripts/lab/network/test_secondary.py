"""The relay's name server: it answers when the box is away, and only then on the box's address."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from conftest import TSIG, World
from internet import PUBLIC4, PUBLIC6, RELAY4, SECOND6, ZONE, knot_key
from namespaces import Machine
from waiting import wait_until

#: Seconds for a change of who answers; two looks of 2 s each at a box that is silent, and slack.
PATIENCE = 60.0


def box_settings(secret: str) -> str:
    """A primary in the place of the box's own name server."""
    return knot_key(secret) + f"""
server:
  rundir: /run/knot
  user: knot:knot
  listen: [0.0.0.0@53, "::@53"]
  identity: box
log:
  - target: stderr
    any: info
remote:
  - id: relay
    address: {RELAY4}
    key: roost-relay
acl:
  - id: relay
    key: roost-relay
    action: transfer
template:
  - id: default
    storage: /etc/knot
    file: "%s.zone"
    zonefile-load: whole
    journal-content: none
    notify: relay
    acl: relay
zone:
  - domain: {ZONE}
  - domain: example.net
"""


def zone_text(serial: int) -> str:
    """A zone with an answer that is larger than a datagram may be."""
    text = "".join(f'big 60 TXT "{number:03} {"x" * 200}"\n' for number in range(20))
    return f"@ 60 SOA ns1 hostmaster {serial} 3600 3600 86400 60\n@ 60 NS ns1\nns1 60 A {PUBLIC4}\n{text}"


def set_zones(world: World, serial: int) -> None:
    """Gives the box both zones."""
    for zone in (ZONE, "example.net"):
        world.box.run("tee", f"/etc/knot/{zone}.zone", stdin=zone_text(serial))


def start_box(world: World, secret: str = TSIG) -> None:
    """The box's name server, with empty memory."""
    world.box.run("sh", "-c", "mkdir -p /run/knot && chown knot: /run/knot")
    world.box.run("tee", "/etc/knot/knot.conf", stdin=box_settings(secret))
    world.start("box", world.box, "/usr/sbin/knotd", "-c", "/etc/knot/knot.conf")


def start_relay(world: World) -> None:
    """The relay's name server, as its package's unit starts it."""
    world.relay.run("sh", "-c", """
        mkdir -p /run/knot && chown knot: /run/knot
        cat > /etc/knot/roost-tsig.conf && chgrp knot /etc/knot/roost-tsig.conf && chmod 640 /etc/knot/roost-tsig.conf
    """, stdin=knot_key(TSIG))
    world.relay.run("knotc", "-c", "/etc/knot/knot.conf", "conf-check")
    world.start("relay", world.relay, "/usr/sbin/knotd", "-c", "/etc/knot/knot.conf")


def ask(world: World, address: str, *query: str) -> str:
    """What the client's dig says."""
    return world.client.run("dig", f"@{address}", *query, "+norecurse", "+tries=1", "+time=2", check=False)


def serial(world: World, address: str, zone: str = ZONE) -> int | None:
    """The serial number of an authoritative answer, if one comes."""
    answer = ask(world, address, zone, "SOA", "+noall", "+comments", "+answer")
    if "status: NOERROR" not in answer or " aa" not in answer.partition("flags:")[2].partition(";")[0]:
        return None
    return int(answer.split("SOA")[1].split()[2])


def answered_by_box(world: World, address: str) -> bool | None:
    """Whether it was the box who answered, by the name that only it gives."""
    answer = ask(world, address, "id.server", "CH", "TXT")
    return '"box"' in answer if "status:" in answer else None


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[World]:
    """Both name servers, and the script that decides."""
    set_zones(world, 1)
    start_box(world)
    start_relay(world)
    world.relay.run("mkdir", "-p", "/run/roost")
    world.start("watch", world.relay, "env", "ROOST_PAUSE=0.3", "/usr/local/lib/roost/dns-watch")
    yield world


def wait_for_box(world: World, there: bool) -> None:
    wait_until(f"box answers: {there}", lambda: answered_by_box(world, PUBLIC4) is there, PATIENCE)


def test_the_copies_come_over_the_tunnel(running: World) -> None:
    for zone in (ZONE, "example.net"):
        wait_until(f"{zone} on the relay", lambda zone=zone: serial(running, SECOND6, zone) == 1, PATIENCE)


@pytest.mark.parametrize("address", [PUBLIC4, PUBLIC6])
def test_the_box_answers_while_it_is_there(running: World, address: str) -> None:
    wait_until("the box answers", lambda: answered_by_box(running, address), PATIENCE)
    assert serial(running, address) == 1


def test_the_second_name_server_is_always_the_relay(running: World) -> None:
    assert answered_by_box(running, SECOND6) is False
    assert serial(running, SECOND6) == 1


def knotc(machine: Machine, *command: str) -> str:
    """Tells a name server to do something, and waits until it is done; says what went wrong."""
    return machine.run("sh", "-c", 'knotc -b -c /etc/knot/knot.conf "$@" 2>&1 || true', "sh", *command)


def test_a_change_comes_by_notify(running: World) -> None:
    set_zones(running, 2)
    assert "OK" in knotc(running.box, "zone-reload")
    assert "OK" in knotc(running.box, "zone-notify")
    for zone in (ZONE, "example.net"):
        wait_until("serial 2 on the relay", lambda zone=zone: serial(running, SECOND6, zone) == 2, PATIENCE)


def test_with_another_secret_nothing_comes(running: World) -> None:
    running.stop("box")
    set_zones(running, 3)
    start_box(running, secret=TSIG[::-1].lstrip("=") + "=")
    wait_until("serial 3 at the box", lambda: serial(running, PUBLIC4) == 3, PATIENCE)
    assert "error" in knotc(running.box, "zone-notify", ZONE)
    assert "error" in knotc(running.relay, "zone-refresh", ZONE)
    assert serial(running, SECOND6) == 2
    running.stop("box")
    start_box(running)
    wait_until("the box answers", lambda: answered_by_box(running, PUBLIC4), PATIENCE)
    assert "OK" in knotc(running.box, "zone-notify")
    for zone in (ZONE, "example.net"):
        wait_until("serial 3 on the relay", lambda zone=zone: serial(running, SECOND6, zone) == 3, PATIENCE)


@pytest.mark.parametrize("address", [PUBLIC4, PUBLIC6])
def test_the_relay_answers_when_the_box_is_away(running: World, address: str) -> None:
    wait_for_box(running, True)
    running.stop("box")
    try:
        wait_until("the relay answers", lambda: answered_by_box(running, address) is False, PATIENCE)
        for zone in (ZONE, "example.net"):
            assert serial(running, address, zone) == 3
        # Too large for a datagram: cut off there, whole over TCP.
        assert " tc" in ask(running, address, f"big.{ZONE}", "TXT", "+ignore").partition("flags:")[2].partition(";")[0]
        assert ask(running, address, f"big.{ZONE}", "TXT", "+tcp", "+short").count("\n") == 20
    finally:
        start_box(running)
    wait_until("the box answers again", lambda: answered_by_box(running, address), PATIENCE)


def test_a_relay_that_restarts_while_the_box_is_away_still_answers(running: World) -> None:
    wait_for_box(running, True)
    running.stop("box")
    try:
        running.processes["relay"].kill()
        running.processes.pop("relay").wait()
        start_relay(running)
        wait_until("the relay answers", lambda: serial(running, PUBLIC4) == 3, PATIENCE)
    finally:
        start_box(running)


def test_strangers_get_neither_the_zone_nor_an_answer_for_others(running: World) -> None:
    assert "Transfer failed" in ask(running, SECOND6, ZONE, "AXFR")
    assert "status: REFUSED" in ask(running, SECOND6, "example.com", "SOA")
    assert "status: REFUSED" in ask(running, SECOND6, "version.server", "CH", "TXT")


def test_the_decision_outlives_rules_that_are_loaded_again(running: World) -> None:
    wait_for_box(running, True)
    running.relay.run("nft", "-f", "/etc/roost/relay.nft")
    wait_for_box(running, True)


def test_the_relay_says_which_box_may_serve(running: World) -> None:
    """The rules are tested beside the tunnel; this is the script as it is rendered."""
    wait_for_box(running, True)

    def ask(path: str) -> dict[str, object]:
        answer = running.relay.run(
            "env", "STATE_DIRECTORY=/etc/roost", "/usr/local/lib/roost/health",
            stdin=f"GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n",
        )  # fmt: skip
        return dict(json.loads(answer.partition("\n\n")[2]))

    first = {"generation": 1, "instance": "aa", "run": "a1"}
    second = {"generation": 1800000000, "instance": "bb", "run": "b1"}
    for path, holder in [
        ("1/aa/a1/new", first), ("1/aa/a1/again", first), ("1/cc/c1/new", first),
        ("1800000000/bb/b1/new", second), ("1/aa/a1/again", second), ("1800000000/bb/b1/again", second),
    ]:  # fmt: skip
        said = ask(f"/holder/{'0f' * 32}/{path}")["holder"]
        assert isinstance(said, dict)
        assert holder.items() <= said.items(), (path, said)
        assert (said["quiet"] < 60) is (holder is second), said
    assert "holder" not in ask("/")


def test_the_box_can_read_how_the_relay_is(running: World) -> None:
    wait_for_box(running, True)
    answer = running.relay.run("/usr/local/lib/roost/health", stdin="GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
    head, _, body = answer.partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK")
    assert f"Content-Length: {len(body)}" in head
    health = json.loads(body)
    assert health["dns"] == "box"
    assert health["zones"] == {ZONE: 3, "example.net": 3}
    assert health["uptime"] > 0
    assert health["reboot_required"] is False
    assert health["conntrack"] < health["conntrack_max"]
