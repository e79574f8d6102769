//! The "card" that a machine runs from: a copy of an image, grown to a card's size.

use crate::error::Error;
use crate::firmware::file_error;
use crate::options::Machine;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The least size in bytes, from `least` on, that `machine` takes for a disk.
pub fn card_size(machine: Machine, least: u64) -> u64 {
    match machine {
        Machine::Virt => least.next_multiple_of(1 << 20),
        // QEMU's SD card model knows no other sizes.
        Machine::Raspi3b => least.next_power_of_two(),
    }
}

/// Copies `image` to `to` and grows it to `bytes`, as flashing it to a card
/// does: the box finds free space behind its data partition on first boot.
///
/// Zeros take up no space in the copy. `to` appears only when it is complete,
/// and is never overwritten: it may be somebody's box.
///
/// # Errors
/// When `bytes` is less than the image, `to` exists, or the copy cannot be made.
pub fn prepare_disk(image: &Path, to: &Path, bytes: u64) -> Result<(), Error> {
    let mut from = File::open(image).map_err(file_error("open", image))?;
    let least = from.metadata().map_err(file_error("read", image))?.len();
    if bytes < least {
        return Err(Error::TooSmall {
            image: image.to_owned(),
            wanted: bytes,
            least,
        });
    }
    if to.exists() {
        return Err(file_error("create", to)(ErrorKind::AlreadyExists.into()));
    }
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let made = copy_sparse(&mut from, image, partial, bytes)
        .and_then(|()| std::fs::rename(partial, to).map_err(file_error("create", to)));
    if made.is_err() {
        // Only to save space: the next attempt overwrites it.
        let _ = std::fs::remove_file(partial);
    }
    made
}

fn copy_sparse(from: &mut File, image: &Path, to: &Path, bytes: u64) -> Result<(), Error> {
    let mut copy = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)
        .map_err(file_error("create", to))?;
    copy.set_len(bytes).map_err(file_error("write", to))?;
    let mut piece = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(file_error("read", image)(e)),
        };
        if piece[..read].iter().any(|byte| *byte != 0) {
            copy.seek(SeekFrom::Start(offset))
                .map_err(file_error("write", to))?;
            copy.write_all(&piece[..read])
                .map_err(file_error("write", to))?;
        }
        offset += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_copy_is_larger_and_takes_no_more_space() {
        let dir = tempfile::tempdir().unwrap();
        let (image, card) = (dir.path().join("image"), dir.path().join("card"));
        let mut bytes = vec![0; 3 << 20];
        bytes[0] = 1;
        bytes[(2 << 20) + 5] = 2;
        std::fs::write(&image, &bytes).unwrap();
        prepare_disk(&image, &card, 64 << 20).unwrap();
        let copy = std::fs::read(&card).unwrap();
        assert_eq!(copy.len(), 64 << 20);
        assert_eq!(copy[..bytes.len()], bytes);
        assert!(copy[bytes.len()..].iter().all(|b| *b == 0));
        assert!(std::fs::metadata(&card).unwrap().blocks() * 512 <= 4 << 20);
    }

    #[test]
    fn a_disk_is_never_overwritten_or_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let (image, card) = (dir.path().join("image"), dir.path().join("card"));
        std::fs::write(&image, [1; 4096]).unwrap();
        let small = prepare_disk(&image, &card, 4095).unwrap_err();
        assert!(
            small
                .to_string()
                .starts_with("a disk of 4095 bytes is too small for ")
        );
        assert_eq!(small.hint().unwrap(), "take at least 1 MiB");
        prepare_disk(&image, &card, 4096).unwrap();
        std::fs::write(&card, "a box").unwrap();
        let error = prepare_disk(&image, &card, 4096).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot create {}", card.display())
        );
        assert_eq!(std::fs::read(&card).unwrap(), b"a box");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            2,
            "no partial copy is left"
        );
    }

    #[test]
    fn sizes_that_a_machine_takes() {
        assert_eq!(card_size(Machine::Virt, 644 << 20), 644 << 20);
        assert_eq!(card_size(Machine::Virt, 1), 1 << 20);
        assert_eq!(card_size(Machine::Raspi3b, 644 << 20), 1 << 30);
    }
}
