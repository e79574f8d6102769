"""What is in the image, read with tools of another make."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import card
from conftest import Subject

#: The largest that the compressed image may be, in bytes.
COMPRESSED_LIMIT = 80_000_000
#: Everything in the root file system that may be executed.
PROGRAMS = {
    "bin/backup", "bin/certificates", "bin/dns", "bin/e2fsck", "bin/init", "bin/mail", "bin/portal", "bin/resolver", "bin/tunnel",
    "bin/updater",
}


def test_size(subject: Subject) -> None:
    """The compressed image beside the image is small enough, and is that image."""
    compressed = subject.image.with_name(subject.image.name + ".zst")
    assert compressed.stat().st_size <= COMPRESSED_LIMIT
    with subprocess.Popen(["zstd", "--decompress", "--stdout", str(compressed)], stdout=subprocess.PIPE) as unpacked:
        assert subprocess.run(["cmp", str(subject.image), "-"], stdin=unpacked.stdout).returncode == 0
    assert unpacked.returncode == 0


def test_only_our_programs(subject: Subject, tmp_path: Path) -> None:
    """No shell, no tool, no library: what erofs's own extractor finds is what we put there."""
    start, length = card.partition(subject.image, card.SLOT_A)
    with subject.image.open("rb") as opened:
        opened.seek(start)
        slot = opened.read(length)
    (tmp_path / "root.img").write_bytes(slot[card.root_image(slot) :])
    shown = subprocess.run([str(subject.roost), "sdk", "show", "--json"], capture_output=True, check=True)
    subprocess.run(
        ["bwrap", "--ro-bind", json.loads(shown.stdout)["path"], "/", "--bind", str(tmp_path), "/tmp",
         "fsck.erofs", "--extract=/tmp/root", "/tmp/root.img"],
        check=True,
    )
    root = tmp_path / "root"
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    assert {name for name, path in files.items() if path.stat().st_mode & 0o111} == PROGRAMS
    # Nor is one hidden among the data: what else is of that format are drivers, which nothing but the kernel can load
    # (e_type is ET_REL, elf(5)), and which Debian has signed (linux/Documentation/admin-guide/module-signing.rst).
    drivers = {name for name in files if re.fullmatch(r"lib/modules/[\w-]+\.ko", name)}
    assert drivers
    for name in drivers:
        driver = files[name].read_bytes()
        assert driver[16:18] == b"\1\0" and driver.endswith(b"~Module signature appended~\n"), name
    found = {name for name, path in files.items() if path.read_bytes().startswith((b"\x7fELF", b"#!"))}
    assert found == PROGRAMS | drivers
