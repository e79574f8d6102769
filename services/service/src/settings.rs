//! The box's settings: `/etc/roost/settings.json` in the image, and over it what the owner chose
//! in the browser ([`Chosen`]). [`Settings::load`] gives both together.

use crate::names::{AccountName, Domain};
use crate::spec::{Change, NAME_ENV};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where the builder puts the settings.
pub const PATH: &str = "/etc/roost/settings.json";
/// Where init keeps a [`Chosen`]. There is none before somebody has paired with the box.
pub const CHOSEN_PATH: &str = "/data/settings/chosen.json";
/// Environment variable with another place for [`PATH`], for tests.
pub const PATH_ENV: &str = "ROOST_SETTINGS";
/// Environment variable with another place for [`CHOSEN_PATH`], for tests.
pub const CHOSEN_PATH_ENV: &str = "ROOST_CHOSEN";

/// Number of the format of [`Settings`]. It grows when an older box could not read them.
pub const FORMAT: u32 = 1;

/// Everything the owner chose in `roost.toml` that the box needs at run time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Host name of the box on the home network (an RFC 1123 label), e.g. `roost`.
    pub name: String,
    /// Domain and first account; `None`: nobody has chosen them yet.
    #[serde(default)]
    pub mailbox: Option<Mailbox>,
    /// How the box gets its address.
    pub network: Network,
    /// SNTP servers (names or addresses), asked in turn; never empty.
    pub time_servers: Vec<String>,
    /// Mail options.
    pub mail: Mail,
    /// Whose updates the box takes.
    #[serde(default)]
    pub update: Update,
    /// The root of the DNS, in a network that has its own; by default the internet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
}

impl Settings {
    /// What holds on this box: the image's settings, over them what was chosen in the browser,
    /// over that the name that init has given this service ([`NAME_ENV`]).
    ///
    /// # Errors
    /// Says which file cannot be used. What was chosen is not left out then: a box that took its
    /// mail for another domain would turn mail away.
    pub fn load() -> Result<Self, LoadError> {
        let place = |name, or: &str| {
            std::env::var_os(name).map_or_else(|| PathBuf::from(or), PathBuf::from)
        };
        let image = place(PATH_ENV, PATH);
        let chosen = place(CHOSEN_PATH_ENV, CHOSEN_PATH);
        let mut settings = Self::load_from(&image, &chosen)?;
        if let Ok(name) = std::env::var(NAME_ENV) {
            settings.name = name;
        }
        Ok(settings)
    }

    /// [`Settings::load`] from these two files, with the image's name; the second may be missing.
    ///
    /// # Errors
    /// Says which file cannot be used.
    pub fn load_from(image: &Path, chosen: &Path) -> Result<Self, LoadError> {
        let fail = |path: &Path, why: String| LoadError {
            path: path.to_owned(),
            why,
        };
        let bytes = fs::read(image).map_err(|e| fail(image, e.to_string()))?;
        let settings: Self =
            serde_json::from_slice(&bytes).map_err(|e| fail(image, e.to_string()))?;
        match fs::read(chosen) {
            Ok(bytes) => {
                let chosen = Chosen::parse(&bytes).map_err(|why| fail(chosen, why.to_string()))?;
                Ok(settings.with(chosen))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(settings),
            Err(error) => Err(fail(chosen, error.to_string())),
        }
    }

    /// These, with what was chosen over them.
    #[must_use]
    pub fn with(mut self, chosen: Chosen) -> Self {
        self.mailbox = Some(Mailbox {
            domain: chosen.domain,
            account: chosen.account,
        });
        self
    }

    /// Full name of the mail server: the one that was set, or else `mail.` and the domain.
    /// `None` before there is a domain.
    pub fn mail_host(&self) -> Option<String> {
        let mailbox = self.mailbox.as_ref()?;
        let host = self.mail.host.clone();
        Some(host.unwrap_or_else(|| format!("mail.{}", mailbox.domain)))
    }
}

/// A settings file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

/// Whose mail it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailbox {
    /// The mail domain, e.g. `example.org`, in lower case without a trailing dot.
    pub domain: String,
    /// The first mail account.
    pub account: Account,
}

