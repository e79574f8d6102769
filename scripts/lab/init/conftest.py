"""init and two services, built for this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from box import CHECKOUT, Root, why_not

SPEC = {"description": "For a test.", "required": True, "ready_timeout_s": 2, "stop_timeout_s": 1}
SERVICES = [
    {"name": "one", "program": "/bin/service", "user": 2001, **SPEC},
    {"name": "two", "program": "/bin/service", "user": 2002, "after": ["one"], **SPEC},
]


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """init and its services, as built for this machine."""
    why = why_not()
    if why:
        pytest.skip(why)
    init = Path(os.environ.get("ROOST_INIT", CHECKOUT / "target/debug/init"))
    service = tmp_path / "service"
    source = Path(__file__).with_name("service.rs")
    subprocess.run(["rustc", "-O", "-C", "target-feature=+crt-static", "-o", service, source], check=True)
    return Root(tmp_path / "root", init, service, SERVICES)
