//! The data partition: checked, mounted, grown to the disk's end — never formatted.
//!
//! In this order, because what cannot be used is left as it was found: until
//! the file system is mounted and writable, nothing is written that stays. What
//! e2fsck has changed before it gave up is put back (see [`check`]).
//!
//! Runs in a child (`init --data`), because a check may take minutes and PID 1
//! waits for nothing. It mounts into init's own mount namespace. Every output
//! line is for the log; if it fails, the last one is the reason.

use crate::block::{self, Device, Uevents};
use crate::boot;
use crate::ext4::{self, Superblock};
use crate::{limits, mounts, quota, reset, undo, wish};
use roost_board::layout::{DATA_PARTITION, SELECTOR_PARTITION};
use roost_service::card;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use rustix::mount::MountFlags;
use rustix::rand::GetRandomFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where the data lies.
pub const MOUNT_POINT: &str = "/data";
/// Growing the partition is worth a write from this gain on.
const WORTH_GROWING: u64 = 8 << 20;
/// The disk is there already (the root is on it); its partition needs no more
/// than the kernel's scan.
const PARTITION_LIMIT: Duration = Duration::from_secs(10);

type Failure = Box<dyn std::error::Error>;

/// The child program; returns the exit status.
pub fn main() -> i32 {
    match bring_up() {
        Ok(()) => 0,
        Err(reason) => {
            println!("{reason}");
            1
        }
    }
}

fn bring_up() -> Result<(), Failure> {
    let args = boot::args()?;
    let find = || {
        let disk = block::find_disk(args.disk_id)?;
        let partition = block::find_partition(&disk, DATA_PARTITION)?;
        Some((disk, partition))
    };
    let (disk, mut partition) = Uevents::open()
        .and_then(|uevents| uevents.wait_for("block", PARTITION_LIMIT, find))
        .map_err(|e| format!("cannot look for the data partition: {e}"))?
        .ok_or_else(|| format!("the disk has no data partition (number {DATA_PARTITION})"))?;
    check(Path::new("/bin/e2fsck"), &partition.node())?;
    let flags = mounts::INERT | MountFlags::NOATIME;
    mounts::mount_at(
        &format!("/dev/{}", partition.name),
        MOUNT_POINT,
        "ext4",
        flags,
        // Damage found while in use must not spread; the next boot checks and repairs. What a file
        // was to hold and the card did not take is damage as well.
        "errors=remount-ro,data_err=abort,usrquota",
    )
    .map_err(|e| format!("the data partition cannot be used: {e}"))?;
    reset(&disk)?;
    prepare_folders().map_err(|e| format!("the data partition cannot be written: {e}"))?;
    // Less room is no reason to refuse mail.
    match grow_partition(&disk) {
        Ok(None) => {}
        Ok(Some(sectors)) => {
            println!(
                "data partition grown from {} to {} MiB",
                partition.sectors >> 11,
                sectors >> 11
            );
            partition.sectors = sectors;
        }
        Err(error) => println!("cannot grow the data partition: {error}"),
    }
    // Also when the partition was long enough: a power cut may have come between the two.
    if let Err(error) = grow_file_system(&partition) {
        println!("cannot grow the data file system: {error}");
    }
    // A service can be of use without them.
    if let Err(error) = quota::set(Path::new(&partition.node()), Path::new(MOUNT_POINT)) {
        println!("services may fill the card: {error}");
    }
    if let Err(error) = limits::share_disk(&disk.name) {
        println!("services do not share the card's time by their weights: {error}");
    }
    Ok(())
}

/// Does the factory reset that was begun, or that a file on partition 1 asks for.
fn reset(disk: &Device) -> Result<(), Failure> {
    let wish = block::find_partition(disk, SELECTOR_PARTITION)
        .and_then(|selector| wish::ask(&selector.node()));
    let mut medium = reset::Disk::new(MOUNT_POINT);
    // A half-wiped box must not start: its next start goes on with the wiping.
    match reset::take_up(&mut medium, wish, new_code)
        .map_err(|e| format!("the factory reset cannot be finished: {e}"))?
    {
        reset::Done::Nothing => {}
        reset::Done::Wiped => println!("factory reset: mail, accounts and settings are gone"),
        reset::Done::Unsure => println!(
            "what is remembered of factory resets cannot be read: a file that asks for one is not obeyed"
        ),
    }
    Ok(())
}

/// A pairing code that nobody knows.
pub fn new_code() -> String {
    let mut random = [0; 5];
    // Waits for the kernel's entropy: a code that can be guessed would give the box away.
    while rustix::rand::getrandom(&mut random, GetRandomFlags::empty()) != Ok(random.len()) {}
    card::code(random)
}

