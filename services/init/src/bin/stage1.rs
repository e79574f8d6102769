//! stage1: `/init` of the initramfs. Finds the slot it was booted from, puts
//! dm-verity over its root image and hands over to `/bin/init` in there.
//!
//! It runs once from top to bottom; whatever fails is said on the console and
//! then ends this process, which panics the kernel, which restarts the machine
//! (`panic=10`), so that a bad trial slot falls back by itself.

use roost_board::Board;
use roost_init::block::{self, Uevents};
use roost_init::boot_times::{STAGE1_ENV, Steps};
use roost_init::kmsg::{Kmsg, Level};
use roost_init::watchdog::{self, Watchdog};
use roost_init::{boot, devmapper, mounts, verity};
use rustix::mount::{MountFlags, mount_move};
use rustix::process::{chdir, chroot};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Where the root file system is put before it becomes `/`.
const NEW_ROOT: &str = "/sysroot";
/// How long the disk may take to appear. A slow card with its USB and SD
/// drivers is there within seconds; behind this limit lies only a restart.
const DISK_LIMIT: Duration = Duration::from_secs(30);

type Failure = Box<dyn std::error::Error>;

fn main() {
    let mut steps = Steps::begin();
    let early = mounts::kernel_filesystems();
    let mut log = Kmsg::open();
    let result = early
        .map_err(Failure::from)
        .and_then(|()| run(&mut steps, &mut log));
    if let Err(reason) = result {
        log.line(Level::Console, &format!("stage1: {reason}; restarting"));
    }
    // Leaving PID 1 is the kernel panic we want.
    std::process::exit(1);
}

fn run(steps: &mut Steps, log: &mut Kmsg) -> Result<(), Failure> {
    let board = board()?;
    let args = boot::args();
    let mut guard = Guard {
        allowed: args.as_ref().is_ok_and(|args| args.watchdog),
        watchdog: None,
    };
    // Complaints about the arguments wait until there is a driver for every console.
    load_modules(board, &mut guard, log)?;
    steps.done("modules");
    let args = args?;
    let partition = boot::slot(&args)?;
    let uevents = Uevents::open().map_err(|e| format!("cannot listen for devices: {e}"))?;
    let mut found = None;
    let deadline = Instant::now() + DISK_LIMIT;
    while found.is_none() && Instant::now() < deadline {
        guard.feed();
        found = uevents
            .wait_for("block", watchdog::EVERY, || {
                let disk = block::find_disk(args.disk_id)?;
                let slot = block::find_partition(&disk, partition)?;
                Some((disk, slot))
            })
            .map_err(|e| format!("cannot wait for the disk: {e}"))?;
    }
    let (disk, slot) = found.ok_or_else(|| {
        format!(
            "no disk with id {:08x} and a partition {partition} appeared in {} s",
            args.disk_id,
            DISK_LIMIT.as_secs()
        )
    })?;
    steps.done("disk");
    log.line(
        Level::Quiet,
        &format!(
            "stage1: board {board}, disk {}, slot {}",
            disk.name, slot.name
        ),
    );

    let linear = verity::linear(&args.root, &slot.number);
    if args.root.start_sector.saturating_add(linear.sectors) > slot.sectors {
        return Err(format!("root.img reaches beyond {}", slot.name).into());
    }
    let linear = devmapper::create("roost-image", &linear)
        .map_err(|e| format!("cannot map root.img in {}: {e}", slot.name))?;
    let checked = devmapper::create("roost-root", &verity::verity(&args.root, &linear.number))
        .map_err(|e| format!("cannot start dm-verity over {}: {e}", slot.name))?;
    steps.done("dm-verity");
    mounts::mount_at(
        &checked.node,
        NEW_ROOT,
        "erofs",
        MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID,
        "",
    )?;
    // The whole limit for what lies between here and init's first feeding.
    guard.feed();
    steps.done("mount root");
    switch_root(steps)
}

