//! The box's settings, `/etc/roost/settings.json` in the image.

use crate::spec::NAME_ENV;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where the builder puts the settings and every service reads them.
pub const PATH: &str = "/etc/roost/settings.json";

/// Number of the format of [`Settings`]. It grows when an older box could not read them.
pub const FORMAT: u32 = 1;

/// Everything the owner chose in `roost.toml` that the box needs at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Host name of the box on the home network (an RFC 1123 label), e.g. `roost`.
    pub name: String,
    /// The mail domain, e.g. `example.org`, in lower case without a trailing dot.
    pub domain: String,
    /// The first mail account.
    pub account: Account,
    /// How the box gets its address.
    pub network: Network,
    /// SNTP servers (names or addresses), asked in turn; never empty.
    pub time_servers: Vec<String>,
    /// Mail options.
    pub mail: Mail,
    /// Whose updates the box takes.
    #[serde(default)]
    pub update: Update,
}

impl Settings {
    /// With the name that init has given this service ([`NAME_ENV`]): a card may have another one
    /// than its image.
    #[must_use]
    pub fn with_name_of_box(mut self) -> Self {
        if let Ok(name) = std::env::var(NAME_ENV) {
            self.name = name;
        }
        self
    }
}

/// A mail account made on first boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Local part and log-in name, e.g. `alice`; the address is `alice@<domain>`.
    pub name: String,
    /// The person's name as shown in mail, e.g. `Alice Example`.
    pub display_name: String,
    /// Crypt-style hash of the password (`$argon2id$…`, `$6$…`); never the password itself.
    pub password_hash: String,
}

/// Address configuration of the first wired interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "lowercase", deny_unknown_fields)]
pub enum Network {
    /// IPv4 by DHCP (RFC 2131), IPv6 by router advertisement (RFC 4862).
    Dhcp,
    /// A fixed IPv4 address; IPv6 still by router advertisement unless given.
    Static {
        /// The box's own address.
        address: Ipv4Addr,
        /// Prefix length in bits, 1–32.
        prefix: u8,
        /// Default gateway.
        gateway: Ipv4Addr,
        /// Resolvers.
        dns: Vec<IpAddr>,
        /// Fixed IPv6 address and prefix length in bits, if wanted.
        address6: Option<(Ipv6Addr, u8)>,
    },
}

/// Options of the mail service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Fully qualified name that the mail server calls itself, e.g. `mail.example.org`.
    pub host: String,
    /// Largest accepted message in bytes (SMTP SIZE, RFC 1870).
    pub max_message_size: u64,
    /// Whether incoming mail is rated by the spam filter.
    pub spam_filter: bool,
}

/// Whose updates the box takes; by default nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Public keys (Ed25519, 64 lower-case hexadecimal digits) whose bundles are taken.
    pub keys: Vec<String>,
    /// Where the box looks for a bundle once a day, if it shall.
    pub url: Option<String>,
    /// Hours of the day (UTC, 0 to 23) from and until which such a bundle may
    /// be installed; the span may go over midnight. `None`: at any time.
    pub window: Option<(u8, u8)>,
}