/// Lets entry 4 of the partition table reach to the end of the disk. Returns
/// the new number of sectors if that changed it.
fn grow_partition(disk: &Device) -> io::Result<Option<u64>> {
    let Some(mbr) = block::read_mbr(&disk.node())? else {
        return Ok(None);
    };
    let Some(grown) = mbr.grow_last(disk.sectors) else {
        return Ok(None);
    };
    let (Some(old), Some(new)) = (
        mbr.partition(DATA_PARTITION),
        grown.partition(DATA_PARTITION),
    ) else {
        return Ok(None);
    };
    if new.bytes() - old.bytes() < WORTH_GROWING {
        return Ok(None);
    }
    let mut node = OpenOptions::new()
        .read(true)
        .write(true)
        .open(disk.node())?;
    // One sector in one write: a power cut leaves the old table or the new one.
    node.write_all(&grown.to_bytes())?;
    node.sync_all()?;
    resize_partition(&node, DATA_PARTITION, new.offset(), new.bytes())?;
    Ok(Some(u64::from(new.sectors)))
}

/// `struct blkpg_partition` (linux/blkpg.h).
#[repr(C)]
struct BlkpgPartition {
    start: i64,
    length: i64,
    number: i32,
    names: [u8; 128],
}

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct BlkpgArg {
    op: i32,
    flags: i32,
    length: i32,
    data: *mut BlkpgPartition,
}

const BLKPG: Opcode = opcode::none(0x12, 105);
const BLKPG_RESIZE_PARTITION: i32 = 3;
const EXT4_IOC_RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);

/// Tells the kernel a partition's new length (bytes).
#[expect(unsafe_code, reason = "BLKPG has no interface but ioctl")]
fn resize_partition(disk: &File, number: u8, start: u64, length: u64) -> io::Result<()> {
    let mut partition = BlkpgPartition {
        start: i64::try_from(start).map_err(io::Error::other)?,
        length: i64::try_from(length).map_err(io::Error::other)?,
        number: number.into(),
        names: [0; 128],
    };
    let arg = BlkpgArg {
        op: BLKPG_RESIZE_PARTITION,
        flags: 0,
        length: size_of::<BlkpgPartition>() as i32,
        data: &raw mut partition,
    };
    // SAFETY: BLKPG reads a `blkpg_ioctl_arg` and, through its pointer, a
    // `blkpg_partition`; both live until the call returns.
    unsafe { ioctl(disk, Setter::<BLKPG, BlkpgArg>::new(arg)) }?;
    Ok(())
}

/// Tells ext4 to fill `blocks` blocks, while mounted.
#[expect(unsafe_code, reason = "ext4 grows online by ioctl only")]
fn resize_file_system(mount_point: &File, blocks: u64) -> io::Result<()> {
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64.
    unsafe { ioctl(mount_point, Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks)) }?;
    Ok(())
}

/// Repairs what can be repaired without a decision (`e2fsck -p`).
///
/// e2fsck writes its repairs while it goes on, and may meet something that
/// only a person can decide after the first of them. It therefore notes what
/// was there before (`-z`), and that is put back when it gives up: a rescue
/// of the data shall start from what the accident left.
fn check(program: &Path, node: &Path) -> Result<(), Failure> {
    // Init's /tmp is still nobody else's: no service runs before the data is there.
    let undo = std::env::temp_dir().join(format!("e2fsck-{}.undo", std::process::id()));
    // e2fsck goes on with a file that it finds.
    let _ = fs::remove_file(&undo);
    let output = Command::new(program)
        .args(["-p", "-z"])
        .arg(&undo)
        .arg(node)
        .output()
        .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    for line in [&output.stdout, &output.stderr]
        .into_iter()
        .flat_map(|text| text.split(|&b| b == b'\n'))
    {
        // Its hint at the undo file, which nobody can follow here.
        let hint = line.starts_with(b"Overwriting existing") || line.starts_with(b"    e2undo ");
        if !line.is_empty() && !hint {
            println!("e2fsck: {}", crate::ring::clean(line));
        }
    }
    // e2fsck(8): 1 = errors corrected, 2 = restart wanted (only for a mounted
    // root), 4 and more = not usable as it is.
    let reason = match output.status.code() {
        Some(0..=2) => None,
        Some(code) => Some(format!(
            "the data partition is damaged (e2fsck status {code})"
        )),
        None => Some("the check of the data partition was interrupted".into()),
    };
    let before = match reason {
        None => Ok(()),
        Some(_) => put_back(&undo, node),
    };
    let _ = fs::remove_file(&undo);
    match (reason, before) {
        (None, _) => Ok(()),
        (Some(reason), Ok(())) => Err(reason.into()),
        (Some(reason), Err(error)) => {
            Err(format!("{reason}; what e2fsck changed stays: {error}").into())
        }
    }
}

