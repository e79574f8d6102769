use super::*;
use proptest::prelude::*;
use std::fs::File;
use std::io::Cursor;
use std::process::Command;

/// A file system that this program made in a file, if it is installed.
fn made(program: &str, options: &[&str], mib: u64) -> Option<File> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(mib << 20).unwrap();
    let found = ["/sbin", "/usr/sbin"].map(|folder| format!("{folder}/{program}"));
    let Some(program) = found
        .iter()
        .find(|path| std::path::Path::new(path).exists())
    else {
        eprintln!("skipped: no {program}");
        return None;
    };
    let done = Command::new(program)
        .args(options)
        .arg(file.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    Some(file.into_file())
}

fn mark(file_system: FileSystem, id: &str, label: &str) -> Found {
    let mark = DiskMark {
        file_system,
        id: id.to_owned(),
        label: label.to_owned(),
    };
    assert_eq!(mark.check(), Ok(()));
    Found::Usable(mark)
}

#[test]
fn ext4_has_a_uuid_and_a_name() {
    let uuid = "0f0e0d0c-0b0a-4908-8706-050403020100";
    let options = ["-q", "-F", "-t", "ext4", "-U", uuid, "-L", "My backups"];
    let Some(mut disk) = made("mke2fs", &options, 16) else {
        return;
    };
    assert_eq!(
        look(&mut disk).unwrap(),
        mark(FileSystem::Ext4, uuid, "My backups")
    );
}

#[test]
fn fat_has_a_number_and_a_name() {
    for (kind, mib) in [(fatfs::FatType::Fat16, 32), (fatfs::FatType::Fat32, 64)] {
        let mut disk = Cursor::new(vec![0; mib << 20]);
        let options = fatfs::FormatVolumeOptions::new()
            .fat_type(kind)
            .volume_id(0x1a2b_3c4d)
            .volume_label(*b"BACK\x84UP    ");
        fatfs::format_volume(&mut disk, options).unwrap();
        let found = look(&mut disk).unwrap();
        assert_eq!(
            found,
            mark(FileSystem::Vfat, "1A2B-3C4D", "BACK?UP"),
            "{kind:?}"
        );
    }
    let mut disk = Cursor::new(vec![0; 32 << 20]);
    let options = fatfs::FormatVolumeOptions::new().volume_id(7);
    fatfs::format_volume(&mut disk, options).unwrap();
    assert_eq!(
        look(&mut disk).unwrap(),
        mark(FileSystem::Vfat, "0000-0007", "")
    );
}

/// An exFAT whose root folder lies at the cluster 4, by the specification's own tables.
fn small_exfat(label: &str) -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    disk[..11].copy_from_slice(b"\xeb\x76\x90EXFAT   ");
    disk[88..92].copy_from_slice(&256_u32.to_le_bytes());
    disk[96..100].copy_from_slice(&4_u32.to_le_bytes());
    disk[100..104].copy_from_slice(&0x00c0_ffee_u32.to_le_bytes());
    // Sectors of 512 bytes, clusters of 8 sectors.
    (disk[108], disk[109]) = (9, 3);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let root = 256 * 512 + 2 * 4096;
    let units: Vec<u8> = label.encode_utf16().flat_map(u16::to_le_bytes).collect();
    // The map of free clusters may come before.
    disk[root] = 0x81;
    disk[root + 32] = 0x83;
    disk[root + 33] = (units.len() / 2) as u8;
    disk[root + 34..root + 34 + units.len()].copy_from_slice(&units);
    disk
}

#[test]
fn exfat_has_a_number_and_a_name() {
    let mut disk = Cursor::new(small_exfat("Sicherung Ü"));
    assert_eq!(
        look(&mut disk).unwrap(),
        mark(FileSystem::Exfat, "00C0-FFEE", "Sicherung Ü")
    );
    let mut nameless = small_exfat("");
    nameless[256 * 512 + 2 * 4096 + 32] = 0x03;
    assert_eq!(
        look(&mut Cursor::new(nameless)).unwrap(),
        mark(FileSystem::Exfat, "00C0-FFEE", "")
    );
    let Some(mut disk) = made("mkfs.exfat", &["-L", "Stick"], 16) else {
        return;
    };
    let Found::Usable(found) = look(&mut disk).unwrap() else {
        panic!("no exFAT");
    };
    assert_eq!(
        (found.file_system, found.label.as_str()),
        (FileSystem::Exfat, "Stick")
    );
}

#[test]
fn what_cannot_be_used_has_a_name() {
    for (at, what, name) in [
        (0, &b"LUKS\xba\xbe"[..], "LUKS (it is encrypted)"),
        (3, b"-FVE-FS-", "BitLocker (it is encrypted)"),
        (3, b"NTFS    ", "NTFS"),
        (32, b"NXSB", "APFS"),
        (1024, b"H+", "HFS+"),
        (0, b"XFSB", "XFS"),
        (BTRFS as usize, b"_BHRfS_M", "btrfs"),
    ] {
        let mut disk = vec![0; 128 << 10];
        disk[at..at + what.len()].copy_from_slice(what);
        assert_eq!(
            look(&mut Cursor::new(disk)).unwrap(),
            Found::Other(name.to_owned())
        );
    }
    for disk in [
        vec![],
        vec![0; 512],
        vec![0; 128 << 10],
        vec![0xff; 128 << 10],
    ] {
        assert_eq!(look(&mut Cursor::new(disk)).unwrap(), Found::Nothing);
    }
    // A partition table is no file system.
    let mut table = vec![0; 4096];
    table[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(look(&mut Cursor::new(table)).unwrap(), Found::Nothing);
}

proptest! {
    /// Whatever is changed in a sound beginning: a mark that is found is one.
    #[test]
    fn any_disk_gives_a_mark_or_none(
        kind in 0..3,
        changes in proptest::collection::vec((0_usize..2048, any::<u8>()), 0..40),
        length in 0_usize..(1 << 20),
    ) {
        let mut disk = match kind {
            0 => small_exfat("x"),
            1 => {
                let mut disk = Cursor::new(vec![0; 1 << 20]);
                fatfs::format_volume(&mut disk, fatfs::FormatVolumeOptions::new()).unwrap();
                disk.into_inner()
            }
            _ => {
                let mut disk = vec![0; 1 << 20];
                disk[1024 + 56..1024 + 58].copy_from_slice(&[0x53, 0xef]);
                disk
            }
        };
        for (at, byte) in changes {
            disk[at] = byte;
        }
        disk.truncate(length);
        if let Found::Usable(mark) = look(&mut Cursor::new(disk)).unwrap() {
            prop_assert_eq!(mark.check(), Ok(()));
        }
    }
}
