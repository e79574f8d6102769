"""Each system call between fork and exec fails, once: the service is tried again, and what failed has a name.

A service is asked to start anew, and its child is caught at its first call: strace lets that child alone
have a SIGSTOP there. Then strace lets the n-th call of a name fail in it, for every name and n that an
undisturbed start has, in both children of a start: the one that a user namespace is made with, and the one that
becomes the service. What both services do alike is tried with one of them, and of the capabilities that one loop
gives up (`become_user` in launch.rs) only the first.
"""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from box import CHECKOUT, Box, Root, Strace, wait_for
from test_system_calls import Call, calls

#: The first call of a child, which glibc makes in every fork(3) and looks at the answer of in none.
FIRST = "set_robust_list"
#: Calls after whose failure nothing is missing: why.
SILENT = {
    "nothing hangs on it": rf"{FIRST}\(",
    "it has the same from the namespace around it": r"read\(\d+<pipe:",
    "it is asked again at once": r'statx\([^"]*"/(proc/sys/net|dev/net/tun)"',
}
#: What a step is called (`step("…")` in the sources), and what it may be called in a message.
STEPS = re.compile(r'\.step\(\s*(?:format!\()?"([^"{]+)')
#: What else a start may fail at, in a child: its standard streams and exec(3), the user namespace.
ELSEWHERE = ("/bin/service: ", "its user namespace: ")
SOURCES = ("launch.rs", "container/enter.rs")
PATIENCE = 20
#: Whose children: the one that a user namespace is made with, one itself, two itself.
CHILDREN = (("one", 0), ("one", 1), ("two", 0))
#: Boxes at a time; each has one start after the other.
BOXES = 3


@dataclass
class Result:
    """What came of a start."""

    service: str
    call: str
    #: What init said of the start, but that the service is ready.
    said: list[str]
    #: What `roost status` said while it waited, if it was asked in time.
    detail: str = ""
    problem: str = ""


def caught(box: Box, service: str, child: int, output: Path) -> int:
    """Starts a service anew; gives its first or second child, stopped at its first call."""
    birth = output.with_name("birth")
    stop = ("-e", f"trace={FIRST},mkdir", "-e", f"inject={FIRST}:signal=SIGSTOP")
    watch = Strace(box.pid, birth, "-f", *stop)
    going_on: set[int] = set()

    def stopped() -> list[int]:
        """The children so far. init's helpers, which it may start before, are sent on."""
        found = []
        begun = False
        for line in birth.read_text().splitlines():
            # What a start begins with. Until it has ended, init does nothing else.
            begun = begun or f'mkdir("/data/services/{service}"' in line
            match = re.match(r"(\d+) +--- stopped by SIGSTOP", line)
            # PID 1 itself has stopped for strace to begin.
            if match and int(match[1]) != box.pid:
                found.append(int(match[1]))
                if (not begun or len(found) <= child) and found[-1] not in going_on:
                    going_on.add(found[-1])
                    os.kill(found[-1], signal.SIGCONT)
                if not begun:
                    found.clear()
        return found

    with ThreadPoolExecutor(1) as aside:
        answer = aside.submit(box.ask, {"op": "restart", "service": service})
        wait_for(lambda: len(stopped()) > child, PATIENCE, f"child {child} of {service}")
        watch.let_go()
        assert answer.result() == [{"answer": "ok"}]
    return stopped()[child]


