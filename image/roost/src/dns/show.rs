//! How a zone stands, and what its registrar is to be given, for people.

use crate::device::words::{plain, span};
use roost_service::dns::{Delegation, DelegationState, Dmarc, DmarcState, Record, Zone};
use std::fmt::Write as _;

/// The zone as of `now`, in seconds since 1970: how it stands, then each name with its records.
pub(super) fn told(zone: &Zone, records: &[Record], now: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<10}  {value}").expect("writing to a string");
    };
    line("zone", &zone.domain);
    match zone.serial {
        Some(serial) => line("serial", &serial.to_string()),
        None => line("serial", "none: the box does not answer for it"),
    }
    if let Some(fault) = &zone.fault {
        line("fault", &plain(fault));
    }
    line("registry", &registry(zone.delegation.as_ref()));
    if let Some(advice) = advice(zone) {
        line("", &advice);
    }
    for key in &zone.keys {
        let role = plain(&key.role);
        line("key", &format!("{} {role}: {}", key.tag, plain(&key.state)));
    }
    match &zone.secondary {
        None => line("copies", "nobody has any: without the box nobody answers"),
        Some(secondary) => {
            let address = plain(&secondary.address);
            let told = match (secondary.told, &secondary.fault) {
                (_, Some(why)) => format!("{address} does not answer: {}", plain(why)),
                (Some(serial), None) => format!("{address} knows of serial {serial}"),
                (None, None) => format!("{address} was not told yet"),
            };
            line("copies", &told);
        }
    }
    if let Some(state) = &zone.dmarc {
        line("forgeries", &forgeries(state, now));
    }
    for record in records {
        let mark = match record.source.as_str() {
            "owner" => " (yours)",
            "program" => " (set by a program)",
            _ => "",
        };
        write!(
            text,
            "\n{} {} {} {}\n    {}{mark}\n",
            plain(&record.name),
            record.ttl,
            plain(&record.kind),
            plain(&record.value),
            plain(&record.why)
        )
        .expect("writing to a string");
    }
    text
}

/// What the registry says of the zone.
fn registry(delegation: Option<&Delegation>) -> String {
    let Some(said) = delegation else {
        return "was not asked yet".to_owned();
    };
    match said.state {
        DelegationState::Unknown => "could not be asked",
        DelegationState::Elsewhere => "does not send anybody to the box",
        DelegationState::Unsigned => {
            "names the box, and no key: nobody can check its answers (DNSSEC)"
        }
        DelegationState::Secure => "names the box and its key",
        DelegationState::Broken => {
            "names a key that the box does not have: whoever checks sees nothing of the domain"
        }
    }
    .to_owned()
}

/// What is to be done at the registrar, if it is known.
pub fn advice(zone: &Zone) -> Option<String> {
    let advice = plain(zone.delegation.as_ref()?.advice.trim());
    (!advice.is_empty()).then_some(advice)
}

/// What receivers do with forged mail, and when they do more.
pub(super) fn forgeries(state: &DmarcState, now: u64) -> String {
    let mut text = match state.stage {
        Dmarc::None => "are only reported (DMARC)",
        Dmarc::Quarantine => "go into the junk folder (DMARC)",
        Dmarc::Reject => "are refused (DMARC)",
    }
    .to_owned();
    if state.chosen {
        text += ", as you chose";
    }
    match state.next_at {
        Some(at) if at > now => {
            text += &format!("; stricter in {}", span((at - now) as f64));
        }
        Some(_) => text += "; stricter at any moment",
        None => {}
    }
    text
}

