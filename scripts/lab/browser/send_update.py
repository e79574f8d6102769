"""Sends an update to a box from a file in Chromium, as its owner does. Run by the scenario test_update_browser.

usage: send_update.py URL PASSWORD_FILE FOREIGN_FILE BUNDLE
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from conftest import CHROMIUM, PATIENCE_MS

#: Until a slot is written, read back and booted, in an emulator under load.
TRIAL_MS = 600_000


def main(url: str, password_file: str, foreign: str, bundle: str) -> None:
    """A file that is no update is refused in words; the bundle is offered, sent and tried."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.goto(f"{url}/sign-in")
        page.get_by_label("Admin password").fill(Path(password_file).read_text().strip())
        page.get_by_role("button", name="Sign in").click()
        expect(page).to_have_url(f"{url}/")
        page.goto(f"{url}/updates")
        says = page.locator("[data-part=says]")
        page.get_by_label("Update file").set_input_files(foreign)
        expect(says).to_contain_text("no update for a Roost box")
        page.get_by_label("Update file").set_input_files(bundle)
        expect(says).to_contain_text("The box can install", timeout=TRIAL_MS)
        page.get_by_role("button", name="Install").click()
        expect(says).to_contain_text("The box restarts and tries", timeout=TRIAL_MS)
        with page.expect_navigation(timeout=TRIAL_MS):
            pass
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
