//! Records by which receivers judge mail of the domains, and whether they agree with what the box does.

use super::{NO_ADDRESS, NO_DOMAIN};
use crate::health::facts::{Facts, key};
use crate::health::table::Check;
use crate::health::verdict::{Verdict, count, failed, note, ok, some, together, unknown, warning};
use roost_service::dns::Dmarc;
use roost_service::mail::ports;
use std::net::Ipv4Addr;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "mail-spf",
        what: "The domains let the box's address send (SPF)",
        how: "Each domain's SPF record, looked up as receivers do, and whether it lets the public address send (RFC 7208: \
              `ip4`, `a`, `mx` and `all` are followed). Failed if there is none, if there are several, or if it does not; \
              a note if that depends on records of others.",
        to_do: "`roost dns show` shows the record. One of your own replaces the box's: `roost dns own` shows and changes it.",
        decide: spf,
    },
    Check {
        id: "mail-dkim",
        what: "The keys that sign mail are published (DKIM)",
        how: "Each key that the mail service signs with, looked up as receivers do. Failed if one is missing or another.",
        to_do: "`roost dns check` shows which name server answers what.",
        decide: dkim,
    },
    Check {
        id: "mail-dmarc",
        what: "The domains say what to do with forged mail (DMARC)",
        how: "Each domain's DMARC record, looked up as receivers do. Failed if there is none, or if there are several, which \
              counts as none; a note while it only asks for reports.",
        to_do: "`roost dns dmarc` shows and changes it. Without a choice of yours the box makes it stricter as time goes by.",
        decide: dmarc,
    },
    Check {
        id: "mail-mta-sts",
        what: "The domains ask for encrypted delivery (MTA-STS)",
        how: "Whether announcement (`_mta-sts`), policy and mail server agree. Failed if a policy is announced and the box \
              has none, or one without its own mail server; a note while there is none, which is so until the box has a \
              certificate and two weeks have passed.",
        to_do: "`roost dns show` shows what is announced. `roost certificates show` says how certificates stand: without \
                them there is no policy.",
        decide: mta_sts,
    },
    Check {
        id: "mail-tlsa",
        what: "The announced key is the one that is shown (TLSA)",
        how: "The hash of the key that port 25 shows, among those that the DNS announces (DANE, RFC 7672). Failed if it is \
              not: mail servers that check do not deliver. A note while none is announced.",
        to_do: "`roost dns check` shows which name server announces what. `roost reboot` has the mail service take the newest \
                certificate.",
        decide: tlsa,
    },
];

fn domains(facts: &Facts) -> Result<Vec<&str>, Verdict> {
    if let Some(not) = super::nowhere(facts) {
        return Err(not);
    }
    let domains = facts.domains();
    match domains.is_empty() {
        true => Err(match &facts.dns {
            Err(why) => unknown(why),
            Ok(_) => unknown(NO_DOMAIN),
        }),
        false => Ok(domains),
    }
}

/// Whether an SPF record lets an address send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spf {
    Lets,
    LetsNot,
    /// It depends on something that is not followed here.
    Depends,
}

fn spf(facts: &Facts) -> Verdict {
    let domains = match domains(facts) {
        Ok(domains) => domains,
        Err(not) => return not,
    };
    let Some(address) = facts.address4() else {
        return unknown(NO_ADDRESS);
    };
    let all = domains.iter().map(|domain| {
        let answer = match facts.asked(domain, "TXT") {
            Ok(answer) => answer,
            Err(why) => {
                return unknown(format!(
                    "the records of {domain} cannot be looked up: {why}"
                ));
            }
        };
        let is_spf = |text: &&String| {
            let text = text.to_ascii_lowercase();
            text == "v=spf1" || text.starts_with("v=spf1 ")
        };
        let records: Vec<&String> = answer.values.iter().filter(is_spf).collect();
        match records.as_slice() {
            [] => failed(format!("{domain} has no SPF record.")),
            [one] => match lets_send(facts, domain, one, address) {
                Spf::Lets => ok(""),
                Spf::LetsNot => failed(format!("{domain} does not let {address} send: {one:?}.")),
                Spf::Depends => note(format!(
                    "Whether {domain} lets {address} send depends on records of others: {one:?}."
                )),
            },
            several => failed(format!(
                "{domain} has {} SPF records, which counts as an error.",
                several.len()
            )),
        }
    });
    together(all, format!("They let {address} send."))
}

