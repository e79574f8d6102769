//! What the checks are decided by: everything that was found out, before anything is decided.

use crate::time::Wall;
use roost_service::control::BoxStatus;
use roost_service::dns::{Check, Record};
use roost_service::mail::{Overview, QueuedMessage};
use roost_service::update::UpdateStatus;
use roost_service::{backup, certificates, dns, resolver, tunnel};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// What somebody said, or why nobody did, in words that go on behind a colon.
pub type Told<T> = Result<T, String>;

/// Everything that was found out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// When, if the box's clock is set.
    pub now: Option<Wall>,
    /// The box's name as it was given.
    pub name: String,
    /// Its name on the network, which another machine may have.
    pub announced: String,
    /// Whether the spam filter is on in the box's settings.
    pub spam_filter: bool,
    /// What init says.
    pub machine: Told<BoxStatus>,
    /// What the kernel has logged since the start.
    pub kernel_log: Told<Vec<String>>,
    /// What init has logged since the start.
    pub init_log: Told<Vec<String>>,
    /// Degrees Celsius of the processor, where the machine tells.
    pub degrees: Option<f64>,
    /// What the card says of its own age, if it does.
    pub life: Option<Life>,
    /// Milliseconds by which time servers are ahead of the box.
    pub clock_offset: Told<i64>,
    /// What the box's resolver says of itself.
    pub resolver: Told<resolver::Status>,
    /// What the tunnel says.
    pub tunnel: Told<tunnel::Status>,
    /// Public addresses at which the internet reaches the box.
    pub outside: Vec<IpAddr>,
    /// What the relay says of itself; `None`: its address within the tunnel is not known.
    pub relay: Option<Told<RelaySays>>,
    /// What the name server says.
    pub dns: Told<dns::Status>,
    /// What answers of the name server were found wrong on the network, in whole sentences.
    pub alarms: Vec<String>,
    /// Of each domain: its records, as they should be.
    pub records: BTreeMap<String, Told<Vec<Record>>>,
    /// Of each domain: what each name server answers.
    pub checks: BTreeMap<String, Told<Check>>,
    /// What the world is told, through the box's resolver; by [`key`].
    pub names: BTreeMap<String, Told<Answer>>,
    /// What the certificate service says.
    pub certificates: Told<certificates::Status>,
    /// What the box's own ports show, asked from the box.
    pub own_ports: BTreeMap<u16, Told<Shown>>,
    /// What ports show at the public address, asked as `gather/ports.rs` says.
    pub public_ports: BTreeMap<u16, Told<Shown>>,
    /// Whether other mail servers are reached.
    pub port25: Told<Port25>,
    /// What blocklists say; `None`: the public address is not known.
    pub lists: Option<Vec<Listing>>,
    /// What the mail service says.
    pub mail: Told<Overview>,
    /// What waits to be sent.
    pub queue: Told<Queue>,
    /// Texts of the domains' policies on encrypted delivery.
    pub policies: BTreeMap<String, String>,
    /// How backups stand.
    pub backups: Told<backup::BackupStatus>,
    /// Where updates stand.
    pub updates: Told<UpdateStatus>,
    /// How the portal is locked.
    pub access: Told<Access>,
}

/// What a card says of its own age (JEDEC eMMC 5.0, `EXT_CSD`): tenths of its life that are used, 1 to 10;
/// 11: more than it was made for; 0: it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Of memory of type A.
    pub a: u8,
    /// Of memory of type B.
    pub b: u8,
    /// 1: spare blocks are there; 2: four fifths of them are used; 3: nearly all; 0: it does not say.
    pub spare: u8,
}

/// What the relay says of itself (`terraform/relay/modules/userdata/files/health`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelaySays {
    /// Seconds since its start.
    pub uptime: u64,
    /// Who answers for the first name server: `box` or `relay`.
    pub dns: String,
    /// Serial number of its copy of each zone that it knows.
    #[serde(default)]
    pub zones: BTreeMap<String, Option<u32>>,
    /// Whether it waits for a restart.
    #[serde(default)]
    pub reboot_required: bool,
    /// Connections that it follows, and how many it can.
    #[serde(default)]
    pub conntrack: Option<u64>,
    /// See `conntrack`.
    #[serde(default)]
    pub conntrack_max: Option<u64>,
}

/// What the DNS says of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Contents of the records, in lower case without a dot at the end if they are names; sorted.
    pub values: Vec<String>,
    /// Whether the resolver has found the signatures good (RFC 4035, section 3.2.3).
    pub secure: bool,
}

/// The key of a question in [`Facts::names`].
pub fn key(name: &str, kind: &str) -> String {
    format!("{} {kind}", name.trim_end_matches('.').to_ascii_lowercase())
}

/// The name under which an address leads back to a name (RFC 1035, section 3.5).
pub fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

/// What a port shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// First line of a server that speaks first.
    pub greeting: String,
    /// Version of TLS, e.g. `TLSv1_3`; none: it was not asked for, or not offered.
    pub protocol: Option<String>,
    /// SHA-256 of the public key in the certificate, in hex.
    pub key_sha256: Option<String>,
}

/// Whether other mail servers are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port25 {
    /// `None`: it could not be tried.
    pub open: Option<bool>,
    /// In a sentence.
    pub why: String,
}

/// What a blocklist says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The list.
    pub name: String,
    /// Whether it has the address; `None`: it did not answer, would not, or is given up.
    pub listed: Option<bool>,
    /// In a sentence.
    pub why: String,
    /// Page on which an address can be taken from it.
    pub removal: String,
}

/// What waits to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The oldest messages.
    pub oldest: Vec<QueuedMessage>,
}

/// How the portal is locked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Whether the box has an owner.
    pub owner: bool,
    /// Whether an app's code is asked for.
    pub app: bool,
    /// How many passkeys there are.
    pub passkeys: usize,
    /// Entries of the last day in the log of doors that the owner should look at.
    pub alarming: usize,
}

impl Facts {
    /// The domains that the box answers for.
    pub fn domains(&self) -> Vec<&str> {
        match &self.dns {
            Ok(dns) => dns.zones.iter().map(|zone| zone.domain.as_str()).collect(),
            Err(_) => self.records.keys().map(String::as_str).collect(),
        }
    }

    /// Name of the mail server.
    pub fn host(&self) -> Option<&str> {
        let mail = self.mail.as_ref().ok().map(|mail| mail.host.as_str());
        mail.filter(|host| !host.is_empty())
    }

    /// The address that mail leaves by.
    pub fn address4(&self) -> Option<Ipv4Addr> {
        self.outside.iter().find_map(|address| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        })
    }

    /// What the world is told of a name; an error if it was not asked.
    pub fn asked(&self, name: &str, kind: &str) -> Result<&Answer, &str> {
        match self.names.get(&key(name, kind)) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(why)) => Err(why),
            None => Err("it was not asked"),
        }
    }

    /// Whether the tunnel has a relay; `None`: it does not say.
    pub fn has_relay(&self) -> Option<bool> {
        let tunnel = self.tunnel.as_ref().ok()?;
        Some(tunnel.state != tunnel::State::Unconfigured)
    }
}
