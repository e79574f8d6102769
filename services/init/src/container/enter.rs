//! Goes into a container: runs in the child, between fork and exec, and says which step failed.
//!
//! The order is the point. Namespaces, mounts and the root are made while the child is still root of
//! the box, so they belong to the box and not to the service, which is given away only then.

use super::landlock::Wall;
use super::{Container, Place, Use};
use crate::mounts::INERT;
use rustix::fd::{AsFd, OwnedFd};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change,
    mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Folder over which a container's root is put together, in a mount namespace of its own.
pub const STAGE: &str = "/run/container";

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct Fault {
    /// Which, e.g. `mounting /proc`.
    pub step: String,
    /// Why.
    pub source: io::Error,
}

/// Gives a failure the name of its step.
pub trait Step<T> {
    /// `step`: e.g. `mounting /proc`.
    ///
    /// # Errors
    /// What failed before, with this name.
    fn step(self, step: impl Into<String>) -> Result<T, Fault>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl Into<String>) -> Result<T, Fault> {
        self.map_err(|source| Fault {
            step: step.into(),
            source: source.into(),
        })
    }
}

/// A container and its user namespace: everything that the child needs to go in.
#[derive(Debug)]
pub struct Entrance {
    /// The container.
    pub container: Container,
    /// From [`super::users::namespace`], if it is to have one of its own.
    pub users: Option<OwnedFd>,
}

impl Entrance {
    /// Goes in. The wall is to be closed once nothing else is to be done.
    ///
    /// The PID namespace was made before the fork (`processes::start_service`).
    ///
    /// # Errors
    /// The step that failed. The process is then half in, and fit for nothing but its end.
    pub fn enter(&self) -> Result<Wall, Fault> {
        let mut own = UnshareFlags::NEWNS
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWCGROUP;
        if self.container.own_network {
            own |= UnshareFlags::NEWNET;
        }
        #[expect(
            unsafe_code,
            reason = "unshare(2) may part a thread from its descriptors"
        )]
        // SAFETY: not with these flags.
        unsafe { unshare_unsafe(own) }.step("making its namespaces")?;
        // What is mounted here does not come back. What init mounts at [`roost_service::disk::FOLDER`], the one place
        // that it shares, comes along: all else is private, which a slave without a master stays.
        let rest = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", rest).step("parting its mounts from the box's")?;
        let stage = Path::new(STAGE);
        mount_new("tmpfs", stage, INERT, "mode=0755,size=64k").step("mounting its root")?;
        for (path, place) in &self.container.places {
            self.show(path, *place, &below(stage, path))
                .step(format!("mounting {}", path.display()))?;
        }
        self.turn(stage).step("changing its root")?;
        let read_only = INERT | MountFlags::BIND | MountFlags::RDONLY;
        mount_remount("/", read_only, "").step("making its root read-only")?;
        chdir(&self.container.home).step(format!("entering {}", self.container.home.display()))?;
        let wall = Wall::draw(&self.container).step("drawing up its Landlock rules")?;
        if let Some(users) = &self.users {
            move_into_link_name_space(users.as_fd(), Some(LinkNameSpaceType::User))
                .step("entering its user namespace")?;
        }
        Ok(wall)
    }

    fn show(&self, path: &Path, place: Place, at: &Path) -> io::Result<()> {
        let what = match place {
            Place::Processes => {
                fs::create_dir_all(at)?;
                let flags = INERT | MountFlags::RDONLY;
                // The kernel's part is there only for those who list a file of it.
                let mut places = self.container.places.keys();
                let data = if places.any(|other| other != path && other.starts_with(path)) {
                    "hidepid=invisible"
                } else {
                    "hidepid=invisible,subset=pid"
                };
                return mount_new("proc", at, flags, data);
            }
            Place::Scratch(mib) => {
                fs::create_dir_all(at)?;
                let user = self.container.user;
                let data = format!("mode=0700,uid={user},gid={user},size={mib}m");
                return mount_new("tmpfs", at, INERT, &data);
            }
            Place::Outside(what) => what,
            Place::Lent => Use::Write,
            Place::IfThere(what) => match fs::metadata(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                _ => what,
            },
        };
        if fs::metadata(path)?.is_dir() {
            fs::create_dir_all(at)?;
        } else {
            at.parent().map_or(Ok(()), fs::create_dir_all)?;
            if !at.try_exists()? {
                File::create(at)?;
            }
        }
        mount_bind(path, at)?;
        // Flags count only for a mount that is there (mount(2), "Creating a bind mount").
        mount_remount(at, MountFlags::BIND | what.mount_flags(), "")?;
        Ok(())
    }

    /// Makes `stage` the root, and lets go of the box's: pivot_root(2), `pivot_root(".", ".")`.
    fn turn(&self, stage: &Path) -> io::Result<()> {
        chdir(stage)?;
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        chdir("/")?;
        Ok(())
    }
}

fn below(stage: &Path, path: &Path) -> PathBuf {
    stage.join(path.strip_prefix("/").unwrap_or(path))
}

fn mount_new(kind: &str, at: &Path, flags: MountFlags, data: &str) -> io::Result<()> {
    let data = CString::new(data)?;
    mount(kind, at, kind, flags, Some(data.as_c_str()))?;
    Ok(())
}