/// What the registrar is to be given, and what it has passed on so far.
pub(super) fn for_registrar(zone: &Zone, name_servers: &[&Record]) -> String {
    let mut text = String::new();
    if name_servers.is_empty() {
        text += "The box has no address on the internet yet: make a relay first (`roost relay apply`).\n\n";
    } else {
        text += "Name servers of your domain (registrars call the addresses glue, or host records):\n\n";
        for record in name_servers {
            writeln!(text, "  {}  {}", plain(&record.name), plain(&record.value))
                .expect("writing to a string");
        }
        text.push('\n');
    }
    text += "DS records (DNSSEC), once the name servers above are in force:\n\n";
    if zone.ds.is_empty() {
        text += "  none yet: the box has not signed the zone so far (`roost dns show` says why)\n";
    }
    for line in &zone.ds {
        writeln!(text, "  {}", plain(line)).expect("writing to a string");
    }
    let Some(parent) = &zone.delegation else {
        return text;
    };
    writeln!(
        text,
        "\nThe registry {}.",
        registry(zone.delegation.as_ref())
    )
    .expect("writing to a string");
    let has: Vec<&String> = parent.name_servers.iter().chain(&parent.ds).collect();
    if !has.is_empty() {
        text += "It has now:\n\n";
    }
    for line in has {
        writeln!(text, "  {}", plain(line)).expect("writing to a string");
    }
    if let Some(advice) = advice(zone) {
        writeln!(text, "\n{advice}").expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::dns::{Secondary, ZoneKey};

    const NOW: u64 = 1_795_800_000;

    fn zone() -> Zone {
        Zone {
            domain: "example.org".into(),
            serial: Some(1_795_700_000),
            fault: None,
            signed_until: Some(1_798_000_000),
            ds: vec!["example.org. IN DS 1 13 2 AB".into()],
            keys: vec![ZoneKey {
                tag: 4711,
                role: "key-signing key".into(),
                state: "ready: the registrar can be given its DS record".into(),
            }],
            secondary: Some(Secondary {
                address: "10.77.0.1".into(),
                told: Some(1_795_700_000),
                fault: None,
            }),
            delegation: Some(Delegation {
                at: NOW,
                parent: Some("org".into()),
                state: DelegationState::Broken,
                name_servers: vec!["ns1.example.org".into()],
                ds: vec!["example.org. IN DS 9 13 2 CD".into()],
                advice: "Have your registrar remove the DS record 9.\u{1b}".into(),
            }),
            dmarc: Some(DmarcState {
                stage: Dmarc::None,
                chosen: false,
                next_at: Some(NOW + 14 * 86_400),
            }),
        }
    }

    fn record(name: &str, kind: &str, source: &str, value: &str) -> Record {
        Record {
            name: name.into(),
            ttl: 3600,
            kind: kind.into(),
            value: value.into(),
            source: source.into(),
            why: "Which servers send for this domain (SPF).".into(),
        }
    }

    #[test]
    fn a_zone_is_told_with_reasons_and_without_control_characters() {
        let records = [
            record("example.org", "TXT", "box", "\"v=spf1 mx -all\""),
            record("www.example.org", "TXT", "owner", "\"\u{1b}[31mred\""),
        ];
        insta::assert_snapshot!(told(&zone(), &records, NOW));
        let alone = Zone {
            serial: None,
            fault: Some("the clock was not set yet".into()),
            secondary: None,
            delegation: None,
            dmarc: Some(DmarcState {
                stage: Dmarc::Reject,
                chosen: true,
                next_at: None,
            }),
            ..zone()
        };
        insta::assert_snapshot!(told(&alone, &[], NOW));
    }

    #[test]
    fn every_state_of_the_registry_has_words() {
        let mut zone = zone();
        let mut text = String::new();
        for state in [
            DelegationState::Unknown,
            DelegationState::Elsewhere,
            DelegationState::Unsigned,
            DelegationState::Secure,
            DelegationState::Broken,
        ] {
            zone.delegation.as_mut().unwrap().state = state;
            text += &format!("the registry {}\n", registry(zone.delegation.as_ref()));
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_registrar_is_given_servers_and_keys() {
        let servers = [record("ns1.example.org", "A", "box", "192.0.2.1")];
        let servers: Vec<&Record> = servers.iter().collect();
        let mut text = for_registrar(&zone(), &servers);
        let new = Zone {
            ds: Vec::new(),
            delegation: None,
            ..zone()
        };
        text += "-----\n";
        text += &for_registrar(&new, &[]);
        insta::assert_snapshot!(text);
    }
}