/// What the owner chose in the browser, [`CHOSEN_PATH`].
///
/// Fields that it does not know are left out, so that a version that went back can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// As in [`Mailbox`].
    pub domain: String,
    /// As in [`Mailbox`].
    pub account: Account,
}

/// Longest [`Chosen`] as JSON, in bytes: it has to fit into one request to init.
pub const MAX_CHOSEN: usize = 3072;
/// Longest name of a person, in bytes.
const MAX_DISPLAY_NAME: usize = 256;
/// Longest hash of a password, in bytes.
const MAX_HASH: usize = 512;

impl Chosen {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is none, or when something in it cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChosenError> {
        if bytes.len() > MAX_CHOSEN {
            return Err(ChosenError::Long);
        }
        // The parser's own words could repeat the hash.
        let chosen: Self =
            serde_json::from_slice(bytes).map_err(|e| ChosenError::Json(e.line(), e.column()))?;
        chosen.check()?;
        Ok(chosen)
    }

    /// What is another in it than in `before`; all of it if there was none.
    pub fn changes_from(&self, before: Option<&Self>) -> Vec<Change> {
        let changed = |same: fn(&Self, &Self) -> bool| before.is_none_or(|old| !same(self, old));
        let all = [
            (Change::Domain, changed(|new, old| new.domain == old.domain)),
            (
                Change::Account,
                changed(|new, old| {
                    let names = |one: &Self| {
                        let Account {
                            name, display_name, ..
                        } = &one.account;
                        (name.clone(), display_name.clone())
                    };
                    names(new) == names(old)
                }),
            ),
            (
                Change::Password,
                changed(|new, old| new.account.password_hash == old.account.password_hash),
            ),
        ];
        all.into_iter()
            .filter_map(|(change, made)| made.then_some(change))
            .collect()
    }

    /// Whether every value in it can be.
    ///
    /// # Errors
    /// Names the first that cannot, with the rule it breaks.
    pub fn check(&self) -> Result<(), ChosenError> {
        let Account {
            name,
            display_name,
            password_hash,
        } = &self.account;
        let value = |what, why: String| ChosenError::Value(what, why);
        Domain::normalised(&self.domain).map_err(|reason| value("domain", reason.message))?;
        AccountName::parse(name).map_err(|reason| value("account", reason.message))?;
        if display_name.trim().is_empty()
            || display_name.len() > MAX_DISPLAY_NAME
            || display_name.chars().any(char::is_control)
        {
            let why = format!("it has 1 to {MAX_DISPLAY_NAME} bytes, all of them printable");
            return Err(value("person's name", why));
        }
        if !password_hash.starts_with('$')
            || password_hash.len() > MAX_HASH
            || !password_hash.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(value("password's hash", "it is no hash".into()));
        }
        let length = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if length > MAX_CHOSEN {
            return Err(ChosenError::Long);
        }
        Ok(())
    }
}

