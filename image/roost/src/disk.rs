//! The slot, the selector and the data file system, put together as a disk image.

use crate::error::Failure;
use crate::fat;
use crate::flash::card::Finder;
use crate::rootfs::Verity;
use crate::sdk::Sdk;
use crate::store::disk_failure;
use roost_board::cmdline::{BootArgs, RootSpec, cmdline_txt};
use roost_board::fat::{FatError, FileSystem};
use roost_board::layout::{Layout, SECTOR, Slot};
use roost_service::card;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Output;

/// File names in a slot that the builder itself makes.
pub const KERNEL: &str = "Image.gz";
/// The initramfs.
pub const INITRAMFS: &str = "initrd.img";
/// The verity-protected root file system.
pub const ROOT: &str = "root.img";
/// The finished slot, `into/slot.img`.
pub const SLOT_IMAGE: &str = "slot.img";
/// The finished selector partition.
pub const SELECTOR_IMAGE: &str = "selector.img";
/// The data file system as built.
pub const DATA_IMAGE: &str = "data.img";

/// Time of everything in the data file system, in seconds since 1970: the first that FAT knows as well.
const BUILT: u64 = 315_532_800;

/// Bytes of a block of an update, and of the root file system.
pub const BLOCK: u64 = roost_bundle::limits::BLOCK as u64;

/// What of our own code decides the bytes of the partitions, for cache keys:
/// sizes and places, the boot selection, the words of the command line.
pub fn inputs(disk_id: u32) -> String {
    let root = RootSpec {
        start_sector: 0,
        data_blocks: 0,
        root_hash: [0; 32],
        salt: [0; 32],
    };
    format!(
        "{disk_id:08x} {:?} {:?} {}",
        Layout::STANDARD,
        roost_board::autoboot::render(Slot::A),
        cmdline_txt(&BootArgs::new(disk_id, root)),
    )
}

/// Makes `slot.img` in `into` from the files in `parts` (which holds everything but `cmdline.txt`), in
/// their order; [`ROOT`] is the last of them.
///
/// The file ends where the slot's last file ends: what lies behind it on a card means nothing.
pub fn slot(
    sdk: &Sdk,
    parts: &Path,
    files: &[String],
    disk_id: u32,
    verity: &Verity,
    into: &Path,
) -> Result<(), Failure> {
    // Clusters of 4 KiB, which mkfs.vfat puts at multiples of 4 KiB: so every file begins with a block
    // of an update, and is found again when it has moved.
    fat::format(
        sdk,
        into,
        SLOT_IMAGE,
        Layout::STANDARD.slot(Slot::A).bytes(),
        8,
        "ROOST",
        disk_id,
    )?;
    // Into an empty file system, so that each lies in one piece behind the one before.
    fat::copy(sdk, into, SLOT_IMAGE, parts, files)?;
    let path = into.join(SLOT_IMAGE);
    let start_sector = root_start(&path)?;
    let hash = |text: &str| -> Result<[u8; 32], Failure> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|e| {
            Failure::new(format!("veritysetup gave a hash that is none: {text}")).because(e)
        })?;
        Ok(bytes)
    };
    let root = RootSpec {
        start_sector,
        data_blocks: verity.data_blocks,
        root_hash: hash(&verity.root_hash)?,
        salt: hash(&verity.salt)?,
    };
    let cmdline =
        tempfile::tempdir_in(into).map_err(|e| disk_failure("create a folder in", into, e))?;
    let text = cmdline.path().join("cmdline.txt");
    std::fs::write(&text, cmdline_txt(&BootArgs::new(disk_id, root)))
        .map_err(|e| disk_failure("write", &text, e))?;
    fat::copy(
        sdk,
        into,
        SLOT_IMAGE,
        cmdline.path(),
        &["cmdline.txt".to_owned()],
    )?;
    let end = used(&path)?;
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(end))
        .map_err(|e| disk_failure("cut", &path, e))
}

fn open_slot(slot: &Path) -> Result<FileSystem<File>, Failure> {
    let file = File::open(slot).map_err(|e| disk_failure("read", slot, e))?;
    FileSystem::open(file).map_err(unreadable)
}

fn unreadable(e: FatError) -> Failure {
    Failure::new("the slot just made cannot be read back").because(e)
}

/// A folder with all parts under their names in the slot.
pub fn gather(parts: &[(String, PathBuf)], dir: &Path) -> Result<tempfile::TempDir, Failure> {
    let gathered =
        tempfile::tempdir_in(dir).map_err(|e| disk_failure("create a folder in", dir, e))?;
    for (name, from) in parts {
        let to = gathered.path().join(name);
        std::fs::copy(from, &to).map_err(|e| disk_failure("copy", from, e))?;
    }
    Ok(gathered)
}

/// First sector of `root.img` in the slot, once it is sure to lie in one piece
/// and to begin with a block of 4096 bytes.
fn root_start(slot: &Path) -> Result<u64, Failure> {
    let extents = open_slot(slot)?.extents(ROOT).map_err(unreadable)?;
    match extents.as_slice() {
        [one] if one.offset.is_multiple_of(BLOCK) => Ok(one.offset / SECTOR),
        [one] => Err(Failure::new(format!(
            "{ROOT} begins at byte {} of the slot, no multiple of {BLOCK}",
            one.offset
        ))),
        _ => Err(Failure::new(format!(
            "{ROOT} lies in {} pieces in the slot",
            extents.len()
        ))),
    }
}

