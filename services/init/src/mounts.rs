//! Mounting what both programs need, with errors that name the place.

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use std::ffi::CString;
use std::fs;
use std::io;

/// What mount(2) was asked and why it refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {kind} on {target}: {source}")]
pub struct MountError {
    kind: String,
    target: String,
    source: io::Error,
}

/// Mounts `source` of file system type `kind` on `target`, which is made if missing.
///
/// # Errors
/// Names the type, the target and the kernel's reason.
pub fn mount_at(
    source: &str,
    target: &str,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> Result<(), MountError> {
    let fail = |source: io::Error| MountError {
        kind: kind.to_owned(),
        target: target.to_owned(),
        source,
    };
    // In the read-only root the folder exists already.
    let _ = fs::create_dir(target);
    let data = CString::new(data).map_err(|e| fail(e.into()))?;
    mount(source, target, kind, flags, Some(data.as_c_str())).map_err(|e| fail(e.into()))
}

/// Flags of a file system that holds neither programs nor devices.
pub const INERT: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// `/proc`, `/sys` and `/dev`, which stage1 mounts and hands over.
pub const KERNEL: [(&str, &str, MountFlags, &str); 3] = [
    ("proc", "/proc", INERT, ""),
    ("sysfs", "/sys", INERT, ""),
    (
        "devtmpfs",
        "/dev",
        MountFlags::NOSUID.union(MountFlags::NOEXEC),
        "mode=0755",
    ),
];

/// Mounts [`KERNEL`].
///
/// # Errors
/// The first mount that the kernel refuses.
pub fn kernel_filesystems() -> Result<(), MountError> {
    KERNEL
        .iter()
        .try_for_each(|(kind, target, flags, data)| mount_at(kind, target, kind, *flags, data))
}

/// `/run`, `/tmp` and the cgroup tree, which init mounts. Sizes bound what a
/// service can take of the memory.
///
/// # Errors
/// The first mount that the kernel refuses.
pub fn runtime_filesystems() -> Result<(), MountError> {
    mount_at("tmpfs", "/run", "tmpfs", INERT, "mode=0755,size=16m")?;
    mount_at("tmpfs", "/tmp", "tmpfs", INERT, "mode=1777,size=64m")?;
    mount_at("cgroup2", "/sys/fs/cgroup", "cgroup2", INERT, "nsdelegate")?;
    // Services get their own mount namespaces; nothing that is done there may come back.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(|e| MountError {
        kind: "private propagation".into(),
        target: "/".into(),
        source: e.into(),
    })
}
