//! `roost.toml`: read once, checked once, and from then on a [`Config`].
//!
//! - [`fields`] defines every key; [`schema`] says what a definition is.
//! - [`read`] walks the file by the definitions and collects all that is wrong.
//! - [`values`], [`names`], [`hash`], [`network`], [`relay`], [`resolver`] and [`update`] check what the keys hold.
//! - [`page`] makes the reference page and the commented file from the definitions.
//! - [`problem`] shows one fault with its place.

pub mod fields;
pub mod hash;
pub mod names;
pub mod network;
pub mod page;
pub mod problem;
pub mod read;
pub mod relay;
mod resolver;
pub mod schema;
#[cfg(test)]
mod tests;
mod update;
pub mod values;

use crate::error::Failure;
use hash::PasswordHash;
use names::{AccountName, BoxName, Domain};
use problem::Problem;
use read::{MAKE_A_HASH, Reader, Reason, Report, kind_of, nearest, printable};
use roost_bundle::PublicKey;
use roost_service::settings::{self, Network, Settings};
use schema::{AnyField, Section};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// A larger file is no `roost.toml` (bytes).
const MAX_SIZE: u64 = 1 << 20;
/// Faults of TOML's grammar shown at most: one missing quote can cause many.
const MAX_SYNTAX_PROBLEMS: usize = 5;

/// A checked `roost.toml`: every value is valid, and all agree with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name of the box on the home network.
    pub name: BoxName,
    /// Domain and first account; none: whoever pairs with the box chooses them.
    pub mailbox: Option<Mailbox>,
    /// How the box gets its address.
    pub network: Network,
    /// Time servers; never empty.
    pub time_servers: Vec<String>,
    /// Mail options.
    pub mail: Mail,
    /// Whose updates the box takes.
    pub update: Update,
    /// A root of the DNS that is not the internet's.
    pub resolver: Option<settings::Resolver>,
    /// The box's public end.
    pub relay: relay::Relay,
    /// Debian mirror without a slash at its end; none means the one that apt uses.
    pub mirror: Option<String>,
    /// Programs that replace those of Roost.
    pub overrides: BTreeMap<Component, Override>,
}

/// Whose mail it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// The mail domain.
    pub domain: Domain,
    /// The first account.
    pub account: Account,
}

/// The first account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Log-in name.
    pub name: AccountName,
    /// The person's name.
    pub display_name: String,
    /// Hash of the password.
    pub password_hash: PasswordHash,
}

/// Mail options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Full name of the mail server; none: `mail.` and the domain.
    pub host: Option<Domain>,
    /// Largest accepted message in bytes.
    pub max_message_size: u64,
    /// Whether incoming mail is rated.
    pub spam_filter: bool,
}

/// Whose updates the box takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// Keys that sign updates; empty: none are taken.
    pub keys: Vec<PublicKey>,
    /// Where the box looks for updates of its own accord.
    pub url: Option<String>,
    /// Hours (UTC) from and until which it may install what it finds there.
    pub window: Option<(u8, u8)>,
}

/// A program of the box that may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The mail service.
    Mail,
    /// Process 1.
    Init,
    /// The program of the initramfs.
    Stage1,
    /// The update service.
    Updater,
    /// The web portal.
    Portal,
    /// The way to the relay.
    Tunnel,
    /// The name server.
    Dns,
    /// The certificate service.
    Certificates,
    /// The box's own resolver.
    Resolver,
    /// The backup service.
    Backup,
}

impl Component {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "mail" => Some(Self::Mail),
            "init" => Some(Self::Init),
            "stage1" => Some(Self::Stage1),
            "updater" => Some(Self::Updater),
            "portal" => Some(Self::Portal),
            "tunnel" => Some(Self::Tunnel),
            "dns" => Some(Self::Dns),
            "certificates" => Some(Self::Certificates),
            "resolver" => Some(Self::Resolver),
            "backup" => Some(Self::Backup),
            _ => None,
        }
    }
}

