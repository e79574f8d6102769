//! What a service is and what it may do: `service.toml` beside each service's source.
//!
//! The builder validates the specs ([`validate`]) and renders them into one
//! table, so that init parses nothing written by hand. Whatever a service may
//! do beyond computing in its own folder stands in its spec with the reason
//! why ([`Why`]): what is not listed, it cannot do.

mod limits;

pub use limits::{CardRoom, Limits, Rest};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Where the builder puts the table (a JSON array of [`ServiceSpec`]).
pub const PATH: &str = "/etc/roost/services.json";

/// Longest service name in bytes: it is also a process name (15 bytes in
/// Linux) and a folder.
pub const MAX_NAME: usize = 15;
/// Largest user number; above it lie systemd's and the kernel's reserved ones.
pub const MAX_USER: u32 = 60_000;
/// Most seconds that a service may take to become ready or to stop.
pub const MAX_TIMEOUT_S: u32 = 3600;
/// Names that mean something else in the control protocol.
pub const RESERVED_NAMES: [&str; 2] = ["init", "kernel"];

/// Why a service has a right: one sentence, for whoever reviews it.
pub type Why = String;

/// One supervised program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Short name, e.g. `mail`; also its folder under `/data/services` and its log tag.
    pub name: String,
    /// What the service is for, in one sentence.
    pub description: String,
    /// Absolute path of the program in the image, e.g. `/bin/mail`.
    pub program: String,
    /// Numeric user and group the program runs as; never 0.
    pub user: u32,
    /// Services that must be ready before this one starts.
    #[serde(default)]
    pub after: Vec<String>,
    /// Services that it cannot do without for a moment: when the process of one of them has ended,
    /// it is stopped and starts again after it. Each is in `after` too. Everyone else reconnects.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restart_with: BTreeMap<String, Why>,
    /// What makes init start it again when the owner has changed it while the box runs. Other
    /// settings change only with the image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub restart_on: BTreeMap<Change, Why>,
    /// Whether the box counts as up only while this service is ready.
    pub required: bool,
    /// Number of the format of what it keeps in its data folder. A version
    /// with a higher number changes the data on its first start and keeps what
    /// was there for a way back.
    #[serde(default = "first_format")]
    pub data_format: u32,
    /// Whether it gets what [`crate::card`] says, as JSON in the file [`card_file`]: the pairing
    /// code and the first identity are for one service only.
    #[serde(default)]
    pub card: bool,
    /// Whether it can prove that it works ([`crate::probe`]). Required services
    /// that can are asked before an update is committed.
    #[serde(default)]
    pub probe: bool,
    /// Seconds from start within which it must say that it is ready.
    pub ready_timeout_s: u32,
    /// Seconds it gets after SIGTERM before SIGKILL.
    pub stop_timeout_s: u32,
    /// Why it reads the owner's settings ([`crate::settings`]): it sees their files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Why>,
    /// Capabilities kept in all of its sets, e.g. `net_admin`.
    #[serde(default)]
    pub capabilities: BTreeMap<Capability, Why>,
    /// Ports that it may bind, e.g. `tcp/25`, beside those that the kernel chooses (port 0).
    #[serde(default)]
    pub ports: BTreeMap<Port, Why>,
    /// What the service may ask init for, beyond nothing.
    #[serde(default)]
    pub control: BTreeMap<Right, Why>,
    /// Devices that it may open; init makes nodes for them ([`Device::path`]).
    #[serde(default)]
    pub devices: BTreeMap<Device, Why>,
    /// Files and folders, other than its program, that it sees (read only). Of a folder that init
    /// or the kernel changes it sees the changes, of a file that is replaced it does not.
    #[serde(default)]
    pub files: BTreeMap<String, Why>,
    /// Services whose sockets ([`run_folder`]) it sees.
    #[serde(default)]
    pub sockets: BTreeMap<String, Why>,
    /// Namespaces that it shares with init instead of having its own.
    #[serde(default)]
    pub shared: BTreeMap<Namespace, Why>,
    /// What it may use up.
    #[serde(default)]
    pub limits: Limits,
}

