//! Is a request the owner's own, or did another site make the browser send it?
//!
//! Three checks, each enough by itself where browsers keep the rules:
//!
//! 1. The cookie is `SameSite=Strict` ([`crate::cookie`]).
//! 2. The browser says where the request comes from: `Sec-Fetch-Site` (W3C Fetch Metadata) and
//!    `Origin` (RFC 6454). [`check`] wants them to be the portal's own, and the request to
//!    be for a name of the box: a foreign name that resolves to the box's address (DNS
//!    rebinding) has an origin that equals its host, but is none of the box's names.
//! 3. The form holds a [`FormToken`] that only a page of this session can have.
//!
//! Before there is a session (sign-in, entering the code) the second check stands alone.

use crate::token::SecretToken;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// What a request's head says, as far as it matters here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// The method, e.g. `POST`.
    pub method: &'a str,
    /// `Host`, or `:authority` of HTTP/2.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Sec-Fetch-Mode`.
    pub fetch_mode: Option<&'a str>,
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It is for a name that is none of the box's.
    #[error("this is not an address of the box")]
    Host,
    /// Another site has caused it.
    #[error("this request comes from another web site; open the box's own page and try again")]
    Site,
    /// Nothing says where it comes from.
    #[error(
        "this browser does not say where the request comes from; use one that was made after 2020"
    )]
    Silent,
    /// It lacks the token of a page of this session.
    #[error("this page is from before you signed in; load it again")]
    Token,
}

/// Checks where a request comes from. `own` are the names and addresses that the portal is
/// reached by, as they stand in `Host`: in lower case, with the port if it is not 443.
///
/// # Errors
/// When it is not to be served.
pub fn check(head: Head<'_>, own: &[&str]) -> Result<(), Foreign> {
    let host = head.host.ok_or(Foreign::Host)?.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    if !own.contains(&host) {
        return Err(Foreign::Host);
    }
    // RFC 9110 section 9.2.1. Everything else may change something.
    if matches!(head.method, "GET" | "HEAD") {
        // Other sites may link here, and no more: not embed, not load.
        let linked = head.fetch_mode == Some("navigate");
        return match head.fetch_site {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) if linked => Ok(()),
            Some(_) => Err(Foreign::Site),
        };
    }
    if head.fetch_site.is_some_and(|site| site != "same-origin") {
        return Err(Foreign::Site);
    }
    match head.origin {
        Some(origin) => {
            let origin = origin.to_ascii_lowercase();
            let from = origin.strip_prefix("https://").ok_or(Foreign::Site)?;
            let from = from.strip_suffix(":443").unwrap_or(from);
            if from == host {
                Ok(())
            } else {
                Err(Foreign::Site)
            }
        }
        None if head.fetch_site.is_some() => Ok(()),
        None => Err(Foreign::Silent),
    }
}

/// What a form of a session holds: HMAC-SHA-256 (RFC 2104) of a constant under the session's
/// token. Nothing has to be kept for it, no other session's page has it, and it
/// tells nothing of the token. Answers that hold one must not be compressed (BREACH).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormToken(String);

/// Says what the HMAC is for, should the token ever key another one.
const PURPOSE: &[u8] = b"roost portal form 1";

