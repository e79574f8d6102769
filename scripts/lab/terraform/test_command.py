"""`roost relay`, in an account that moto plays. The box is only named by its key here; scenarios/test_relay_command.py has one.

Environment: `ROOST`, the command under test.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aws import AMI_PARAMETER, REGION, Aws, Project
from test_module import assert_nothing_left, leaks, ports

BOX_KEY = "mDuTCUJBfoQ7Vi3MLsmFhS9VJcW8M1EtGcnJbSoYDxw="
DOMAIN = "example.org"
#: A hash of a password that nobody knows.
HASH = "$argon2id$v=19$m=7168,t=5,p=1$sP0hhfCNbADYmlNNCISjqA$8AM/OVk0PYDzl3fwtCIYiNcCdZq0ye2N5v1uMHFlgfQ"
USAGE, FAILED, INTERRUPTED = 2, 1, 130


@dataclass
class Owner:
    """Somebody with a `roost.toml`, a computer and an AWS account."""

    aws: Aws
    folder: Path
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)

    @property
    def project(self) -> Path:
        """The Terraform project that the command keeps."""
        return self.folder / "relay"

    def write(self, relay: str = "") -> None:
        """roost.toml; `relay` is more of that table."""
        (self.folder / "roost.toml").write_text(
            f'[box]\ndomain = "{DOMAIN}"\n[account]\nname = "alice"\npassword_hash = "{HASH}"\n'
            f'[relay]\nregion = "{REGION}"\nami = "{self.image()}"\n{relay}\n'
        )

    def image(self) -> str:
        """A machine image that moto has."""
        return str(self.aws.client("ssm").get_parameter(Name=AMI_PARAMETER)["Parameter"]["Value"])

    def roost(self, *arguments: str, expect: int = 0, wrap: tuple[str, ...] = (), **environment: str) -> str:
        """The command; gives all that it said."""
        done = subprocess.run(
            [*wrap, os.environ["ROOST"], "relay", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=300,
            env={**self.environment, **environment},
        )  # fmt: skip
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == expect, self.said[-1]
        return self.said[-1]

    def start(self, *arguments: str, wrap: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        """Begins the command; what it says comes by its standard output."""
        return subprocess.Popen(
            [*wrap, os.environ["ROOST"], "relay", *arguments], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def hear(self, command: subprocess.Popen[str], kind: str, **fields: str) -> dict[str, Any]:
        """The command's next event of this kind with these fields."""
        assert command.stdout is not None
        said = []
        for line in command.stdout:
            said.append(line)
            self.said.append(line)
            event = json.loads(line) if line.startswith("{") else {}
            if event.get("event") == kind and fields.items() <= event.items():
                return dict(event)
        raise AssertionError(f"no {kind}: {said}")

    def result(self, *arguments: str, wrap: tuple[str, ...] = ()) -> dict[str, Any]:
        """The command's result, as scripts get it."""
        lines = [json.loads(line) for line in self.roost("--json", *arguments, wrap=wrap).splitlines() if line.startswith("{")]
        return next(line for line in lines if line["event"] == "result")


@pytest.fixture
def owner(aws: Aws, project: Project, tmp_path: Path) -> Owner:
    """With an empty account; Terraform finds the stand-in provider."""
    folder = tmp_path / "box"
    folder.mkdir()
    made = Owner(aws, folder, {**project.environment, "XDG_CONFIG_HOME": str(tmp_path / "config")})
    made.write()
    return made


def with_hosts(hosts: Path) -> tuple[str, ...]:
    """What a command begins with that finds names in this file, as a resolver would give them."""
    return "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"


def private(owner: Owner) -> list[str]:
    """The secrets in the owner's files, in the forms that others get them in."""
    found = []
    for name in ("relay.key", "relay-tsig.key"):
        path = next(Path(owner.environment["XDG_CONFIG_HOME"]).rglob(name))
        assert path.stat().st_mode & 0o077 == 0
        seed = bytearray.fromhex(path.read_text().splitlines()[-1])
        found.append(base64.b64encode(bytes(seed)).decode())
        seed[0] &= 248
        seed[31] = seed[31] & 127 | 64
        found.append(base64.b64encode(bytes(seed)).decode())
    return found