/// A program built elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The file, relative paths already joined to the folder of `roost.toml`.
    pub path: PathBuf,
    /// Its SHA-256 in lower-case hex; whoever reads the file checks it.
    pub sha256: String,
}

/// Why a `roost.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has faults; at least one.
    #[error("{} {}", path.display(), match problems.len() { 1 => "has a fault".to_owned(), n => format!("has {n} faults") })]
    Faulty {
        /// The file.
        path: PathBuf,
        /// All faults in the order of the file.
        problems: Vec<Problem>,
    },
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let what = error.to_string();
        match error {
            ConfigError::Unreadable { source, .. } => {
                let failure = Self::usage(what);
                let failure = match source.kind() {
                    std::io::ErrorKind::NotFound => {
                        failure.hint("`roost init` writes one; --config names one elsewhere")
                    }
                    _ => failure,
                };
                failure.because(source)
            }
            ConfigError::Faulty { problems, .. } => Self::usage(what)
                .problems(problems)
                .hint("docs/roost-toml.md describes every key; nothing was done"),
        }
    }
}

impl Config {
    /// Reads and checks the file at `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_SIZE {
            return Err(unreadable(std::io::Error::other(format!(
                "it has {size} bytes, more than any roost.toml"
            ))));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &bytes, folder).map_err(|problems| {
            ConfigError::Faulty {
                path: path.to_owned(),
                problems,
            }
        })
    }

    /// Checks the bytes of a file that the user knows as `file`, in `folder`.
    pub fn parse(file: &str, bytes: &[u8], folder: &Path) -> Result<Self, Vec<Problem>> {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => {
                let at = e.valid_up_to();
                // Broken bytes become U+FFFD after `at`, so the place stays the same.
                let text = String::from_utf8_lossy(bytes);
                let mut report = Report::new(file, &text);
                report.add(
                    at..at,
                    Reason::new("the file is not UTF-8 from here on").hint("save it as UTF-8 text"),
                );
                return Err(report.into_problems());
            }
        };
        let mut report = Report::new(file, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What follows a fault of the grammar is guesswork: nothing else is checked.
            for error in errors.iter().take(MAX_SYNTAX_PROBLEMS) {
                let span = error.span().unwrap_or_else(|| report.end());
                report.add(
                    span,
                    Reason::new(format!("this is no TOML: {}", error.message().trim())),
                );
            }
            return Err(report.into_problems());
        }
        let config = Self::resolve(document.get_ref(), folder, &mut report);
        let problems = report.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => {
                assert!(!problems.is_empty(), "a value was refused without a reason");
                Err(problems)
            }
        }
    }

    fn resolve(document: &DeTable<'_>, folder: &Path, report: &mut Report<'_>) -> Option<Self> {
        unknown_tables(document, report);
        let account = plain(document, "account", report);
        let network = plain(document, "network", report);
        let time = plain(document, "time", report);
        let mail = plain(document, "mail", report);
        let update = plain(document, "update", report);
        let resolver = plain(document, "resolver", report);
        let relay = plain(document, "relay", report);
        let build = plain(document, "build", report);
        let the_box = plain(document, "box", report);

        // First everything is read, then `?` drops what is incomplete: all faults are wanted.
        let name = the_box.get(&fields::BOX_NAME, report);
        let domain = the_box.get(&fields::BOX_DOMAIN, report);
        let account_name = account.get(&fields::ACCOUNT_NAME, report);
        let display_name = account.get(&fields::ACCOUNT_DISPLAY_NAME, report);
        let password_hash = account.get(&fields::ACCOUNT_PASSWORD_HASH, report);
        let network = network::read(&network, report);
        let time_servers = time.get(&fields::TIME_SERVERS, report);
        let host = mail.get(&fields::MAIL_HOST, report);
        let max_message_size = mail.get(&fields::MAIL_MAX_MESSAGE_SIZE, report);
        let spam_filter = mail.get(&fields::MAIL_SPAM_FILTER, report);
        let update = update::read(&update, report);
        let resolver = resolver::read(&resolver, report);
        let relay = relay::read(&relay, report);
        let mirror = build.get(&fields::BUILD_MIRROR, report);
        let overrides = overrides(document, folder, report);

        let chosen: [(&Reader<'_, '_>, &dyn AnyField, &str); 3] = [
            (
                &the_box,
                &fields::BOX_DOMAIN,
                "which the account belongs to",
            ),
            (
                &account,
                &fields::ACCOUNT_NAME,
                "which mail for the domain goes to",
            ),
            (
                &account,
                &fields::ACCOUNT_PASSWORD_HASH,
                "which the account needs",
            ),
        ];
        // All of them or none: half an account is nobody's.
        let given = chosen
            .iter()
            .any(|(table, key, _)| table.span(*key).is_some())
            || account.span(&fields::ACCOUNT_DISPLAY_NAME).is_some();
        for (table, key, why) in chosen {
            if given && table.span(key).is_none() {
                let hint = match key.key() {
                    "password_hash" => MAKE_A_HASH.to_owned(),
                    name => format!("add a line like  {name} = {}", key.example()),
                };
                let hint = format!(
                    "{hint}; or leave out all of [account] and the domain, and choose them in the browser"
                );
                table.missing(key, &format!(", {why}"), &hint, report);
            }
        }
        if host.is_none()
            && let Some(domain) = &domain
            && domain.child("mail").is_none()
        {
            let reason = Reason::new("the domain is too long to put `mail.` before it")
                .hint("give the mail server's name as `host` in [mail]");
            report.add(the_box.span(&fields::BOX_DOMAIN)?, reason);
            return None;
        }
        let mailbox = match given {
            false => None,
            true => {
                let name = account_name?;
                Some(Mailbox {
                    domain: domain?,
                    account: Account {
                        display_name: display_name.unwrap_or_else(|| name.as_str().to_owned()),
                        name,
                        password_hash: password_hash?,
                    },
                })
            }
        };
        Some(Self {
            name: name?,
            mailbox,
            network: network?,
            time_servers: time_servers?,
            mail: Mail {
                host,
                max_message_size: max_message_size?,
                spam_filter: spam_filter?,
            },
            update: update?,
            resolver,
            relay: relay?,
            mirror,
            overrides,
        })
    }

    /// The program that replaces the component called `name`, if any.
    pub fn component(&self, name: &str) -> Option<&Override> {
        self.overrides.get(&Component::from_name(name)?)
    }

    /// What the owner's boxes of one kind are called, e.g. by the folder with their key: the domain,
    /// or the box's own name.
    pub fn owner(&self) -> String {
        owner(
            self.mailbox.as_ref().map(|mailbox| &mailbox.domain),
            &self.name,
        )
    }

    /// [`Config::settings`] as the box reads them.
    pub fn settings_json(&self) -> String {
        serde_json::to_string_pretty(&self.settings()).expect("settings are plain data")
    }

    /// What the box needs of it at run time.
    pub fn settings(&self) -> Settings {
        Settings {
            name: self.name.as_str().to_owned(),
            mailbox: (self.mailbox.as_ref()).map(|Mailbox { domain, account }| settings::Mailbox {
                domain: domain.to_string(),
                account: settings::Account {
                    name: account.name.as_str().to_owned(),
                    display_name: account.display_name.clone(),
                    password_hash: account.password_hash.as_str().to_owned(),
                },
            }),
            network: self.network.clone(),
            time_servers: self.time_servers.clone(),
            mail: settings::Mail {
                host: self.mail.host.as_ref().map(Domain::to_string),
                max_message_size: self.mail.max_message_size,
                spam_filter: self.mail.spam_filter,
            },
            update: settings::Update {
                keys: self.update.keys.iter().map(PublicKey::to_string).collect(),
                url: self.update.url.clone(),
                window: self.update.window,
            },
            resolver: self.resolver.clone(),
        }
    }
}

