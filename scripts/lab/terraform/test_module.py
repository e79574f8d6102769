"""The relay's module from init to destroy, in an account that moto plays."""

from __future__ import annotations

import base64
import json
import secrets
import zipfile
from pathlib import Path
from typing import Any

import pytest

from aws import ACCOUNT, AMI_PARAMETER, MODULE, REGION, Aws, Project
from relay import terraform

DOMAIN = "example.org"
TCP_PORTS = {25, 53, 80, 443, 465, 587, 993, 995, 4190}


def key() -> str:
    """32 random bytes as WireGuard and TSIG write them."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def text(**settings: object) -> str:
    """A project with the module, its secrets as ephemeral variables."""
    lines = "\n".join(f"  {name} = {json.dumps(value)}" for name, value in settings.items())
    return f"""
variable "relay_private_key" {{
  type      = string
  ephemeral = true
  sensitive = true
}}
variable "tsig_secret" {{
  type      = string
  default   = null
  ephemeral = true
  sensitive = true
}}
provider "aws" {{ region = "{REGION}" }}
module "relay" {{
  source            = "../relay"
  ami_parameter     = "{AMI_PARAMETER}"
  box_public_key    = "{'K' * 42}o="
  relay_private_key = var.relay_private_key
  tsig_secret       = var.tsig_secret
{lines}
}}
output "relay" {{ value = module.relay }}
"""


FULL: dict[str, Any] = {
    "name": "home",
    "zones": [DOMAIN, "example.net"],
    "second_elastic_ip": True,
    "budget_email": "owner@example.com",
    "registered_domain": DOMAIN,
    "tags": {"purpose": "mail"},
}
SECOND_PHASE: dict[str, Any] = {
    "mail_host": f"mail.{DOMAIN}",
    "dnssec_key": {"algorithm": 13, "flags": 257, "public_key": base64.b64encode(bytes(64)).decode()},
}


def register(aws: Aws) -> None:
    """The domain is in the account already, as the README tells."""
    contact = {"FirstName": "A", "LastName": "B", "ContactType": "PERSON", "AddressLine1": "C 1", "City": "D",
               "CountryCode": "DE", "ZipCode": "10115", "PhoneNumber": "+49.301234567", "Email": "a@example.com"}
    aws.client("route53domains", "us-east-1").register_domain(
        DomainName=DOMAIN, DurationInYears=2, AdminContact=contact, RegistrantContact=contact, TechContact=contact
    )


def actions(said: str) -> str:
    """The line in which terraform counts what it would do."""
    return next(line for line in said.splitlines() if "Plan:" in line)


def ports(permissions: list[dict[str, Any]]) -> set[tuple[str, int, str]]:
    """Protocol, first port and range of every rule."""
    return {
        (rule["IpProtocol"], rule.get("FromPort", -1), source)
        for rule in permissions
        for source in [entry["CidrIp"] for entry in rule["IpRanges"]] + [entry["CidrIpv6"] for entry in rule["Ipv6Ranges"]]
    }


def test_the_whole_life_of_a_relay(aws: Aws, project: Project) -> None:
    register(aws)
    project.traced = True
    ours = {"relay_private_key": key(), "tsig_secret": key()}
    project.write(text(**FULL))
    project.terraform("init", "-input=false", "-no-color")
    project.terraform("validate", "-no-color")
    project.terraform("plan", "-out=first.plan", "-input=false", "-no-color", secrets=ours)
    project.terraform("apply", "-input=false", "-no-color", "first.plan", secrets=ours)
    project.terraform("plan", "-detailed-exitcode", "-input=false", "-no-color", secrets=ours)
    relay = project.output()["relay"]
    state = project.state()

    tunnel = relay["tunnel"]
    assert json.loads(relay["box_text"]) == {
        "relay": {"public_key": "RELAY_PUBLIC_KEY", "endpoint": relay["endpoint"], "address4": tunnel["relay_ipv4"]},
        "address4": tunnel["box_ipv4"], "address6": tunnel["box_ipv6"], "mtu": tunnel["mtu"],
    }  # fmt: skip
    check_network(aws, relay, state)
    check_instance(aws, relay, ours)
    check_upkeep(aws, relay)
    servers = aws.client("route53domains", "us-east-1").get_domain_detail(DomainName=DOMAIN)["Nameservers"]
    assert {server["Name"]: server["GlueIps"] for server in servers} == {
        f"{name}.{DOMAIN}": addresses for name, addresses in relay["name_servers"].items()
    }
    assert aws.kept_by_us() == {}

    # DNS answers now: the second phase adds two things and touches nothing else.
    project.write(text(**FULL, **SECOND_PHASE))
    said = project.terraform("plan", "-out=second.plan", "-input=false", "-no-color", secrets=ours)
    assert actions(said) == "Plan: 2 to add, 0 to change, 0 to destroy."
    project.terraform("apply", "-input=false", "-no-color", "second.plan", secrets=ours)
    project.terraform("plan", "-detailed-exitcode", "-input=false", "-no-color", secrets=ours)
    assert aws.kept_by_us() == {
        f"ptr {relay['allocation_id']}": f"mail.{DOMAIN}", f"ds {DOMAIN}": SECOND_PHASE["dnssec_key"]
    }

    project.terraform("destroy", "-auto-approve", "-input=false", "-no-color", secrets=ours)
    assert_nothing_left(aws)
    assert leaks(project.folder.parent, [*ours.values()]) == []


def check_network(aws: Aws, relay: dict[str, Any], state: dict[str, dict[str, Any]]) -> None:
    """Addresses and guards."""
    ec2 = aws.client("ec2")
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["home-relay"]}])["SecurityGroups"][0]
    wanted = {("tcp", port) for port in TCP_PORTS} | {("udp", 53), ("udp", 51820)}
    assert ports(group["IpPermissions"]) == (
        {(protocol, port, everybody) for protocol, port in wanted for everybody in ("0.0.0.0/0", "::/0")}
        | {("icmp", -1, "0.0.0.0/0"), ("icmpv6", -1, "::/0")}
    )
    outbound = ports(group["IpPermissionsEgress"])
    assert ("tcp", 25, "0.0.0.0/0") in outbound
    assert ("tcp", 25, "::/0") not in outbound
    default = ec2.describe_security_groups(
        Filters=[{"Name": "vpc-id", "Values": [group["VpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
    )["SecurityGroups"][0]
    assert (default["IpPermissions"], default["IpPermissionsEgress"]) == ([], [])

    interface = ec2.describe_network_interfaces(Filters=[{"Name": "group-id", "Values": [group["GroupId"]]}])["NetworkInterfaces"][0]
    assert [address["PrivateIpAddress"] for address in interface["PrivateIpAddresses"]] == ["10.76.0.10", "10.76.0.11"]
    # moto shows the interface's first address for both, so which is which comes from the state.
    elastic = {address["AllocationId"]: address for address in ec2.describe_addresses()["Addresses"]}
    assert {address["NetworkInterfaceId"] for address in elastic.values()} == {interface["NetworkInterfaceId"]}
    associations = [values for name, values in state.items() if "aws_eip_association" in name]
    assert {entry["private_ip_address"]: elastic[entry["allocation_id"]]["PublicIp"] for entry in associations} == {
        "10.76.0.10": relay["public_ipv4"], "10.76.0.11": relay["name_servers"]["ns2"][0]
    }
    assert len({address for addresses in relay["name_servers"].values() for address in addresses}) == 4
    assert relay["name_servers"]["ns1"] == [relay["public_ipv4"], relay["public_ipv6"]]


def check_instance(aws: Aws, relay: dict[str, Any], ours: dict[str, str]) -> None:
    """The machine and what it may do."""
    ec2, iam, ssm = aws.client("ec2"), aws.client("iam"), aws.client("ssm")
    instance = ec2.describe_instances(InstanceIds=[relay["instance_id"]])["Reservations"][0]["Instances"][0]
    assert instance["InstanceType"] == "t4g.nano"
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    found = ec2.describe_instance_attribute(InstanceId=relay["instance_id"], Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(found).decode() == relay["user_data"]
    assert len(relay["user_data"]) < 16_384
    for address in (relay["public_ipv4"], "10.76.0.11", relay["name_servers"]["ns2"][1]):
        assert address in relay["user_data"]

    parameters = {entry["Name"]: entry["Type"] for entry in ssm.describe_parameters()["Parameters"]}
    assert parameters == {
        AMI_PARAMETER: "String", "/home/relay/wireguard-key": "SecureString", "/home/relay/tsig-secret": "SecureString"
    }
    names = ["/home/relay/wireguard-key", "/home/relay/tsig-secret"]
    stored = [ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"] for name in names]
    assert [parameter["Value"] for parameter in stored] == [*ours.values()]
    assert all(name in relay["user_data"] for name in names)
    role = f"home-relay-{REGION}"
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == []
    assert set(iam.list_role_policies(RoleName=role)["PolicyNames"]) == {"secrets", "session-manager"}
    policy = iam.get_role_policy(RoleName=role, PolicyName="secrets")["PolicyDocument"]["Statement"][0]
    assert (policy["Action"], set(policy["Resource"])) == ("ssm:GetParameter", {parameter["ARN"] for parameter in stored})


def check_upkeep(aws: Aws, relay: dict[str, Any]) -> None:
    """Alarms and the budget."""
    alarms = aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert {(alarm["MetricName"], alarm["AlarmActions"][0]) for alarm in alarms} == {
        ("StatusCheckFailed_System", f"arn:aws:automate:{REGION}:ec2:recover"),
        ("StatusCheckFailed_Instance", f"arn:aws:automate:{REGION}:ec2:reboot"),
    }
    assert {alarm["Dimensions"][0]["Value"] for alarm in alarms} == {relay["instance_id"]}
    account = aws.client("sts").get_caller_identity()["Account"]
    budget = aws.client("budgets").describe_budgets(AccountId=account)["Budgets"][0]
    assert (float(budget["BudgetLimit"]["Amount"]), budget["TimeUnit"]) == (15, "MONTHLY")


def assert_nothing_left(aws: Aws) -> None:
    """What could cost something, or stand in the way of the next relay."""
    ec2 = aws.client("ec2")
    states = [
        instance["State"]["Name"]
        for reservation in ec2.describe_instances()["Reservations"] for instance in reservation["Instances"]
    ]
    assert set(states) == {"terminated"}
    assert ec2.describe_addresses()["Addresses"] == []
    assert ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert [entry["Name"] for entry in aws.client("ssm").describe_parameters()["Parameters"]] == [AMI_PARAMETER]
    assert aws.client("iam").list_roles()["Roles"] == []
    assert aws.client("iam").list_instance_profiles()["InstanceProfiles"] == []
    assert aws.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert aws.kept_by_us() == {}


def leaks(folder: Path, ours: list[str]) -> list[Path]:
    """Files (and files inside of plans) with one of our secrets, plain or in base64 once more."""
    needles = [form for secret in ours for form in (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"=")[:-2], base64.b64decode(secret))]
    found, seen = [], 0
    for path in folder.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        contents = [path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as plan:
                contents += [plan.read(name) for name in plan.namelist()]
        seen += len(contents)
        if any(needle in content for needle in needles for content in contents):
            found.append(path)
    assert seen > 20, "there is hardly anything to be searched"
    return found


def test_a_leak_would_be_found(aws: Aws, project: Project) -> None:
    """The same search, after the same commands, with the one argument that must not be used."""
    for name in ("variables.tf", "instance.tf"):
        path = project.folder.parent / "relay" / name
        path.write_text(path.read_text().replace("  ephemeral   = true\n", "").replace("value_wo         = var.relay", "value            = var.relay")
                        .replace("  value_wo_version = var.relay_private_key_version\n", ""))
    project.write(text().replace("  ephemeral = true\n", ""))
    ours = {"relay_private_key": key()}
    project.traced = True
    project.terraform("init", "-input=false", "-no-color")
    project.terraform("plan", "-out=first.plan", "-input=false", "-no-color", secrets=ours)
    assert project.folder / "first.plan" in leaks(project.folder.parent, [*ours.values()])
    project.terraform("apply", "-input=false", "-no-color", "first.plan", secrets=ours)
    assert project.folder / "terraform.tfstate" in leaks(project.folder.parent, [*ours.values()])


def test_the_smallest_relay_and_another_instance_under_the_same_addresses(aws: Aws, project: Project) -> None:
    ours = {"relay_private_key": key()}
    project.write(text(session_manager=False, auto_recovery=False))
    project.terraform("init", "-input=false", "-no-color")
    project.terraform("apply", "-auto-approve", "-input=false", "-no-color", secrets=ours)
    before, resources = project.output()["relay"], project.state()
    kinds = {address.removeprefix("module.relay.").split(".")[0] for address in resources}
    assert not kinds & {"aws_cloudwatch_metric_alarm", "aws_budgets_budget", "aws_eip_domain_name",
                        "aws_route53domains_registered_domain", "aws_route53domains_delegation_signer_record"}
    assert "module.relay.aws_ssm_parameter.tsig[0]" not in resources
    assert "/etc/knot/knot.conf" not in before["user_data"]
    assert (before["name_servers"], before["shell"]) == ({}, None)
    iam = aws.client("iam")
    assert iam.list_role_policies(RoleName=f"roost-relay-{REGION}")["PolicyNames"] == ["secrets"]

    project.terraform(
        "apply", "-auto-approve", "-input=false", "-no-color", "-replace=module.relay.aws_instance.this", secrets=ours
    )
    after = project.output()["relay"]
    assert after.pop("instance_id") != before.pop("instance_id")
    assert after == before
    project.terraform("plan", "-detailed-exitcode", "-input=false", "-no-color", secrets=ours)
    stored = aws.client("ssm").get_parameter(Name="/roost/relay/wireguard-key", WithDecryption=True)["Parameter"]
    assert (stored["Value"], stored["Version"]) == (ours["relay_private_key"], 1)


def test_a_key_changes_with_its_version_and_settings_make_another_instance(aws: Aws, project: Project) -> None:
    ours = {"relay_private_key": key()}
    project.write(text())
    project.terraform("init", "-input=false", "-no-color")
    project.terraform("apply", "-auto-approve", "-input=false", "-no-color", secrets=ours)
    ours = {"relay_private_key": key()}
    project.write(text(relay_private_key_version=2))
    said = project.terraform("apply", "-auto-approve", "-input=false", "-no-color", secrets=ours)
    assert actions(said) == "Plan: 0 to add, 1 to change, 0 to destroy."
    stored = aws.client("ssm").get_parameter(Name="/roost/relay/wireguard-key", WithDecryption=True)["Parameter"]
    assert stored["Value"] == ours["relay_private_key"]

    project.write(text(relay_private_key_version=2, reboot_time="04:00"))
    said = project.terraform("plan", "-input=false", "-no-color", secrets=ours)
    assert actions(said).startswith("Plan: 1 to add, ")
    assert "module.relay.aws_instance.this must be replaced" in said
    for survivor in ("aws_eip.", "aws_network_interface.", "aws_ssm_parameter.", "aws_eip_association."):
        assert f"module.relay.{survivor}this[0] must" not in said
        assert f"module.relay.{survivor}this must" not in said

    # A newer image of Debian is nobody's wish to have another instance.
    images = aws.client("ec2").describe_images()["Images"]
    aws.client("ssm").put_parameter(Name=AMI_PARAMETER, Type="String", Value=images[-1]["ImageId"], Overwrite=True)
    project.write(text(relay_private_key_version=2))
    project.terraform("plan", "-detailed-exitcode", "-input=false", "-no-color", secrets=ours)


def test_an_elastic_ip_of_ones_own_outlives_the_relay(aws: Aws, project: Project) -> None:
    address = aws.client("ec2").allocate_address(Domain="vpc")
    ours = {"relay_private_key": key()}
    project.write(text(elastic_ip_allocation_id=address["AllocationId"]))
    project.terraform("init", "-input=false", "-no-color")
    project.terraform("apply", "-auto-approve", "-input=false", "-no-color", secrets=ours)
    assert project.output()["relay"]["public_ipv4"] == address["PublicIp"]
    project.terraform("destroy", "-auto-approve", "-input=false", "-no-color", secrets=ours)
    assert [kept["PublicIp"] for kept in aws.client("ec2").describe_addresses()["Addresses"]] == [address["PublicIp"]]


@pytest.mark.parametrize("name", ["minimal", "complete"])
def test_an_example_is_valid(project: Project, name: str) -> None:
    project.folder = project.folder.parent / "relay/examples" / name
    project.terraform("init", "-input=false", "-no-color")
    project.terraform("validate", "-no-color")


def test_the_example_for_a_machine_elsewhere_gives_a_script(project: Project) -> None:
    folder = project.folder.parent / "relay/examples/script"
    (folder / "given.auto.tfvars.json").write_text(json.dumps({"box_public_key": "K" * 42 + "o="}))
    terraform(folder, "init", "-input=false", "-no-color")
    terraform(folder, "apply", "-auto-approve", "-input=false", "-no-color")
    script = terraform(folder, "output", "-raw", "script")
    assert script.startswith("#!/bin/sh\n")
    assert "tcp dport 22 accept" in script


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "Home"}, "name must have 1 to 20 small letters"),
        ({"box_public_key": "K" * 43}, "box_public_key is no WireGuard key"),
        ({"box_public_key": "K" * 43 + "="}, "box_public_key is no WireGuard key"),
        ({"zones": ["example.org"]}, "tsig_secret must be 32 bytes in base64"),
        ({"instance_type": "t3.nano"}, "ARM processor"),
        ({"vpc_cidr": "10.76.0.1/24"}, "vpc_cidr must be a private network"),
        ({"vpc_cidr": "8.8.8.0/24"}, "vpc_cidr must be a private network"),
        ({"vpc_cidr": "10.76.0.0/28"}, "vpc_cidr must be a private network"),
        ({"mail_host": "mail"}, "mail_host must be a full name"),
        ({"registered_domain": "example.org"}, "registered_domain must be one of zones"),
        ({"dnssec_key": {"algorithm": 13, "flags": 257, "public_key": "A" * 88}}, "dnssec_key needs registered_domain"),
        ({"second_elastic_ip": True}, "second_elastic_ip needs zones"),
        ({"budget_email": "owner"}, "budget_email must be a mail address"),
        ({"budget_usd": 0}, "budget_usd must be 1 or more"),
        ({"availability_zone": "eu-central-1"}, "availability_zone must be the name of a zone"),
        ({"ami_id": "debian-13"}, "ami_id must be the id of an image"),
        ({"elastic_ip_allocation_id": "203.0.113.5"}, "elastic_ip_allocation_id must be the id"),
        ({"volume_gb": 4}, "volume_gb must be a whole number"),
        ({"relay_private_key": "A" * 40}, "relay_private_key is no WireGuard key"),
    ],
)
def test_bad_input_is_told_and_no_secret_shown(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    """Inputs are checked before any provider is asked, so the file that declares them is enough."""
    (tmp_path / "variables.tf").write_text((MODULE / "variables.tf").read_text())
    given = {"box_public_key": "K" * 42 + "o=", **settings}
    private = given.pop("relay_private_key", key())
    (tmp_path / "given.auto.tfvars.json").write_text(json.dumps(given))
    with pytest.raises(RuntimeError) as refused:
        terraform(tmp_path, "plan", "-input=false", "-no-color", secrets={"relay_private_key": private})
    said = " ".join(str(refused.value).replace("\u2502", " ").split())
    assert told in said
    assert private not in said


def test_good_input_is_taken(tmp_path: Path) -> None:
    """The counterpart: without a fault nothing is refused."""
    (tmp_path / "variables.tf").write_text((MODULE / "variables.tf").read_text())
    given = {"box_public_key": "K" * 42 + "o=", "relay_private_key": key(), "tsig_secret": key(), **FULL, **SECOND_PHASE}
    (tmp_path / "given.auto.tfvars.json").write_text(json.dumps(given))
    assert "No changes" in terraform(tmp_path, "plan", "-input=false", "-no-color")


assert ACCOUNT["AWS_ACCESS_KEY_ID"] == "test", "these tests must never reach a real account"
