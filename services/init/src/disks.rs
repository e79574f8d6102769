//! USB disks: which are plugged in, and lending a folder of one to the service that may have it.
//!
//! All of it runs in children, because a disk may take long or for ever to answer and PID 1 waits for nothing:
//!
//! - `init --disks` answers [`Request::Disks`](roost_service::control::Request::Disks). It loads the drivers, if
//!   nobody has asked before, looks for disks below USB in sysfs, and has what they hold looked at by
//!   `init --disk-holds`, a child without rights with the disk on its standard input: what is there was written by
//!   anybody.
//! - `init --lend-disk` mounts one, makes the folder, and shows it at [`disk::LENT`] ([`Wanted`] on its standard input).
//! - `init --take-disk-back` brings what was written onto the disk, and unmounts it.
//!
//! What they find out is one line of JSON on the standard output, [`Outcome`]. Who has the disk is decided in
//! [`crate::lending`].
//!
//! The service sees the folder and nothing else of the disk. [`disk::FOLDER`] is a mount whose propagation is shared;
//! in the service's container it is a slave (`container/enter.rs`), so that what is mounted below appears and vanishes
//! there too (linux/Documentation/filesystems/sharedsubtree.rst). The disk's own root is mounted for a moment only,
//! at a place that is shown to nobody.

use crate::block::{self, Uevents};
use crate::launch::{self, Confinement};
use crate::mounts::{self, INERT};
use crate::superblock::{self, Found};
use crate::{boot, wish};
use roost_board::Board;
use roost_service::disk::{self, Disk, DiskMark, FileSystem, MAX_DISKS};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, StatVfsMountFlags, Uid, fchown, fstat, mkdirat, open, openat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the builder puts the drivers for USB disks, with a list for each board.
pub const MODULES: &str = "/lib/modules";
/// The driver that is loaded last: once it is there, all are.
const LAST_MODULE: &str = "/sys/module/exfat";
/// After the drivers were loaded: the kernel gives a disk a second to settle
/// (`usb-storage.delay_use`), and a large one needs some to spin up.
const APPEARS_WITHIN: Duration = Duration::from_secs(6);
/// From the first sign of a disk until its partitions are told of, too.
const SETTLES_WITHIN: Duration = Duration::from_millis(500);
/// How long a disk may take to show what it holds.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// Longest answer of the child that looks, in bytes.
const MAX_ANSWER: usize = 2048;
/// User of the child that looks ("nobody").
const NOBODY: u32 = 65_534;
/// Where the root of a lent disk is mounted for a moment.
const WHOLE: &str = "/run/roost/disk";
/// Between two tries to unmount: a program that was killed needs a moment to be gone.
const UNMOUNT_EVERY: Duration = Duration::from_millis(100);
/// Tries after which the disk is only hidden from everybody, and let go by the kernel as soon as it can.
const UNMOUNT_TRIES: u32 = 30;
/// `MS_NOSYMFOLLOW` (linux/mount.h): a link on somebody's disk leads nowhere.
const NO_SYMLINKS: MountFlags = MountFlags::from_bits_retain(256);

/// What somebody wants to have lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which file system.
    pub disk: DiskMark,
    /// The folder on it.
    pub folder: String,
    /// Whose that is to be: user and group number.
    pub user: u32,
}

/// What came of a child's work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Of `--disks`.
    Disks(Vec<Disk>),
    /// It is done.
    Done,
    /// It is done, but for this.
    DoneBut(String),
    /// It is not.
    Refused(Refusal),
}

/// Why a disk cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, in plain words.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Refusal {
    /// With something to do.
    pub fn new(why: impl Into<String>, hint: &str) -> Self {
        Self {
            why: why.into(),
            hint: Some(hint.to_owned()),
        }
    }
}

const OTHER_DISK: &str = "choose another disk, or format this one on a computer as exFAT, FAT32 or ext4; that removes what is on it";
const CHECK_IT: &str = "have a computer check and repair its file system, then plug it in again";
const PLUG_IT: &str = "plug it in, and wait some seconds";
const SWITCH: &str =
    "look for a switch at its side; a stick that was worn out lets itself be read only";