/// Bytes of the slot up to the end of its last file, in whole blocks.
///
/// Its folder may have clusters behind that; they hold names, so they are not zeros.
fn used(slot: &Path) -> Result<u64, Failure> {
    let files = open_slot(slot)?.end_of_files().map_err(unreadable)?;
    Ok(files.max(last_data(slot)?).next_multiple_of(BLOCK))
}

/// Where the last byte that is not zero ends.
fn last_data(path: &Path) -> Result<u64, Failure> {
    let fail = |e| disk_failure("read", path, e);
    let mut file = File::open(path).map_err(fail)?;
    let (mut at, mut end) = (0, 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(fail)?;
        if n == 0 {
            return Ok(end);
        }
        if let Some(last) = buffer[..n].iter().rposition(|b| *b != 0) {
            end = at + last as u64 + 1;
        }
        at += n as u64;
    }
}

/// Makes `selector.img` in `into`: `autoboot.txt` naming slot A, and the Pi 3's boot code.
pub fn selector(sdk: &Sdk, bootcode: &Path, into: &Path, disk_id: u32) -> Result<(), Failure> {
    let size = Layout::STANDARD.selector.bytes();
    fat::format(
        sdk,
        into,
        SELECTOR_IMAGE,
        size,
        1,
        "SELECTOR",
        disk_id.wrapping_add(1),
    )?;
    let parts =
        tempfile::tempdir_in(into).map_err(|e| disk_failure("create a folder in", into, e))?;
    let write = |name: &str, bytes: &[u8]| {
        let path = parts.path().join(name);
        std::fs::write(&path, bytes).map_err(|e| disk_failure("write", &path, e))
    };
    write("autoboot.txt", &roost_board::autoboot::render(Slot::A))?;
    write(
        "bootcode.bin",
        &std::fs::read(bootcode).map_err(|e| disk_failure("read", bootcode, e))?,
    )?;
    fat::copy(
        sdk,
        into,
        SELECTOR_IMAGE,
        parts.path(),
        &["autoboot.txt".to_owned(), "bootcode.bin".to_owned()],
    )
}

/// Makes `data.img` in `into`: an ext4 that can grow to 2 TiB without being unmounted, and in it
/// nothing but the placeholder that `roost flash` writes over.
pub fn data(sdk: &Sdk, uuid: &str, into: &Path) -> Result<(), Failure> {
    let inputs =
        tempfile::tempdir_in(into).map_err(|e| disk_failure("create a folder in", into, e))?;
    make_data(uuid, into, inputs.path(), |program, arguments| {
        sdk.sandbox()
            .write(into, "/work")
            .read(inputs.path(), "/inputs")
            .env("SOURCE_DATE_EPOCH", &BUILT.to_string())
            .run(program, arguments)
    })
}

/// What debugfs(8) does to put the placeholder there. `mke2fs -d` would take owner and times from
/// this machine's file, and nothing can set a file's ctime.
fn placeholder_commands() -> String {
    let (folder, name) = card::PATH_IN_DATA
        .rsplit_once('/')
        .expect("the card lies in a folder");
    let mut text = format!(
        "set_current_time @{BUILT}\nmkdir {folder}\ncd {folder}\nwrite /inputs/card {name}\ncd /\n"
    );
    for (path, mode) in [(folder, "040700"), (card::PATH_IN_DATA, "0100600")] {
        for (field, value) in [("mode", mode), ("uid", "0"), ("gid", "0")] {
            text += &format!("set_inode_field {path} {field} {value}\n");
        }
        for field in ["atime", "ctime", "mtime", "crtime"] {
            text += &format!("set_inode_field {path} {field} @{BUILT}\n");
        }
    }
    text
}

