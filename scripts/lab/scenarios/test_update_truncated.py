"""A bundle that ends early."""

from __future__ import annotations

import pytest

from updates import Refusals


@pytest.mark.parametrize("left", [10, 2_000, -1])
def test_truncated(refusals: Refusals, left: int) -> None:
    """In the header, in the tables, in the last payload."""
    data = refusals.good.bundle.read_bytes()
    refusals.check(refusals.altered(f"truncated-{left}", data[:left]))
