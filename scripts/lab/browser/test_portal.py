"""The owner's way through the portal, from the code to the last page. Tests run in this order: a box is
paired once."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from conftest import PATIENCE_MS, Box, Look

PASSWORD = "correct horse battery staple"
DOMAIN = "example.org"
#: Not the one that the image of the lab has: for that no password is made.
ACCOUNT = "carol"
PAGES = [
    "", "health", "relay", "dns", f"dns/zone?domain={DOMAIN}", "certificates", "backups", "updates", "logs", "laptops", "mail",
    f"mail/account?name={ACCOUNT}", f"mail/programs?name={ACCOUNT}", "mail/domains", "mail/queue", "security", "activity", "reset", "progress",
]  # fmt: skip


def wrong(code: str) -> str:
    """A code that is not this one."""
    return code[:-1] + ("2" if code[-1] != "2" else "3")


def test_nothing_is_shown_before_the_code(page: Page, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/security")
    expect(page).to_have_url(f"{box.url}/pair")
    look(page, "pair")
    page.get_by_label("Pairing code").fill(wrong(box.code))
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("not the code of this box")
    look(page, "pair-wrong")


def test_the_link_of_the_qr_code_leads_to_a_finished_box(page: Page, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/pair#{box.code}")
    expect(page.get_by_label("Pairing code")).to_have_value(box.code)
    assert "#" not in page.url, "the code does not stay in the browser's history"
    page.get_by_role("button", name="Continue").click()
    look(page, "setup")
    # Five fields in all, the code included.
    assert page.locator("main input:not([type=hidden]), main textarea").count() == 4

    page.get_by_label("Admin password").fill("roost")
    page.get_by_label("Your domain").fill(f"{ACCOUNT}@{DOMAIN}")
    page.get_by_label("Your address").fill(ACCOUNT)
    page.get_by_role("button", name="Finish").click()
    expect(page.get_by_label("Admin password")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Your address")).to_have_value(ACCOUNT)
    look(page, "setup-wrong")

    page.get_by_label("Admin password").fill(PASSWORD)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_label("Admin password")).to_have_attribute("type", "text")
    page.get_by_label("Your domain").fill(DOMAIN)
    page.get_by_role("button", name="Finish").click()
    expect(page).to_have_url(f"{box.url}/welcome")
    expect(page.locator("#mail-password")).to_have_text(re.compile(r"^([0-9a-z]{5}-){3}[0-9a-z]{5}$"))
    expect(page.locator("#recovery-code li")).to_have_count(12)
    look(page, "welcome")
    # It looks again by itself.
    with page.expect_response("**/progress", timeout=PATIENCE_MS) as answer:
        pass
    assert answer.value.ok
    page.get_by_role("button", name="I have it").click()
    expect(page.locator("#mail-password")).to_have_count(0)
    expect(page.locator("#recovery-code")).to_have_count(0)


def shown(path: str) -> str:
    """What a page is called in the names of tests and pictures."""
    return path.partition("?")[0].replace("/", "-") or "overview"


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_every_page_is_fit_to_be_seen(page: Page, box: Box, look: Look, path: str) -> None:
    answer = page.goto(f"{box.url}/{path}")
    assert answer and answer.ok
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    look(page, shown(path))


def test_the_box_is_examined(page: Page, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/health")
    page.get_by_role("button", name=re.compile("^Look (now|again)$")).click()
    expect(page.get_by_role("button", name="Look again")).to_be_visible(timeout=2 * PATIENCE_MS)
    expect(page.locator(".note")).to_contain_text(re.compile(r"\d+ of \d+ checks are well|All \d+ checks are well"))
    assert page.locator("main section li[id]").count() >= 40
    # Every check says what it is about, and what wants somebody leads there.
    page.locator("#card-room summary").click()
    expect(page.locator("#card-room details")).to_contain_text("docs/doctor.md#card-room")
    page.locator("main section").first.get_by_role("link").first.click()
    target = page.url.partition("#")[2]
    # It is behind something that can be opened, and is open now.
    expect(page.locator(f"[id='{target}']")).to_be_in_viewport()
    look(page, "health-looked")


def test_the_recovery_code_is_shown_to_whoever_confirms(page: Page, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/backups")
    expect(page.locator("main")).to_contain_text("no backup yet")
    expect(page.locator("#recovery-code")).to_have_count(0)
    page.get_by_label("Nobody looks at my screen").check()
    page.get_by_role("button", name="Show the code").click()
    words = page.locator("#recovery-code li")
    expect(words).to_have_count(12)
    look(page, "backups-code")
    page.goto(f"{box.url}/activity")
    expect(page.locator("main")).to_contain_text("the code that opens backups")


def test_a_target_that_does_not_work_is_told_and_its_secret_forgotten(page: Page, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/backups")
    page.get_by_label("Place").fill("backups/attic")
    page.get_by_label("Access key").fill("AKIA1")
    page.get_by_label("Secret key").fill("wJalrXUtnFEMI")
    page.get_by_role("button", name="Try it, and use it").click()
    expect(page.get_by_role("alert")).to_contain_text("begins with s3://")
    page.get_by_label("Place").fill("s3://backups/attic")
    page.get_by_label("Address of the server").fill("http://127.0.0.1:1")
    page.get_by_label("Secret key").fill("wJalrXUtnFEMI")
    page.get_by_role("button", name="Try it, and use it").click()
    # The box may have a clock, or none.
    expect(page.get_by_role("alert")).to_contain_text(re.compile("takes no connection|clock is not set"))
    expect(page.get_by_label("Place")).to_have_value("s3://backups/attic")
    assert "wJalrXUtnFEMI" not in page.content()
    look(page, "backups-refused")


def test_a_server_is_looked_at_before_it_is_trusted(page: Page, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/backups")
    page.get_by_text("A folder of an SFTP server").click()
    expect(page.locator("#ssh-key")).to_have_text(re.compile("^ssh-ed25519 AAAA[^ ]+ roost-backup$"))
    page.get_by_label("Folder of the server").fill("nas/attic")
    page.get_by_role("button", name="Look which server it is").click()
    expect(page.get_by_role("alert")).to_contain_text("sftp://USER@HOST/attic")
    page.get_by_label("Folder of the server").fill("sftp://roost@127.0.0.1:1/attic")
    page.get_by_role("button", name="Look which server it is").click()
    expect(page.get_by_role("alert")).to_contain_text("takes no connection")
    expect(page.get_by_label("Folder of the server")).to_have_value("sftp://roost@127.0.0.1:1/attic")
    look(page, "backups-server")


def test_a_missing_page_says_so(page: Page, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/nothing")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
    look(page, "missing")


def test_keys_are_enough(page: Page, box: Box) -> None:
    page.goto(f"{box.url}/")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    expect(skip).to_have_text("Skip to the page")
    assert skip.bounding_box()["x"] >= 0, "it is seen while it has the focus"
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.goto(f"{box.url}/")
    page.get_by_role("link", name="Activity").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{box.url}/activity")


def test_the_menu_opens_on_a_phone(page: Page, box: Box, look: Look) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{box.url}/")
    expect(page.get_by_role("link", name="Security")).not_to_be_visible()
    page.get_by_text("Menu", exact=True).click()
    page.get_by_role("link", name="Security").click()
    expect(page).to_have_url(f"{box.url}/security")


def test_without_scripts_it_works_too(browser: Browser, box: Box) -> None:
    context = browser.new_context(ignore_https_errors=True, java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{box.url}/")
    expect(page).to_have_url(f"{box.url}/sign-in")
    page.get_by_label("Admin password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{box.url}/")
    page.goto(f"{box.url}/progress")
    assert page.locator("noscript meta, meta[http-equiv=refresh]").count() == 1
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    context.close()


def test_signing_out_and_in(page: Page, context: BrowserContext, box: Box, look: Look) -> None:
    page.goto(f"{box.url}/")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{box.url}/sign-in")
    look(page, "sign-in")
    page.get_by_label("Admin password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("The password is not right")
    look(page, "sign-in-wrong")
    page.get_by_label("Admin password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{box.url}/")
    for cookie in context.cookies():
        assert cookie["name"].startswith("__Host-")
        assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
