//! Header, signatures and manifest: the part of a bundle that is read first.

use crate::error::{Error, Table, read_exact};
use crate::hash::Hash;
use crate::keys::{PublicKey, SigningKey, TrustedKeys};
use crate::limits::{
    CHUNK_ROW, DELTA_ROW, DOMAIN, FORMAT, HEADER_BYTES, MAGIC, MAX_MANIFEST, MAX_SIGNATURES,
    SIGNATURE_BYTES,
};
use crate::manifest::Manifest;
use crate::tables::Tables;
use std::io::Read;

/// Header, signatures and manifest as they came. Lengths and counts are within
/// the limits; not a byte is trusted, and the manifest is not even parsed:
/// only what a trusted key signed reaches the JSON parser.
#[derive(Debug, Clone)]
pub struct Unverified {
    header: [u8; HEADER_BYTES],
    signatures: Vec<(PublicKey, [u8; 64])>,
    manifest: Vec<u8>,
}

impl Unverified {
    /// Reads the first part of a bundle and leaves `from` at the chunk table.
    ///
    /// # Errors
    ///
    /// [`Error::NotABundle`], [`Error::Format`], [`Error::SignatureCount`],
    /// [`Error::ManifestLength`], [`Error::SameSigner`], [`Error::Truncated`],
    /// and [`Error::Io`] with the reader's error.
    pub fn read(from: &mut impl Read) -> Result<Self, Error> {
        let mut header = [0; HEADER_BYTES];
        read_exact(from, &mut header, "header")?;
        let [
            m0,
            m1,
            m2,
            m3,
            m4,
            m5,
            m6,
            m7,
            v0,
            v1,
            s0,
            s1,
            l0,
            l1,
            l2,
            l3,
        ] = header;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
            return Err(Error::NotABundle);
        }
        let format = u16::from_le_bytes([v0, v1]);
        if format != FORMAT {
            return Err(Error::Format { found: format });
        }
        let count = u16::from_le_bytes([s0, s1]);
        if count == 0 || count > MAX_SIGNATURES {
            return Err(Error::SignatureCount { found: count });
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length == 0 || length > MAX_MANIFEST {
            return Err(Error::ManifestLength { found: length });
        }
        let mut signatures: Vec<(PublicKey, [u8; 64])> = Vec::with_capacity(count.into());
        for _ in 0..count {
            let (mut key, mut signature) = ([0; 32], [0; 64]);
            read_exact(from, &mut key, "signatures")?;
            read_exact(from, &mut signature, "signatures")?;
            let key = PublicKey(key);
            if signatures.iter().any(|(other, _)| *other == key) {
                return Err(Error::SameSigner { signer: key });
            }
            signatures.push((key, signature));
        }
        let mut manifest = vec![0; length as usize];
        read_exact(from, &mut manifest, "manifest")?;
        Ok(Self {
            header,
            signatures,
            manifest,
        })
    }

    /// Who the bundle says signed it. Anybody can write anything there.
    pub fn claimed_signers(&self) -> impl Iterator<Item = PublicKey> + '_ {
        self.signatures.iter().map(|(key, _)| *key)
    }

    /// Checks every signature, and that a trusted key is among the signers;
    /// then reads the manifest.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSigner`], [`Error::Signature`], [`Error::Manifest`],
    /// [`Error::Rotation`].
    pub fn verify(self, trusted: &TrustedKeys) -> Result<Verified, Error> {
        let signers: Vec<PublicKey> = self.claimed_signers().collect();
        let Some(signed_by) = signers.iter().copied().find(|key| trusted.contains(key)) else {
            return Err(Error::UnknownSigner { signers });
        };
        let message = message(&self.header, &signers, &self.manifest);
        for (signer, signature) in &self.signatures {
            if !signer.signed(&message, signature) {
                return Err(Error::Signature { signer: *signer });
            }
        }
        let manifest = Manifest::parse(&self.manifest)?;
        match (&signers[..], manifest.new_key) {
            ([_], None) => {}
            ([_], Some(_)) => {
                return Err(Error::Rotation {
                    why: "a new key is named, but has not signed",
                });
            }
            (_, None) => {
                return Err(Error::Rotation {
                    why: "two keys have signed, but no new key is named",
                });
            }
            (_, Some(new)) if signers.contains(&new) => {}
            (_, Some(_)) => {
                return Err(Error::Rotation {
                    why: "a new key is named, but two others have signed",
                });
            }
        }
        Ok(Verified {
            id: Hash::of(&self.manifest),
            envelope: (HEADER_BYTES + signers.len() * SIGNATURE_BYTES + self.manifest.len()) as u64,
            manifest,
            signed_by,
        })
    }
}

