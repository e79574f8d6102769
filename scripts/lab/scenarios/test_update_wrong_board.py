"""A bundle for another board."""

from __future__ import annotations

from updates import Refusals


def test_wrong_board(refusals: Refusals) -> None:
    """The box is an emulated one, the bundle is for something else; the answer names both."""
    release = refusals.workshop.repacked(refusals.good, "wrong-board", "--board", "toaster")
    said = refusals.check(release)
    assert "toaster" in said and "virt" in said, said
