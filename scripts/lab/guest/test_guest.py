"""The relay as a whole machine: cloud-init, packages, kernel WireGuard, and our tunnel at the other end."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator

import pytest

from conftest import BOX4, BOX6, MTU, RELAY4, RELAY6, SETUP_TIMEOUT, WIREGUARD, ZONE, World
from guest import GREETING, HOST, OUTSIDE, Refused
from servers import PATIENCE, Echo, call
from waiting import wait_until

#: Units that make the relay.
UNITS = [
    "roost-firewall.service", "roost-key.service", "wg-quick@roost0.service", "roost-health.socket", "chrony.service",
    "unattended-upgrades.service", "knot.service", "roost-dns-watch.service",
]
#: Seconds for what the emulated relay does by itself every few seconds.
SLOW = 300.0


def failed_units(world: World) -> str:
    """Names of units that failed."""
    return world.guest.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")


def up_since(world: World, unit: str) -> int:
    """Microseconds after the guest's start at which a unit was up."""
    return int(world.guest.run("systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", unit))


def call_relay(world: World, port: int) -> str:
    """Calls a TCP port of the guest from this machine; returns what is answered."""
    with socket.create_connection(("127.0.0.1", world.guest.forwards["tcp", port]), timeout=PATIENCE) as caller:
        caller.settimeout(PATIENCE)
        answer = b""
        while part := caller.recv(65536):
            answer += part
        return answer.decode()


def dig(world: World, *query: str) -> str:
    """Asks the guest's public address."""
    port = world.guest.forwards["udp", 53]
    done = subprocess.run(
        ["dig", "@127.0.0.1", "-p", str(port), *query, "+norecurse", "+tries=1", "+time=3"], capture_output=True, text=True
    )
    return done.stdout


def serial(world: World, zone: str = ZONE) -> int | None:
    """The zone's serial number as the public address has it."""
    answer = dig(world, zone, "SOA", "+short").split()
    return int(answer[2]) if len(answer) == 7 else None


def answered_by_box(world: World) -> bool | None:
    """Whether the box answered, by the name that only it gives."""
    answer = dig(world, "id.server", "CH", "TXT")
    return '"box"' in answer if "status:" in answer else None


def start_names(world: World, number: int) -> None:
    """The box's name server with the zone; the secret is the relay's own, which the owner brings to the box."""
    folder = world.folder / "knot"
    folder.mkdir(exist_ok=True)
    secret = world.guest.run("cat", "/etc/knot/roost-tsig.conf")
    (folder / f"{ZONE}.zone").write_text(
        f"@ 60 SOA ns1 hostmaster {number} 3600 3600 86400 60\n@ 60 NS ns1\nns1 60 A 203.0.113.5\n"
    )
    (folder / "knot.conf").write_text(f"""{secret}
server:
  rundir: {folder}
  listen: [{BOX4}@53, "{BOX6}@53"]
  identity: box
log:
  - target: stderr
    any: info
database:
  storage: {folder}
remote:
  - id: relay
    address: {RELAY4}
    via: {BOX4}
    key: roost-relay
acl:
  - id: relay
    key: roost-relay
    action: transfer
template:
  - id: default
    storage: {folder}
    file: "%s.zone"
    zonefile-load: whole
    journal-content: none
    notify: relay
    acl: relay
zone:
  - domain: {ZONE}
""")
    world.start("knot", "/usr/sbin/knotd", "-c", str(folder / "knot.conf"))


@pytest.fixture(scope="module")
def tunnel(world: World) -> Iterator[World]:
    """The box's tunnel runs, and knows the relay."""
    world.start_tunnel()
    wait_until("an answer through the tunnel", lambda: pings(world, RELAY4), SLOW)
    yield world


def pings(world: World, address: str, *options: str) -> bool:
    """Whether an address answers the box through the tunnel."""
    source = BOX6 if ":" in address else BOX4
    return "1 received" in world.box.run("ping", "-c", "1", "-W", "2", "-I", source, *options, address, check=False)


def test_cloud_init_ran_it_without_a_complaint(world: World) -> None:
    status = json.loads(world.guest.run("cloud-init", "status", "--format", "json", check=False))
    said = world.guest.run("cat", "/var/log/cloud-init-output.log")
    assert (status["status"], status["errors"], status.get("recoverable_errors", {})) == ("done", [], {}), said
    assert re.search(r"The relay is set up\. Its WireGuard key: (\S+)", said)[1] == world.relay_key()  # type: ignore[index]


