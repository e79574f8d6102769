//! Transaction signatures (TSIG, RFC 8945) with hmac-sha256: of requests, of answers, and of answers that
//! consist of several messages.
//!
//! hickory's `TSigner` keeps the secret in memory that is not wiped, signs only whole `Message`s, and does
//! not fill in what RFC 8945 wants for BADTIME, nor sign the second and later messages of a transfer. Its
//! record type, its text to be signed and its HMAC are used here; the rest is ours.

use base64::Engine;
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// How far clocks may be apart, in seconds: the value that RFC 8945, section 10, recommends.
pub const FUDGE: u16 = 300;

/// The shortest secret that is accepted, in bytes: RFC 8945, section 8, wants one at least as long as the
/// hash, RFC 2104 allows half of that.
const MIN_SECRET: usize = 16;

/// Length of an hmac-sha256 in bytes.
const MAC: usize = 32;

/// The shortest code that a peer may cut one down to (RFC 8945, section 5.2.2.1).
const MIN_MAC: usize = 16;

/// A key that two hosts share. Its secret is wiped when the last copy goes, and never printed.
pub struct Key {
    name: Name,
    secret: Zeroizing<Vec<u8>>,
}

/// Why a key is none.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not base64.
    #[error("the secret of key {0} is not base64")]
    Base64(Name),
    /// Shorter than 16 bytes.
    #[error("the secret of key {name} has {length} bytes; it needs at least 16, better 32")]
    Short {
        /// Its name.
        name: Name,
        /// Bytes it has.
        length: usize,
    },
}

impl Key {
    /// A key from its secret's bytes.
    ///
    /// # Errors
    /// The secret is shorter than 16 bytes.
    pub fn new(mut name: Name, secret: Vec<u8>) -> Result<Self, KeyError> {
        let secret = Zeroizing::new(secret);
        name.set_fqdn(true);
        if secret.len() < MIN_SECRET {
            let length = secret.len();
            return Err(KeyError::Short { name, length });
        }
        Ok(Self { name, secret })
    }

    /// A key from its secret as name servers write it down.
    ///
    /// # Errors
    /// It is not base64, or shorter than 16 bytes.
    pub fn from_base64(name: Name, secret: &str) -> Result<Self, KeyError> {
        match base64::engine::general_purpose::STANDARD.decode(secret.trim()) {
            Ok(secret) => Self::new(name, secret),
            Err(_) => Err(KeyError::Base64(name)),
        }
    }

    /// Its name, by which both sides call it.
    pub fn name(&self) -> &Name {
        &self.name
    }
}

/// Whether both are one key. For keys that somebody has already: the time that it takes tells of the secrets.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.secret == other.secret
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, hidden)", self.name)
    }
}

/// Seconds since 1970 by the system's clock.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// What a valid signature shows: the peer has `key`.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The key.
    pub key: Arc<Key>,
    /// The request's code, which the answer's covers.
    pub mac: Vec<u8>,
    /// When the peer signed, in seconds since 1970.
    pub time: u64,
}

/// What is wrong with a signature (RFC 8945, section 5.2).
#[derive(Debug)]
pub enum Bad {
    /// The record makes no sense: FORMERR.
    Format,
    /// No such key, or not hmac-sha256: BADKEY.
    Key(Name),
    /// The code is not right: BADSIG.
    Signature(Name),
    /// The code is right so far as it goes, but cut: BADTRUNC.
    Truncated(Name),
    /// The code is right, the clocks are not: BADTIME. The answer is signed.
    Time(Verified),
}

/// Checks the TSIG record that begins at `at` and is the last of `message`. `before` is the code of the
/// request if `message` answers one.
pub fn verify(
    message: &[u8],
    at: usize,
    keys: &[Arc<Key>],
    before: Option<&[u8]>,
    now: u64,
) -> Result<Verified, Bad> {
    let (name, tsig) = read(message, at).ok_or(Bad::Format)?;
    let hmac = TsigAlgorithm::HmacSha256.to_name();
    let known = keys.iter().find(|key| key.name == name);
    let Some(key) = known.filter(|_| tsig.algorithm.to_name().eq_ignore_root(&hmac)) else {
        return Err(Bad::Key(name));
    };
    if tsig.mac.len() > MAC || (!tsig.mac.is_empty() && tsig.mac.len() < MIN_MAC) {
        return Err(Bad::Format);
    }
    if tsig.mac.len() < MIN_MAC {
        return Err(Bad::Signature(name));
    }
    let mut text = Vec::with_capacity(message.len() + 64);
    prefix(&mut text, before);
    let start = text.len();
    text.extend_from_slice(&message[..at]);
    text[start..start + 2].copy_from_slice(&tsig.oid.to_be_bytes());
    add_to_count(&mut text[start..], -1);
    variables(&mut text, &key.name, &tsig).ok_or(Bad::Format)?;
    if tsig.mac.len() < MAC {
        return Err(Bad::Truncated(name));
    }
    if TsigAlgorithm::HmacSha256
        .verify_mac(&key.secret, &text, &tsig.mac)
        .is_err()
    {
        return Err(Bad::Signature(name));
    }
    let verified = Verified {
        key: Arc::clone(key),
        mac: tsig.mac,
        time: tsig.time,
    };
    match now.abs_diff(tsig.time) <= u64::from(tsig.fudge) {
        true => Ok(verified),
        false => Err(Bad::Time(verified)),
    }
}

