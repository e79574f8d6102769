//! FAT file systems made by mtools in the SDK root, with fixed ids and times.

use crate::error::Failure;
use crate::sdk::Sdk;
use crate::store::disk_failure;
use std::path::Path;

/// 1980-01-01, the first moment that FAT can express.
const EPOCH: &str = "315532800";

/// Makes an empty FAT32 file system of `size` bytes at `dir/name`.
///
/// FAT32 needs at least 65,525 clusters, so `cluster` (in sectors of 512 bytes) must suit the size.
pub fn format(
    sdk: &Sdk,
    dir: &Path,
    name: &str,
    size: u64,
    cluster: u8,
    label: &str,
    id: u32,
) -> Result<(), Failure> {
    let path = dir.join(name);
    let fail = |e| disk_failure("create", &path, e);
    std::fs::File::create(&path)
        .map_err(fail)?
        .set_len(size)
        .map_err(fail)?;
    let inside = format!("/work/{name}");
    sdk.sandbox()
        .write(dir, "/work")
        .env("SOURCE_DATE_EPOCH", EPOCH)
        .run(
            "mkfs.vfat",
            &[
                "-F",
                "32",
                "-s",
                &cluster.to_string(),
                "-S",
                "512",
                "-n",
                label,
                "-i",
                &format!("{id:08x}"),
                "--invariant",
                &inside,
            ],
        )?;
    Ok(())
}

/// Copies `files` (all in `from`) into the root folder of the file system `dir/name`, in this order.
pub fn copy(
    sdk: &Sdk,
    dir: &Path,
    name: &str,
    from: &Path,
    files: &[String],
) -> Result<(), Failure> {
    let sandbox = sdk
        .sandbox()
        .write(dir, "/work")
        .read(from, "/src")
        .env("SOURCE_DATE_EPOCH", EPOCH);
    // -Q: the first failure ends it. Times come from SOURCE_DATE_EPOCH.
    let mut arguments = vec!["-Q".to_owned(), "-i".to_owned(), format!("/work/{name}")];
    arguments.extend(files.iter().map(|f| format!("/src/{f}")));
    arguments.push("::".to_owned());
    sandbox.run("mcopy", &arguments)?;
    Ok(())
}
