"""`roost relay` and the booted box: keys go both ways, and nobody copies anything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import aws
from conftest import Boot, Subject
from distant import BOX, RELAY, DistantRelay
from laptop import Laptop
from waiting import wait_until

PASSWORD = "wobbly lantern orbits quietly"
#: Asks moto for a machine image: only the tools' Python can.
IMAGE = "import boto3; print(boto3.client('ec2').describe_images()['Images'][0]['ImageId'])"


@pytest.mark.skipif(aws.MISSING, reason="no terraform or no schema: NOTHING about `roost relay` and a box was tested")
def test_box_and_relay_learn_of_each_other(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Made at (moto's) AWS, handed to the box; then another relay by hand, which answers; then none."""
    machine = boot(tmp_path / "box")
    laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    with aws.moto_server(tmp_path) as moto:
        account = aws.account(moto, tmp_path)
        project = aws.Project(tmp_path, account.environment)
        laptop.environment |= {name: value for name, value in project.environment.items() if name.startswith(("AWS_", "TF_", "ROOST_AWS"))}
        image = subprocess.run([str(aws.PYTHON), "-c", IMAGE], env=laptop.environment, capture_output=True, text=True, check=True).stdout.strip()
        (laptop.folder / "roost.toml").write_text(f'[relay]\nregion = "{aws.REGION}"\nami = "{image}"\n')
        machine.wait_ready()
        assert machine.code
        laptop.pair(machine, "--code", machine.code)
        key = laptop.run("relay", "status")[-1]["tunnel"]["public_key"]

        made = laptop.run("relay", "apply", "--yes", "--no-wait")
        result = made[-1]
        address = result["relay"]["public_ipv4"]
        # The relay lets this box in, and the box goes to this relay.
        user_data = subprocess.run(
            ["terraform", "show", "-json"], cwd=laptop.folder / "relay", env=laptop.environment, capture_output=True, text=True, check=True
        ).stdout
        assert key in user_data
        told = laptop.run("relay", "status")[-1]
        assert told["tunnel"]["relay"] == f"{address}:51820"
        # The box has no internet here, so no list answers: that is no listing, and the address is kept.
        assert {entry["state"] for entry in told["blocklists"]["lists"]} == {"unanswered"}
        assert any(event.get("name") == "look it up in blocklists" and event["state"] == "done" for event in made)

        with DistantRelay(tmp_path) as relay:
            relay.expect(key)
            connected = laptop.run("relay", "connect", relay.endpoint, "--relay-key", relay.public_key)[-1]
            assert connected["tunnel"]["state"] == "up"
            answer = relay.machine.run("ping", "-c", "1", "-W", "5", BOX)
            assert RELAY and "1 received" in answer
            assert laptop.run("relay", "status")[-1]["port25"]["state"] in ("closed", "unknown")

        laptop.run("relay", "destroy", "--yes")
        wait_until("a box without a relay", lambda: laptop.run("relay", "status")[-1]["tunnel"]["state"] == "unconfigured", 30)
