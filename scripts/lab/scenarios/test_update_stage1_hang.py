"""A new version that hangs before its init runs: the watchdog ends it."""

from __future__ import annotations

from pathlib import Path

from conftest import Boot
from updates import NEXT, Patient, Workshop, copy_of_checkout, replace_text


def test_stage1_hangs(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """It stops for ever once it has found the disk."""
    changed = copy_of_checkout(tmp_path / "changed")
    replace_text(
        changed / "services/init/src/bin/stage1.rs",
        "    let linear = verity::linear(",
        "    loop {\n        std::thread::park();\n    }\n    #[allow(unreachable_code)]\n    let linear = verity::linear(",
    )
    hanging = workshop.release(NEXT, checkout=changed)
    reason = Patient(workshop, boot, tmp_path / "box").rolled_back(hanging)
    assert "did not come up" in reason["summary"], reason
