//! Signs what a fuzzer made up: behind the signature is where parsers are.

use ed25519_dalek::{Signer, SigningKey};
use roost_bundle::{Error, PublicKey, TrustedKeys, Unverified, Verified, limits};

/// Wraps `manifest` as docs/bundle-format.md says and reads it back.
pub fn signed(manifest: &[u8]) -> Result<Verified, Error> {
    let key = SigningKey::from_bytes(&[1; 32]);
    let public = key.verifying_key().to_bytes();
    let mut header = limits::MAGIC.to_vec();
    header.extend(limits::FORMAT.to_le_bytes());
    header.extend(1_u16.to_le_bytes());
    header.extend((manifest.len() as u32).to_le_bytes());
    let message = [limits::DOMAIN, &header, &public, manifest].concat();
    let signature = key.sign(&message).to_bytes();
    let bundle = [&header[..], &public, &signature, manifest].concat();
    Unverified::read(&mut &bundle[..])?.verify(&TrustedKeys::new([PublicKey(public)]))
}
