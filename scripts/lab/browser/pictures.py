"""The pictures of the portal in the documentation; `scripts/pictures` runs this, the tests do not.

Whoever makes them anew looks at each: nothing here can tell whether a picture shows what its page says.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from conftest import Box

FOLDER = Path(__file__).resolve().parents[3] / "docs/pictures"
#: Width and height of a phone, and of a window on a desk.
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 850}
#: Without one, most pages only say what does not answer.
BOX = "ROOST_URL" in os.environ
PASSWORD = "correct horse battery staple"


def take(page: Page, name: str, size: dict[str, int]) -> None:
    """One picture of the whole page."""
    page.set_viewport_size(size)
    page.wait_for_timeout(300)
    page.screenshot(path=FOLDER / f"{name}.png", full_page=True)


def test_pairing(page: Page, box: Box) -> None:
    page.set_viewport_size(PHONE)
    page.goto(f"{box.url}/pair#{box.code}")
    expect(page.get_by_label("Pairing code")).to_have_value(box.code)
    take(page, "pair", PHONE)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Admin password").fill(PASSWORD)
    # Filled in already if the image names them.
    for label, value in (("Your domain", "example.org"), ("Your address", "alice")):
        if page.get_by_label(label).count():
            page.get_by_label(label).fill(value)
    take(page, "setup", PHONE)
    page.get_by_role("button", name="Finish").click()
    expect(page).to_have_url(f"{box.url}/welcome")
    if BOX:
        take(page, "welcome", DESK)


@pytest.mark.skipif(not BOX, reason="without a box these pages only say what does not answer")
@pytest.mark.parametrize("path", ["", "mail", "certificates", "dns"])
def test_looking_after(page: Page, box: Box, path: str) -> None:
    page.goto(f"{box.url}/{path}")
    if not path:
        expect(page.get_by_text("not set", exact=True)).to_have_count(0, timeout=120_000)
    take(page, {"": "overview", "mail": "accounts"}.get(path, path), DESK)
