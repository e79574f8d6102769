"""The device API, fuzzed from its own OpenAPI document by schemathesis.

Every call is made with what the document allows and with what it does not: wrong types, missing and
further fields, other methods, other headers. No answer may be a fault of the server, and each must be
one that the document knows. Calls that would end the box (restart, reset, rollback) are made as well: by
somebody who is not signed in, who must be refused.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conftest import Boot, Subject
from laptop import HTTPS, Laptop

CHECKOUT = Path(__file__).resolve().parents[3]
#: Made by scripts/setup.
SCHEMATHESIS = Path(os.environ.get("ROOST_SCHEMATHESIS", CHECKOUT / "build/tools/bin/schemathesis"))
DOCUMENT = CHECKOUT / "docs/openapi.json"
#: Calls for each operation in each phase; with all operations some thousand.
EXAMPLES = 40
#: Seconds for all of them, on a box that is emulated.
FUZZ_TIMEOUT = 1500.0
PASSWORD = "wobbly lantern orbits quietly"


def fuzz(url: str, *options: str) -> str:
    """Runs schemathesis against the API at `url`; gives what it says."""
    # Hypothesis keeps what it found; not in the checkout.
    command = [
        str(SCHEMATHESIS), "run", str(DOCUMENT), "--url", url, "--tls-verify", "false",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        "--max-examples", str(EXAMPLES), "--seed", "1", "--workers", "2", "--request-timeout", "60",
        "--suppress-health-check", "all", "--no-color", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=FUZZ_TIMEOUT, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


def test_document_of_the_box_is_the_kept_one(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """The box gives the document away, then is fuzzed by strangers before and after it has an owner."""
    machine = boot(tmp_path / "box")
    machine.wait_ready()
    url = f"https://127.0.0.1:{machine.forwards[HTTPS]}"
    given = subprocess.run(
        ["curl", "--silent", "--show-error", "--insecure", f"{url}/api/v1/openapi.json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert given == DOCUMENT.read_text()

    # Codes are limited: the fuzzer's are refused, and the box stays whole.
    fuzz(url)
    status = machine.status()
    assert status["ready"] and machine.service("portal")["restarts"] == 0, status

    # The delay that the fuzzer has earned ends for the owner too.
    laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    assert machine.code
    outcome = laptop.pair(machine, "--code", machine.code, expect=None)
    assert outcome["event"] == "result" or "you can try again in" in str(outcome["because"]), outcome
    fuzz(url, "--include-path-regex", "laptops|hello|status|logs|audit")
    assert machine.service("portal")["restarts"] == 0
