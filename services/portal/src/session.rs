//! Browsers that are signed in.
//!
//! A session is 256 random bits in a cookie; the box keeps their SHA-256. A new one is
//! made at every sign-in and the one that the browser showed before is ended, so a
//! token that somebody planted there never becomes the owner's (session fixation).
//!
//! Times are powered-on time: sessions end without a clock, and no time server can revive them.

use crate::owner::{Authenticated, SignedInBy};
use crate::time::{Now, PoweredOn};
use crate::token::{SecretToken, TokenHash};
use crate::visitor::Browser;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// A session ends this long after its sign-in: the portal is for an errand, not for the day, and
/// passwords are filled in by the browser.
pub const LIFE: Duration = Duration::from_secs(24 * 3_600);
/// A session ends after this long without a click: about the length of a call that came in between.
/// Pages that refresh by themselves do not count as clicks ([`Sessions::used`]).
pub const IDLE: Duration = Duration::from_secs(3_600);
/// Sessions at a time; a further one ends the one that was idle longest. A household's
/// phones and laptops, with a margin.
pub const MAX_SESSIONS: usize = 16;
/// A click is written down when the last one that was is this old: 12 small writes an hour at most.
const WORTH_KEEPING: Duration = Duration::from_secs(5 * 60);

/// Names a session in the list, for ending it. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// One browser that is signed in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    token: TokenHash,
    /// When it signed in.
    pub since: Now,
    /// The last click.
    pub used: Now,
    /// How it signed in.
    pub by: SignedInBy,
    /// From which address.
    pub from: IpAddr,
    /// In which browser.
    pub browser: Browser,
}

/// All of them; kept by the store, so that an update does not sign the owner out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    next: u64,
    list: Vec<Session>,
}

/// Where somebody signs in.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// From which address.
    pub from: IpAddr,
    /// In which browser.
    pub browser: Browser,
}

impl Session {
    fn is_over(&self, now: PoweredOn) -> bool {
        // A session from the future was begun before a power cut took the time back; it is as good as new.
        now.since(self.since.powered_on) >= LIFE || now.since(self.used.powered_on) >= IDLE
    }
}

impl Sessions {
    /// Opens a session for the owner and ends the one that the browser had, if any. `random`
    /// becomes its token.
    pub fn open(
        &mut self,
        by: Authenticated,
        old: Option<&SecretToken>,
        random: [u8; 32],
        place: Place,
        now: Now,
    ) -> SecretToken {
        if let Some(old) = old {
            self.close(old);
        }
        self.sweep(now.powered_on);
        if self.list.len() >= MAX_SESSIONS {
            let idlest = (0..self.list.len()).min_by_key(|&i| self.list[i].used.powered_on);
            idlest.map(|i| self.list.remove(i));
        }
        let token = SecretToken::from_random(random);
        self.list.push(Session {
            id: SessionId(self.next),
            token: token.hash(),
            since: now,
            used: now,
            by: by.by(),
            from: place.from,
            browser: place.browser,
        });
        self.next += 1;
        token
    }

    /// The session of a browser that shows this token, unless it is over.
    pub fn find(&self, token: &SecretToken, now: PoweredOn) -> Option<&Session> {
        let hash = token.hash();
        let mut list = self.list.iter();
        list.find(|session| session.token == hash && !session.is_over(now))
    }

    /// The owner has clicked in this session. Tells whether the state is worth keeping.
    pub fn used(&mut self, token: &SecretToken, now: Now) -> bool {
        let hash = token.hash();
        let mut list = self.list.iter_mut();
        let Some(session) =
            list.find(|session| session.token == hash && !session.is_over(now.powered_on))
        else {
            return false;
        };
        let old = now.powered_on.since(session.used.powered_on) >= WORTH_KEEPING;
        if old {
            session.used = now;
        }
        old
    }

    /// Signs a browser out. Tells whether there was a session.
    pub fn close(&mut self, token: &SecretToken) -> bool {
        let hash = token.hash();
        self.retain(|session| session.token != hash)
    }

    /// Ends a session of the list. Tells whether there was one.
    pub fn revoke(&mut self, id: SessionId) -> bool {
        self.retain(|session| session.id != id)
    }

    /// Ends all sessions but the one with this token.
    pub fn revoke_others(&mut self, token: Option<&SecretToken>) -> bool {
        let kept = token.map(SecretToken::hash);
        self.retain(|session| Some(session.token) == kept)
    }

    /// The sessions that are not over, the latest first.
    pub fn list(&self, now: PoweredOn) -> impl Iterator<Item = &Session> {
        self.list.iter().rev().filter(move |s| !s.is_over(now))
    }

    fn sweep(&mut self, now: PoweredOn) {
        self.retain(|session| !session.is_over(now));
    }

    fn retain(&mut self, keep: impl FnMut(&Session) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(keep);
        self.list.len() < before
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
