use super::*;
use proptest::prelude::*;
use std::io::Cursor;

/// A file system put together by hand, to the specification: 512-byte
/// clusters, one FAT.
struct Image {
    bytes: Vec<u8>,
    width: Width,
    reserved: usize,
    fat_sectors: usize,
    root_sectors: usize,
}

const SECTOR: usize = 512;

impl Image {
    fn new(width: Width) -> Self {
        let (reserved, clusters, fat_sectors, root_sectors) = match width {
            Width::Fat16 => (1, 4200, 17, 32),
            Width::Fat32 => (32, 65_600, 513, 0),
        };
        let total = reserved + fat_sectors + root_sectors + clusters;
        let mut bytes = vec![0; total * SECTOR];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(11, &512u16.to_le_bytes());
        put(13, &[1]);
        put(14, &(reserved as u16).to_le_bytes());
        put(16, &[1]);
        put(17, &((root_sectors * 16) as u16).to_le_bytes());
        put(32, &(total as u32).to_le_bytes());
        match width {
            Width::Fat16 => put(22, &(fat_sectors as u16).to_le_bytes()),
            Width::Fat32 => {
                put(36, &(fat_sectors as u32).to_le_bytes());
                put(44, &2u32.to_le_bytes());
            }
        }
        put(510, &[0x55, 0xaa]);
        let mut image = Self {
            bytes,
            width,
            reserved,
            fat_sectors,
            root_sectors,
        };
        if width == Width::Fat32 {
            image.link(&[2]);
        }
        image
    }

    fn data(&self, cluster: u32) -> usize {
        (self.reserved + self.fat_sectors + self.root_sectors + cluster as usize - 2) * SECTOR
    }

    fn root(&self) -> usize {
        match self.width {
            Width::Fat16 => (self.reserved + self.fat_sectors) * SECTOR,
            Width::Fat32 => self.data(2),
        }
    }

    fn set_fat(&mut self, cluster: u32, next: u32) {
        let fat = self.reserved * SECTOR;
        match self.width {
            Width::Fat16 => {
                let at = fat + 2 * cluster as usize;
                self.bytes[at..at + 2].copy_from_slice(&(next as u16).to_le_bytes());
            }
            Width::Fat32 => {
                let at = fat + 4 * cluster as usize;
                // The reserved upper bits are set: readers must ignore them.
                self.bytes[at..at + 4].copy_from_slice(&(next | 0xf000_0000).to_le_bytes());
            }
        }
    }

    fn link(&mut self, chain: &[u32]) {
        for pair in chain.windows(2) {
            self.set_fat(pair[0], pair[1]);
        }
        self.set_fat(*chain.last().unwrap(), 0x0fff_ffff);
    }

    fn content(&mut self, chain: &[u32], bytes: &[u8]) {
        self.link(chain);
        for (cluster, piece) in chain.iter().zip(bytes.chunks(SECTOR)) {
            let at = self.data(*cluster);
            self.bytes[at..at + piece.len()].copy_from_slice(piece);
        }
    }

    /// Adds raw entries to the root folder.
    fn entries(&mut self, entries: &[[u8; 32]]) {
        let mut at = self.root();
        while self.bytes[at] != 0 {
            at += 32;
        }
        self.bytes[at..at + entries.len() * 32].copy_from_slice(&entries.concat());
    }

    fn open(&self) -> FileSystem<Cursor<&[u8]>> {
        FileSystem::open(Cursor::new(self.bytes.as_slice())).unwrap()
    }
}

fn short(name: &[u8; 11], attributes: u8, cluster: u32, size: usize) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    entry[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    entry[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    entry[28..].copy_from_slice(&(size as u32).to_le_bytes());
    entry
}

fn long(name: &str, short: [u8; 32]) -> Vec<[u8; 32]> {
    let sum = short[..11]
        .iter()
        .fold(0u8, |s, b| s.rotate_right(1).wrapping_add(*b));
    let mut units: Vec<u16> = name.encode_utf16().collect();
    if !units.len().is_multiple_of(13) {
        units.push(0);
        units.resize(units.len().next_multiple_of(13), 0xffff);
    }
    let pieces = units.len() / 13;
    let mut entries: Vec<[u8; 32]> = (1..)
        .zip(units.chunks(13))
        .map(|(number, piece)| {
            let mut entry = [0; 32];
            entry[0] = if number == pieces {
                0x40 | number as u8
            } else {
                number as u8
            };
            (entry[11], entry[13]) = (0x0f, sum);
            for (at, unit) in (1..11)
                .step_by(2)
                .chain((14..26).step_by(2))
                .chain([28, 30])
                .zip(piece)
            {
                entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry
        })
        .collect();
    entries.reverse();
    entries.push(short);
    entries
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i / 7) as u8).collect()
}

