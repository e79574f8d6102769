"""What each service can do in its container, tried by a program that stands in its place.

The image is the one that ships, but for the services' programs: init starts `services/init/tests/container/probe.rs`
with the rights of each.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from conftest import Boot, Subject
from updates import CHECKOUT
from waiting import wait_until

DENIED = "Permission denied (os error 13)"
MISSING = "No such file or directory (os error 2)"
READ_ONLY = "Read-only file system (os error 30)"
#: CAP_NET_ADMIN's bit (linux/capability.h).
NET_ADMIN = 1 << 12
#: What is the same for all, whatever their specs say.
SAME = {
    "Groups": "",
    "NoNewPrivs": "1",
    "process": "1",
    "sees process": "1",
    "list /": DENIED,
    "list /data": DENIED,
    "list /data/services": DENIED,
    "list /run/services": DENIED,
    "list /dev": DENIED,
    "read /data/first-boot/card": MISSING,
    "write /bin/new": READ_ONLY,
    "write /new": READ_ONLY,
    "write /dev/new": READ_ONLY,
    "write /proc/self/comm": READ_ONLY,
    "write /tmp/new": "done",
    "write /dev/null": "done",
    "execute what it wrote": DENIED,
    "execute itself": "done",
    "mount": "Operation not permitted (os error 1)",
    "make a mount namespace": "Operation not permitted (os error 1)",
    "signal process 2": "No such process (os error 3)",
}  # fmt: skip


def specs() -> dict[str, dict[str, Any]]:
    """The specs of all services, by name."""
    found = [tomllib.loads(path.read_text()) for path in sorted(CHECKOUT.glob("services/*/service.toml"))]
    return {spec["name"]: spec for spec in found}


def compiled(subject: Subject, folder: Path) -> Path:
    """The probe for the box, made with the compiler that the box's own programs are made with."""
    source = CHECKOUT / "services/init/tests/container/probe.rs"
    (folder / "probe.rs").write_bytes(source.read_bytes())
    shown = subprocess.run([str(subject.roost), "sdk", "show", "--json"], capture_output=True, check=True)
    subprocess.run(
        ["bwrap", "--ro-bind", json.loads(shown.stdout)["path"], "/", "--dev", "/dev", "--proc", "/proc",
         "--bind", str(folder), "/tmp", "--chdir", "/tmp",
         "rustc", "--edition=2024", "--target=aarch64-unknown-linux-gnu", "-Ctarget-feature=+crt-static",
         "-Clinker=aarch64-linux-gnu-gcc", "-o", "probe", "probe.rs"],
        check=True,
    )  # fmt: skip
    return folder / "probe"


def image(subject: Subject, folder: Path) -> Path:
    """An image with the probe in place of every service."""
    probe = compiled(subject, folder)
    digest = hashlib.sha256(probe.read_bytes()).hexdigest()
    text = (CHECKOUT / "scripts/lab/roost.toml").read_text()
    for name in specs():
        text += f'\n[components.{name}]\npath = "{probe}"\nsha256 = "{digest}"\n'
    (folder / "roost.toml").write_text(text)
    subprocess.run(
        [str(subject.roost), "build", "--config", str(folder / "roost.toml"), "--output", str(folder / "image"),
         "--release", "1", "--offline", "--quiet"],
        check=True, cwd=CHECKOUT,
    )  # fmt: skip
    return folder / "image" / "roost.img"


def expected(spec: dict[str, Any]) -> dict[str, str]:
    """What a service with this spec must find."""
    name, user = spec["name"], spec["user"]
    capabilities = f"{NET_ADMIN if 'net_admin' in spec.get('capabilities', {}) else 0:016x}"
    may = {**dict.fromkeys(("Uid", "Gid"), " ".join([str(user)] * 4)), "folder": f"/data/services/{name}"}
    may |= dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), capabilities)
    may |= dict.fromkeys((f"write /data/services/{name}/new", f"write /run/services/{name}/new"), "done")
    for protocol in ("tcp", "udp"):
        ports = [port for kind, port in (port.split("/") for port in spec.get("ports", {})) if kind == protocol]
        may[f"binds {protocol}"] = "any" if "any" in ports else " ".join(map(str, sorted(map(int, ["0", *ports]))))
    may["read /etc/roost/settings.json"] = "done" if "settings" in spec else MISSING
    may["connect to init"] = "done" if "control" in spec else MISSING
    kernel = any(file.startswith("/proc/") for file in spec["files"])
    may["read /proc/sys/kernel/hostname"] = "done" if kernel else MISSING
    may["read /proc/kmsg"] = DENIED if kernel else MISSING
    if "user" not in spec["shared"]:
        may["make a user namespace"] = "No space left on device (os error 28)"
    return may


def test_each_service_can_do_what_its_spec_lists(subject: Subject, boot: Boot, tmp_path: Path) -> None:
    """Nothing less, and of what was tried nothing more."""
    machine = boot(tmp_path / "box", image=image(subject, tmp_path))
    machine.wait_ready()
    for name, spec in specs().items():
        wait_until(f"{name} to have tried everything", lambda name=name: "tries: over" in machine.logs(name), 120)
        said = machine.logs(name)
        # Of the first start, should there be more.
        found = dict(line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in reversed(said))
        wanted = SAME | expected(spec)
        assert {key: found.get(key) for key in wanted} == wanted, name
        assert said.count("sees process: 1") == sum(line.startswith("sees process") for line in said), name