/// A bundle whose manifest was signed by a trusted key. All that follows in the
/// file is bound to it by hashes.
#[derive(Debug, Clone)]
pub struct Verified {
    manifest: Manifest,
    signed_by: PublicKey,
    id: Hash,
    envelope: u64,
}

impl Verified {
    /// What was signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The trusted key that signed it.
    pub fn signed_by(&self) -> PublicKey {
        self.signed_by
    }

    /// The key to trust from now on instead of `signed_by`, once the trial of
    /// this bundle is committed; `None` if keys stay as they are.
    pub fn new_key(&self) -> Option<PublicKey> {
        self.manifest.new_key.filter(|new| *new != self.signed_by)
    }

    /// Tells this bundle from every other: the hash of its manifest, which
    /// covers all content. A transfer that was cut off continues only under the same id.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// Bytes before the payloads; a payload's offset counts from here.
    pub fn payload_start(&self) -> u64 {
        let tables = self.chunk_table_bytes() + self.delta_table_bytes();
        self.envelope + tables as u64
    }

    /// Bytes of the whole bundle.
    pub fn total_bytes(&self) -> u64 {
        self.payload_start() + self.manifest.payload_bytes
    }

    /// Compares the file's length with what the manifest says: finds a
    /// transfer that is cut off, or bytes that nobody signed, before any work.
    ///
    /// # Errors
    ///
    /// [`Error::Length`].
    pub fn check_length(&self, found: u64) -> Result<(), Error> {
        let expected = self.total_bytes();
        if found != expected {
            return Err(Error::Length { expected, found });
        }
        Ok(())
    }

    /// Reads both tables and leaves `from` at the first payload.
    ///
    /// # Errors
    ///
    /// [`Error::TableHash`] if they are not the signed ones, [`Error::Row`] and
    /// [`Error::Tables`] if the signed ones break the format,
    /// [`Error::Truncated`], and [`Error::Io`] with the reader's error.
    pub fn read_tables(&self, from: &mut impl Read) -> Result<Tables, Error> {
        // Row counts were checked with the manifest.
        let mut chunks = vec![0; self.chunk_table_bytes()];
        read_exact(from, &mut chunks, "chunk table")?;
        if Hash::of(&chunks) != self.manifest.chunks.hash {
            return Err(Error::TableHash {
                table: Table::Chunks,
            });
        }
        let mut deltas = vec![0; self.delta_table_bytes()];
        read_exact(from, &mut deltas, "delta table")?;
        if Hash::of(&deltas) != self.manifest.deltas.hash {
            return Err(Error::TableHash {
                table: Table::Deltas,
            });
        }
        Tables::parse(
            self.manifest.slot.bytes,
            self.manifest.payload_bytes,
            &chunks,
            &deltas,
        )
    }

    fn chunk_table_bytes(&self) -> usize {
        self.manifest.chunks.rows as usize * CHUNK_ROW
    }

    fn delta_table_bytes(&self) -> usize {
        self.manifest.deltas.rows as usize * DELTA_ROW
    }
}

/// Header, signatures and manifest of a new bundle. `manifest` is JSON of at
/// most [`MAX_MANIFEST`] bytes.
pub(crate) fn seal(manifest: &[u8], keys: &[&SigningKey]) -> Vec<u8> {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    header[10..12].copy_from_slice(&(keys.len() as u16).to_le_bytes());
    header[12..].copy_from_slice(&(manifest.len() as u32).to_le_bytes());
    let signers: Vec<PublicKey> = keys.iter().map(|key| key.public()).collect();
    let message = message(&header, &signers, manifest);
    let mut out = header.to_vec();
    for key in keys {
        out.extend(key.public().0);
        out.extend(key.sign(&message));
    }
    out.extend(manifest);
    out
}

/// What is signed. It covers the number of signatures and all signers' keys, so
/// that no signature can be taken away, added or exchanged for another's.
fn message(header: &[u8; HEADER_BYTES], signers: &[PublicKey], manifest: &[u8]) -> Vec<u8> {
    let mut message = DOMAIN.to_vec();
    message.extend(header);
    for signer in signers {
        message.extend(signer.0);
    }
    message.extend(manifest);
    message
}
