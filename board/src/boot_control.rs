//! Which slot boots: reading the choice, changing it, and asking for a trial.
//!
//! The choice is `autoboot.txt`, one sector of the selector (see
//! [`crate::autoboot`]). It is changed by overwriting that sector in place;
//! the file system around it is never written. A power cut leaves the old
//! sector or the new one. Should a card tear a sector, the two texts differ in
//! two digits only, so every mixture still boots the old slot or the new one,
//! and at that moment both are healthy; [`commit`] at the next start makes it
//! whole again.
//!
//! A trial is asked of the firmware, not written to the disk, and holds for
//! one restart. Where and how is in [`trial`].

use crate::autoboot::{self, Autoboot, AutobootError};
use crate::fat::{Extent, FatError, FileSystem};
use crate::layout::Slot;
use std::io::{self, Read, Seek, SeekFrom, Write};
use thiserror::Error;

/// How init asks the firmware to boot the other slot once.
pub mod trial {
    /// On a Raspberry Pi: a parameter of our kernel module. Writing `1` sets the
    /// firmware's one-shot flag (tag [`TAG`] of its mailbox).
    pub const PARAMETER: &str = "/sys/module/roost_tryboot/parameters/request";
    /// The mailbox tag, SET_REBOOT_FLAGS (Linux, include/soc/bcm2835/raspberrypi-firmware.h).
    pub const TAG: u32 = 0x0003_8064;
    /// On virt, whose emulator plays the firmware: a virtio-serial port of this name.
    pub const PORT: &str = "roost.firmware";
    /// The line that is written to [`PORT`].
    pub const LINE: &str = "tryboot\n";
}

/// Why the choice cannot be read or changed.
#[derive(Debug, Error)]
pub enum BootControlError {
    /// The selector's file system cannot be read.
    #[error("the selector cannot be read")]
    Selector(#[from] FatError),
    /// `autoboot.txt` is not one whole sector.
    #[error(
        "autoboot.txt is not one sector of {} bytes in one piece",
        autoboot::SIZE
    )]
    NotOneSector,
    /// To write `autoboot.txt` would destroy the folder that it is found in.
    #[error("autoboot.txt lies where the root folder lies")]
    InFolder,
    /// `autoboot.txt` says nothing that the firmware could follow.
    #[error("autoboot.txt cannot be understood")]
    Text(#[from] AutobootError),
    /// `autoboot.txt` is not one that this system writes.
    #[error("autoboot.txt names no slot for ordinary boots with the other one for trials")]
    Strange,
    /// The disk refused.
    #[error("the sector of autoboot.txt cannot be {action}")]
    Io {
        /// `read` or `written`.
        action: &'static str,
        /// The disk's error.
        source: io::Error,
    },
    /// The disk took the sector and gave back another.
    #[error("the sector of autoboot.txt was written and reads differently: the card is failing")]
    ReadBack,
}

/// The slot that an ordinary boot takes, by the selector partition's bytes.
///
/// # Errors
/// When the file system or the file is damaged, or the file is none of ours.
pub fn selected(selector: &mut (impl Read + Seek)) -> Result<Slot, BootControlError> {
    let at = place(selector)?;
    let choice = Autoboot::parse(&sector(selector, at)?)?;
    [Slot::A, Slot::B]
        .into_iter()
        .find(|slot| choice == Autoboot::for_slot(*slot))
        .ok_or(BootControlError::Strange)
}

/// Makes `slot` the one that ordinary boots take and the other one that of
/// trials; says whether anything had to be written. The caller syncs the disk.
///
/// Works on a damaged `autoboot.txt` as well, as long as its place can be found.
///
/// # Errors
/// When the place cannot be found, the disk refuses, or it gives back something else.
pub fn commit(
    selector: &mut (impl Read + Write + Seek),
    slot: Slot,
) -> Result<bool, BootControlError> {
    let at = place(selector)?;
    let wanted = autoboot::render(slot);
    if sector(selector, at).is_ok_and(|there| there == wanted) {
        return Ok(false);
    }
    selector
        .seek(SeekFrom::Start(at))
        .and_then(|_| selector.write_all(&wanted))
        .and_then(|()| selector.flush())
        .map_err(|source| BootControlError::Io {
            action: "written",
            source,
        })?;
    if sector(selector, at)? != wanted {
        return Err(BootControlError::ReadBack);
    }
    Ok(true)
}

/// Byte offset of `autoboot.txt` in the selector.
fn place(selector: &mut (impl Read + Seek)) -> Result<u64, BootControlError> {
    let mut fs = FileSystem::open(selector)?;
    let at = match fs.extents(autoboot::FILE)?[..] {
        [one] if one.bytes == autoboot::SIZE as u64 => one.offset,
        _ => return Err(BootControlError::NotOneSector),
    };
    let in_folder = |folder: &Extent| (folder.offset..folder.offset + folder.bytes).contains(&at);
    if fs.root_extents()?.iter().any(in_folder) {
        return Err(BootControlError::InFolder);
    }
    Ok(at)
}

fn sector(
    selector: &mut (impl Read + Seek),
    at: u64,
) -> Result<[u8; autoboot::SIZE], BootControlError> {
    let mut bytes = [0; autoboot::SIZE];
    selector
        .seek(SeekFrom::Start(at))
        .and_then(|_| selector.read_exact(&mut bytes))
        .map_err(|source| BootControlError::Io {
            action: "read",
            source,
        })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
