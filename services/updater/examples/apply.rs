//! How long the engine takes to write a slot: `apply IMAGE BUNDLE FOLDER` puts the
//! partitions of a card image into FOLDER, installs BUNDLE there, and prints the
//! seconds of each part as JSON. What a box does, without the box.

use roost_board::Slot;
use roost_board::layout::{Extent, Layout};
use roost_bundle::{TrustedKeys, Unverified};
use roost_service::update::Version;
use roost_updater::disk::Disk;
use roost_updater::engine::{Allowed, Settled, examine};
use roost_updater::facts::Facts;
use roost_updater::state::{DataFolder, Found, Installed, State};
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let (Some(image), Some(bundle), Some(folder), None) =
        (args.next(), args.next(), args.next(), args.next())
    else {
        return Err("usage: apply IMAGE BUNDLE FOLDER".into());
    };
    let layout = Layout::STANDARD;
    let mut disk = Disk::new(
        part(&image, layout.slot(Slot::A), &folder.join("a"))?,
        part(&image, layout.slot(Slot::B), &folder.join("b"))?,
        part(&image, layout.selector, &folder.join("selector"))?,
    );

    let mut file = File::open(&bundle)?;
    let unverified = Unverified::read(&mut file)?;
    let keys = TrustedKeys::new(unverified.claimed_signers());
    let verified = unverified.verify(&keys)?;
    let start = verified.payload_start();
    let release = &verified.manifest().release;
    let mut head = vec![0; usize::try_from(start)?];
    file.rewind()?;
    file.read_exact(&mut head)?;
    let number = release
        .version
        .checked_sub(1)
        .ok_or("a bundle of release 0")?;
    let facts = Facts {
        board: release
            .boards
            .first()
            .ok_or("a bundle for no board")?
            .clone(),
        slot: Slot::A,
        running: Installed {
            version: Version {
                number,
                name: number.to_string(),
            },
            root_hash: None,
            mail_store: release.mail_store,
        },
        settings_format: release.settings_format,
    };
    let ledger = Found::look(DataFolder(folder.clone())).go_on(State::new(Slot::A))?;

    let began = Instant::now();
    let planned = examine(
        &head,
        &keys,
        &facts,
        Allowed::default(),
        &mut disk,
        &mut |_, _| {},
    )?;
    let examined = began.elapsed();
    let offer = planned.offer().clone();
    let settled = Settled::check(&mut disk, &ledger.state(), &facts)?;
    let payloads = Payloads {
        file,
        start,
        ranges: offer.ranges,
        read: 0,
    };
    let began = Instant::now();
    planned.write(settled, &mut disk, &ledger, payloads, &mut |_, _| {})?;
    let written = began.elapsed();
    println!(
        "{}",
        serde_json::json!({
            "slot_bytes": verified.manifest().slot.bytes,
            "write_bytes": offer.write,
            "send_bytes": offer.send,
            "examine_s": examined.as_secs_f64(),
            "write_s": written.as_secs_f64(),
        })
    );
    Ok(())
}

/// A partition of the image as a file of its own.
fn part(image: &Path, extent: Extent, to: &Path) -> io::Result<File> {
    let mut from = File::open(image)?;
    from.seek(SeekFrom::Start(extent.offset()))?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)?;
    io::copy(&mut from.take(extent.bytes()), &mut file)?;
    file.sync_all()?;
    Ok(file)
}

/// The ranges of a bundle, one behind the other.
struct Payloads {
    file: File,
    start: u64,
    ranges: Vec<(u64, u64)>,
    /// Bytes of the first range that were read.
    read: u64,
}

impl Read for Payloads {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some((from, to)) = self.ranges.first() {
            let left = usize::try_from(to - from - self.read).unwrap_or(usize::MAX);
            if left == 0 {
                self.ranges.remove(0);
                self.read = 0;
                continue;
            }
            self.file
                .seek(SeekFrom::Start(self.start + from + self.read))?;
            let wanted = left.min(buffer.len());
            let read = self.file.read(&mut buffer[..wanted])?;
            self.read += read as u64;
            return Ok(read);
        }
        Ok(0)
    }
}
