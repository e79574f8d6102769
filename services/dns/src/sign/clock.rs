//! Whether the clock may be trusted with a signature.
//!
//! A board without a battery-backed clock starts in 1970 or at the time of its last shutdown. What is signed
//! then is refused by every validating resolver, for a month if the clock was ahead.

/// How far the clock may be set back after signing, in seconds. The corrections of a time client are far
/// smaller; and the inception of a signature lies as far back as this ([`super::Policy`]), so that one made
/// before the correction is valid after it.
pub const SET_BACK: u64 = 3600;

/// How long after the image was built a time is still believed, in seconds: 15 years. No board lives as long
/// without an update, and a clock with a broken battery often shows the last year that it can express.
pub const LIFE: u64 = 15 * 365 * 86_400;

/// Why nothing may be signed with this clock. Times are in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The clock was never set.
    #[error(
        "the clock shows {}, before this image was built ({}): it has not been set yet", date(*now), date(*built_at)
    )]
    BeforeBuild {
        /// What the clock shows.
        now: u64,
        /// When the image was built.
        built_at: u64,
    },
    /// The clock went back.
    #[error(
        "the clock shows {}, more than an hour before the last signing ({}): it went back", date(*now), date(*last)
    )]
    BeforeLastSigning {
        /// What the clock shows.
        now: u64,
        /// When the zone was signed last.
        last: u64,
    },
    /// The clock is far ahead.
    #[error("the clock shows {}, more than 15 years after this image was built ({})", date(*now), date(*built_at))]
    FarAhead {
        /// What the clock shows.
        now: u64,
        /// When the image was built.
        built_at: u64,
    },
}

impl ClockError {
    /// What to do about it, for the owner.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BeforeBuild { .. } => {
                "Signing waits for the time from the network. If this stays, see whether NTP (UDP 123) gets out."
            }
            Self::BeforeLastSigning { .. } | Self::FarAhead { .. } => {
                "Signing waits; what is signed already is served on. See which of the two times is wrong."
            }
        }
    }
}

/// Whether signatures may be made at `now`. All times are in seconds since 1970.
///
/// `last_signed_at` is when the zone was signed last, `None` if never. Pass `None` also when the time was just
/// confirmed by a source that proves itself (NTS): otherwise a zone signed once with a clock that was two years
/// ahead could not be signed again for two years.
///
/// # Errors
/// [`ClockError`], when the clock can't be right.
pub fn is_plausible(
    now: u64,
    built_at: u64,
    last_signed_at: Option<u64>,
) -> Result<(), ClockError> {
    if now < built_at {
        return Err(ClockError::BeforeBuild { now, built_at });
    }
    if now - built_at > LIFE {
        return Err(ClockError::FarAhead { now, built_at });
    }
    match last_signed_at {
        Some(last) if now.saturating_add(SET_BACK) < last => {
            Err(ClockError::BeforeLastSigning { now, last })
        }
        _ => Ok(()),
    }
}

/// The moment, in seconds since 1970, that a 32-bit time of a signature means: the one nearest to `now`
/// (RFC 4034, section 3.1.5: serial arithmetic, so that 2106 is no end).
pub fn widen(stamp: u32, now: u64) -> u64 {
    let ahead = stamp.wrapping_sub(now as u32).cast_signed();
    now.saturating_add_signed(i64::from(ahead))
}

/// A time in words; as seconds if it lies after the year 9999.
fn date(at: u64) -> String {
    let date = i64::try_from(at)
        .ok()
        .and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    match date {
        Some(at) => format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()),
        None => format!("{at} s"),
    }
}