def start(box: Box, service: str, child: int, output: Path, *strace: str) -> Result:
    """A start of a service, with strace on one of its children until exec(3)."""
    before = len(box.log())
    pid = caught(box, service, child, output)
    # What comes after it is the service's own; but strace lets nothing fail at which it leaves.
    leave = () if "trace=execve" in strace else ("-b", "execve")
    trace = Strace(pid, output, *leave, *strace)
    result = Result(service, "", [])

    def said() -> list[str]:
        return re.findall(rf"roost: ({service} .*)", box.log()[before:])

    def is_back() -> bool:
        if not result.detail and any("next start" in line for line in said()):
            (status,) = box.ask({"op": "status"})
            result.detail = next(
                (each["detail"] for each in status["services"] if each["name"] == service and each["state"] == "backoff"), ""
            )
        return f"{service} is ready" in said()

    try:
        wait_for(is_back, PATIENCE, "the service")
    except TimeoutError as error:
        result.problem = str(error)
    if trace.process.poll() is None:
        trace.let_go()
    lines = output.read_text().splitlines()
    result.call = next((line for line in lines if "(INJECTED)" in line), "")
    result.said = [line for line in said() if not line.endswith(("is ready", "is restarted on request"))]
    return result


def place(line: str) -> str:
    """A call without what differs between services, and between the starts of one."""
    line = re.sub(r"/(one|two)\b", "/NAME", line.partition(" = ")[0])
    return re.sub(r"0x[0-9a-f]+|\d+", "N", line)


def whole(root: Root, folder: Path) -> list[tuple[str, int, Call]]:
    """Service, child and call: all of a start of one, and what two has besides."""
    found: list[tuple[str, int, Call]] = []
    known: set[str] = set()
    with Box(root, folder) as box:
        wait_for(lambda: "services ready" in box.log(), PATIENCE, "services")
        for service, child in CHILDREN:
            result = start(box, service, child, folder / "trace", "-e", "trace=all")
            assert not result.problem and not result.said, result
            for call in calls((folder / "trace").read_text(), ""):
                loop = "PR_CAPBSET_DROP" in call.line
                what = "PR_CAPBSET_DROP" if loop else place(call.line)
                if what not in known or (service == "one" and not loop):
                    found.append((service, child, call))
                known.add(what)
    return found


def test_every_call_on_the_way_in_fails_once(root: Root, tmp_path: Path) -> None:
    """Nothing hangs, nothing starts with less, and the reason is told."""
    every = whole(root, tmp_path / "whole")
    assert len(every) > 150, every

    def tries(part: int) -> list[Result]:
        folder = tmp_path / f"part{part}"
        with Box(root, folder) as box:
            wait_for(lambda: "services ready" in box.log(), PATIENCE, "services")
            return [
                start(box, service, child, folder / f"{number}", *call.strace())
                for number, (service, child, call) in enumerate(every)
                if number % BOXES == part
            ]

    with ThreadPoolExecutor(BOXES) as pool:
        results = [result for part in pool.map(tries, range(BOXES)) for result in part]
    steps = {step for name in SOURCES for step in STEPS.findall((CHECKOUT / "services/init/src" / name).read_text())}
    silent = re.compile("|".join(SILENT.values()))
    reason = re.compile(r"\w+ cannot be started: (.*); next start in [0-9.]+ s")
    report, bad = [], []
    seen = set()
    for result in results:
        problem = result.problem
        reasons = [found[1] for line in result.said if (found := reason.fullmatch(line))]
        named = {step for step in steps for text in reasons if text.startswith(step)}
        seen |= named
        if not problem and not result.call:
            problem = "was not made this time"
        elif not problem and len(reasons) != len(result.said):
            problem = "says something else"
        elif not problem and not reasons and not silent.match(result.call):
            problem = "goes unsaid"
        elif not problem and reasons and not named and not reasons[0].startswith(ELSEWHERE):
            problem = "names no step"
        elif not problem and result.detail and result.detail != f"cannot be started: {reasons[0]}":
            problem = f"is told as {result.detail!r}"
        line = f"{problem or 'well'} | {result.service} {result.call} | {result.said}"
        report.append(line)
        if problem:
            bad.append(line)
    (tmp_path / "report").write_text("\n".join(report))
    assert not bad, "\n".join(bad)
    assert seen == steps, f"steps that never failed: {steps - seen}"
    assert any(result.detail for result in results)