/// Makes the folder in which a lent disk appears. What is mounted there appears in the containers that see it.
///
/// # Errors
/// A sentence.
pub fn prepare() -> Result<(), String> {
    mounts::mount_at("tmpfs", disk::FOLDER, "tmpfs", INERT, "mode=0755,size=64k")
        .map_err(|e| e.to_string())?;
    mount_change(disk::FOLDER, MountPropagationFlags::SHARED)
        .map_err(|e| format!("cannot share mounts in {}: {e}", disk::FOLDER))?;
    match fs::create_dir(disk::LENT) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("cannot make {}: {error}", disk::LENT))
        }
        _ => Ok(()),
    }
}

/// `init --disks`; returns the exit status.
pub fn list_main() -> i32 {
    tell(match list() {
        Ok(disks) => Outcome::Disks(disks),
        Err(refusal) => Outcome::Refused(refusal),
    })
}

/// `init --lend-disk`; returns the exit status.
pub fn lend_main() -> i32 {
    let mut text = Vec::new();
    let wanted = io::stdin()
        .take(4096)
        .read_to_end(&mut text)
        .and_then(|_| Ok(serde_json::from_slice::<Wanted>(&text)?));
    tell(match wanted {
        Ok(wanted) => match lend(&wanted) {
            Ok(()) => Outcome::Done,
            Err(refusal) => Outcome::Refused(refusal),
        },
        Err(error) => Outcome::Refused(Refusal {
            why: format!("init does not understand itself: {error}"),
            hint: None,
        }),
    })
}

/// `init --take-disk-back`; returns the exit status.
pub fn take_back_main() -> i32 {
    tell(match take_back() {
        None => Outcome::Done,
        Some(problem) => Outcome::DoneBut(problem),
    })
}

/// `init --disk-holds`; returns the exit status.
pub fn holds_main() -> i32 {
    let Ok(node) = io::stdin().as_fd().try_clone_to_owned() else {
        return 1;
    };
    let found = superblock::look(&mut File::from(node));
    match found.map(|found| serde_json::to_string(&found)) {
        Ok(Ok(line)) => {
            println!("{line}");
            0
        }
        _ => 1,
    }
}

fn tell(outcome: Outcome) -> i32 {
    match serde_json::to_string(&outcome) {
        Ok(line) => {
            println!("{line}");
            0
        }
        Err(_) => 1,
    }
}

/// What a child has told.
///
/// # Errors
/// When that is not one line of it.
pub fn outcome(text: &[u8]) -> Result<Outcome, String> {
    serde_json::from_slice(text).map_err(|error| {
        // A panic, for example.
        let said = String::from_utf8_lossy(text);
        let said = said.lines().next().unwrap_or("nothing");
        format!("what looks after disks has broken off ({error}): {said}")
    })
}

/// Loads the drivers, once in a start. Whoever plugs something in finds none until somebody asks for disks.
fn load_drivers(uevents: &Uevents) -> Result<(), Refusal> {
    if Path::new(LAST_MODULE).exists() {
        return Ok(());
    }
    let refused = |why: String| Refusal {
        why: format!("the drivers for USB disks cannot be loaded: {why}"),
        hint: None,
    };
    let path = "/proc/device-tree/compatible";
    let compatible = fs::read(path).map_err(|e| refused(format!("{path}: {e}")))?;
    let board = Board::from_compatible(&compatible)
        .ok_or_else(|| refused("this board is not known".to_owned()))?;
    let list = Path::new(MODULES).join(board.module_list());
    let names =
        fs::read_to_string(&list).map_err(|e| refused(format!("{}: {e}", list.display())))?;
    for name in names.lines().filter(|name| !name.is_empty()) {
        let loaded = File::open(Path::new(MODULES).join(name))
            .and_then(|file| Ok(rustix::system::finit_module(&file, c"", 0)?));
        match loaded {
            // Of an attempt before this one, or of stage1.
            Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {}
            Err(error) => return Err(refused(format!("{name}: {error}"))),
            Ok(()) => {}
        }
    }
    let found = uevents.wait_for("block", APPEARS_WITHIN, || {
        // Of a disk and its partitions, the disk is there first.
        (!on_usb().is_empty()).then_some(())
    });
    if let Ok(Some(())) = found {
        std::thread::sleep(SETTLES_WITHIN);
    }
    Ok(())
}

/// A block device below USB.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    name: String,
    /// The disk that it is a partition of.
    disk: Option<String>,
    sectors: u64,
}

