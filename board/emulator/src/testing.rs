//! Disks for tests.

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use fscommon::StreamSlice;
use roost_board::autoboot;
use roost_board::layout::Slot;
use roost_board::mbr::{Kind, Mbr, Partition};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

const MIB: u64 = 1 << 20;
/// Bytes of the disk.
pub const SIZE: u64 = 32 * MIB;

/// A blob that a device tree parser takes: nothing but a root.
pub fn device_tree() -> Vec<u8> {
    dtoolkit::model::DeviceTree::new().to_dtb()
}

/// A disk with a selector and a slot A, and an empty slot B.
pub fn disk(path: &Path) {
    let part = |start: u64, mib: u64| {
        let (start, sectors) = ((start * MIB / 512) as u32, (mib * MIB / 512) as u32);
        Some(Partition {
            kind: Kind::Fat32,
            active: false,
            start,
            sectors,
        })
    };
    let mbr = Mbr::new(7, [part(1, 4), part(5, 8), part(13, 8), part(21, 8)]).unwrap();
    let mut file = File::create(path).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all(&mbr.to_bytes()).unwrap();
    for number in [1, 2, 3] {
        let options = FormatVolumeOptions::new()
            .fat_type(FatType::Fat16)
            .bytes_per_cluster(512);
        format_volume(slice(path, number), options).unwrap();
    }
    write(path, 1, autoboot::FILE, &autoboot::render(Slot::A));
    write(path, 1, "bootcode.bin", b"first stage");
    for (name, bytes) in [
        (
            "config.txt",
            &b"upstream_kernel=1\nkernel=Image.gz\ninitramfs initrd.gz followkernel\n"[..],
        ),
        (
            "cmdline.txt",
            b"panic=10 roost.disk=00000007\nsecond line\n",
        ),
        ("Image.gz", b"kernel of A"),
        ("initrd.gz", b"initramfs of A"),
        ("start.elf", b"second stage"),
        ("fixup.dat", b"its data"),
        ("bcm2837-rpi-3-b.dtb", &device_tree()),
    ] {
        write(path, 2, name, bytes);
    }
}

/// Fills slot B.
pub fn slot_b(path: &Path) {
    for (name, bytes) in [
        ("config.txt", &b"upstream_kernel=1\nkernel=Image.gz\n"[..]),
        ("cmdline.txt", b"panic=10\n"),
        ("Image.gz", b"kernel of B"),
        ("start.elf", b"second stage"),
        ("fixup.dat", b"its data"),
        ("bcm2837-rpi-3-b.dtb", &device_tree()),
    ] {
        write(path, 3, name, bytes);
    }
}

fn slice(path: &Path, number: u8) -> StreamSlice<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut sector = [0; 512];
    std::io::Read::read_exact(&mut file, &mut sector).unwrap();
    let place = *Mbr::from_bytes(&sector).unwrap().partition(number).unwrap();
    StreamSlice::new(file, place.offset(), place.offset() + place.bytes()).unwrap()
}

/// Writes a file of a partition.
pub fn write(path: &Path, number: u8, name: &str, bytes: &[u8]) {
    let fs = FileSystem::new(slice(path, number), FsOptions::new()).unwrap();
    let mut file = fs.root_dir().create_file(name).unwrap();
    file.truncate().unwrap();
    file.write_all(bytes).unwrap();
}

/// Removes a file of a partition.
pub fn remove(path: &Path, number: u8, name: &str) {
    let fs = FileSystem::new(slice(path, number), FsOptions::new()).unwrap();
    fs.root_dir().remove(name).unwrap();
}