/// [`Config::owner`].
pub fn owner(domain: Option<&Domain>, name: &BoxName) -> String {
    match domain {
        Some(domain) => domain.to_string(),
        None => format!("{}.local", name.as_str()),
    }
}

fn section(name: &str) -> &'static Section {
    fields::SECTIONS
        .iter()
        .find(|s| s.name == name)
        .expect("only defined tables are asked for")
}

/// A reader of the table `name`.
fn plain<'t, 'i>(
    document: &'t DeTable<'i>,
    name: &'static str,
    report: &mut Report<'_>,
) -> Reader<'t, 'i> {
    let table = document
        .get_key_value(name)
        .and_then(|(key, node)| as_table(key.span(), name, node, report));
    Reader::new(format!("[{name}]"), section(name), table, report)
}

/// The table behind a name; anything else is reported.
fn as_table<'t, 'i>(
    name_span: Range<usize>,
    name: &str,
    node: &'t read::Node<'i>,
    report: &mut Report<'_>,
) -> Option<(Range<usize>, &'t DeTable<'i>)> {
    match node.get_ref() {
        DeValue::Table(table) => Some((name_span, table)),
        other => {
            let reason = Reason::new(format!("`{name}` must be a table, not {}", kind_of(other)))
                .hint(format!("write a line  [{name}]  and the keys below it"));
            report.add(name_span, reason);
            None
        }
    }
}