def test_the_whole_life_of_a_relay(owner: Owner, tmp_path: Path) -> None:
    """Plan, apply, finish, destroy; the second time with the same keys."""
    box = ("--box-key", BOX_KEY)
    planned = owner.result("plan", *box)
    assert {change["action"] for change in planned["changes"]} == {"create"}
    assert len(planned["changes"]) > 40
    assert owner.aws.client("ec2").describe_addresses()["Addresses"] == []
    assert "$7.36" in owner.roost("cost")

    # Nothing is made without a yes.
    assert "there is no terminal to ask on" in owner.roost("apply", *box, expect=USAGE)
    assert owner.aws.client("ec2").describe_addresses()["Addresses"] == []

    applied = owner.result("apply", "--yes", *box)
    relay = applied["relay"]
    addresses = owner.aws.client("ec2").describe_addresses()["Addresses"]
    assert [address["PublicIp"] for address in addresses] == [relay["public_ipv4"]]
    text = json.loads(applied["box_text"])
    assert text["relay"]["endpoint"] == f"{relay['public_ipv4']}:51820"
    # The key that the box is told of is the one that the relay has.
    stored = owner.aws.client("ssm").get_parameter(Name="/roost/relay/wireguard-key", WithDecryption=True)["Parameter"]["Value"]
    public = subprocess.run(["wg", "pubkey"], input=stored, capture_output=True, text=True, check=True).stdout.strip()
    assert text["relay"]["public_key"] == public
    group = owner.aws.client("ec2").describe_security_groups(Filters=[{"Name": "group-name", "Values": ["roost-relay"]}])
    assert ("tcp", 25, "0.0.0.0/0") in ports(group["SecurityGroups"][0]["IpPermissions"])
    assert "Nothing would change" in owner.roost("plan", *box)
    # By hand it is a project like any other.
    assert (owner.project / ".gitignore").read_text() == "*\n"
    assert owner.project.stat().st_mode & 0o077 == 0

    # The second phase waits for the name.
    hosts = tmp_path / "hosts"
    named = with_hosts(hosts)
    hosts.write_text(f"198.51.100.1 mail.{DOMAIN}\n")
    early = owner.roost("finish", "--yes", *box, expect=FAILED, wrap=named)
    assert f"mail.{DOMAIN} does not lead to {relay['public_ipv4']} yet" in early and "it leads to 198.51.100.1" in early
    hosts.write_text(f"{relay['public_ipv4']} mail.{DOMAIN}\n")
    finished = owner.result("finish", "--yes", *box, wrap=named)
    assert finished["relay"]["reverse_name"].rstrip(".") == f"mail.{DOMAIN}"
    assert owner.aws.kept_by_us() == {f"ptr {relay['allocation_id']}": f"mail.{DOMAIN}"}
    # A later apply takes nothing of it away.
    assert owner.result("plan", *box)["changes"] == []

    # Nobody is paired with a box here, and what only the box knows is missing.
    request = owner.roost("port25")
    assert relay["public_ipv4"] in request and relay["allocation_id"] in request and f"mail.{DOMAIN}" in request
    status = owner.result("status")
    assert status["relay"] == finished["relay"] and status["tunnel"] is None and "paired with no box" in status["box_silent"]

    owner.roost("destroy", "--yes")
    assert_nothing_left(owner.aws)
    assert "nothing to remove" in owner.roost("destroy", "--yes")
    again = json.loads(owner.result("apply", "--yes", *box)["box_text"])
    assert again["relay"]["public_key"] == public
    owner.roost("destroy", "--yes")

    ours = private(owner)
    assert stored in ours
    assert not any(secret in said for secret in ours for said in owner.said)
    assert leaks(owner.project, ours) == []


