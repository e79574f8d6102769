//! DNS records that a domain should have.
//!
//! All of a box's domains are signed with the same keys under the same selectors, so that a new
//! domain needs no new key.

use crate::keys::PublicKey;
use crate::listeners;
use crate::setup::Setup;
use roost_service::mail::{Dkim, DnsRecord, ports};

/// Services that clients look for (RFC 6186, RFC 8314 §5.1, RFC 5804 §1.8), by the id of their port.
const SRV: [(&str, &str); 6] = [
    ("submissions", "_submissions"),
    ("submission", "_submission"),
    ("imaptls", "_imaps"),
    ("imap", "_imap"),
    ("pop3s", "_pop3s"),
    ("sieve", "_sieve"),
];

/// The same on the port of HTTPS (RFC 8620 §2.2, RFC 6764 §3).
const SRV_HTTPS: [&str; 3] = ["_jmap", "_caldavs", "_carddavs"];

/// The keys that sign for all of the box's domains.
pub fn keys(keys: &[PublicKey]) -> Vec<Dkim> {
    let dkim = |key: &PublicKey| Dkim {
        selector: key.algorithm.selector().into(),
        record: key.record(),
    };
    keys.iter().map(dkim).collect()
}

/// The records of one of the box's domains, the most needed first.
pub fn records(setup: &Setup, domain: &str, keys: &[PublicKey]) -> Vec<DnsRecord> {
    let host = &setup.host;
    let mut records = Vec::new();
    let mut add = |name: String, kind: &str, value: Option<String>, purpose: &str, needed: bool| {
        records.push(DnsRecord {
            name,
            kind: kind.into(),
            value,
            purpose: purpose.into(),
            needed,
        });
    };

    add(
        domain.into(),
        "MX",
        Some(format!("10 {host}.")),
        "where mail for this domain goes",
        true,
    );
    add(host.clone(), "A", None, "where the mail server is", true);
    add(
        domain.into(),
        "TXT",
        Some("v=spf1 mx -all".into()),
        "which servers send for this domain (SPF)",
        true,
    );
    for key in keys {
        add(
            format!("{}._domainkey.{domain}", key.algorithm.selector()),
            "TXT",
            Some(key.record()),
            "the key that proves who signed a message (DKIM)",
            true,
        );
    }
    // `reject` would lose what members write to mailing lists (RFC 7960).
    add(
        format!("_dmarc.{domain}"),
        "TXT",
        Some(format!(
            "v=DMARC1; p=quarantine; rua=mailto:postmaster@{domain}"
        )),
        "what receivers shall do with forged mail (DMARC)",
        true,
    );

    add(
        host.clone(),
        "AAAA",
        None,
        "where the mail server is, over IPv6",
        false,
    );
    if host != domain {
        add(
            host.clone(),
            "TXT",
            Some("v=spf1 a -all".into()),
            "which servers send as the mail server itself (SPF)",
            false,
        );
    }
    add(
        format!("_smtp._tls.{domain}"),
        "TXT",
        Some(format!("v=TLSRPTv1; rua=mailto:postmaster@{domain}")),
        "where others report trouble with encryption (TLS-RPT)",
        false,
    );
    let find = "how mail programs find the box by themselves";
    for label in ["autoconfig", "autodiscover"] {
        add(
            format!("{label}.{domain}"),
            "CNAME",
            Some(format!("{host}.")),
            find,
            false,
        );
    }
    let srv = |port: u16| Some(format!("0 1 {port} {host}."));
    for (id, label) in SRV {
        let Some(listener) = listeners::ALL.iter().find(|listener| listener.id == id) else {
            continue;
        };
        add(
            format!("{label}._tcp.{domain}"),
            "SRV",
            srv(listener.port),
            find,
            false,
        );
    }
    for label in SRV_HTTPS.into_iter().chain(["_autodiscover"]) {
        add(
            format!("{label}._tcp.{domain}"),
            "SRV",
            srv(ports::HTTPS),
            find,
            false,
        );
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::setup;
    use crate::keys::Algorithm;

    #[test]
    fn the_records_of_a_domain() {
        let keys = Algorithm::ALL.map(|algorithm| PublicKey {
            algorithm,
            base64: format!("KEY/{}", algorithm.name()),
        });
        let shown: Vec<String> = records(&setup(), "example.net", &keys)
            .into_iter()
            .map(|record| {
                format!(
                    "{} {} {} {} ({})",
                    if record.needed { "!" } else { " " },
                    record.name,
                    record.kind,
                    record.value.as_deref().unwrap_or("?"),
                    record.purpose
                )
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn every_service_has_a_port() {
        let records = records(&setup(), "example.org", &[]);
        for (_, label) in SRV {
            assert!(records.iter().any(|r| r.name.starts_with(label)), "{label}");
        }
    }
}
