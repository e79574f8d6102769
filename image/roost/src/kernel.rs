//! Debian's kernel, its modules and device trees, made ready for the slot.

use crate::error::Failure;
use crate::fetch::Downloads;
use crate::lock::Lock;
use crate::modules::Boards;
use crate::sdk::{Sdk, unpack};
use crate::store::disk_failure;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

/// Modules to load per board, in order, dependencies first (paths below the module folder).
pub type LoadOrder = BTreeMap<String, Vec<String>>;

/// File in the step's output with the [`LoadOrder`].
pub const LOAD_ORDER: &str = "load-order.json";
/// The same of those that init loads when it looks for USB disks.
pub const USB_DISKS_ORDER: &str = "usb-disks-order.json";
/// Folder in the step's output with the latter.
pub const USB_DISKS: &str = "usb-disks";

/// Reads a [`LoadOrder`] of the step's output.
pub fn load_order(path: &Path) -> Result<LoadOrder, Failure> {
    let text = std::fs::read(path).map_err(|e| disk_failure("read", path, e))?;
    serde_json::from_slice(&text)
        .map_err(|e| Failure::new("the kernel step's output is damaged").because(e))
}

/// Unpacks the kernel packages into `into`: `Image.gz`, `*.dtb`, `modules/*.ko` and [`LOAD_ORDER`], and those for
/// [`USB_DISKS`].
///
/// `boards` name the modules without their dependencies; a module
/// that the kernel has built in is left out, one that it does not have is an error.
/// `own` is a module of ours, for this kernel.
pub fn prepare(
    lock: &Lock,
    downloads: &Downloads,
    sdk: &Sdk,
    boards: &Boards,
    own: &Path,
    into: &Path,
) -> Result<(), Failure> {
    let abi = &lock.kernel;
    let scratch = tempfile::Builder::new()
        .prefix(".kernel-")
        .tempdir_in(into)
        .map_err(|e| disk_failure("create a folder in", into, e))?;
    for part in ["linux-binary", "linux-modules", "linux-base"] {
        let package = lock.image_package(&format!("{part}-{abi}"))?;
        unpack(&downloads.verify(package)?, scratch.path(), &["usr/share"])?;
    }
    let tree = scratch.path().join("usr/lib/modules").join(abi);
    gzip(sdk, &tree.join("vmlinuz"), &into.join("Image.gz"))?;
    copy_dtbs(&tree.join("dtb/broadcom"), into)?;
    let to = tree.join(own.file_name().expect("a module has a name"));
    std::fs::copy(own, &to).map_err(|e| disk_failure("copy", own, e))?;

    let lib = scratch.path().join("lib");
    std::os::unix::fs::symlink("usr/lib", &lib).map_err(|e| disk_failure("link", &lib, e))?;
    sdk.sandbox()
        .write(scratch.path(), "/work")
        .run("depmod", &["-b", "/work", abi])?;
    let read = |name: &str| {
        let path = tree.join(name);
        std::fs::read_to_string(&path).map_err(|e| disk_failure("read", &path, e))
    };
    let graph = Dependencies::parse(&read("modules.dep")?, &read("modules.builtin")?);
    let order_of = |board: &String, names: &[String]| {
        let order = graph.load_order(names);
        order.map_err(|f| f.because(format!("board {board}")))
    };
    let (mut order, mut of_disks) = (LoadOrder::new(), LoadOrder::new());
    let plugged = boards.usb_disks();
    for (board, mut names) in boards.modules() {
        let early = order_of(&board, &names)?;
        names.extend(plugged.get(&board).into_iter().flatten().cloned());
        let mut late = order_of(&board, &names)?;
        // What a board has from its start is not loaded again.
        late.retain(|path| !early.contains(path));
        order.insert(board.clone(), early);
        of_disks.insert(board, late);
    }
    put(
        sdk,
        &tree,
        &order,
        &into.join("modules"),
        &into.join(LOAD_ORDER),
    )?;
    put(
        sdk,
        &tree,
        &of_disks,
        &into.join(USB_DISKS),
        &into.join(USB_DISKS_ORDER),
    )
}

/// Unpacks these modules of `tree` into a new folder, and writes down in which order they are loaded.
fn put(
    sdk: &Sdk,
    tree: &Path,
    order: &LoadOrder,
    modules: &Path,
    list: &Path,
) -> Result<(), Failure> {
    let all: BTreeSet<&String> = order.values().flatten().collect();
    std::fs::create_dir(modules).map_err(|e| disk_failure("create", modules, e))?;
    for path in all {
        let from = tree.join(path);
        let to = modules.join(file_name(path));
        let packed = std::fs::read(&from).map_err(|e| disk_failure("read", &from, e))?;
        let plain = if path.ends_with(".xz") {
            unxz(sdk, &from)?
        } else {
            packed
        };
        std::fs::write(&to, plain).map_err(|e| disk_failure("write", &to, e))?;
    }
    let names: LoadOrder = order
        .iter()
        .map(|(b, paths)| {
            let names = paths.iter().map(|p| file_name(p).to_owned());
            (b.clone(), names.collect())
        })
        .collect();
    std::fs::write(
        list,
        serde_json::to_string_pretty(&names).expect("plain data"),
    )
    .map_err(|e| disk_failure("write", list, e))
}