impl ServiceSpec {
    /// A spec with no right at all, for tests.
    pub fn plain(name: &str, user: u32) -> Self {
        Self {
            name: name.to_owned(),
            description: "For a test.".to_owned(),
            program: format!("/bin/{name}"),
            user,
            after: Vec::new(),
            restart_with: BTreeMap::new(),
            restart_on: BTreeMap::new(),
            required: true,
            data_format: first_format(),
            card: false,
            probe: false,
            ready_timeout_s: 10,
            stop_timeout_s: 5,
            settings: None,
            capabilities: BTreeMap::new(),
            ports: BTreeMap::new(),
            control: BTreeMap::new(),
            devices: BTreeMap::new(),
            files: BTreeMap::new(),
            sockets: BTreeMap::new(),
            shared: BTreeMap::new(),
            limits: Limits::default(),
        }
    }

    /// Every reason that it gives, with the right that it is for, e.g. `ports.tcp/25`.
    pub fn reasons(&self) -> Vec<(String, &Why)> {
        fn of<'a, K: fmt::Display>(
            table: &'static str,
            rights: &'a BTreeMap<K, Why>,
        ) -> impl Iterator<Item = (String, &'a Why)> {
            rights
                .iter()
                .map(move |(right, why)| (format!("{table}.{right}"), why))
        }
        self.settings
            .iter()
            .map(|why| ("settings".to_owned(), why))
            .chain(of("restart_with", &self.restart_with))
            .chain(of("restart_on", &self.restart_on))
            .chain(of("capabilities", &self.capabilities))
            .chain(of("ports", &self.ports))
            .chain(of("control", &self.control))
            .chain(of("devices", &self.devices))
            .chain(of("files", &self.files))
            .chain(of("sockets", &self.sockets))
            .chain(of("shared", &self.shared))
            .collect()
    }
}

/// Environment variable with [`ServiceSpec::data_format`].
pub const DATA_FORMAT_ENV: &str = "ROOST_DATA_FORMAT";

/// Environment variable with the host name of this box: its card's, or else that of the settings.
pub const NAME_ENV: &str = "ROOST_NAME";

fn first_format() -> u32 {
    1
}

/// Environment variable with [`run_folder`].
pub const RUN_ENV: &str = "ROOST_RUN";

/// The folder for a service's sockets: it alone may write there, and who lists it
/// in `sockets` sees it.
pub fn run_folder(service: &str) -> std::path::PathBuf {
    std::path::Path::new("/run/services").join(service)
}

/// Where a service with [`ServiceSpec::card`] finds the card ([`crate::card::Card`] as JSON),
/// readable by it alone. No file: `roost flash` told this card nothing.
pub fn card_file(service: &str) -> std::path::PathBuf {
    run_folder(service).join("card")
}

/// Folder with the partitions' nodes of services, each owned by the one service that may use it.
pub const DEVICES: &str = "/dev/roost";

/// Shows a unit variant as serde writes it.
macro_rules! displayed {
    ($($kind:ident),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    )*};
}
displayed!(Right, Device, Capability, Namespace, Change);

/// A request to init that a service may make (see [`crate::control::Request`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// `status` and `logs`.
    Look,
    /// `restart`: stop and start a service.
    Restart,
    /// `reboot`, with or without a trial, and `end_trial`.
    Reboot,
    /// `announce`: what the screen shows.
    Announce,
    /// `configure`: domain and first account.
    Configure,
    /// `factory_reset`.
    Reset,
    /// `disks`, `take_disk` and `release_disk`; of one service, whose user owns the folder on the disk.
    Disk,
}

/// A part of the settings that changes while the box runs ([`crate::settings::Chosen`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The mail domain.
    Domain,
    /// The first account's name, or that of its person.
    Account,
    /// The first account's password.
    Password,
}

/// A device that a service may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The slot that runs; read only.
    ActiveSlot,
    /// The other slot.
    InactiveSlot,
    /// Partition 1, which decides which slot boots.
    Selector,
    /// The kernel's door to network interfaces whose packets a program carries.
    Tun,
}

impl Device {
    /// Its name in a spec, and that of a partition's node in [`DEVICES`].
    pub const fn node(self) -> &'static str {
        match self {
            Self::ActiveSlot => "active_slot",
            Self::InactiveSlot => "inactive_slot",
            Self::Selector => "selector",
            Self::Tun => "tun",
        }
    }

    /// Where its node is.
    pub fn path(self) -> std::path::PathBuf {
        match self {
            // Where every program looks for it (linux/Documentation/networking/tuntap.rst).
            Self::Tun => "/dev/net/tun".into(),
            partition => std::path::Path::new(DEVICES).join(partition.node()),
        }
    }
}