/// Two files, of which one is in pieces, and one in a folder.
fn sample(width: Width) -> Image {
    let mut image = Image::new(width);
    image.entries(&[short(b"LABEL      ", 0x08, 0, 0)]);
    let mut deleted = short(b"DELETED TXT", 0x20, 9, 9);
    deleted[0] = 0xe5;
    image.entries(&[deleted]);
    image.entries(&long(
        "bcm2837-rpi-3-b.dtb",
        short(b"BCM283~1DTB", 0x20, 10, 1500),
    ));
    image.content(&[10, 11, 20], &pattern(1500));
    let mut config = short(b"CONFIG  TXT", 0x20, 30, 5);
    config[12] = 0x18;
    image.entries(&[
        config,
        short(b"EMPTY      ", 0x20, 0, 0),
        short(b"OVERLAYS   ", 0x10, 40, 0),
    ]);
    image.content(&[30], b"a=b\nc");
    let inner = [
        short(b".          ", 0x10, 40, 0),
        short(b"..         ", 0x10, 0, 0),
        short(b"DEEP    BIN", 0x20, 50, 512),
    ];
    image.content(&[40], &inner.concat());
    image.content(&[50], &pattern(512));
    image
}

/// A FAT32 with one file in the root folder, in these clusters.
pub(crate) fn one_file(name: &[u8; 11], chain: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut image = Image::new(Width::Fat32);
    image.entries(&[short(name, 0x20, chain[0], bytes.len())]);
    image.content(chain, bytes);
    image.bytes
}

#[test]
fn files_are_read_whole_and_by_either_name() {
    for width in [Width::Fat16, Width::Fat32] {
        let image = sample(width);
        let mut fs = image.open();
        let names: Vec<String> = fs.list("").unwrap().into_iter().map(|i| i.name).collect();
        assert_eq!(
            names,
            ["bcm2837-rpi-3-b.dtb", "config.txt", "EMPTY", "OVERLAYS"]
        );
        assert_eq!(fs.read("BCM2837-RPI-3-B.dtb", 1500).unwrap(), pattern(1500));
        assert_eq!(fs.read("bcm283~1.dtb", 9999).unwrap(), pattern(1500));
        assert_eq!(fs.read("config.txt", 100).unwrap(), b"a=b\nc");
        assert_eq!(fs.read("empty", 0).unwrap(), b"");
        assert_eq!(
            fs.read("overlays/../overlays/deep.bin", 512).unwrap(),
            pattern(512)
        );
        assert!(fs.has_file("config.txt").unwrap());
        assert!(!fs.has_file("overlays").unwrap());
        assert!(!fs.has_file("overlays/none").unwrap());
    }
}

#[test]
fn extents_tell_whether_a_file_is_in_one_piece() {
    let image = sample(Width::Fat32);
    let mut fs = image.open();
    let at = |cluster| image.data(cluster) as u64;
    assert_eq!(
        fs.extents("bcm2837-rpi-3-b.dtb").unwrap(),
        [
            Extent {
                offset: at(10),
                bytes: 1024
            },
            Extent {
                offset: at(20),
                bytes: 476
            }
        ]
    );
    assert_eq!(
        fs.extents("config.txt").unwrap(),
        [Extent {
            offset: at(30),
            bytes: 5
        }]
    );
    assert_eq!(fs.extents("empty").unwrap(), []);
}

#[test]
fn a_file_system_inside_a_disk() {
    let image = sample(Width::Fat16);
    let mut disk = vec![0xa5; 4096];
    disk.extend(&image.bytes);
    disk.extend([0xa5; 512]);
    let mut fs = FileSystem::open_at(Cursor::new(disk), 4096, image.bytes.len() as u64).unwrap();
    assert_eq!(fs.read("config.txt", 100).unwrap(), b"a=b\nc");
    assert_eq!(
        fs.extents("config.txt").unwrap(),
        [Extent {
            offset: image.data(30) as u64,
            bytes: 5
        }]
    );
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let mut image = sample(Width::Fat16);
    image.entries(&[
        short(b"CIRCLE     ", 0x20, 60, 10_000_000),
        short(b"SHORT      ", 0x20, 70, 600),
        short(b"OUTSIDE    ", 0x20, 1, 600),
        short(b"LOOP       ", 0x10, 80, 0),
    ]);
    image.set_fat(60, 61);
    image.set_fat(61, 60);
    image.link(&[70]);
    image.set_fat(80, 80);
    let at = image.data(80);
    image.bytes[at] = 0xe5;
    let mut fs = image.open();
    let mut text = |path: &str| fs.read(path, u64::MAX).unwrap_err().to_string();
    assert_eq!(text("nothing"), "nothing does not exist");
    assert_eq!(text("no/thing"), "no does not exist");
    assert_eq!(text("overlays"), "overlays is a folder");
    assert_eq!(text("config.txt/x"), "config.txt is a file");
    assert_eq!(
        text("circle"),
        "the file system is damaged at circle: its chain of clusters runs in a circle"
    );
    assert_eq!(
        text("short"),
        "the file system is damaged at short: its chain of clusters ends before the file does"
    );
    assert_eq!(
        text("outside"),
        "the file system is damaged at outside: its chain leads to a cluster that does not exist"
    );
    assert_eq!(
        text("loop/x"),
        "the file system is damaged at loop: it has more than 65,536 entries, or its chain runs in a circle"
    );
    assert_eq!(
        fs.read("config.txt", 4).unwrap_err().to_string(),
        "config.txt has 5 bytes, more than 4"
    );
}

