//! How long signatures hold, and the apex records' times.

/// How long a secondary waits before it asks for changes, in seconds. Changes are announced at once (NOTIFY);
/// this is for an announcement that was lost. Zonemaster wants no less than 4 hours.
pub const REFRESH: u32 = 14_400;
/// How long a secondary waits after a failed attempt, in seconds. Zonemaster wants no less than an hour, and
/// less than [`REFRESH`].
pub const RETRY: u32 = 3600;
/// How long a secondary answers without the box, in seconds: 14 days, a long holiday with the power off.
pub const EXPIRE: u32 = 14 * 86_400;
/// How long "there is no such name" is remembered, in seconds (RFC 2308). Short, since a name that was just
/// added should be found soon; the TTL of NSEC records follows it (RFC 9077).
pub const NEGATIVE_TTL: u32 = 900;
/// TTL of SOA, DNSKEY, CDS and CDNSKEY, in seconds. Keys are replaced in steps that each wait this long.
pub const APEX_TTL: u32 = 3600;
/// The largest TTL in a signed zone, in seconds; a larger one is lowered to it. It bounds how long a withdrawn key
/// is needed, and how much longer than [`EXPIRE`] a signature must hold.
pub const MAX_TTL: u32 = 86_400;

const DAY: u64 = 86_400;

/// How long signatures hold. A value proves that a secondary which loses the box today serves nothing expired
/// until it gives up: the shortest signature outlasts [`EXPIRE`] and a cache's [`MAX_TTL`] on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    validity: u64,
    jitter: u64,
    resign_left: u64,
    back: u64,
}

/// Times that do not fit together. All values are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Signatures could end while a secondary still serves them.
    #[error(
        "signatures are renewed when {left} s are left, but a secondary serves them for up to {needed} s"
    )]
    TooShort {
        /// Renewed with this left.
        left: u64,
        /// Needed at least.
        needed: u64,
    },
    /// New signatures would be due for renewal at once.
    #[error(
        "signatures hold {shortest} s at least, which is not a day more than the {left} s of their renewal"
    )]
    RenewedAtOnce {
        /// The shortest validity that the jitter makes.
        shortest: u64,
        /// Renewed with this left.
        left: u64,
    },
}

impl Policy {
    /// A policy: signatures hold `validity` less up to `jitter`, begin `back` before they are made, and are
    /// renewed when `resign_left` is left. All in seconds.
    ///
    /// # Errors
    /// [`PolicyError`], when an expired signature could be served.
    pub const fn new(
        validity: u64,
        jitter: u64,
        resign_left: u64,
        back: u64,
    ) -> Result<Self, PolicyError> {
        // A day for a zone transfer that is late and for clocks that differ.
        let needed = EXPIRE as u64 + MAX_TTL as u64 + DAY;
        if resign_left < needed {
            return Err(PolicyError::TooShort {
                left: resign_left,
                needed,
            });
        }
        let shortest = validity.saturating_sub(jitter);
        if shortest < resign_left + DAY {
            return Err(PolicyError::RenewedAtOnce {
                shortest,
                left: resign_left,
            });
        }
        Ok(Self {
            validity,
            jitter,
            resign_left,
            back,
        })
    }

    /// How long a signature holds at most, in seconds from its making.
    pub fn validity(&self) -> u64 {
        self.validity
    }

    /// The range, in seconds, over which the ends of signatures made together are spread.
    pub fn jitter(&self) -> u64 {
        self.jitter
    }

    /// A signature with less than this left is made anew, in seconds.
    pub fn resign_left(&self) -> u64 {
        self.resign_left
    }

    /// How long before its making a signature begins, in seconds.
    pub fn back(&self) -> u64 {
        self.back
    }

    /// When a zone whose first signature ends at `expires` must be signed again, in seconds since 1970.
    pub fn resign_at(&self, expires: u64) -> u64 {
        expires.saturating_sub(self.resign_left)
    }
}

impl Default for Policy {
    /// 30 days, spread over the last two of them, renewed with 22 days left: every signature is renewed within
    /// 6 to 8 days, and a box that could not sign has a week before the secondary's two weeks are touched.
    /// Begins an hour back: resolvers' clocks are seldom more wrong than that.
    fn default() -> Self {
        const DEFAULT: Policy =
            match Policy::new(30 * DAY, 2 * DAY, 22 * DAY, super::clock::SET_BACK) {
                Ok(policy) => policy,
                Err(_) => panic!("the built-in times fit together"),
            };
        DEFAULT
    }
}
