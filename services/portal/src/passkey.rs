//! Passkeys: the owner signs in with a phone, a computer or a security key (WebAuthn level 3).
//!
//! ```text
//! password (and code) ─▶ Adding ─ the browser makes a key ─▶ Passkey, kept
//! anybody ─▶ Signing ─ the browser signs ─▶ Passkey, used ─▶ Authenticated
//! ```
//!
//! What is signed, by whom and for which name is checked by `webauthn-rs`, after sections 7.1 and 7.2
//! of the specification. Here stands what is the box's to decide: that a challenge is taken once, for
//! [`CHALLENGE_LIFE`], by the browser that asked for it; that a passkey is of one name; what is kept.
//!
//! A passkey stands for both factors: the device has looked at a finger, a face or a PIN before
//! it signs, and says so in what it signs. The password stays, so a lost passkey locks nobody out.

use crate::decided::Decided;
use crate::owner::{Authenticated, SignedInBy};
use crate::session::{MAX_SESSIONS, SessionId};
use crate::time::{Now, PoweredOn};
use crate::token::{SecretToken, TokenHash};
use crate::visitor::Network;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;
use webauthn_rs::prelude::{
    CreationChallengeResponse, DiscoverableAuthentication, PasskeyRegistration,
    PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid, Webauthn, WebauthnError,
};
use webauthn_rs_proto::{PublicKeyCredentialDescriptor, ResidentKeyRequirement};

/// How long a browser has to answer a challenge: long enough to look for a security key.
pub const CHALLENGE_LIFE: Duration = Duration::from_secs(2 * 60);
/// Most passkeys that are kept: a phone, a computer and a spare key for some people, with a margin.
pub const MAX_PASSKEYS: usize = 16;
/// Longest name of a passkey, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest answer of a browser that is looked at, in bytes. One with a chain of certificates,
/// which the box does not ask for, has less than half of it.
pub const MAX_ANSWER: usize = 32 << 10;
/// Sign-ins that may wait for their browsers at a time, some 500 bytes each. A further one ends
/// the oldest of the network that has most, so a stranger ends their own.
pub const MAX_SIGNING: usize = 256;

/// The name by which a page of the box was opened. Only a name can have passkeys: browsers make
/// none for an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    host: String,
    origin: Url,
}

impl Site {
    /// From a `Host` header; `None` for an address, or for what is no host at all.
    pub fn of(host: &str) -> Option<Self> {
        let host = host.to_ascii_lowercase();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:".contains(&byte);
        if !host.bytes().all(is_plain) {
            return None;
        }
        let origin = Url::parse(&format!("https://{host}")).ok()?;
        // As a browser spells it.
        if origin
            .as_str()
            .strip_prefix("https://")?
            .strip_suffix('/')?
            != host.strip_suffix(":443").unwrap_or(&host)
        {
            return None;
        }
        let host = origin.domain()?.to_owned();
        Some(Self { host, origin })
    }

    /// The name, which is the relying party's id: without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn party(&self, box_name: &str) -> Result<Webauthn, WebauthnError> {
        webauthn_rs::WebauthnBuilder::new(&self.host, &self.origin)?
            .rp_name(box_name)
            .timeout(CHALLENGE_LIFE)
            .build()
    }
}

/// Names a passkey: SHA-256 of its credential id. It is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PasskeyId(pub [u8; 32]);

impl PasskeyId {
    fn of(credential: &[u8]) -> Self {
        Self(Sha256::digest(credential).into())
    }

    /// From 64 hexadecimal digits.
    pub fn parse(digits: &str) -> Option<Self> {
        let mut id = [0; 32];
        hex::decode_to_slice(digits, &mut id).ok()?;
        Some(Self(id))
    }

    /// As [`PasskeyId::parse`] takes it.
    pub fn to_text(self) -> String {
        hex::encode(self.0)
    }
}

