"""Waiting for something that announces itself only when asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    what: str,
    probe: Callable[[], T | None],
    timeout: float,
    *,
    interval: float = 0.2,
    retry_on: tuple[type[BaseException], ...] = (),
) -> T:
    """Calls `probe` until it returns something true and returns that.

    Exceptions of `retry_on` count as "not yet". After `timeout` seconds an
    `AssertionError` says what was waited for and what came last.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            last: object = probe()
            if last:
                return last
        except retry_on as error:
            last = repr(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s for {what}; last answer: {last!r}")
        time.sleep(interval)