def test_all_of_it_runs_and_will_after_a_restart(world: World) -> None:
    assert failed_units(world) == ""
    for unit in UNITS:
        state = world.guest.run("systemctl", "is-active", unit, check=False) + world.guest.run("systemctl", "is-enabled", unit, check=False)
        assert state == "active\nenabled\n", unit


def test_the_kernel_does_wireguard(world: World) -> None:
    link = json.loads(world.guest.run("ip", "-json", "-details", "link", "show", "roost0"))[0]
    assert link["linkinfo"]["info_kind"] == "wireguard"
    assert link["mtu"] == MTU
    assert "wireguard " in world.guest.run("cat", "/proc/modules")
    assert world.guest.run("wg", "show", "roost0", "listen-port").strip() == str(WIREGUARD)


def test_kernel_parameters_are_set(world: World) -> None:
    """Those of the tunnel's interface, too, which comes later."""
    for name, value in {
        "net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1", "net/netfilter/nf_conntrack_max": "65536",
        "net/netfilter/nf_conntrack_tcp_timeout_established": "86400", "net/ipv6/conf/roost0/accept_ra": "2",
        "net/ipv4/conf/roost0/rp_filter": "1",
    }.items():
        assert world.guest.run("cat", f"/proc/sys/{name}").strip() == value, name


def test_a_small_machine_has_room_for_apt(world: World) -> None:
    assert "/swapfile" in world.guest.run("cat", "/proc/swaps")


def test_secrets_are_roots(world: World) -> None:
    assert world.guest.run("stat", "-c", "%a %U", "/etc/wireguard/roost.key", "/etc/wireguard/roost0.conf") == "600 root\n" * 2
    assert world.guest.run("stat", "-c", "%a %U %G", "/etc/knot/roost-tsig.conf") == "640 root knot\n"


def test_our_tunnel_and_the_kernels_wireguard_understand_each_other(tunnel: World) -> None:
    for address in (RELAY4, RELAY6):
        # The largest packet, and none of its fragments.
        head = 48 if ":" in address else 28
        # A machine that is emulated beside others answers one now and then too late.
        for options in ((), ("-M", "do", "-s", str(MTU - head))):
            wait_until(f"an answer of {address}", lambda: pings(tunnel, address, *options), SLOW)
    peer = tunnel.guest.run("wg", "show", "roost0", "latest-handshakes").split()
    assert int(peer[1]) > 0


def test_bytes_arrive_as_they_were_sent(tunnel: World) -> None:
    """Two megabytes each way, in the largest segments that fit."""
    sent = os.urandom(2 << 20)
    port = 8077
    tunnel.guest.run("systemctl", "stop", "roost-health.socket")
    # The box asks at this port from time to time whether it may serve; it gets no answer meanwhile.
    program = f"""
import socket, threading

def echo(caller):
    came = b""
    while len(came) < {len(sent)}:
        part = caller.recv(65536)
        if not part:
            return
        came += part
    caller.sendall(came)

server = socket.create_server(("{RELAY4}", {port}))
while True:
    threading.Thread(target=echo, args=server.accept()[:1]).start()
"""
    try:
        tunnel.guest.run("systemd-run", "--unit=lab-echo", "--collect", "python3", "-c", program)
        with tunnel.box.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
            caller.settimeout(SLOW)
            caller.bind((BOX4, 0))
            wait_until("the echo", lambda: caller.connect_ex((RELAY4, port)) == 0, SLOW)
            caller.sendall(sent)
            came = b""
            while len(came) < len(sent) and (part := caller.recv(65536)):
                came += part
        assert came == sent
    finally:
        tunnel.guest.sh("systemctl stop lab-echo; systemctl start roost-health.socket", check=False)


def health(world: World) -> dict[str, object]:
    """What the relay tells the box."""
    said = world.box.run("curl", "-sS", "-m", "30", "--interface", BOX4, f"http://{RELAY4}:8077/")
    return dict(json.loads(said))


def test_the_relay_tells_the_box_how_it_is(tunnel: World) -> None:
    said = health(tunnel)
    assert said["reboot_required"] is False
    assert said["uptime"] > 0  # type: ignore[operator]
    assert 0 < said["conntrack"] < said["conntrack_max"] == 65536  # type: ignore[operator]


def test_the_relay_remembers_which_box_may_serve(tunnel: World) -> None:
    """From one call to the next, each of which systemd gives a process of its own."""

    def told() -> list[str]:
        words = tunnel.guest.run("cat", "/var/lib/roost/holder").split()
        assert len(words) == 6, words
        return words

    first = wait_until("the box's first call", told, SLOW, retry_on=(Refused, AssertionError))
    assert first[1] == "1", first
    later = wait_until("a later one", lambda: told() if told()[4] != first[4] else None, SLOW)
    assert later[:4] == first[:4]


