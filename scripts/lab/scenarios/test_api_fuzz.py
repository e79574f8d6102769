"""The device API, fuzzed from its own OpenAPI document by schemathesis.

Every call is made with what the document allows and with what it does not: wrong types, missing and
further fields, other methods, other headers. No answer may be a fault of the server, and each must be
one that the document knows. Calls that would end the box (restart, reset, rollback) are made by
strangers only, who must be refused. Calls about mail are made by the laptop as well: the fuzzer finds the
box's own account in the list and gives it another password, which nobody uses here, but the mail
service must keep it from deleting that account and the box's domain.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from conftest import Boot, Subject
from laptop import HTTPS, Laptop
from machine import Machine

CHECKOUT = Path(__file__).resolve().parents[3]
#: Made by scripts/setup.
SCHEMATHESIS = Path(os.environ.get("ROOST_SCHEMATHESIS", CHECKOUT / "build/tools/bin/schemathesis"))
DOCUMENT = CHECKOUT / "docs/openapi.json"
#: Calls for each operation in each phase; with all operations some thousand.
EXAMPLES = 40
#: Seconds for all of them, on a box that is emulated.
FUZZ_TIMEOUT = 3000.0
PASSWORD = "wobbly lantern orbits quietly"


def fuzz(url: str, *options: str) -> None:
    """Runs schemathesis against the API at `url`."""
    command = [
        str(SCHEMATHESIS), "run", str(DOCUMENT), "--url", url, "--tls-verify", "false",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "2", "--request-timeout", "60",
        "--suppress-health-check", "all", "--no-color", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=FUZZ_TIMEOUT, check=False, cwd=SCHEMATHESIS.parent)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_strangers_and_a_box_without_an_owner(boot: Boot, tmp_path: Path) -> None:
    """The box gives the kept document away; whatever strangers send, it stays whole and without an owner."""
    machine = boot(tmp_path / "box", cpus=2)
    machine.wait_ready()
    url = f"https://127.0.0.1:{machine.forwards[HTTPS]}"
    assert get(f"{url}/api/v1/openapi.json") == DOCUMENT.read_text()
    fuzz(url)
    assert json.loads(get(f"{url}/api/v1/hello"))["paired"] is False
    whole(machine)


def test_a_laptop_and_strangers_at_an_owned_box(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """A laptop that sends nonsense gets refusals; so does everybody else."""
    machine = boot(tmp_path / "box", cpus=2)
    machine.wait_ready()
    laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    assert machine.code
    laptop.pair(machine, "--code", machine.code)
    certificate, key = laptop.credentials()
    restarts = machine.service("mail")["restarts"]
    # A fuzzer learns its own key from the list of laptops, and revokes itself; the rest would end the box. Each
    # call of `health` takes half a minute, and is looked at by `test_doctor.py`.
    fuzz(
        f"https://{laptop.at(machine)}", "--request-cert", str(certificate), "--request-cert-key", str(key),
        "--exclude-operation-id", "revoke", "--exclude-path-regex", "reboot|reset|rollback|health",
    )  # fmt: skip
    fuzz(f"https://127.0.0.1:{machine.forwards[HTTPS]}")
    mail = f"https://{laptop.at(machine)}/api/v1/mail"
    credentials = ("--cert", str(certificate), "--key", str(key))
    (first,) = [account for account in json.loads(get(f"{mail}/accounts", *credentials))["accounts"] if account["first"]]
    (own,) = [domain["name"] for domain in json.loads(get(f"{mail}/domains", *credentials))["domains"] if domain["main"]]
    assert first["addresses"][0] == f"{first['name']}@{own}"
    assert machine.service("mail")["restarts"] == restarts
    assert [known["name"] for known in laptop.run("pair", "--list")[-1]["laptops"]] == ["desk"]
    whole(machine)


def get(url: str, *credentials: str) -> str:
    """What a box answers to anybody, or to a laptop."""
    command = ["curl", "--silent", "--show-error", "--fail", "--insecure", *credentials, url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def whole(machine: Machine) -> None:
    """The portal serves on, and was never restarted."""
    assert machine.status()["ready"]
    assert machine.service("portal")["restarts"] == 0
