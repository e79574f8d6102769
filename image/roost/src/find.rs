//! `roost find`: the boxes on this computer's network (multicast DNS, RFC 6762 and 6763).

use crate::cli::FindArgs;
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::Ui;
use crate::ui::table::{Align, Table};
use mdns_sd::{HostnameResolutionEvent, ResolvedService, ServiceDaemon, ServiceEvent};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// What boxes say that they are, and the keys of the text with it; the portal says the same
/// (`services/portal/src/mdns.rs`).
const KIND: &str = "_roost._tcp.local.";
const VERSION: &str = "v";
const PAIRED: &str = "paired";
const FINGERPRINT: &str = "fp";
/// Boxes listed at most: whoever is on the network can invent some.
const MAX_BOXES: usize = 100;
/// Addresses shown of each.
const MAX_ADDRESSES: usize = 6;

/// A box that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Found {
    /// Its name on the network, without `.local`.
    name: String,
    /// Where it is, IPv4 first.
    addresses: Vec<IpAddr>,
    /// Its version, if it says one.
    version: Option<String>,
    /// Whether it has an owner, if it says so.
    paired: Option<bool>,
    /// The first digits of its certificate's fingerprint.
    fingerprint: Option<String>,
}

/// `roost find`.
pub fn run(args: &FindArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        boxes: &'a [Found],
    }
    let step = ui.step("look for boxes");
    let boxes = look(Duration::from_secs(args.seconds))
        .map_err(|e| Failure::new("cannot look for boxes on this network").because(e))?;
    step.done(match boxes.len() {
        0 => "none answered".to_owned(),
        1 => "1 answered".to_owned(),
        many => format!("{many} answered"),
    });
    ui.result(render(&boxes), &Result { boxes: &boxes });
    Ok(())
}

/// Asks, and listens for so long.
fn look(limit: Duration) -> mdns_sd::Result<Vec<Found>> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(KIND)?;
    let end = Instant::now() + limit;
    let mut found: BTreeMap<String, Box<ResolvedService>> = BTreeMap::new();
    // An answer over one family may tell only the addresses of that one, so names are asked for as well.
    let mut names = BTreeMap::new();
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        match event {
            ServiceEvent::ServiceResolved(service)
                if found.len() < MAX_BOXES || found.contains_key(&service.fullname) =>
            {
                if names.len() < MAX_BOXES && !names.contains_key(&service.host) {
                    let answers = daemon.resolve_hostname(&service.host, None)?;
                    names.insert(service.host.clone(), answers);
                }
                found.insert(service.fullname.clone(), service);
            }
            ServiceEvent::ServiceRemoved(_, name) => {
                found.remove(&name);
            }
            _ => {}
        }
    }
    let mut boxes: Vec<Found> = found
        .into_values()
        .map(|mut service| {
            for answer in names
                .get(&service.host)
                .iter()
                .flat_map(|all| all.try_iter())
            {
                if let HostnameResolutionEvent::AddressesFound(_, addresses) = answer {
                    service.addresses.extend(addresses);
                }
            }
            Found::of(&service)
        })
        .collect();
    // Its thread ends with this program anyway.
    let _ = daemon.shutdown();
    boxes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(boxes)
}

impl Found {
    fn of(service: &ResolvedService) -> Self {
        let host = service.host.trim_end_matches('.');
        let said = |key| service.get_property_val_str(key);
        let addresses = service.addresses.iter();
        Self::new(
            host.strip_suffix(".local").unwrap_or(host),
            addresses.map(mdns_sd::ScopedIp::to_ip_addr).collect(),
            said(VERSION),
            said(PAIRED),
            said(FINGERPRINT),
        )
    }

    /// Made fit for a terminal: anybody on the network may have said it.
    fn new(
        name: &str,
        mut addresses: Vec<IpAddr>,
        version: Option<&str>,
        paired: Option<&str>,
        fingerprint: Option<&str>,
    ) -> Self {
        // One that needs an interface behind it cannot be typed into a browser.
        addresses.retain(|address| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        });
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        Self {
            name: plain(name),
            addresses,
            version: version.map(plain),
            paired: match paired {
                Some("yes") => Some(true),
                Some("no") => Some(false),
                _ => None,
            },
            fingerprint: fingerprint.map(plain),
        }
    }
}

fn render(boxes: &[Found]) -> String {
    if boxes.is_empty() {
        return "No box answered.\n\n\
                A box is found from the same network only, and once its services are up.\n\
                \x20 - Is it on, with its network cable in? A screen at the box shows its address.\n\
                \x20 - Is this computer on the same router? Guest Wi-Fi and VPNs keep machines apart.\n\
                \x20 - Does a firewall on this computer drop UDP port 5353?\n\
                With the address you need no search:  roost pair ADDRESS\n"
            .to_owned();
    }
    let mut table = Table::new([
        ("name", Align::Left),
        ("addresses", Align::Left),
        ("version", Align::Left),
        ("", Align::Left),
    ]);
    for one in boxes {
        let addresses: Vec<String> = one.addresses.iter().map(IpAddr::to_string).collect();
        table.row([
            format!("{}.local", one.name),
            addresses.join(", "),
            one.version.clone().unwrap_or_else(|| "?".to_owned()),
            match one.paired {
                Some(true) => "paired",
                Some(false) => "waits for its owner",
                None => "",
            }
            .to_owned(),
        ]);
    }
    let mut text = table.render();
    if boxes.iter().any(|one| one.paired == Some(false)) {
        text += "\nNext: roost pair, or open https://NAME.local in a browser.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn boxes_are_listed() {
        let boxes = [
            Found::new(
                "attic",
                vec![
                    address("fe80::1"),
                    address("fd00::5"),
                    address("192.168.1.5"),
                ],
                Some("0.4.0+13"),
                Some("yes"),
                Some("0123456789abcdef"),
            ),
            Found::new("attic-2", vec![], None, Some("no"), None),
            Found::new(
                "cellar",
                vec![address("192.168.1.7")],
                None,
                Some("?"),
                None,
            ),
        ];
        insta::assert_snapshot!(anstream::adapter::strip_str(&render(&boxes)).to_string());
        assert_eq!(
            boxes[0].addresses,
            [address("192.168.1.5"), address("fd00::5")]
        );
    }

    #[test]
    fn none_is_said_with_what_to_do() {
        insta::assert_snapshot!(render(&[]));
    }

    #[test]
    fn a_name_from_the_network_moves_no_cursor() {
        let one = Found::new("a\u{1b}[2Jb", vec![], Some("\u{7}"), None, Some("\u{1b}c"));
        let told = serde_json::to_value(&one).unwrap();
        for (key, value) in told.as_object().unwrap() {
            let text = value.as_str().unwrap_or_default();
            assert!(!text.chars().any(char::is_control), "{key}: {text:?}");
        }
        assert!(render(&[one]).contains("a\u{fffd}[2Jb.local"));
    }
}
