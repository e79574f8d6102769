//! The certificate service: what the owner chose for it ([`Choice`]), for which names it is ([`Zones`]),
//! what it says of itself ([`Status`]), and how the services that use a certificate get it.
//!
//! A Unix socket, [`socket`]; who connects is asked of the kernel (`SO_PEERCRED`) and looked up in the
//! services table. Whoever connects writes one [`Call`] as a line of JSON, and gets one [`Answer`] as a
//! line and then the end; it keeps its own side open until then. Each call says who may make it; others are refused.
//!
//! A service that uses a certificate asks [`Call::Get`] when it starts, and has from then on a
//! [`Call::Wait`] open with the version that it has. It takes what comes for new connections, and
//! leaves the old ones alone. A connection that breaks is made again after some seconds.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The spec's name of the certificate service.
pub const SERVICE: &str = "certificates";
/// The [`CertificateStatus::id`] of the mail host's certificate.
pub const MAIL: &str = "mail";
/// The [`CertificateStatus::id`] of the portal's own certificate, if it has a name of its own.
pub const PORTAL: &str = "portal";
/// Longest [`Call`] and longest [`Answer`] as JSON, in bytes, the line feed included.
pub const MAX_LINE: usize = 128 << 10;
/// Longest that [`Call::Wait`] goes without an answer, in seconds; then comes [`Answer::Unchanged`].
pub const MAX_WAIT_S: u64 = 3600;

/// The socket.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("certificates.sock")
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// How certificates stand. For portal, dns and mail.
    Status,
    /// The newest certificate. For those that use it ([`CertificateStatus::readers`]).
    Get {
        /// Which.
        id: String,
    },
    /// As [`Call::Get`], as soon as there is another than this. For the same.
    Wait {
        /// Which.
        id: String,
        /// [`Certificate::version`] of what the caller has; empty: nothing.
        after: String,
    },
    /// Get certificates this way from now on. For the portal.
    Set {
        /// What was chosen.
        choice: Box<Choice>,
    },
    /// Get certificates for these names from now on. For dns.
    Serve {
        /// What it serves.
        zones: Zones,
    },
    /// Try now, whatever the reason was to wait; a time that the certificate authority named stays.
    /// For the portal.
    Renew {
        /// Which.
        id: String,
    },
    /// Take the next key, as soon as its hash has been published for long enough. For the portal.
    SwitchKey {
        /// Which.
        id: String,
    },
    /// All name servers of the zone have a TLSA record with this hash. For dns.
    Published {
        /// SHA-256 of a key ([`TlsKey::sha256`]).
        sha256: String,
        /// Since when, in seconds since 1970.
        since: u64,
        /// TTL of the TLSA records, in seconds.
        ttl_s: u32,
    },
    /// The key with which this service signs its updates of the zone (RFC 8945). For dns.
    DnsKey,
    /// Revoke the certificate and get another with the next key. For the portal.
    Revoke {
        /// Which.
        id: String,
        /// Whether somebody else may have the private key.
        key_compromised: bool,
    },
}

/// What comes back.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Box<Status>),
    /// To [`Call::Get`] and [`Call::Wait`].
    Certificate(Box<Certificate>),
    /// To [`Call::Wait`] after [`MAX_WAIT_S`]: there is no other yet. Ask again.
    Unchanged,
    /// To [`Call::DnsKey`].
    DnsKey {
        /// Its name, `acme`.
        name: String,
        /// `hmac-sha256`.
        algorithm: String,
        /// The secret, in base64.
        secret: String,
    },
    /// It is on the card, and is done as soon as it can be.
    Done,
    /// Nothing was changed.
    Refused {
        /// Why, in plain words.
        why: String,
    },
}

/// How certificates are to be got: the owner's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// Which certificate authority.
    #[serde(default)]
    pub directory: Directory,
    /// Whether the owner agrees to its terms. Without that nothing is ordered.
    pub terms_agreed: bool,
    /// Full name of the portal on the internet, if it is another than the mail host; it is in one of
    /// the domains.
    #[serde(default)]
    pub portal: Option<String>,
    /// Address that the authority may write to.
    #[serde(default)]
    pub contact: Option<String>,
    /// Certificate profile, where it offers some, e.g. `shortlived`.
    #[serde(default)]
    pub profile: Option<String>,
    /// Certificates (PEM) that sign the directory's own, beside the well-known ones.
    #[serde(default)]
    pub roots_pem: Option<String>,
}

/// The names that certificates are for: what the name server serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zones {
    /// Full name of the mail server; it is in one of the domains.
    pub mail_host: String,
    /// The mail domains, each a zone that the box serves. Their names `mta-sts`, `autoconfig` and
    /// `autodiscover` get a certificate.
    pub domains: Vec<String>,
    /// Other name servers of the zones. They are to have a challenge before it is answered.
    #[serde(default)]
    pub secondaries: Vec<Secondary>,
}