fn copy_dtbs(from: &Path, into: &Path) -> Result<(), Failure> {
    for entry in std::fs::read_dir(from).map_err(|e| disk_failure("read", from, e))? {
        let path = entry.map_err(|e| disk_failure("read", from, e))?.path();
        let name = path.file_name().expect("an entry has a name");
        std::fs::copy(&path, into.join(name)).map_err(|e| disk_failure("copy", &path, e))?;
    }
    Ok(())
}

/// Runs a filter of the SDK root from one file into another.
fn gzip(sdk: &Sdk, from: &Path, to: &Path) -> Result<(), Failure> {
    let input = std::fs::File::open(from).map_err(|e| disk_failure("read", from, e))?;
    let output = std::fs::File::create(to).map_err(|e| disk_failure("create", to, e))?;
    let out = sdk
        .sandbox()
        .command("gzip")
        .args(["-9", "-n", "-c"])
        .stdin(input)
        .stdout(output)
        .stderr(Stdio::piped())
        .output()
        .map_err(crate::sdk::no_bwrap)?;
    if out.status.success() {
        return Ok(());
    }
    Err(crate::sdk::explain(
        "gzip",
        &out.status.to_string(),
        &String::from_utf8_lossy(&out.stderr),
    ))
}

fn unxz(sdk: &Sdk, path: &Path) -> Result<Vec<u8>, Failure> {
    let dir = path.parent().expect("a module lies in a folder");
    let name = path
        .file_name()
        .expect("a module has a name")
        .to_string_lossy();
    Ok(sdk
        .sandbox()
        .read(dir, "/work")
        .run("xz", &["-dc".to_owned(), format!("/work/{name}")])?
        .stdout)
}

fn file_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_suffix(".xz").unwrap_or(name)
}

/// What `modules.dep` and `modules.builtin` say.
struct Dependencies {
    /// Module name → its path and the paths it needs, nearest first.
    modules: BTreeMap<String, (String, Vec<String>)>,
    built_in: BTreeSet<String>,
}

/// `kernel/fs/ext4/ext4.ko.xz` → `ext4`; the kernel takes `-` and `_` for the same.
fn module_name(path: &str) -> String {
    let name = file_name(path);
    name.strip_suffix(".ko").unwrap_or(name).replace('-', "_")
}

impl Dependencies {
    fn parse(dep: &str, builtin: &str) -> Self {
        let modules = dep
            .lines()
            .filter_map(|l| l.split_once(':'))
            .map(|(path, needs)| {
                (
                    module_name(path),
                    (
                        path.to_owned(),
                        needs.split_whitespace().map(str::to_owned).collect(),
                    ),
                )
            })
            .collect();
        Self {
            modules,
            built_in: builtin.lines().map(module_name).collect(),
        }
    }

    fn load_order(&self, names: &[String]) -> Result<Vec<String>, Failure> {
        let mut order: Vec<String> = Vec::new();
        for name in names {
            let name = name.replace('-', "_");
            let Some((path, needs)) = self.modules.get(&name) else {
                if self.built_in.contains(&name) {
                    continue;
                }
                return Err(Failure::new(format!("the kernel has no module {name}"))
                    .hint("correct the module list under board/"));
            };
            // depmod lists the closest dependency first, so the last is the one to load first.
            for p in needs.iter().rev().chain([path]) {
                if !order.contains(p) {
                    order.push(p.clone());
                }
            }
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_built_in_ones_are_left_out() {
        let d = Dependencies::parse(
            "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz\n\
             kernel/fs/jbd2/jbd2.ko.xz:\nkernel/fs/mbcache.ko.xz:\n",
            "kernel/drivers/tty/serial/amba-pl011.ko\n",
        );
        let order = d
            .load_order(&["amba-pl011".into(), "ext4".into(), "jbd2".into()])
            .unwrap();
        assert_eq!(
            order,
            [
                "kernel/fs/mbcache.ko.xz",
                "kernel/fs/jbd2/jbd2.ko.xz",
                "kernel/fs/ext4/ext4.ko.xz"
            ]
        );
        let gone = d.load_order(&["nonesuch".into()]).unwrap_err();
        assert_eq!(gone.to_string(), "the kernel has no module nonesuch");
    }
}