/// What the owner calls a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// With 1 to [`MAX_NAME`] bytes, all of them printable.
    ///
    /// # Errors
    /// [`NotAdded::Name`].
    pub fn new(typed: &str) -> Result<Self, NotAdded> {
        let name = typed.trim();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(NotAdded::Name);
        }
        Ok(Self(name.to_owned()))
    }
}

/// A passkey of the owner; kept by the store. The box has its public key only.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// What the owner calls it.
    pub name: String,
    /// The name of the box that it was made for, and works at.
    pub host: String,
    /// When it was added.
    pub made: Now,
    /// When the owner last signed in with it.
    pub used: Option<Now>,
    /// What it calls the owner (section 5.4.3, user handle). All of a box have the same, so a device
    /// keeps one of them for each name.
    user: Uuid,
    key: webauthn_rs::prelude::Passkey,
}

/// Why a passkey is not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdded {
    /// Its name.
    #[error("the passkey's name has 1 to {MAX_NAME} bytes, all of them printable")]
    Name,
    /// The page was opened by an address.
    #[error("this page was opened by an address, and passkeys belong to a name")]
    NoName,
    /// The box did not ask, has the answer already, or has waited for too long.
    #[error("the box waits two minutes for a passkey, and they are over")]
    Late,
    /// It is there.
    #[error("the box has this passkey already")]
    Twice,
    /// There is no room.
    #[error("{MAX_PASSKEYS} passkeys are the most that can be kept")]
    TooMany,
    /// It was made for another name or page.
    #[error("this passkey was made for another web site than this one")]
    OtherSite,
    /// The device did not look who is there.
    #[error("the device has not asked for a finger, a face or a PIN")]
    NotVerified,
    /// The browser's answer is no passkey that can be used.
    #[error("the browser has sent no passkey that the box can use")]
    Unusable,
}

/// Why a passkey does not open the box.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The box did not ask, has the answer already, or has waited for too long.
    #[error("the box waits two minutes for a passkey, and they are over")]
    Late,
    /// Removed, or never there.
    #[error("the box does not know this passkey")]
    Unknown,
    /// It is for another name of the box.
    #[error("this passkey signs in at {0} only")]
    OtherName(String),
    /// It was signed for another page.
    #[error("this passkey was asked for by another web site than this one")]
    OtherSite,
    /// The device did not look who is there.
    #[error("the device has not asked for a finger, a face or a PIN")]
    NotVerified,
    /// Its counter went back (section 6.1.1).
    #[error("this passkey may have been copied: its counter has gone back")]
    Copied,
    /// Anything else.
    #[error("the passkey's answer is not right")]
    Wrong,
}

impl From<WebauthnError> for NotAdded {
    fn from(error: WebauthnError) -> Self {
        match error {
            WebauthnError::InvalidRPOrigin | WebauthnError::InvalidRPIDHash => Self::OtherSite,
            WebauthnError::UserNotVerified | WebauthnError::UserNotPresent => Self::NotVerified,
            WebauthnError::MismatchedChallenge => Self::Late,
            _ => Self::Unusable,
        }
    }
}

impl From<WebauthnError> for Refused {
    fn from(error: WebauthnError) -> Self {
        match error {
            WebauthnError::InvalidRPOrigin | WebauthnError::InvalidRPIDHash => Self::OtherSite,
            WebauthnError::UserNotVerified | WebauthnError::UserNotPresent => Self::NotVerified,
            WebauthnError::MismatchedChallenge => Self::Late,
            WebauthnError::CredentialPossibleCompromise => Self::Copied,
            _ => Self::Wrong,
        }
    }
}

/// What a page hands to its script: options of `navigator.credentials.create` or `get` as JSON, bytes in
/// base64url.
pub type Options = String;

fn is_over(since: PoweredOn, now: PoweredOn) -> bool {
    now.since(since) >= CHALLENGE_LIFE
}

