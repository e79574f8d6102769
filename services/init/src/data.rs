//! The data partition: grown to the disk's end, checked, mounted — never formatted.
//!
//! Runs in a child (`init --data`), because a check may take minutes and PID 1
//! waits for nothing. It mounts into init's own mount namespace. Every output
//! line is for the log; if it fails, the last one is the reason.

use crate::block::{self, Device, Uevents};
use crate::boot;
use crate::ext4::{self, Superblock};
use crate::mounts;
use roost_board::layout::DATA_PARTITION;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};
use rustix::mount::MountFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
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
        // Less room is no reason to refuse mail.
        Err(error) => println!("cannot grow the data partition: {error}"),
    }
    check(&partition)?;
    let flags = mounts::INERT | MountFlags::NOATIME;
    mounts::mount_at(
        &format!("/dev/{}", partition.name),
        MOUNT_POINT,
        "ext4",
        flags,
        "",
    )
    .map_err(|e| format!("the data partition cannot be used: {e}"))?;
    if let Err(error) = grow_file_system(&partition) {
        println!("cannot grow the data file system: {error}");
    }
    prepare_folders().map_err(|e| format!("the data partition cannot be written: {e}").into())
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
fn check(partition: &Device) -> Result<(), Failure> {
    let output = Command::new("/bin/e2fsck")
        .arg("-p")
        .arg(partition.node())
        .output()
        .map_err(|e| format!("cannot start /bin/e2fsck: {e}"))?;
    for line in [&output.stdout, &output.stderr]
        .into_iter()
        .flat_map(|text| text.split(|&b| b == b'\n'))
    {
        if !line.is_empty() {
            println!("e2fsck: {}", crate::ring::clean(line));
        }
    }
    // e2fsck(8): 1 = errors corrected, 2 = restart wanted (only for a mounted
    // root), 4 and more = not usable as it is.
    match output.status.code() {
        Some(0..=2) => Ok(()),
        Some(code) => Err(format!("the data partition is damaged (e2fsck status {code})").into()),
        None => Err("the check of the data partition was interrupted".into()),
    }
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

/// The folders at the top: services may enter their own below `services`, nobody else's.
fn prepare_folders() -> io::Result<()> {
    for (name, mode) in [("services", 0o711), ("init", 0o700), ("log", 0o700)] {
        let path = Path::new(MOUNT_POINT).join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => fs::set_permissions(&path, fs::Permissions::from_mode(mode))?,
        }
    }
    Ok(())
}
