"""Says what machines an account at moto has: a line of JSON at the start and after each change. Run by `cloud.py` with
the tools' Python, as only that has boto3.

Environment: as for `terraform/cloud.py`.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

import boto3

#: Seconds between two looks.
EVERY = 1.0


def seen() -> dict[str, Any]:
    """Every running instance with a public address, all parameters in clear, and the names of addresses."""
    ec2, ssm = (boto3.client(name, region_name=os.environ["AWS_REGION"]) for name in ("ec2", "ssm"))
    public = {entry["NetworkInterfaceId"]: entry for entry in ec2.describe_addresses()["Addresses"] if "NetworkInterfaceId" in entry}
    machines = []
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            interfaces = [entry["NetworkInterfaceId"] for entry in instance["NetworkInterfaces"]]
            if instance["State"]["Name"] != "running" or not interfaces or interfaces[0] not in public:
                continue
            interface = ec2.describe_network_interfaces(NetworkInterfaceIds=interfaces[:1])["NetworkInterfaces"][0]
            data = ec2.describe_instance_attribute(InstanceId=instance["InstanceId"], Attribute="userData")
            machines.append({
                "id": instance["InstanceId"], "user_data": base64.b64decode(data["UserData"]["Value"]).decode(),
                "ipv4": public[interfaces[0]]["PublicIp"], "ipv6": [entry["Ipv6Address"] for entry in interface["Ipv6Addresses"]],
            })  # fmt: skip
    names = [entry["Name"] for entry in ssm.describe_parameters()["Parameters"]] if machines else []
    secrets = {name: ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"] for name in names}
    extra = Path(os.environ["ROOST_AWS_EXTRA"])
    kept = json.loads(extra.read_text()) if extra.exists() else {}
    pointers = {
        entry["PublicIp"]: kept[key] for entry in ec2.describe_addresses()["Addresses"] if (key := f"ptr {entry['AllocationId']}") in kept
    }  # fmt: skip
    return {"machines": machines, "secrets": secrets, "pointers": pointers}


def main() -> None:
    """Until it is ended."""
    before = None
    while True:
        now = seen()
        if now != before:
            print(json.dumps(now), flush=True)
            before = now
        time.sleep(EVERY)


if __name__ == "__main__":
    main()
