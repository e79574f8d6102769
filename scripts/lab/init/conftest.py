"""init and two services, built for this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from box import CHECKOUT, Root, why_not

WHY = "For a test."
SPEC = {"description": WHY, "program": "/bin/service", "required": True, "ready_timeout_s": 2, "stop_timeout_s": 1}
#: Between them they have a right of each kind that a spec can list.
SERVICES: list[dict[str, object]] = [
    {
        "name": "one", "user": 2001, "card": True, "settings": WHY, "control": {"look": WHY},
        "ports": {"tcp/25": WHY}, "shared": {"network": WHY}, "files": {"/proc/sys/net": WHY}, **SPEC,
    },
    {
        "name": "two", "user": 2002, "after": ["one"], "sockets": {"one": WHY}, "devices": {"tun": WHY},
        "capabilities": {"net_admin": WHY}, "shared": {"user": WHY, "network": WHY}, **SPEC,
    },
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """init and its services, as built for this machine."""
    why = why_not()
    if why:
        pytest.fail(why, pytrace=False)
    init = Path(os.environ.get("ROOST_INIT", CHECKOUT / "target/debug/init"))
    if not init.exists():
        pytest.fail(f"there is no {init}: build it with `cargo build -p roost-init`, or set ROOST_INIT", pytrace=False)
    service = tmp_path / "service"
    source = Path(__file__).with_name("service.rs")
    subprocess.run(["rustc", "-O", "-C", "target-feature=+crt-static", "-o", service, source], check=True)
    return Root(tmp_path / "root", init, service, SERVICES)