/// The owner, who has just shown who they are, adds a passkey: the box waits for the browser.
#[derive(Debug)]
pub struct Adding {
    name: Name,
    site: Site,
    box_name: String,
    user: Uuid,
    state: PasskeyRegistration,
    since: PoweredOn,
}

impl Adding {
    /// Asks. `known` are the passkeys that there are; `random` is the owner's user handle if there are none.
    ///
    /// # Errors
    /// [`NotAdded::TooMany`], [`NotAdded::Unusable`].
    pub fn begin(
        _: Authenticated,
        name: Name,
        site: Site,
        box_name: &str,
        known: &[Passkey],
        random: [u8; 16],
        now: PoweredOn,
    ) -> Result<(Self, Options), NotAdded> {
        if known.len() >= MAX_PASSKEYS {
            return Err(NotAdded::TooMany);
        }
        let user = known.first().map_or(Uuid::from_bytes(random), |p| p.user);
        let whose = format!("Owner of {box_name}");
        let party = site.party(box_name)?;
        let (mut options, state) = party.start_passkey_registration(user, &whose, &whose, None)?;
        // The device tells the owner that it has one already, and keeps that.
        let mine = known.iter().filter(|passkey| passkey.host == site.host);
        options.public_key.exclude_credentials = Some(mine.map(descriptor).collect());
        discoverable(&mut options);
        let options = serde_json::to_string(&options).map_err(|_| NotAdded::Unusable)?;
        let adding = Self {
            name,
            site,
            box_name: box_name.to_owned(),
            user,
            state,
            since: now,
        };
        Ok((adding, options))
    }

    /// The browser has answered with what `PublicKeyCredential.toJSON()` gives. An answer counts once.
    ///
    /// # Errors
    /// [`NotAdded`].
    pub fn finish(self, answer: &str, now: Now) -> Result<(PasskeyId, Passkey), NotAdded> {
        if is_over(self.since, now.powered_on) {
            return Err(NotAdded::Late);
        }
        if answer.len() > MAX_ANSWER {
            return Err(NotAdded::Unusable);
        }
        let answer: RegisterPublicKeyCredential =
            serde_json::from_str(answer).map_err(|_| NotAdded::Unusable)?;
        let party = self.site.party(&self.box_name)?;
        let key = party.finish_passkey_registration(&answer, &self.state)?;
        let passkey = Passkey {
            name: self.name.0,
            host: self.site.host,
            made: now,
            used: None,
            user: self.user,
            key,
        };
        Ok((PasskeyId::of(passkey.key.cred_id()), passkey))
    }
}

fn descriptor(passkey: &Passkey) -> PublicKeyCredentialDescriptor {
    PublicKeyCredentialDescriptor {
        type_: "public-key".to_owned(),
        id: passkey.key.cred_id().clone(),
        transports: None,
    }
}

/// The device keeps the passkey with the owner's handle, so that nobody has to say who they are.
fn discoverable(options: &mut CreationChallengeResponse) {
    if let Some(selection) = &mut options.public_key.authenticator_selection {
        selection.resident_key = Some(ResidentKeyRequirement::Required);
        selection.require_resident_key = true;
    }
}

/// Somebody wants to sign in: the box waits for the browser. It is good for one answer.
#[derive(Debug)]
pub struct Signing {
    site: Site,
    state: DiscoverableAuthentication,
    since: PoweredOn,
}

/// What a browser has answered, not checked.
#[derive(Debug)]
pub struct Claim(PublicKeyCredential);

impl Claim {
    /// From what `PublicKeyCredential.toJSON()` gives.
    ///
    /// # Errors
    /// [`Refused::Wrong`].
    pub fn parse(answer: &str) -> Result<Self, Refused> {
        if answer.len() > MAX_ANSWER {
            return Err(Refused::Wrong);
        }
        serde_json::from_str(answer)
            .map(Self)
            .map_err(|_| Refused::Wrong)
    }

    /// Which passkey it says to be.
    pub fn id(&self) -> PasskeyId {
        PasskeyId::of(self.0.get_credential_id())
    }
}

