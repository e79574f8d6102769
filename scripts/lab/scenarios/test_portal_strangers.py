"""What strangers can do to the portal of a booted box: its TLS by testssl.sh, and a thousand connections."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from conftest import Subject, machine_room
from laptop import API, HTTPS
from machine import Machine
from neighbour import Neighbour
from waiting import wait_until

#: Seconds for the tool: it makes some hundred handshakes with an emulated box.
TESTSSL_TIMEOUT = 900.0
#: What is known of a box without a public name: its certificate is its own, long-lived one, as on the owner's slip.
OWN_CERTIFICATE = {
    "cert_chain_of_trust", "cert_trust", "cert_expirationStatus", "cert_validityPeriod", "cert_revocation",
    "cert_extlifeSpan", "cert_caIssuers", "DNS_CAArecord",
    # Of this machine's own OpenSSL.
    "engine_problem",
}  # fmt: skip
#: How testssl.sh rates what should not be.
FAULTS = {"LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"}
CONNECTIONS = 1000
#: Seconds until somebody new is served.
PATIENCE = 30.0


@pytest.fixture(scope="module")
def machine(
    subject: Subject, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A new box."""
    with machine_room(subject, pytestconfig) as start:
        machine = start(tmp_path_factory.mktemp("strangers") / "box", options=("--lan",))
        machine.wait_ready()
        yield machine


def page(machine: Machine) -> str:
    """The first page, as somebody new gets it."""
    url = f"https://127.0.0.1:{machine.forwards[HTTPS]}/pair"
    command = ["curl", "--silent", "--show-error", "--fail", "--insecure", "--max-time", "30", url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_tls_by_a_public_tool(machine: Machine, tmp_path: Path) -> None:
    """Protocols, ciphers, keys and known holes: testssl.sh finds nothing but that the certificate is the box's own."""
    found = tmp_path / "found.json"
    done = subprocess.run(
        ["testssl", "--quiet", "--warnings", "batch", "--color", "0", "--jsonfile", str(found),
         "--protocols", "--std", "--fs", "--server-defaults", "--vulnerable",
         f"127.0.0.1:{machine.forwards[HTTPS]}"],
        capture_output=True, text=True, timeout=TESTSSL_TIMEOUT, check=False,
    )  # fmt: skip
    assert found.exists(), done.stdout + done.stderr
    findings = json.loads(found.read_text())
    said = {finding["id"]: finding for finding in findings}
    assert said["TLS1_3"]["severity"] == "OK", said["TLS1_3"]
    faults = [f for f in findings if f["severity"] in FAULTS and f["id"].split(" ")[0] not in OWN_CERTIFICATE]
    assert faults == []


def test_laptops_door_says_nothing_to_strangers(machine: Machine) -> None:
    """Without a laptop's key there is no word of HTTP on the port of the device API."""
    url = f"https://127.0.0.1:{machine.forwards[API]}/api/v1/hello"
    done = subprocess.run(["curl", "--silent", "--insecure", "--max-time", "30", url], capture_output=True, check=False)
    assert done.returncode != 0
    assert done.stdout == b""


def test_a_thousand_connections(machine: Machine) -> None:
    """Somebody on the home network says nothing and stays, a thousand times: whoever comes from elsewhere gets in."""
    with Neighbour(machine.lan_path) as neighbour, ExitStack() as held:
        address = neighbour.wait_address(lambda: machine.status()["addresses"])
        for _ in range(CONNECTIONS):
            held.enter_context(neighbour.connect(address, HTTPS))

        def served() -> bool:
            return "Pairing code" in page(machine)

        wait_until("the page in spite of all", served, PATIENCE, interval=1.0, retry_on=(subprocess.CalledProcessError,))
    assert machine.service("portal")["restarts"] == 0
    assert machine.status()["ready"]