impl FormToken {
    /// The one of this session, or of this browser's pairing.
    pub fn of(token: &SecretToken) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(token.bytes())
            .expect("HMAC takes keys of any length (RFC 2104 section 2)");
        mac.update(PURPOSE);
        Self(hex::encode(mac.finalize().into_bytes()))
    }

    /// For the hidden field.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares with what a form has sent, in constant time.
    ///
    /// # Errors
    /// When it is another one.
    pub fn check(&self, sent: &str) -> Result<(), Foreign> {
        if self.0.as_bytes().ct_eq(sent.as_bytes()).into() {
            Ok(())
        } else {
            Err(Foreign::Token)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OWN: [&str; 4] = [
        "roost.local",
        "192.168.1.5",
        "[2001:db8::5]",
        "localhost:8443",
    ];

    fn post<'a>(
        host: &'a str,
        origin: Option<&'a str>,
        site: Option<&'a str>,
    ) -> Result<(), Foreign> {
        let head = Head {
            method: "POST",
            host: Some(host),
            origin,
            fetch_site: site,
            fetch_mode: Some("navigate"),
        };
        check(head, &OWN)
    }

    #[test]
    fn forms_of_the_portal_are_taken() {
        let same = Some("same-origin");
        assert_eq!(
            post("roost.local", Some("https://roost.local"), same),
            Ok(())
        );
        assert_eq!(
            post("Roost.Local:443", Some("https://roost.local"), None),
            Ok(())
        );
        assert_eq!(post("192.168.1.5", None, same), Ok(()));
        assert_eq!(
            post("[2001:db8::5]", Some("https://[2001:db8::5]"), same),
            Ok(())
        );
        assert_eq!(
            post("localhost:8443", Some("https://localhost:8443"), same),
            Ok(())
        );
    }

    #[test]
    fn forms_of_others_are_not() {
        let same = Some("same-origin");
        for (origin, site) in [
            (Some("https://evil.example"), None),
            (Some("https://evil.example"), same),
            (Some("http://roost.local"), same),
            (Some("https://roost.local:444"), same),
            (Some("https://roost.local.evil.example"), same),
            (Some("null"), same),
            (Some(""), same),
            (Some("https://roost.local"), Some("cross-site")),
            (Some("https://roost.local"), Some("same-site")),
            (Some("https://roost.local"), Some("none")),
            (None, Some("cross-site")),
        ] {
            assert_eq!(
                post("roost.local", origin, site),
                Err(Foreign::Site),
                "{origin:?} {site:?}"
            );
        }
        assert_eq!(post("roost.local", None, None), Err(Foreign::Silent));
        // DNS rebinding: for the browser this is one origin.
        assert_eq!(
            post("evil.example", Some("https://evil.example"), same),
            Err(Foreign::Host)
        );
        assert_eq!(
            check(
                Head {
                    method: "GET",
                    ..Head::default()
                },
                &OWN
            ),
            Err(Foreign::Host)
        );
        for method in ["PUT", "DELETE", "get", "OPTIONS", ""] {
            let head = Head {
                method,
                host: Some("roost.local"),
                ..Head::default()
            };
            assert_eq!(check(head, &OWN), Err(Foreign::Silent), "{method}");
        }
    }

    #[test]
    fn others_may_link_and_not_embed() {
        let get = |site, mode| {
            let head = Head {
                method: "GET",
                host: Some("roost.local"),
                origin: None,
                fetch_site: Some(site),
                fetch_mode: Some(mode),
            };
            check(head, &OWN)
        };
        assert_eq!(get("none", "navigate"), Ok(()));
        assert_eq!(get("cross-site", "navigate"), Ok(()));
        assert_eq!(get("same-origin", "cors"), Ok(()));
        assert_eq!(get("cross-site", "no-cors"), Err(Foreign::Site));
        assert_eq!(get("same-site", "cors"), Err(Foreign::Site));
    }

    #[test]
    fn refusals_are_sentences() {
        let all = [
            Foreign::Host,
            Foreign::Site,
            Foreign::Silent,
            Foreign::Token,
        ];
        insta::assert_snapshot!(all.map(|why| why.to_string()).join("\n"));
    }

    proptest! {
        #[test]
        fn a_form_token_is_of_one_session(one: [u8; 32], two: [u8; 32], sent: String) {
            let of = |bytes| FormToken::of(&SecretToken::from_random(bytes));
            prop_assert_eq!(of(one).check(of(two).as_str()).is_ok(), one == two);
            prop_assert!(of(one).check(&sent).is_err());
            prop_assert!(of(one).check(of(one).as_str()).is_ok());
            let token = SecretToken::from_random(one).to_text();
            prop_assert!(!of(one).as_str().contains(token.as_str()));
        }

        #[test]
        fn nothing_foreign_gets_through(host: String, origin: String) {
            prop_assert!(post(&host, Some(&origin), None).is_err());
        }
    }
}
