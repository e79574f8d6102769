"""The last steps of a stop, which threads of init take: each system call on the data fails, one a stop.

The box goes down all the same, and says on the console what is not on the card. strace follows the threads
here, and lets only calls fail that have to do with the data, its logs and the list of boots.
"""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from box import Box, Root, Strace, wait_for
from test_system_calls import DEBUG, PATIENCE, Call, calls

#: One log of several: the others are written by the same lines.
PATHS = ("/data", "/data/log", "/data/log/boots", "/data/log/init.log")
#: Calls after whose failure nothing is missing: why.
SILENT = re.compile(r"umount2\(")  # It is made read-only instead, and nothing is left to be written.


def stop(root: Root, folder: Path, *strace: str) -> tuple[str, str, list[str]]:
    """A start and a stop; how that ended, what strace saw, and what init said on the way down."""
    with Box(root, folder) as box:
        wait_for(lambda: "services ready" in box.log(), PATIENCE, "services")
        before = len(box.log())
        paths = [word for path in PATHS for word in ("-P", path)]
        trace = Strace(box.pid, folder / "trace", "-f", *paths, *strace)
        os.kill(box.pid, signal.SIGTERM)
        wait_for(box.ended, PATIENCE, "the end")
        trace.process.wait(PATIENCE)
        return box.how(), (folder / "trace").read_text(), re.findall(r"roost: (.*)", box.log()[before:])


def test_every_call_on_the_data_fails_once(root: Root, tmp_path: Path) -> None:
    """None of them keeps the box from going down, and what is lost is said."""
    how, trace, usual = stop(root, tmp_path / "whole", "-e", "trace=all")
    assert how == "SIGHUP" and usual == ["reboot"], (how, usual)
    every = calls(trace, "/data/log/boots")
    names = {call.name for call in every}
    assert {"openat", "write", "syncfs", "umount2"} <= names, trace

    def bad(number: int) -> str:
        call: Call = every[number]
        how, trace, said = stop(root, tmp_path / str(number), *call.strace())
        # Each line begins with the number of its thread.
        failed = next((line.lstrip("0123456789 ") for line in trace.splitlines() if "(INJECTED)" in line), "")
        if how == "SIGHUP" and failed and DEBUG not in failed and (said != usual or SILENT.match(failed)):
            return ""
        return f"{call} | {failed} | {how} | {said}\n"

    with ThreadPoolExecutor(3) as pool:
        found = "".join(pool.map(bad, range(len(every))))
    assert not found, found