/// The watchdog, as soon as its driver is loaded: from then on a hang ends in a
/// restart. Starting init closes it without the `V` that would stop it (Linux,
/// Documentation/watchdog/watchdog-api.rst, "Magic Close"; both i6300esb and
/// bcm2835_wdt have it), so it runs on until init opens it again. The kernel
/// says "watchdog did not stop!" then, which is what we want.
struct Guard {
    /// Whether it may be started.
    allowed: bool,
    watchdog: Option<Watchdog>,
}

impl Guard {
    /// Starts the watchdog if it has appeared, or puts off its restart.
    fn feed(&mut self) {
        match &mut self.watchdog {
            Some(watchdog) => watchdog.feed(),
            None if self.allowed => self.watchdog = Watchdog::open(),
            None => {}
        }
    }
}

/// Which board this is, from the device tree.
fn board() -> Result<Board, Failure> {
    let path = "/proc/device-tree/compatible";
    let compatible = fs::read(path).map_err(|e| format!("cannot read {path}: {e}"))?;
    Board::from_compatible(&compatible).ok_or_else(|| {
        format!(
            "unknown board: {}",
            String::from_utf8_lossy(&compatible).replace('\0', " ")
        )
        .into()
    })
}

/// Loads the board's modules in the order the builder listed them. One that
/// is refused is reported and passed over: what really needed it fails later
/// with its own message, and what did not need it still boots.
fn load_modules(board: Board, guard: &mut Guard, log: &mut Kmsg) -> Result<(), Failure> {
    let list = format!("/modules/{}", board.module_list());
    let names = fs::read_to_string(&list).map_err(|e| format!("cannot read {list}: {e}"))?;
    for name in names.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let loaded = File::open(Path::new("/modules").join(name))
            .and_then(|file| Ok(rustix::system::finit_module(&file, c"", 0)?));
        match loaded {
            Ok(()) => {}
            // The kernel has it already.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::EXIST.raw_os_error()) => {
            }
            Err(error) => log.line(
                Level::Console,
                &format!("stage1: cannot load module {name}: {error}"),
            ),
        }
        // A module may hang as well; the watchdog's own is the first.
        guard.feed();
    }
    Ok(())
}

/// Makes the mounted root `/`, frees the initramfs and starts init. Returns
/// only if that fails.
fn switch_root(steps: &mut Steps) -> Result<(), Failure> {
    for (_, target, _, _) in mounts::KERNEL {
        let new = format!("{NEW_ROOT}{target}");
        mount_move(target, new.as_str())
            .map_err(|e| format!("cannot move {target} to {new}: {e}"))?;
    }
    let initramfs = fs::metadata("/")
        .map_err(|e| format!("cannot look at /: {e}"))?
        .dev();
    delete_tree(Path::new("/"), initramfs);
    chdir(NEW_ROOT).map_err(|e| format!("cannot enter {NEW_ROOT}: {e}"))?;
    mount_move(".", "/").map_err(|e| format!("cannot make {NEW_ROOT} the root: {e}"))?;
    chroot(".").map_err(|e| format!("cannot change root: {e}"))?;
    chdir("/").map_err(|e| format!("cannot enter the new root: {e}"))?;
    steps.done("switch root");
    let error = Command::new("/bin/init")
        .env_clear()
        .env(STAGE1_ENV, steps.hand_over())
        .exec();
    Err(format!("cannot start /bin/init: {error}").into())
}

/// Removes everything on device `dev` below `folder`: the initramfs would
/// otherwise take memory for as long as the box runs. What cannot be removed
/// only costs memory.
fn delete_tree(folder: &Path, dev: u64) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        // Mount points, the new root among them, are on other devices.
        if metadata.dev() != dev {
            continue;
        }
        if metadata.is_dir() {
            delete_tree(&path, dev);
            let _ = fs::remove_dir(&path);
        } else {
            let _ = fs::remove_file(&path);
        }
    }
}
