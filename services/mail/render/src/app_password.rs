//! Passwords of single devices and programs: made here, shown once, kept as a hash.
//!
//! The mail server takes any number of them beside an account's password, each kept as
//! `$app$name$hash`. The name holds what a list shows: `id made label`. The password has a
//! hundred random bits, so a quick hash is as safe as a slow one, and a log-in that tries
//! twenty of them costs a small board nothing.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use roost_service::mail::{AppPassword, MAX_LABEL};
use roost_service::names::Reason;
use std::fmt::Write;

/// What the mail server's directory looks for.
const PREFIX: &str = "$app$";

/// Letters of a password: none of them looks like another, on paper or on a phone.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Letters: a hundred bits.
const LETTERS: usize = 20;
/// A group can be kept in mind while it is typed.
const GROUP: usize = 5;
/// Bytes of an id.
const ID: usize = 4;

/// Random bytes that a new one needs.
pub const RANDOM: usize = ID + LETTERS;

/// A new password.
pub struct New {
    /// Names it.
    pub id: String,
    /// As somebody types it.
    pub password: String,
    /// As the directory keeps it.
    pub kept: String,
}

/// Checks what somebody calls a device.
///
/// # Errors
/// Says which rule it breaks.
pub fn check_label(label: &str) -> Result<&str, Reason> {
    let label = label.trim();
    if label.is_empty() {
        return Err(Reason::new("it has no name").hint("name the device, like phone"));
    }
    if label.chars().count() > MAX_LABEL {
        return Err(Reason::new(format!(
            "the name is longer than {MAX_LABEL} letters"
        )));
    }
    // The dollar ends the name in the directory.
    match label.chars().find(|c| c.is_control() || *c == '$') {
        Some('$') => Err(Reason::new("\"$\" may not stand in the name")),
        Some(_) => Err(Reason::new("the name has signs that cannot be shown")),
        None => Ok(label),
    }
}

/// Makes one from random bytes, the time in seconds since 1970, and a label that was checked.
pub fn make(random: [u8; RANDOM], made: u64, label: &str) -> New {
    let (id, letters) = random.split_at(ID);
    let id = id.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut password = String::new();
    for (at, byte) in letters.iter().enumerate() {
        if at > 0 && at % GROUP == 0 {
            password.push('-');
        }
        // 256 is a multiple of 32: every letter is as likely as any other.
        password.push(char::from(ALPHABET[usize::from(byte % 32)]));
    }
    let hash = BASE64_STANDARD.encode(digest(&SHA256, password.as_bytes()));
    New {
        kept: format!("{PREFIX}{id} {made} {label}${{SHA256}}{hash}"),
        id,
        password,
    }
}

/// What a list shows of one that the directory keeps; `None` if it is not one of ours.
pub fn read(kept: &str) -> Option<AppPassword> {
    let (name, _) = kept.strip_prefix(PREFIX)?.split_once('$')?;
    let mut parts = name.splitn(3, ' ');
    let (id, made, label) = (parts.next()?, parts.next()?, parts.next()?);
    Some(AppPassword {
        id: id.to_owned(),
        label: label.to_owned(),
        made: made.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shown_once_and_kept_as_a_hash() {
        let new = make([7; RANDOM], 1_700_000_000, "Alice's phone");
        assert_eq!(new.password, "hhhhh-hhhhh-hhhhh-hhhhh");
        assert!(!new.kept.contains("hhhhh"));
        assert_eq!(
            read(&new.kept).unwrap(),
            AppPassword {
                id: "07070707".into(),
                label: "Alice's phone".into(),
                made: 1_700_000_000,
            }
        );
        // As the mail server takes it apart.
        let (name, hash) = new
            .kept
            .strip_prefix("$app$")
            .unwrap()
            .split_once('$')
            .unwrap();
        assert_eq!(name, "07070707 1700000000 Alice's phone");
        assert_eq!(
            hash,
            format!(
                "{{SHA256}}{}",
                BASE64_STANDARD.encode(digest(&SHA256, b"hhhhh-hhhhh-hhhhh-hhhhh"))
            )
        );
    }

    #[test]
    fn different_bytes_give_different_passwords() {
        let mut letters = std::collections::BTreeSet::new();
        for byte in 0..=255 {
            letters.insert(make([byte; RANDOM], 0, "x").password);
        }
        assert_eq!(letters.len(), 32);
    }

    #[test]
    fn labels_that_would_break_the_directory_are_refused() {
        assert_eq!(check_label(" phone ").unwrap(), "phone");
        assert_eq!(check_label("Tür & Tor").unwrap(), "Tür & Tor");
        for bad in [
            "",
            "  ",
            "a$b",
            "a\nb",
            "a\u{7f}",
            &"a".repeat(MAX_LABEL + 1),
        ] {
            assert!(check_label(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_ours_is_left_out() {
        for foreign in ["$6$a$b", "$app$", "$app$x$y", "$app$a b c$d", "$app$id 1$h"] {
            assert!(read(foreign).is_none(), "{foreign}");
        }
    }
}
