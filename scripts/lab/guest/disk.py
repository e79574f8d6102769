"""The disk of a Debian cloud machine, made of Debian's packages: its images come from no package mirror.

What Debian's own cloud images have and the relay has to do with is in it: systemd with networkd,
resolved and netplan, cloud-init, the cloud kernel. Beyond that only `agent.py`. Kept in the cache.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

#: What the module's image is, too (Debian 13).
RELEASE = "trixie"
PACKAGES = [
    "ca-certificates", "cloud-guest-utils", "cloud-init", "dbus", "e2fsprogs", "iproute2", "kmod",
    "linux-image-cloud-amd64", "netplan.io", "procps", "systemd-resolved", "systemd-sysv", "udev",
]
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
#: As AWS gives a relay; the file has holes.
SIZE = "8G"
AGENT = Path(__file__).with_name("agent.py")
FILES = {
    "etc/fstab": "LABEL=root / ext4 defaults 0 1\n",
    "etc/cloud/cloud.cfg.d/90_lab.cfg": (
        # There is no SSH to make keys for.
        "datasource_list: [NoCloud]\napt: {preserve_sources_list: true}\nssh_genkeytypes: []\n"
    ),
    "etc/systemd/system/lab-agent.service": """\
[Unit]
Description=Commands of the test
DefaultDependencies=no
After=systemd-udevd.service systemd-remount-fs.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/usr/bin/python3 -u /usr/local/lib/lab-agent.py
Restart=always
RestartSec=1
# Commands may start what they like.
KillMode=process

[Install]
WantedBy=sysinit.target
""",
}


@dataclass
class Disk:
    """What an emulator needs."""

    kernel: Path
    initrd: Path
    root: Path


def sources() -> str:
    """This machine's mirrors of Debian, with the guest's release for its own."""
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(CODENAME)|$(ORIGIN)", "Created-By: Packages"],
        capture_output=True, text=True, check=True,
    ).stdout
    found: list[str] = []
    for line in said.splitlines():
        place, codename, origin = line.split("|")
        suffix = codename.partition("-")[2]
        entry = f"deb {place} {RELEASE}{'-' if suffix else ''}{suffix} main\n"
        if origin == "Debian" and suffix in ("", "updates", "security") and entry not in found:
            found.append(entry)
    if not found:
        raise RuntimeError("apt knows no mirror of Debian; try: apt-get update")
    return "".join(found)


def apt_settings() -> str:
    """How this machine reaches its mirror, for the guest's apt."""
    said = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    kept = [
        line for line in said.splitlines()
        if line.startswith("Acquire::") and ("::Proxy" in line or line.startswith(("Acquire::Check-", "Acquire::Languages")))
    ]
    for kind in ("http", "https"):
        if proxy := os.environ.get(f"{kind}_proxy"):
            kept.append(f'Acquire::{kind}::Proxy "{proxy}";')
    return "".join(f"{line}\n" for line in kept)


def cache() -> Path:
    """Where disks are kept."""
    place = os.environ.get("ROOST_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "roost"
    return Path(place) / "guest"


def disk() -> Disk:
    """The disk for these inputs; makes it if it is not there."""
    inputs = [RELEASE, *PACKAGES, SIZE, *map(str, FILES.items()), AGENT.read_text(), sources(), apt_settings()]
    place = cache() / hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    made = Disk(place / "vmlinuz", place / "initrd.img", place / "root.ext4")
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new.", dir=place.parent) as new:
            _make(Path(new))
            (Path(new) / "disk").rename(place)
    return made


def _make(folder: Path) -> None:
    """A minute or three, most of it the packages' scripts."""
    root, result = folder / "root", folder / "disk"
    result.mkdir()
    (folder / "sources.list").write_text(sources())
    (folder / "apt.conf").write_text(apt_settings())
    subprocess.run(
        [
            "mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", "--format=directory", f"--keyring={KEYRING}",
            f"--aptopt={folder / 'apt.conf'}", f"--include={','.join(PACKAGES)}",
            RELEASE, str(root), str(folder / "sources.list"),
        ],
        check=True,
    )
    for name, content in FILES.items():
        (root / name).write_text(content)
    shutil.copy(AGENT, root / "usr/local/lib/lab-agent.py")
    subprocess.run(["systemctl", f"--root={root}", "enable", "--quiet", "lab-agent", "systemd-networkd"], check=True)
    # Debian's links to the newest kernel.
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(root / os.readlink(root / name), result / name)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-d", str(root), str(result / "root.ext4"), SIZE], check=True)
