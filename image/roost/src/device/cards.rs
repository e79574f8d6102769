//! What `roost flash` and `roost run` leave for `roost pair`: each new card's code, and the
//! certificate that its box will show. `roost flash` also leaves by what the box will know this computer.

use super::address::WebAddress;
use super::folder::{self, Folder};
use super::identity::Seed;
use super::known::{Known, Promise, Standing};
use super::paired::{Paired, file_name};
use crate::error::Failure;
use roost_service::fingerprint::Fingerprint;
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// Cards that are remembered; the oldest go. Somebody flashes a handful.
const MAX: usize = 32;

/// A card that was made here and whose box was not paired from here yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What its box calls itself.
    pub name: String,
    /// The one-time pairing code, normalised.
    pub code: String,
    /// SHA-256 of its certificate, in hexadecimal digits.
    pub fingerprint: String,
    /// Where its pages are, if not at `NAME.local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
    /// Port of its device API there, if not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_port: Option<u16>,
    /// What the card says of this computer, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lets_in: Option<LetsIn>,
    /// When it was made, in seconds since 1970.
    pub made: u64,
}

/// By what a box knows this computer once it has an owner, and by what this computer knows the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetsIn {
    /// What the box calls this computer.
    pub laptop: String,
    /// The key whose public half is on the card.
    pub key: Seed,
    /// The certificate that the box will show, in PEM.
    pub certificate: String,
}

impl Card {
    /// One that is made now.
    pub fn new(name: &str, code: &str, fingerprint: Fingerprint) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            name: name.to_owned(),
            code: code.to_owned(),
            fingerprint: fingerprint.hex(),
            web: None,
            api_port: None,
            lets_in: None,
            made: now.map_or(0, |now| now.as_secs()),
        }
    }

    /// Whether its box shows this certificate.
    pub fn shows(&self, fingerprint: Fingerprint) -> bool {
        self.fingerprint == fingerprint.hex()
    }

    /// Where its box's pages are.
    pub fn web(&self) -> String {
        (self.web.clone()).unwrap_or_else(|| format!("{}.local", self.name))
    }

    /// Its box as one that this computer is paired with; that holds once the box has an owner. `None`
    /// if the card says nothing of this computer.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if what is kept of its address is damaged.
    pub fn promised(&self) -> Result<Option<Known>, Failure> {
        let Some(lets_in) = &self.lets_in else {
            return Ok(None);
        };
        let web: WebAddress = self.web().parse().map_err(|why: String| {
            Failure::new(format!("the kept address of {} is damaged", self.name)).because(why)
        })?;
        let port = self.api_port.unwrap_or_else(|| web.api_port());
        let paired = Paired {
            name: self.name.clone(),
            address: web.0.with_port(port).to_string(),
            certificate: lets_in.certificate.clone(),
            laptop: lets_in.laptop.clone(),
            key: lets_in.key.clone(),
            pending: true,
            installed: None,
        };
        let code = self.code.clone();
        let standing = Standing::Promised(Promise { web, code });
        Ok(Some(Known { paired, standing }))
    }
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Cards(Folder);

impl Cards {
    /// Those of this user.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if nothing says where they are.
    pub fn of_user() -> Result<Self, Failure> {
        Ok(Self(Folder::new(folder::config_of_caller()?.join("cards"))))
    }

    /// All, the newest first.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if one cannot be read.
    pub fn all(&self) -> Result<Vec<Card>, Failure> {
        let mut all: Vec<Card> = self.0.all()?;
        all.sort_by_key(|card| std::cmp::Reverse(card.made));
        Ok(all)
    }

    /// Keeps one, and forgets the oldest of too many.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be written.
    pub fn keep(&self, card: &Card) -> Result<(), Failure> {
        self.0.put(&name(card), card)?;
        for old in self.all()?.iter().skip(MAX) {
            self.0.remove(&name(old))?;
        }
        Ok(())
    }

    /// Its code is used up.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be removed.
    pub fn forget(&self, fingerprint: Fingerprint) -> Result<(), Failure> {
        self.0.remove(&file_name(fingerprint))
    }
}

fn name(card: &Card) -> String {
    card.fingerprint.chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_cards_are_kept_until_they_are_paired() {
        let dir = tempfile::tempdir().unwrap();
        let cards = Cards(Folder::new(dir.path().to_owned()));
        for n in 0..40_u64 {
            let mut card = Card::new("attic", "A0B1C2D3", Fingerprint::of(&n.to_le_bytes()));
            card.made = n;
            cards.keep(&card).unwrap();
        }
        let all = cards.all().unwrap();
        assert_eq!((all.len(), all[0].made, all[31].made), (32, 39, 8));
        assert_eq!(all[0].web(), "attic.local");
        let last = Fingerprint::of(&39_u64.to_le_bytes());
        assert!(all[0].shows(last) && !all[1].shows(last));
        cards.forget(last).unwrap();
        assert_eq!(cards.all().unwrap()[0].made, 38);
    }
}
