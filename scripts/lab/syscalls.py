"""System calls in the kernel's log: those that a service was refused, or that were recorded.

The kernel writes `audit: type=1326 … uid=800 … comm="mail" exe="/bin/mail" sig=0
arch=c00000b7 syscall=29 … code=0x50000` for each (linux/kernel/auditsc.c, `audit_seccomp`).
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

RECORD = re.compile(r'type=1326 .*exe="(?P<exe>[^"]*)".* syscall=(?P<number>\d+) ')
NAME = re.compile(r"#define __NR(?:3264)?_(?P<name>\w+)\s+(?P<number>\d+)$")
#: Where the SDK root has the numbers of ARM64.
HEADER = "sdk/*/usr/include/asm-generic/unistd.h"


def refused(log: Iterable[str]) -> list[str]:
    """The lines of a kernel's log that tell of such a call."""
    return [line for line in log if "type=1326 " in line]


def names() -> dict[int, str]:
    """Names by number, from the headers that the image's programs are compiled with."""
    cache = Path(os.environ.get("ROOST_CACHE") or Path.home() / ".cache/roost")
    found: dict[int, str] = {}
    for header in cache.glob(HEADER):
        for line in header.read_text(encoding="utf-8").splitlines():
            if match := NAME.match(line):
                found[int(match["number"])] = match["name"]
    return found


def main() -> None:
    """Prints how often each service made each call."""
    calls: defaultdict[str, Counter[int]] = defaultdict(Counter)
    path = Path(sys.argv[1])
    if not path.exists():
        sys.exit(f"{path}: no kernel log was kept: no machine ran to its end")
    for line in refused(path.read_text(encoding="utf-8").splitlines()):
        if match := RECORD.search(line):
            calls[Path(match["exe"]).name][int(match["number"])] += 1
    known = names()
    for service, counted in sorted(calls.items()):
        for number, times in counted.most_common():
            print(f"{service:12}  {known.get(number, number):24}  {times}")
    if not calls:
        print("no call that is on no list")


if __name__ == "__main__":
    main()
