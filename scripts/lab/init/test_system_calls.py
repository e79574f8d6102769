"""Each system call of init fails, one a boot: in a start with two services, two questions and a stop.

Whatever fails, the box comes up (or says why it is in the rescue state), answers, says what went wrong and
goes down when told to. strace lets the n-th call of a name fail, in PID 1 alone, for every name and n that
an undisturbed boot has. A second try is allowed where the first answer was the one that failed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from box import Box, Root, wait_for

#: Calls that cannot fail, or whose failure no program can outlive or notice. The memory's: Linux grants it and
#: ends somebody later. close(2) frees the descriptor whatever it answers, which strace cannot play.
NEVER = {
    "brk", "mmap", "munmap", "mprotect", "madvise", "futex", "close", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "uname", "getpid", "gettid", "execve", "exit", "exit_group",
}  # fmt: skip
#: Nothing works without these: init ends with the reason, which restarts the machine.
FATAL = re.compile(r"init: (cannot mount|signals:|epoll:|panicked .*pid1\.rs)")
#: The standard library learns from this whether a program was started, and waits for the program's end if it
#: cannot: a hang, which the watchdog ends.
EXEC_STATUS = re.compile(r"recvfrom\(\d+, \S+, 8, 0, NULL, NULL\)|read\(\d+, \S+, 8\)")
#: Each of these takes something from the box, so a line must say so. After others nothing is lost (they are made
#: again at init's second look, or only look at something), or whoever asked sees that there is no answer.
MUST_SAY = re.compile(
    r"(mount|socket|socketpair|bind|listen|chmod|chown|pipe2|epoll_create1|epoll_pwait|sethostname|rt_sigaction\(SIG(CHLD|TERM|INT|PWR))\b"
    r"|epoll_ctl\(\d+, EPOLL_CTL_ADD|openat\(AT_FDCWD, \"/etc/roost/|mkdir\(\"(/run/roost|/data/services|/run/services)"
)
#: Longer than the services' limits, the waits before a second start and init's second look together.
PATIENCE = 20


@dataclass
class Result:
    """What came of a boot."""

    call: str = ""
    problem: str = ""
    said: list[str] = field(default_factory=list)
    seconds: float = 0


def answers(box: Box) -> tuple[dict, list[str]]:
    """State and log of init; a connection that fails is followed by one that must not."""
    try:
        status, logs = box.ask({"op": "status"}, {"op": "logs", "service": "init", "lines": 100})
    except (OSError, ValueError):
        # init may have to open its socket again.
        def again() -> bool:
            nonlocal status, logs
            try:
                status, logs = box.ask({"op": "status"}, {"op": "logs", "service": "init", "lines": 100})
            except (OSError, ValueError):
                return False
            return True

        status = logs = {}
        wait_for(again, PATIENCE, "an answer")
    return status, logs["lines"]


def boot(root: Root, folder: Path, name: str = "", n: int = 0) -> Result:
    """A boot whose n-th call of `name` fails; `n` counts from the process that becomes init."""
    result = Result()
    begun = time.monotonic()
    with Box(root, folder, f"inject={name}:error=EIO:when={n}" if n else "trace=all") as box:
        looked = time.monotonic()

        def up() -> bool:
            nonlocal looked
            if box.ended() or "services ready" in box.log() or "rescue:" in box.log():
                return True
            # The line itself may be what failed.
            if time.monotonic() < looked + 1:
                return False
            looked = time.monotonic()
            try:
                (status,) = box.ask({"op": "status"})
            except (OSError, ValueError):
                return False
            return status["ready"] or status["rescue"] is not None

        try:
            wait_for(up, PATIENCE, "a box that is up")
            if not box.ended():
                status, lines = answers(box)
                result.said += lines
                if not status["ready"] and status["rescue"] is None:
                    result.problem = "was up, and is not"
                os.kill(box.pid, signal.SIGTERM)
                wait_for(box.ended, PATIENCE, "the end")
            how = box.how()
        except TimeoutError as error:
            result.problem, how = str(error), None
        result.said += re.findall(r"roost: (.*)", box.log())
        told = any(map(FATAL.match, result.said))
        if how not in (None, "SIGHUP") and not (how == "status 1" and told):
            result.problem = f"ended by {how}"
    trace = (folder / "trace").read_text()
    result.call = next((line for line in trace.splitlines() if "(INJECTED)" in line), "")
    result.seconds = time.monotonic() - begun
    if n:
        shutil.rmtree(folder)
    return result


def calls(trace: str) -> list[tuple[str, int]]:
    """Name and number of each call from init's first on; numbers count all of the process."""
    seen: Counter[str] = Counter()
    found = []
    inside = False
    for name, rest in re.findall(r"^(\w+)\((.*)", trace, re.MULTILINE):
        seen[name] += 1
        # What the program's own code begins with: before it come the kernel, the loader and the runtime.
        inside = inside or "/dev/kmsg" in rest
        if inside and name not in NEVER:
            found.append((name, seen[name]))
    return found


def plain(line: str) -> str:
    """Without numbers that differ from boot to boot."""
    return re.sub(r"[0-9.]+", "N", line)


def test_every_call_fails_once(root: Root, tmp_path: Path) -> None:
    """None of them ends the box, keeps it from its work or goes unsaid."""
    whole = boot(root, tmp_path / "whole")
    assert not whole.problem, whole
    known = {plain(line) for line in whole.said}
    every = calls((tmp_path / "whole/trace").read_text())
    assert len(every) > 150, every
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda n: boot(root, tmp_path / str(n), *every[n]), range(len(every))))
    report = [
        f"{result.seconds:4.1f} s {result.problem or 'well'} | {result.call} | "
        f"{[line for line in result.said if plain(line) not in known]}"
        for result in results
    ]
    (tmp_path / "report").write_text("\n".join(report))
    bad = [line for line, result in zip(report, results, strict=True) if result.problem and not EXEC_STATUS.match(result.call)]
    assert not bad, "\n".join(bad)
    silent = [
        result.call
        for result in results
        if MUST_SAY.match(result.call) and not any(plain(line) not in known for line in result.said)
    ]
    assert not silent, "\n".join(silent)
    assert sum(bool(MUST_SAY.match(result.call)) for result in results) > 30, report
