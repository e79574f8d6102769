//! What a service is and what it may do: `service.toml` beside each service's source.
//!
//! The builder validates the specs ([`validate`]) and renders them into one
//! table, so that init parses nothing written by hand.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Capabilities kept in the bounding and ambient sets, e.g. `net_bind_service`.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// Services that must be ready before this one starts.
    #[serde(default)]
    pub after: Vec<String>,
    /// Whether the box counts as up only while this service is ready.
    pub required: bool,
    /// What the service may ask init for, beyond nothing.
    #[serde(default)]
    pub control: Vec<Right>,
    /// Devices that it may open; init makes nodes for them ([`Device::path`]).
    #[serde(default)]
    pub devices: Vec<Device>,
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

/// The folder for a service's sockets: it alone may write there, all may look.
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

/// A request to init that a service may make (see [`crate::control::Request`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A device that a service may open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// A Linux capability that a service may keep (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Bind ports below 1024.
    NetBindService,
    /// Configure interfaces, routes and packet filters.
    NetAdmin,
}

impl Capability {
    /// The capability's bit number in the kernel's sets (`linux/capability.h`).
    pub const fn number(self) -> u32 {
        match self {
            Self::NetBindService => 10,
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
    /// `after` names a service that is not in the table.
    #[error("service {name:?} starts after {after:?}, which does not exist")]
    UnknownAfter {
        /// The service.
        name: String,
        /// The missing one.
        after: String,
    },
    /// Services wait for each other.
    #[error("services wait for each other: {}", .0.join(" → "))]
    Cycle(Vec<String>),
}

/// Checks a whole table.
///
/// `Ok` proves that every name, program, user and time-out is usable, that
/// names and users are unique, and that `after` can be satisfied.
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
    for spec in table {
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
    let program = &spec.program;
    let plain = program.starts_with('/')
        && !program.ends_with('/')
        && !program.contains('\0')
        && !program.split('/').any(|part| part == "..");
    if !plain {
        return Err(SpecError::BadProgram {
            name: name.clone(),
            program: program.clone(),
        });
    }
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
            name: name.into(),
            description: "For a test.".into(),
            program: format!("/bin/{name}"),
            user,
            capabilities: vec![],
            after: after.iter().map(ToString::to_string).collect(),
            control: vec![],
            devices: vec![],
            data_format: 1,
            card: false,
            probe: false,
            required: true,
            ready_timeout_s: 30,
            stop_timeout_s: 10,
        }
    }

    #[test]
    fn a_sound_table_passes() {
        let table = [spec("mail", 1001, &["dns"]), spec("dns", 1002, &[])];
        assert_eq!(validate(&table), Ok(()));
        assert_eq!(validate(&[]), Ok(()));
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
    }

    #[test]
    fn the_table_survives_json() {
        let mut one = spec("mail", 1001, &[]);
        one.capabilities = vec![Capability::NetBindService, Capability::NetAdmin];
        let json = serde_json::to_string(&[&one]).unwrap();
        assert!(
            json.contains(r#"["net_bind_service","net_admin"]"#),
            "{json}"
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