/// A namespace that a service may share with init (namespaces(7)). Those of mounts, processes,
/// IPC, host name and control groups are shared by none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// Users: a capability counts for the box's network only here.
    User,
    /// The box's network; without it a service has a loopback interface of its own, which is down.
    Network,
}

/// A port that a service may bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its number; never 0. `None`: any, because the owner chooses it while the box runs.
    pub number: Option<u16>,
}

/// What a [`Port`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        match self.number {
            Some(number) => write!(f, "{protocol}/{number}"),
            None => write!(f, "{protocol}/any"),
        }
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(protocol, number)| {
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return None,
            };
            let number = match number {
                "any" => None,
                number => Some(number.parse().ok().filter(|number| *number != 0)?),
            };
            Some(Self { protocol, number })
        });
        parts.ok_or_else(|| format!("{text:?} is no port: write tcp/25, udp/53 or udp/any"))
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A Linux capability that a service may keep (capabilities(7)). None is needed to bind a port:
/// see [`ServiceSpec::ports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Configure interfaces, routes and packet filters.
    NetAdmin,
}

impl Capability {
    /// The capability's bit number in the kernel's sets (`linux/capability.h`).
    pub const fn number(self) -> u32 {
        match self {
            Self::NetAdmin => 12,
        }
    }
}

/// Why a table of services is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// The name is empty, too long, or has other characters than `a-z`, `0-9` and `-`.
    #[error(
        "service name {0:?} is not usable: 1 to {MAX_NAME} of a-z, 0-9 and '-', beginning with a letter"
    )]
    BadName(String),
    /// The name is one of [`RESERVED_NAMES`].
    #[error("service name {0:?} is taken by the system itself")]
    ReservedName(String),
    /// Two services have the same name.
    #[error("two services are called {0:?}")]
    DuplicateName(String),
    /// Two services would share a user and could read each other's files.
    #[error("services {0:?} and {1:?} have the same user {2}")]
    SharedUser(String, String, u32),
    /// The user is 0 or above [`MAX_USER`].
    #[error("service {name:?}: user {user} is not between 1 and {MAX_USER}")]
    BadUser {
        /// The service.
        name: String,
        /// Its user number.
        user: u32,
    },
    /// The program is not an absolute, plain path.
    #[error("service {name:?}: program {program:?} is not an absolute path without '..'")]
    BadProgram {
        /// The service.
        name: String,
        /// Its program.
        program: String,
    },
    /// A time-out is zero or above [`MAX_TIMEOUT_S`].
    #[error("service {name:?}: {field} is {seconds}, not between 1 and {MAX_TIMEOUT_S} seconds")]
    BadTimeout {
        /// The service.
        name: String,
        /// `ready_timeout_s` or `stop_timeout_s`.
        field: &'static str,
        /// Its value.
        seconds: u32,
    },
    /// A right without a reason.
    #[error("service {name:?}: {right} does not say why")]
    NoReason {
        /// The service.
        name: String,
        /// The right, e.g. `ports.tcp/25`.
        right: String,
    },
    /// A file that it shall see is not an absolute, plain path.
    #[error("service {name:?}: file {file:?} is not an absolute path without '..'")]
    BadFile {
        /// The service.
        name: String,
        /// The path.
        file: String,
    },
    /// A right that counts for nothing without another one.
    #[error("service {name:?}: {right} counts for nothing without shared.{without}")]
    Idle {
        /// The service.
        name: String,
        /// The right, e.g. `ports.tcp/25`.
        right: String,
        /// What is missing.
        without: Namespace,
    },
    /// The right that one service may have is listed by two.
    #[error("services {0:?} and {1:?} both list control.disk: a disk is lent to one service only")]
    TwoDisks(String, String),
    /// It shall see the sockets of a service that is not in the table.
    #[error("service {name:?} talks to {other:?}, which does not exist")]
    UnknownSocket {
        /// The service.
        name: String,
        /// The missing one.
        other: String,
    },
    /// A limit is out of range.
    #[error("service {name:?}: limits.{field} is {value}, not between {least} and {most}")]
    BadLimit {
        /// The service.
        name: String,
        /// Its limit.
        field: &'static str,
        /// What it says.
        value: u32,
        /// The least that it may say.
        least: u32,
        /// The most.
        most: u32,
    },
    /// `after` names a service that is not in the table.
    #[error("service {name:?} starts after {after:?}, which does not exist")]
    UnknownAfter {
        /// The service.
        name: String,
        /// The missing one.
        after: String,
    },
    /// `restart_with` names a service that is not in `after`.
    #[error("service {name:?} is restarted with {other:?}, but does not start after it")]
    NotAfter {
        /// The service.
        name: String,
        /// The one that is missing in `after`.
        other: String,
    },
    /// A change without the settings.
    #[error("service {0:?} is restarted on a change of settings that it does not read")]
    UnreadChange(String),
    /// Services wait for each other.
    #[error("services wait for each other: {}", .0.join(" → "))]
    Cycle(Vec<String>),
}

