"""The whole emulated internet at once, for the journey (`scenarios/test_journey.py`) and for people (`scripts/lab/up`).

    world (root, org, resolver, ACME) ┐                      ┌─ relay, from the user data that the cloud was given
    cloud (AWS by moto) ──────────────┼── internet ──────────┤
    strict (Postfix), exact (Exim) ───┤   (1:1 NAT)          └─ home (router, NAT) ── box
    phone ────────────────────────────┘                             └── desk, the owner's computer

Needs root, terraform and what `scripts/setup test` installs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aws
from cloud import Cloud
from exact import ExactExim
from home import Forwards, Home
from internet import connect_client, why_not as _why_no_namespaces
from namespaces import Machine
from strict import StrictPostfix
from world import DIRECTORY, RESOLVER, RESOLVER4, ROOT, World, anchor

LAB = Path(__file__).resolve().parent
CHECKOUT = LAB.parents[1]
#: Playwright's Python.
BROWSER = CHECKOUT / "build/tools/bin/python"
#: Mail domains of the two strict peers, and three bytes of their addresses.
STRICT, STRICT_NETWORK = "strict.org", "198.51.102"
EXACT, EXACT_NETWORK = "exact.org", "198.51.103"
#: A blocklist that knows nobody but its test point (RFC 5782, section 5).
BLOCKLIST = ("2.0.0.127.zen.spamhaus.org. A 127.0.0.2",)
#: Seconds between two advertisements of the home's router.
ANNOUNCED_EVERY_S = 3.0
#: Seconds for what a phone does, which may be to wait for mail.
PHONE_TIMEOUT = 180.0
#: Seconds for one command; the first build of a machine takes longer.
COMMAND_TIMEOUT = 1800.0


def why_not() -> str | None:
    """Why there can be no such lab here, in words that say what was not tested."""
    if aws.MISSING:
        return "no terraform or no schema: NOTHING of the whole journey was tested"
    return _why_no_namespaces("the whole journey")


class Lab:
    """All but box and home. Ends with `with`."""

    def __init__(self, folder: Path) -> None:
        """Switches it on."""
        folder.mkdir(parents=True)
        self.folder = folder
        self._open = ExitStack()
        self._homes = 0
        with self._open:
            self.internet = self._open.enter_context(Machine("internet"))
            self.internet.forward()
            self.world = self._open.enter_context(World(self.internet, folder / "world"))
            roots = self.world.issuer()
            self.roots = folder / "roots.pem"
            self.roots.write_text(roots)
            files = folder / "phone"
            (files / "etc").mkdir(parents=True)
            (files / "etc/resolv.conf").write_text(f"nameserver {RESOLVER}\n")
            self.phone = self._open.enter_context(Machine("phone", files))
            connect_client(self.phone, self.internet)
            self.strict = self._open.enter_context(StrictPostfix(self.internet, STRICT, STRICT_NETWORK, roots, folder / "strict"))
            self.exact = self._open.enter_context(ExactExim(self.internet, EXACT, EXACT_NETWORK, folder / "exact"))
            for peer in self.peers:
                self.world.reverse([peer.address], peer.host)
            self.world.publish([*(line for peer in self.peers for line in peer.records()), *BLOCKLIST])
            self.cloud = self._open.enter_context(Cloud(self.internet, folder / "cloud", self.world.reverse))
            #: What belongs to the home.
            self._home = self._open.enter_context(ExitStack())
            self._open = self._open.pop_all()

    @property
    def peers(self) -> tuple[StrictPostfix, ExactExim]:
        """The mail servers of others."""
        return self.strict, self.exact

    def open_home(self, lan: str) -> tuple[Home, dict[int, int]]:
        """The home of a box whose network's socket is at `lan`, and forwards to the box's ports.

        Its provider's resolver is the world's. There is one home: that of a box from before ends.
        """
        self._home.close()
        self._homes += 1
        home = self._home.enter_context(Home(self.internet, lan, "", self.folder / f"home-{self._homes}", resolver=RESOLVER4))
        over = threading.Event()
        self._home.callback(over.set)

        def announce() -> None:
            # Often, as a box that starts anew asks for it in vain.
            while not over.wait(ANNOUNCED_EVERY_S):
                with suppress(OSError):
                    home.announce()

        threading.Thread(target=announce, daemon=True).start()
        return home, self._home.enter_context(Forwards(home)).ports

    def adapt(self, config: Path) -> None:
        """Puts into a `roost.toml` what only this internet needs: its root, and an image at its AWS."""
        text = config.read_text()
        for table, lines in {
            "resolver": f'root_servers = ["{ROOT}"]\ntrust_anchors = ["{anchor()}"]',
            "relay": f'region = "{aws.REGION}"\nami = "{self.cloud.image()}"',
        }.items():
            assert text.count(f"\n[{table}]\n") == 1, text
            text = text.replace(f"\n[{table}]\n", f"\n[{table}]\n{lines}\n")
        config.write_text(text)

    @property
    def authority(self) -> tuple[str, ...]:
        """Options of `roost certificates agree` that name the world's authority."""
        return "--directory", DIRECTORY, "--roots", str(self.world.authority_file)

    def call(self, host: str, address: str, password: str, *action: str) -> str:
        """What `phone.py` prints."""
        place = ("env", f"SSL_CERT_FILE={self.roots}", f"REQUESTS_CA_BUNDLE={self.roots}")
        command = (*place, "/usr/bin/python3", str(LAB / "phone.py"), host, address, password, *action)
        return self.phone.run(*command, timeout=PHONE_TIMEOUT).strip()

    def __enter__(self) -> Lab:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Switches it off."""
        self._open.close()


@dataclass
class Count:
    """What an owner has done so far."""

    began: float = field(default_factory=time.monotonic)
    commands: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)

    def minutes(self) -> float:
        """Since the beginning."""
        return (time.monotonic() - self.began) / 60

    def __str__(self) -> str:
        """For people."""
        return f"{len(self.commands)} commands, {len(self.fields)} fields, {self.minutes():.1f} minutes"


class Owner:
    """Somebody with a computer at home, on which only the `roost` command is used; it is counted."""

    def __init__(self, roost: Path, lab: Lab) -> None:
        """A computer that knows no box."""
        self.folder = lab.folder / "desk"
        self.folder.mkdir()
        self.count = Count()
        self._roost, self._lab = roost, lab
        self._home: Home | None = None
        self._resolver = self.folder / "resolv.conf"
        # Terraform's mirror of providers, and the way to the account.
        project = aws.Project(lab.folder / "cloud", lab.cloud.environment)
        cloud = {name: value for name, value in project.environment.items() if name.startswith(("AWS_", "TF_", "ROOST_AWS"))}
        self.environment = {**os.environ, **cloud, "XDG_CONFIG_HOME": str(self.folder / "config")}
        #: Where `roost.toml` lies, after `init`.
        self.project = self.folder

    def comes_home(self, home: Home) -> None:
        """The computer is in the home's network from now on, and asks its resolver."""
        self._home = home
        self._resolver.write_text(f"nameserver {home.name_server}\n")

    @property
    def place(self) -> list[str]:
        """What a command begins with that runs in the home's network."""
        if self._home is None:
            return []
        inside = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return [*self._home.machine.enter, "unshare", "--mount", "sh", "-c", inside, str(self._resolver)]

    def secret(self, name: str, value: str) -> Path:
        """What the owner types at a prompt, once: a field."""
        self.count.fields.append(name)
        file = self.folder / name.replace(" ", "-")
        file.write_text(value)
        file.chmod(0o600)
        return file

    def start(self, *arguments: str, counted: bool = True) -> subprocess.Popen[str]:
        """Begins a command."""
        if counted:
            self.count.commands.append(" ".join(("roost", *(word for word in arguments[:2] if word[0] not in "-/"))))
        return subprocess.Popen(
            [*self.place, str(self._roost), *arguments, "--json"], cwd=self.project, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def roost(self, *arguments: str, expect: int | None = 0, counted: bool = True) -> list[dict[str, Any]]:
        """Runs a command to its end; gives its events."""
        command = self.start(*arguments, counted=counted)
        out, complaints = command.communicate(timeout=COMMAND_TIMEOUT)
        assert expect is None or command.returncode == expect, f"{arguments}: {command.returncode}\n{out}\n{complaints}\n{self._lab.cloud.fault!r}"
        return [json.loads(line) for line in out.splitlines()]

    def follow(self, act: Mapping[str, Callable[[dict[str, Any]], None]], *arguments: str) -> list[dict[str, Any]]:
        """Runs a command, which is counted, and acts on its events as they come, by their names; gives all of them."""
        events: list[dict[str, Any]] = []
        with self.start(*arguments) as command, tempfile.TemporaryFile("w+") as complaints:
            assert command.stdout is not None and command.stderr is not None
            copier = threading.Thread(target=shutil.copyfileobj, args=(command.stderr, complaints))
            copier.start()
            # A command that waits for what never comes.
            over = threading.Timer(COMMAND_TIMEOUT, command.kill)
            over.start()
            try:
                for line in command.stdout:
                    events.append(json.loads(line))
                    if what := act.get(events[-1]["event"]):
                        what(events[-1])
            except BaseException:
                command.kill()
                raise
            finally:
                over.cancel()
                copier.join()
            complaints.seek(0)
            assert command.wait() == 0, f"{arguments}: {command.returncode}\n{events}\n{complaints.read()}\n{self._lab.cloud.fault!r}"
        return events

    def browse(self, script: str, *arguments: str) -> str:
        """Runs one of `browser/` with Chromium on this computer."""
        done = subprocess.run(
            [*self.place, str(BROWSER), str(LAB / "browser" / script), *arguments],
            capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout.strip()