/// Another name server of the zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Secondary {
    /// Where it answers.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub address: SocketAddr,
    /// The box's address that the way there begins at, if it has to be that one: the tunnel's.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub from: Option<IpAddr>,
}

impl From<SocketAddr> for Secondary {
    /// From whichever address the system prefers.
    fn from(address: SocketAddr) -> Self {
        let from = None;
        Self { address, from }
    }
}

/// An ACME directory (RFC 8555, section 7.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Directory {
    /// Let's Encrypt.
    #[default]
    LetsEncrypt,
    /// Let's Encrypt's place for tests: nobody trusts its certificates.
    LetsEncryptStaging,
    /// Another.
    Url(String),
}

impl Directory {
    /// Its address.
    pub fn url(&self) -> &str {
        match self {
            Self::LetsEncrypt => "https://acme-v02.api.letsencrypt.org/directory",
            Self::LetsEncryptStaging => "https://acme-staging-v02.api.letsencrypt.org/directory",
            Self::Url(url) => url,
        }
    }
}

/// A certificate, its issuers and its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Which.
    pub id: String,
    /// Tells it from others of the same id: the leaf's SHA-256, in hex.
    pub version: String,
    /// The leaf's serial number, in hex.
    pub serial: String,
    /// Names that it is for.
    pub names: Vec<String>,
    /// The leaf, then its issuers.
    pub chain_pem: String,
    /// The leaf's private key (PKCS #8).
    pub key_pem: String,
    /// Last second in which it holds, since 1970.
    pub not_after: u64,
}

/// How certificates stand. Fields may be added; a reader skips those that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// In one sentence for people.
    pub summary: String,
    /// The owner's choice, once there is one.
    pub choice: Option<Choice>,
    /// The names, as dns has told them last.
    pub zones: Option<Zones>,
    /// The directory's address; `None` before there is a [`Choice`].
    pub directory: Option<String>,
    /// The account's address at the certificate authority, for `accounturi` in CAA records (RFC 8657).
    pub account: Option<String>,
    /// Names of the certificate authority in CAA records, as its directory says (`caaIdentities`; RFC 8555,
    /// section 7.1.1); empty: not known. Each of them alone stands for it.
    #[serde(default)]
    pub caa: Vec<String>,
    /// One each.
    pub certificates: Vec<CertificateStatus>,
}

/// How a certificate stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CertificateStatus {
    /// Which: [`MAIL`], [`PORTAL`], or the domain whose pages it is for.
    pub id: String,
    /// Names that it is to be for.
    pub names: Vec<String>,
    /// Services that may have it with its key.
    pub readers: Vec<String>,
    /// In one word.
    pub state: State,
    /// In one sentence for people.
    pub summary: String,
    /// Serial number in hex, if there is one.
    pub serial: Option<String>,
    /// First and last second in which it holds, since 1970.
    pub valid: Option<(u64, u64)>,
    /// When something is done about it next, in seconds since 1970; `None`: not known yet.
    pub next_at: Option<u64>,
    /// Keys whose hashes TLSA records `3 1 1` are to have (RFC 7671), the current one first.
    pub tls_keys: Vec<TlsKey>,
    /// Why the last try failed, until one succeeds.
    pub failure: Option<Failure>,
}

/// How a certificate stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// There was none yet.
    Missing,
    /// It holds.
    Valid,
    /// It holds, and was to be renewed, which has failed so far.
    Failing,
    /// It does not hold any more.
    Expired,
}

/// A key, by its public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TlsKey {
    /// What it is.
    pub role: Role,
    /// SHA-256 of its SubjectPublicKeyInfo, in hex.
    pub sha256: String,
    /// Since when all name servers have it, in seconds since 1970, as dns has said.
    pub published_since: Option<u64>,
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The certificate's.
    Current,
    /// The one after it.
    Next,
    /// The one before it, which somebody may still use for a while.
    Previous,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Failure {
    /// When, in seconds since 1970.
    pub at: u64,
    /// How often in a row.
    pub times: u32,
    /// What was to be done.
    pub what: String,
    /// For which name, if it was one.
    pub name: Option<String>,
    /// Why not.
    pub why: String,
    /// What to do about it.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_has_to_be_said() {
        let json = r#"{"terms_agreed": true}"#;
        let choice: Choice = serde_json::from_str(json).unwrap();
        assert_eq!(choice.directory, Directory::LetsEncrypt);
        let other = json.replace('}', r#", "directory": {"url": "https://ca.example"}}"#);
        let choice: Choice = serde_json::from_str(&other).unwrap();
        assert_eq!(choice.directory.url(), "https://ca.example");
        let again = serde_json::to_string(&choice).unwrap();
        assert_eq!(serde_json::from_str::<Choice>(&again).unwrap(), choice);
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused() {
        let call = |json| serde_json::from_str::<Call>(json);
        assert_eq!(call(r#"{"call":"status"}"#).unwrap(), Call::Status);
        assert!(call(r#"{"call":"get","id":"mail","key":"x"}"#).is_err());
    }
}
