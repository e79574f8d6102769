//! Writes an image so that a card boots all right or not at all.
//!
//! 1. The boot block (the first 4 KiB, with the partition table) is made zero, and that is waited
//!    for. From here on the firmware finds nothing to boot from.
//! 2. Everything else is written. Where the image has zeros, the card is read, and written only if
//!    it has something else there: reading a card is several times faster than writing it. Leaving
//!    out zeros blindly would be faster still and wrong: file systems count on some of them.
//! 3. All is waited for, then read back and compared with what the image holds.
//! 4. The boot block is written, waited for, and read back as well.
//!
//! Before the end of 1 the old table may still be there, and with it all that was on the card.

use super::card::BLOCK;
use super::image::{CHUNK, Content, Image, Scan, is_zero};
use super::target::{Buffer, Target};
use crate::error::Failure;
use roost_service::card::SIZE;

/// What the writer is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Writing everything but the boot block.
    Write,
    /// Waiting until the card has it all.
    Settle,
    /// Reading back.
    Verify,
    /// Writing the boot block.
    Boot,
}

/// Hears how far the writer is, and may end it.
pub trait Watch {
    /// `done` bytes of the image are behind in this stage.
    fn at(&mut self, stage: Stage, done: u64);
    /// Whether the user wants to stop.
    fn stop(&self) -> bool;
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes that were written.
    pub bytes: u64,
    /// Bytes that were zero in the image and on the card already.
    pub skipped: u64,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Not even the first block could be written. What was on the card may still be there.
    #[error("its first block cannot be written")]
    Refused(#[source] std::io::Error),
    /// The card fails on the way.
    #[error("{doing} at byte {at} failed")]
    Io {
        /// `reading` or `writing`.
        doing: &'static str,
        /// Where, in bytes.
        at: u64,
        /// What the system says.
        source: std::io::Error,
    },
    /// The card gives back other bytes than it was given.
    #[error("what was read back differs from the image, between bytes {from} and {to}")]
    Differs {
        /// First byte of the piece.
        from: u64,
        /// The byte behind it.
        to: u64,
    },
    /// Somebody wrote to the image meanwhile.
    #[error("the image has changed while it was written")]
    ImageChanged,
    /// The image cannot be read.
    #[error("the image cannot be read")]
    Image(#[from] Failure),
    /// The user pressed Ctrl-C.
    #[error("you stopped it")]
    Stopped,
}

/// Writes `image`, with `card` as the card's own file.
///
/// # Errors
///
/// [`WriteError`]. The boot block is zero then, if it ever was.
pub fn write(
    target: &mut dyn Target,
    image: &Image,
    scan: &Scan,
    card: &[u8; SIZE],
    watch: &mut dyn Watch,
) -> Result<Written, WriteError> {
    let mut writer = Writer {
        target,
        buffer: Buffer::new(CHUNK),
        written: Written::default(),
    };
    let zeros = Buffer::new(BLOCK);
    writer.put(0, &zeros).map_err(|error| match error {
        WriteError::Io { source, .. } => WriteError::Refused(source),
        other => other,
    })?;
    writer.sync(0)?;
    let (expected, boot) = writer.body(image, scan, card, watch)?;
    watch.at(Stage::Settle, 0);
    writer.sync(image.bytes())?;
    writer.verify(image.bytes(), &expected, watch)?;
    // The last look: from here on it is a moment, and then the card is done.
    if watch.stop() {
        return Err(WriteError::Stopped);
    }
    watch.at(Stage::Boot, 0);
    writer.boot(&boot)?;
    Ok(writer.written)
}

struct Writer<'a> {
    target: &'a mut dyn Target,
    buffer: Buffer,
    written: Written,
}

impl Writer<'_> {
    /// Everything but the boot block. Gives what the card must hold then, and the boot block.
    fn body(
        &mut self,
        image: &Image,
        scan: &Scan,
        card: &[u8; SIZE],
        watch: &mut dyn Watch,
    ) -> Result<(Vec<Content>, Buffer), WriteError> {
        let mut expected = Vec::with_capacity(scan.chunks.len());
        let mut boot = Buffer::new(BLOCK);
        let mut piece = Buffer::new(CHUNK);
        image.read(&mut piece, |at, piece| {
            if watch.stop() {
                return Err(WriteError::Stopped);
            }
            let mut content = Content::of(piece);
            if scan.chunks.get(expected.len()) != Some(&content) {
                return Err(WriteError::ImageChanged);
            }
            if at == 0 {
                boot.copy_from_slice(&piece[..BLOCK]);
                piece[..BLOCK].fill(0);
                content = Content::of(piece);
            }
            if overlay(piece, at, card, scan.card.at) {
                content = Content::of(piece);
            }
            match content {
                Content::Zero => self.blank(at, piece)?,
                Content::Data(_) => self.put(at, piece)?,
            }
            expected.push(content);
            watch.at(Stage::Write, at + piece.len() as u64);
            Ok(())
        })?;
        Ok((expected, boot))
    }

