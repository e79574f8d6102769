"""What each service can do in its container, tried by a program that stands in its place.

The image is the one that ships, but for the services' programs: init starts `services/init/tests/container/probe.rs`
with the rights of each.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from conftest import Boot, Subject
from machine import MachineError
from updates import CHECKOUT, Workshop
from waiting import wait_until

#: Of the release that is made here.
NUMBER = 60
DENIED = "Permission denied (os error 13)"
MISSING = "No such file or directory (os error 2)"
FILTERED = "Operation not permitted (os error 1)"
READ_ONLY = "Read-only file system (os error 30)"
#: CAP_NET_ADMIN's bit (linux/capability.h).
NET_ADMIN = 1 << 12
#: Tries to mount something, as the last of all: its filter is its end.
ENDED = "certificates"
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
    "signal process 2": "No such process (os error 3)",
}  # fmt: skip


def specs() -> dict[str, dict[str, Any]]:
    """The specs of all services, by name."""
    found = [tomllib.loads(path.read_text()) for path in sorted(CHECKOUT.glob("services/*/service.toml"))]
    return {spec["name"]: spec for spec in found}


def compiled(subject: Subject, folder: Path) -> Path:
    """The probe for the box, made with the compiler that the box's own programs are made with."""
    shutil.copy(CHECKOUT / "services/init/tests/container/probe.rs", folder)
    subprocess.run(
        [str(subject.roost), "sdk", "run", "rustc", "--edition=2024", "--target=aarch64-unknown-linux-gnu",
         "-Ctarget-feature=+crt-static", "-Clinker=aarch64-linux-gnu-gcc", "probe.rs"],
        cwd=folder, check=True,
    )  # fmt: skip
    return folder / "probe"


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
    # Only this one may begin another process, and that only with a program of the image.
    portal = name == "portal"
    may |= {"execute what it wrote": DENIED if portal else FILTERED, "execute itself": "done" if portal else FILTERED}
    return may


def test_each_service_can_do_what_its_spec_lists(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Nothing less, and of what was tried nothing more."""
    release = workshop.release(NUMBER, replaced=dict.fromkeys(specs(), compiled(workshop.subject, tmp_path)))
    machine = boot(tmp_path / "box", image=release.image)

    def said(name: str) -> list[str]:
        # Without the time, which stands before each line.
        lines = [line.split("] ", 1)[-1] for line in machine.logs(name)]
        return lines if "tries: over" in lines else []

    for name, spec in specs().items():
        lines = wait_until(f"{name} to have tried everything", lambda name=name: said(name), 120, retry_on=(OSError, MachineError))
        # Of the first start, should there be more.
        found = dict(line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in reversed(lines))
        wanted = SAME | expected(spec)
        assert {key: found.get(key) for key in wanted} == wanted, name
        assert lines.count("sees process: 1") == sum(line.startswith("sees process") for line in lines), name
        if name == ENDED:
            assert not any(line.startswith("mount") for line in lines), lines
    why = f"{ENDED} was ended: it made a system call that no service has a use for"
    wait_until("the end of whoever mounts", lambda: any(why in line for line in machine.logs("init")), 60)