/// Does it with `run`, which sees `into` as `/work` and `inputs` as `/inputs`.
fn make_data(
    uuid: &str,
    into: &Path,
    inputs: &Path,
    run: impl Fn(&str, &[&str]) -> Result<Output, Failure>,
) -> Result<(), Failure> {
    let write = |name: &str, bytes: &[u8]| {
        let path = inputs.join(name);
        std::fs::write(&path, bytes).map_err(|e| disk_failure("write", &path, e))
    };
    write("card", &card::placeholder())?;
    write("commands", placeholder_commands().as_bytes())?;
    let path = into.join(DATA_IMAGE);
    let fail = |e| disk_failure("create", &path, e);
    File::create(&path)
        .map_err(fail)?
        .set_len(Layout::STANDARD.data.bytes())
        .map_err(fail)?;
    // resize= in blocks: room for the group descriptors of 2 TiB, so that growing needs no rebuild.
    // A journal of 8 MiB suits a mail store's small synchronous writes and spares the card.
    let extended = format!(
        "hash_seed={uuid},lazy_itable_init=0,lazy_journal_init=0,resize=536870912,nodiscard"
    );
    let image = "/work/data.img";
    run(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            "4096",
            "-m",
            "1",
            "-J",
            "size=8",
            "-L",
            "roost-data",
            "-U",
            uuid,
            "-E",
            &extended,
            image,
        ],
    )?;
    let made = run("debugfs", &["-w", "-f", "/inputs/commands", image])?;
    // Each service has a quota. After debugfs, which does not count what it puts there.
    run("tune2fs", &["-Q", "usrquota", image])?;
    // debugfs ends well even if a command of its failed: what counts is what is there now.
    run("e2fsck", &["-f", "-n", image])?;
    let stat = format!("stat {}", card::PATH_IN_DATA);
    let stat = run("debugfs", &["-R", &stat, image])?;
    let stat = String::from_utf8_lossy(&stat.stdout);
    let words: Vec<&str> = stat.split_whitespace().collect();
    let says = |pair: [&str; 2]| words.windows(2).any(|found| found == pair);
    if !says(["Mode:", "0600"]) || !says(["User:", "0"]) || !says(["Group:", "0"]) {
        return Err(Failure::new(
            "the data file system just made lacks the file for `roost flash`",
        )
        .because(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    let file = File::open(&path).map_err(fail)?;
    Finder::search(file)
        .map_err(fail)?
        .only()
        .map(drop)
        .map_err(|why| {
            Failure::new("`roost flash` could not use the data file system just made").because(why)
        })
}

/// Writes the whole image. Blocks of zeros are not written, so the file is as small on disk as it can be.
pub fn assemble(
    selector: &Path,
    slot: &Path,
    data: &Path,
    disk_id: u32,
    to: &Path,
) -> Result<(), Failure> {
    let layout = Layout::STANDARD;
    let fail = |e| disk_failure("write", to, e);
    let mut disk = File::create(to).map_err(fail)?;
    disk.set_len(layout.total_bytes()).map_err(fail)?;
    for (from, extent) in [
        (selector, layout.selector),
        (slot, layout.slot_a),
        (data, layout.data),
    ] {
        copy_sparse(from, &mut disk, extent.offset(), to)?;
    }
    // Last: until the table is there, a half-written image is no disk to anybody.
    disk.rewind().map_err(fail)?;
    disk.write_all(&layout.mbr(disk_id).to_bytes())
        .map_err(fail)?;
    disk.sync_all().map_err(fail)
}

fn copy_sparse(from: &Path, disk: &mut File, offset: u64, to: &Path) -> Result<(), Failure> {
    let mut source = OpenOptions::new()
        .read(true)
        .open(from)
        .map_err(|e| disk_failure("read", from, e))?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = offset;
    loop {
        let n = source
            .read(&mut buffer)
            .map_err(|e| disk_failure("read", from, e))?;
        if n == 0 {
            return Ok(());
        }
        if buffer[..n].iter().any(|&b| b != 0) {
            disk.seek(SeekFrom::Start(at))
                .map_err(|e| disk_failure("write", to, e))?;
            disk.write_all(&buffer[..n])
                .map_err(|e| disk_failure("write", to, e))?;
        }
        at += n as u64;
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::process::Command;

    /// The tools of this machine instead of those of the SDK root.
    pub fn make(into: &Path) -> Result<(), Failure> {
        let inputs = into.join("inputs");
        std::fs::create_dir_all(&inputs).unwrap();
        let here = |text: &str| {
            text.replace("/work", &into.display().to_string())
                .replace("/inputs", &inputs.display().to_string())
        };
        make_data(
            "11111111-2222-4333-8444-555555555555",
            into,
            &inputs,
            |program, arguments| {
                if arguments.contains(&"-f") && program == "debugfs" {
                    let commands = inputs.join("commands");
                    let text = std::fs::read_to_string(&commands).unwrap();
                    std::fs::write(&commands, here(&text)).unwrap();
                }
                let out = Command::new(program)
                    .env("PATH", "/usr/sbin:/sbin")
                    .env("SOURCE_DATE_EPOCH", BUILT.to_string())
                    // What the tools before 1.47.1 look at instead.
                    .env("E2FSPROGS_FAKE_TIME", BUILT.to_string())
                    .args(arguments.iter().map(|text| here(text)))
                    .output()
                    .unwrap();
                assert!(out.status.success(), "{program}: {out:?}");
                Ok(out)
            },
        )
    }

    #[test]
    fn the_data_file_system_has_the_placeholder_once_and_the_same_bytes_each_time() {
        if !Path::new("/sbin/mke2fs").exists() {
            return eprintln!("skipped: no e2fsprogs");
        }
        let images = [(), ()].map(|()| {
            let dir = tempfile::Builder::new().prefix("data-").tempdir().unwrap();
            make(dir.path()).unwrap();
            std::fs::read(dir.path().join(DATA_IMAGE)).unwrap()
        });
        assert!(images[0] == images[1], "two builds differ");
        let at = Finder::search(&images[0][..]).unwrap().only().unwrap();
        let at = usize::try_from(at.at).unwrap();
        assert_eq!(images[0][at..at + card::SIZE], card::placeholder());
    }
}
