//! What ports show: here, and at the public address.

use super::{NO_ADDRESS, NO_RELAY};
use crate::health::facts::{Facts, Shown, Told};
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, ok, together, unknown, warning};
use roost_service::certificates::{MAIL, PORTAL, Role};
use roost_service::mail::ports;
use std::collections::BTreeMap;

/// Those of the box itself, in the order in which they are shown.
pub const TLS: &[Check] = &[
    Check {
        id: "tls-smtp",
        what: "Other mail servers can encrypt (port 25)",
        how: "The portal connects to the box's own port 25 as a mail server does and asks for encryption (STARTTLS). \
              Failed if nobody answers or encryption is not offered; a warning if the certificate's key is not the \
              newest, or the encryption is older than TLS 1.2.",
        to_do: "`roost logs mail` says more; `roost reboot` starts the mail service anew.",
        decide: |facts| own(facts, ports::SMTP, MAIL),
    },
    Check {
        id: "tls-submission",
        what: "Mail programs can send (port 465)",
        how: "The same at port 465, which speaks TLS from the first byte.",
        to_do: "`roost logs mail` says more; `roost reboot` starts the mail service anew.",
        decide: |facts| own(facts, ports::SUBMISSIONS, MAIL),
    },
    Check {
        id: "tls-imap",
        what: "Mail programs can read (port 993)",
        how: "The same at port 993.",
        to_do: "`roost logs mail` says more; `roost reboot` starts the mail service anew.",
        decide: |facts| own(facts, ports::IMAPS, MAIL),
    },
    Check {
        id: "tls-web",
        what: "Browsers reach the box's pages (port 443)",
        how: "The same at port 443, by the mail server's name.",
        to_do: "`roost logs portal` says more; `roost reboot` starts the portal anew.",
        decide: |facts| own(facts, ports::HTTPS, MAIL),
    },
];

/// Those at the public address, in the order in which they are shown.
pub const OUTSIDE: &[Check] = &[
    Check {
        id: "ports-mail-in",
        what: "Mail from outside reaches port 25",
        how: "The box connects to port 25 of its own public address. All of its traffic to that port takes the way that its \
              mail takes, through the tunnel, so the relay hands the connection back: this shows that the relay passes \
              mail on to this box, and not whether a firewall in front of the relay lets others in. Failed if the box's \
              mail server does not answer there.",
        to_do: "`roost relay status` shows both ends. In your cloud's console, see whether the firewall in front of the \
                relay lets port 25 in.",
        decide: |facts| public(facts, &[ports::SMTP]),
    },
    Check {
        id: "ports-programs",
        what: "Mail programs reach the box from anywhere",
        how: "The box connects to ports 465, 587 and 993 of its own public address, out by the home's line and back in \
              through the relay, as a phone does that is not at home. Failed if the box does not answer there, or \
              somebody else does.",
        to_do: "`roost relay status` shows both ends. In your cloud's console, see whether the firewall in front of the \
                relay lets these ports in. Some hotels and offices close them too.",
        decide: |facts| {
            public(
                facts,
                &[ports::SUBMISSIONS, ports::SUBMISSION, ports::IMAPS],
            )
        },
    },
    Check {
        id: "ports-web",
        what: "Web pages of the box are reached from anywhere",
        how: "The same at port 443: calendars, contacts, the policy on encrypted delivery, and settings of mail programs are \
              fetched there.",
        to_do: "`roost relay status` shows both ends. In your cloud's console, see whether the firewall in front of the \
                relay lets port 443 in.",
        decide: |facts| public(facts, &[ports::HTTPS]),
    },
];

/// The newest key of a certificate, if one was got.
fn newest_key<'a>(facts: &'a Facts, id: &str) -> Option<&'a str> {
    let status = facts.certificates.as_ref().ok()?;
    let one = status.certificates.iter().find(|one| one.id == id)?;
    one.valid?;
    let key = one.tls_keys.iter().find(|key| key.role == Role::Current)?;
    Some(&key.sha256)
}

fn own(facts: &Facts, port: u16, id: &str) -> Verdict {
    let shown = match facts.own_ports.get(&port) {
        None => return unknown("the mail service does not say its name"),
        Some(Err(why)) => return failed(format!("Port {port} does not work: {why}.")),
        Some(Ok(shown)) => shown,
    };
    let Some(protocol) = &shown.protocol else {
        return failed(format!("Port {port} answers, but offers no encryption."));
    };
    if !matches!(protocol.as_str(), "TLSv1_2" | "TLSv1_3") {
        return warning(format!(
            "Port {port} speaks {}, which is out of date.",
            spelled(protocol)
        ));
    }
    let newest = newest_key(facts, id);
    // The portal may have a certificate of its own that has the mail server's name as well.
    let other = newest_key(facts, PORTAL).filter(|_| port == ports::HTTPS);
    match (&shown.key_sha256, newest) {
        (Some(key), Some(newest))
            if !key.eq_ignore_ascii_case(newest)
                && !other.is_some_and(|other| key.eq_ignore_ascii_case(other)) =>
        {
            warning(format!(
                "Port {port} shows another certificate than the newest."
            ))
        }
        (Some(_), Some(_)) => ok(format!(
            "It speaks {} with the newest certificate.",
            spelled(protocol)
        )),
        _ => ok(format!(
            "It speaks {} with the box's own certificate.",
            spelled(protocol)
        )),
    }
}

fn spelled(protocol: &str) -> String {
    protocol.replace("TLSv", "TLS ").replace('_', ".")
}

fn public(facts: &Facts, wanted: &[u16]) -> Verdict {
    match facts.has_relay() {
        Some(false) => return unknown(NO_RELAY),
        _ if facts.outside.is_empty() => return unknown(NO_ADDRESS),
        _ => {}
    }
    let all = wanted
        .iter()
        .map(|port| match facts.public_ports.get(port) {
            None => unknown("the tunnel is down, or the mail service does not say its name"),
            Some(Err(why)) => failed(format!("Port {port} is not reached: {why}.")),
            Some(Ok(shown)) => same(*port, shown, &facts.own_ports, facts.host()),
        });
    together(all, "The box answers there.")
}

/// Whether who answers at the public address is the box.
fn same(port: u16, shown: &Shown, own: &BTreeMap<u16, Told<Shown>>, host: Option<&str>) -> Verdict {
    let own = own.get(&port).and_then(|own| own.as_ref().ok());
    let own_key = own.and_then(|own| own.key_sha256.as_deref());
    let found = match (&shown.key_sha256, own_key) {
        (Some(there), Some(here)) => there.eq_ignore_ascii_case(here),
        (Some(_), None) => return unknown(format!("what port {port} shows here is not known")),
        // Without encryption only the greeting tells.
        (None, _) => match host {
            Some(host) => shown.greeting.contains(host),
            None => return unknown("the mail service does not say its name"),
        },
    };
    match found {
        true => ok(""),
        false => failed(format!(
            "Somebody else answers at port {port} of the public address."
        )),
    }
}
