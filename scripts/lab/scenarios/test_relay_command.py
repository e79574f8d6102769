"""`roost relay` and the booted box: keys go both ways, nobody copies anything, and a bad address is given back."""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
from pathlib import Path

import pytest

import aws
from conftest import Boot, Subject
from distant import BOX, DistantRelay
from home import CARD, Home
from laptop import Api, Laptop
from namespaces import Machine
from waiting import wait_until

PASSWORD = "wobbly lantern orbits quietly"
#: Addresses that the account gets, in this order.
BAD, GOOD = "203.0.113.1", "203.0.113.2"
#: What the box's mail server is called.
HOST = "mail.example.org"
#: One list has the first address. Lists without their test point (RFC 5782, section 5) do not work.
RECORDS = """
2.0.0.127.zen.spamhaus.org. A 127.0.0.2
1.113.0.203.zen.spamhaus.org. A 127.0.0.2
2.0.0.127.bl.spamcop.net. A 127.0.0.2
"""
#: Asks moto for a machine image: only the tools' Python can.
IMAGE = "import boto3; print(boto3.client('ec2').describe_images()['Images'][0]['ImageId'])"
ADDRESSES = "import boto3; print(*(entry['PublicIp'] for entry in boto3.client('ec2').describe_addresses()['Addresses']))"


#: Seconds until the lists can be asked after a start.
LIST_TIMEOUT = 60.0


def spamhaus(api: Api) -> str:
    """What Spamhaus says of an address that nothing is known of, as the box tells it."""
    _, told = api.call("GET", "blocklists/203.0.113.9")
    return next((entry["state"] for entry in told.get("lists", []) if entry["name"] == "Spamhaus ZEN"), "")


def consent(api: Api) -> bool:
    """Whether the box may order certificates."""
    status, told = api.call("GET", "certificates")
    assert status == 200, told
    return bool((told["choice"] or {}).get("terms_agreed"))


@pytest.mark.skipif(aws.MISSING, reason="no terraform or no schema: NOTHING about `roost relay` and a box was tested")
def test_box_and_relay_learn_of_each_other(boot: Boot, subject: Subject, tmp_path: Path) -> None:
    """Made at (moto's) AWS and handed to the box; then another relay by hand, which answers; then none."""
    card = tmp_path / "card.img"
    command = [str(subject.roost), "flash", str(card), "--image", str(subject.image), "--name", "roost", *CARD, "--yes", "--json"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "desk-of-the-card")})
    machine = boot(tmp_path / "box", image=card, options=("--lan",))
    card.unlink()
    laptop = Laptop(subject.roost, tmp_path / "desk", PASSWORD)
    with (
        aws.moto_server(tmp_path) as moto,
        Machine("internet") as internet,
        Home(internet, str(machine.lan_path), RECORDS, tmp_path / "home") as home,
    ):
        account = aws.account(moto, tmp_path)
        project = aws.Project(tmp_path, account.environment)
        laptop.environment |= {name: value for name, value in project.environment.items() if name.startswith(("AWS_", "TF_", "ROOST_AWS"))}

        def ask(program: str) -> str:
            return subprocess.run(
                [str(aws.PYTHON), "-c", program], env=laptop.environment, capture_output=True, text=True, check=True
            ).stdout.strip()

        (laptop.folder / "roost.toml").write_text(f'[relay]\nregion = "{aws.REGION}"\nami = "{ask(IMAGE)}"\n')
        machine.wait_ready()
        assert machine.code
        laptop.pair(machine, "--code", machine.code)
        home.wait_address(lambda: machine.status()["addresses"])
        # The box's resolver looks every ten seconds whether the home's answers by now.
        api = Api(machine, laptop)
        wait_until("an answer of a list", lambda: spamhaus(api) == "clear", LIST_TIMEOUT, interval=1.0)
        key = laptop.run("relay", "status")[-1]["tunnel"]["public_key"]

        said = laptop.run("relay", "apply", "--yes", "--no-wait")
        warnings = [event["text"] for event in said if event["event"] == "warning"]
        assert warnings == [f"{BAD} is on Spamhaus ZEN"]
        assert ask(ADDRESSES) == GOOD == said[-1]["relay"]["public_ipv4"]
        # The relay lets this box in, and the box goes to this relay.
        state = subprocess.run(["terraform", "show", "-json"], cwd=laptop.folder / "relay", env=laptop.environment, capture_output=True, check=True)
        assert key in json.loads(state.stdout)["values"]["outputs"]["relay"]["value"]["user_data"]
        told = laptop.run("relay", "status")[-1]
        assert told["tunnel"]["relay"] == f"{GOOD}:51820"
        lists = {entry["name"]: entry["state"] for entry in told["blocklists"]["lists"]}
        assert lists.pop("Spamhaus ZEN") == lists.pop("SpamCop") == "clear", told["blocklists"]
        assert set(lists.values()) == {"unanswered"}

        # The second phase: the reverse name, and the owner's word to the authority goes to the box with it.
        hosts = tmp_path / "hosts"
        hosts.write_text(f"{GOOD} {HOST}\n")
        named = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
        assert consent(api) is False
        finished = laptop.run("relay", "finish", "--yes", "--agree-terms", "--mail-host", HOST, wrap=named)
        relay = next(event["relay"] for event in finished if "relay" in event)
        assert relay["reverse_name"].rstrip(".") == HOST
        assert consent(api) is True
        # Who has agreed is not asked again.
        again = laptop.run("relay", "finish", "--yes", wrap=named)
        assert not any("terms" in event.get("text", "") for event in again), again

        with DistantRelay(tmp_path) as relay:
            relay.expect(key)
            connected = laptop.run("relay", "connect", relay.endpoint, "--relay-key", relay.public_key)[-1]
            assert connected["tunnel"]["state"] == "up"
            with relay.machine.inside(), smtplib.SMTP(BOX, 25, timeout=30) as smtp:
                assert smtp.noop()[0] == 250

        laptop.run("relay", "destroy", "--yes")
        assert ask(ADDRESSES) == ""
        wait_until("a box without a relay", lambda: laptop.run("relay", "status")[-1]["tunnel"]["state"] == "unconfigured", 30)
