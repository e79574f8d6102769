"""An AWS of the emulated internet: moto answers for it, and what it says is running runs, from its own user data.

    198.18.6.1  the API (moto)

A relay appears when its instance has an address, and goes when the instance is ended; its address has the reverse
name that Terraform has set. Needs root, terraform and build/relay-tools.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import aws
import relay as relay_files
from internet import Place, RelayMachine
from namespaces import Machine, cable
from waiting import wait_until

#: The API's address, and where the internet hangs on it.
API4, ROUTER4 = "198.18.6.1", "198.18.6.254"
PORT = 5000
START_TIMEOUT = 60.0


class Cloud:
    """The account, and the machines in it. Ends with `with`."""

    def __init__(self, internet: Machine, folder: Path, reverse: Callable[[Sequence[str], str], None]) -> None:
        """Switches it on; `reverse` is told which name addresses have."""
        folder.mkdir()
        self._internet, self._folder, self._reverse = internet, folder, reverse
        self.url = f"http://{API4}:{PORT}"
        self.environment = aws.environment(self.url, folder / "extra.json")
        #: The relay that runs, if one does; whoever asks must allow for its end.
        self.relay: RelayMachine | None = None
        #: What went wrong in the cloud itself.
        self.fault: BaseException | None = None
        self._running = ""
        self._count = 0
        self._programs: list[subprocess.Popen[bytes]] = []
        self._machine = Machine("cloud")
        try:
            cable(self._machine, "eth0", internet, "cloud")
            self._machine.address("eth0", f"{API4}/24")
            internet.address("cloud", f"{ROUTER4}/24")
            self._machine.route("default", ROUTER4)
            moto = (str(aws.PYTHON), "-m", "moto.server", "-H", API4, "-p", str(PORT))
            self._programs.append(self._machine.start(*moto, log=folder / "moto.log"))
            asked = ("curl", "--silent", "--fail", "--max-time", "5", f"{self.url}/moto-api/")
            wait_until("moto", lambda: self._machine.run(*asked), START_TIMEOUT, retry_on=(RuntimeError,))
            watch = [*self._machine.enter, str(aws.PYTHON), str(aws.LAB / "aws_watch.py")]
            with (folder / "watch.log").open("wb") as log:
                self._watch = subprocess.Popen(
                    watch, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
                )  # fmt: skip
            self._thread = threading.Thread(target=self._follow, daemon=True)
            self._thread.start()
        except BaseException:
            self._end_moto()
            self._machine.__exit__(None, None, None)
            raise

    def image(self) -> str:
        """An image that machines can be made from."""
        ask = "import boto3; print(boto3.client('ec2').describe_images()['Images'][0]['ImageId'])"
        place = ["env", *(f"{name}={value}" for name, value in self.environment.items())]
        return self._machine.run(*place, str(aws.PYTHON), "-c", ask).strip()

    def _follow(self) -> None:
        """Does what the account says, until the watcher ends."""
        assert self._watch.stdout is not None
        try:
            for line in self._watch.stdout:
                self._obey(json.loads(line))
        except BaseException as error:
            self.fault = error

    def _obey(self, account: dict[str, Any]) -> None:
        machines = account["machines"]
        running = machines[0]["id"] if machines else ""
        if running != self._running:
            self._end_relay()
        if running and running != self._running:
            self.relay = self._boot(machines[0], account["secrets"])
        self._running = running
        for address, name in account["pointers"].items():
            self._reverse([address], name.rstrip("."))

    def _boot(self, machine: dict[str, Any], secrets: dict[str, str]) -> RelayMachine:
        """As cloud-init and the script `setup` do on a real one; the keys are those that the script `key` would ask for."""
        told = relay_files.environment(machine["user_data"])
        self._count += 1
        folder = self._folder / f"relay-{self._count}"
        place = Place(machine["ipv4"], *machine["ipv6"])
        booted = RelayMachine(self._internet, machine["user_data"], secrets[told["KEY_PARAMETER"]], place, folder)
        booted.answer_dns(secrets[told["TSIG_PARAMETER"]])
        return booted

    def _end_moto(self) -> None:
        """At once: it keeps nothing, and on a busy machine takes long to end in order."""
        for program in self._programs:
            program.kill()
            program.wait(START_TIMEOUT)

    def _end_relay(self) -> None:
        relay, self.relay = self.relay, None
        if relay is not None:
            relay.__exit__(None, None, None)

    def __enter__(self) -> Cloud:
        """For `with`."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Switches it off, with all that runs in it."""
        self._watch.terminate()
        self._watch.wait(START_TIMEOUT)
        self._thread.join(START_TIMEOUT)
        self._end_relay()
        self._end_moto()
        self._machine.__exit__(kind, error, trace)
