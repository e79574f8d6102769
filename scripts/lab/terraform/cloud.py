"""What the stand-in provider does with resources: calls of AWS' API, answered by moto.

Environment: `AWS_ENDPOINT_URL` (moto), `AWS_REGION`, and `ROOST_AWS_EXTRA`, a file for the few
things that moto has no call for (PTR and DS records).
"""

from __future__ import annotations

import ipaddress
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

Values = dict[str, Any]

#: Arguments whose change makes another resource (documentation of the provider 6, "forces replacement").
REPLACED_BY: dict[str, set[str]] = {
    "aws_vpc": {"cidr_block"},
    "aws_subnet": {"vpc_id", "cidr_block", "availability_zone"},
    "aws_internet_gateway": set(),
    "aws_route_table": {"vpc_id"},
    "aws_route": {"route_table_id", "destination_cidr_block", "destination_ipv6_cidr_block"},
    "aws_route_table_association": {"subnet_id"},
    "aws_security_group": {"name", "description", "vpc_id"},
    "aws_network_interface": {"subnet_id"},
    "aws_eip": {"domain"},
    "aws_eip_association": {"allocation_id", "network_interface_id", "private_ip_address"},
    "aws_eip_domain_name": {"allocation_id"},
    "aws_instance": {"ami", "subnet_id", "primary_network_interface", "root_block_device"},
    "aws_iam_role": {"name"},
    "aws_iam_role_policy": {"name", "role"},
    "aws_iam_instance_profile": {"name"},
    "aws_ssm_parameter": {"name"},
    "aws_cloudwatch_metric_alarm": {"alarm_name"},
    "aws_budgets_budget": {"name"},
    "aws_route53domains_registered_domain": {"domain_name"},
    "aws_route53domains_delegation_signer_record": {"domain_name", "signing_attributes"},
}


class GoneError(Exception):
    """The resource is no more."""


def replaced_by(kind: str, argument: str, values: Values) -> bool:
    """Whether a changed argument makes another resource."""
    if kind == "aws_instance" and argument == "user_data":
        return bool(values.get("user_data_replace_on_change"))
    return argument in REPLACED_BY.get(kind, set())


def given(values: Values, **names: str) -> Values:
    """The API's arguments (`names`: theirs to Terraform's) that have a value."""
    return {theirs: values[ours] for theirs, ours in names.items() if values.get(ours) is not None}


def tag_list(values: Values) -> list[Values]:
    """Tags as the API wants them."""
    return [{"Key": key, "Value": value} for key, value in (values.get("tags") or {}).items()]


def tagged(values: Values, kind: str) -> Values:
    """Tags for EC2's calls that create."""
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tag_list(values)}]} if values.get("tags") else {}


def rule(values: Values) -> list[Values]:
    """A rule of a security group."""
    permission = {"IpProtocol": values["ip_protocol"], **given(values, FromPort="from_port", ToPort="to_port")}
    if values.get("cidr_ipv4"):
        permission["IpRanges"] = [{"CidrIp": values["cidr_ipv4"], "Description": values.get("description") or ""}]
    if values.get("cidr_ipv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": values["cidr_ipv6"], "Description": values.get("description") or ""}]
    return [permission]


