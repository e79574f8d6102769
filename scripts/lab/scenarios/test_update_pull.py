"""A box that follows a URL finds a newer version there, installs it, and does not try a bad one twice."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from collections.abc import Iterator
from pathlib import Path

import elf
from card import SLOT_A, SLOT_B
from conftest import Boot
from neighbour import OWN_ADDRESS, Neighbour
from updates import FIRST, NEXT, UPDATE_TIMEOUT, Patient, Workshop, copy_of_checkout, replace_text
from waiting import wait_until

#: This machine, as the emulated box sees it.
HOST = "10.0.2.2"
#: Seconds until the box has asked for the time again after nobody answered.
SYNC_TIMEOUT = 240.0
#: How long boxes wait before they look: what they do, and what these do instead.
WAITS = {
    "const FIRST: Range<u64> = 5 * 60..30 * 60;": "const FIRST: Range<u64> = 5..6;",
    "const AGAIN: Range<u64> = 22 * 3600..26 * 3600;": "const AGAIN: Range<u64> = 5..6;",
    "const SOON: Range<u64> = 40 * 60..80 * 60;": "const SOON: Range<u64> = 5..6;",
}


def test_box_follows_a_url(boot: Boot, workshop: Workshop, tmp_path: Path) -> None:
    """Nothing newer: nothing happens. A good version is kept, a bad one returns and stays where it is."""
    impatient = copy_of_checkout(tmp_path / "impatient")
    for usual, short in WAITS.items():
        replace_text(impatient / "services/updater/src/pull.rs", usual, short)
    shelf = tmp_path / "roost.bundle"
    with serving(workshop, shelf) as port:
        tables = {
            "update": f'url = "http://{HOST}:{port}/roost.bundle"',
            # A box does not follow a URL before it knows the time.
            "time": f'servers = ["{OWN_ADDRESS}"]',
        }
        first = workshop.release(FIRST, tables=tables, checkout=impatient)
        good = workshop.release(NEXT, tables=tables, checkout=impatient)
        bad = workshop.release(
            NEXT + 1, tables=tables, checkout=impatient, replaced={"init": elf.write(tmp_path / "init", elf.EXIT)}
        )
        box = Patient(workshop, boot, tmp_path / "box", first=first, options=("--lan",))
        box.check(SLOT_A, FIRST)

        def give_time() -> None:
            """After each restart anew: the emulated network is then a new one."""
            with Neighbour(box.machine.lan_path) as neighbour:

                def synced() -> bool:
                    neighbour.announce()
                    return box.machine.status()["clock_synced"]

                wait_until("an answer from the time server", synced, SYNC_TIMEOUT, interval=1.0)

        def wait_logged(words: str) -> None:
            def logged() -> bool:
                return any(words in line for line in box.machine.logs("updater", 2000))

            wait_until(f"the updater to say {words!r}", logged, UPDATE_TIMEOUT, interval=1.0)

        def wait_tried(number: int) -> None:
            def tried() -> bool:
                last = workshop.report(box.machine)["update"]["last"]
                return last is not None and last["to"]["number"] == number

            # The box does not answer while it restarts.
            gone = (AssertionError,)
            wait_until(f"the end of the trial of {number}", tried, UPDATE_TIMEOUT, interval=2.0, retry_on=gone)

        give_time()
        wait_logged("nothing newer")
        put(good.bundle, shelf)
        wait_tried(NEXT)
        box.check(SLOT_B, NEXT)
        put(bad.bundle, shelf)
        give_time()
        wait_tried(NEXT + 1)
        box.check(SLOT_B, NEXT)
        earlier = workshop.report(box.machine)["update"]["earlier"]
        assert [outcome["to"]["number"] for outcome in earlier] == [NEXT]
        give_time()
        wait_logged("went wrong here before")
        box.check(SLOT_B, NEXT)


def put(bundle: Path, shelf: Path) -> None:
    """Replaces what is served, as a whole."""
    copy = shelf.with_suffix(".new")
    shutil.copyfile(bundle, copy)
    copy.rename(shelf)


@contextmanager
def serving(workshop: Workshop, shelf: Path) -> Iterator[int]:
    """`roost serve` while it is needed; gives its port."""
    put(workshop.first.bundle, shelf)
    server = subprocess.Popen(
        [str(workshop.subject.roost), "serve", "--json", "--listen", "127.0.0.1:0", str(shelf)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield int(json.loads(server.stdout.readline())["port"])
    finally:
        server.kill()
        server.wait()