/// All block devices below USB.
fn on_usb() -> Vec<Device> {
    let entries = fs::read_dir("/sys/class/block").into_iter().flatten();
    let mut found: Vec<Device> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let path = entry.path().canonicalize().ok()?;
            let below = path.ancestors().any(|folder| {
                let subsystem = fs::read_link(folder.join("subsystem"));
                subsystem.is_ok_and(|to| to.ends_with("bus/usb"))
            });
            let sectors = read_number(&path.join("size")).filter(|sectors| *sectors > 0)?;
            let disk = path.join("partition").exists().then(|| {
                let disk = path.parent().and_then(Path::file_name);
                disk.map(|name| name.to_string_lossy().into_owned())
            });
            below.then_some(Device {
                name,
                disk: disk.flatten(),
                sectors,
            })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// What can hold a file system: partitions, and disks without any.
fn places(devices: Vec<Device>) -> Vec<Device> {
    let divided: Vec<String> = devices.iter().filter_map(|d| d.disk.clone()).collect();
    let whole = |device: &Device| !divided.contains(&device.name);
    devices.into_iter().filter(whole).take(MAX_DISKS).collect()
}

/// What a disk says of itself, in letters that every terminal shows.
fn model(disk: &str) -> String {
    let device = Path::new("/sys/class/block").join(disk).join("device");
    let read = |name: &str| fs::read(device.join(name)).unwrap_or_default();
    words(&[read("vendor"), read("model")])
}

fn words(parts: &[Vec<u8>]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|part| {
            let shown = part.iter().filter(|b| b.is_ascii_graphic() || **b == b' ');
            let shown: String = shown.take(64).map(|b| char::from(*b)).collect();
            shown.trim().to_owned()
        })
        .filter(|part| !part.is_empty())
        .collect();
    match parts.join(" ") {
        none if none.is_empty() => "a USB disk".to_owned(),
        words => words,
    }
}

fn list() -> Result<Vec<Disk>, Refusal> {
    // Before the drivers: what they find is announced.
    let uevents = Uevents::open().map_err(|error| Refusal {
        why: format!("init cannot listen for disks: {error}"),
        hint: None,
    })?;
    load_drivers(&uevents)?;
    let own = boot::args().ok().map(|args| args.disk_id);
    Ok(places(on_usb())
        .iter()
        .map(|place| seen(place, own))
        .collect())
}

fn seen(place: &Device, own: Option<u32>) -> Disk {
    let disk = place.disk.as_deref().unwrap_or(&place.name);
    let node = |name: &str| Path::new("/dev").join(name);
    let of_box = own.is_some()
        && block::read_mbr(&node(disk))
            .ok()
            .flatten()
            .map(|mbr| mbr.disk_id())
            == own;
    let found = match of_box {
        true => Ok(Found::Nothing),
        false => ask(&node(&place.name)),
    };
    let (mark, trouble) = match found {
        Ok(Found::Usable(mark)) => (Some(mark), None),
        Ok(Found::Other(name)) => {
            let why = format!("it has {name}, which the box cannot write to");
            (None, Some((why, OTHER_DISK)))
        }
        Ok(Found::Nothing) if of_box => {
            let why = "it is a card of this box, or a copy of one".to_owned();
            (None, Some((why, "choose another disk")))
        }
        Ok(Found::Nothing) => {
            let why = "there is no file system on it that the box knows".to_owned();
            (None, Some((why, OTHER_DISK)))
        }
        Err(why) => (None, Some((why, "try another disk, or another socket"))),
    };
    let locked = [disk, &place.name]
        .into_iter()
        .any(|name| read_number(&Path::new("/sys/class/block").join(name).join("ro")) == Some(1));
    let trouble = match trouble {
        None if locked => Some(("it can only be read".to_owned(), SWITCH)),
        trouble => trouble,
    };
    let (problem, hint) = trouble.unzip();
    Disk {
        name: place.name.clone(),
        model: model(disk),
        bytes: place.sectors.saturating_mul(512),
        mark,
        problem,
        hint: hint.map(str::to_owned),
    }
}