/// Why something is no [`Chosen`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChosenError {
    /// It has too many bytes.
    #[error("it is longer than {MAX_CHOSEN} bytes")]
    Long,
    /// No JSON of a [`Chosen`].
    #[error("line {0}, column {1} cannot be understood")]
    Json(usize, usize),
    /// A value in it cannot be.
    #[error("the {0} in it cannot be used: {1}")]
    Value(&'static str, String),
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
    /// Fully qualified name that the mail server calls itself, if not `mail.` and the domain;
    /// see [`Settings::mail_host`].
    #[serde(default)]
    pub host: Option<String>,
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

/// A root of the DNS that is not the internet's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolver {
    /// Addresses of its servers; never empty.
    pub root_servers: Vec<IpAddr>,
    /// Its keys, as DS or DNSKEY records in presentation format (RFC 4034, sections 2.2 and 5.3), e.g.
    /// `. IN DS 20326 8 2 E06D…`; never empty.
    pub trust_anchors: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Settings {
        Settings {
            name: "roost".into(),
            mailbox: None,
            network: Network::Dhcp,
            time_servers: vec!["192.0.2.1".into()],
            mail: Mail {
                host: None,
                max_message_size: 1 << 20,
                spam_filter: true,
            },
            update: Update::default(),
            resolver: None,
        }
    }

    fn chosen() -> Chosen {
        Chosen {
            domain: "example.org".into(),
            account: Account {
                name: "alice".into(),
                display_name: "Alice Ægir".into(),
                password_hash: "$argon2id$v=19$m=7168,t=5,p=1$c2FsdA$aGFzaA".into(),
            },
        }
    }

    #[test]
    fn a_choice_says_what_it_changes() {
        let before = chosen();
        let changes = |change: fn(&mut Chosen)| {
            let mut after = before.clone();
            change(&mut after);
            after.changes_from(Some(&before))
        };
        assert_eq!(changes(|_| ()), []);
        assert_eq!(
            changes(|c| c.domain = "example.net".into()),
            [Change::Domain]
        );
        assert_eq!(
            changes(|c| c.account.name = "bob".into()),
            [Change::Account]
        );
        assert_eq!(
            changes(|c| c.account.display_name = "Bob".into()),
            [Change::Account]
        );
        assert_eq!(
            changes(|c| c.account.password_hash = "$6$x".into()),
            [Change::Password]
        );
        let all = [Change::Domain, Change::Account, Change::Password];
        assert_eq!(before.changes_from(None), all, "the first choice");
    }

    #[test]
    fn what_was_chosen_holds_over_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let [of_image, of_browser] =
            ["settings.json", "chosen.json"].map(|n| folder.path().join(n));
        let load = || Settings::load_from(&of_image, &of_browser);
        assert!(load().unwrap_err().to_string().contains("settings.json: "));
        fs::write(&of_image, serde_json::to_vec(&image()).unwrap()).unwrap();
        assert_eq!(load().unwrap(), image());
        assert_eq!(image().mail_host(), None);

        fs::write(&of_browser, serde_json::to_vec(&chosen()).unwrap()).unwrap();
        let both = load().unwrap();
        assert_eq!(both, image().with(chosen()));
        assert_eq!(both.mail_host().as_deref(), Some("mail.example.org"));
        let mut named = both;
        named.mail.host = Some("mx.example.org".into());
        assert_eq!(named.mail_host().as_deref(), Some("mx.example.org"));

        // Half a file is no reason to take mail for somebody else.
        fs::write(&of_browser, b"{\"domain\":").unwrap();
        let error = load().unwrap_err().to_string();
        assert!(
            error.ends_with("chosen.json: line 1, column 10 cannot be understood"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(chosen().check(), Ok(()));
        let refused = |change: fn(&mut Chosen)| {
            let mut chosen = chosen();
            change(&mut chosen);
            chosen.check().unwrap_err().to_string()
        };
        for (why, change) in [
            (
                "the domain in it",
                (|c| c.domain = "Example.org".into()) as fn(&mut Chosen),
            ),
            ("the domain in it", |c| c.domain = "roost.local".into()),
            ("the account in it", |c| c.account.name = "root".into()),
            ("the account in it", |c| c.account.name = "a\nb".into()),
            ("the person's name", |c| c.account.display_name = " ".into()),
            ("the person's name", |c| {
                c.account.display_name = "a\u{1b}[2J".into()
            }),
            ("the person's name", |c| {
                c.account.display_name = "x".repeat(257)
            }),
            ("the password's hash", |c| {
                c.account.password_hash = "hunter2".into()
            }),
            ("the password's hash", |c| {
                c.account.password_hash = "$6$a b".into()
            }),
            ("the password's hash", |c| {
                c.account.password_hash = format!("${}", "x".repeat(600))
            }),
        ] {
            assert!(refused(change).starts_with(why), "{}", refused(change));
        }
        assert_eq!(
            Chosen::parse(&vec![b' '; MAX_CHOSEN + 1]),
            Err(ChosenError::Long)
        );
        let secret = Chosen::parse(
            br#"{"domain":"example.org","account":{"name":5,"password_hash":"$6$x"}}"#,
        );
        assert!(!secret.unwrap_err().to_string().contains("$6$"));
    }

    #[test]
    fn a_later_version_may_have_kept_more() {
        let json = serde_json::to_string(&chosen()).unwrap();
        let more = json.replacen('{', "{\"theme\":\"dark\",", 1);
        assert_eq!(Chosen::parse(more.as_bytes()), Ok(chosen()));
    }
}
