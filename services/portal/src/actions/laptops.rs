//! Laptops that may update the box and look into it.

use super::entry;
use crate::app::App;
use crate::audit::{Actor, Entry, Event};
use crate::owner::Authenticated;
use crate::pairing::{Refusal, View};
use crate::password::PasswordHash;
use crate::session::Place;
use crate::setup::{MailPassword, Setup};
use crate::store::{Change, Laptop, LaptopKey, MAX_NAME, Settings, StoreError};
use crate::time::Now;
use std::net::IpAddr;
use std::sync::Arc;

type Result<T> = std::result::Result<T, StoreError>;

/// A laptop that wants to be paired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// What the owner calls it.
    name: String,
    /// By which the box will know it.
    key: LaptopKey,
}

impl Applicant {
    /// With a name of sane length that can be seen, and a key of 64 hexadecimal digits.
    ///
    /// # Errors
    /// In words, what is wrong.
    pub fn new(name: &str, key: &str) -> std::result::Result<Self, String> {
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(format!(
                "the laptop's name has 1 to {MAX_NAME} bytes, all of them printable"
            ));
        }
        let key = parse_key(key).ok_or("the laptop's key has 64 hexadecimal digits")?;
        let name = name.to_owned();
        Ok(Self { name, key })
    }

    /// What the owner calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Pairs it, in a change in which it was decided that it may be. Doing it again is no fault: the
    /// answer may have been lost on a bad line.
    fn enrol(&self, store: &mut Change<'_>, place: Place, now: Now) -> Result<()> {
        self.enrol_by(store, Actor::Owner, Some(place.from), now)
    }

    /// Pairs the computer that wrote the card, in the change that gives the box its owner. Whoever
    /// writes a card decides about its box anyway: image, code and certificate are theirs.
    pub(super) fn enrol_of_card(&self, store: &mut Change<'_>, now: Now) -> Result<()> {
        self.enrol_by(store, Actor::Box, None, now)
    }

    fn enrol_by(
        &self,
        store: &mut Change<'_>,
        who: Actor,
        from: Option<IpAddr>,
        now: Now,
    ) -> Result<()> {
        let laptop = Laptop {
            name: self.name.clone(),
            paired: now,
            seen: None,
        };
        match store.add_laptop(&self.key, &laptop) {
            Err(StoreError::Paired) => return Ok(()),
            other => other?,
        }
        let what = Event::LaptopPaired {
            laptop: self.name.clone(),
        };
        let at = now;
        store.audit_entry(&Entry {
            at,
            who,
            from,
            what,
        })
    }
}

/// A key of 64 hexadecimal digits.
pub fn parse_key(digits: &str) -> Option<LaptopKey> {
    let mut key = [0; 32];
    hex::decode_to_slice(digits, &mut key).ok()?;
    Some(LaptopKey(key))
}

/// All that are paired, by name.
///
/// # Errors
/// When the store cannot be used.
pub async fn list(app: &Arc<App>) -> Result<Vec<(LaptopKey, Laptop)>> {
    let mut all = app.view(|store, _| store.laptops()).await?;
    all.sort_by(|(a_key, a), (b_key, b)| (&a.name, a_key).cmp(&(&b.name, b_key)));
    Ok(all)
}

/// Unpairs one, and cuts its open connections. Gives its name; `None` if it is not paired.
///
/// # Errors
/// When the store cannot be used.
pub async fn revoke(
    app: &Arc<App>,
    key: LaptopKey,
    who: Actor,
    from: IpAddr,
) -> Result<Option<String>> {
    let revoked = app
        .change(move |store, now| {
            let Some(Laptop { name, .. }) = store.laptop(&key)? else {
                return Result::Ok(None);
            };
            store.remove_laptop(&key)?;
            let what = Event::LaptopRevoked {
                laptop: name.clone(),
            };
            store.audit_entry(&entry(now, who, from, what))?;
            Ok(Some(name))
        })
        .await?;
    app.laptops.send_replace(());
    Ok(revoked)
}

/// The owner, who has just shown who they are, pairs one.
///
/// # Errors
/// When the store cannot be used, or has no room for one more.
pub async fn pair(app: &Arc<App>, _: Authenticated, laptop: Applicant, place: Place) -> Result<()> {
    app.change(move |store, now| laptop.enrol(store, place, now))
        .await
}

/// What the first laptop gets.
#[derive(Debug)]
pub struct Owned {
    /// The first account's address.
    pub address: String,
    /// Its password, if the box has made one.
    pub mail_password: Option<MailPassword>,
}

/// Code, form and laptop in one: all of it, or nothing but a try of the code that is counted.
/// What is decided about the code is told in [`crate::pairing`].
///
/// # Errors
/// When the store cannot be used.
pub async fn become_owner(
    app: &Arc<App>,
    code: String,
    setup: Setup,
    laptop: Applicant,
    place: Place,
) -> Result<std::result::Result<Owned, Refusal>> {
    // Hashing is for those alone whose try is let through; their number is limited.
    let view = super::pairing::look(app, None, place.from).await?;
    match view {
        View::AskCode { wait, .. } if wait.is_zero() => {}
        View::AskCode { wait, .. } => return Ok(Err(Refusal::Wait { wait })),
        View::Closed(refusal) => return Ok(Err(refusal)),
        View::Form => return Ok(Err(Refusal::Elsewhere)),
    }
    let mut settings = Settings::from(&setup);
    let address = format!("{}@{}", setup.account.as_str(), setup.domain.as_str());
    let image = app.settings.mailbox.as_ref();
    let as_in_image = image.is_some_and(|image| {
        image.domain == setup.domain.as_str() && image.account.name == setup.account.as_str()
    });
    let mut mail_password = None;
    if !as_in_image {
        let (password, hash) = super::pairing::mail_password(app).await;
        settings.mail_password = Some(hash);
        mail_password = Some(password);
    }
    let password = setup.password;
    let password: PasswordHash = app.hash(move || password.hash(App::random())).await;
    let of_card = app.card.computer.clone();
    let paired = app
        .change(move |store, now| {
            let Place { from, browser } = place;
            let grant = store.decide_pairing(|pairing| {
                pairing.enter(&code, from, App::random(), now.powered_on)
            })?;
            let grant = match grant {
                Ok(grant) => grant,
                Err(refusal) => {
                    if let Refusal::Wrong { .. } | Refusal::WrongThenWait { .. } = refusal {
                        let what = Event::CodeWrong;
                        store.audit_entry(&entry(now, Actor::Somebody, from, what))?;
                    }
                    return Result::Ok(Err(refusal));
                }
            };
            if let Err(refusal) =
                store.decide_pairing(|pairing| pairing.claim(&grant, now.powered_on))?
            {
                return Ok(Err(refusal));
            }
            if let Err(refusal) = store.finish_pairing(Some(&grant), password, &settings, now)? {
                return Ok(Err(refusal));
            }
            for what in [Event::CodeRight { browser }, Event::Paired] {
                store.audit_entry(&entry(now, Actor::Owner, from, what))?;
            }
            // First, should both be the same computer: it asks by a name that was given now.
            laptop.enrol(store, place, now)?;
            if let Some(computer) = of_card {
                computer.enrol_of_card(store, now)?;
            }
            Ok(Ok(()))
        })
        .await?;
    if let Err(refusal) = paired {
        return Ok(Err(refusal));
    }
    app.set_code(None);
    app.changed.notify_one();
    app.relay.given();
    Ok(Ok(Owned {
        address,
        mail_password,
    }))
}