/// Asks a child without rights what a disk holds.
fn ask(node: &Path) -> Result<Found, String> {
    let told = |error: io::Error| format!("it cannot be read: {error}");
    let (out, answer) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| told(e.into()))?;
    let mut command = Command::new("/bin/init");
    command
        .arg("--disk-holds")
        .env_clear()
        .current_dir("/")
        .stdin(File::open(node).map_err(told)?)
        .stdout(answer)
        .stderr(Stdio::null());
    let child = launch::start(command, Some(Confinement::of(NOBODY)))?;
    let answer = wish::read_for(&out, LOOK_LIMIT, MAX_ANSWER);
    // It has ended, or has nothing more to say.
    let _ = kill_process(child, Signal::KILL);
    // Not waited for if it hangs in the kernel: it is PID 1's then.
    let _ = waitpid(Some(child), WaitOptions::NOHANG);
    let answer = answer.ok_or("it does not answer in time")?;
    serde_json::from_slice(&answer).map_err(|_| "it cannot be read".to_owned())
}

fn lend(wanted: &Wanted) -> Result<(), Refusal> {
    let Wanted { disk, folder, user } = wanted;
    // A second look: this is root's work.
    disk.check()
        .and_then(|()| disk::check_folder(folder))
        .map_err(|error| Refusal {
            why: error.to_string(),
            hint: None,
        })?;
    let all = list()?;
    let place = choose(disk, &all)?;
    // What somebody did not give back.
    let _ = take_back();
    let whole = Whole::mount(&place.name, disk, *user)?;
    let folder = make(whole.root()?, folder, *user, disk)?;
    // Flags come along: a bind mount begins with those of what it is made from (mount(2)).
    let from = format!("/proc/self/fd/{}", folder.as_raw_fd());
    mount_bind(from.as_str(), disk::LENT).map_err(|error| Refusal {
        why: format!("the folder on {disk} cannot be shown to the service: {error}"),
        hint: None,
    })
}

/// The one disk that is meant.
fn choose<'a>(wanted: &DiskMark, all: &'a [Disk]) -> Result<&'a Disk, Refusal> {
    let found: Vec<&Disk> = (all.iter())
        .filter(|disk| disk.mark.as_ref() == Some(wanted))
        .collect();
    match found[..] {
        [disk] => match &disk.problem {
            None => Ok(disk),
            Some(problem) => Err(Refusal {
                why: format!("{wanted} cannot be used: {problem}"),
                hint: disk.hint.clone(),
            }),
        },
        [] => {
            let others: Vec<String> = all
                .iter()
                .map(|disk| match &disk.mark {
                    Some(mark) => mark.to_string(),
                    None => disk.model.clone(),
                })
                .collect();
            let why = match others.is_empty() {
                true => format!("the disk {wanted} is not plugged in"),
                false => format!(
                    "the disk {wanted} is not plugged in; these are: {}",
                    others.join(", ")
                ),
            };
            Err(Refusal::new(why, PLUG_IT))
        }
        _ => Err(Refusal::new(
            format!("two disks that are plugged in call themselves {wanted}: one is a copy"),
            "pull one of them out",
        )),
    }
}

/// The root of a disk, mounted until this is dropped.
struct Whole<'a>(&'a DiskMark);

impl<'a> Whole<'a> {
    fn mount(name: &str, disk: &'a DiskMark, user: u32) -> Result<Self, Refusal> {
        let flags = INERT | MountFlags::NOATIME | NO_SYMLINKS;
        // Those of FAT know no owner: all is the service's. After the first error nothing more is written to a disk.
        let (kind, data) = match disk.file_system {
            FileSystem::Ext4 => ("ext4", "errors=remount-ro".to_owned()),
            FileSystem::Exfat => (
                "exfat",
                format!("uid={user},gid={user},fmask=0177,dmask=0077,errors=remount-ro"),
            ),
            FileSystem::Vfat => (
                "vfat",
                format!("uid={user},gid={user},fmask=0177,dmask=0077,errors=remount-ro"),
            ),
        };
        // It holds the mount point's folder for root alone.
        let prepared = match fs::create_dir(WHOLE) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(WHOLE, fs::Permissions::from_mode(0o700))
            }
        };
        prepared.map_err(|error| Refusal {
            why: format!("cannot make {WHOLE}: {error}"),
            hint: None,
        })?;
        let node = format!("/dev/{name}");
        let data = std::ffi::CString::new(data).unwrap_or_default();
        rustix::mount::mount(node.as_str(), WHOLE, kind, flags, Some(data.as_c_str()))
            .map_err(|error| not_mounted(disk, error))?;
        let whole = Self(disk);
        // The kernel may have mounted what it does not trust, but not for writing.
        let state = rustix::fs::statvfs(WHOLE).map_err(|error| not_mounted(disk, error))?;
        match state.f_flag.contains(StatVfsMountFlags::RDONLY) {
            true => Err(Refusal::new(
                format!("{disk} can only be read: its file system is damaged, or it is locked"),
                CHECK_IT,
            )),
            false => Ok(whole),
        }
    }

    fn root(&self) -> Result<OwnedFd, Refusal> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(WHOLE, flags, Mode::empty()).map_err(|error| not_mounted(self.0, error))
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        // What is shown of it has a mount of its own.
        let _ = unmount(WHOLE, UnmountFlags::DETACH);
    }
}

