"""Passkeys, with Chromium's virtual authenticator. Comes after test_portal.py, which has paired the box.

A passkey needs a name and a certificate that the browser trusts. So Chromium is told where the box's name
leads, and trusts the box's key for the test as it would once the owner had imported the certificate.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Playwright, expect

from conftest import CHROMIUM, EXPECTED, PATIENCE_MS, Box, Look
from test_portal import PASSWORD

#: A telephone with a finger on it: keeps passkeys itself, and knows whose finger it is.
PHONE = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
    "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True,
}
NAMED = "Phone by the door"
#: How the key of a certificate with P-256 begins, up to the point (RFC 5480 section 2).
P256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


@dataclass(frozen=True)
class Named:
    """The box by its name."""

    host: str
    url: str
    #: What leads Chromium there.
    resolver: str
    #: Its certificate, in DER.
    certificate: bytes

    @property
    def key(self) -> str:
        """SHA-256 of the certificate's public key, as Chromium takes it."""
        at = self.certificate.index(P256)
        return base64.b64encode(hashlib.sha256(self.certificate[at:at + len(P256) + 65]).digest()).decode()


@pytest.fixture(scope="module")
def named(box: Box) -> Named:
    """The box's name, from its API, and its certificate."""
    to = urlsplit(box.url)
    port = to.port or 443
    certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((to.hostname, port)))
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(f"{box.url}/api/v1/hello", context=trusting, timeout=20) as answer:
        name = json.load(answer)["name"]
    host = f"{name}.local"
    url = f"https://{host}" if port == 443 else f"https://{host}:{port}"
    return Named(host, url, f"MAP {host} {to.hostname}", certificate)


def launch(playwright: Playwright, named: Named, *, trusted: bool) -> Browser:
    """Chromium that finds the box by its name."""
    args = ["--no-sandbox", f"--host-resolver-rules={named.resolver}"]
    if trusted:
        args.append(f"--ignore-certificate-errors-spki-list={named.key}")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=args)


@pytest.fixture(scope="module")
def owner(playwright: Playwright, named: Named) -> Iterator[BrowserContext]:
    """The owner's browser, which trusts the box's certificate."""
    browser = launch(playwright, named, trusted=True)
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    yield context
    browser.close()


@pytest.fixture(scope="module")
def page(owner: BrowserContext) -> Iterator[Page]:
    """One page for all: a virtual authenticator belongs to a page."""
    page = owner.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    yield page
    page.close()
    assert [line for line in said if not EXPECTED.search(line)] == []


@pytest.fixture(scope="module")
def phone(owner: BrowserContext, page: Page) -> tuple[CDPSession, str]:
    """The telephone: a connection to it, and its number."""
    session = owner.new_cdp_session(page)
    session.send("WebAuthn.enable")
    number = session.send("WebAuthn.addVirtualAuthenticator", {"options": PHONE})["authenticatorId"]
    return session, number


def kept(phone: tuple[CDPSession, str]) -> list[dict]:
    """What the telephone keeps."""
    session, number = phone
    return session.send("WebAuthn.getCredentials", {"authenticatorId": number})["credentials"]


def sign_in(page: Page, url: str) -> None:
    page.goto(f"{url}/sign-in")
    page.get_by_label("Admin password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page).to_have_url(f"{url}/")


def test_no_passkey_is_offered_before_there_is_one(page: Page, named: Named) -> None:
    page.goto(f"{named.url}/sign-in")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_have_count(0)


def test_the_owner_adds_one(page: Page, named: Named, phone: tuple[CDPSession, str], look: Look) -> None:
    sign_in(page, named.url)
    page.goto(f"{named.url}/security")
    section = page.locator("#passkeys")
    section.get_by_text("Add a passkey", exact=True).click()
    expect(section).to_contain_text(f"It will be for {named.host}")
    expect(section.locator("[data-part=untrusted]")).to_be_hidden()
    look(page, "security-passkeys")
    section.get_by_label("Name of the passkey").fill(NAMED)
    section.get_by_label("Your password now").fill("wrong")
    section.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("The password is not right")

    section.get_by_text("Add a passkey", exact=True).click()
    section.get_by_label("Name of the passkey").fill(NAMED)
    section.get_by_label("Your password now").fill(PASSWORD)
    section.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Make the passkey")
    look(page, "passkey-make")
    # By keyboard, as everything.
    page.get_by_role("button", name="Make the passkey").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text(f"“{NAMED}” is added")
    expect(section).to_contain_text(f"For {named.host}, added just now, not used yet.")
    (passkey,) = kept(phone)
    assert (passkey["rpId"], passkey["isResidentCredential"]) == (named.host, True)
    look(page, "security-passkey-added")


def test_the_same_device_is_not_added_twice(page: Page, named: Named, phone: tuple[CDPSession, str]) -> None:
    page.goto(f"{named.url}/security")
    section = page.locator("#passkeys")
    section.get_by_text("Add a passkey", exact=True).click()
    section.locator("#passkey-password").fill(PASSWORD)
    section.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Make the passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("This device has a passkey for this box already")
    assert len(kept(phone)) == 1


def test_it_signs_in_without_a_password(page: Page, named: Named, phone: tuple[CDPSession, str], look: Look) -> None:
    page.goto(f"{named.url}/")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{named.url}/sign-in")
    look(page, "sign-in-passkey")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page).to_have_url(f"{named.url}/")
    page.goto(f"{named.url}/security")
    expect(page.locator("#passkeys")).to_contain_text("last used just now")
    expect(page.get_by_text("signed in with a passkey just now")).to_have_count(1)
    page.goto(f"{named.url}/activity")
    expect(page.locator("main")).to_contain_text(f'The owner signed in with the passkey "{NAMED}"')
    look(page, "activity-passkey")


