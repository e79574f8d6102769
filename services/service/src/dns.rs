//! The name server: what it tells of the box's zones, and what the owner changes there.
//!
//! A `door` (feature of this crate) at [`socket`], for the portal alone, with [`Call`] and [`Answer`].

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// The spec's name of the name server.
pub const SERVICE: &str = "dns";
/// Longest [`Call`] as JSON, in bytes, the line feed included.
pub const MAX_CALL: usize = 256 << 10;
/// Longest [`Answer`] as JSON, in bytes, the line feed included.
pub const MAX_ANSWER: usize = 2 << 20;

/// The socket.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("dns.sock")
}

/// What the portal asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// How the zones stand: [`Answer::Status`].
    Status,
    /// The records of a zone, each with its reason: [`Answer::Records`].
    Records {
        /// The zone.
        domain: String,
    },
    /// A zone as a file that other name servers read (RFC 1035, section 5): [`Answer::Text`].
    Export {
        /// The zone.
        domain: String,
        /// Whether with keys and signatures, as it is served.
        signed: bool,
    },
    /// The owner's own records, as they were given: [`Answer::Text`].
    OwnRecords {
        /// The zone.
        domain: String,
    },
    /// Other records of the owner's own in place of those before: [`Answer::Done`], or
    /// [`Answer::Refused`] and nothing was changed.
    SetOwnRecords {
        /// The zone.
        domain: String,
        /// Lines as in a zone file.
        text: String,
    },
    /// Which records of another name server's zone file can be kept as the owner's own: [`Answer::Import`].
    Import {
        /// The zone.
        domain: String,
        /// The zone file.
        text: String,
    },
    /// Begins to replace the key that the registrar knows (the KSK): [`Answer::Done`].
    ReplaceKey {
        /// The zone.
        domain: String,
    },
    /// What should be answered, what each name server answers, what the parent says; asks the network
    /// and takes some seconds: [`Answer::Check`].
    Check {
        /// The zone.
        domain: String,
    },
    /// What receivers shall do with mail that is forged in the domain's name: [`Answer::Done`].
    SetDmarc {
        /// The zone.
        domain: String,
        /// Always this; `None`: as the box thinks fit, more strictly as time goes by.
        stage: Option<Dmarc>,
    },
    /// Policies for `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461), of those domains whose
    /// zone announces one: [`Answer::Policies`].
    Policies,
}

/// What receivers shall do with forged mail (RFC 7489, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Dmarc {
    /// Only report it.
    None,
    /// Put it into the junk folder.
    Quarantine,
    /// Refuse it. Mailing lists that change messages lose their members' (RFC 7960).
    Reject,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Status),
    /// To [`Call::Records`].
    Records {
        /// Those of the zone, without DNSSEC's.
        records: Vec<Record>,
    },
    /// A text of many lines.
    Text {
        /// It.
        text: String,
    },
    /// To [`Call::Import`].
    Import {
        /// Lines for [`Call::SetOwnRecords`].
        keep: String,
        /// The others, each with the reason.
        left_out: Vec<LeftOut>,
    },
    /// To [`Call::Check`].
    Check(Box<Check>),
    /// To [`Call::Policies`].
    Policies {
        /// One for each domain that has one.
        policies: Vec<StsPolicy>,
    },
    /// The change is on the card and is served.
    Done,
    /// Nothing was changed.
    Refused {
        /// Why, in whole sentences.
        why: String,
    },
}

/// How the name server stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// In one sentence for people.
    pub summary: String,
    /// Where it answers.
    pub addresses: Vec<IpAddr>,
    /// The zones, the box's own first.
    pub zones: Vec<Zone>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Zone {
    /// Its name, without a dot at its end.
    pub domain: String,
    /// Serial number of its SOA; none: it is not served.
    pub serial: Option<u32>,
    /// Why it is not served, or not signed, if that is so.
    pub fault: Option<String>,
    /// When the first signature ends, in seconds since 1970.
    pub signed_until: Option<u64>,
    /// DS records for the registrar, as text: the one to give first.
    pub ds: Vec<String>,
    /// How the keys stand.
    pub keys: Vec<ZoneKey>,
    /// What the secondary name server has.
    pub secondary: Option<Secondary>,
    /// What the parent zone says of it; none: it was not asked yet.
    #[serde(default)]
    pub delegation: Option<Delegation>,
    /// What receivers are told to do with forged mail.
    #[serde(default)]
    pub dmarc: Option<DmarcState>,
}

