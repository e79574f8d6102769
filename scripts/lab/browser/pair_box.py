"""Pairs with a new box in Chromium, as its owner does with the QR code's link. Run by the scenario test_journey.

usage: pair_box.py URL CODE PASSWORD_FILE      prints how many fields were left to fill in
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from conftest import CHROMIUM, PATIENCE_MS


def empty(page: Page) -> int:
    """Fields that a person has to fill in: required ones without a value."""
    fields = page.locator("main input:not([type=hidden]):required, main textarea:required")
    return sum(not fields.nth(at).input_value() for at in range(fields.count()))


def main(url: str, code: str, password_file: str) -> None:
    """The code is in the link; domain and account are in the image."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        # Nobody vouches for the box yet: a person confirms its certificate once.
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(f"{url}/pair#{code}")
        expect(page.get_by_label("Pairing code")).to_have_value(code)
        filled = empty(page)
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_label("Admin password")).to_be_visible()
        filled += empty(page)
        page.get_by_label("Admin password").fill(Path(password_file).read_text().strip())
        page.get_by_role("button", name="Finish").click()
        expect(page).to_have_url(f"{url}/welcome")
        browser.close()
    print(filled)


if __name__ == "__main__":
    main(*sys.argv[1:])
