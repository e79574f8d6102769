//! Partition 1: which slot boots, with what a commit needs beyond the bytes: that the medium has them.

use crate::disk::Block;
use roost_board::Slot;
use roost_board::boot_control::{self, BootControlError};
use std::io;

/// Why the selector says nothing, or cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum SelectorError {
    /// Its bytes cannot be read or changed.
    #[error(transparent)]
    Control(#[from] BootControlError),
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
    Ok(boot_control::selected(selector)?)
}

/// Makes `slot` the one of ordinary boots: overwrites one sector in place, and
/// returns when it was read back from the medium.
///
/// # Errors
/// When the file system is damaged, or the write fails. Then the selector
/// says one slot or the other; [`selected`] tells which.
pub fn commit<B: Block>(selector: &mut B, slot: Slot) -> Result<(), SelectorError> {
    boot_control::commit(selector, slot)?;
    selector.sync()?;
    selector.forget()?;
    match selected(selector) {
        Ok(found) if found == slot => Ok(()),
        Ok(_) => Err(SelectorError::ReadBack),
        Err(error) => Err(error),
    }
}
