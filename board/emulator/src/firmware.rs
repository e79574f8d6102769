//! What the Raspberry Pi's firmware does between power-on and the kernel.
//!
//! Partition 1's `autoboot.txt` names a partition; that partition's
//! `config.txt` names the kernel, the initramfs and the device tree, and
//! `cmdline.txt` holds the command line. On `virt`, which has no such
//! firmware, the same files are used, so that both machines test the same image.

use crate::device_tree;
use crate::error::Error;
use crate::options::Machine;
use roost_board::autoboot::{self, Autoboot};
use roost_board::config_txt::{self, Conditions, Config};
use roost_board::fat::{FatError, FileSystem};
use roost_board::layout::SELECTOR_PARTITION;
use roost_board::mbr::Mbr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// No text file of the firmware is larger; more is damage.
const MAX_TEXT: u64 = 64 << 10;
/// Largest kernel or initramfs taken out of a slot; a whole slot has 320 MiB.
const MAX_FILE: u64 = 256 << 20;

/// How the firmware came to start a kernel; it tells the kernel so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// Partition number of the slot.
    pub partition: u8,
    /// Whether this is a trial boot.
    pub tryboot: bool,
}

/// What a boot starts, taken out of the image into files of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// How the slot was chosen.
    pub boot: Boot,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs, if the slot has one.
    pub initramfs: Option<PathBuf>,
    /// The device tree with the firmware's additions; `None` where the
    /// machine brings its own.
    pub device_tree: Option<PathBuf>,
    /// The kernel command line, with what the machine needs added.
    pub command_line: String,
}

/// Chooses a slot of `image` and takes out what it boots, into `workdir`.
///
/// `tryboot` is the flag that the firmware finds set after a reset that asked
/// for a trial boot.
///
/// # Errors
/// When the firmware would find nothing to boot: a damaged table or file
/// system, a missing file, a file that it would misread.
pub fn load(
    image: &Path,
    machine: Machine,
    tryboot: bool,
    workdir: &Path,
) -> Result<Loaded, Error> {
    let mut disk = Disk::open(image)?;
    let text = disk.partition(SELECTOR_PARTITION)?.text(autoboot::FILE)?;
    let chosen = Autoboot::parse(&text).map_err(|source| Error::Autoboot {
        image: image.to_owned(),
        source,
    })?;
    let partition = chosen.partition(tryboot).ok_or_else(|| Error::NoChoice {
        image: image.to_owned(),
    })?;
    let boot = Boot { partition, tryboot };

    let mut slot = disk.partition(partition)?;
    // Without tryboot_a_b a trial is the same slot with another configuration.
    let name = if tryboot && !chosen.tryboot_a_b {
        "tryboot.txt"
    } else {
        config_txt::FILE
    };
    let conditions = Conditions {
        board: machine.board(),
        partition,
        tryboot,
    };
    let config = Config::parse(&slot.text(name)?, &conditions).map_err(|source| Error::Config {
        image: image.to_owned(),
        number: partition,
        source,
    })?;
    // QEMU needs none of these, but a board would not get any further without.
    let firmware = config.firmware(machine.board());
    for name in firmware.slot {
        slot.read(name, MAX_FILE)?;
    }
    let files = config.boot_files();
    let line = slot.text(&files.cmdline)?;

    let kernel = slot.extract(&files.kernel, &workdir.join("kernel"))?;
    let initramfs = match &files.initramfs {
        Some(path) => Some(slot.extract(path, &workdir.join("initramfs"))?),
        None => None,
    };
    let device_tree = match &files.device_tree {
        Some(path) => {
            let blob = slot.read(path, MAX_FILE)?;
            let blob =
                device_tree::with_bootloader(&blob, boot).map_err(|reason| Error::DeviceTree {
                    path: path.clone(),
                    number: partition,
                    reason,
                })?;
            let to = workdir.join("device-tree.dtb");
            std::fs::write(&to, blob).map_err(file_error("write", &to))?;
            Some(to)
        }
        None => None,
    };
    let mut selector = disk.partition(SELECTOR_PARTITION)?;
    for name in firmware.selector {
        selector.read(name, MAX_FILE)?;
    }
    Ok(Loaded {
        boot,
        kernel,
        initramfs,
        device_tree,
        command_line: command_line(&line, machine, boot),
    })
}

/// The first line of `cmdline.txt`, with what only an emulator adds.
fn command_line(text: &[u8], machine: Machine, boot: Boot) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or_default().trim();
    match machine {
        // No firmware there could put it into the device tree.
        Machine::Virt => format!(
            "{line} roost.partition={} roost.tryboot={}",
            boot.partition,
            u8::from(boot.tryboot)
        ),
        // QEMU's watchdog of the Pi restarts the machine when it is opened.
        Machine::Raspi3b => format!("{line} roost.watchdog=off"),
    }
}

struct Disk<'a> {
    image: &'a Path,
    file: File,
    mbr: Mbr,
}

impl<'a> Disk<'a> {
    fn open(image: &'a Path) -> Result<Self, Error> {
        let mut file = File::open(image).map_err(file_error("open", image))?;
        let mut sector = [0; 512];
        file.read_exact(&mut sector)
            .map_err(file_error("read", image))?;
        let mbr = Mbr::from_bytes(&sector).map_err(|source| Error::NotADisk {
            image: image.to_owned(),
            source,
        })?;
        Ok(Self { image, file, mbr })
    }

    fn partition(&mut self, number: u8) -> Result<Fat<'_>, Error> {
        let place = self
            .mbr
            .partition(number)
            .ok_or_else(|| Error::NoPartition {
                image: self.image.to_owned(),
                number,
            })?;
        let files = FileSystem::open_at(&mut self.file, place.offset(), place.bytes()).map_err(
            |source| Error::Partition {
                image: self.image.to_owned(),
                number,
                source,
            },
        )?;
        Ok(Fat {
            image: self.image,
            number,
            files,
        })
    }
}

struct Fat<'a> {
    image: &'a Path,
    number: u8,
    files: FileSystem<&'a mut File>,
}

impl Fat<'_> {
    fn error(&self, source: FatError) -> Error {
        Error::Partition {
            image: self.image.to_owned(),
            number: self.number,
            source,
        }
    }

    fn text(&mut self, path: &str) -> Result<Vec<u8>, Error> {
        self.read(path, MAX_TEXT)
    }

    fn read(&mut self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        self.files
            .read(path, limit)
            .map_err(|source| self.error(source))
    }

    fn extract(&mut self, path: &str, to: &Path) -> Result<PathBuf, Error> {
        let bytes = self.read(path, MAX_FILE)?;
        std::fs::write(to, bytes).map_err(file_error("write", to))?;
        Ok(to.to_owned())
    }
}

pub(crate) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

#[cfg(test)]
mod tests;
