"""Fixtures of the browser tests: one box, one browser, and what must hold on every page.

Environment, for a box that runs and has no owner yet:
`ROOST_URL` (e.g. `https://192.0.2.5`) and `ROOST_CODE` (its pairing code).

Or, without a box: `ROOST_PORTAL`, the portal built for this machine. It is started with an empty
folder, and beside it the backup service that lies in the same folder; pages then say what else does not
answer.

`ROOST_PICTURES` is a folder for pictures of all pages, should somebody want to look at them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

#: Debian's, which needs no download of a browser.
CHROMIUM = "/usr/bin/chromium"
#: Width, height and colours in which every page must be good.
VIEWS = [(1200, 850, "light"), (1200, 850, "dark"), (390, 844, "light"), (390, 844, "dark")]
#: A box on a slow emulated card takes some seconds for a page.
PATIENCE_MS = 60_000
#: What browsers say of answers that are errors on purpose.
EXPECTED = re.compile(r"status of (401|403|404|409|422|429|502|503)|Password forms should have|Multiple forms should")


@dataclass(frozen=True)
class Box:
    """Where the portal is, and how to take it."""

    url: str
    code: str


def free_ports() -> list[int]:
    """Two TCP ports that nobody uses, held at the same time so that they differ."""
    with socket.socket() as one, socket.socket() as two:
        for probe in (one, two):
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in (one, two)]


@contextmanager
def backup_service(program: Path, folder: Path) -> Iterator[dict[str, Path]]:
    """Runs the backup service; gives what tells the portal where it is. No time server has set its clock."""
    run = folder / "backup-run"
    for made in (run, folder / "backup", folder / "sockets"):
        made.mkdir()
    plain = {"description": "d", "program": "/bin/x", "required": False, "ready_timeout_s": 1, "stop_timeout_s": 1}
    table = [{**plain, "name": "backup", "user": os.getuid() + 1}, {**plain, "name": "portal", "user": os.getuid()}]
    (folder / "services.json").write_text(json.dumps(table))
    (folder / "release.json").write_text(json.dumps({"version": "0.1.0+7"}))
    env = {
        "ROOST_DATA": folder / "backup", "ROOST_RUN": run, "ROOST_SERVICES": folder / "services.json", "ROOST_NAME": "roost",
        "ROOST_RELEASE": folder / "release.json", "ROOST_CHOSEN": folder / "sockets", "ROOST_SOCKETS": folder / "sockets",
        "ROOST_CONTROL": folder / "init.sock",
    }  # fmt: skip
    with (folder / "backup.log").open("wb") as log:
        service = subprocess.Popen([program], env={k: str(v) for k, v in env.items()}, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 20
        while not (run / "portal.sock").exists():
            assert service.poll() is None and time.monotonic() < end, (folder / "backup.log").read_text()
            time.sleep(0.1)
        yield {"ROOST_BACKUP": run / "laptops.sock", "ROOST_BACKUP_DOOR": run / "portal.sock"}
    finally:
        service.terminate()
        service.wait(20)


def answers(url: str) -> bool:
    """Whether there is a portal."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    try:
        urllib.request.urlopen(f"{url}/assets/portal.css", context=trusting, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """The box of `ROOST_URL`, or the program of `ROOST_PORTAL`."""
    if url := os.environ.get("ROOST_URL"):
        yield Box(url.rstrip("/"), os.environ["ROOST_CODE"])
        return
    program = os.environ.get("ROOST_PORTAL")
    if not program:
        pytest.fail("set ROOST_URL and ROOST_CODE, or ROOST_PORTAL")
    folder = tmp_path_factory.mktemp("portal")
    (folder / "settings.json").write_text(json.dumps({
        "name": "roost", "network": {"mode": "dhcp"}, "time_servers": ["time.example.org"],
        "mail": {"max_message_size": 1_000_000, "spam_filter": True},
    }))
    (folder / "card").write_text(json.dumps({"format": 1, "pairing": {"code": "ABCDEFGH"}}))
    https, http = free_ports()
    run = {
        "ROOST_SETTINGS": folder / "settings.json", "ROOST_CHOSEN": folder / "chosen.json",
        "ROOST_DATA": folder, "ROOST_RUN": folder, "ROOST_INIT": folder / "init.sock",
        "ROOST_UPDATER": folder / "updater.sock", "ROOST_MAIL": folder / "mail.sock",
        "ROOST_TUNNEL_SOCKET": folder / "tunnel.sock", "ROOST_DNS": folder / "dns.sock",
        "ROOST_CERTIFICATES": folder / "certificates.sock",
        # Nobody outside is asked anything.
        "ROOST_RESOLVER": folder / "resolver.sock", "ROOST_RESOLV_CONF": folder / "resolv.conf",
        "ROOST_PORTS": f"{https} {http}",
    }
    beside = ExitStack()
    run |= beside.enter_context(backup_service(Path(program).with_name("backup"), folder))
    url = f"https://127.0.0.1:{https}"
    with (folder / "log").open("wb") as log:
        portal = subprocess.Popen([program], env={k: str(v) for k, v in run.items()}, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 20
        while not answers(url):
            assert portal.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield Box(url, "ABCD-EFGH")
    finally:
        portal.send_signal(signal.SIGTERM)
        portal.wait(20)
        beside.close()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """What drives browsers; there is one at a time."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium."""
    # Without a sandbox of its own: the tests may run as root, and all that is opened is our page.
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """The owner's browser. The certificate is the box's own, which a person confirms once."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that nothing is reported from: no error of a script, nothing that the policy refuses."""
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    yield page
    page.close()
    assert [line for line in said if not EXPECTED.search(line)] == []


Look = Callable[[Page, str], None]


@pytest.fixture(scope="session")
def look() -> Look:
    """Looks at a page as everybody may see it: no fault that axe knows, nothing wider than the screen."""
    axe = Axe()
    pictures = os.environ.get("ROOST_PICTURES")

    def look(page: Page, name: str) -> None:
        for width, height, colours in VIEWS:
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=colours)
            # Colours change within an eighth of a second.
            page.wait_for_timeout(200)
            where = f"{name}, {width} wide, {colours}"
            faults = axe.run(page).response["violations"]
            short = [(f["id"], [node["target"] for node in f["nodes"]]) for f in faults]
            assert short == [], where
            assert page.evaluate("document.documentElement.scrollWidth") <= width, where
            small = page.evaluate(
                """() => [...document.querySelectorAll('main button, main a.button, main input:not([type=hidden], [type=checkbox]), main select, nav a')]
                    .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 40 && !e.closest('nav details:not([open])'))
                    .map(e => e.outerHTML)"""
            )
            assert small == [], f"{where}: too small for a finger"
            if pictures:
                Path(pictures).mkdir(parents=True, exist_ok=True)
                page.screenshot(path=f"{pictures}/{name}-{width}-{colours}.png", full_page=True)
        page.set_viewport_size({"width": 1200, "height": 850})

    return look