/// Follows a record from left to right (RFC 7208, section 4.6).
fn lets_send(facts: &Facts, domain: &str, record: &str, address: Ipv4Addr) -> Spf {
    for term in record.split_ascii_whitespace().skip(1) {
        let term = term.to_ascii_lowercase();
        let (qualifier, mechanism) = match term.strip_prefix(['+', '-', '~', '?']) {
            Some(rest) => (term.chars().next().unwrap_or('+'), rest),
            None => ('+', term.as_str()),
        };
        let matches = match mechanism.split_once(':').unwrap_or((mechanism, "")) {
            ("all", "") => Some(true),
            ("ip4", network) => Some(is_within(address, network)),
            ("ip6", _) => Some(false),
            ("a", "") => Some(leads_to(facts, domain, address)),
            ("mx", "") => match facts.asked(domain, "MX") {
                Ok(answer) => {
                    let mut hosts = answer.values.iter();
                    Some(hosts.any(|host| leads_to(facts, host, address)))
                }
                Err(_) => None,
            },
            ("exp=", _) => Some(false),
            _ if mechanism.starts_with("exp=") => Some(false),
            _ => None,
        };
        match (matches, qualifier) {
            (Some(false), _) => {}
            (Some(true), '+') => return Spf::Lets,
            (Some(true), _) => return Spf::LetsNot,
            (None, _) => return Spf::Depends,
        }
    }
    // Neutral (section 4.7): receivers take that for nothing.
    Spf::LetsNot
}

fn leads_to(facts: &Facts, name: &str, address: Ipv4Addr) -> bool {
    facts
        .asked(name, "A")
        .is_ok_and(|answer| answer.values.contains(&address.to_string()))
}

