"""The README's first command: it says how to send and read a mail, and that works as it is printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import Subject
from lab import CHECKOUT
from waiting import wait_until

#: Seconds until it runs: the programs are in the cache.
START_TIMEOUT = 300.0
#: Seconds until a mail that was taken can be read.
DELIVERY_TIMEOUT = 30.0
#: Seconds until the box is off.
STOP_TIMEOUT = 60.0


@contextmanager
def demo(box: Path) -> Iterator[str]:
    """Runs it until it has said all that it says, which this gives; ends it as Ctrl-C does."""
    # Ports that are free; the usual ones may be taken by somebody who tries the demo.
    process = subprocess.Popen(
        [CHECKOUT / "scripts/demo", "--port-offset", "0"], env=os.environ | {"ROOST_DEMO": str(box), "XDG_CONFIG_HOME": str(box / "keys")},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said: list[str] = []

    def listen() -> None:
        assert process.stdout is not None
        said.extend(iter(process.stdout.readline, ""))

    threading.Thread(target=listen, daemon=True).start()

    def all_said() -> bool:
        assert process.poll() is None, "".join(said)
        return any(line.startswith("Ctrl-C shuts the box down") for line in list(said))

    try:
        wait_until("the demo", all_said, START_TIMEOUT)
        yield "".join(said)
        process.send_signal(signal.SIGINT)
        process.wait(STOP_TIMEOUT)
    finally:
        process.kill()
        process.wait()


def commands(said: str) -> tuple[str, str]:
    """What it says how to send a mail, and how to read it; the password is typed in."""
    password = re.search(r"its password: (\S+)", said)
    block = re.search(r"curl asks for the password\):\n(.*?)\n\s*(curl -k .*?)\nMail programs", said, re.DOTALL)
    assert password and block, said
    return block[1], f"{block[2].strip()}:{password[1]}"


def shell(command: str) -> str:
    """As in a terminal."""
    return subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True, timeout=DELIVERY_TIMEOUT).stdout


def test_demo(subject: Subject, tmp_path: Path) -> None:
    """What it prints works, and its mail is there again at the next start."""
    box = tmp_path / "box"
    with demo(box) as said:
        send, read = commands(said)
        shell(send)
        wait_until("the mail", lambda: "It works." in shell(read), DELIVERY_TIMEOUT, retry_on=(subprocess.CalledProcessError,))
    with demo(box) as said:
        _, read = commands(said)
        assert "It works." in shell(read)
