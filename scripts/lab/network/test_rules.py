"""The relay's rules: what reaches the box, as whom, and what does not."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import World
from internet import BOX4, BOX6, CLIENT4, CLIENT6, MTU, PRIVATE4, PUBLIC4, PUBLIC6, RELAY4, RELAY6, SECOND6
from servers import Echo, call, scan

TCP_PORTS = [25, 80, 443, 465, 587, 993, 995, 4190]
#: What listens on a machine without the world's knowledge.
INTERNAL_PORTS = [22, 110, 111, 143, 5000, 8077, 8080, 51820]
PUBLIC = {4: PUBLIC4, 6: PUBLIC6}
CLIENT = {4: CLIENT4, 6: CLIENT6}


@pytest.fixture
def box_answers_dns(world: World) -> Iterator[None]:
    """As roost-dns-watch leaves it while the box is there."""
    world.relay.run("nft", "-f", "-", stdin=f"""
        flush map inet roost dns4
        add element inet roost dns4 {{ 53 : {BOX4} }}
        flush map inet roost dns6
        add element inet roost dns6 {{ 53 : {BOX6} }}
    """)
    yield
    world.relay.run("nft", "-f", "/etc/roost/relay.nft")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("port", TCP_PORTS)
def test_a_port_reaches_the_box_with_the_clients_address(world: World, echo: Echo, port: int, family: int) -> None:
    echo.listen(world.box, family, "tcp", port)
    assert call(world.client, "tcp", PUBLIC[family], port) == f"box {CLIENT[family]}"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_dns_reaches_the_box_with_the_clients_address(
    world: World, box_answers_dns: None, echo: Echo, kind: str, family: int
) -> None:
    echo.listen(world.box, family, kind, 53)
    assert call(world.client, kind, PUBLIC[family], 53) == f"box {CLIENT[family]}"


@pytest.mark.parametrize("family", [4, 6])
def test_a_large_datagram_answer_passes_in_fragments(
    world: World, box_answers_dns: None, echo: Echo, family: int
) -> None:
    size = 4096
    assert size > int(MTU)
    echo.listen(world.box, family, "udp", 53, answer=size)
    assert len(call(world.client, "udp", PUBLIC[family], 53)) == size


@pytest.mark.parametrize("family", [4, 6])
def test_nothing_but_the_listed_ports_answers(world: World, box_answers_dns: None, echo: Echo, family: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    for port in [*TCP_PORTS, 53, *INTERNAL_PORTS]:
        echo.listen(world.box, family, "tcp", port)
        echo.listen(world.relay, family, "tcp", port)
    assert scan(world.client, PUBLIC[family]) == {"open": {*TCP_PORTS, 53}, "closed": set()}


@pytest.mark.parametrize("family", [4, 6])
def test_no_datagram_but_dns_gets_in(world: World, box_answers_dns: None, echo: Echo, family: int) -> None:
    ports = [53, 67, 68, 123, 500, 546, 547, 5353, 51821]
    for port in ports:
        echo.listen(world.box, family, "udp", port)
        echo.listen(world.relay, family, "udp", port)
    with world.client.socket(*sockets(family)) as caller:
        for port in ports:
            caller.sendto(b"?", (PUBLIC[family], port))
    # Packets do not overtake each other on these cables, so what comes after them comes last.
    assert call(world.client, "udp", PUBLIC[family], 53) == f"box {CLIENT[family]}"
    assert {(machine, port) for machine, _, port, _ in echo.calls} == {("box", 53)}


def sockets(family: int) -> tuple[socket.AddressFamily, socket.SocketKind]:
    """Family and kind of a datagram socket."""
    return (socket.AF_INET6 if family == 6 else socket.AF_INET, socket.SOCK_DGRAM)


@pytest.mark.parametrize("family", [4, 6])
def test_the_tunnels_own_port_is_the_relays(world: World, echo: Echo, family: int) -> None:
    echo.listen(world.relay, family, "udp", 51820)
    echo.listen(world.box, family, "udp", 51820)
    assert call(world.client, "udp", PUBLIC[family], 51820) == f"relay {CLIENT[family]}"


def test_the_boxs_mail_leaves_by_the_public_address(world: World, echo: Echo) -> None:
    echo.listen(world.client, 4, "tcp", 25)
    assert call(world.box, "tcp", CLIENT4, 25) == f"client {PUBLIC4}"


@pytest.mark.parametrize(("address", "port"), [(CLIENT6, 25), (CLIENT4, 80), (CLIENT4, 587), (CLIENT6, 443)])
def test_nothing_else_of_the_box_leaves_and_it_is_told_so(world: World, echo: Echo, address: str, port: int) -> None:
    family = 6 if ":" in address else 4
    echo.listen(world.client, family, "tcp", port)
    with pytest.raises(OSError) as refused:
        call(world.box, "tcp", address, port)
    assert refused.value.errno in (errno.EHOSTUNREACH, errno.EACCES)
    assert not echo.calls


@pytest.mark.parametrize("address", [PUBLIC4, PRIVATE4, PUBLIC6])
@pytest.mark.parametrize("port", [25, 993])
def test_the_box_reaches_itself_by_its_public_address(world: World, echo: Echo, address: str, port: int) -> None:
    family = 6 if ":" in address else 4
    echo.listen(world.box, family, "tcp", port)
    assert call(world.box, "tcp", address, port) == f"box {RELAY6 if family == 6 else RELAY4}"


@pytest.mark.parametrize("family", [4, 6])
def test_the_box_reaches_only_health_and_names_of_the_relay(world: World, echo: Echo, family: int) -> None:
    address = RELAY6 if family == 6 else RELAY4
    for port in [*INTERNAL_PORTS, *TCP_PORTS, 53]:
        echo.listen(world.relay, family, "tcp", port)
    assert scan(world.box, address, range(1, 9000)) == {"open": {53, 8077}, "closed": set()}


@pytest.mark.parametrize("family", [4, 6])
def test_nobody_outside_has_an_address_of_the_tunnel(world: World, echo: Echo, family: int) -> None:
    lie = f"{BOX6}/128" if family == 6 else f"{BOX4}/32"
    echo.listen(world.relay, family, "udp", 51820)
    world.client.run("ip", "address", "add", lie, "dev", "eth0", *(["nodad"] if family == 6 else []))
    try:
        with world.client.socket(*sockets(family)) as liar:
            liar.bind((lie.partition("/")[0], 0))
            liar.sendto(b"?", (PUBLIC[family], 51820))
    finally:
        world.client.run("ip", "address", "delete", lie, "dev", "eth0")
    assert call(world.client, "udp", PUBLIC[family], 51820, source=CLIENT[family]) == f"relay {CLIENT[family]}"
    assert [caller for *_, caller in echo.calls] == [CLIENT[family]]


@pytest.mark.parametrize("family", [4, 6])
def test_nobody_reaches_the_box_by_its_address_in_the_tunnel(
    world: World, box_answers_dns: None, echo: Echo, family: int
) -> None:
    """A neighbour of the relay can send it packets for any address."""
    direct, gateway, caller = (BOX6, PUBLIC6, "2001:db8:a::1") if family == 6 else (BOX4, PRIVATE4, "10.76.0.1")
    echo.listen(world.box, family, "udp", 53)
    world.internet.route(f"{direct}/{128 if family == 6 else 32}", gateway)
    try:
        with world.internet.socket(*sockets(family)) as neighbour:
            neighbour.sendto(b"?", (direct, 53))
        assert call(world.internet, "udp", gateway, 53) == f"box {caller}"
    finally:
        world.internet.run("ip", "-6" if family == 6 else "-4", "route", "delete", direct)
    assert len(echo.calls) == 1


def test_a_box_that_does_not_know_the_tunnels_size_sends_segments_that_fit(world: World) -> None:
    world.box.run("ip", "link", "set", "tunnel", "mtu", "1500")
    try:
        with world.box.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.settimeout(10)
            server.bind((BOX4, 443))
            server.listen()
            with world.client.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
                caller.settimeout(10)
                caller.connect((PUBLIC4, 443))
                connection, _ = server.accept()
                with connection:
                    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= int(MTU) - 40
    finally:
        world.box.run("ip", "link", "set", "tunnel", "mtu", MTU)


def test_rules_may_be_loaded_again(world: World, echo: Echo) -> None:
    before = world.relay.run("nft", "list", "ruleset")
    world.relay.run("nft", "-f", "/etc/roost/relay.nft")
    assert world.relay.run("nft", "list", "ruleset") == before


def test_other_rules_of_the_machine_are_left_alone(world: World) -> None:
    world.relay.run("nft", "add", "table", "inet", "mine")
    world.relay.run("nft", "-f", "/etc/roost/relay.nft")
    assert "table inet mine" in world.relay.run("nft", "list", "tables")
    world.relay.run("nft", "delete", "table", "inet", "mine")


def test_second_name_servers_address_needs_no_interface(world: World, echo: Echo) -> None:
    assert SECOND6 not in world.relay.run("ip", "-6", "address")
    echo.listen(world.relay, 6, "udp", 53, RELAY6)
    assert call(world.client, "udp", SECOND6, 53) == f"relay {CLIENT6}"


def test_a_sabotaged_rule_set_is_noticed(world: World, echo: Echo, tmp_path: Path) -> None:
    """The scan sees what it must see: with an open port more, that port."""
    echo.listen(world.relay, 4, "tcp", 22)
    world.relay.run("nft", "insert", "rule", "inet", "roost", "input", "tcp", "dport", "22", "accept")
    assert 22 in scan(world.client, PUBLIC4, range(1, 1000))["open"]
    world.relay.run("nft", "-f", "/etc/roost/relay.nft")
    assert 22 not in scan(world.client, PUBLIC4, range(1, 1000))["open"]
