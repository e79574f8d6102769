"""A bundle with an older version than the one that runs."""

from __future__ import annotations

from updates import FIRST, Refusals


def test_older_version(refusals: Refusals) -> None:
    """It is refused unless the owner insists; `--yes` is no insisting."""
    assert "older" in refusals.check(refusals.workshop.release(FIRST - 1))
