//! What a service sees and may use, from its spec: pure. [`enter`] makes it so.
//!
//! | A service sees | so | from |
//! |---|---|---|
//! | its program | read, execute | `program` |
//! | its data folder, its folder for sockets | read, write | its name |
//! | `/tmp`, which is memory | read, write | `limits.scratch_mib` |
//! | the owner's settings, of the image and chosen | read | `settings` |
//! | other files and folders | read | `files` |
//! | folders for sockets of others | read, connect | `sockets` |
//! | init's socket | connect | `control` |
//! | the folder of a USB disk, while init lends it | read, write | `control.disk` |
//! | `/dev/null`, `zero`, `full`, `random`, `urandom`, and devices | read, write | `devices` |
//! | `/proc` of its own processes, without the kernel's part | read | |
//!
//! Everything is at the path that it has outside. Nothing else is there, and only the program can
//! be executed.

pub mod enter;
pub mod landlock;
pub mod users;

use crate::data;
use roost_service::spec::{self, Capability, Namespace, Port, Right, ServiceSpec};
use roost_service::{control, disk, settings};
use rustix::mount::MountFlags;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Devices that every program may expect (hier(7)), and that lead nowhere.
const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// What a service's container is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// What is where. Paths are those outside, too.
    pub places: BTreeMap<PathBuf, Place>,
    /// Where the program starts: its data folder.
    pub home: PathBuf,
    /// User and group; never 0.
    pub user: u32,
    /// Capabilities that it keeps.
    pub capabilities: Vec<Capability>,
    /// Ports that it may bind beside those that the kernel chooses.
    pub ports: Vec<Port>,
    /// Whether it has a user namespace of its own.
    pub own_users: bool,
    /// Whether it has a network of its own, in which there is nothing.
    pub own_network: bool,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What is there outside.
    Outside(Use),
    /// The same, if there is anything.
    IfThere(Use),
    /// The processes of the container (proc(5)).
    Processes,
    /// Memory of its own, with this size in MiB.
    Scratch(u32),
    /// What init mounts there while the service runs: the folder of a disk that it was lent.
    Lent,
}

/// What may be done with what is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Read and execute.
    Execute,
    /// Read.
    Read,
    /// Read, and connect to the sockets there.
    Connect,
    /// Read and write; make, rename and remove what is below.
    Write,
    /// Read and write a device.
    Device,
}

impl Use {
    /// How it is mounted (mount(2)).
    pub fn mount_flags(self) -> MountFlags {
        let guarded = MountFlags::NOSUID | MountFlags::NODEV;
        match self {
            Self::Execute => guarded | MountFlags::RDONLY,
            Self::Read | Self::Connect => guarded | MountFlags::RDONLY | MountFlags::NOEXEC,
            Self::Write => guarded | MountFlags::NOEXEC,
            Self::Device => MountFlags::NOSUID | MountFlags::NOEXEC,
        }
    }
}

impl Container {
    /// The container of the service with this spec.
    pub fn of(spec: &ServiceSpec) -> Self {
        let home = data_folder(&spec.name);
        let mut places = BTreeMap::from([
            (PathBuf::from(&spec.program), Place::Outside(Use::Execute)),
            (home.clone(), Place::Outside(Use::Write)),
            (spec::run_folder(&spec.name), Place::Outside(Use::Write)),
            ("/proc".into(), Place::Processes),
            ("/tmp".into(), Place::Scratch(spec.limits.scratch_mib)),
        ]);
        for name in DEVICES {
            places.insert(Path::new("/dev").join(name), Place::Outside(Use::Device));
        }
        for device in spec.devices.keys() {
            // A machine may lack it; the service says then what it cannot do.
            places.insert(device.path(), Place::IfThere(Use::Device));
        }
        // Some are of one board only, or of a module.
        let files = spec.files.keys().map(PathBuf::from);
        places.extend(files.map(|file| (file, Place::IfThere(Use::Read))));
        if spec.settings.is_some() {
            places.insert(settings::PATH.into(), Place::Outside(Use::Read));
            places.insert(chosen_folder().into(), Place::Outside(Use::Read));
        }
        for other in spec.sockets.keys() {
            places.insert(spec::run_folder(other), Place::Outside(Use::Connect));
        }
        if !spec.control.is_empty() {
            places.insert(control::SOCKET.into(), Place::Outside(Use::Connect));
        }
        if spec.control.contains_key(&Right::Disk) {
            places.insert(disk::FOLDER.into(), Place::Lent);
        }
        Self {
            places,
            home,
            user: spec.user,
            capabilities: spec.capabilities.keys().copied().collect(),
            ports: spec.ports.keys().copied().collect(),
            own_users: !spec.shared.contains_key(&Namespace::User),
            own_network: !spec.shared.contains_key(&Namespace::Network),
        }
    }
}

/// Folder of a service's data.
pub fn data_folder(service: &str) -> PathBuf {
    Path::new(data::MOUNT_POINT).join("services").join(service)
}

/// Folder of what the owner chose: its file is replaced when something is chosen, and a service
/// sees in a folder what becomes of it.
pub fn chosen_folder() -> &'static Path {
    let file = Path::new(settings::CHOSEN_PATH);
    file.parent().unwrap_or(file)
}

/// A line for each place, and what else there is; for tests and people.
impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, place) in &self.places {
            writeln!(f, "{} {place}", path.display())?;
        }
        let whose = |own| if own { "its own" } else { "the box's" };
        writeln!(f, "users: {}", whose(self.own_users))?;
        writeln!(f, "network: {}", whose(self.own_network))?;
        for port in &self.ports {
            writeln!(f, "binds {port}")?;
        }
        for capability in &self.capabilities {
            writeln!(f, "keeps {capability}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside(what) => write!(f, "{what}"),
            Self::IfThere(what) => write!(f, "{what}, if there"),
            Self::Processes => f.write_str("its own processes"),
            Self::Scratch(mib) => write!(f, "{mib} MiB of memory"),
            Self::Lent => write!(f, "{}, what init lends it", Use::Write),
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Execute => "execute",
            Self::Read => "read",
            Self::Connect => "connect",
            Self::Write => "write",
            Self::Device => "device",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specs of all services, as they stand beside their sources.
    fn table() -> Vec<ServiceSpec> {
        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut table: Vec<ServiceSpec> = std::fs::read_dir(services)
            .unwrap()
            .map(|entry| entry.unwrap().path().join("service.toml"))
            .filter(|path| path.is_file())
            .map(|path| toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
            .collect();
        table.sort_by(|a, b| a.name.cmp(&b.name));
        table
    }

    #[test]
    fn each_service_sees_what_its_spec_lists() {
        let table = table();
        assert_eq!(spec::validate(&table), Ok(()));
        for spec in table {
            insta::assert_snapshot!(spec.name.clone(), Container::of(&spec).to_string());
        }
    }

    /// What somebody needs who has no spec: a rule of the box each.
    #[test]
    fn specs_agree_with_each_other() {
        let table = table();
        let named = |name: &str| table.iter().find(|spec| spec.name == name).unwrap();
        for proven in table.iter().filter(|spec| spec.required && spec.probe) {
            assert!(
                named("updater").sockets.contains_key(&proven.name),
                "the updater asks {} before it commits an update",
                proven.name
            );
        }
    }

    #[test]
    fn a_spec_without_rights_sees_itself_alone() {
        let container = Container::of(&ServiceSpec::plain("plain", 1));
        insta::assert_snapshot!("plain", container.to_string());
        assert!(container.own_users && container.own_network);
    }
}