def test_apply_waits_until_the_domain_leads_to_the_relay(owner: Owner, tmp_path: Path) -> None:
    """What is to be delegated comes before the wait; Ctrl-C ends it well; the same command goes on, and finishes."""
    hosts = tmp_path / "hosts"
    hosts.write_text(f"198.51.100.1 mail.{DOMAIN}\n")
    applies = ("--json", "apply", "--yes", "--wait-for", "5", "--box-key", BOX_KEY)
    command = owner.start(*applies, wrap=with_hosts(hosts))
    told = owner.hear(command, "delegate")
    (address,) = owner.aws.client("ec2").describe_addresses()["Addresses"]
    assert (told["mail_host"], told["address"], told["domain"]) == (f"mail.{DOMAIN}", address["PublicIp"], DOMAIN)
    assert {server["name"] for server in told["name_servers"]} == {f"ns1.{DOMAIN}", f"ns2.{DOMAIN}"}
    assert told["address"] in [server["value"] for server in told["name_servers"]]
    # The box was not asked for its key.
    assert told["ds"] == [] and json.loads(told["box_text"])["relay"]["endpoint"] == f"{told['address']}:51820"
    owner.hear(command, "step", name="wait for the registrar", state="started")
    command.send_signal(signal.SIGINT)
    said = command.communicate(timeout=60)[0]
    assert command.returncode == INTERRUPTED, said
    assert f"mail.{DOMAIN} was not seen to lead to the relay yet" in said and "`roost relay apply` goes on from here" in said
    assert owner.aws.kept_by_us() == {}
    # Nothing is made anew, and a terminal's Ctrl-C has left no half of anything.
    assert owner.result("plan", "--box-key", BOX_KEY)["changes"] == []

    command = owner.start(*applies, wrap=with_hosts(hosts))
    assert owner.hear(command, "delegate")["address"] == told["address"]
    hosts.write_text(f"{told['address']} mail.{DOMAIN}\n")
    result = owner.hear(command, "result")
    assert command.wait(timeout=60) == 0
    assert result["finished"] and result["relay"]["reverse_name"].rstrip(".") == f"mail.{DOMAIN}"
    assert owner.aws.kept_by_us() == {f"ptr {result['relay']['allocation_id']}": f"mail.{DOMAIN}"}
    # Once it is finished there is nothing to wait for.
    hosts.write_text("")
    assert owner.result(*applies[1:], wrap=with_hosts(hosts))["finished"]
    owner.roost("destroy", "--yes")
    # People read it as one block. Where nobody wants to wait, the next steps are told.
    hosts.write_text(f"198.51.100.1 mail.{DOMAIN}\n")
    shown = owner.roost("apply", "--yes", "--wait-for", "0", "--box-key", BOX_KEY, wrap=with_hosts(hosts))
    assert "1. roost dns ds" in shown and "roost relay apply      again" in shown, shown
    assert owner.aws.kept_by_us() == {}
    owner.roost("destroy", "--yes")
    assert leaks(owner.project, private(owner)) == []


def test_an_address_of_ones_own_stays(owner: Owner) -> None:
    own = owner.aws.client("ec2").allocate_address(Domain="vpc")
    owner.write(f'elastic_ip = "{own["AllocationId"]}"\nname = "home"\nbudget_email = "owner@example.com"')
    applied = owner.result("apply", "--yes", "--box-key", BOX_KEY)
    assert applied["relay"]["public_ipv4"] == own["PublicIp"]
    owner.roost("destroy", "--yes")
    left = owner.aws.client("ec2").describe_addresses()["Addresses"]
    assert [address["AllocationId"] for address in left] == [own["AllocationId"]]


def test_what_is_wrong_is_told(owner: Owner, tmp_path: Path) -> None:
    """Before anything is made."""
    assert "no WireGuard key" in owner.roost("plan", "--box-key", "abc", expect=USAGE)
    assert "paired with no box" in owner.roost("plan", expect=USAGE)
    assert "there is no relay in" in owner.roost("destroy", "--yes", expect=USAGE)
    owner.write("second_elastic_ip = true")
    assert "has no effect without `registered_domain`" in owner.roost("plan", "--box-key", BOX_KEY, expect=USAGE)
    owner.write('instance_type = "t3.nano"')
    assert "has no ARM processor" in owner.roost("plan", "--box-key", BOX_KEY, expect=USAGE)
    owner.write()
    nowhere = owner.roost("plan", "--box-key", BOX_KEY, expect=FAILED, ROOST_TERRAFORM="/nowhere/terraform")
    assert "cannot run terraform" in nowhere and "install Terraform 1.11" in nowhere
    old = tmp_path / "terraform"
    old.write_text('#!/bin/sh\necho \'{"terraform_version": "1.9.8"}\'\n')
    old.chmod(0o755)
    assert "terraform is version 1.9.8" in owner.roost("plan", "--box-key", BOX_KEY, expect=FAILED, ROOST_TERRAFORM=str(old))
    # AWS itself refuses: an Elastic IP that is not there.
    owner.write('elastic_ip = "eipalloc-0123456789abcdef0"')
    refused = owner.roost("apply", "--yes", "--box-key", BOX_KEY, expect=FAILED)
    assert "eipalloc-0123456789abcdef0" in refused, refused
    unreachable = owner.roost(
        "plan", "--box-key", BOX_KEY, expect=FAILED, AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1"
    )
    assert "error: cannot plan the relay" in unreachable


def test_a_script_for_another_machine(owner: Owner) -> None:
    script = owner.roost("--quiet", "script", "--box-key", BOX_KEY, "--public-ip", "203.0.113.7")
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert BOX_KEY in script and "203.0.113.7" in script and "tcp dport 22 accept" in script
    closed = owner.roost("--quiet", "script", "--box-key", BOX_KEY, "--ssh-port", "0")
    assert "tcp dport 22" not in closed