@pytest.mark.parametrize("port", [22, 8077])
def test_nobody_else_reaches_the_relay_itself(tunnel: World, port: int) -> None:
    """The emulated network takes the call before the guest does; then nothing comes."""
    tunnel.guest.run("systemctl", "is-active", "roost-health.socket")
    with pytest.raises(TimeoutError):
        call_relay(tunnel, port)


@pytest.mark.parametrize("port", [25, 80, 443, 465, 587, 993, 995, 4190])
def test_mail_arrives_at_the_box_with_the_clients_address(tunnel: World, echo: Echo, port: int) -> None:
    echo.listen(tunnel.box, 4, "tcp", port)
    assert call_relay(tunnel, port) == f"box {HOST}"


def test_the_boxs_mail_leaves_by_the_relay_and_nothing_else_does(tunnel: World) -> None:
    assert call(tunnel.box, "tcp", OUTSIDE, 25) == f"{GREETING}\n"
    with pytest.raises(OSError) as refused:
        call(tunnel.box, "tcp", HOST, 80, source=BOX4)
    assert refused.value.errno in (errno.EHOSTUNREACH, errno.EACCES)


def test_the_zone_comes_through_the_tunnel_and_the_box_answers(tunnel: World) -> None:
    start_names(tunnel, 1)
    wait_until("the box's answer", lambda: answered_by_box(tunnel), SLOW)
    assert serial(tunnel) == 1
    wait_until("the copy", lambda: health(tunnel)["zones"] == {ZONE: 1}, SLOW)
    assert health(tunnel)["dns"] == "box"


def test_the_relay_answers_when_the_boxs_name_server_is_away(tunnel: World) -> None:
    tunnel.stop("knot")
    wait_until("the relay's answer", lambda: answered_by_box(tunnel) is False, SLOW)
    assert serial(tunnel) == 1
    assert "status: REFUSED" in dig(tunnel, "example.com", "SOA")


def test_setup_may_be_run_again(tunnel: World) -> None:
    before = tunnel.relay_key(), tunnel.guest.run("cat", "/etc/knot/roost-tsig.conf")
    said = tunnel.guest.run("/usr/local/lib/roost/setup", timeout=SETUP_TIMEOUT)
    assert said.endswith(f"The relay is set up. Its WireGuard key: {before[0]}\n")
    assert (tunnel.relay_key(), tunnel.guest.run("cat", "/etc/knot/roost-tsig.conf")) == before
    assert failed_units(tunnel) == ""
    assert tunnel.guest.run("grep", "-c", "swapfile", "/etc/fstab") == "1\n"
    wait_until("the tunnel", lambda: pings(tunnel, RELAY4), SLOW)


def test_after_a_restart_everything_comes_back_by_itself(tunnel: World, echo: Echo) -> None:
    before = tunnel.relay_key(), tunnel.guest.run("cat", "/etc/knot/roost-tsig.conf")
    tunnel.guest.restart()
    # The box is not told, and its name server is away.
    wait_until("the tunnel", lambda: pings(tunnel, RELAY4), SLOW)
    tunnel.guest.run("cloud-init", "status", "--wait", timeout=SETUP_TIMEOUT, check=False)
    assert (tunnel.relay_key(), tunnel.guest.run("cat", "/etc/knot/roost-tsig.conf")) == before
    test_all_of_it_runs_and_will_after_a_restart(tunnel)
    test_kernel_parameters_are_set(tunnel)
    test_a_small_machine_has_room_for_apt(tunnel)
    assert up_since(tunnel, "roost-firewall.service") < up_since(tunnel, "network-pre.target"), "a network without rules"
    wait_until("the relay's copy", lambda: serial(tunnel) == 1, SLOW)
    assert answered_by_box(tunnel) is False
    echo.listen(tunnel.box, 4, "tcp", 25)
    assert call_relay(tunnel, 25) == f"box {HOST}"
    with pytest.raises(TimeoutError):
        call_relay(tunnel, 8077)
    assert health(tunnel)["zones"] == {ZONE: 1}
    assert tunnel.processes["tunnel"].poll() is None
    # Nothing was installed or set up anew: cloud-init does so once.
    assert tunnel.guest.run("grep", "-c", "The relay is set up", "/var/log/cloud-init-output.log") == "1\n"