#[test]
fn what_is_no_file_system_is_refused() {
    let text = |bytes: &[u8]| {
        FileSystem::open(Cursor::new(bytes))
            .unwrap_err()
            .to_string()
    };
    let good = sample(Width::Fat16).bytes;
    let with = |at: usize, value: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + value.len()].copy_from_slice(value);
        text(&bad)
    };
    let because = |reason| format!("this is no FAT16 or FAT32 file system: {reason}");
    assert_eq!(text(b""), because("it is shorter than a sector"));
    assert_eq!(
        text(&[0; 512]),
        because("its first sector has no boot signature")
    );
    assert_eq!(with(11, &[0, 1]), because("its sector size is impossible"));
    assert_eq!(with(13, &[3]), because("its cluster size is impossible"));
    assert_eq!(with(16, &[0]), because("it has no FAT"));
    assert_eq!(
        with(22, &[1]),
        because("its FAT is too short for its clusters")
    );
    assert_eq!(with(22, &[0xff, 0xff]), because("it has no room for files"));
    assert_eq!(with(32, &[0, 1, 0, 0]), because("it is FAT12"));
    assert_eq!(
        text(&good[..good.len() - 1]),
        because("it is larger than its partition")
    );
}

#[test]
fn a_long_name_of_another_file_is_not_taken() {
    let mut image = Image::new(Width::Fat16);
    let mut torn = long(
        "a long name that needs three pieces.txt",
        short(b"ALONGN~1TXT", 0x20, 0, 0),
    );
    torn.remove(1);
    image.entries(&torn);
    let mut foreign = long("another long name.txt", short(b"ANOTHE~1TXT", 0x20, 0, 0));
    *foreign.last_mut().unwrap() = short(b"OTHER   TXT", 0x20, 0, 0);
    image.entries(&foreign);
    let names: Vec<String> = image
        .open()
        .list("")
        .unwrap()
        .into_iter()
        .map(|i| i.name)
        .collect();
    assert_eq!(names, ["ALONGN~1.TXT", "OTHER.TXT"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn damage_is_an_error_at_worst(
        fat32: bool,
        // The boot sector, the first sectors of the FAT, the root folder, the other folder.
        damage in proptest::collection::vec((0usize..4, 0usize..512, any::<u8>()), 1..40),
    ) {
        let width = if fat32 { Width::Fat32 } else { Width::Fat16 };
        let mut image = sample(width);
        let places = [0, image.reserved * SECTOR, image.root(), image.data(40)];
        for (place, at, byte) in damage {
            image.bytes[places[place] + at] = byte;
        }
        image.bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        if let Ok(mut fs) = FileSystem::open(Cursor::new(&image.bytes)) {
            let _ = fs.read("bcm2837-rpi-3-b.dtb", 1 << 20);
            let _ = fs.read("overlays/deep.bin", 1 << 20);
            for item in fs.list("").unwrap_or_default() {
                let total: u64 = fs.extents(&item.name).unwrap_or_default().iter().map(|e| e.bytes).sum();
                prop_assert!(total <= image.bytes.len() as u64);
            }
        }
    }

    #[test]
    fn any_long_name_is_read_back(name in "[a-z0-9ä漢😀 ._-]{0,80}[a-z0-9]") {
        let mut image = Image::new(Width::Fat16);
        image.entries(&long(&name, short(b"X~1        ", 0x20, 30, 3)));
        image.content(&[30], b"abc");
        prop_assert_eq!(image.open().read(&name, 3).unwrap(), b"abc");
    }

    #[test]
    fn any_boot_sector_is_read_or_refused(sector in proptest::collection::vec(any::<u8>(), 512), bytes in 512u64..) {
        let mut sector: [u8; 512] = sector.try_into().unwrap();
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        sector[11..13].copy_from_slice(&512u16.to_le_bytes());
        sector[13] = 1 << (sector[13] % 8);
        if let Ok(volume) = Volume::from_boot_sector(&sector, bytes) {
            let last = volume.clusters() + 1;
            prop_assert!(volume.cluster_offset(last).unwrap() + volume.cluster_bytes() <= bytes);
            prop_assert!(volume.fat_entry(last).0 + 4 <= volume.fat_end() + 2);
            prop_assert_eq!(volume.cluster_offset(last + 1), None);
        }
    }
}
