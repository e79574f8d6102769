//! Partition 1: which slot boots. Reading it, and the one write that commits.

use crate::disk::Block;
use roost_board::Slot;
use roost_board::autoboot::{self, Autoboot, AutobootError};
use roost_board::fat::{FatError, FileSystem};
use std::io::{self, SeekFrom};

/// Why the selector says nothing, or cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum SelectorError {
    /// Its file system cannot be read.
    #[error("the selector's file system cannot be read")]
    Fat(#[from] FatError),
    /// Its file cannot be read as the firmware reads it.
    #[error("the selector cannot be read")]
    Text(#[from] AutobootError),
    /// The file is not one that this system writes.
    #[error("the selector names no slot for ordinary boots with the other one for trials")]
    Strange,
    /// The file is not one sector, so that it cannot be replaced in one write.
    #[error("{} is not one sector of 512 bytes in one piece", autoboot::FILE)]
    NotOneSector,
    /// The device failed.
    #[error("the selector cannot be written")]
    Io(#[from] io::Error),
    /// What was read after the write is not what was written.
    #[error("the selector was written, but what is read back is something else")]
    ReadBack,
}

/// The slot of ordinary boots.
///
/// # Errors
/// When the file system or the file is damaged.
pub fn selected<B: Block>(selector: &mut B) -> Result<Slot, SelectorError> {
    let bytes = FileSystem::open(&mut *selector)?.read(autoboot::FILE, autoboot::SIZE as u64)?;
    let found = Autoboot::parse(&bytes)?;
    [Slot::A, Slot::B]
        .into_iter()
        .find(|slot| found == Autoboot::for_slot(*slot))
        .ok_or(SelectorError::Strange)
}

/// Makes `slot` the one of ordinary boots: overwrites one sector in place, and
/// returns when it was read back from the medium.
///
/// # Errors
/// When the file system is damaged, or the write fails. Then the selector
/// says one slot or the other; [`selected`] tells which.
pub fn commit<B: Block>(selector: &mut B, slot: Slot) -> Result<(), SelectorError> {
    let extents = FileSystem::open(&mut *selector)?.extents(autoboot::FILE)?;
    let [extent] = extents[..] else {
        return Err(SelectorError::NotOneSector);
    };
    if extent.bytes != autoboot::SIZE as u64 || !extent.offset.is_multiple_of(extent.bytes) {
        return Err(SelectorError::NotOneSector);
    }
    selector.seek(SeekFrom::Start(extent.offset))?;
    selector.write_all(&autoboot::render(slot))?;
    selector.sync()?;
    selector.forget()?;
    match selected(selector) {
        Ok(found) if found == slot => Ok(()),
        Ok(_) => Err(SelectorError::ReadBack),
        Err(error) => Err(error),
    }
}
