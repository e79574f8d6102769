//! What is taken from Debian besides the kernel.

use crate::error::Failure;
use crate::fetch::Downloads;
use crate::lock::Lock;
use crate::sdk;
use crate::store::{disk_failure, files_below};
use std::path::Path;

/// Unpacks the Pi's firmware, e2fsck and the certificate authorities into `dir`.
pub fn unpack(lock: &Lock, downloads: &Downloads, dir: &Path) -> Result<(), Failure> {
    let scratch =
        tempfile::tempdir_in(dir).map_err(|e| disk_failure("create a folder in", dir, e))?;
    for name in ["e2fsck-static", "ca-certificates", "raspi-firmware"] {
        let package = downloads.verify(lock.image_package(name)?)?;
        sdk::unpack(
            &package,
            scratch.path(),
            &["usr/share/doc", "usr/share/man"],
        )?;
    }
    let firmware = dir.join("firmware");
    let from = scratch.path().join("usr/lib/raspi-firmware");
    std::fs::rename(&from, &firmware).map_err(|e| disk_failure("move", &from, e))?;
    let from = scratch.path().join("usr/sbin/e2fsck.static");
    std::fs::rename(&from, dir.join("e2fsck")).map_err(|e| disk_failure("move", &from, e))?;
    // What Debian's update-ca-certificates does: all of Mozilla's roots in one file.
    let mut bundle = Vec::new();
    for path in files_below(&scratch.path().join("usr/share/ca-certificates/mozilla"))? {
        bundle.extend(std::fs::read(&path).map_err(|e| disk_failure("read", &path, e))?);
    }
    let path = dir.join("ca-certificates.crt");
    std::fs::write(&path, bundle).map_err(|e| disk_failure("write", &path, e))
}