/// What receivers are told to do with forged mail, and what comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DmarcState {
    /// What they are told now.
    pub stage: Dmarc,
    /// Whether the owner has chosen it.
    pub chosen: bool,
    /// When the box makes it stricter, in seconds since 1970, if it does.
    pub next_at: Option<u64>,
}

/// What the parent zone says of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delegation {
    /// When it was asked, in seconds since 1970.
    pub at: u64,
    /// The parent zone, if it was found.
    pub parent: Option<String>,
    /// In one word.
    pub state: DelegationState,
    /// Name servers that the parent names.
    pub name_servers: Vec<String>,
    /// DS records that the parent has, as text.
    pub ds: Vec<String>,
    /// What is wrong and what to do about it, in whole sentences; empty: nothing.
    pub advice: String,
}

/// What the parent zone says of a zone, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DelegationState {
    /// The parent could not be asked.
    Unknown,
    /// The parent names no name server, or others.
    Elsewhere,
    /// It names the box's; there is no DS record yet, so nobody validates.
    Unsigned,
    /// It names the box's name servers and their key.
    Secure,
    /// It has DS records of keys that the zone does not have: those who validate see nothing.
    Broken,
}

/// What should be answered for a zone, and what is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Check {
    /// The zone.
    pub domain: String,
    /// When it was looked at, in seconds since 1970.
    pub at: u64,
    /// Who was asked: the columns.
    pub places: Vec<Place>,
    /// What was asked: the rows.
    pub rows: Vec<Row>,
}

/// Somebody who was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    /// `box`, `secondary` (within the tunnel), `ns1`, `ns2` (at their public addresses) or `parent`.
    pub name: String,
    /// Address that was asked, if one is known.
    pub address: Option<String>,
    /// Serial number of the zone there.
    pub serial: Option<u32>,
    /// Why there is no answer, if so.
    pub fault: Option<String>,
}

/// A name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Row {
    /// Whole owner name without a dot at its end.
    pub name: String,
    /// Type, e.g. `TXT`.
    pub kind: String,
    /// Contents that there should be, as in a zone file, sorted.
    pub expected: Vec<String>,
    /// What each place answers, in the order of [`Check::places`]; `None`: it was not asked, or did not answer.
    pub found: Vec<Option<Vec<String>>>,
    /// Whether all that were asked answer what is expected.
    pub right: bool,
    /// What to do about it, in whole sentences; empty: nothing.
    pub advice: String,
}

/// A policy on encrypted delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StsPolicy {
    /// The domain.
    pub domain: String,
    /// Text of the file (RFC 8461, section 3.2), with its line ends.
    pub text: String,
}

/// A key of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ZoneKey {
    /// Key tag (RFC 4034, appendix B).
    pub tag: u16,
    /// `KSK` or `ZSK`.
    pub role: String,
    /// What it is doing, in a few words.
    pub state: String,
}

/// A server that takes copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Secondary {
    /// Its address within the tunnel.
    pub address: String,
    /// The serial of which it said that it knows; none: it has not answered since the start.
    pub told: Option<u32>,
    /// Why it has not answered, if so.
    pub fault: Option<String>,
}

/// A record with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Record {
    /// Whole owner name without a dot at its end.
    pub name: String,
    /// Seconds that others may keep it.
    pub ttl: u32,
    /// Type, e.g. `TXT`.
    pub kind: String,
    /// Content as in a zone file.
    pub value: String,
    /// `box`, `owner` or `program`.
    pub source: String,
    /// What it is for, in one sentence.
    pub why: String,
}

/// A line of a zone file that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeftOut {
    /// The record.
    pub record: String,
    /// Why.
    pub why: String,
}
