//! Records for people: in groups, each with its reason.

use crate::web::page::{Tone, badge};
use maud::{Markup, html};
use roost_service::dns::Record;
use std::fmt::Write as _;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    Mail,
    Names,
    Trust,
    Own,
}

const GROUPS: [(Group, &str); 4] = [
    (Group::Mail, "Mail and mail programs"),
    (Group::Names, "Names and addresses"),
    (Group::Trust, "Encryption and trust"),
    (Group::Own, "Yours, and those of programs"),
];

fn group(record: &Record) -> Group {
    if record.source != "box" {
        return Group::Own;
    }
    let below = |labels: &[&str]| labels.iter().any(|label| record.name.starts_with(label));
    match record.kind.as_str() {
        "TLSA" | "CAA" | "DS" | "SSHFP" | "CDS" | "CDNSKEY" => Group::Trust,
        _ if below(&["_smtp._tls.", "_mta-sts.", "mta-sts.", "_acme-challenge."]) => Group::Trust,
        "MX" | "SRV" | "TXT" => Group::Mail,
        _ if below(&["autoconfig.", "autodiscover."]) => Group::Mail,
        _ => Group::Names,
    }
}

/// All of a zone, in groups that open with a click.
pub(super) fn all(records: &[Record]) -> Markup {
    html! {
        @for (kind, title) in GROUPS {
            @let some: Vec<&Record> = records.iter().filter(|record| group(record) == kind).collect();
            @if !some.is_empty() {
                details {
                    summary { (title) ": " (count(some.len())) }
                    ul.rows { @for record in some { li { (one(record)) } } }
                }
            }
        }
    }
}

fn one(record: &Record) -> Markup {
    html! {
        div {
            strong { (record.name) } " " (record.kind) " "
            span.detail { "kept by others for " (record.ttl) " seconds" }
            @match record.source.as_str() {
                "owner" => { " " (badge(Tone::Good, "yours")) },
                "program" => { " " (badge(Tone::Good, "set by a program")) },
                _ => {}
            }
            p.mono { (record.value) }
            p.detail { (record.why) }
        }
    }
}

/// `1 record`, `12 records`.
pub(super) fn count(records: usize) -> String {
    match records {
        1 => "1 record".to_owned(),
        many => format!("{many} records"),
    }
}

/// The name servers that the zone names, each with its addresses; addresses are missing while the box has none.
pub(super) fn name_servers<'r>(apex: &str, records: &'r [Record]) -> Vec<(&'r str, Vec<&'r str>)> {
    let servers = records
        .iter()
        .filter(|record| record.kind == "NS" && record.name == apex);
    servers
        .map(|server| {
            let name = server.value.trim_end_matches('.');
            let addresses = records
                .iter()
                .filter(|record| matches!(record.kind.as_str(), "A" | "AAAA"))
                .filter(|record| record.name == name)
                .map(|record| record.value.as_str());
            (name, addresses.collect())
        })
        .collect()
}

/// The records as lines of a zone file, to be entered elsewhere.
pub(super) fn lines(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        let Record {
            name,
            ttl,
            kind,
            value,
            ..
        } = record;
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}. {ttl} IN {kind} {value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_stand_where_one_looks_for_them() {
        let mut shown = String::new();
        for (name, kind, source) in [
            ("example.org", "MX", "box"),
            ("example.org", "TXT", "box"),
            ("roost-rsa._domainkey.example.org", "TXT", "box"),
            ("_imaps._tcp.example.org", "SRV", "box"),
            ("autoconfig.example.org", "A", "box"),
            ("example.org", "NS", "box"),
            ("ns1.example.org", "AAAA", "box"),
            ("mail.example.org", "A", "box"),
            ("_25._tcp.mail.example.org", "TLSA", "box"),
            ("example.org", "CAA", "box"),
            ("_smtp._tls.example.org", "TXT", "box"),
            ("_mta-sts.example.org", "TXT", "box"),
            ("mta-sts.example.org", "A", "box"),
            ("_acme-challenge.example.org", "TXT", "program"),
            ("www.example.org", "A", "owner"),
        ] {
            let record = Record {
                name: name.into(),
                ttl: 3600,
                kind: kind.into(),
                value: String::new(),
                source: source.into(),
                why: String::new(),
            };
            shown += &format!("{:?}: {name} {kind}\n", group(&record));
        }
        insta::assert_snapshot!(shown);
    }
}
