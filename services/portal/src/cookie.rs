//! The cookies of the portal.
//!
//! The prefix `__Host-` makes browsers refuse a cookie that was not set by this very host
//! over HTTPS for all paths (draft-ietf-httpbis-rfc6265bis section 4.1.3.2): neither a
//! neighbour on the network that speaks plain HTTP under the box's name nor another
//! host of the domain can plant one. `SameSite=Strict` keeps them out of every request
//! that another site causes; following a link from a message to the portal asks
//! for a sign-in or a click, which is the price.

use crate::token::SecretToken;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookie {
    /// A session ([`crate::session`]).
    Session,
    /// The right to finish the pairing ([`crate::pairing`]).
    Pairing,
    /// A browser in which the owner has signed in before ([`crate::throttle`]).
    Device,
    /// A browser that is asked for a passkey ([`crate::passkey`]).
    Passkey,
}

/// Cookie headers longer than this are not looked at, in bytes: the portal's own
/// four take less than 400, and the host serves nothing else.
pub const MAX_HEADER: usize = 4096;

impl Cookie {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Session => "__Host-roost",
            Self::Pairing => "__Host-roost-pairing",
            Self::Device => "__Host-roost-device",
            Self::Passkey => "__Host-roost-passkey",
        }
    }

    /// How long a browser keeps it. The box decides for itself what it still takes.
    fn life(self) -> Duration {
        match self {
            Self::Session => crate::session::LIFE,
            // The pairing must go on in the same browser, closed in between or not.
            Self::Pairing => crate::pairing::GRANT_LIFE,
            // Browsers keep none longer than 400 days (rfc6265bis section 5.5).
            Self::Device => Duration::from_secs(400 * 86_400),
            Self::Passkey => crate::passkey::CHALLENGE_LIFE,
        }
    }

    /// Value of a `Set-Cookie` header that hands `token` over.
    pub fn set(self, token: &SecretToken) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{}={}; Max-Age={}; Path=/; Secure; HttpOnly; SameSite=Strict",
            self.name(),
            *token.to_text(),
            self.life().as_secs()
        ))
    }

    /// Value of a `Set-Cookie` header that takes the cookie away.
    pub fn clear(self) -> String {
        format!(
            "{}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict",
            self.name()
        )
    }

    /// The token in a `Cookie` header (RFC 6265 section 4.2.1).
    ///
    /// A name that is there twice counts as absent: no honest browser sends it so, and
    /// programs that disagree on which one counts are a way in.
    pub fn find(self, header: &str) -> Option<SecretToken> {
        if header.len() > MAX_HEADER {
            return None;
        }
        let mut values = header.split(';').filter_map(|pair| {
            let (name, value) = pair.trim_ascii().split_once('=')?;
            (name == self.name()).then_some(value)
        });
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        SecretToken::parse(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Cookie; 4] = [
        Cookie::Session,
        Cookie::Pairing,
        Cookie::Device,
        Cookie::Passkey,
    ];

    #[test]
    fn cookies_look_like_this() {
        let token = SecretToken::from_random([7; 32]);
        let mut text = String::new();
        for cookie in ALL {
            text += &format!("{}\n{}\n", *cookie.set(&token), cookie.clear());
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn only_one_whole_cookie_of_the_name_counts() {
        let token = SecretToken::from_random([7; 32]).to_text();
        let found = |header: String| Cookie::Session.find(&header).is_some();
        assert!(found(format!("a=b; __Host-roost={}; c", *token)));
        assert!(!found(format!("__Host-roost-pairing={}", *token)));
        assert!(!found(format!("__host-roost={}", *token)));
        assert!(!found(format!(
            "__Host-roost={t}; __Host-roost={t}",
            t = *token
        )));
        assert!(!found(format!("__Host-roost=; __Host-roost={}", *token)));
        assert!(!found(format!("__Host-roost=\"{}\"", *token)));
        assert!(!found(format!(
            "__Host-roost={}; a={}",
            *token,
            "x".repeat(MAX_HEADER)
        )));
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(header: String) {
            for cookie in ALL {
                let _ = cookie.find(&header);
            }
        }
    }
}