impl Signing {
    /// Asks.
    ///
    /// # Errors
    /// [`Refused::Wrong`].
    pub fn begin(site: Site, now: PoweredOn) -> Result<(Self, Options), Refused> {
        let (mut options, state) = site
            .party(&site.host)?
            .start_discoverable_authentication()?;
        // A button asks for it, no field of a form.
        options.mediation = None;
        let options = serde_json::to_string(&options).map_err(|_| Refused::Wrong)?;
        let since = now;
        Ok((Self { site, state, since }, options))
    }

    /// The browser has answered for this passkey, whose counter is kept with the answer.
    pub fn finish(
        self,
        claim: &Claim,
        passkey: Passkey,
        now: Now,
    ) -> Decided<Passkey, Result<Authenticated, Refused>> {
        match self.check(claim, &passkey, now) {
            Ok(right) => {
                let mut passkey = passkey;
                passkey.key.update_credential(&right);
                passkey.used = Some(now);
                Decided::new(passkey, Ok(Authenticated::new(SignedInBy::Passkey)))
            }
            Err(refused) => Decided::unchanged(passkey, Err(refused)),
        }
    }

    fn check(
        self,
        Claim(claim): &Claim,
        passkey: &Passkey,
        now: Now,
    ) -> Result<webauthn_rs::prelude::AuthenticationResult, Refused> {
        if is_over(self.since, now.powered_on) {
            return Err(Refused::Late);
        }
        if passkey.host != self.site.host {
            return Err(Refused::OtherName(passkey.host.clone()));
        }
        let party = self.site.party(&self.site.host)?;
        // Section 7.2 step 6: it must say whose it is, and that must be the owner.
        let (user, _) = party.identify_discoverable_authentication(claim)?;
        if user != passkey.user {
            return Err(Refused::Wrong);
        }
        let key = &passkey.key;
        Ok(party.finish_discoverable_authentication_v2(claim, self.state, key)?)
    }
}

/// What the box waits for. It is in memory only: a restart ends it, and nothing is lost but a click.
#[derive(Debug, Default)]
pub struct Waiting {
    adding: Vec<(SessionId, Adding)>,
    signing: Vec<(TokenHash, Network, Signing)>,
}

impl Waiting {
    /// A session adds a passkey, or begins anew.
    pub fn add(&mut self, session: SessionId, adding: Adding) {
        let now = adding.since;
        self.adding
            .retain(|(id, other)| *id != session && !is_over(other.since, now));
        if self.adding.len() >= MAX_SESSIONS {
            self.adding.remove(0);
        }
        self.adding.push((session, adding));
    }

    /// What this session adds. It is taken away: an answer counts once.
    pub fn take_adding(&mut self, session: SessionId) -> Option<Adding> {
        let at = self.adding.iter().position(|(id, _)| *id == session)?;
        Some(self.adding.remove(at).1)
    }

    /// A browser with this token, in this network, signs in.
    pub fn sign(&mut self, token: TokenHash, from: Network, signing: Signing) {
        let now = signing.since;
        self.signing
            .retain(|(_, _, other)| !is_over(other.since, now));
        if self.signing.len() >= MAX_SIGNING {
            let count = |of: Network| self.signing.iter().filter(|(_, n, _)| *n == of).count();
            // The first of equals is the oldest.
            let most = (0..self.signing.len()).rev();
            let most = most.max_by_key(|&i| count(self.signing[i].1));
            most.map(|i| self.signing.remove(i));
        }
        self.signing.push((token, from, signing));
    }

    /// What the browser with this token signs. It is taken away: an answer counts once.
    pub fn take_signing(&mut self, token: &SecretToken) -> Option<Signing> {
        let hash = token.hash();
        let at = self.signing.iter().position(|(of, _, _)| *of == hash)?;
        Some(self.signing.remove(at).2)
    }
}

#[cfg(test)]
#[path = "passkey_tests.rs"]
mod tests;