fn is_within(address: Ipv4Addr, network: &str) -> bool {
    let (base, bits) = network.split_once('/').unwrap_or((network, "32"));
    let (Ok(base), Ok(bits)) = (base.parse::<Ipv4Addr>(), bits.parse::<u32>()) else {
        return false;
    };
    bits <= 32 && (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits
}

fn dkim(facts: &Facts) -> Verdict {
    let domains = match domains(facts) {
        Ok(domains) => domains,
        Err(not) => return not,
    };
    let mut keys = 0;
    let mut all = Vec::new();
    for domain in &domains {
        let records = match facts.records.get(*domain) {
            Some(Ok(records)) => records,
            Some(Err(why)) => {
                all.push(unknown(format!(
                    "the records of {domain} are not known: {why}"
                )));
                continue;
            }
            None => {
                all.push(unknown(format!("the records of {domain} are not known")));
                continue;
            }
        };
        let own = records
            .iter()
            .filter(|record| is_dkim(&record.name, &record.kind, domain));
        let before = keys;
        for record in own {
            keys += 1;
            all.push(match facts.asked(&record.name, "TXT") {
                Err(why) => unknown(format!("{} cannot be looked up: {why}", record.name)),
                Ok(answer) if answer.values.is_empty() => {
                    failed(format!("{} is not published.", record.name))
                }
                Ok(answer)
                    if answer
                        .values
                        .iter()
                        .any(|text| *text == joined(&record.value)) =>
                {
                    ok("")
                }
                Ok(_) => failed(format!(
                    "{} is another key than the mail service's.",
                    record.name
                )),
            });
        }
        if keys == before {
            all.push(failed(format!("{domain} has no key that signs its mail.")));
        }
    }
    together(all, format!("Published: {}.", count(keys, "key")))
}

/// Whether a record is a DKIM key of this domain.
pub fn is_dkim(name: &str, kind: &str, domain: &str) -> bool {
    kind == "TXT" && name.ends_with(&format!("._domainkey.{domain}"))
}

/// A text that stands in pieces between quotation marks (RFC 1035, section 5.1) in one piece.
fn joined(value: &str) -> String {
    let mut text = String::new();
    let (mut within, mut escaped) = (false, false);
    for letter in value.chars() {
        match letter {
            letter if escaped => {
                text.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => within = !within,
            letter if within || !letter.is_whitespace() => text.push(letter),
            _ => {}
        }
    }
    text
}

fn dmarc(facts: &Facts) -> Verdict {
    let domains = match domains(facts) {
        Ok(domains) => domains,
        Err(not) => return not,
    };
    let stage = |domain: &str| {
        let dns = facts.dns.as_ref().ok()?;
        let zone = dns.zones.iter().find(|zone| zone.domain == domain)?;
        Some(zone.dmarc.as_ref()?.stage)
    };
    let all = domains.iter().map(|domain| {
        let answer = match facts.asked(&format!("_dmarc.{domain}"), "TXT") {
            Ok(answer) => answer,
            Err(why) => return unknown(format!("the policy of {domain} cannot be looked up: {why}")),
        };
        let is_dmarc = |text: &&String| text.starts_with("v=DMARC1");
        let records: Vec<&String> = answer.values.iter().filter(is_dmarc).collect();
        let record = match records.as_slice() {
            [] => return failed(format!("{domain} has no DMARC record.")),
            [one] => one,
            _ => return failed(format!("{domain} has several DMARC records, which counts as none.")),
        };
        let asks = policy(record);
        let wanted = match stage(domain) {
            Some(Dmarc::None) => Some("none"),
            Some(Dmarc::Quarantine) => Some("quarantine"),
            Some(Dmarc::Reject) => Some("reject"),
            None => None,
        };
        match (asks, wanted) {
            (None, _) => failed(format!("The DMARC record of {domain} has no policy: {record:?}.")),
            (Some(asks), Some(wanted)) if asks != wanted => warning(format!(
                "{domain} asks for {asks:?} as the world sees it, and for {wanted:?} as it should be."
            )),
            (Some("none"), _) => note(format!("{domain} only asks for reports so far.")),
            (Some(_), _) => ok(""),
        }
    });
    together(all, "They ask receivers to sort out forged mail.")
}

/// What a record asks for (RFC 7489, section 6.3).
fn policy(record: &str) -> Option<&str> {
    let mut tags = record.split(';').filter_map(|tag| tag.split_once('='));
    tags.find(|(tag, _)| tag.trim() == "p")
        .map(|(_, policy)| policy.trim())
}

fn mta_sts(facts: &Facts) -> Verdict {
    let domains = match domains(facts) {
        Ok(domains) => domains,
        Err(not) => return not,
    };
    let Some(host) = facts.host() else {
        return unknown("the mail service does not say its name");
    };
    let all = domains.iter().map(|domain| {
        let announced = match facts.asked(&format!("_mta-sts.{domain}"), "TXT") {
            Err(why) => return unknown(format!("what {domain} announces cannot be looked up: {why}")),
            Ok(answer) => answer.values.iter().any(|text| text.starts_with("v=STSv1")),
        };
        let policy = facts.policies.get(*domain);
        let names_host = policy.is_some_and(|text| {
            let mut hosts = text.lines().filter_map(|line| line.strip_prefix("mx:"));
            hosts.any(|mx| mx.trim().eq_ignore_ascii_case(host))
        });
        match (announced, policy) {
            (false, None) => note(format!("{domain} has no policy yet.")),
            (false, Some(_)) => warning(format!("{domain} has a policy that is not announced."))
                .to_do("Look again in some minutes; `roost dns check` shows which name server lacks it."),
            (true, None) => failed(format!("{domain} announces a policy that the box does not have.")),
            (true, Some(_)) if !names_host => {
                failed(format!("The policy of {domain} does not name {host}."))
            }
            (true, Some(text)) if text.lines().any(|line| line.trim() == "mode: testing") => {
                note(format!("The policy of {domain} only asks for reports so far."))
            }
            (true, Some(_)) => ok(""),
        }
    });
    together(all, "Announcements, policies and mail server agree.")
}

fn tlsa(facts: &Facts) -> Verdict {
    if let Some(not) = super::nowhere(facts) {
        return not;
    }
    let Some(host) = facts.host() else {
        return unknown("the mail service does not say its name");
    };
    let name = format!("_25._tcp.{host}");
    let answer = match facts.names.get(&key(&name, "TLSA")) {
        None => return unknown("it was not asked"),
        Some(Err(why)) => return unknown(format!("{name} cannot be looked up: {why}")),
        Some(Ok(answer)) => answer,
    };
    if answer.values.is_empty() {
        return note("No key is announced yet: that comes with the certificate.");
    }
    let shown = match facts.own_ports.get(&ports::SMTP) {
        Some(Ok(shown)) => shown,
        Some(Err(why)) => return unknown(format!("port 25 does not answer: {why}")),
        None => return unknown("port 25 was not asked"),
    };
    let Some(hash) = &shown.key_sha256 else {
        return failed("A key is announced, but port 25 offers no encryption.");
    };
    // The box announces no other kind (RFC 7672, section 3.1.1).
    let wanted = format!("3 1 1 {}", hash.to_ascii_lowercase());
    match answer.values.contains(&wanted) {
        true if answer.secure => ok("The key that port 25 shows is announced."),
        true => note("The key that port 25 shows is announced, but unsigned, so nobody heeds it."),
        false => failed(format!(
            "Port 25 shows a key that is not among the announced: {}.",
            some(&answer.values)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_text_are_one() {
        assert_eq!(joined(r#""v=DKIM1; p=AA" "BB""#), "v=DKIM1; p=AABB");
        assert_eq!(joined(r#""a\"b""#), "a\"b");
        assert_eq!(joined("plain"), "plain");
    }

    #[test]
    fn networks_have_their_addresses() {
        let address = Ipv4Addr::new(192, 0, 2, 25);
        for (network, within) in [
            ("192.0.2.25", true),
            ("192.0.2.0/24", true),
            ("192.0.2.26", false),
            ("0.0.0.0/0", true),
            ("192.0.2.0/99", false),
            ("nothing", false),
        ] {
            assert_eq!(is_within(address, network), within, "{network}");
        }
    }
}