fn read(message: &[u8], at: usize) -> Option<(Name, TSIG)> {
    let mut decoder = BinDecoder::new(message).clone(u16::try_from(at).ok()?);
    let record = Record::<RData>::read(&mut decoder).ok()?;
    match record.data {
        // Both are covered as what they must be, not as what they are (RFC 8945, section 4.2).
        RData::TSIG(tsig)
            if decoder.is_empty() && record.dns_class == DNSClass::ANY && record.ttl == 0 =>
        {
            Some((record.name, tsig))
        }
        _ => None,
    }
}

fn prefix(text: &mut Vec<u8>, before: Option<&[u8]>) {
    if let Some(before) = before {
        // Never longer than `MAC`.
        text.extend_from_slice(&(before.len() as u16).to_be_bytes());
        text.extend_from_slice(before);
    }
}

fn variables(text: &mut Vec<u8>, name: &Name, tsig: &TSIG) -> Option<()> {
    let mut own = Vec::with_capacity(96);
    tsig.emit_tsig_for_mac(&mut BinEncoder::new(&mut own), name)
        .ok()?;
    text.extend_from_slice(&own);
    Some(())
}

/// Changes the number of additional records in a message's header.
fn add_to_count(message: &mut [u8], by: i16) {
    let count = u16::from_be_bytes([message[10], message[11]]);
    let count = count.wrapping_add_signed(by);
    message[10..12].copy_from_slice(&count.to_be_bytes());
}

/// Signs a request, or the messages of an answer one after the other.
#[derive(Debug)]
pub struct Signer {
    key: Arc<Key>,
    before: Option<Vec<u8>>,
    first: bool,
}

impl Signer {
    /// Of a request.
    pub fn request(key: Arc<Key>) -> Self {
        Self {
            key,
            before: None,
            first: true,
        }
    }

    /// Of the answer to a request that was signed.
    pub fn answer(request: &Verified) -> Self {
        let (key, before) = (Arc::clone(&request.key), Some(request.mac.clone()));
        Self {
            key,
            before,
            first: true,
        }
    }

    /// Appends the signature. Each message covers the one before it; all but the first leave out what does
    /// not change (RFC 8945, section 5.3.1).
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) {
        self.finish(message, now, None);
    }

    /// Appends the signature of an answer to a request of the wrong time: it carries the request's time, and
    /// ours beside it (RFC 8945, section 5.2.3).
    pub fn sign_bad_time(&mut self, message: &mut Vec<u8>, requested: u64, now: u64) {
        self.finish(message, requested, Some(now));
    }

    fn finish(&mut self, message: &mut Vec<u8>, time: u64, ours: Option<u64>) {
        let id = u16::from_be_bytes([message[0], message[1]]);
        let error = ours.map(|_| TsigError::BadTime);
        let other = ours.map_or(Vec::new(), |ours| ours.to_be_bytes()[2..].to_vec());
        let tsig = stub(id, time, error, other);
        let mut text = Vec::with_capacity(message.len() + 128);
        prefix(&mut text, self.before.as_deref());
        text.extend_from_slice(message);
        if self.first {
            variables(&mut text, &self.key.name, &tsig).expect("names and numbers fit");
        } else {
            text.extend_from_slice(&time.to_be_bytes()[2..]);
            text.extend_from_slice(&FUDGE.to_be_bytes());
        }
        let mac = TsigAlgorithm::HmacSha256.mac_data(&self.key.secret, &text);
        let mac = mac.expect("hmac-sha256 is there");
        append(message, &self.key.name, tsig.set_mac(mac.clone()));
        self.before = Some(mac);
        self.first = false;
    }

    /// The code that was made last: the one that an answer to this request covers.
    pub fn mac(&self) -> &[u8] {
        self.before.as_deref().unwrap_or_default()
    }
}

/// Appends a record that says what is wrong, without a code (RFC 8945, sections 5.2.1 and 5.2.2): whoever
/// does not have the key learns nothing that the key signed.
pub fn append_error(message: &mut Vec<u8>, name: &Name, error: TsigError, now: u64) {
    let id = u16::from_be_bytes([message[0], message[1]]);
    append(message, name, stub(id, now, Some(error), Vec::new()));
}

fn stub(id: u16, time: u64, error: Option<TsigError>, other: Vec<u8>) -> TSIG {
    TSIG::new(
        TsigAlgorithm::HmacSha256,
        time,
        FUDGE,
        Vec::new(),
        id,
        error,
        other,
    )
}

fn append(message: &mut Vec<u8>, name: &Name, tsig: TSIG) {
    let mut own = Vec::with_capacity(128);
    let mut encoder = BinEncoder::new(&mut own);
    name.emit(&mut encoder).expect("a name fits");
    let mut data = Vec::with_capacity(96);
    tsig.emit(&mut BinEncoder::new(&mut data)).expect("it fits");
    // Type TSIG, class ANY, TTL 0.
    own.extend_from_slice(&[0, 250, 0, 255, 0, 0, 0, 0]);
    own.extend_from_slice(&(data.len() as u16).to_be_bytes());
    own.extend_from_slice(&data);
    message.extend_from_slice(&own);
    add_to_count(message, 1);
}

/// Bytes that a signature by a key of this name adds to a message.
pub fn length(name: &Name) -> usize {
    // Name, fixed part of a record, hmac-sha256's name, fixed part of a TSIG, code, BADTIME's six bytes.
    name.len() + 1 + 10 + 13 + 16 + MAC + 6
}

#[cfg(test)]
mod tests;
