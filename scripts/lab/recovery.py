"""Whether the data file system had to be repaired when it was mounted."""

from __future__ import annotations

import re

from machine import Machine

#: What e2fsck and the kernel's ext4 say when the last stop was not clean.
RECOVERY = re.compile(r"recover(y complete|ing journal|y required)|not cleanly unmounted|orphan", re.IGNORECASE)


def recovery_lines(machine: Machine) -> list[str]:
    """The lines of this boot's logs and console about a repair.

    The console alone is not enough: the kernel's own line is below its level.
    """
    lines = machine.logs("kernel", 2000) + machine.logs("init", 2000) + machine.console().splitlines()
    return [line for line in lines if RECOVERY.search(line)]
