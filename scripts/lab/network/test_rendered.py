"""What is rendered, in the eyes of the programs that will read it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import relay as relay_files
from conftest import World

#: Files that Terraform fills in; the others stay as they are.
TEMPLATES = ["relay.nft", "roost0.conf", "knot.conf", "relay.env", "52roost", "sysctl.conf", "modules.conf", "units/roost-health.socket"]
UNITS = [
    "roost-firewall.service", "roost-key.service", "roost-dns-watch.service", "roost-health.socket",
    "roost-health@1.service", "wg-quick@roost0.service", "knot.service",
]


def test_terraforms_own_tests_of_the_module_pass(tmp_path: Path) -> None:
    """They need no provider."""
    subprocess.run(["cp", "-r", str(relay_files.MODULE), str(tmp_path / "module")], check=True)
    relay_files.terraform(tmp_path / "module", "init", "-input=false", "-no-color")
    said = relay_files.terraform(tmp_path / "module", "test", "-no-color")
    assert re.search(r"Success! [1-9]\d* passed, 0 failed\.", said), said


def test_terraform_has_nothing_to_format() -> None:
    done = subprocess.run(["terraform", "fmt", "-check", "-recursive", str(relay_files.MODULE.parents[1])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_templates_hold_nothing_but_names() -> None:
    """So that whatever can replace a name in braces can render them."""
    for name in TEMPLATES:
        text = (relay_files.MODULE / "files" / name).read_text()
        assert "%{" not in text
        assert re.sub(r"\$\{[a-z0-9_]+\}", "", text).count("${") == 0, name


def test_cloud_init_finds_the_user_data_valid(rendered: dict[str, object], tmp_path: Path) -> None:
    library = os.environ.get("ROOST_CLOUD_INIT")
    if not library:
        pytest.skip("ROOST_CLOUD_INIT is not set: the user data was NOT checked against cloud-init's schema")
    path = tmp_path / "user-data"
    path.write_text(str(rendered["user_data"]))

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(path)],
            env={**os.environ, "PYTHONPATH": library}, capture_output=True, text=True,
        )

    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid" in done.stdout + done.stderr
    path.write_text(path.read_text().replace("permissions:", "permission:"))
    assert check().returncode != 0


def test_scripts_are_sound(rendered: dict[str, object], tmp_path: Path) -> None:
    """Left out: three complaints about the file of settings, which is nowhere but on a relay."""
    scripts = [relay_files.MODULE / "files" / name for name in ("key", "dns-watch", "health", "setup")]
    whole = tmp_path / "script"
    whole.write_text(str(rendered["script"]))
    subprocess.run(["sh", "-n", str(whole)], check=True)
    done = subprocess.run(
        ["shellcheck", "--shell=dash", "--exclude=SC1090,SC1091,SC2153", *map(str, scripts)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_script_writes_the_same_files(rendered: dict[str, object], tmp_path: Path) -> None:
    """On a machine without cloud-init: run it, up to where it would start."""
    script = str(rendered["script"])
    assert script.rstrip().endswith("exec /usr/local/lib/roost/setup")
    body = script.replace("exec /usr/local/lib/roost/setup", "").replace("put /", f"put {tmp_path}/root/")
    subprocess.run(["sh"], input=body, text=True, check=True)
    written = {
        f"/{path.relative_to(tmp_path / 'root')}": (path.read_text(), path.stat().st_mode & 0o777)
        for path in (tmp_path / "root").rglob("*") if path.is_file()
    }
    assert written == relay_files.files(str(rendered["user_data"]))


def test_systemd_finds_the_units_sound(world: World) -> None:
    # The files of this machine lie below the relay's, and `scripts/setup` has kept its services from starting.
    world.relay.run("find", "/etc/systemd/system", "-maxdepth", "1", "-lname", "/dev/null", "-delete")
    assert world.relay.run("sh", "-c", f"systemd-analyze verify {' '.join(UNITS)} 2>&1") == ""


def test_wireguard_reads_the_tunnels_file(world: World) -> None:
    """Without its lines for wg-quick, which prints what it leaves to wg."""
    said = world.relay.run("wg-quick", "strip", "roost0")
    assert "ListenPort = 51820" in said
    assert "AllowedIPs = 10.77.0.2/32, fd77:77::2/128" in said
    assert "PrivateKey" not in said


def test_nothing_rendered_looks_like_a_private_key(rendered: dict[str, object]) -> None:
    keys = set(re.findall(r"[A-Za-z0-9+/]{43}=", str(rendered["user_data"]) + str(rendered["script"])))
    assert keys == {"K" * 42 + "o="}
