"""The disk of a usual small Debian machine for ARM64, to compare the box with.

Debian's packages are unpacked here and installed by themselves (`dpkg`, maintainer scripts, the
making of the initramfs) in an emulated machine that boots from nothing else: no foreign program
runs on this machine, and nobody needs to be root. Kept in the cache under its inputs.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import subprocess
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import disk as cloud
from disk import Disk

RELEASE = cloud.RELEASE
#: What `debootstrap --variant=minbase` makes, and what makes a server with a network of that. `zstd` packs
#: the initramfs as a usual installation does; the kernel takes far longer over gzip.
PACKAGES = [
    "?essential", "?priority(required)", "ca-certificates", "dbus", "e2fsprogs", "initramfs-tools",
    "iproute2", "kmod", "systemd-sysv", "udev", "zstd",
]
#: In the first stage alone: a program that needs no library.
RESCUE = "busybox-static"
SIZE = "3G"
#: What the emulated machine needs before it has its root.
DRIVERS = ["virtio_blk", "ext4"]
#: Seconds that the packages' scripts may take under emulation.
INSTALL_LIMIT = 3600
FIRST = """\
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /root
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount -t proc proc /root/proc
/bin/busybox mount -t sysfs sys /root/sys
/bin/busybox mount -t devtmpfs dev /root/dev
/bin/busybox mount -t tmpfs run /root/run
/bin/busybox chroot /root /bin/sh /install && echo installed > /root/installed
/bin/busybox umount /root/run /root/dev /root/sys /root/proc
/bin/busybox umount /root
/bin/busybox sync
/bin/busybox poweroff -f
"""
INSTALL = """\
set -ex
export PATH=/usr/sbin:/usr/bin DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8
chown -R 0:0 /usr/lib/modules
dpkg --force-depends --force-unsafe-io --install /packages/essential/*.deb
dpkg --force-depends --force-unsafe-io --unpack /packages/others/*.deb
dpkg --force-unsafe-io --configure --pending
update-initramfs -c -k VERSION
systemctl enable systemd-networkd
rm -rf /packages /install
"""
FILES = {
    "etc/fstab": "/dev/vda / ext4 defaults,noatime 0 1\n",
    "etc/hostname": "debian\n",
    "etc/hosts": "127.0.0.1 localhost\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    "etc/systemd/network/wired.network": "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n",
}


class Sdk:
    """Programs of the SDK root, which `roost build` makes: this machine needs none of them."""

    def __init__(self, roost: Path) -> None:
        """Finds it."""
        said = subprocess.run([roost, "sdk", "show", "--json"], capture_output=True, text=True, check=True).stdout
        shown = json.loads(said.splitlines()[-1])
        if not shown["exists"]:
            raise RuntimeError("there is no SDK root; try: roost sdk make")
        self.root = Path(shown["path"])
        self.qemu: str = shown["qemu"]
        self.cache = self.root.parent.parent

    def command(self, *program: str | Path, folders: tuple[Path, ...] = ()) -> list[str]:
        """A command line that runs a program of it, which sees `folders` and nothing else of this machine."""
        words = ["bwrap", "--unshare-pid", "--die-with-parent", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
        for name in ("usr", "etc"):
            words += ["--ro-bind", str(self.root / name), f"/{name}"]
        for name in ("bin", "lib", "lib64", "sbin"):
            words += ["--symlink", f"usr/{name}", f"/{name}"]
        for folder in folders:
            words += ["--bind", str(folder), str(folder)]
        return [*words, "--setenv", "PATH", "/usr/sbin:/usr/bin", *map(str, program)]

    def run(self, *program: str | Path, folders: tuple[Path, ...] = ()) -> str:
        """Runs it to its end; returns what it printed."""
        done = subprocess.run(self.command(*program, folders=folders), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, program))}: {done.stderr}")
        return done.stdout


@dataclass
class Kernel:
    """The kernel of the box's own image, as packages."""

    version: str
    packages: list[Path]

    @classmethod
    def of_lock(cls, lock: Path, cache: Path) -> Kernel:
        """The one in `roost.lock`, as `roost build` has downloaded it."""
        prefixes = ("linux-base-", "linux-binary-", "linux-modules-")
        pinned = tomllib.loads(lock.read_text())["package"]
        found = [entry for entry in pinned if entry["use"] == "image" and entry["name"].startswith(prefixes)]
        version = next(entry["name"] for entry in found if "-binary-" in entry["name"]).removeprefix("linux-binary-")
        return cls(version, [cache / "packages" / f"{entry['sha256']}.deb" for entry in found])

    def image(self, unpacked: Path) -> Path:
        """The kernel itself, where these packages were unpacked."""
        return unpacked / "usr/lib/modules" / self.version / "vmlinuz"


def disk(sdk: Sdk, kernel: Kernel) -> Disk:
    """The disk for these inputs; makes it if it is not there."""
    # Debian's stable release moves with its point releases only: one disk a month is new enough.
    inputs = [
        RELEASE, time.strftime("%Y-%m"), *PACKAGES, RESCUE, SIZE, FIRST, INSTALL, *map(str, FILES.items()),
        *(package.name for package in kernel.packages), cloud.sources(),
    ]
    place = sdk.cache / "guest" / f"arm-{hashlib.sha256(chr(0).join(inputs).encode()).hexdigest()[:16]}"
    made = Disk(place / "vmlinuz", place / "initrd.img", place / "root.ext4")
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new.", dir=place.parent) as new:
            _make(sdk, kernel, Path(new))
            (Path(new) / "disk").rename(place)
    return made


def _make(sdk: Sdk, kernel: Kernel, folder: Path) -> None:
    """Ten minutes or so, nearly all of it the packages' scripts under emulation."""
    root, result, first = folder / "root", folder / "disk", folder / "first"
    for each in (root, result, first):
        each.mkdir()
    _download(folder)
    for package in kernel.packages:
        _unpack(package, root)
    shutil.copy(kernel.image(root), result / "vmlinuz")
    for kind in ("essential", "others"):
        for package in sorted((folder / kind).glob("*.deb")):
            # What the installation itself runs on.
            if kind == "essential":
                _unpack(package, root)
            shutil.copy(package, _folder(root / "packages" / kind))
    for name, text in FILES.items():
        (_folder((root / name).parent) / Path(name).name).write_text(text)
    (root / "install").write_text(INSTALL.replace("VERSION", kernel.version))
    for name in ("status", "available"):
        (_folder(root / "var/lib/dpkg") / name).touch()
    _first_stage(sdk, kernel, folder, first)
    image = result / "root.ext4"
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(root), str(image), SIZE], check=True)
    with (folder / "console.log").open("wb") as console:
        subprocess.run(
            sdk.command(
                "qemu-system-aarch64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "virt", "-cpu", "cortex-a72",
                "-smp", "2", "-m", "2048", "-serial", "stdio", "-kernel", result / "vmlinuz", "-initrd", folder / "first.cpio",
                "-append", "console=ttyAMA0 loglevel=4 panic=-1 rdinit=/init",
                "-drive", f"if=none,id=disk,format=raw,cache=unsafe,file={image}", "-device", "virtio-blk-pci,drive=disk",
                "-device", "virtio-rng-pci",
                folders=(folder,),
            ),
            stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, check=True, timeout=INSTALL_LIMIT,
        )
    for name, to in ((f"/boot/initrd.img-{kernel.version}", result / "initrd.img"), ("/installed", folder / "installed")):
        subprocess.run(["debugfs", "-R", f"dump {name} {to}", str(image)], check=True, capture_output=True)
    if not (folder / "installed").exists() or not (result / "initrd.img").stat().st_size:
        said = (folder / "console.log").read_text(errors="replace")[-3000:]
        raise RuntimeError(f"Debian could not be installed in the emulated machine:\n{said}")


def _download(folder: Path) -> None:
    """The packages, with an apt that knows nothing of this machine's."""
    apt = folder / "apt"
    for name in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        _folder(apt / name)
    (apt / "status").touch()
    (apt / "sources.list").write_text(
        cloud.sources().replace("deb ", f"deb [arch=arm64 signed-by={cloud.KEYRING}] ")
    )
    (apt / "conf").write_text(
        f"""{cloud.apt_settings()}
Dir "{apt}"; Dir::State "{apt}/state"; Dir::State::status "{apt}/status"; Dir::Cache "{apt}/cache";
Dir::Etc "{apt}/etc"; Dir::Etc::sourcelist "{apt}/sources.list"; Dir::Etc::sourceparts "-";
APT::Architecture "arm64"; APT::Architectures {{ "arm64"; }}; APT::Install-Recommends "false"; APT::Sandbox::User "root";
"""
    )
    environment = {**os.environ, "APT_CONFIG": str(apt / "conf")}

    def get(*words: str) -> None:
        done = subprocess.run(["apt-get", "-qq", *words], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"apt-get {' '.join(words)}: {done.stderr}")

    get("update")
    archives = apt / "cache/archives"
    # What dpkg itself needs comes first; the rest is ordered by dpkg.
    for kind, names in (("essential", PACKAGES[:1]), ("others", PACKAGES)):
        get("--yes", "--download-only", "install", *names)
        there = _folder(folder / kind)
        for package in archives.glob("*.deb"):
            if not (folder / "essential" / package.name).exists():
                shutil.copy(package, there)
    get("--yes", "--download-only", "install", RESCUE)
    for package in archives.glob(f"{RESCUE}_*.deb"):
        shutil.copy(package, folder)


def _first_stage(sdk: Sdk, kernel: Kernel, folder: Path, first: Path) -> None:
    """An initramfs that mounts the new root and installs the packages there."""
    sdk.run("depmod", "-b", folder / "root", kernel.version, folders=(folder,))
    modules = folder / "root/usr/lib/modules" / kernel.version
    needs = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        module, _, others = line.partition(":")
        needs[Path(module).name.partition(".")[0]] = [*reversed(others.split()), module]
    order: list[str] = []
    for driver in DRIVERS:
        for module in needs[driver]:
            name = Path(module).name.removesuffix(".xz")
            if name not in order:
                order.append(name)
                packed = (modules / module).read_bytes()
                content = lzma.decompress(packed) if module.endswith(".xz") else packed
                (_folder(first / "modules") / name).write_bytes(content)
    (first / "modules/order").write_text("".join(f"{name}\n" for name in order))
    unpacked = _folder(folder / "rescue")
    _unpack(next(folder.glob(f"{RESCUE}_*.deb")), unpacked)
    shutil.copy(next(unpacked.glob("usr/bin/busybox")), _folder(first / "bin"))
    (first / "init").write_text(FIRST)
    (first / "init").chmod(0o755)
    names = "\0".join(str(path.relative_to(first)) for path in sorted(first.rglob("*")))
    with (folder / "first.cpio").open("wb") as cpio:
        subprocess.run(
            ["cpio", "--null", "--create", "--quiet", "--format=newc", "--owner=0:0"],
            input=names.encode(), stdout=cpio, cwd=first, check=True,
        )


def _unpack(package: Path, root: Path) -> None:
    """Its files, over those that are there; a link to a folder stays a link."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as files:
        subprocess.run(
            ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)], stdin=files.stdout, check=True
        )
    if files.returncode != 0:
        raise RuntimeError(f"{package} cannot be unpacked")


def _folder(path: Path) -> Path:
    """Makes it if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    return path
