//! What others say when the box wants to send mail: the lists that receivers ask about an address
//! ([`blocklists`]), and whether mail servers can be reached at all ([`port25`]).
//!
//! Who is asked stands here, and only here.

pub mod blocklists;
pub mod port25;

use blocklists::List;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Who is asked, where, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Outside {
    /// Lists of addresses that send what nobody wants.
    pub lists: &'static [List],
    /// Domains whose mail servers are tried.
    pub receivers: &'static [&'static str],
    /// Port of those mail servers.
    pub smtp_port: u16,
    /// Longest time for all lists, and for all receivers.
    pub patience: Duration,
}

impl Outside {
    /// Those of the box.
    pub const STANDARD: Self = Self {
        lists: LISTS,
        receivers: RECEIVERS,
        smtp_port: port25::PORT,
        // Callers are promised ten seconds; the rest is for reading and writing.
        patience: Duration::from_millis(9_500),
    };
}

/// The lists that many receivers ask, as of November 2026. `dnsbl.sorbs.net` is left out: it has been
/// switched off in 2024, and answers that no address is listed.
const LISTS: &[List] = &[
    List {
        name: "Spamhaus ZEN",
        zone: "zen.spamhaus.org",
        // The Policy Blocklist within ZEN: 10 is entered by providers, 11 by Spamhaus.
        policy: &[Ipv4Addr::new(127, 0, 0, 10), Ipv4Addr::new(127, 0, 0, 11)],
        removal: "https://check.spamhaus.org/",
    },
    List {
        name: "SpamCop",
        zone: "bl.spamcop.net",
        policy: &[],
        removal: "https://www.spamcop.net/bl.shtml",
    },
    List {
        name: "Barracuda",
        zone: "b.barracudacentral.org",
        policy: &[],
        removal: "https://www.barracudacentral.org/rbl/removal-request",
    },
    List {
        name: "PSBL",
        zone: "psbl.surriel.com",
        policy: &[],
        removal: "https://psbl.org/remove",
    },
    List {
        name: "UCEPROTECT Level 1",
        zone: "dnsbl-1.uceprotect.net",
        policy: &[],
        removal: "https://www.uceprotect.net/en/rblcheck.php",
    },
    List {
        name: "Mailspike",
        zone: "bl.mailspike.net",
        policy: &[],
        removal: "https://mailspike.io/ip_verify",
    },
    List {
        name: "s5h.net",
        zone: "all.s5h.net",
        policy: &[],
        removal: "https://www.usenix.org.uk/content/rblremove",
    },
];

/// Receivers whose mail servers are always there, of three owners.
const RECEIVERS: &[&str] = &["gmail.com", "outlook.com", "yahoo.com"];
