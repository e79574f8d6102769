"""A box in the emulator: `roost run` as a child process.

`roost run --json` prints one JSON object a line: `started` (ports, pairing
code, control socket, console file), `ready`, `reset` and `exit`. A state folder holds the
card, so a second machine with the same folder goes on where the first ended.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from waiting import wait_until

#: Seconds from power-on to `services ready`: four times what two slow cores need.
BOOT_TIMEOUT = 180.0
#: The same on the Raspberry Pi, whose SD card and USB network are emulated register by register.
PI_BOOT_TIMEOUT = 300.0
#: Seconds for an orderly stop of all services and a power-off: more than init allows itself.
STOP_TIMEOUT = 120.0
#: Seconds for one answer on the control socket.
CONTROL_TIMEOUT = 20.0


class MachineError(Exception):
    """`roost run` ended, or did not say what was expected of it."""


class Machine:
    """One run of a box, from power-on to the end of the emulator."""

    def __init__(
        self,
        roost: Path,
        image: Path,
        state: Path,
        *,
        machine: str = "virt",
        options: Sequence[str] = (),
    ) -> None:
        """Starts the emulator and returns when it has, before the box is up."""
        state.mkdir(parents=True, exist_ok=True)
        self.name = f"{machine} in {state.name}"
        self.state = state
        self.console_path: Path | None = None
        self._stderr = state / "roost-run.stderr"
        self._events: list[dict[str, Any]] = []
        self._taken = 0
        self._ended = False
        self._news = threading.Condition()
        self._control: socket.socket | None = None
        with self._stderr.open("ab") as stderr:
            # A session of its own: a power cut is SIGKILL to its process group.
            self._process = subprocess.Popen(
                [
                    # No emulator outlives the tests, however they end.
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    str(roost),
                    "run",
                    "--json",
                    "--image",
                    str(image),
                    "--state",
                    str(state),
                    "--machine",
                    machine,
                    "--port-offset",
                    "0",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                # Python ignores SIGXFSZ; so must QEMU, see `break_card`.
                restore_signals=False,
                # What it leaves for `roost pair` is of no use to whoever runs the tests.
                env={**os.environ, "XDG_CONFIG_HOME": str(state / "config")},
            )
        self._reader = threading.Thread(target=self._read_events, daemon=True)
        self._reader.start()
        try:
            started = self.wait_event("started", 60)
        except BaseException:
            self.power_cut()
            raise
        #: The box's port numbers and the ports of 127.0.0.1 that lead there.
        self.forwards = {int(inside): int(outside) for inside, outside in started["forwards"].items()}
        #: The pairing code of the card, and SHA-256 of the certificate on it.
        self.code: str | None = started.get("code")
        self.fingerprint: str | None = started.get("fingerprint")
        self.control_path: str | None = started.get("control")
        #: Socket of the box's network, with `--lan`.
        self.lan_path: str | None = started.get("lan")
        #: QEMU's second control channel, with `--monitor`, through which disks are plugged in, with `--usb`.
        self.monitor_path: str | None = started.get("monitor")
        self.console_path = Path(started["console"])

    def _read_events(self) -> None:
        """Collects what `roost run` prints until it ends."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self._events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_event(self, name: str, timeout: float) -> dict[str, Any]:
        """The next event called `name`; earlier events are passed over."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                while self._taken < len(self._events):
                    event = self._events[self._taken]
                    self._taken += 1
                    if event.get("event") == name:
                        return event
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "it ended" if self._ended else f"{timeout:.0f} s passed"
                    raise MachineError(
                        f"roost run ({self.name}) never said {name!r}: {why}\n{self.said()}\n{self.console_tail()}"
                    )
                self._news.wait(left)

    def wait_ready(self, timeout: float = BOOT_TIMEOUT) -> float:
        """Waits for the box's services; returns seconds since its kernel started."""
        return float(self.wait_event("ready", timeout)["after_s"])

    def control(self, op: str, expect: str, **arguments: Any) -> dict[str, Any]:
        """Asks init for something and returns its answer of the kind `expect`."""
        if self.control_path is None:
            raise MachineError(f"{self.name} has no control socket")
        request = json.dumps({"op": op, **arguments}).encode() + b"\n"
        try:
            try:
                self._connection().sendall(request)
            except BrokenPipeError:
                # That of a machine which was restarted since: nothing was asked yet.
                self.hang_up()
                self._connection().sendall(request)
            with self._connection().makefile("r", encoding="utf-8") as lines:
                answer = json.loads(lines.readline() or '{"answer": "none"}')
        except OSError:
            self.hang_up()
            raise
        if answer["answer"] != expect:
            self.hang_up()
            raise MachineError(f"{op} {arguments}: {answer.get('message', answer)}")
        return answer

    def _connection(self) -> socket.socket:
        """One connection for the whole run: on a serial line init cannot tell where one client ends and the next begins."""
        if self._control is None:
            self._control = socket.socket(socket.AF_UNIX)
            self._control.settimeout(CONTROL_TIMEOUT)
            self._control.connect(self.control_path)
        return self._control

    def hang_up(self) -> None:
        """Closes the control connection; the next request opens another. A restarted box has lost it."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def status(self) -> dict[str, Any]:
        """State of the box and its services."""
        return self.control("status", "status")

    def service(self, name: str) -> dict[str, Any]:
        """State of one service."""
        services = {service["name"]: service for service in self.status()["services"]}
        return services[name]

    def logs(self, service: str, lines: int = 200, boot: int | None = 0) -> list[str]:
        """The last log lines of a service, `init` or `kernel`: of the running boot (0), the one before (1), or all."""
        return self.control("logs", "logs", service=service, lines=lines, boot=boot)["lines"]

    def kill(self, service: str) -> None:
        """Has init send SIGKILL to a service."""
        self.control("kill", "ok", service=service)

    def wait_service_ready(self, name: str, timeout: float) -> dict[str, Any]:
        """Waits until a service says that it is ready; returns its state."""

        def ready() -> dict[str, Any] | None:
            state = self.service(name)
            return state if state["state"] == "ready" else None

        return wait_until(f"service {name} to be ready", ready, timeout)

    def cable(self, plugged: bool) -> None:
        """Plugs the network cable in or pulls it out, with `--monitor`."""
        self._monitor(("set_link", {"name": "cable", "up": plugged}))

    def plug(self, name: str, disk: Path, *, read_only: bool = False, slow: int = 0) -> None:
        """Plugs a USB disk in, a file in the state folder, with `--usb`; `slow` takes so many bytes a second."""
        node: dict[str, Any] = {"driver": "raw", "read-only": read_only, "file": {"driver": "file", "filename": str(disk)}}
        before: tuple[tuple[str, dict[str, Any]], ...] = ()
        if slow:
            before = (("object-add", {"qom-type": "throttle-group", "id": f"slow-{name}", "limits": {"bps-total": slow}}),)
            node = {"driver": "throttle", "throttle-group": f"slow-{name}", "file": node}
        stick = {"driver": "usb-storage", "id": name, "bus": "usb.0", "drive": f"disk-{name}", "removable": True}
        self._monitor(*before, ("blockdev-add", {"node-name": f"disk-{name}", **node}), ("device_add", stick))

    def unplug(self, name: str, *, slow: bool = False) -> None:
        """Pulls a USB disk out, whatever the box does with it."""
        after = (("object-del", {"id": f"slow-{name}"}),) if slow else ()
        self._monitor(("device_del", {"id": name}), ("blockdev-del", {"node-name": f"disk-{name}"}), *after)

    def _monitor(self, *commands: tuple[str, dict[str, Any]]) -> None:
        """Has QEMU do something to the machine, with `--monitor`."""
        assert self.monitor_path is not None
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(CONTROL_TIMEOUT)
            monitor.connect(self.monitor_path)
            with monitor.makefile("rw", encoding="utf-8") as lines:
                json.loads(lines.readline())
                for command, arguments in (("qmp_capabilities", {}), *commands):
                    print(json.dumps({"execute": command, "arguments": arguments}), file=lines, flush=True)
                    # Events come in between; a device is gone only when one says so.
                    awaited = {"return", "DEVICE_DELETED"} if command == "device_del" else {"return"}
                    while awaited:
                        answer = json.loads(lines.readline())
                        assert "error" not in answer, (command, answer)
                        awaited -= {*answer, answer.get("event")}

    def break_card(self, first: int | None) -> None:
        """From now on the card takes no write at or behind a place (bytes); with `None` it takes all again."""
        # QEMU may write no file any further (EFBIG), which it hands on as an error of the card.
        limit = resource.RLIM_INFINITY if first is None else first
        resource.prlimit(self._emulator(), resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def _emulator(self) -> int:
        """Process number of QEMU, which is a new one after each restart of the box."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                name = (folder / "comm").read_text()
                arguments = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith("qemu-system") and str(self.state).encode() in arguments:
                return int(folder.name)
        raise MachineError(f"{self.name} has no emulator")

    def reboot(self, timeout: float = BOOT_TIMEOUT) -> float:
        """Restarts the box in order; returns seconds from its kernel's start to ready."""
        with self._news:
            # Of restarts that nobody waited for, as those of an update.
            self._taken = len(self._events)
        self.control("reboot", "ok")
        self.hang_up()
        self.wait_event("reset", STOP_TIMEOUT)
        return self.wait_ready(timeout)

    def power_off(self) -> str:
        """Shuts the box down in order; returns the reason that `roost run` gave for its end."""
        self.control("power_off", "ok")
        return self._wait_exit()

    def terminate(self) -> str:
        """Ends `roost run` as Ctrl-C or a service manager would; returns the reason it gave."""
        # `roost run` asks on the same socket, which has room for one.
        self.hang_up()
        self._process.send_signal(signal.SIGTERM)
        return self._wait_exit()

    def _wait_exit(self) -> str:
        reason = str(self.wait_event("exit", STOP_TIMEOUT)["reason"])
        self._process.wait(STOP_TIMEOUT)
        return reason

    def power_cut(self) -> None:
        """Takes the power away: nothing in the box or the emulator can react."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_TIMEOUT)
        self._reader.join(STOP_TIMEOUT)
        self.hang_up()

    @property
    def running(self) -> bool:
        """Whether the emulator has not ended."""
        return self._process.poll() is None

    def console(self) -> str:
        """Everything the box said on its console in this run."""
        if self.console_path is None:
            return ""
        return self.console_path.read_text(encoding="utf-8", errors="replace")

    def console_tail(self, lines: int = 40) -> str:
        """The last lines of the console, or why there are none."""
        try:
            return "\n".join(self.console().splitlines()[-lines:])
        except OSError as error:
            return f"no console: {error}"

    def said(self) -> str:
        """What `roost run` said and complained about, and whether it has ended."""
        with self._news:
            lines = [json.dumps(event) for event in self._events]
        complaints = self._stderr.read_text(encoding="utf-8", errors="replace")[-2000:]
        end = self._process.poll()
        return "\n".join([*lines, complaints, "it runs" if end is None else f"it ended with {end}"])

    def mail_log(self) -> str:
        """The mail program's last log lines, or why there are none."""
        try:
            return "\n".join(line[:200] for line in self.logs("mail", 40))
        except (OSError, MachineError) as error:
            return f"no log: {error}"
