//! `[relay]`: the box's public end, and rules that hold between its keys.

use super::fields::{
    RELAY_AMI, RELAY_BUDGET_EMAIL, RELAY_BUDGET_USD, RELAY_ELASTIC_IP, RELAY_INSTANCE_TYPE,
    RELAY_NAME, RELAY_REGION, RELAY_REGISTERED_DOMAIN, RELAY_SECOND_ELASTIC_IP,
};
use super::read::{Reader, Reason, Report};

/// What `roost relay` is to make; the inputs of `terraform/relay` that people choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// AWS region; none: what the environment says.
    pub region: Option<String>,
    /// Begins the names of what is made.
    pub name: String,
    /// EC2 instance type with an ARM processor.
    pub instance_type: String,
    /// EC2 image; none: Debian's newest.
    pub ami: Option<String>,
    /// Allocation of an Elastic IP that is there already.
    pub elastic_ip: Option<String>,
    /// Whether the domain is registered in the same account.
    pub registered_domain: bool,
    /// Whether ns2 gets an IPv4 address of its own.
    pub second_elastic_ip: bool,
    /// Who hears when it gets dear.
    pub budget_email: Option<String>,
    /// When that is, in US dollars a month.
    pub budget_usd: u32,
}

/// Reads the table; what is wrong goes into the report.
pub fn read(table: &Reader<'_, '_>, report: &mut Report<'_>) -> Option<Relay> {
    let region = table.get(&RELAY_REGION, report);
    let name = table.get(&RELAY_NAME, report);
    let instance_type = table.get(&RELAY_INSTANCE_TYPE, report);
    let ami = table.get(&RELAY_AMI, report);
    let elastic_ip = table.get(&RELAY_ELASTIC_IP, report);
    let registered_domain = table.get(&RELAY_REGISTERED_DOMAIN, report);
    let second_elastic_ip = table.get(&RELAY_SECOND_ELASTIC_IP, report);
    let budget_email = table.get(&RELAY_BUDGET_EMAIL, report);
    let budget_usd = table.get(&RELAY_BUDGET_USD, report);
    if let (Some(span), Some(true), Some(false)) = (
        table.span(&RELAY_SECOND_ELASTIC_IP),
        second_elastic_ip,
        registered_domain,
    ) {
        let message = "`second_elastic_ip` has no effect without `registered_domain`";
        let hint = "without it the relay answers no DNS of its own";
        report.add(span, Reason::new(message).hint(hint));
    }
    Some(Relay {
        region,
        name: name?,
        instance_type: instance_type?,
        ami,
        elastic_ip,
        registered_domain: registered_domain?,
        second_elastic_ip: second_elastic_ip?,
        budget_email,
        budget_usd: budget_usd?,
    })
}
