//! The disks of this machine, as Linux tells of them in `/sys`, `/proc` and `/dev`.
//!
//! No external program: what `lsblk` prints is made from the same files. All paths begin at a root
//! that tests put elsewhere.

use super::superblock::{self, Found};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// sysfs counts in sectors of this many bytes, whatever the disk's own are.
const SECTOR: u64 = 512;

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    /// A USB stick, disk or card reader.
    Usb,
    /// A card in a built-in reader.
    Card,
    /// Memory soldered to the board, or a disk inside of the machine.
    Internal,
    /// A file that the kernel shows as a disk.
    Loop,
}

/// What uses a disk or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "as")]
pub enum Use {
    /// A mounted file system.
    Mounted {
        /// The block device that is mounted, e.g. `sdb1`.
        part: String,
        /// Where.
        place: PathBuf,
    },
    /// Swap.
    Swap {
        /// The block device.
        part: String,
    },
    /// RAID, LVM or encryption has it.
    Held {
        /// By which device, e.g. `dm-0`.
        by: String,
    },
}

/// A partition, or a file system that takes the whole disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name, e.g. `sdb1`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// What is in it, as far as this is known here.
    #[serde(flatten)]
    pub found: Option<Found>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Medium {
    /// Its name, e.g. `sdb`.
    pub name: String,
    /// Where programs find it, e.g. `/dev/sdb`.
    pub path: PathBuf,
    /// Maker and model, or as much as is known.
    pub model: String,
    /// Its size; zero: a reader without a card.
    pub bytes: u64,
    /// How it is attached.
    pub bus: Bus,
    /// Whether it, or the card in it, is made to be taken out.
    pub removable: bool,
    /// The write protection is on.
    pub read_only: bool,
    /// Partitions, in their order.
    pub parts: Vec<Part>,
    /// Whether its content could be looked at.
    pub readable: bool,
    /// Whether it was flashed by Roost.
    pub roost: bool,
    /// Whether it was in a box since.
    #[serde(skip)]
    pub has_run: bool,
    /// Bytes of its smallest piece, in which a partition table on it counts.
    #[serde(skip)]
    pub block: u64,
    /// Its major and minor number, e.g. `8:16`.
    #[serde(skip)]
    pub number: String,
    /// The kernel's number for this disk, or for the card in it; no other gets it until the next
    /// start (`/sys/block/…/diskseq`, Linux 5.15).
    #[serde(skip)]
    pub sequence: Option<u64>,
    /// What uses it.
    pub uses: Vec<Use>,
}

/// What a path stands for.
#[derive(Debug)]
pub enum Named {
    /// A whole disk.
    Disk(Box<Medium>),
    /// A partition of this disk.
    PartOf(String),
    /// A file, or nothing yet.
    File,
    /// Something else, in plain words.
    Other(&'static str),
}

/// This machine, or what a test shows instead.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
}

/// A block device as sysfs tells of it.
#[derive(Debug, Default)]
struct Node {
    number: String,
    /// What it lies on: a partition's disk; the parts of a RAID, LVM or encrypted device.
    below: Vec<String>,
}

impl Machine {
    /// With everything below `root`, which is `/` but in tests.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// All disks that are devices of their own, in order of name.
    pub fn media(&self) -> Vec<Medium> {
        let nodes = self.nodes();
        let uses = self.uses(&nodes);
        let real = |name: &&String| {
            nodes[*name].below.is_empty() && self.sys(name).join("device").exists()
                // The boot areas of soldered memory, and its area for keys.
                && !name.contains("boot") && !name.contains("rpmb")
                // Discs and floppies.
                && !name.starts_with("sr") && !name.starts_with("fd")
        };
        nodes
            .keys()
            .filter(real)
            .map(|name| self.medium(name, &uses))
            .collect()
    }