    /// Makes sure that there are `zeros` at byte `at`.
    fn blank(&mut self, at: u64, zeros: &[u8]) -> Result<(), WriteError> {
        // What cannot be read may well be written: a power cut has left it half done, for example.
        // Whether it holds, the reading back will tell.
        let skip = self.target.is_blank()
            || (self.get(at, zeros.len()).is_ok() && is_zero(&self.buffer[..zeros.len()]));
        if skip {
            self.written.skipped += zeros.len() as u64;
            Ok(())
        } else {
            self.put(at, zeros)
        }
    }

    fn verify(
        &mut self,
        bytes: u64,
        expected: &[Content],
        watch: &mut dyn Watch,
    ) -> Result<(), WriteError> {
        for (at, wanted) in (0..bytes).step_by(CHUNK).zip(expected) {
            if watch.stop() {
                return Err(WriteError::Stopped);
            }
            let length = (bytes - at).min(CHUNK as u64) as usize;
            self.get(at, length)?;
            let to = at + length as u64;
            if Content::of(&self.buffer[..length]) != *wanted {
                return Err(WriteError::Differs { from: at, to });
            }
            watch.at(Stage::Verify, to);
        }
        Ok(())
    }

    fn boot(&mut self, boot: &Buffer) -> Result<(), WriteError> {
        let written = self
            .put(0, boot)
            .and_then(|()| self.sync(0))
            .and_then(|()| self.get(0, BLOCK));
        let result = match written {
            Ok(()) if self.buffer[..BLOCK] == boot[..] => return Ok(()),
            Ok(()) => WriteError::Differs {
                from: 0,
                to: BLOCK as u64,
            },
            Err(error) => error,
        };
        // A card that cannot keep its first block is none to boot from. Best effort: the error
        // that led here is told, whatever comes of this.
        let _ = self.put(0, &Buffer::new(BLOCK)).and_then(|()| self.sync(0));
        Err(result)
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), WriteError> {
        let doing = "writing";
        self.target
            .write_at(at, bytes)
            .map_err(|source| WriteError::Io { doing, at, source })?;
        self.written.bytes += bytes.len() as u64;
        Ok(())
    }

    fn get(&mut self, at: u64, length: usize) -> Result<(), WriteError> {
        let doing = "reading";
        self.target
            .read_at(at, &mut self.buffer[..length])
            .map_err(|source| WriteError::Io { doing, at, source })
    }

    /// `at`: up to where something may be on its way, for the message.
    fn sync(&mut self, at: u64) -> Result<(), WriteError> {
        let doing = "writing what was still in memory";
        self.target
            .sync()
            .map_err(|source| WriteError::Io { doing, at, source })
    }
}

/// Puts the part of `card`, which lies at byte `place`, that falls into `piece` at byte `at`. Says
/// whether there was one.
fn overlay(piece: &mut [u8], at: u64, card: &[u8; SIZE], place: u64) -> bool {
    let end = at + piece.len() as u64;
    let (from, to) = (place.max(at), (place + SIZE as u64).min(end));
    if from >= to {
        return false;
    }
    let part = &card[(from - place) as usize..(to - place) as usize];
    piece[(from - at) as usize..(to - at) as usize].copy_from_slice(part);
    true
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
