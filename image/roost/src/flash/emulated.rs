//! The card of an emulated box: made its own as a real one is, unless it is already.

use super::card::{BLOCK, Personal};
use super::image::read_full;
use crate::error::Failure;
use crate::store::disk_failure;
use roost_board::layout::{DATA_PARTITION, SECTOR};
use roost_board::mbr::Mbr;
use roost_service::card::{self, SIZE};
use roost_service::fingerprint::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes read at a time.
const PIECE: usize = 256 * BLOCK;

/// What somebody who pairs with the box needs to know of its card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// The one-time pairing code, normalised.
    pub code: String,
    /// SHA-256 of the certificate, in hexadecimal digits.
    pub fingerprint: String,
}

/// Gives the card in this file a code and an identity, unless `roost flash` has. `None` if it has no
/// place for them: then the box makes its own.
///
/// # Errors
///
/// A [`Failure`] if the file cannot be read or written.
pub fn personalise(path: &Path) -> Result<Option<Own>, Failure> {
    let fail = |e: std::io::Error| disk_failure("read", path, e);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(fail)?;
    let mut sector = [0; SECTOR as usize];
    if read_full(&mut file, &mut sector).map_err(fail)? < sector.len() {
        return Ok(None);
    }
    let mbr = Mbr::from_bytes(&sector).ok();
    let Some(data) = mbr.as_ref().and_then(|mbr| mbr.partition(DATA_PARTITION)) else {
        return Ok(None);
    };
    let length = data.end() * SECTOR - data.offset();
    file.seek(SeekFrom::Start(data.offset())).map_err(fail)?;
    let places = search((&file).take(length)).map_err(fail)?;
    let [place] = places.as_slice() else {
        return Ok(None);
    };
    let place = data.offset() + place;
    let mut bytes = [0; SIZE];
    file.read_exact_at(&mut bytes, place).map_err(fail)?;
    if card::parse(&bytes) == Ok(None) {
        let personal = Personal::unnamed()?;
        file.write_all_at(&personal.file[..], place)
            .and_then(|()| file.sync_all())
            .map_err(|e| disk_failure("write", path, e))?;
        return Ok(Some(Own {
            code: personal.code,
            fingerprint: personal.fingerprint.hex(),
        }));
    }
    let Ok(Some(card)) = card::parse(&bytes) else {
        return Ok(None);
    };
    let (Some(pairing), Some(identity)) = (card.pairing, card.identity) else {
        return Ok(None);
    };
    let der = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes());
    Ok(der.ok().map(|der| Own {
        code: pairing.code,
        fingerprint: Fingerprint::of(&der).hex(),
    }))
}

/// Where blocks begin as the card's own file does.
fn search(mut from: impl Read) -> std::io::Result<Vec<u64>> {
    let (mut places, mut at) = (Vec::new(), 0);
    let mut buffer = vec![0; PIECE];
    loop {
        let length = read_full(&mut from, &mut buffer)?;
        for (n, block) in buffer[..length].chunks(BLOCK).enumerate() {
            if card::format_of(block).is_some() {
                places.push(at + (n * BLOCK) as u64);
            }
        }
        at += length as u64;
        if length < buffer.len() {
            return Ok(places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::image::tests::bytes as small_image;

    #[test]
    fn a_card_becomes_its_own_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("virt.card");
        std::fs::write(&path, small_image()).unwrap();
        let own = personalise(&path).unwrap().expect("it has a place");
        assert_eq!(own.code.len(), card::CODE_LETTERS);
        assert_eq!(personalise(&path).unwrap(), Some(own));
        // No place, or no image at all.
        std::fs::write(&path, vec![0; 1 << 20]).unwrap();
        assert_eq!(personalise(&path).unwrap(), None);
        std::fs::write(&path, "").unwrap();
        assert_eq!(personalise(&path).unwrap(), None);
    }
}
