//! Names that people know for what AWS calls otherwise.

use super::terraform::Change;
use crate::ui::table::{Align, Table};
use std::collections::BTreeMap;

/// What a kind of resource is, for people.
pub fn thing(kind: &str) -> &str {
    match kind {
        "aws_budgets_budget" => "budget",
        "aws_cloudwatch_metric_alarm" => "alarm",
        "aws_eip" => "Elastic IP",
        "aws_eip_association" => "Elastic IP's place",
        "aws_eip_domain_name" => "reverse name (PTR)",
        "aws_iam_instance_profile" | "aws_iam_role" | "aws_iam_role_policy" => "machine's right",
        "aws_instance" => "machine",
        "aws_internet_gateway" => "internet gateway",
        "aws_network_interface" => "network interface",
        "aws_route" | "aws_route_table" | "aws_route_table_association" => "route",
        "aws_route53domains_delegation_signer_record" => "DS record",
        "aws_route53domains_registered_domain" => "domain",
        "aws_security_group" | "aws_default_security_group" => "firewall",
        "aws_ssm_parameter" => "stored secret",
        "aws_subnet" | "aws_vpc" => "network",
        "aws_vpc_security_group_egress_rule" | "aws_vpc_security_group_ingress_rule" => {
            "firewall rule"
        }
        other => other,
    }
}

/// What happens to it.
fn action(action: &str) -> &str {
    match action {
        "create" => "make",
        "update" => "change",
        "replace" => "make anew",
        "delete" => "remove",
        other => other,
    }
}

/// A table of changes, those of a kind together.
pub fn changes(changes: &[Change]) -> String {
    let mut count: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for change in changes {
        *count
            .entry((action(&change.action), thing(&change.kind)))
            .or_default() += 1;
    }
    let mut table = Table::new([
        ("at AWS", Align::Left),
        ("", Align::Right),
        ("what", Align::Left),
    ]);
    for ((action, thing), count) in count {
        table.row([action.to_owned(), count.to_string(), thing.to_owned()]);
    }
    table.render()
}
