"""Tiny ARM64 programs, to stand where a program of the box should be and to fail in a known way."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

#: Where the program is loaded; any address above the kernel's lowest for mappings does.
BASE = 0x400000
HEADER = 64
PROGRAM_HEADER = 56

#: Instructions (Arm Architecture Reference Manual, A64).
BRANCH_TO_SELF = 0x14000000
MOV_X0_1 = 0xD2800020
#: System call 93 of arm64 is exit (Linux, include/uapi/asm-generic/unistd.h).
MOV_X8_EXIT = 0xD2800BA8
SVC_0 = 0xD4000001

#: Never ends and never does anything.
HANG: Sequence[int] = (BRANCH_TO_SELF,)
#: Ends at once with status 1; as PID 1 that is a kernel panic.
EXIT: Sequence[int] = (MOV_X0_1, MOV_X8_EXIT, SVC_0)


def write(path: Path, instructions: Sequence[int]) -> Path:
    """A static executable of these instructions (System V ABI, "Object Files" and "Program Loading")."""
    code = b"".join(struct.pack("<I", word) for word in instructions)
    size = HEADER + PROGRAM_HEADER + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    # An executable for machine 183 (AArch64), one program header, no sections.
    header = identity + struct.pack(
        "<HHIQQQIHHHHHH", 2, 183, 1, BASE + HEADER + PROGRAM_HEADER, HEADER, 0, 0, HEADER, PROGRAM_HEADER, 1, 0, 0, 0
    )
    # One loaded segment, readable and executable: the whole file.
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x10000)
    path.write_bytes(header + segment + code)
    path.chmod(0o755)
    return path
