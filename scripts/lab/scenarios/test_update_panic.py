"""A new version whose kernel panics."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot
from updates import NEXT, Patient, Workshop, copy_of_checkout, replace_text


def test_kernel_panic(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """The kernel is made to crash once the disk was found (Linux, admin-guide/sysrq.rst, command c)."""
    changed = copy_of_checkout(tmp_path / "changed")
    replace_text(
        changed / "services/init/src/bin/stage1.rs",
        "    let linear = verity::linear(",
        '    let _ = std::fs::write("/proc/sysrq-trigger", "c");\n    let linear = verity::linear(',
    )
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(workshop.release(NEXT, checkout=changed))
    assert "did not come up" in reason["summary"], reason
