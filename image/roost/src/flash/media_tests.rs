//! A made-up machine: what it has, and what may be written over.

use super::*;
use crate::flash::guard::{self, Verdict};
use crate::flash::show;
use roost_board::layout::Layout;
use std::os::unix::fs::{FileExt, symlink};

/// Files below a folder that stand for `/sys`, `/proc` and `/dev`.
pub struct Fake {
    root: tempfile::TempDir,
    disks: u32,
}

impl Fake {
    pub fn new() -> Self {
        let fake = Self {
            root: tempfile::tempdir().unwrap(),
            disks: 0,
        };
        fake.mounts(&[]);
        fake.put("proc/swaps", "Filename Type Size Used Priority\n");
        fake
    }

    pub fn machine(&self) -> Machine {
        Machine::new(self.root.path())
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A disk at this place in the tree of devices, with partitions of so many bytes.
    fn disk(&mut self, name: &str, way: &str, model: &str, bytes: u64, parts: &[u64]) {
        self.disks += 1;
        let major = self.disks;
        let sys = format!("sys/devices/{way}/block/{name}");
        self.put(&format!("{sys}/dev"), &format!("{major}:0\n"));
        self.put(&format!("{sys}/size"), &format!("{}\n", bytes / 512));
        self.put(&format!("{sys}/ro"), "0\n");
        self.put(&format!("{sys}/removable"), "0\n");
        self.put(&format!("{sys}/device/model"), &format!("{model:<16}\n"));
        let mut start = 8192;
        for (n, bytes) in (1..).zip(parts) {
            let p = if name.ends_with(|c: char| c.is_ascii_digit()) {
                "p"
            } else {
                ""
            };
            let part = format!("{sys}/{name}{p}{n}");
            self.put(&format!("{part}/partition"), &format!("{n}\n"));
            self.put(&format!("{part}/dev"), &format!("{major}:{n}\n"));
            self.put(&format!("{part}/start"), &format!("{start}\n"));
            self.put(&format!("{part}/size"), &format!("{}\n", bytes / 512));
            start += bytes / 512;
        }
        let link = self.root.path().join("sys/block").join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(Path::new("..").join(&sys["sys/".len()..]), link).unwrap();
        self.put(&format!("dev/{name}"), "");
    }

    fn set(&self, disk: &str, file: &str, text: &str) {
        self.put(&format!("sys/block/{disk}/{file}"), text);
    }

    /// Bytes at a place of a disk.
    fn write(&self, disk: &str, at: u64, bytes: &[u8]) {
        let path = self.root.path().join("dev").join(disk);
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    fn mounts(&self, lines: &[&str]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.put("proc/self/mountinfo", &text);
    }

    fn medium(&self, name: &str) -> Medium {
        match self.machine().by_name(name) {
            Named::Disk(medium) => *medium,
            other => panic!("{name}: {other:?}"),
        }
    }
}

const USB: &str = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host4/target4:0:0/4:0:0:0";
const GB: u64 = 1_000_000_000;

/// A laptop: encrypted root on NVMe, a card reader with a card from elsewhere, one without, a
/// stick, a backup disk, a built-in reader with a box's card.
pub fn laptop() -> Fake {
    let mut fake = Fake::new();
    fake.disk(
        "nvme0n1",
        "pci0000:00/nvme/nvme0",
        "SAMSUNG 980",
        500 * GB,
        &[GB, 499 * GB],
    );
    fake.disk("dm-0", "virtual", "", 499 * GB, &[]);
    fake.set("dm-0", "slaves/nvme0n1p2", "");
    for (name, model, bytes, parts) in [
        (
            "sdb",
            "STORAGE DEVICE",
            31_914_983_424,
            &[GB / 2, 31 * GB][..],
        ),
        ("sdc", "STORAGE DEVICE", 0, &[]),
        ("sdd", "Cruzer\u{1b} Blade", 500_000_256, &[]),
    ] {
        fake.disk(
            name,
            &USB.replace("4:0", &format!("4{name}:0")),
            model,
            bytes,
            parts,
        );
        fake.set(name, "removable", "1\n");
        fake.set(name, "device/vendor", "Generic \n");
    }
    fake.disk(
        "sde",
        &USB.replace("4:0", "9:0"),
        "Backup Plus",
        2000 * GB,
        &[1999 * GB],
    );
    fake.disk(
        "mmcblk0",
        "pci0000:00/mmc_host/mmc0/mmc0:0001",
        "",
        15_931_539_456,
        &[GB, GB],
    );
    fake.set("mmcblk0", "device/type", "SD\n");
    fake.set("mmcblk0", "device/name", "SC16G\n");
    fs::remove_file(fake.root.path().join("sys/block/mmcblk0/device/model")).unwrap();
    fake.disk("loop0", "virtual", "", GB, &[]);
    for name in ["dm-0", "loop0"] {
        fs::remove_dir_all(fake.root.path().join("sys/block").join(name).join("device")).unwrap();
    }

    let mut fat = [0; 512];
    fat[71..90].copy_from_slice(b"bootfs     FAT32   ");
    fake.write("sdb", 8192 * 512, &fat);
    let mut ext = [0; 2048];
    ext[1080..1082].copy_from_slice(&[0x53, 0xef]);
    ext[1144..1150].copy_from_slice(b"rootfs");
    fake.write("sdb", 8192 * 512 + GB / 2 / 512 * 512, &ext);
    let mut exfat = [0; 512];
    exfat[3..11].copy_from_slice(b"EXFAT   ");
    fake.write("sdd", 0, &exfat);
    fake.write("mmcblk0", 0, &Layout::STANDARD.mbr(7).to_bytes());
    ext[1144..1154].copy_from_slice(b"roost-data");
    fake.write("mmcblk0", Layout::STANDARD.data.offset(), &ext);

    fake.mounts(&[
        "22 1 2:0 / / rw,relatime shared:1 - ext4 /dev/mapper/root rw",
        "30 22 1:1 / /boot/efi rw - vfat /dev/nvme0n1p1 rw",
        "31 22 0:21 / /proc rw - proc proc rw",
        "40 22 6:1 / /media/alice/My\\040backup rw - ext4 /dev/sde1 rw",
    ]);
    fake
}

fn all(fake: &Fake, needed: Option<u64>) -> Vec<(Medium, Verdict)> {
    let media = fake.machine().media().into_iter();
    media
        .map(|medium| {
            let verdict = guard::judge(&medium, needed);
            (medium, verdict)
        })
        .collect()
}

#[test]
fn the_list_shows_what_is_there_and_what_may_be_used() {
    let fake = laptop();
    let media = all(&fake, Some(809_500_672));
    let text = anstream::adapter::strip_str(&show::list(&media)).to_string();
    insta::assert_snapshot!(text);
    let json = serde_json::to_string_pretty(&show::Listed::new(&media)).unwrap();
    insta::assert_snapshot!("the_list_for_scripts", json);
    let none = show::list(&[]);
    assert_eq!(none, "No card and no stick was found.\n");
}

/// One line for each thing that keeps a disk from being written over.
#[test]
fn the_guard_says_why() {
    let mut fake = laptop();
    fake.disk(
        "sdf",
        &USB.replace("4:0", "7:0"),
        "Stick",
        8 * GB,
        &[4 * GB, 4 * GB],
    );
    fake.set("sdf", "removable", "1\n");
    let verdict = |fake: &Fake, name: &str| {
        let medium = fake.medium(name);
        let (word, why) = show::verdict(&guard::judge(&medium, Some(GB)));
        format!("{name}: {word} {why}").trim_end().to_owned() + "\n"
    };
    let mut text = String::new();
    for name in [
        "nvme0n1", "sdb", "sdc", "sdd", "sde", "mmcblk0", "loop0", "sdf",
    ] {
        text += &verdict(&fake, name);
    }
    let with = |fake: &Fake, what: &str| format!("{what}: {}", verdict(fake, "sdf"));
    fake.mounts(&["40 22 10:2 / /media/alice/photos rw - vfat /dev/sdf2 rw"]);
    text += &with(&fake, "mounted");
    fake.mounts(&["22 1 10:1 / / rw - ext4 /dev/sdf1 rw"]);
    text += &with(&fake, "root");
    // btrfs has device numbers of its own.
    fake.mounts(&["22 1 0:35 /@ / rw - btrfs /dev/sdf1 rw,subvol=/@"]);
    text += &with(&fake, "root on btrfs");
    fake.mounts(&["22 1 10:1 / /boot/firmware rw - vfat /dev/sdf1 rw"]);
    text += &with(&fake, "boot");
    fake.mounts(&["22 1 10:1 / /usr rw - vfat /dev/sdf1 rw"]);
    text += &with(&fake, "usr");
    fake.mounts(&[]);
    fake.put("proc/swaps", "Filename Type\n/dev/sdf2 partition 1 0 -2\n");
    text += &with(&fake, "swap");
    fake.put("proc/swaps", "Filename Type\n");
    fake.set("sdf", "ro", "1\n");
    text += &with(&fake, "read-only");
    fake.set("sdf", "ro", "0\n");
    fake.disk("md0", "virtual", "", GB, &[]);
    fake.set("md0", "slaves/sdf1", "");
    text += &with(&fake, "RAID");
    insta::assert_snapshot!(text);
}

#[test]
fn whatever_holds_the_system_is_never_written_over_at_whatever_depth() {
    let mut fake = Fake::new();
    fake.disk("sda", USB, "Stick", 8 * GB, &[4 * GB]);
    fake.set("sda", "removable", "1\n");
    for (n, below) in [(0, "sda1"), (1, "dm-0"), (2, "dm-1")] {
        let name = format!("dm-{n}");
        fake.disk(&name, "virtual", "", GB, &[]);
        fake.set(&name, &format!("slaves/{below}"), "");
    }
    fake.mounts(&["22 1 4:0 / / rw - ext4 /dev/mapper/vg-root rw"]);
    let verdict = guard::judge(&fake.medium("sda"), None);
    assert_eq!(
        verdict,
        Verdict::Never("this machine runs from it (/)".into(), None)
    );
    // A ring, which the kernel never shows, is no endless loop.
    fake.set("dm-0", "slaves/dm-2", "");
    let _ = fake.machine().media();
}

#[test]
fn only_whole_disks_and_files_can_be_named() {
    let fake = laptop();
    let machine = fake.machine();
    assert!(matches!(machine.by_name("sdb1"), Named::PartOf(disk) if disk == "sdb"));
    assert!(matches!(machine.by_name("dm-0"), Named::Other(_)));
    assert!(matches!(machine.by_name("sdz"), Named::Other(_)));
    let named = |path: &str| machine.named(Path::new(path)).unwrap();
    assert!(matches!(named("/dev/null"), Named::Other(_)));
    assert!(matches!(
        named("/dev/sdzz"),
        Named::Other("there is no such device")
    ));
    assert!(matches!(named("/tmp"), Named::Other("it is a folder")));
    assert!(matches!(named("/nowhere/card.img"), Named::File));
}

#[test]
fn the_kernels_escapes_are_undone() {
    assert_eq!(
        unescape(r"/media/My\040\134 disk\011"),
        "/media/My \\ disk\t"
    );
    assert_eq!(unescape(r"\04"), r"\04");
    assert_eq!(unescape("\\"), "\\");
}

/// Whatever this machine is: looking at it works, and its own disk is safe.
#[test]
fn this_machines_own_disk_is_refused() {
    let machine = Machine::new("/");
    for medium in machine.media() {
        let holds_root = medium
            .uses
            .iter()
            .any(|what| matches!(what, Use::Mounted { place, .. } if place == Path::new("/")));
        let verdict = guard::judge(&medium, None);
        assert!(
            !holds_root || matches!(verdict, Verdict::Never(..)),
            "{medium:?}"
        );
    }
}

/// A card that was only flashed is written over with `--yes`, one with mail on it is not.
#[test]
fn a_box_that_has_run_wants_its_name_typed() {
    let fake = laptop();
    assert_eq!(guard::judge(&fake.medium("mmcblk0"), None), Verdict::Fit);
    let mounted_at = Layout::STANDARD.data.offset() + 1068;
    fake.write("mmcblk0", mounted_at, &1_700_000_000_u32.to_le_bytes());
    let verdict = guard::judge(&fake.medium("mmcblk0"), None);
    assert!(
        matches!(&verdict, Verdict::TypeName(reasons) if reasons.len() == 1),
        "{verdict:?}"
    );
}

/// Whatever had this name when somebody was asked: what has it now is compared with that.
#[test]
fn another_card_in_the_reader_is_another_medium() {
    let fake = laptop();
    fake.set("sdb", "diskseq", "7\n");
    let asked = fake.medium("sdb");
    assert_eq!(asked, fake.medium("sdb"));
    fake.set("sdb", "diskseq", "9\n");
    assert_ne!(asked, fake.medium("sdb"));
}

/// The image's partition table would lead to other places there.
#[test]
fn a_disk_with_long_blocks_is_refused() {
    let fake = laptop();
    fake.set("sdb", "queue/logical_block_size", "4096\n");
    let verdict = guard::judge(&fake.medium("sdb"), None);
    assert!(
        matches!(&verdict, Verdict::Never(why, None) if why.contains("4096")),
        "{verdict:?}"
    );
}
