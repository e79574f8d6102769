//! The parts of the disk that an update touches, and how bytes get onto them for good.

use roost_service::spec::{DEVICES, Device};
use rustix::fs::Advice;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes written between two syncs. Left alone, the kernel collects a tenth of
/// the memory before it writes, and a progress bar would show that memory.
const SYNC_EVERY: u64 = 16 << 20;

/// A partition, or a file that stands for one.
pub trait Block: Read + Write + Seek {
    /// Returns when everything written is on the medium.
    ///
    /// # Errors
    /// The medium's. What was written may or may not be there then.
    fn sync(&mut self) -> io::Result<()>;

    /// From now on reads come from the medium and not from memory. Nothing
    /// may be waiting to be written.
    ///
    /// # Errors
    /// The kernel's.
    fn forget(&mut self) -> io::Result<()>;

    /// Length in bytes. Moves the position.
    ///
    /// # Errors
    /// The medium's.
    fn length(&mut self) -> io::Result<u64> {
        self.seek(SeekFrom::End(0))
    }
}

impl Block for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    /// `posix_fadvise(POSIX_FADV_DONTNEED)` drops the clean pages of the block
    /// device; after `sync` all of them are (tried on a loop device, as an
    /// ordinary user). The other ways do not fit:
    /// `BLKFLSBUF` is for root only, and `O_DIRECT` wants aligned memory, which
    /// safe code does not give. A page that the kernel keeps all the same (it
    /// is just being read by somebody else) is compared from memory; nobody
    /// else reads an inactive slot.
    fn forget(&mut self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&*self, 0, None, Advice::DontNeed)?)
    }
}

/// Why the disk cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path}")]
pub struct OpenError {
    /// The device node.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The three partitions that an update reads or writes. The fields are not
/// public: only the steps of the engine write here.
#[derive(Debug)]
pub struct Disk<B> {
    /// The slot that runs; never written.
    pub(crate) active: B,
    /// The other slot.
    pub(crate) inactive: B,
    /// Partition 1.
    pub(crate) selector: B,
}

impl<B: Block> Disk<B> {
    /// The running slot, the other one and the selector.
    pub fn new(active: B, inactive: B, selector: B) -> Self {
        Self {
            active,
            inactive,
            selector,
        }
    }
}

impl Disk<File> {
    /// Opens the nodes that init has made in `folder`, usually [`DEVICES`]. The
    /// running slot is opened for reading only.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let open = |device: Device| {
            let path = folder.join(device.node());
            OpenOptions::new()
                .read(true)
                .write(device != Device::ActiveSlot)
                .open(&path)
                .map_err(|source| OpenError { path, source })
        };
        Ok(Self {
            active: open(Device::ActiveSlot)?,
            inactive: open(Device::InactiveSlot)?,
            selector: open(Device::Selector)?,
        })
    }

    /// Opens them in [`DEVICES`].
    ///
    /// # Errors
    /// As [`Disk::open`].
    pub fn open_here() -> Result<Self, OpenError> {
        Self::open(Path::new(DEVICES))
    }
}

/// The slot being written: says how far it got and syncs on its way.
pub(crate) struct Target<'a, B> {
    block: &'a mut B,
    unsynced: u64,
    written: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a, B: Block> Target<'a, B> {
    /// `progress` is told the bytes written so far.
    pub(crate) fn new(block: &'a mut B, progress: &'a mut dyn FnMut(u64)) -> Self {
        Self {
            block,
            unsynced: 0,
            written: 0,
            progress,
        }
    }
}

impl<B: Block> Read for Target<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.block.read(buffer)
    }
}

impl<B: Block> Seek for Target<'_, B> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.block.seek(to)
    }
}

impl<B: Block> Write for Target<'_, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.block.write(bytes)?;
        self.unsynced += count as u64;
        self.written += count as u64;
        if self.unsynced >= SYNC_EVERY {
            self.block.sync()?;
            self.unsynced = 0;
        }
        (self.progress)(self.written);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.block.flush()
    }
}