fn not_mounted(disk: &DiskMark, error: Errno) -> Refusal {
    let (why, hint) = match error {
        Errno::ROFS | Errno::ACCESS => ("it can only be read".to_owned(), SWITCH),
        Errno::INVAL | Errno::UCLEAN | Errno::NOTSUP => (
            format!(
                "its file system is damaged, or of a kind that this kernel does not know ({error})"
            ),
            CHECK_IT,
        ),
        Errno::IO | Errno::NXIO | Errno::NODEV | Errno::NOENT | Errno::NOMEDIUM => {
            (format!("it was pulled out, or fails ({error})"), PLUG_IT)
        }
        _ => (error.to_string(), CHECK_IT),
    };
    Refusal::new(format!("{disk} cannot be used: {why}"), hint)
}

/// The folder for the service. A new one is given to it; one that is somebody else's stays that.
fn make(root: OwnedFd, folder: &str, user: u32, disk: &DiskMark) -> Result<OwnedFd, Refusal> {
    let refused = |error: Errno| match error {
        Errno::NOSPC | Errno::DQUOT => Refusal::new(
            format!("{disk} is full"),
            "make room on it at a computer, or choose another disk",
        ),
        Errno::NOTDIR | Errno::LOOP => Refusal::new(
            format!("{folder} on {disk} is no folder"),
            "choose another name for the folder",
        ),
        error => not_mounted(disk, error),
    };
    let mut at = root;
    let (mut is_new, mut any_new) = (false, false);
    for part in folder.split('/') {
        is_new = match mkdirat(&at, part, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(refused(error)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        at = openat(&at, part, flags, Mode::empty()).map_err(refused)?;
        any_new |= is_new;
    }
    let belongs = disk.file_system == FileSystem::Ext4;
    if belongs && is_new {
        // At once: one that stayed root's would be taken for somebody else's at the next try.
        fchown(&at, Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).map_err(refused)?;
    }
    if any_new {
        // Otherwise what is written there is lost with it when the disk is pulled out: of FAT, syncing a file brings
        // its own folder's entry onto the disk, and nothing above.
        rustix::fs::syncfs(&at).map_err(refused)?;
    }
    if belongs && fstat(&at).map_err(refused)?.st_uid != user {
        return Err(Refusal::new(
            format!("the folder {folder} on {disk} is there already, and is somebody else's"),
            "choose another name for the folder",
        ));
    }
    Ok(at)
}

/// Brings what was written onto the disk and unmounts it; says what went wrong.
pub fn take_back() -> Option<String> {
    let mut problem = None;
    // More than one, if an earlier one could not be unmounted.
    while let Some(node) = lent() {
        let synced = open(disk::LENT, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .and_then(|folder| rustix::fs::syncfs(&folder));
        if let Err(error) = synced {
            problem = Some(format!("not all is on the disk: {error}"));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match unmount(disk::LENT, UnmountFlags::empty()) {
                Ok(()) => break,
                Err(Errno::BUSY) if tries < UNMOUNT_TRIES => std::thread::sleep(UNMOUNT_EVERY),
                Err(error) => {
                    let line = format!("the disk is still in use: {error}");
                    problem.get_or_insert(line);
                    if unmount(disk::LENT, UnmountFlags::DETACH).is_err() {
                        return problem;
                    }
                    break;
                }
            }
        }
        // What a disk keeps in a memory of its own. FAT leaves that out (linux/fs/fat/inode.c).
        if let Ok(node) = File::open(node) {
            let _ = node.sync_all();
        }
    }
    problem
}

/// The node of the disk that is mounted at [`disk::LENT`].
fn lent() -> Option<std::path::PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let own = fs::metadata(disk::FOLDER).ok()?.dev();
    let there = fs::metadata(disk::LENT).map(|folder| folder.dev());
    match there {
        Ok(number) if number == own => None,
        Ok(number) => {
            let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
            let name = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok();
            let name = name.as_deref().and_then(Path::file_name);
            Some(Path::new("/dev").join(name.unwrap_or_default()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // A disk that was pulled out may not even tell its number.
        Err(_) => Some("/dev".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(id: &str) -> DiskMark {
        DiskMark {
            file_system: FileSystem::Vfat,
            id: id.to_owned(),
            label: "BACKUP".to_owned(),
        }
    }

    fn disk(mark: Option<DiskMark>, problem: Option<&str>) -> Disk {
        Disk {
            name: "sda1".into(),
            model: "SanDisk Ultra".into(),
            bytes: 1,
            mark,
            problem: problem.map(str::to_owned),
            hint: None,
        }
    }

    #[test]
    fn the_disk_that_is_meant_is_lent_and_no_other() {
        let wanted = mark("1A2B-3C4D");
        let own = disk(Some(wanted.clone()), None);
        assert_eq!(choose(&wanted, &[disk(None, None), own.clone()]), Ok(&own));
        let why = |all: &[Disk]| choose(&wanted, all).unwrap_err().why;
        let mut renamed = mark("1A2B-3C4D");
        renamed.label = "HOLIDAY".into();
        insta::assert_snapshot!(
            [
                why(&[]),
                why(&[disk(Some(mark("0000-0001")), None), disk(None, Some("it has NTFS"))]),
                why(&[disk(Some(renamed), None)]),
                why(&[own.clone(), own]),
                why(&[disk(Some(wanted.clone()), Some("it can only be read"))]),
            ]
            .join("\n"),
            @"
        the disk BACKUP (FAT, 1A2B-3C4D) is not plugged in
        the disk BACKUP (FAT, 1A2B-3C4D) is not plugged in; these are: BACKUP (FAT, 0000-0001), SanDisk Ultra
        the disk BACKUP (FAT, 1A2B-3C4D) is not plugged in; these are: HOLIDAY (FAT, 1A2B-3C4D)
        two disks that are plugged in call themselves BACKUP (FAT, 1A2B-3C4D): one is a copy
        BACKUP (FAT, 1A2B-3C4D) cannot be used: it can only be read
        "
        );
    }

    #[test]
    fn a_divided_disk_is_its_partitions() {
        let device = |name: &str, disk: Option<&str>| Device {
            name: name.into(),
            disk: disk.map(str::to_owned),
            sectors: 1,
        };
        let all = vec![
            device("sda", None),
            device("sda1", Some("sda")),
            device("sda2", Some("sda")),
            device("sdb", None),
        ];
        let names: Vec<String> = places(all).into_iter().map(|d| d.name).collect();
        assert_eq!(names, ["sda1", "sda2", "sdb"]);
        let many = (0..40).map(|n| device(&format!("sd{n}"), None)).collect();
        assert_eq!(places(many).len(), MAX_DISKS);
    }

    #[test]
    fn what_a_disk_says_of_itself_can_be_shown() {
        let of = |vendor: &[u8], model: &[u8]| words(&[vendor.to_vec(), model.to_vec()]);
        assert_eq!(of(b"SanDisk \n", b"Ultra \x1b[31m\n"), "SanDisk Ultra [31m");
        assert_eq!(of(b"", b"QEMU HARDDISK"), "QEMU HARDDISK");
        assert_eq!(of(b"\xff", b""), "a USB disk");
    }

    #[test]
    fn what_a_child_tells_is_understood_or_told() {
        let line = serde_json::to_vec(&Outcome::DoneBut("x".into())).unwrap();
        assert_eq!(outcome(&line), Ok(Outcome::DoneBut("x".into())));
        let told = outcome(b"thread 'main' panicked\n").unwrap_err();
        assert!(told.ends_with(": thread 'main' panicked"), "{told}");
    }
}
