"""A bundle whose signature does not belong to it."""

from __future__ import annotations

from updates import Refusals, flipped

#: Where the only signature begins (docs/bundle-format.md).
SIGNATURE = 16 + 32


def test_wrong_signature(refusals: Refusals) -> None:
    """One bit of it is turned."""
    data = flipped(refusals.good.bundle.read_bytes(), SIGNATURE + 5)
    assert "signature" in refusals.check(refusals.altered("wrong-signature", data))
