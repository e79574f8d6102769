//! What is written to: a card, or a file in its place.

use super::card::BLOCK;
use rustix::fs::{Advice, OFlags, fadvise};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, Opcode, ioctl, opcode};
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Memory that a disk's controller can read directly: it begins at a multiple of [`BLOCK`].
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// Zeros.
    pub fn new(length: usize) -> Self {
        // A block more than needed, so that an aligned place is among them. The vector never grows,
        // so it never moves.
        let bytes = vec![0; length + BLOCK];
        let start = bytes.as_ptr().align_offset(BLOCK);
        Self {
            bytes,
            start,
            length,
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..][..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..][..self.length]
    }
}

/// A disk, as the writer sees it. Places and lengths are multiples of [`BLOCK`], and so are the
/// addresses of buffers. Tests put a disk in its place that fails, lies or loses its power.
pub trait Target {
    /// Whether everything reads as zero before the first write.
    fn is_blank(&self) -> bool;

    /// Fills `buffer` from byte `at`.
    ///
    /// # Errors
    ///
    /// What the system says; also if there is less.
    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at byte `at`. They are there for good only after [`Target::sync`].
    ///
    /// # Errors
    ///
    /// What the system says.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Waits until everything written is there for good, and makes sure that what is read from now
    /// on comes from there and not from this machine's memory.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&mut self) -> io::Result<()>;
}

/// A block device, or a file.
pub struct Disk {
    file: File,
    blank: bool,
}

impl Disk {
    /// Opens a block device that nothing else uses.
    ///
    /// # Errors
    ///
    /// What the system says: `ResourceBusy` if a part of it is mounted or otherwise in use.
    pub fn device(path: &Path) -> io::Result<Self> {
        // For a block device O_EXCL means: not while a file system, swap, RAID or LVM has it. This
        // is the kernel's own word, and holds for as long as it is open. O_DIRECT: past the page
        // cache, so that rate and time left are the card's, and what is read back comes from it.
        let flags = OFlags::EXCL | OFlags::DIRECT;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)?;
        Ok(Self { file, blank: false })
    }

    /// Its major and minor number, as sysfs writes them, e.g. `8:16`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn number(&self) -> io::Result<String> {
        let rdev = self.file.metadata()?.rdev();
        let (major, minor) = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
        Ok(format!("{major}:{minor}"))
    }

    /// Makes a file of `bytes` zeros, in place of what was there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn file(path: &Path, bytes: u64) -> io::Result<Self> {
        // It will hold a private key.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        // One that was there keeps its own.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.set_len(bytes)?;
        Ok(Self { file, blank: true })
    }

    /// Opens a file that is there.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn existing_file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, blank: false })
    }

    /// Tells the kernel to look at the new partition table.
    ///
    /// # Errors
    ///
    /// What the system says, e.g. that this is for root.
    pub fn reread_table(&self) -> io::Result<()> {
        // linux/fs.h: BLKRRPART
        const REREAD: Opcode = opcode::none(0x12, 95);
        self.tell::<REREAD>()
    }

    /// Lets a card reader put its card out.
    ///
    /// # Errors
    ///
    /// What the system says: a built-in card reader knows no such thing.
    pub fn eject(&self) -> io::Result<()> {
        // linux/cdrom.h: CDROMEJECT, which the kernel's driver of SCSI disks knows as well.
        const EJECT: Opcode = 0x5309;
        self.tell::<EJECT>()
    }

    #[expect(unsafe_code, reason = "both have no interface but ioctl")]
    fn tell<const OPCODE: Opcode>(&self) -> io::Result<()> {
        // SAFETY: both requests take no argument, so no memory is touched.
        unsafe { ioctl(&self.file, NoArg::<OPCODE>::new()) }?;
        Ok(())
    }
}

impl Target for Disk {
    fn is_blank(&self) -> bool {
        self.blank
    }

    fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, at)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        // Pages that are on the disk are let go of. A device opened past the cache has none.
        match fadvise(&self.file, 0, None, Advice::DontNeed) {
            Ok(()) | Err(Errno::INVAL | Errno::NOSYS | Errno::SPIPE) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
