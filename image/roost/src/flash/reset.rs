//! `roost reset --card`: a file on the card's first partition that makes the box new at its next
//! start (`services/init/src/reset.rs`).
//!
//! The partition is read into memory, the file is put into it there, and what has changed is
//! written back and read again: a card's controller wants whole blocks.

use super::card::BLOCK;
use super::guard::{self, Verdict};
use super::media::{Machine, Named, Use};
use super::superblock;
use super::target::{Buffer, Disk, Target};
use crate::ask::{can_ask, confirm};
use crate::cli::ResetArgs;
use crate::error::Failure;
use crate::password::random;
use crate::ui::Ui;
use roost_board::layout::SELECTOR_PARTITION;
use roost_board::mbr::Mbr;
use roost_service::card::{code, display_code};
use serde::Serialize;
use std::fs::File;
use std::io::{Cursor, Write};
use std::path::Path;

/// Name of the file.
pub const FILE: &str = "factory-reset";
/// A first partition is never longer, in bytes.
const MAX_PARTITION: u64 = 512 << 20;

/// `roost reset --card`.
pub fn run(path: &Path, args: &ResetArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Prepared {
        card: String,
        pairing_code: String,
    }
    let machine = Machine::new("/");
    let name = path.display().to_string();
    let cannot = || Failure::usage(format!("cannot prepare a reset on {name}"));
    let named = machine.named(path).map_err(|e| cannot().because(e))?;
    let mut disk = match named {
        Named::Disk(medium) => {
            for what in &medium.uses {
                if let Use::Mounted { part, place } = what {
                    return Err(cannot()
                        .because(format!("{part} is mounted on {}", place.display()))
                        .hint(format!(
                            "udisksctl unmount -b /dev/{part}   (or umount, as root)"
                        )));
                }
            }
            if let Verdict::Never(why, hint) = guard::judge(&medium, None) {
                let failure = cannot().because(why);
                return Err(match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                });
            }
            is_box(&medium.path).map_err(|why| cannot().because(why))?;
            agree(&name, args, ui)?;
            Disk::device(&medium.path)
        }
        Named::File => {
            is_box(path).map_err(|why| cannot().because(why))?;
            agree(&name, args, ui)?;
            Disk::existing_file(path)
        }
        Named::PartOf(disk) => {
            return Err(cannot()
                .because(format!("it is a part of /dev/{disk}"))
                .hint(format!(
                    "name the whole card:  roost reset --card /dev/{disk}"
                )));
        }
        Named::Other(what) => return Err(cannot().because(what)),
    }
    .map_err(|e| {
        cannot()
            .because(e)
            .hint("run it as root, or put the card in again")
    })?;
    let code = code(random()?);
    put(&mut disk, &code).map_err(|why| {
        Failure::new(format!("{name} could not be prepared"))
            .because(why)
            .hint("the box starts from it as before; run the same command again")
    })?;
    let code = display_code(&code);
    ui.result(
        format!(
            "At its next start the box with this card forgets its owner, its paired computers, all accounts \
             and all mail.\nIts name, network and certificate stay.\n\n  \
             pairing code  {code}   (works once)\n\nNext: put the card into the box, switch it on, then \
             roost pair\n"
        ),
        &Prepared {
            card: name,
            pairing_code: code,
        },
    );
    Ok(())
}

/// Whether it is the card of a box, and why not.
fn is_box(path: &Path) -> Result<(), String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    match superblock::data_of_box(&file) {
        Some(_) => Ok(()),
        None => Err("it is not the card of a box: it has other partitions".to_owned()),
    }
}

fn agree(name: &str, args: &ResetArgs, ui: &Ui) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    if !can_ask(ui) {
        return Err(
            Failure::usage("it would be asked first, and there is no terminal to ask on")
                .hint("add --yes"),
        );
    }
    let question = format!("Delete all mail and settings on {name} when its box next starts?");
    match confirm(&question)? {
        true => Ok(()),
        false => Err(Failure::interrupted("you said no; nothing was written")),
    }
}

