//! The initramfs: stage1, the modules that it loads, and in which order.

use crate::cpio;
use crate::disk;
use crate::error::Failure;
use crate::kernel;
use crate::store::{disk_failure, files_below};
use std::path::Path;

/// stage1 and the modules of every board, as the kernel wants them. Not compressed, for the reason
/// that [`crate::rootfs::Tree::build`] gives; stage1, which changes most often, comes last.
pub fn make(kernel: &Path, stage1: &Path, into: &Path) -> Result<(), Failure> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| disk_failure("read", path, e));
    let order = kernel::load_order(&kernel.join(kernel::LOAD_ORDER))?;
    let mut archive = cpio::Archive::default();
    for mount_point in ["dev", "proc", "root", "sys"] {
        archive.directory(mount_point);
    }
    archive.directory("modules");
    for (board, names) in &order {
        archive.file(
            &format!("modules/{board}.list"),
            (names.join("\n") + "\n").as_bytes(),
        );
    }
    for path in files_below(&kernel.join("modules"))? {
        let name = path
            .file_name()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        archive.file(&format!("modules/{name}"), &read(&path)?);
    }
    archive.program("init", &read(stage1)?);
    let path = into.join(disk::INITRAMFS);
    std::fs::write(&path, archive.finish()).map_err(|e| disk_failure("write", &path, e))
}
