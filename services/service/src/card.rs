//! What `roost flash` tells one card and not the image: name, network, pairing code, first identity,
//! and which computer wrote it.
//!
//! The builder puts a file of a fixed size into the data file system, [`PATH`] on the box, with
//! nothing but a placeholder in it. `roost flash` finds the placeholder's blocks in the image and
//! writes over them, so it needs to know nothing of ext4. The file is 16 KiB long:
//!
//! ```text
//! 32 bytes   the line of `magic`, with the number of a format
//! …          a Card as JSON; nothing in the placeholder
//! …          blanks
//! 1 byte     a line feed
//! ```
//!
//! In a placeholder the number is the newest [`FORMAT`] that the boxes of this image read, so that
//! `roost flash` writes nothing onto a card that its box would not understand.
//!
//! Functions here take and give bytes; nothing in here reads a file or makes random numbers.

use crate::settings::Network;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where the file lies on the box.
pub const PATH: &str = "/data/first-boot/card";
/// Its path in the data file system.
pub const PATH_IN_DATA: &str = "first-boot/card";
/// Bytes of the file.
pub const SIZE: usize = 16 << 10;
/// Bytes of the first line. No other block of the data file system may begin so.
pub const FIRST_LINE: usize = 32;
/// Number of the newest format of [`Card`]. It grows when an older box could not read it.
pub const FORMAT: u32 = 2;
/// The format of cards that name no computer, which every box reads.
pub const FORMAT_ALONE: u32 = 1;
/// Longest name of a computer, in bytes.
pub const MAX_COMPUTER: usize = 64;

/// Letters of a pairing code.
pub const CODE_LETTERS: usize = 8;
/// Crockford's base 32: no I, L, O, which look like digits, and no U, which makes words.
pub const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Resolvers at most: what a `resolv.conf` of a home may sensibly hold.
const MAX_RESOLVERS: usize = 8;

/// What one card is told. From [`parse`] every value in it is sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// [`FORMAT`], or an earlier one.
    pub format: u32,
    /// Host name instead of the one in the settings (an RFC 1123 label in lower case).
    #[serde(default)]
    pub name: Option<String>,
    /// Network instead of the one in the settings.
    #[serde(default)]
    pub network: Option<Network>,
    /// How the first laptop or browser proves that it may take this box.
    #[serde(default)]
    pub pairing: Option<Pairing>,
    /// Who the box is until it has made a certificate of its own.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The computer that wrote the card: the box lets it in once it has an owner. From format 2 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computer: Option<Computer>,
}

impl Card {
    /// The same without the computer that wrote it, in the format that every box reads.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            format: FORMAT_ALONE,
            computer: None,
            ..self
        }
    }
}

/// A computer that a box is to know, as `roost pair` would introduce it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Computer {
    /// What the box calls it: 1 to [`MAX_COMPUTER`] bytes, none of them a control character.
    pub name: String,
    /// Its Ed25519 public key (RFC 8032) in 64 hexadecimal digits, in lower case.
    pub key: String,
}

impl Computer {
    /// Whether a box takes it.
    pub fn is_sound(&self) -> bool {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        is_computer_name(&self.name) && self.key.len() == 64 && self.key.bytes().all(digit)
    }
}

/// Whether a box can call a computer so.
pub fn is_computer_name(name: &str) -> bool {
    (1..=MAX_COMPUTER).contains(&name.len())
        && name.trim() == name
        && !name.chars().any(char::is_control)
}

/// The one-time pairing code.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairing {
    /// The code as [`normalise_code`] gives it.
    pub code: String,
}

/// A private key and its self-signed certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// PKCS#8 (RFC 5958) as PEM.
    pub key_pem: String,
    /// X.509 as PEM.
    pub certificate_pem: String,
}

impl fmt::Debug for Pairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pairing(…)")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// Why a file is no card, or a card no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The length is not [`SIZE`].
    #[error("it has {0} bytes instead of {SIZE}")]
    Length(usize),
    /// It does not begin with the line of [`format_of`].
    #[error("it does not begin with the line of a card file")]
    Magic,
    /// What follows is no JSON of a [`Card`]. The parser's own words could repeat a secret.
    #[error("line {0}, column {1} behind its first line cannot be understood")]
    Json(usize, usize),
    /// It is of a later format.
    #[error("its format is {0}, this version knows formats up to {FORMAT}")]
    Format(u32),
    /// A value in it cannot be.
    #[error("the {0} in it cannot be used")]
    Value(&'static str),
    /// The card is too long for the file.
    #[error("it would need {0} bytes, the file has {SIZE}")]
    TooLong(usize),
}

/// The first line.
fn magic(format: u32) -> String {
    format!("roost card {format} set by roost flash\n")
}

/// The format that the file says with which these bytes begin; `None` if they are none of ours, or
/// of a later format.
pub fn format_of(start: &[u8]) -> Option<u32> {
    (1..=FORMAT).find(|format| start.starts_with(magic(*format).as_bytes()))
}

