//! Our own kernel module, by which init asks a Raspberry Pi's firmware for a
//! trial boot, compiled against the headers of Debian's kernel.
//!
//! Its sources stand at `/work` and the headers at `/usr/src`, whatever the
//! machine's paths are, so that the bytes do not depend on them.

use crate::error::Failure;
use crate::fetch::Downloads;
use crate::lock::{Lock, Purpose};
use crate::sdk::{Sdk, unpack};
use crate::store::{Key, KeyBuilder, disk_failure, files_below};
use std::path::{Path, PathBuf};

/// The step's output, which is also the module's file in the initramfs.
pub const FILE: &str = "roost_tryboot.ko";

/// Licence of the module (SPDX): that of the kernel's interfaces that it uses.
pub const LICENCE: &str = "GPL-2.0-only";

/// Key of the compiled module.
///
/// # Errors
/// When the sources cannot be read.
pub fn key(source: &Path, lock: &Lock, sdk: &Sdk) -> Result<Key, Failure> {
    let mut key = KeyBuilder::new("tryboot", 1)
        .key(&sdk.key)
        .text(&lock.kernel);
    for package in lock.packages(Purpose::Module) {
        key = key.text(&package.sha256);
    }
    Ok(key.tree(&sources(source))?.finish())
}

/// Compiles the module of the checkout `source` into the folder `into`.
///
/// # Errors
/// When the lock has no headers, a package is damaged, or the compiler refuses.
pub fn compile(
    source: &Path,
    lock: &Lock,
    downloads: &Downloads,
    sdk: &Sdk,
    into: &Path,
) -> Result<(), Failure> {
    let folder = |prefix| {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(into)
            .map_err(|e| disk_failure("create a folder in", into, e))
    };
    let headers = folder(".headers-")?;
    for package in lock.packages(Purpose::Module) {
        unpack(
            &downloads.verify(package)?,
            headers.path(),
            &["usr/share", "usr/lib/modules"],
        )?;
    }
    let all = headers.path().join("usr/src");
    if !all.join(format!("linux-headers-{}", lock.kernel)).is_dir() {
        return Err(Failure::new(format!(
            "roost.lock has no headers of the kernel {}",
            lock.kernel
        ))
        .hint("run `roost lock` after changing image/components/debian.toml"));
    }
    gather(&headers.path().join("usr/lib"), &all)?;

    let work = folder(".work-")?;
    for from in files_below(&sources(source))? {
        let to = work
            .path()
            .join(from.file_name().expect("a file has a name"));
        std::fs::copy(&from, &to).map_err(|e| disk_failure("copy", &from, e))?;
    }
    let sandbox = || {
        sdk.sandbox()
            .read(&all, "/usr/src")
            .write(work.path(), "/work")
    };
    sandbox().run(
        "make",
        &[
            "-C".to_owned(),
            format!("/usr/src/linux-headers-{}", lock.kernel),
            "M=/work".to_owned(),
            "ARCH=arm64".to_owned(),
            "CROSS_COMPILE=aarch64-linux-gnu-".to_owned(),
            // Type information for tracing: needs a tool that the SDK root has not.
            "CONFIG_DEBUG_INFO_BTF_MODULES=".to_owned(),
            "modules".to_owned(),
        ],
    )?;
    // The kernel is not asked for debug information anywhere, and this is most of the file.
    sandbox().run(
        "aarch64-linux-gnu-strip",
        &["--strip-debug", &format!("/work/{FILE}")],
    )?;
    let from = work.path().join(FILE);
    std::fs::rename(&from, into.join(FILE)).map_err(|e| disk_failure("move", &from, e))
}

fn sources(source: &Path) -> PathBuf {
    source.join("image/components/tryboot")
}

/// Brings the kernel's build tools from `lib` to `all`, where the headers are.
///
/// The headers reach them through links like `scripts → ../../lib/linux-kbuild-7.3/scripts`,
/// but the SDK root's own `/usr/lib` has no place at which they could be shown.
fn gather(lib: &Path, all: &Path) -> Result<(), Failure> {
    let entries = |dir: &Path| -> Result<Vec<PathBuf>, Failure> {
        let read = |e| disk_failure("read", dir, e);
        std::fs::read_dir(dir)
            .map_err(read)?
            .map(|entry| entry.map(|e| e.path()).map_err(read))
            .collect()
    };
    for tools in entries(lib)? {
        let to = all.join(tools.file_name().expect("an entry has a name"));
        // The package has a link there, to where they were.
        if to.is_symlink() {
            std::fs::remove_file(&to).map_err(|e| disk_failure("remove", &to, e))?;
        }
        std::fs::rename(&tools, &to).map_err(|e| disk_failure("move", &tools, e))?;
    }
    for headers in entries(all)? {
        for link in entries(&headers)? {
            let Ok(target) = std::fs::read_link(&link) else {
                continue;
            };
            let Ok(inside) = target.strip_prefix("../../lib") else {
                continue;
            };
            std::fs::remove_file(&link).map_err(|e| disk_failure("remove", &link, e))?;
            std::os::unix::fs::symlink(Path::new("..").join(inside), &link)
                .map_err(|e| disk_failure("link", &link, e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Boards;
    use roost_board::boot_control::trial;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A box without it could never take an update.
    #[test]
    fn every_pi_loads_it_and_init_finds_it_there() {
        let checkout = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let name = FILE.strip_suffix(".ko").unwrap();
        for (board, modules) in Boards::load(checkout).unwrap().modules() {
            let listed = modules.iter().any(|m| m == name);
            assert_eq!(listed, board.starts_with("rpi"), "{board}");
        }
        let parameter = format!("/sys/module/{name}/parameters/request");
        assert_eq!(parameter, trial::PARAMETER);
        let source = fs::read_to_string(sources(checkout).join("roost_tryboot.c")).unwrap();
        assert!(source.contains("module_param_cb(request,"));
        assert!(source.contains(&format!("0x{:08x}", trial::TAG)));
    }

    #[test]
    fn the_headers_find_their_tools_beside_them() {
        let root = tempfile::tempdir().unwrap();
        let (lib, all) = (root.path().join("lib"), root.path().join("src"));
        let headers = all.join("linux-headers-7.3-arm64");
        fs::create_dir_all(lib.join("linux-kbuild-7.3/scripts")).unwrap();
        fs::create_dir_all(headers.join("include")).unwrap();
        fs::write(lib.join("linux-kbuild-7.3/scripts/modpost"), "tool").unwrap();
        symlink("../lib/linux-kbuild-7.3", all.join("linux-kbuild-7.3")).unwrap();
        symlink(
            "../../lib/linux-kbuild-7.3/scripts",
            headers.join("scripts"),
        )
        .unwrap();
        symlink("include", headers.join("other")).unwrap();

        gather(&lib, &all).unwrap();
        // Shown alone, without what lay around it.
        let shown = root.path().join("shown");
        fs::rename(&all, &shown).unwrap();
        fs::remove_dir_all(&lib).unwrap();
        let tool = shown.join("linux-headers-7.3-arm64/scripts/modpost");
        assert_eq!(fs::read_to_string(tool).unwrap(), "tool");
        let other = fs::read_link(shown.join("linux-headers-7.3-arm64/other")).unwrap();
        assert_eq!(other, Path::new("include"));
    }
}
