//! A selector as the builder makes one, 64 MiB, with changes that a fuzzer made up.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

pub const SECTOR: usize = 512;
const BYTES: u64 = 64 << 20;

/// A disk that keeps only the sectors that are not zero.
#[derive(Clone, PartialEq)]
pub struct Disk {
    sectors: BTreeMap<u64, [u8; SECTOR]>,
    at: u64,
}

/// Where the pieces of a file system lie, in sectors.
struct Places {
    fat: u64,
    root: u64,
    data: u64,
    /// Sectors of a cluster.
    cluster: u64,
    /// Number of the cluster that lies at `data`.
    first: u64,
}

const FAT16: Places = Places {
    fat: 1,
    root: 1 + 2 * 128,
    data: 1 + 2 * 128 + 32,
    cluster: 4,
    first: 2,
};

const FAT32: Places = Places {
    fat: 32,
    root: 32 + 2 * 1009,
    data: 32 + 2 * 1009,
    cluster: 1,
    first: 2,
};

impl Disk {
    /// The first byte chooses between FAT16 and FAT32. Then follow changes:
    /// where (a piece of the file system, two bytes within it), how many
    /// bytes, and these bytes.
    pub fn of(input: &[u8]) -> Self {
        let (&kind, mut rest) = input.split_first().unwrap_or((&0, &[]));
        let (mut disk, places) = if kind & 1 == 0 {
            (Self::fat16(), FAT16)
        } else {
            (Self::fat32(), FAT32)
        };
        while let Some(([piece, low, high, count], more)) = rest.split_first_chunk() {
            let (bytes, more) = more.split_at(more.len().min(usize::from(*count)));
            let within = u64::from(u16::from_le_bytes([*low, *high]));
            let sector = match piece % 5 {
                0 => 0,
                1 => places.fat,
                2 => places.root,
                3 => places.data,
                _ => u64::from(*piece) * BYTES / SECTOR as u64 / 256,
            };
            disk.put(sector * SECTOR as u64 + within, bytes);
            rest = more;
        }
        disk
    }

    fn empty() -> Self {
        Self {
            sectors: BTreeMap::new(),
            at: 0,
        }
    }

    fn fat16() -> Self {
        let mut disk = Self::empty();
        disk.put(11, &512_u16.to_le_bytes());
        disk.put(13, &[4]);
        disk.put(14, &1_u16.to_le_bytes());
        disk.put(16, &[2]);
        disk.put(17, &512_u16.to_le_bytes());
        disk.put(22, &128_u16.to_le_bytes());
        disk.put(32, &((BYTES / 512) as u32).to_le_bytes());
        disk.put(510, &[0x55, 0xaa]);
        let fat = [0xfff8_u16, 0xffff, 0xffff, 0xffff, 5, 0xffff, 0xffff];
        disk.put(512, &fat.map(u16::to_le_bytes).concat());
        disk.files(&FAT16);
        disk
    }

    fn fat32() -> Self {
        let mut disk = Self::empty();
        disk.put(11, &512_u16.to_le_bytes());
        disk.put(13, &[1]);
        disk.put(14, &32_u16.to_le_bytes());
        disk.put(16, &[2]);
        disk.put(32, &((BYTES / 512) as u32).to_le_bytes());
        disk.put(36, &1009_u32.to_le_bytes());
        disk.put(44, &2_u32.to_le_bytes());
        disk.put(510, &[0x55, 0xaa]);
        let end = 0x0fff_ffff_u32;
        let fat = [0x0fff_fff8, end, end, end, 5, end, end];
        disk.put(32 * 512, &fat.map(u32::to_le_bytes).concat());
        disk.files(&FAT32);
        disk
    }

    /// `autoboot.txt` in cluster 3, `bootcode.bin` in 4 and 5, and a folder in
    /// 6 with a file of a long name, which is `bootcode.bin` again.
    fn files(&mut self, places: &Places) {
        let cluster = |number: u64| (places.data + (number - places.first) * places.cluster) * 512;
        let entry = |name: &[u8; 11], kind: u8, cluster: u8, bytes: u32| {
            let mut entry = [0; 32];
            entry[..11].copy_from_slice(name);
            entry[11] = kind;
            entry[26] = cluster;
            entry[28..].copy_from_slice(&bytes.to_le_bytes());
            entry
        };
        let bootcode = places.cluster as u32 * 512 + 100;
        let root = [
            entry(b"SELECTOR   ", 0x08, 0, 0),
            entry(b"AUTOBOOTTXT", 0x20, 3, 512),
            entry(b"BOOTCODEBIN", 0x20, 4, bootcode),
            entry(b"OVERLAYS   ", 0x10, 6, 0),
        ];
        self.put(places.root * 512, &root.concat());
        let short = entry(b"LONGNA~1BIN", 0x20, 4, bootcode);
        let sum = short[..11]
            .iter()
            .fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        let mut long = [0xff; 32];
        (long[0], long[11], long[12], long[13]) = (0x41, 0x0f, 0, sum);
        long[26..28].fill(0);
        for (at, unit) in [1, 3, 5, 7, 9, 14, 16, 18].iter().zip(b"long.bin") {
            (long[*at], long[at + 1]) = (*unit, 0);
        }
        long[20..22].fill(0);
        self.put(cluster(6), &[long, short].concat());
        let text = roost_board::autoboot::render(roost_board::Slot::A);
        self.put(cluster(3), &text);
    }

    /// Sectors that are not the same on both disks.
    #[allow(dead_code, reason = "each target uses a part of this file")]
    pub fn differing(&self, other: &Self) -> usize {
        let all: std::collections::BTreeSet<_> =
            self.sectors.keys().chain(other.sectors.keys()).collect();
        let differs = |number: &&&u64| self.sector(***number) != other.sector(***number);
        all.iter().filter(differs).count()
    }

    fn sector(&self, number: u64) -> [u8; SECTOR] {
        self.sectors.get(&number).copied().unwrap_or([0; SECTOR])
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.at = at;
        // What reaches beyond the end is cut off.
        let _ = self.write_all(bytes);
        self.at = 0;
    }

    /// The sector and the bytes in it, at most `wanted`, that come next.
    fn piece(&self, wanted: usize) -> (u64, std::ops::Range<usize>) {
        let from = (self.at % SECTOR as u64) as usize;
        let left = BYTES.saturating_sub(self.at).min(wanted as u64) as usize;
        (self.at / SECTOR as u64, from..SECTOR.min(from + left))
    }
}

impl Read for Disk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (number, range) = self.piece(buffer.len());
        let count = range.len();
        buffer[..count].copy_from_slice(&self.sector(number)[range]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (number, range) = self.piece(bytes.len());
        let count = range.len();
        if count > 0 {
            let sector = self.sectors.entry(number).or_insert([0; SECTOR]);
            sector[range].copy_from_slice(&bytes[..count]);
        }
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Disk {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => BYTES.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