/// Checks a whole table.
///
/// `Ok` proves that every name, program, user, time-out, file and limit is
/// usable, that every right has its reason and is of use, that names and users
/// are unique, and that `after` can be satisfied.
///
/// # Errors
/// The first fault found, in table order.
pub fn validate(table: &[ServiceSpec]) -> Result<(), SpecError> {
    let mut names = BTreeSet::new();
    let mut users = BTreeMap::new();
    for spec in table {
        validate_one(spec)?;
        if !names.insert(spec.name.as_str()) {
            return Err(SpecError::DuplicateName(spec.name.clone()));
        }
        if let Some(other) = users.insert(spec.user, &spec.name) {
            return Err(SpecError::SharedUser(
                other.clone(),
                spec.name.clone(),
                spec.user,
            ));
        }
    }
    let mut lent = (table.iter()).filter(|spec| spec.control.contains_key(&Right::Disk));
    if let (Some(one), Some(other)) = (lent.next(), lent.next()) {
        return Err(SpecError::TwoDisks(one.name.clone(), other.name.clone()));
    }
    for spec in table {
        if let Some(other) = spec.sockets.keys().find(|o| !names.contains(o.as_str())) {
            return Err(SpecError::UnknownSocket {
                name: spec.name.clone(),
                other: other.clone(),
            });
        }
        let ordered = |other: &&String| spec.after.contains(*other);
        if let Some(other) = spec.restart_with.keys().find(|other| !ordered(other)) {
            return Err(SpecError::NotAfter {
                name: spec.name.clone(),
                other: other.clone(),
            });
        }
        if spec.settings.is_none() && !spec.restart_on.is_empty() {
            return Err(SpecError::UnreadChange(spec.name.clone()));
        }
        if let Some(after) = spec.after.iter().find(|a| !names.contains(a.as_str())) {
            return Err(SpecError::UnknownAfter {
                name: spec.name.clone(),
                after: after.clone(),
            });
        }
    }
    find_cycle(table).map_or(Ok(()), |cycle| Err(SpecError::Cycle(cycle)))
}

fn validate_one(spec: &ServiceSpec) -> Result<(), SpecError> {
    let name = &spec.name;
    let usable = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !usable {
        return Err(SpecError::BadName(name.clone()));
    }
    if RESERVED_NAMES.contains(&name.as_str()) {
        return Err(SpecError::ReservedName(name.clone()));
    }
    if !is_plain(&spec.program) {
        return Err(SpecError::BadProgram {
            name: name.clone(),
            program: spec.program.clone(),
        });
    }
    if let Some(file) = spec.files.keys().find(|file| !is_plain(file)) {
        return Err(SpecError::BadFile {
            name: name.clone(),
            file: file.clone(),
        });
    }
    if let Some((right, _)) = spec
        .reasons()
        .into_iter()
        .find(|(_, why)| why.trim().is_empty())
    {
        return Err(SpecError::NoReason {
            name: name.clone(),
            right,
        });
    }
    let idle = |right: Option<String>, without: Namespace| match right {
        Some(right) if !spec.shared.contains_key(&without) => Err(SpecError::Idle {
            name: name.clone(),
            right,
            without,
        }),
        _ => Ok(()),
    };
    let capability = spec.capabilities.keys().next();
    // capabilities(7): one that is held in another user namespace than the network's own.
    idle(
        capability.map(|capability| format!("capabilities.{capability}")),
        Namespace::User,
    )?;
    let port = spec.ports.keys().next();
    idle(port.map(|port| format!("ports.{port}")), Namespace::Network)?;
    limits::validate(name, &spec.limits)?;
    if spec.user == 0 || spec.user > MAX_USER {
        return Err(SpecError::BadUser {
            name: name.clone(),
            user: spec.user,
        });
    }
    for (field, seconds) in [
        ("ready_timeout_s", spec.ready_timeout_s),
        ("stop_timeout_s", spec.stop_timeout_s),
    ] {
        if seconds == 0 || seconds > MAX_TIMEOUT_S {
            return Err(SpecError::BadTimeout {
                name: name.clone(),
                field,
                seconds,
            });
        }
    }
    Ok(())
}

fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && !path.ends_with('/')
        && !path.contains('\0')
        && !path.split('/').any(|part| part == "..")
}

/// Takes away services whose dependencies are gone until nothing changes;
/// what is left waits for itself.
fn find_cycle(table: &[ServiceSpec]) -> Option<Vec<String>> {
    let mut left: Vec<&ServiceSpec> = table.iter().collect();
    loop {
        let before = left.len();
        let waiting: BTreeSet<&str> = left.iter().map(|s| s.name.as_str()).collect();
        left.retain(|s| s.after.iter().any(|a| waiting.contains(a.as_str())));
        if left.is_empty() {
            return None;
        }
        if left.len() < before {
            continue;
        }
        // Every one of `left` waits for another of `left`: walk until a name repeats.
        let mut walk = vec![left[0].name.clone()];
        loop {
            let here = left.iter().find(|s| Some(&s.name) == walk.last())?;
            let next = here.after.iter().find(|a| waiting.contains(a.as_str()))?;
            if let Some(start) = walk.iter().position(|n| n == next) {
                walk.drain(..start);
                walk.push(next.clone());
                return Some(walk);
            }
            walk.push(next.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(name: &str, user: u32, after: &[&str]) -> ServiceSpec {
        ServiceSpec {
            after: after.iter().map(ToString::to_string).collect(),
            ..ServiceSpec::plain(name, user)
        }
    }

    #[test]
    fn a_sound_table_passes() {
        let table = [spec("mail", 1001, &["dns"]), spec("dns", 1002, &[])];
        assert_eq!(validate(&table), Ok(()));
        assert_eq!(validate(&[]), Ok(()));
    }

    #[test]
    fn a_restart_follows_an_order_and_a_change_is_read() {
        let mut mail = spec("mail", 1001, &[]);
        mail.restart_with = [("dns".to_owned(), "A test.".to_owned())].into();
        let mut table = [spec("dns", 1002, &[]), mail];
        assert_eq!(
            validate(&table).unwrap_err().to_string(),
            "service \"mail\" is restarted with \"dns\", but does not start after it"
        );
        table[1].after.push("dns".into());
        assert_eq!(validate(&table), Ok(()));
        table[1].restart_on = [(Change::Domain, "A test.".to_owned())].into();
        assert_eq!(
            validate(&table).unwrap_err().to_string(),
            "service \"mail\" is restarted on a change of settings that it does not read"
        );
        table[1].settings = Some("A test.".into());
        assert_eq!(validate(&table), Ok(()));
        let reasons: Vec<_> = table[1]
            .reasons()
            .into_iter()
            .map(|(right, _)| right)
            .collect();
        assert_eq!(
            reasons,
            ["settings", "restart_with.dns", "restart_on.domain"]
        );
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let text = |table: &[ServiceSpec]| validate(table).unwrap_err().to_string();
        assert_eq!(
            text(&[spec("Mail", 1, &[])]),
            "service name \"Mail\" is not usable: 1 to 15 of a-z, 0-9 and '-', beginning with a letter"
        );
        assert_eq!(
            text(&[spec("init", 1, &[])]),
            "service name \"init\" is taken by the system itself"
        );
        assert_eq!(
            text(&[spec("a", 1, &[]), spec("a", 2, &[])]),
            "two services are called \"a\""
        );
        assert_eq!(
            text(&[spec("a", 1, &[]), spec("b", 1, &[])]),
            "services \"a\" and \"b\" have the same user 1"
        );
        assert_eq!(
            text(&[spec("a", 0, &[])]),
            "service \"a\": user 0 is not between 1 and 60000"
        );
        assert_eq!(
            text(&[spec("a", 1, &["dsn"])]),
            "service \"a\" starts after \"dsn\", which does not exist"
        );
        assert_eq!(
            text(&[
                spec("x", 9, &[]),
                spec("a", 1, &["b"]),
                spec("b", 2, &["x", "c"]),
                spec("c", 3, &["b"])
            ]),
            "services wait for each other: b → c → b"
        );
        let mut bad = spec("a", 1, &[]);
        bad.program = "/bin/../a".into();
        assert_eq!(
            text(&[bad]),
            "service \"a\": program \"/bin/../a\" is not an absolute path without '..'"
        );
        let mut bad = spec("a", 1, &[]);
        bad.stop_timeout_s = 0;
        assert_eq!(
            text(&[bad]),
            "service \"a\": stop_timeout_s is 0, not between 1 and 3600 seconds"
        );
        let mut bad = spec("a", 1, &[]);
        bad.ports.insert("tcp/25".parse().unwrap(), " ".into());
        assert_eq!(text(&[bad]), "service \"a\": ports.tcp/25 does not say why");
        let mut bad = spec("a", 1, &[]);
        bad.ports.insert("tcp/25".parse().unwrap(), "Mail.".into());
        assert_eq!(
            text(&[bad]),
            "service \"a\": ports.tcp/25 counts for nothing without shared.network"
        );
        let mut bad = spec("a", 1, &[]);
        bad.capabilities.insert(Capability::NetAdmin, "Why.".into());
        assert_eq!(
            text(&[bad]),
            "service \"a\": capabilities.net_admin counts for nothing without shared.user"
        );
        let mut bad = spec("a", 1, &[]);
        bad.files.insert("/etc/../x".into(), "Why.".into());
        assert_eq!(
            text(&[bad]),
            "service \"a\": file \"/etc/../x\" is not an absolute path without '..'"
        );
        let mut bad = spec("a", 1, &[]);
        bad.sockets.insert("dsn".into(), "Why.".into());
        assert_eq!(
            text(&[bad]),
            "service \"a\" talks to \"dsn\", which does not exist"
        );
        let lent = |name, user| ServiceSpec {
            control: [(Right::Disk, "Why.".to_owned())].into(),
            ..spec(name, user, &[])
        };
        assert_eq!(
            text(&[lent("a", 1), lent("b", 2)]),
            "services \"a\" and \"b\" both list control.disk: a disk is lent to one service only"
        );
        let mut bad = spec("a", 1, &[]);
        bad.limits.memory_max_mib = 3;
        assert_eq!(
            text(&[bad]),
            "service \"a\": limits.memory_max_mib is 3, not between 4 and 16384"
        );
    }

    #[test]
    fn the_table_survives_json() {
        let mut one = spec("mail", 1001, &[]);
        one.capabilities = [(Capability::NetAdmin, "Its interface.".into())].into();
        one.ports = [
            ("udp/53".parse().unwrap(), "The DNS.".into()),
            ("udp/any".parse().unwrap(), "The owner chooses.".into()),
        ]
        .into();
        let json = serde_json::to_string(&[&one]).unwrap();
        assert!(
            json.contains(r#""capabilities":{"net_admin":"Its interface."},"ports":{"udp/any":"The owner chooses.","udp/53":"The DNS."}"#),
            "{json}"
        );
        assert!(
            serde_json::from_str::<Vec<ServiceSpec>>(&json.replace("udp/53", "udp/0")).is_err()
        );
        assert_eq!(
            serde_json::from_str::<Vec<ServiceSpec>>(&json).unwrap(),
            [one]
        );
        let misspelt = json.replace("stop_timeout_s", "stop_timeouts");
        assert!(serde_json::from_str::<Vec<ServiceSpec>>(&misspelt).is_err());
    }

    proptest! {
        /// Whatever `after` says: a table that passes can be started one by one.
        #[test]
        fn a_valid_table_can_be_started(edges in proptest::collection::vec((0u32..6, 0u32..6), 0..8)) {
            let table: Vec<_> = (0..6)
                .map(|i| {
                    let after: Vec<_> =
                        edges.iter().filter(|e| e.0 == i).map(|e| format!("s{}", e.1)).collect();
                    let mut s = spec(&format!("s{i}"), i + 1, &[]);
                    s.after = after;
                    s
                })
                .collect();
            let mut started = BTreeSet::new();
            for _ in 0..table.len() {
                for s in &table {
                    if s.after.iter().all(|a| started.contains(a)) {
                        started.insert(s.name.clone());
                    }
                }
            }
            prop_assert_eq!(validate(&table).is_ok(), started.len() == table.len());
        }
    }
}