/// Puts the file onto the card and looks whether it is there.
fn put(disk: &mut impl Target, code: &str) -> Result<(), String> {
    let words = |e: std::io::Error| e.to_string();
    let mut first = Buffer::new(BLOCK);
    disk.read_at(0, &mut first).map_err(words)?;
    let sector: &[u8; 512] = first[..512].try_into().map_err(|_| "no first sector")?;
    let mbr = Mbr::from_bytes(sector).map_err(|e| e.to_string())?;
    let selector = mbr
        .partition(SELECTOR_PARTITION)
        .filter(|part| part.bytes() <= MAX_PARTITION && part.offset() % BLOCK as u64 == 0)
        .ok_or("its first partition is not a box's")?;
    let length = usize::try_from(selector.bytes()).map_err(|e| e.to_string())?;
    let mut before = Buffer::new(length);
    disk.read_at(selector.offset(), &mut before)
        .map_err(words)?;
    let mut after = before.to_vec();
    write_file(&mut after, code).map_err(words)?;
    let changed = || {
        let blocks = after.chunks(BLOCK).zip(before.chunks(BLOCK)).enumerate();
        blocks.filter(|(_, (new, old))| new != old)
    };
    let mut block = Buffer::new(BLOCK);
    // The folder lies before the files: from the end to the start, what names the file comes last.
    let mut places: Vec<usize> = changed().map(|(number, _)| number).collect();
    places.reverse();
    let at = |number: usize| selector.offset() + (number * BLOCK) as u64;
    for number in &places {
        block.copy_from_slice(&after[number * BLOCK..][..BLOCK]);
        disk.write_at(at(*number), &block).map_err(words)?;
        disk.sync().map_err(words)?;
    }
    for number in &places {
        disk.read_at(at(*number), &mut block).map_err(words)?;
        if block[..] != after[number * BLOCK..][..BLOCK] {
            return Err("it does not keep what is written; it may be worn out".to_owned());
        }
    }
    Ok(())
}

/// Writes the file into a FAT file system in memory, in place of one of that name.
fn write_file(partition: &mut [u8], code: &str) -> std::io::Result<()> {
    let fs = fatfs::FileSystem::new(Cursor::new(partition), fatfs::FsOptions::new())?;
    {
        let root = fs.root_dir();
        let mut file = root.create_file(FILE)?;
        file.truncate()?;
        writeln!(file, "{}", display_code(code))?;
        file.flush()?;
    }
    fs.unmount()
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_board::fat::FileSystem;
    use roost_board::layout::Layout;

    /// A card with its first partition only.
    struct Card(Vec<u8>);

    impl Target for Card {
        fn is_blank(&self) -> bool {
            false
        }
        fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            let at = at as usize;
            assert_eq!(at % BLOCK, 0);
            buffer.copy_from_slice(&self.0[at..at + buffer.len()]);
            Ok(())
        }
        fn write_at(&mut self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
            let at = at as usize;
            assert_eq!((at % BLOCK, bytes.len() % BLOCK), (0, 0));
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }
        fn sync(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn selector() -> (usize, usize) {
        let part = Layout::STANDARD.mbr(7);
        let part = part.partition(SELECTOR_PARTITION).unwrap();
        (part.offset() as usize, part.bytes() as usize)
    }

    fn card() -> Card {
        let (at, length) = selector();
        let mut bytes = vec![0; at + length];
        bytes[..512].copy_from_slice(&Layout::STANDARD.mbr(7).to_bytes());
        let part = &mut bytes[at..];
        fatfs::format_volume(Cursor::new(&mut *part), fatfs::FormatVolumeOptions::new()).unwrap();
        let fs = fatfs::FileSystem::new(Cursor::new(part), fatfs::FsOptions::new()).unwrap();
        let mut file = fs.root_dir().create_file("autoboot.txt").unwrap();
        file.write_all(&[b'x'; 512]).unwrap();
        drop(file);
        fs.unmount().unwrap();
        Card(bytes)
    }

    fn read(card: &Card, name: &str) -> Vec<u8> {
        let (at, length) = selector();
        let part = Cursor::new(&card.0[at..at + length]);
        FileSystem::open(part).unwrap().read(name, 4096).unwrap()
    }

    #[test]
    fn the_file_is_there_and_nothing_else_has_changed() {
        let mut card = card();
        put(&mut card, "7QXM4KPB").unwrap();
        assert_eq!(read(&card, FILE), b"7QXM-4KPB\n");
        assert_eq!(read(&card, "autoboot.txt"), [b'x'; 512]);
        // Again: another code in its place.
        put(&mut card, "00000000").unwrap();
        assert_eq!(read(&card, FILE), b"0000-0000\n");
        let (at, length) = selector();
        let part = Cursor::new(&card.0[at..at + length]);
        let items = FileSystem::open(part).unwrap().list("").unwrap();
        assert_eq!(items.len(), 2, "{items:?}");
    }

    #[test]
    fn what_is_no_box_is_refused() {
        let mut card = card();
        card.0[510] = 0;
        assert!(put(&mut card, "7QXM4KPB").is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        let why = is_box(file.path()).unwrap_err();
        assert_eq!(why, "it is not the card of a box: it has other partitions");
    }
}
