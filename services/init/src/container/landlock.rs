//! The second wall: what the mounts show, said once more to Landlock
//! (linux/Documentation/userspace-api/landlock.rst), and the ports that may be bound, of which the
//! mounts know nothing. It holds for the program and all that it starts, for good.

use super::{Container, Place, Use};
use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use roost_service::spec::{Port, Protocol};
use std::io;

/// What this file knows of; an older kernel guards less. Binding of UDP ports is the last that came.
const NEWEST: ABI = ABI::V10;

/// A wall that has been drawn up. It stands once it is closed.
pub struct Wall(RulesetCreated);

impl Wall {
    /// Draws it up, from within the container's own root.
    ///
    /// # Errors
    /// Those of Landlock's system calls.
    pub fn draw(container: &Container) -> io::Result<Self> {
        let mut wall = Ruleset::default()
            .handle_access(AccessFs::from_all(NEWEST))
            .and_then(|wall| wall.scope(Scope::from_all(NEWEST)))
            .map_err(io::Error::other)?;
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            if !any(container, protocol) {
                wall = wall
                    .handle_access(bind(protocol))
                    .map_err(io::Error::other)?;
            }
        }
        let mut wall = wall.create().map_err(io::Error::other)?;
        for (path, place) in &container.places {
            let fd = match PathFd::new(path) {
                Ok(fd) => fd,
                Err(PathFdError::OpenCall { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    continue;
                }
                Err(error) => return Err(io::Error::other(error)),
            };
            let folder = std::fs::metadata(path)?.is_dir();
            wall = wall
                .add_rule(PathBeneath::new(fd, access(*place, folder)))
                .map_err(io::Error::other)?;
        }
        for (protocol, number) in numbers(container) {
            wall = wall
                .add_rule(NetPort::new(number, bind(protocol)))
                .map_err(io::Error::other)?;
        }
        Ok(Self(wall))
    }

    /// Closes it around this process. Also sets `no_new_privs`.
    ///
    /// # Errors
    /// When the kernel has no Landlock: who binds a port would be open then.
    pub fn close(self) -> io::Result<()> {
        let closed: Result<_, RulesetError> = self.0.restrict_self();
        match closed.map_err(io::Error::other)?.ruleset {
            RulesetStatus::NotEnforced => Err(io::Error::other("the kernel has no Landlock")),
            RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => Ok(()),
        }
    }
}

fn bind(protocol: Protocol) -> AccessNet {
    match protocol {
        Protocol::Tcp => AccessNet::BindTcp,
        Protocol::Udp => AccessNet::BindUdp,
    }
}

/// Whether the service may bind every port of this protocol.
fn any(container: &Container, protocol: Protocol) -> bool {
    container.ports.contains(&Port {
        protocol,
        number: None,
    })
}

/// Which ports may be bound. Port 0 is for all: the kernel then chooses one that means nothing, and
/// does so, too, for a socket that sends before it is bound.
fn numbers(container: &Container) -> Vec<(Protocol, u16)> {
    [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .filter(|protocol| !any(container, *protocol))
        .flat_map(|protocol| {
            let own = container.ports.iter();
            let own = own.filter(move |port| port.protocol == protocol);
            std::iter::once(0)
                .chain(own.filter_map(|port| port.number))
                .map(move |number| (protocol, number))
        })
        .collect()
}

fn access(place: Place, folder: bool) -> BitFlags<AccessFs> {
    let what = match place {
        Place::Outside(what) | Place::IfThere(what) => what,
        Place::Processes => Use::Read,
        // Of the folder that the disk's is mounted in: Landlock walks up from a file through mounts.
        Place::Scratch(_) | Place::Lent => Use::Write,
    };
    let access = match what {
        Use::Execute => AccessFs::ReadFile | AccessFs::Execute,
        Use::Read => AccessFs::ReadFile | AccessFs::ReadDir,
        Use::Connect => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::ResolveUnix,
        Use::Write => {
            let never = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock;
            AccessFs::from_all(NEWEST) & !(never | AccessFs::IoctlDev)
        }
        Use::Device => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
    };
    if folder {
        access
    } else {
        access & AccessFs::from_file(NEWEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::spec::ServiceSpec;

    #[test]
    fn the_kernel_may_always_choose_a_port() {
        let with = |ports: &[&str]| {
            let mut container = Container::of(&ServiceSpec::plain("a", 1));
            container.ports = ports.iter().map(|port| port.parse().unwrap()).collect();
            numbers(&container)
        };
        let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
        assert_eq!(with(&[]), [(tcp, 0), (udp, 0)]);
        assert_eq!(with(&["tcp/25"]), [(tcp, 0), (tcp, 25), (udp, 0)]);
        assert_eq!(with(&["udp/any", "udp/53"]), [(tcp, 0)]);
    }

    #[test]
    fn nothing_that_can_be_written_can_be_executed() {
        let writable = access(Place::Outside(Use::Write), true);
        assert!(!writable.contains(AccessFs::Execute));
        assert!(!access(Place::Scratch(1), true).contains(AccessFs::Execute));
        assert!(writable.contains(AccessFs::Refer | AccessFs::MakeSock));
        let program = access(Place::Outside(Use::Execute), false);
        assert_eq!(program, AccessFs::ReadFile | AccessFs::Execute);
    }
}