/// Writes back what e2fsck has changed.
fn put_back(undo: &Path, node: &Path) -> io::Result<()> {
    let file = match fs::read(undo) {
        // It never came to a change.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let old = undo::old_contents(&file).ok_or(io::ErrorKind::InvalidData)?;
    if old.is_empty() {
        return Ok(());
    }
    let device = OpenOptions::new().write(true).open(node)?;
    for (place, bytes) in old {
        device.write_all_at(bytes, place)?;
    }
    device.sync_all()
}

fn grow_file_system(partition: &Device) -> io::Result<()> {
    let mut node = File::open(partition.node())?;
    let mut bytes = [0; ext4::LENGTH];
    node.seek(SeekFrom::Start(ext4::OFFSET))?;
    node.read_exact(&mut bytes)?;
    let Some(superblock) = Superblock::parse(&bytes) else {
        return Ok(());
    };
    let Some(blocks) = superblock.growth(partition.sectors * 512) else {
        return Ok(());
    };
    resize_file_system(&File::open(MOUNT_POINT)?, blocks)?;
    println!(
        "data file system grown to {} MiB",
        (blocks * superblock.block_size) >> 20
    );
    Ok(())
}

/// The folders at the top: services may enter their own below `services`, nobody else's. That of
/// settings is shown to those who read them, and must be there before anything is chosen.
fn prepare_folders() -> io::Result<()> {
    for (name, mode) in [
        ("services", 0o711),
        ("init", 0o700),
        ("log", 0o700),
        ("settings", 0o755),
    ] {
        let path = Path::new(MOUNT_POINT).join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::set_permissions(&path, fs::Permissions::from_mode(mode))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of e2fsprogs on this machine, if it is installed.
    fn tool(name: &str) -> Option<std::path::PathBuf> {
        ["/sbin", "/usr/sbin"]
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.exists())
    }

    /// A file system with something in it, damaged by `damage`.
    fn damaged(name: &str, damage: impl FnOnce(&File)) -> Option<std::path::PathBuf> {
        let mke2fs = tool("mke2fs").or_else(|| {
            eprintln!("skipped: no e2fsprogs");
            None
        })?;
        let path = std::env::temp_dir().join(format!("roost-{}-{name}.ext4", std::process::id()));
        File::create(&path).unwrap().set_len(16 << 20).unwrap();
        let made = Command::new(mke2fs)
            .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-d"])
            .args([Path::new(env!("CARGO_MANIFEST_DIR")), &path])
            .status();
        assert!(made.unwrap().success());
        damage(&OpenOptions::new().write(true).open(&path).unwrap());
        Some(path)
    }

    /// What the check says, and whether it left the card alone.
    fn checked(path: &Path) -> (Result<(), String>, bool) {
        let before = fs::read(path).unwrap();
        let result = check(&tool("e2fsck").unwrap(), path).map_err(|e| e.to_string());
        let same = before == fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        (result, same)
    }

    #[test]
    fn a_hopeless_file_system_is_left_as_it_is() {
        type Damage = fn(&File) -> io::Result<()>;
        let damages: [(&str, Damage); 4] = [
            ("superblock", |fs| fs.write_all_at(&[0xff; 4096], 0)),
            ("everything", |fs| fs.write_all_at(&vec![0xa5; 16 << 20], 0)),
            // e2fsck -p deletes the journal and clears inodes before it gives up on these.
            ("descriptors", |fs| fs.write_all_at(&[0xa5; 4096], 4096)),
            ("metadata", |fs| fs.write_all_at(&vec![0xa5; 1 << 20], 4096)),
        ];
        for (name, damage) in damages {
            let Some(path) = damaged(name, |fs| damage(fs).unwrap()) else {
                return;
            };
            let (result, same) = checked(&path);
            let reason = result.unwrap_err();
            let plain = reason.starts_with("the data partition is damaged (e2fsck status ");
            assert!(plain && reason.ends_with(')'), "{name}: {reason}");
            assert!(same, "{name}");
        }
    }

    #[test]
    fn what_can_be_repaired_is_repaired() {
        // "Errors were found while it was mounted": checked in full and marked as sound again.
        let (Some(debugfs), Some(path)) = (tool("debugfs"), damaged("repairable", |_| ())) else {
            return;
        };
        let done = Command::new(debugfs)
            .args(["-w", "-R", "set_super_value state 2"])
            .arg(&path)
            .output();
        assert!(done.unwrap().status.success());
        assert_eq!(checked(&path), (Ok(()), false));
        let Some(path) = damaged("sound", |_| ()) else {
            return;
        };
        assert_eq!(checked(&path), (Ok(()), true), "nothing to repair");
    }
}
