"""Each system call of init fails, one a boot: in a start with two services, two questions and a stop.

Whatever fails, the box comes up with all that it has, answers, says what was taken from it and goes down
when told to. strace lets the n-th call of a name fail, in PID 1 alone, for every name and n that an
undisturbed boot has. init ends only for what nothing works without, and says so. A question may be refused,
once, if the call that failed is one of its own.

Passed over are calls that cannot fail or whose failure nobody can notice (`NEVER`), and the question of debug
builds whether a descriptor is open before they close it (`DEBUG`), which the image's init does not ask.
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

#: The memory's: Linux grants it and ends somebody later. close(2) frees the descriptor whatever it answers, which
#: strace cannot play. The rest cannot fail, or does not come back.
NEVER = {
    "brk", "mmap", "munmap", "mprotect", "madvise", "futex", "close", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    "uname", "getpid", "gettid", "exit", "exit_group",
}  # fmt: skip
#: std's check before close(2), with `debug_assertions`.
DEBUG = "F_GETFD"
#: Nothing works without these: init ends with the reason, which restarts the machine.
FATAL = re.compile(r"init: (cannot mount|signals:|epoll:|panicked at \S+pid1\.rs:\S+ cannot reboot)")
#: Calls after whose failure nothing is missing, so that nothing needs to be said: why.
SILENT = {
    "the place is there already": r'mkdir\("(/run|/tmp|/sys/fs/cgroup|/run/services|/data/init)"',
    "the vector tells the size of a page, which is known": r"prctl\(0x41555856",
    "a length that spares std an allocation": r'(statx|newfstatat)\(\d+<[^>]*>, "", ',
    "it is done again at once": r'openat\(AT_FDCWD[^"]*"(/etc/roost/(settings|services|release)\.json|/proc/cmdline)"'
    r"|read\(\d+</(etc/roost/(settings|services|release)\.json|proc/cmdline|data/init/clock|data/first-boot/card)>"
    r'|open\w*\(.*"/data/(init/clock|first-boot/card)"|setns\(',
    "this machine refuses it each time, which was said": r'(openat|write)\(.*/oom_score_adj\b|prlimit64\(0, RLIMIT_NOFILE|reboot\(.*CAD_OFF',
    "the child is ended otherwise": r'write\(\d+<pipe:[^>]*>, "1", 1\)',
    "another number is as good": r"getrandom\(|(openat|read)\(.*/proc/sys/kernel/random/boot_id",
    "what is meant is tried all the same": r'sendto\(\d+<[^>]*>, "", 0,',
    "signals and ended children are looked for at each feeding": r'sendto\(\d+<[^>]*>, "X", 1,|wait4\(',
    "it is opened again for the next line, and init's own log has this one": r'openat\(.*"/dev/kmsg"|write\(\d+</dev/kmsg>',
    "only a Raspberry Pi has it": r'openat\(.*"/proc/device-tree/',
    "only test images have it": r'statx\(.*"/etc/roost/seccomp/record"',
    "only the emulator has it": r'openat\(.*"/sys/class/virtio-ports"|getdents64\(\d+</sys/class/virtio-ports>',
    "epoll tells again of what was not read": r"recvfrom\(|accept4\(",
    "the kernel forgets what is closed": r"epoll_ctl\(.*EPOLL_CTL_DEL",
    "the answer says less": r'openat\(.*"(/proc/meminfo|/proc/\d+/statm|/sys/dev/block/\S+/stat)"|statfs\("/data"'
    r'|newfstatat\(.*"/data"|read\(\d+</proc/(meminfo|\d+/statm)>',
    "init would say more of an end": r'openat\(.*"/sys/fs/cgroup/services/\w+/(memory\.peak|memory\.events\.local|pids\.events)"',
    "the kernel has ended it with its first process": r'(openat|write)\(.*/sys/fs/cgroup/services/\w+/cgroup\.kill',
    "a second look, at processes that are gone": r'openat\(.*"/proc"|getdents64\(\d+</proc>',
    "glibc does not look; without a thread it is done at once": r"rt_sigaction\(SIGRT_1|clone3\(",
}
#: The same for the calls that a question makes: whoever asked is told, or sees that there is no answer.
ANSWERING = re.compile(r'(getsockopt|ioctl|read|write|epoll_ctl)\(.*<socket:|(pipe2|fcntl|clone)\(|(ioctl|read|write)\(\d+<pipe:')
#: Longer than the services' limits, the waits before a second start and init's second look together.
PATIENCE = 20
STATUS: dict[str, object] = {"op": "status"}
#: More lines than there are: init also looks on the card.
LOGS: dict[str, object] = {"op": "logs", "service": "init", "lines": 100}


@dataclass(frozen=True)
class Call:
    """A system call of a process."""

    name: str
    #: Which one of that name that strace sees of the process, or of its thread: it counts those one by one.
    n: int
    #: What strace says of it.
    line: str

    def strace(self, *others: str) -> tuple[str, ...]:
        """Options that let it fail, and show others, too."""
        return ("-e", f"trace={','.join((self.name, *others))}", "-e", f"inject={self.name}:error=EIO:when={self.n}")


@dataclass
class Result:
    """What came of a boot."""

    #: The call that failed, as strace shows it.
    call: str = ""
    #: What was wrong, if something was.
    problem: str = ""
    #: A question had come before it.
    answering: bool = False
    #: The question was refused or not answered.
    refused: bool = False
    said: list[str] = field(default_factory=list)
    seconds: float = 0


def question(box: Box) -> tuple[dict[str, object], list[str]] | None:
    """State and log of init; nothing if they are not given."""
    try:
        status, logs = box.ask(STATUS, LOGS)
    except (OSError, ValueError):
        return None
    return (status, logs["lines"]) if logs.get("answer") == "logs" else None


def loopback(box: Box) -> bool:
    """Whether the network has what init gives it."""
    return "127.0.0.1" in Path(f"/proc/{box.pid}/net/fib_trie").read_text()


def is_up(box: Box, begun: float) -> bool:
    """Whether nothing is left to wait for."""
    if box.ended() or "rescue:" in box.log():
        return True
    if "services ready" not in box.log():
        # The line itself may be what failed. Other boots are not to be asked twice.
        answer = question(box) if time.monotonic() > begun + 3 else None
        if answer is None or not answer[0]["ready"]:
            return False
    return loopback(box)


def boot(root: Root, folder: Path, call: Call | None = None) -> Result:
    """A boot in which this call fails, or none."""
    result = Result()
    begun = time.monotonic()
    trace = call.strace("accept4") if call else ("-e", "trace=all")
    with Box(root, folder, strace=trace) as box:
        try:
            wait_for(lambda: is_up(box, begun), PATIENCE, "a box that is up", 0.02)
            if not box.ended():
                answer = question(box)
                if answer is None:
                    result.refused = True
                    answer = question(box)
                if answer is None:
                    result.problem = "does not answer"
                else:
                    result.said += [re.sub(r"^\[.*?\] ", "", line) for line in answer[1]]
                    if not answer[0]["ready"]:
                        result.problem = f"is not up: {answer[0]}"
                os.kill(box.pid, signal.SIGTERM)
                wait_for(box.ended, PATIENCE, "the end")
            how = box.how()
        except TimeoutError as error:
            result.problem, how = str(error), ""
        result.said += re.findall(r"roost: (.*)", box.log())
        fatal = any(map(FATAL.match, result.said))
        if how and how != "SIGHUP" and not (how == "status 1" and fatal):
            result.problem = f"ended by {how}"
    lines = (folder / "trace").read_text().splitlines()
    for line in lines:
        result.answering = result.answering or "accept4(" in line
        if "(INJECTED)" in line:
            result.call = line
            break
    if result.refused and not result.answering:
        result.problem = result.problem or "did not answer at first"
    result.seconds = time.monotonic() - begun
    if call:
        shutil.rmtree(folder)
    return result


def calls(trace: str, first: str = "/dev/kmsg") -> list[Call]:
    """Each call from the first on that has `first` in it.

    That is what init's own code begins with: before it come the kernel, the loader and the runtime. Lines may begin
    with the number of a thread.
    """
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    inside = False
    for line in trace.splitlines():
        head, _, rest = line.partition("(")
        thread, _, name = head.rpartition(" ")
        if not name.isidentifier():
            continue
        seen[thread, name] += 1
        inside = inside or first in rest
        if inside and name not in NEVER and DEBUG not in rest:
            found.append(Call(name, seen[thread, name], line))
    return found


def plain(line: str) -> str:
    """Without numbers that differ from boot to boot."""
    return re.sub(r"[0-9.]+", "N", line)


def test_every_call_fails_once(root: Root, tmp_path: Path) -> None:
    """None of them ends the box, keeps it from its work or goes unsaid."""
    whole = boot(root, tmp_path / "whole")
    assert not whole.problem and not whole.refused, whole
    known = {plain(line) for line in whole.said}
    every = calls((tmp_path / "whole/trace").read_text())
    assert len(every) > 300, every
    # Some boots only wait.
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda n: boot(root, tmp_path / str(n), every[n]), range(len(every))))
    silent = re.compile("|".join(SILENT.values()))
    report, bad = [], []
    for result in results:
        said = sorted({line for line in result.said if plain(line) not in known})
        problem = result.problem
        may_be_silent = silent.match(result.call) or (result.answering and ANSWERING.match(result.call))
        if not problem and result.call and not said and not may_be_silent and DEBUG not in result.call:
            problem = "goes unsaid"
        line = f"{result.seconds:4.1f} s {problem or 'well'} | {result.call} | {said}"
        report.append(line)
        if problem:
            bad.append(line)
    (tmp_path / "report").write_text("\n".join(report))
    assert not bad, "\n".join(bad)
    # How often init looks in vain is up to chance, so that some numbers are not reached.
    missed = [call.line for call, result in zip(every, results, strict=True) if not result.call]
    assert len(missed) < len(every) / 30, missed