/// The file as the builder makes it.
pub fn placeholder() -> [u8; SIZE] {
    placeholder_of(FORMAT)
}

/// The file as a builder makes it whose boxes read cards up to `format`.
pub fn placeholder_of(format: u32) -> [u8; SIZE] {
    let mut bytes = [b' '; SIZE];
    bytes[..FIRST_LINE].copy_from_slice(&magic(format).as_bytes()[..FIRST_LINE]);
    bytes[SIZE - 1] = b'\n';
    bytes
}

/// The file that holds `card`.
///
/// # Errors
/// [`CardError`] when a value cannot be, or when the card is too long.
pub fn render(card: &Card) -> Result<[u8; SIZE], CardError> {
    check(card)?;
    let json = serde_json::to_vec(card).expect("strings and numbers always make JSON");
    let mut bytes = placeholder_of(card.format);
    let end = FIRST_LINE + json.len();
    // The last byte stays a line feed.
    if end >= SIZE {
        return Err(CardError::TooLong(end + 1));
    }
    bytes[FIRST_LINE..end].copy_from_slice(&json);
    Ok(bytes)
}

/// Reads the file; `None` if it is the placeholder as the builder made it.
///
/// # Errors
/// [`CardError`] when it is neither that nor a sound card.
pub fn parse(bytes: &[u8]) -> Result<Option<Card>, CardError> {
    if bytes.len() != SIZE {
        return Err(CardError::Length(bytes.len()));
    }
    format_of(bytes).ok_or(CardError::Magic)?;
    let json = bytes[FIRST_LINE..].trim_ascii();
    if json.is_empty() {
        return Ok(None);
    }
    let card: Card =
        serde_json::from_slice(json).map_err(|e| CardError::Json(e.line(), e.column()))?;
    check(&card)?;
    Ok(Some(card))
}

fn check(card: &Card) -> Result<(), CardError> {
    if !(1..=FORMAT).contains(&card.format) {
        return Err(CardError::Format(card.format));
    }
    if !card.name.as_deref().is_none_or(is_label) {
        return Err(CardError::Value("name"));
    }
    if let Some(Network::Static {
        prefix,
        dns,
        address6,
        ..
    }) = &card.network
    {
        let prefix6 = address6.map_or(64, |(_, prefix)| prefix);
        if !(1..=32).contains(prefix) || !(1..=128).contains(&prefix6) || dns.len() > MAX_RESOLVERS
        {
            return Err(CardError::Value("network"));
        }
    }
    if let Some(Pairing { code }) = &card.pairing
        && normalise_code(code).as_ref() != Some(code)
    {
        return Err(CardError::Value("pairing code"));
    }
    if let Some(identity) = &card.identity
        && (!identity.key_pem.starts_with("-----BEGIN PRIVATE KEY-----")
            || !identity
                .certificate_pem
                .starts_with("-----BEGIN CERTIFICATE-----"))
    {
        return Err(CardError::Value("identity"));
    }
    let is_sound = |computer: &Computer| card.format > FORMAT_ALONE && computer.is_sound();
    if !card.computer.as_ref().is_none_or(is_sound) {
        return Err(CardError::Value("computer"));
    }
    Ok(())
}

/// Whether it can be a host name without a dot (RFC 1123 section 2.1), in lower case.
pub fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// The code that 40 random bits make: eight letters, as [`normalise_code`] gives them.
pub fn code(random: [u8; 5]) -> String {
    let bits = random
        .iter()
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..CODE_LETTERS)
        .rev()
        .map(|place| char::from(ALPHABET[(bits >> (5 * place) & 31) as usize]))
        .collect()
}

/// A pairing code as somebody may type it, in the one spelling that is compared; see [`normalise`].
///
/// Compare the results in constant time.
pub fn normalise_code(typed: &str) -> Option<String> {
    normalise(typed, CODE_LETTERS)
}

/// So many letters of [`ALPHABET`] as somebody may type them, in one spelling: upper case, no dash,
/// no blank, and the letters that look like digits read as those. `None` if it cannot be such a text.
pub fn normalise(typed: &str, letters: usize) -> Option<String> {
    // Made as long as it gets: a copy that is left behind could not be cleared.
    let mut text = String::with_capacity(letters);
    let is_between = |c: char| c.is_whitespace() || "-‐‑–—".contains(c);
    for letter in typed.chars().filter(|c| !is_between(*c)) {
        let letter = match letter.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if text.len() == letters || !ALPHABET.iter().any(|known| char::from(*known) == letter) {
            return None;
        }
        text.push(letter);
    }
    (text.len() == letters).then_some(text)
}

/// A normalised code for people: `ABCD-EFGH`.
pub fn display_code(code: &str) -> String {
    match code.split_at_checked(CODE_LETTERS / 2) {
        Some((first, last)) => format!("{first}-{last}"),
        None => code.to_owned(),
    }
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
