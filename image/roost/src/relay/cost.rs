//! What the relay costs.

use super::Project;
use crate::cli::RelayCostArgs;
use crate::config::relay::Relay;
use crate::error::Failure;
use crate::ui::Ui;
use crate::ui::table::{Align, Table};
use serde::Serialize;

/// Hours of a month, as AWS counts it.
const HOURS: f64 = 730.0;
/// US dollars an hour for a public IPv4 address (AWS's price list, since February 2024).
const ADDRESS: f64 = 0.005;
/// US dollars a month for a GB of gp3 (us-east-1, 2025).
const GB: f64 = 0.08;
/// GB of the root volume, as in `terraform/relay/variables.tf`.
const VOLUME_GB: f64 = 8.0;
/// US dollars an hour for an instance (us-east-1, 2025).
const INSTANCES: [(&str, f64); 6] = [
    ("t4g.nano", 0.0042),
    ("t4g.micro", 0.0084),
    ("t4g.small", 0.0168),
    ("t4g.medium", 0.0336),
    ("c7g.medium", 0.0363),
    ("m7g.medium", 0.0408),
];
/// Where the numbers come from.
const SOURCE: &str =
    "AWS's list prices for us-east-1 as of 2025; other regions are up to a third dearer.
  The first 100 GB a month out are free, then $0.09 a GB. Check them at https://calculator.aws";

/// A line of the bill.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What for.
    pub what: String,
    /// US dollars a month; `None` if it is not known.
    pub usd: Option<f64>,
}

/// The lines of the bill.
pub fn items(relay: &Relay) -> Vec<Item> {
    let item = |what: String, usd| Item { what, usd };
    let hourly = INSTANCES
        .iter()
        .find(|(name, _)| *name == relay.instance_type)
        .map(|(_, usd)| usd * HOURS);
    let mut items = vec![
        item(format!("machine ({})", relay.instance_type), hourly),
        item("Elastic IP".into(), Some(ADDRESS * HOURS)),
        item(format!("{VOLUME_GB} GB of disk"), Some(GB * VOLUME_GB)),
    ];
    if relay.second_elastic_ip {
        items.push(item("second Elastic IP".into(), Some(ADDRESS * HOURS)));
    }
    items
}

/// The sum, for a sentence: `$7.36 a month`.
pub fn sum(relay: &Relay) -> String {
    match total(&items(relay)) {
        Some(usd) => format!("${usd:.2} a month"),
        None => "an unknown sum".to_owned(),
    }
}

fn total(items: &[Item]) -> Option<f64> {
    items.iter().map(|item| item.usd).sum()
}

/// `roost relay cost`.
pub fn run(args: &RelayCostArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        items: &'a [Item],
        usd_a_month: Option<f64>,
        source: &'static str,
    }
    let project = Project::open(&args.project.config)?;
    let items = items(&project.config.relay);
    ui.result(
        render(&items),
        &Result {
            items: &items,
            usd_a_month: total(&items),
            source: SOURCE,
        },
    );
    Ok(())
}

fn render(items: &[Item]) -> String {
    let mut table = Table::new([("what", Align::Left), ("a month", Align::Right)]);
    let dollars = |usd: Option<f64>| usd.map_or_else(|| "?".to_owned(), |usd| format!("${usd:.2}"));
    for item in items {
        table.row([item.what.clone(), dollars(item.usd)]);
    }
    table.row(["together".to_owned(), dollars(total(items))]);
    format!("{}\n  {SOURCE}\n", table.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    fn relay(lines: &str) -> Relay {
        let text = format!("[relay]\n{lines}");
        let config = Config::parse("roost.toml", text.as_bytes(), Path::new(""));
        config.unwrap().relay
    }

    #[test]
    fn the_bill_adds_up_to_what_the_readme_says() {
        let text = render(&items(&relay("")));
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
        let readme = include_str!("../../../../terraform/relay/README.md");
        assert!(readme.contains("| **together** | | **$7.36** |"));
        assert_eq!(sum(&relay("")), "$7.36 a month");
    }

    #[test]
    fn an_unknown_price_is_no_price() {
        assert_eq!(
            sum(&relay("instance_type = \"x9g.huge\"")),
            "an unknown sum"
        );
    }
}