class Cloud:
    """Creates, reads, changes and deletes; a method for each kind of resource and verb."""

    def __init__(self) -> None:
        self._clients: dict[str, Any] = {}
        self._extra = Path(os.environ["ROOST_AWS_EXTRA"])
        # Terraform asks for ten things at a time.
        self._lock = threading.Lock()
        self._allocating = threading.Lock()

    def _client(self, name: str) -> Any:
        with self._lock:
            if name not in self._clients:
                region = "us-east-1" if name == "route53domains" else os.environ["AWS_REGION"]
                self._clients[name] = boto3.client(name, region_name=region)
            return self._clients[name]

    @property
    def _ec2(self) -> Any:
        return self._client("ec2")

    def _method(self, verb: str, kind: str) -> Callable[..., Values | None]:
        method = getattr(self, f"_{verb}_{kind.removeprefix('aws_')}", None)
        if method is None:
            raise NotImplementedError(f"the tests' provider cannot {verb} {kind}")
        return method

    def create(self, kind: str, values: Values) -> Values:
        """Makes a resource and returns what is known then."""
        return self._method("create", kind)(values) or {}

    def update(self, kind: str, before: Values, after: Values) -> Values:
        """Changes one."""
        return self._method("update", kind)(before, after) or {}

    def delete(self, kind: str, values: Values) -> None:
        """Removes one."""
        self._method("delete", kind)(values)

    def read(self, kind: str, values: Values) -> Values:
        """Looks after one; `GoneError` if it is no more."""
        method = getattr(self, f"_read_{kind.removeprefix('aws_')}", None)
        if method is None:
            return {}
        try:
            return method(values) or {}
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if "NotFound" in code or "NoSuchEntity" in code:
                raise GoneError from error
            raise

    def look_up(self, kind: str, values: Values) -> Values:
        """Reads a data source."""
        return self._method("look_up", kind)(values) or {}

    # What moto has no call for.

    def _remember(self, key: str, value: object) -> None:
        with self._lock:
            known = json.loads(self._extra.read_text()) if self._extra.exists() else {}
            known[key] = value
            self._extra.write_text(json.dumps({name: kept for name, kept in known.items() if kept is not None}))

    # Network

    def _create_vpc(self, values: Values) -> Values:
        made = self._ec2.create_vpc(
            CidrBlock=values["cidr_block"],
            AmazonProvidedIpv6CidrBlock=bool(values["assign_generated_ipv6_cidr_block"]), **tagged(values, "vpc"),
        )["Vpc"]
        for name in ("EnableDnsSupport", "EnableDnsHostnames"):
            wanted = values["enable_dns_support" if name == "EnableDnsSupport" else "enable_dns_hostnames"]
            self._ec2.modify_vpc_attribute(VpcId=made["VpcId"], **{name: {"Value": bool(wanted)}})
        return self._read_vpc({"id": made["VpcId"]})

    def _read_vpc(self, values: Values) -> Values:
        found = self._ec2.describe_vpcs(VpcIds=[values["id"]])["Vpcs"][0]
        group = self._ec2.describe_security_groups(
            Filters=[{"Name": "vpc-id", "Values": [values["id"]]}, {"Name": "group-name", "Values": ["default"]}]
        )["SecurityGroups"][0]
        return {
            "id": found["VpcId"], "cidr_block": found["CidrBlock"],
            "ipv6_cidr_block": found["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"],
            "default_security_group_id": group["GroupId"],
        }

    def _delete_vpc(self, values: Values) -> None:
        self._ec2.delete_vpc(VpcId=values["id"])

    def _create_default_security_group(self, values: Values) -> Values:
        identity = self._read_vpc({"id": values["vpc_id"]})["default_security_group_id"]
        found = self._ec2.describe_security_groups(GroupIds=[identity])["SecurityGroups"][0]
        if found["IpPermissions"]:
            self._ec2.revoke_security_group_ingress(GroupId=identity, IpPermissions=found["IpPermissions"])
        if found["IpPermissionsEgress"]:
            self._ec2.revoke_security_group_egress(GroupId=identity, IpPermissions=found["IpPermissionsEgress"])
        return {"id": identity, "name": "default", "ingress": [], "egress": []}

    def _delete_default_security_group(self, values: Values) -> None:
        """It goes with its VPC."""

    def _create_subnet(self, values: Values) -> Values:
        made = self._ec2.create_subnet(
            VpcId=values["vpc_id"],
            **given(values, CidrBlock="cidr_block", Ipv6CidrBlock="ipv6_cidr_block", AvailabilityZone="availability_zone"),
            **tagged(values, "subnet"),
        )["Subnet"]
        return {"id": made["SubnetId"], "availability_zone": made["AvailabilityZone"], "arn": made["SubnetArn"]}

    def _read_subnet(self, values: Values) -> Values:
        found = self._ec2.describe_subnets(SubnetIds=[values["id"]])["Subnets"][0]
        return {"cidr_block": found["CidrBlock"], "availability_zone": found["AvailabilityZone"]}

    def _delete_subnet(self, values: Values) -> None:
        self._ec2.delete_subnet(SubnetId=values["id"])

    def _create_internet_gateway(self, values: Values) -> Values:
        identity = self._ec2.create_internet_gateway(**tagged(values, "internet-gateway"))["InternetGateway"]["InternetGatewayId"]
        self._ec2.attach_internet_gateway(InternetGatewayId=identity, VpcId=values["vpc_id"])
        return {"id": identity}

    def _delete_internet_gateway(self, values: Values) -> None:
        self._ec2.detach_internet_gateway(InternetGatewayId=values["id"], VpcId=values["vpc_id"])
        self._ec2.delete_internet_gateway(InternetGatewayId=values["id"])

    def _create_route_table(self, values: Values) -> Values:
        made = self._ec2.create_route_table(VpcId=values["vpc_id"], **tagged(values, "route-table"))["RouteTable"]
        return {"id": made["RouteTableId"], "route": []}

    def _delete_route_table(self, values: Values) -> None:
        self._ec2.delete_route_table(RouteTableId=values["id"])

    @staticmethod
    def _destination(values: Values) -> Values:
        return given(values, DestinationCidrBlock="destination_cidr_block", DestinationIpv6CidrBlock="destination_ipv6_cidr_block")

    def _create_route(self, values: Values) -> Values:
        destination = self._destination(values)
        self._ec2.create_route(RouteTableId=values["route_table_id"], GatewayId=values["gateway_id"], **destination)
        return {"id": f"r-{values['route_table_id']}-{'-'.join(destination.values())}", "state": "active"}

    def _delete_route(self, values: Values) -> None:
        self._ec2.delete_route(RouteTableId=values["route_table_id"], **self._destination(values))

    def _create_route_table_association(self, values: Values) -> Values:
        return {"id": self._ec2.associate_route_table(RouteTableId=values["route_table_id"], SubnetId=values["subnet_id"])["AssociationId"]}

    def _delete_route_table_association(self, values: Values) -> None:
        self._ec2.disassociate_route_table(AssociationId=values["id"])

    def _create_security_group(self, values: Values) -> Values:
        identity = self._ec2.create_security_group(
            GroupName=values["name"], Description=values["description"], VpcId=values["vpc_id"], **tagged(values, "security-group")
        )["GroupId"]
        # The provider takes away the rule that lets everything out.
        found = self._ec2.describe_security_groups(GroupIds=[identity])["SecurityGroups"][0]["IpPermissionsEgress"]
        if found:
            self._ec2.revoke_security_group_egress(GroupId=identity, IpPermissions=found)
        return {"id": identity, "ingress": [], "egress": []}

    def _delete_security_group(self, values: Values) -> None:
        self._ec2.delete_security_group(GroupId=values["id"])

    def _create_vpc_security_group_ingress_rule(self, values: Values) -> Values:
        made = self._ec2.authorize_security_group_ingress(
            GroupId=values["security_group_id"], IpPermissions=rule(values), **tagged(values, "security-group-rule")
        )["SecurityGroupRules"][0]
        return {"id": made["SecurityGroupRuleId"], "security_group_rule_id": made["SecurityGroupRuleId"]}

    def _delete_vpc_security_group_ingress_rule(self, values: Values) -> None:
        self._ec2.revoke_security_group_ingress(GroupId=values["security_group_id"], SecurityGroupRuleIds=[values["id"]])

    def _create_vpc_security_group_egress_rule(self, values: Values) -> Values:
        made = self._ec2.authorize_security_group_egress(
            GroupId=values["security_group_id"], IpPermissions=rule(values), **tagged(values, "security-group-rule")
        )["SecurityGroupRules"][0]
        return {"id": made["SecurityGroupRuleId"], "security_group_rule_id": made["SecurityGroupRuleId"]}

    def _delete_vpc_security_group_egress_rule(self, values: Values) -> None:
        self._ec2.revoke_security_group_egress(GroupId=values["security_group_id"], SecurityGroupRuleIds=[values["id"]])

    def _create_network_interface(self, values: Values) -> Values:
        addresses = values["private_ip_list"]
        made = self._ec2.create_network_interface(
            SubnetId=values["subnet_id"], Description=values["description"], Groups=list(values["security_groups"]),
            PrivateIpAddresses=[{"PrivateIpAddress": address, "Primary": not place} for place, address in enumerate(addresses)],
            Ipv6Addresses=[{"Ipv6Address": address} for address in values["ipv6_address_list"]],
            **tagged(values, "network-interface"),
        )["NetworkInterface"]
        return {
            "id": made["NetworkInterfaceId"], "private_ip": addresses[0], "private_ips": addresses,
            "ipv6_addresses": values["ipv6_address_list"], "mac_address": made["MacAddress"],
        }

    def _read_network_interface(self, values: Values) -> Values:
        found = self._ec2.describe_network_interfaces(NetworkInterfaceIds=[values["id"]])["NetworkInterfaces"][0]
        return {
            "private_ip_list": [address["PrivateIpAddress"] for address in found["PrivateIpAddresses"]],
            "ipv6_address_list": [str(ipaddress.ip_address(address["Ipv6Address"])) for address in found["Ipv6Addresses"]],
        }

    def _delete_network_interface(self, values: Values) -> None:
        self._ec2.delete_network_interface(NetworkInterfaceId=values["id"])

    # Addresses

    def _create_eip(self, values: Values) -> Values:
        # moto's own addresses are of the loopback network; these could be somebody's (RFC 5737).
        with self._allocating:
            taken = {entry["PublicIp"] for entry in self._ec2.describe_addresses()["Addresses"]}
            free = next(address for host in range(1, 255) if (address := f"203.0.113.{host}") not in taken)
            made = self._ec2.allocate_address(Domain=values["domain"], Address=free, **tagged(values, "elastic-ip"))
        return {"id": made["AllocationId"], "allocation_id": made["AllocationId"], "public_ip": made["PublicIp"]}

    def _read_eip(self, values: Values) -> Values:
        return {"public_ip": self._ec2.describe_addresses(AllocationIds=[values["id"]])["Addresses"][0]["PublicIp"]}

    def _delete_eip(self, values: Values) -> None:
        self._ec2.release_address(AllocationId=values["id"])

    def _create_eip_association(self, values: Values) -> Values:
        made = self._ec2.associate_address(
            AllocationId=values["allocation_id"], NetworkInterfaceId=values["network_interface_id"],
            PrivateIpAddress=values["private_ip_address"],
        )
        return {"id": made["AssociationId"]}

    def _delete_eip_association(self, values: Values) -> None:
        self._ec2.disassociate_address(AssociationId=values["id"])

    def _create_eip_domain_name(self, values: Values) -> Values:
        self._remember(f"ptr {values['allocation_id']}", values["domain_name"])
        return {"id": values["allocation_id"], "ptr_record": f"{values['domain_name']}."}

    def _delete_eip_domain_name(self, values: Values) -> None:
        self._remember(f"ptr {values['allocation_id']}", None)

    # Machine

    def _create_instance(self, values: Values) -> Values:
        metadata, disk = values["metadata_options"][0], values["root_block_device"][0]
        credits = {"CreditSpecification": {"CpuCredits": values["credit_specification"][0]["cpu_credits"]}} if values["credit_specification"] else {}
        made = self._ec2.run_instances(
            MinCount=1, MaxCount=1, ImageId=values["ami"], InstanceType=values["instance_type"],
            UserData=values["user_data"], IamInstanceProfile={"Name": values["iam_instance_profile"]},
            NetworkInterfaces=[{"DeviceIndex": 0, "NetworkInterfaceId": values["primary_network_interface"][0]["network_interface_id"]}],
            MetadataOptions={
                "HttpTokens": metadata["http_tokens"], "HttpEndpoint": metadata["http_endpoint"],
                "HttpPutResponseHopLimit": int(metadata["http_put_response_hop_limit"]),
            },
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {
                "VolumeType": disk["volume_type"], "VolumeSize": int(disk["volume_size"]),
                "Encrypted": disk["encrypted"], "DeleteOnTermination": disk["delete_on_termination"],
            }}],
            **credits, **tagged(values, "instance"),
        )["Instances"][0]
        return {"id": made["InstanceId"], "instance_state": "running", "private_ip": made["PrivateIpAddress"]}

    def _read_instance(self, values: Values) -> Values:
        found = self._ec2.describe_instances(InstanceIds=[values["id"]])["Reservations"][0]["Instances"][0]
        if found["State"]["Name"] == "terminated":
            raise GoneError
        return {"instance_type": found["InstanceType"], "ami": found["ImageId"]}

    def _delete_instance(self, values: Values) -> None:
        self._ec2.terminate_instances(InstanceIds=[values["id"]])

    # Rights and secrets

    def _create_iam_role(self, values: Values) -> Values:
        made = self._client("iam").create_role(
            RoleName=values["name"], AssumeRolePolicyDocument=values["assume_role_policy"], Description=values["description"],
        )["Role"]
        return {"id": values["name"], "arn": made["Arn"], "unique_id": made["RoleId"]}

    def _read_iam_role(self, values: Values) -> Values:
        return {"arn": self._client("iam").get_role(RoleName=values["id"])["Role"]["Arn"]}

    def _delete_iam_role(self, values: Values) -> None:
        self._client("iam").delete_role(RoleName=values["id"])

    def _create_iam_role_policy(self, values: Values) -> Values:
        self._client("iam").put_role_policy(RoleName=values["role"], PolicyName=values["name"], PolicyDocument=values["policy"])
        return {"id": f"{values['role']}:{values['name']}"}

    def _update_iam_role_policy(self, before: Values, after: Values) -> Values:
        return self._create_iam_role_policy(after)

    def _delete_iam_role_policy(self, values: Values) -> None:
        self._client("iam").delete_role_policy(RoleName=values["role"], PolicyName=values["name"])

    def _create_iam_instance_profile(self, values: Values) -> Values:
        made = self._client("iam").create_instance_profile(InstanceProfileName=values["name"])["InstanceProfile"]
        self._client("iam").add_role_to_instance_profile(InstanceProfileName=values["name"], RoleName=values["role"])
        return {"id": values["name"], "arn": made["Arn"]}

    def _delete_iam_instance_profile(self, values: Values) -> None:
        self._client("iam").remove_role_from_instance_profile(InstanceProfileName=values["name"], RoleName=values["role"])
        self._client("iam").delete_instance_profile(InstanceProfileName=values["name"])

    def _create_ssm_parameter(self, values: Values) -> Values:
        secret = values["value_wo"] if values.get("value_wo") is not None else values["value"]
        made = self._client("ssm").put_parameter(
            Name=values["name"], Type=values["type"], Value=secret, Description=values["description"], Overwrite=True
        )
        arn = self._client("ssm").get_parameter(Name=values["name"])["Parameter"]["ARN"]
        return {"id": values["name"], "version": made["Version"], "arn": arn, "has_value_wo": values.get("value_wo") is not None,
                "data_type": "text", "tier": "Standard"}

    def _read_ssm_parameter(self, values: Values) -> Values:
        return {"version": self._client("ssm").get_parameter(Name=values["id"])["Parameter"]["Version"]}

    def _update_ssm_parameter(self, before: Values, after: Values) -> Values:
        return self._create_ssm_parameter(after)

    def _delete_ssm_parameter(self, values: Values) -> None:
        self._client("ssm").delete_parameter(Name=values["name"])

    # Upkeep

    def _create_cloudwatch_metric_alarm(self, values: Values) -> Values:
        self._client("cloudwatch").put_metric_alarm(
            AlarmName=values["alarm_name"], ComparisonOperator=values["comparison_operator"], Namespace=values["namespace"],
            MetricName=values["metric_name"], Statistic=values["statistic"], Period=int(values["period"]),
            EvaluationPeriods=int(values["evaluation_periods"]), Threshold=float(values["threshold"]),
            AlarmActions=list(values["alarm_actions"]),
            Dimensions=[{"Name": name, "Value": value} for name, value in values["dimensions"].items()],
        )
        return {"id": values["alarm_name"]}

    def _update_cloudwatch_metric_alarm(self, before: Values, after: Values) -> Values:
        return self._create_cloudwatch_metric_alarm(after)

    def _delete_cloudwatch_metric_alarm(self, values: Values) -> None:
        self._client("cloudwatch").delete_alarms(AlarmNames=[values["id"]])

    def _create_budgets_budget(self, values: Values) -> Values:
        account = self._client("sts").get_caller_identity()["Account"]
        self._client("budgets").create_budget(
            AccountId=account,
            Budget={
                "BudgetName": values["name"], "BudgetType": values["budget_type"], "TimeUnit": values["time_unit"],
                "BudgetLimit": {"Amount": values["limit_amount"], "Unit": values["limit_unit"]},
            },
            NotificationsWithSubscribers=[{
                "Notification": {
                    "NotificationType": notice["notification_type"], "ComparisonOperator": notice["comparison_operator"],
                    "Threshold": notice["threshold"], "ThresholdType": notice["threshold_type"],
                },
                "Subscribers": [{"SubscriptionType": "EMAIL", "Address": address} for address in notice["subscriber_email_addresses"]],
            } for notice in values["notification"]],
        )
        return {"id": f"{account}:{values['name']}", "account_id": account}

    def _delete_budgets_budget(self, values: Values) -> None:
        self._client("budgets").delete_budget(AccountId=values["account_id"], BudgetName=values["name"])

    # The registrar

    def _create_route53domains_registered_domain(self, values: Values) -> Values:
        self._client("route53domains").update_domain_nameservers(
            DomainName=values["domain_name"],
            Nameservers=[{"Name": server["name"], "GlueIps": list(server["glue_ips"])} for server in values["name_server"]],
        )
        return {"id": values["domain_name"]}

    def _delete_route53domains_registered_domain(self, values: Values) -> None:
        """The provider forgets the domain and changes nothing."""

    def _create_route53domains_delegation_signer_record(self, values: Values) -> Values:
        self._remember(f"ds {values['domain_name']}", values["signing_attributes"][0])
        return {"id": f"{values['domain_name']}/key", "dnssec_key_id": "key"}

    def _delete_route53domains_delegation_signer_record(self, values: Values) -> None:
        self._remember(f"ds {values['domain_name']}", None)

    # Data sources

    def _look_up_region(self, values: Values) -> Values:
        region = os.environ["AWS_REGION"]
        return {"id": region, "region": region, "name": region}

    def _look_up_partition(self, values: Values) -> Values:
        return {"id": "aws", "partition": "aws", "dns_suffix": "amazonaws.com", "reverse_dns_prefix": "com.amazonaws"}

    def _look_up_ssm_parameter(self, values: Values) -> Values:
        found = self._client("ssm").get_parameter(Name=values["name"])["Parameter"]
        return {"id": values["name"], "insecure_value": found["Value"], "value": found["Value"], "type": found["Type"],
                "arn": found["ARN"], "version": found["Version"]}

    def _look_up_eip(self, values: Values) -> Values:
        return {"public_ip": self._ec2.describe_addresses(AllocationIds=[values["id"]])["Addresses"][0]["PublicIp"]}
