"""A bundle with a bit turned in what is signed."""

from __future__ import annotations

import pytest

from updates import Refusals, flipped


@pytest.mark.parametrize("place", [3, 14, 300, 20_000])
def test_manifest_flipped(refusals: Refusals, place: int) -> None:
    """Magic, lengths, manifest, tables."""
    data = flipped(refusals.good.bundle.read_bytes(), place)
    refusals.check(refusals.altered(f"flipped-{place}", data))
