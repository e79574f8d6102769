"""AWS as moto plays it, and Terraform projects that find it. Needs build/relay-tools, which scripts/setup makes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waiting import wait_until

LAB = Path(__file__).resolve().parent
CHECKOUT = LAB.parents[1]
MODULE = CHECKOUT / "terraform/relay"
TOOLS = CHECKOUT / "build/relay-tools"
#: Python with moto, boto3 and what the stand-in provider needs.
PYTHON = TOOLS / "bin/python"
#: What schema.py has written.
SCHEMA = Path(os.environ.get("ROOST_AWS_SCHEMA", TOOLS / "aws-schema.json"))
REGION = "eu-central-1"
ACCOUNT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
AMI_PARAMETER = "/roost/test/ami"
MISSING = shutil.which("terraform") is None or not SCHEMA.exists()


@dataclass(frozen=True)
class Aws:
    """The cloud: where it is, and a way to ask it."""

    url: str
    extra: Path
    environment: dict[str, str]

    def client(self, service: str, region: str = REGION) -> Any:
        """boto3's client of a service; only in a Python that has it."""
        import boto3

        return boto3.client(
            service, endpoint_url=self.url, region_name=region, aws_access_key_id="test", aws_secret_access_key="test"
        )

    def kept_by_us(self) -> dict[str, Any]:
        """What moto has no call for."""
        return json.loads(self.extra.read_text()) if self.extra.exists() else {}


@contextmanager
def moto_server(folder: Path) -> Iterator[str]:
    """Runs moto; gives where it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "moto.log").open("wb") as log:
        process = subprocess.Popen([str(PYTHON), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until("moto", lambda: urllib.request.urlopen(f"{url}/moto-api/", timeout=5), 60, retry_on=(OSError,))
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def account(moto: str, folder: Path) -> Aws:
    """An empty account at moto, with an image of a machine."""
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST"), timeout=60)
    extra = folder / "extra.json"
    return Aws(moto, extra, environment(moto, extra))


def environment(url: str, extra: Path) -> dict[str, str]:
    """How Terraform, its stand-in provider and boto3 find an account."""
    return {
        **ACCOUNT, "AWS_ENDPOINT_URL": url, "ROOST_AWS_EXTRA": str(extra),
        "ROOST_AWS_SCHEMA": str(SCHEMA), "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip


class Project:
    """A user's folder with a Terraform project that uses the module."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """Copies the module, and puts the stand-in provider where Terraform looks for providers."""
        self.folder = folder / "project"
        #: Whether terraform and the provider log all that they say to each other.
        self.traced = False
        self.logs = folder / "logs"
        self.logs.mkdir()
        shutil.copytree(MODULE, folder / "relay", ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        self.folder.mkdir()
        version = json.loads(Path(environment["ROOST_AWS_SCHEMA"]).read_text())["version"]
        place = folder / f"mirror/registry.terraform.io/hashicorp/aws/{version}/linux_amd64"
        place.mkdir(parents=True)
        program = place / f"terraform-provider-aws_v{version}"
        program.write_text(f'#!/bin/sh\nexec {PYTHON} {LAB / "terraform/provider.py"} "$@"\n')
        program.chmod(0o755)
        settings = folder / "terraformrc"
        settings.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{folder / "mirror"}"\n  }}\n}}\n')
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}, **environment,
            "TF_CLI_CONFIG_FILE": str(settings), "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1",
        }

    def write(self, text: str) -> None:
        """The project's one file."""
        (self.folder / "main.tf").write_text(text)

    def terraform(self, *arguments: str, secrets: dict[str, str] | None = None, expect: tuple[int, ...] = (0,)) -> str:
        """Runs terraform and returns what it printed, which is kept as well."""
        number = len(list(self.logs.iterdir()))
        done = subprocess.run(
            ["terraform", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300,
            env={
                **self.environment, **{f"TF_VAR_{name}": value for name, value in (secrets or {}).items()},
                **({"TF_LOG": "TRACE", "TF_LOG_PATH": str(self.logs / f"{number}-{arguments[0]}.log")} if self.traced else {}),
            },
        )
        said = done.stdout + done.stderr
        (self.logs / f"{number}-{arguments[0]}.out").write_text(said)
        assert done.returncode in expect, said
        return said

    def output(self) -> dict[str, Any]:
        """The project's outputs."""
        return {name: value["value"] for name, value in json.loads(self.terraform("output", "-json")).items()}

    def state(self) -> dict[str, Any]:
        """Addresses of resources to their values."""
        shown = json.loads(self.terraform("show", "-json"))
        modules = shown.get("values", {}).get("root_module", {}).get("child_modules", [])
        found = {}
        while modules:
            module = modules.pop()
            modules += module.get("child_modules", [])
            found.update({resource["address"]: resource["values"] for resource in module.get("resources", [])})
        return found
