"""PID 1 ends in the middle of things: the next start says that there was no orderly end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from box import Box, Root, wait_for
from conftest import SERVICES

#: What init says of it.
LINE = "the box did not go down in order the last time"


def start_and_end(root: Root, folder: Path, data: Path, end: signal.Signals) -> tuple[str, str]:
    """What was said until the services were ready, and how PID 1 ended then."""
    with Box(root, folder, data=data) as box:
        wait_for(lambda: "services ready" in box.log(), 20, "services")
        said = box.log()
        os.kill(box.pid, end)
        wait_for(box.ended, 20, "the end")
        return said, box.how()


def test_end_without_order(root: Root, tmp_path: Path) -> None:
    """In order, at once, in order: only the third start has something to say."""
    data = tmp_path / "data"
    data.mkdir()
    first, how = start_and_end(root, tmp_path / "1", data, signal.SIGTERM)
    assert LINE not in first and how == "SIGHUP"
    second, how = start_and_end(root, tmp_path / "2", data, signal.SIGKILL)
    assert LINE not in second and how != "SIGHUP"
    third, how = start_and_end(root, tmp_path / "3", data, signal.SIGTERM)
    assert LINE in third and how == "SIGHUP"
