"""A bundle that a stranger has signed."""

from __future__ import annotations

import secrets

from updates import Refusals


def test_wrong_key(refusals: Refusals) -> None:
    """Everything is right about it but the key; it is refused by name of the key."""
    key = refusals.workshop.folder / "stranger.key"
    key.write_text(secrets.token_hex(32) + "\n")
    key.chmod(0o600)
    release = refusals.workshop.repacked(refusals.good, "wrong-key", "--signing-key", str(key))
    assert "key" in refusals.check(release)
