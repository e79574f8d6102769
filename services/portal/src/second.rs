//! The second factor: one-time passwords of an app (TOTP, RFC 6238), and recovery codes.
//!
//! # Decision: what happens without a clock
//!
//! A code of an app is the time in disguise. A box that was just powered on, or whose
//! way to the time servers is cut, does not know it:
//!
//! | | Clock set by a time server in this start | Not |
//! |---|---|---|
//! | setting it up | yes | refused, with the reason: a code could not be checked, and a wrong clock would lock the owner out |
//! | signing in with the app | yes | refused, with the reason |
//! | signing in with a recovery code | yes | yes: they need no clock |
//! | signing in with the password alone | no | **no**: else cutting the box off from its time servers would take the second factor away |
//!
//! So nobody is locked out by a clock who has kept one of the eight recovery codes, which
//! are shown when the app is set up and of which each works once. Whoever has lost
//! phone *and* codes has the laptop whose key the box knows, or the card.
//!
//! A saved clock (the floor that init keeps) is not good enough: it is late by as
//! long as the box was off, and taking the codes of a day would make each guess 960
//! times as good as taking three.

use crate::code::letters;
use crate::decided::Decided;
use crate::time::Wall;
use roost_service::card::normalise;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use totp_rs::{Algorithm, TOTP};
use zeroize::Zeroizing;

/// Seconds of a step (RFC 6238 section 5.2 recommends it; apps know no other).
pub const STEP: u64 = 30;
/// Steps before and after the present one that are taken: clocks of phones and people's
/// fingers are late by less (RFC 6238 section 5.2).
const SKEW: i64 = 1;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// Recovery codes that are made: enough for years, few enough for a slip of paper.
pub const RECOVERY_CODES: usize = 8;
/// Letters of a recovery code: 50 random bits, not to be guessed by anything that has to ask.
const RECOVERY_LETTERS: usize = 10;
/// Random bytes that [`Pending::confirm`] takes.
pub const RECOVERY_BYTES: usize = RECOVERY_CODES * RECOVERY_LETTERS;

/// Why an app is not set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSetUp {
    /// The box does not know the time.
    #[error(
        "the box does not know the time yet, and the codes of an app depend on it; try again once a time server has answered"
    )]
    NoClock,
    /// The code that should show that the app has the secret is not right.
    #[error(
        "this is not the code that the app should show now; check that the phone sets its time by itself"
    )]
    WrongCode,
}

/// Why a second factor is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was entered.
    #[error("enter the code that the app shows, or a recovery code")]
    Missing,
    /// A wrong code.
    #[error("this is not the right code")]
    Wrong,
    /// A code that was used already, or an older one.
    #[error("this code was used already; wait until the app shows the next one")]
    Replayed,
    /// A code of an app, and the box does not know the time.
    #[error(
        "the box does not know the time yet, so it cannot check the codes of an app; use a recovery code"
    )]
    NoClock,
}

/// What was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A code of the app.
    App,
    /// A recovery code.
    Recovery {
        /// How many are left.
        left: usize,
    },
}

/// The secret that app and box share: 160 random bits (RFC 4226 section 4, R6). It cannot be kept
/// as a hash, since the box computes with it.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Secret(Zeroizing<[u8; 20]>);

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl TryFrom<String> for Secret {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, hex::FromHexError> {
        let mut bytes = Zeroizing::new([0; 20]);
        hex::decode_to_slice(text, bytes.as_mut_slice())?;
        Ok(Self(bytes))
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        hex::encode(*secret.0)
    }
}

impl Secret {
    fn totp(&self, issuer: Option<String>, account: String) -> TOTP {
        // SHA-1 because apps ignore the field and use it; HMAC needs no collision resistance
        // (RFC 6151 section 2.2 says so even of MD5).
        TOTP::new_unchecked(
            Algorithm::SHA1,
            DIGITS,
            1,
            STEP,
            self.0.to_vec(),
            issuer,
            account,
        )
    }

    /// The latest step around `now` whose code this is; compares with all of them.
    fn step_of(&self, code: &str, now: Wall) -> Option<u64> {
        let totp = self.totp(None, String::new());
        let present = now.0 / STEP;
        let mut found = None;
        for skew in -SKEW..=SKEW {
            let step = present.saturating_add_signed(skew);
            let right = totp.generate(step.saturating_mul(STEP));
            if bool::from(right.as_bytes().ct_eq(code.as_bytes())) {
                found = Some(step);
            }
        }
        found
    }
}

/// An app that is being set up and has not proved yet that it has the secret.
/// Counts for nothing until it has; kept with the session that began it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    secret: Secret,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending(…)")
    }
}

impl Pending {
    /// Begins. `random` becomes the secret.
    ///
    /// # Errors
    /// Without a clock.
    pub fn begin(random: [u8; 20], clock: Option<Wall>) -> Result<Self, NotSetUp> {
        clock.ok_or(NotSetUp::NoClock)?;
        Ok(Self {
            secret: Secret(Zeroizing::new(random)),
        })
    }

