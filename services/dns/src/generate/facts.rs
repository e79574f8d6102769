//! What the box knows of itself and of one of its domains.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// All that a zone is made from.
///
/// Names are written without the last dot, in the ASCII form (`xn--…`). Something that is not known or not
/// yet true is left empty, and no record speaks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The domain, which is the zone's name.
    pub domain: String,
    /// Full name of the mail server. For a further domain it lies in another zone.
    pub mail_host: String,
    /// Public IPv4 addresses of the box, which are the relay's.
    #[serde(default)]
    pub ipv4: Vec<Ipv4Addr>,
    /// Public IPv6 addresses of the box.
    #[serde(default)]
    pub ipv6: Vec<Ipv6Addr>,
    /// Who answers for the zone; see [`NameServer::of_the_relay`].
    #[serde(default)]
    pub name_servers: Vec<NameServer>,
    /// What mail programs can use. Any [`Service`] that is missing here is declared as not offered.
    #[serde(default)]
    pub offers: Vec<Offer>,
    /// Whether the box answers as `autoconfig.DOMAIN` and `autodiscover.DOMAIN`.
    #[serde(default)]
    pub autoconfig: bool,
    /// Full name of the box's own pages. In another zone: nothing is made of it here.
    #[serde(default)]
    pub portal: Option<String>,
    /// Further names, the domain itself among them if wanted, that lead to the box's web server.
    #[serde(default)]
    pub web: Vec<String>,
    /// Names for which the box holds a certificate that browsers trust.
    #[serde(default)]
    pub certified: Vec<String>,
    /// Keys that the mail host shows in TLS.
    #[serde(default)]
    pub tls_keys: Vec<TlsKey>,
    /// Keys that sign this domain's mail.
    #[serde(default)]
    pub dkim: Vec<DkimKey>,
    /// What receivers shall do with forged mail.
    #[serde(default)]
    pub dmarc: Option<Dmarc>,
    /// The policy on encrypted delivery; published only with certificates for `mta-sts.DOMAIN` and the mail
    /// host.
    #[serde(default)]
    pub mta_sts: Option<MtaSts>,
    /// Mail address for reports on failed encryption (RFC 8460).
    #[serde(default)]
    pub tls_reports: Option<String>,
    /// Who issues the box's certificates.
    #[serde(default)]
    pub acme: Option<Acme>,
    /// Other domains whose DMARC reports are sent to an address of this one (RFC 7489, section 7.1).
    #[serde(default)]
    pub reports_of: Vec<String>,
}

/// A name server of the zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NameServer {
    /// Its full name.
    pub name: String,
    /// Its IPv4 addresses; used only if its name is in the zone.
    #[serde(default)]
    pub ipv4: Vec<Ipv4Addr>,
    /// Its IPv6 addresses; used only if its name is in the zone.
    #[serde(default)]
    pub ipv6: Vec<Ipv6Addr>,
}

impl NameServer {
    /// `ns1` and `ns2` of a domain at one relay.
    ///
    /// Registries want two names. The second has the second IPv6 address if there is one, and shares the
    /// IPv4 address, of which a relay has just one. Zonemaster calls that an error (DELEGATION02), and a
    /// second server without IPv4 as well (DELEGATION01): only a second IPv4 address or somebody else's name
    /// server would satisfy it. Sharing at least keeps both names of use to those who have no IPv6.
    pub fn of_the_relay(domain: &str, ipv4: &[Ipv4Addr], ipv6: &[Ipv6Addr]) -> Vec<NameServer> {
        let server = |label: &str, ipv6: Option<&Ipv6Addr>| NameServer {
            name: format!("{label}.{domain}"),
            ipv4: ipv4.first().copied().into_iter().collect(),
            ipv6: ipv6.copied().into_iter().collect(),
        };
        let second = ipv6.get(1).or(ipv6.first());
        vec![server("ns1", ipv6.first()), server("ns2", second)]
    }
}

/// What a mail program can be told of in an SRV record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Sending, TLS from the first byte (RFC 8314).
    Submissions,
    /// Sending, with STARTTLS (RFC 6186).
    Submission,
    /// IMAP, TLS from the first byte (RFC 6186).
    Imaps,
    /// IMAP, with STARTTLS (RFC 6186).
    Imap,
    /// POP3, TLS from the first byte (RFC 6186).
    Pop3s,
    /// POP3, with STARTTLS (RFC 6186).
    Pop3,
    /// JMAP (RFC 8620, section 2.2).
    Jmap,
    /// Calendars over TLS (RFC 6764).
    Caldavs,
    /// Calendars without TLS (RFC 6764).
    Caldav,
    /// Address books over TLS (RFC 6764).
    Carddavs,
    /// Address books without TLS (RFC 6764).
    Carddav,
    /// ManageSieve (RFC 5804, section 1.8).
    Sieve,
}

/// A service, and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The service.
    pub service: Service,
    /// TCP port on the mail host, not 0.
    pub port: u16,
}

/// A key pair of the mail host's TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsKey {
    /// TCP ports on which it is shown.
    pub ports: Vec<u16>,
    /// SHA-256 of the SubjectPublicKeyInfo in use: 64 hex digits.
    pub current: String,
    /// The same of the key that comes next.
    #[serde(default)]
    pub next: Option<String>,
    /// The same of the key before, which somebody may still show or have in a cache.
    #[serde(default)]
    pub previous: Option<String>,
}

/// A key that signs mail (RFC 6376).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkimKey {
    /// Its selector.
    pub selector: String,
    /// Text of its record, in one piece: `v=DKIM1; …`.
    pub text: String,
}

/// How strict the DMARC policy is. It is raised once reports show that the owner's own mail passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Only reports.
    None,
    /// Forged mail goes to the junk folder.
    Quarantine,
    /// Forged mail is refused.
    Reject,
}

/// DMARC of the domain (RFC 7489).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dmarc {
    /// What to do with forged mail.
    pub stage: Stage,
    /// Mail address for reports.
    #[serde(default)]
    pub reports: Option<String>,
}

/// How a sender treats a server without a good certificate (RFC 8461, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It reports it.
    Testing,
    /// It does not deliver.
    Enforce,
}

/// MTA-STS of the domain (RFC 8461).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MtaSts {
    /// The mode.
    pub mode: Mode,
    /// For how many seconds senders keep the policy, at most 31,557,600.
    pub max_age: u32,
}

/// A certificate authority and the box's account there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// Name that the authority looks for in CAA records, such as `letsencrypt.org`.
    pub issuer: String,
    /// URL of the account, once there is one (RFC 8657).
    #[serde(default)]
    pub account: Option<String>,
    /// Mail address to which refused requests are reported.
    #[serde(default)]
    pub contact: Option<String>,
}

/// Why no zone can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// Not a host name.
    #[error("{what} {name:?} is not a host name: {reason}")]
    Host {
        /// What it is the name of.
        what: &'static str,
        /// The name as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A name has to be in the zone and is not.
    #[error("{what} {name} is not inside of {domain}")]
    Outside {
        /// What it is the name of.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The zone.
        domain: String,
    },
    /// A name made from these facts is longer than DNS allows (255 bytes; RFC 1035, section 2.3.4).
    #[error("{name} is too long for DNS, choose a shorter domain")]
    TooLong {
        /// The name.
        name: String,
    },
    /// Not a mail address that can stand in a record.
    #[error("{address:?} is not a plain mail address")]
    Address {
        /// The address as given.
        address: String,
    },
    /// A value that does not fit into its record.
    #[error("{what} {value:?} {reason}")]
    Value {
        /// What it is.
        what: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}