/// Reports top-level names that are not defined.
fn unknown_tables(document: &DeTable<'_>, report: &mut Report<'_>) {
    let known: Vec<&str> = fields::SECTIONS.iter().map(|s| s.name).collect();
    for (key, value) in document.iter() {
        let name = key.get_ref();
        if known.contains(&name.as_ref()) {
            continue;
        }
        let owner = fields::SECTIONS
            .iter()
            .find(|s| s.members.is_empty() && s.fields.iter().any(|f| f.key() == name));
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        let (kind, shown) = if is_table {
            ("table", format!("[{}]", printable(name)))
        } else {
            ("key", format!("`{}`", printable(name)))
        };
        let hint = match (nearest(name, &known), owner) {
            (Some(near), _) if is_table => format!("did you mean [{near}]?"),
            (_, Some(owner)) if !is_table => format!(
                "`{name}` belongs in [{}]: put it below that line",
                owner.name
            ),
            (Some(near), _) => format!("did you mean the table [{near}]?"),
            _ => format!(
                "tables are {}",
                known
                    .iter()
                    .map(|k| format!("[{k}]"))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        };
        report.add(
            key.span(),
            Reason::new(format!("unknown {kind} {shown}")).hint(hint),
        );
    }
}

/// Reads `[components.*]`.
fn overrides(
    document: &DeTable<'_>,
    folder: &Path,
    report: &mut Report<'_>,
) -> BTreeMap<Component, Override> {
    let components = section("components");
    let mut found = BTreeMap::new();
    let Some((_, table)) = document
        .get_key_value("components")
        .and_then(|(key, node)| as_table(key.span(), "components.mail", node, report))
    else {
        return found;
    };
    for (key, node) in table.iter() {
        let name = key.get_ref();
        let Some(component) = Component::from_name(name) else {
            let hint = match nearest(name, components.members) {
                Some(near) => format!("did you mean [components.{near}]?"),
                None => format!(
                    "components that can be replaced are {}",
                    components.members.join(", ")
                ),
            };
            report.add(
                key.span(),
                Reason::new(format!("unknown component `{}`", printable(name))).hint(hint),
            );
            continue;
        };
        let table = as_table(key.span(), &format!("components.{name}"), node, report);
        if table.is_none() {
            continue;
        }
        let reader = Reader::new(format!("[components.{name}]"), components, table, report);
        let path = reader.get(&fields::COMPONENT_PATH, report);
        let sha256 = reader.get(&fields::COMPONENT_SHA256, report);
        if let (Some(path), Some(sha256)) = (path, sha256) {
            found.insert(
                component,
                Override {
                    path: folder.join(path),
                    sha256,
                },
            );
        }
    }
    found
}