    /// What the QR code says: an `otpauth:` URL (Key URI Format of Google Authenticator), which
    /// holds the secret. `box_name` and `domain` are what the app shows.
    pub fn url(&self, box_name: &str, domain: &str) -> Zeroizing<String> {
        // A colon would end the issuer.
        let issuer = format!("Roost {box_name}").replace(':', " ");
        let totp = self.secret.totp(Some(issuer), domain.replace(':', " "));
        Zeroizing::new(totp.get_url())
    }

    /// The same secret in base 32, for typing.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.secret.totp(None, String::new()).get_secret_base32())
    }

    /// The app shows `code`: it has the secret, and counts from now on. `random` become the
    /// recovery codes, which are returned to be shown once.
    ///
    /// # Errors
    /// When it is not the code, or without a clock.
    pub fn confirm(
        self,
        code: &str,
        random: [u8; RECOVERY_BYTES],
        clock: Option<Wall>,
    ) -> Result<(SecondFactor, [RecoveryCode; RECOVERY_CODES]), NotSetUp> {
        let now = clock.ok_or(NotSetUp::NoClock)?;
        let code = digits(code).ok_or(NotSetUp::WrongCode)?;
        let step = self.secret.step_of(&code, now).ok_or(NotSetUp::WrongCode)?;
        let codes = std::array::from_fn(|i| {
            RecoveryCode::from_random(&random[i * RECOVERY_LETTERS..][..RECOVERY_LETTERS])
        });
        let factor = SecondFactor {
            secret: self.secret,
            last: step,
            recovery: codes.iter().map(RecoveryCode::hash).collect(),
        };
        Ok((factor, codes))
    }
}

/// A code that works once and needs no clock; shown once, kept as a hash.
pub struct RecoveryCode(Zeroizing<String>);

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

impl RecoveryCode {
    fn from_random(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(letters(bytes)))
    }

    /// `ABCDE-FGHJK`, for the page that shows it.
    pub fn reveal(&self) -> Zeroizing<String> {
        let (one, two) = self.0.split_at(RECOVERY_LETTERS / 2);
        Zeroizing::new(format!("{one}-{two}"))
    }

    fn parse(typed: &str) -> Option<Self> {
        let text = normalise(typed, RECOVERY_LETTERS)?;
        Some(Self(Zeroizing::new(text)))
    }

    fn hash(&self) -> RecoveryHash {
        RecoveryHash(hex::encode(Sha256::digest(self.0.as_bytes())))
    }
}

/// SHA-256 of a recovery code. Whoever reads it reads the app's secret beside it, so a slow hash
/// would protect nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
struct RecoveryHash(String);

/// A second factor that counts.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondFactor {
    secret: Secret,
    /// The latest step whose code was taken; that and older ones are not taken again (RFC 6238
    /// section 5.2). It only grows, so turning the box's clock back revives no code.
    last: u64,
    recovery: Vec<RecoveryHash>,
}

impl fmt::Debug for SecondFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecondFactor({} recovery codes, …)", self.recovery.len())
    }
}

impl SecondFactor {
    /// Recovery codes that are left.
    pub fn recovery_left(&self) -> usize {
        self.recovery.len()
    }

    /// Checks what was typed, and uses it up.
    pub fn check(
        mut self,
        typed: &str,
        clock: Option<Wall>,
    ) -> Decided<Self, Result<Proof, Refused>> {
        if typed.trim().is_empty() {
            return Decided::unchanged(self, Err(Refused::Missing));
        }
        if let Some(code) = digits(typed) {
            let Some(now) = clock else {
                return Decided::unchanged(self, Err(Refused::NoClock));
            };
            return match self.secret.step_of(&code, now) {
                Some(step) if step > self.last => {
                    self.last = step;
                    Decided::new(self, Ok(Proof::App))
                }
                Some(_) => Decided::unchanged(self, Err(Refused::Replayed)),
                None => Decided::unchanged(self, Err(Refused::Wrong)),
            };
        }
        let hash = RecoveryCode::parse(typed).map(|code| code.hash());
        let mut place = None;
        for (i, kept) in self.recovery.iter().enumerate() {
            let same = |hash: &RecoveryHash| bool::from(hash.0.as_bytes().ct_eq(kept.0.as_bytes()));
            if hash.as_ref().is_some_and(same) {
                place = Some(i);
            }
        }
        let Some(place) = place else {
            return Decided::unchanged(self, Err(Refused::Wrong));
        };
        self.recovery.remove(place);
        let left = self.recovery.len();
        Decided::new(self, Ok(Proof::Recovery { left }))
    }
}

/// Six digits, which apps show with a space in the middle.
fn digits(typed: &str) -> Option<Zeroizing<String>> {
    let digits: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    let all = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    all.then(|| Zeroizing::new(digits))
}

#[cfg(test)]
#[path = "second_tests.rs"]
mod tests;