def test_a_person_who_is_not_looked_at_does_not_get_in(
    page: Page, named: Named, phone: tuple[CDPSession, str], look: Look
) -> None:
    session, number = phone
    page.get_by_role("button", name="Sign out").click()
    session.send("WebAuthn.setUserVerified", {"authenticatorId": number, "isUserVerified": False})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("No passkey was used")
    expect(page).to_have_url(f"{named.url}/sign-in")
    look(page, "sign-in-passkey-cancelled")
    session.send("WebAuthn.setUserVerified", {"authenticatorId": number, "isUserVerified": True})


def test_by_its_address_the_box_says_at_which_name_it_works(
    browser: Browser, box: Box, named: Named, look: Look
) -> None:
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{box.url}/sign-in")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_have_count(0)
    expect(page.locator("main")).to_contain_text(f"only at the name that it was made for: {named.host}.")
    look(page, "sign-in-by-address")
    sign_in(page, box.url)
    page.goto(f"{box.url}/security")
    section = page.locator("#passkeys")
    expect(section).to_contain_text("opened by an address, and passkeys belong to a name")
    expect(section.get_by_text("Add a passkey", exact=True)).to_have_count(0)
    look(page, "security-by-address")
    context.close()


def test_without_trust_the_page_explains(playwright: Playwright, named: Named, look: Look) -> None:
    browser = launch(playwright, named, trusted=False)
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{named.url}/sign-in")
    page.get_by_role("button", name="Sign in with a passkey").click()
    told = page.get_by_role("alert").filter(visible=True)
    expect(told).to_contain_text("does not trust this box's certificate yet")
    look(page, "sign-in-untrusted")
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the certificate").click()
    assert download.value.suggested_filename.endswith(".cer")
    assert download.value.path().read_bytes() == named.certificate

    sign_in(page, named.url)
    page.goto(f"{named.url}/security")
    # Nobody types a password for nothing.
    expect(told).to_contain_text("does not trust this box's certificate yet")
    expect(page.locator("#passkeys").get_by_text("Add a passkey", exact=True)).to_be_hidden()
    look(page, "security-untrusted")
    browser.close()


def test_without_scripts_the_page_says_so(playwright: Playwright, named: Named) -> None:
    browser = launch(playwright, named, trusted=True)
    context = browser.new_context(java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{named.url}/sign-in")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_hidden()
    sign_in(page, named.url)
    page.goto(f"{named.url}/security")
    # Playwright's own reading of text leaves <noscript> out.
    told = page.locator("#passkeys noscript p")
    expect(told).to_be_visible()
    assert "needs scripts" in told.evaluate("told => told.textContent")
    browser.close()


def test_a_removed_one_signs_in_no_more(
    browser: Browser, box: Box, page: Page, named: Named, phone: tuple[CDPSession, str], look: Look
) -> None:
    page.goto(f"{named.url}/sign-in")
    expect(page.get_by_role("button", name="Sign in with a passkey")).to_be_visible()
    # Meanwhile in another browser.
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_MS)
    other = context.new_page()
    sign_in(other, box.url)
    other.goto(f"{box.url}/security")
    section = other.locator("#passkeys")
    section.get_by_text("Remove a passkey", exact=True).click()
    look(other, "security-passkey-remove")
    section.locator("#remove-passkey-password").fill(PASSWORD)
    section.get_by_role("button", name="Remove it").click()
    expect(other.get_by_role("status")).to_contain_text(f"“{NAMED}” is removed")
    expect(section).not_to_contain_text(NAMED)
    context.close()

    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("The box does not know this passkey")
    look(page, "sign-in-passkey-removed")
    assert len(kept(phone)) == 1, "the device keeps it, and does not help"