    /// What `path` stands for.
    ///
    /// # Errors
    ///
    /// What the system says when it looks there; not if nothing is there.
    pub fn named(&self, path: &Path) -> std::io::Result<Named> {
        let path = &std::path::absolute(path)?;
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                // A typing error in a device's name shall not become a file in memory.
                return Ok(match path.starts_with("/dev") {
                    true => Named::Other("there is no such device"),
                    false => Named::File,
                });
            }
            Err(e) => return Err(e),
        };
        let kind = meta.file_type();
        if kind.is_file() {
            return Ok(match path.starts_with("/dev") {
                true => Named::Other("it is a file among the devices"),
                false => Named::File,
            });
        }
        if !kind.is_block_device() {
            return Ok(Named::Other(if kind.is_dir() {
                "it is a folder"
            } else {
                "it is neither a disk nor a file"
            }));
        }
        // Links like those in /dev/disk/by-id lead to the same number.
        let number = rustix::fs::major(meta.rdev()).to_string()
            + ":"
            + &rustix::fs::minor(meta.rdev()).to_string();
        let found = self
            .nodes()
            .into_iter()
            .find(|(_, node)| node.number == number);
        Ok(match found {
            Some((name, _)) => self.by_name(&name),
            None => Named::Other("the kernel knows no such disk"),
        })
    }

    /// What the block device `name` is.
    pub fn by_name(&self, name: &str) -> Named {
        let nodes = self.nodes();
        match nodes.get(name) {
            None => Named::Other("the kernel knows no such disk"),
            Some(node) if node.below.is_empty() => {
                Named::Disk(Box::new(self.medium(name, &self.uses(&nodes))))
            }
            Some(node) if !self.root.join("sys/block").join(name).exists() => {
                Named::PartOf(node.below[0].clone())
            }
            Some(_) => Named::Other("it is put together from other disks"),
        }
    }

    fn sys(&self, disk: &str) -> PathBuf {
        self.root.join("sys/block").join(disk)
    }

    /// Every block device by name.
    fn nodes(&self) -> BTreeMap<String, Node> {
        let mut nodes = BTreeMap::new();
        for disk in names(&self.root.join("sys/block")) {
            let path = self.sys(&disk);
            for part in names(&path) {
                if path.join(&part).join("partition").exists() {
                    let node = Node {
                        number: text(&path.join(&part).join("dev")),
                        below: vec![disk.clone()],
                    };
                    nodes.insert(part, node);
                }
            }
            let node = Node {
                number: text(&path.join("dev")),
                below: names(&path.join("slaves")),
            };
            nodes.insert(disk, node);
        }
        nodes
    }

    /// What uses each disk.
    fn uses(&self, nodes: &BTreeMap<String, Node>) -> BTreeMap<String, Vec<Use>> {
        let mut uses: BTreeMap<String, Vec<Use>> = BTreeMap::new();
        let mut add = |part: &str, what: Use| {
            for disk in disks_below(nodes, part) {
                let list = uses.entry(disk).or_default();
                if !list.contains(&what) {
                    list.push(what.clone());
                }
            }
        };
        for (number, source, place) in self.mounts() {
            let by_number = nodes.iter().find(|(_, node)| node.number == number);
            // File systems over several disks (btrfs) have a number of their own.
            let part = match by_number {
                Some((name, _)) => name.clone(),
                None => match self.device_name(&source) {
                    Some(name) => name,
                    None => continue,
                },
            };
            add(
                &part,
                Use::Mounted {
                    part: part.clone(),
                    place,
                },
            );
        }
        for line in text(&self.root.join("proc/swaps")).lines().skip(1) {
            let source = line.split_whitespace().next().unwrap_or_default();
            if let Some(part) = self.device_name(source) {
                add(&part, Use::Swap { part: part.clone() });
            }
        }
        for (name, node) in nodes {
            // A partition lies on its disk, which is no use of it.
            if self.sys(name).exists() {
                for part in &node.below {
                    add(part, Use::Held { by: name.clone() });
                }
            }
        }
        uses
    }

    /// Every mount: device number, source, place (proc(5), `/proc/pid/mountinfo`).
    fn mounts(&self) -> Vec<(String, String, PathBuf)> {
        let text = text(&self.root.join("proc/self/mountinfo"));
        text.lines()
            .filter_map(|line| {
                let (first, last) = line.split_once(" - ")?;
                let mut fields = first.split(' ');
                let number = fields.nth(2)?.to_owned();
                let place = fields.nth(1)?;
                let source = last.split(' ').nth(1)?;
                Some((number, unescape(source), PathBuf::from(unescape(place))))
            })
            .collect()
    }

    /// The block device that a path in a table of the kernel stands for.
    fn device_name(&self, path: &str) -> Option<String> {
        let below = Path::new(path).strip_prefix("/dev").ok()?;
        let path = self.root.join("dev").join(below);
        let path = path.canonicalize().unwrap_or(path);
        Some(path.file_name()?.to_str()?.to_owned())
    }

    fn medium(&self, name: &str, uses: &BTreeMap<String, Vec<Use>>) -> Medium {
        let sys = self.sys(name);
        let number = |file: &str| text(&sys.join(file)).parse::<u64>().unwrap_or(0);
        let bus = self.bus(name);
        let mut parts: Vec<(u64, Part)> = names(&sys)
            .into_iter()
            .filter(|part| sys.join(part).join("partition").exists())
            .map(|part| {
                let value = |file: &str| text(&sys.join(&part).join(file)).parse().unwrap_or(0);
                let (start, bytes) = (value("start") * SECTOR, value("size") * SECTOR);
                let found = None;
                let part = Part {
                    name: part,
                    bytes,
                    found,
                };
                (start, part)
            })
            .collect();
        parts.sort_by_key(|(start, _)| *start);
        let bytes = number("size") * SECTOR;
        let path = Path::new("/dev").join(name);
        let disk = fs::File::open(self.root.join("dev").join(name));
        let (mut roost, mut has_run) = (false, false);
        if let Ok(disk) = &disk {
            for (start, part) in &mut parts {
                part.found = superblock::read(disk, *start);
            }
            let data = superblock::data_of_box(disk);
            roost = data.is_some();
            has_run = data.is_some_and(|at| superblock::was_mounted(disk, at));
            if parts.is_empty()
                && bytes > 0
                && let Some(found) = superblock::read(disk, 0)
            {
                let part = Part {
                    name: name.to_owned(),
                    bytes,
                    found: Some(found),
                };
                parts.push((0, part));
            }
        }
        Medium {
            name: name.to_owned(),
            path,
            model: self.model(name),
            bytes,
            bus,
            removable: bus == Bus::Card || number("removable") == 1,
            read_only: number("ro") == 1,
            parts: parts.into_iter().map(|(_, part)| part).collect(),
            readable: disk.is_ok(),
            roost,
            has_run,
            block: match number("queue/logical_block_size") {
                0 => SECTOR,
                bytes => bytes,
            },
            number: text(&sys.join("dev")),
            sequence: text(&sys.join("diskseq")).parse().ok(),
            uses: uses.get(name).cloned().unwrap_or_default(),
        }
    }

    fn bus(&self, name: &str) -> Bus {
        if name.starts_with("loop") {
            return Bus::Loop;
        }
        let sys = self.sys(name);
        // The place in the tree of devices names every bus on the way.
        let way = sys.canonicalize().unwrap_or_default();
        if way
            .components()
            .any(|c| c.as_os_str().to_string_lossy().starts_with("usb"))
        {
            return Bus::Usb;
        }
        // Memory that is soldered in says MMC, a card says SD. The kernel's own flag is 0 for both.
        if text(&sys.join("device/type")) == "SD" {
            return Bus::Card;
        }
        Bus::Internal
    }

    fn model(&self, name: &str) -> String {
        let file = text(&self.sys(name).join("loop/backing_file"));
        if !file.is_empty() {
            return printable(&file);
        }
        let device = self.sys(name).join("device");
        let words: Vec<String> = ["vendor", "model", "name"]
            .iter()
            .map(|file| text(&device.join(file)))
            // Virtual disks give their PCI number as the maker.
            .filter(|word| !word.is_empty() && !word.starts_with("0x"))
            .collect();
        let model = words.join(" ");
        match model.is_empty() {
            true => "unknown".to_owned(),
            false => printable(&model),
        }
    }
}

/// The disks at the bottom of the block device `name`.
fn disks_below(nodes: &BTreeMap<String, Node>, name: &str) -> BTreeSet<String> {
    let mut open = vec![name.to_owned()];
    let (mut seen, mut disks) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = open.pop() {
        let Some(node) = nodes.get(&name) else {
            continue;
        };
        if !seen.insert(name.clone()) {
            continue;
        }
        if node.below.is_empty() {
            disks.insert(name);
        } else {
            open.extend(node.below.iter().cloned());
        }
    }
    disks
}

/// Names in a folder, in order; none if it cannot be read.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// A file's text without white space around it; empty if it cannot be read.
fn text(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// What a device says of itself, fit for a terminal.
pub fn printable(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { '·' } else { c })
        .take(60)
        .collect()
}

/// The kernel writes blanks and the like in its tables as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let digits = more.get(..3).and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &more[3..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[path = "media_tests.rs"]
pub mod tests;
