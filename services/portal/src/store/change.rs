//! Changing the store.

use super::StoreError;
use super::records::*;
use super::schema::{AUDIT, LAPTOPS, PASSKEYS, SINGLE, Table};
use super::view::{OWNER, PAIRING, POWERED_ON, SESSIONS, SETTINGS, THROTTLE, View, exact};
use crate::audit::Entry;
use crate::code::Code;
use crate::decided::Decided;
use crate::owner::{Authenticated, Owner};
use crate::pairing::{Pairing, Refusal};
use crate::passkey::{MAX_PASSKEYS, NotAdded, Passkey, PasskeyId};
use crate::password::PasswordHash;
use crate::session::Sessions;
use crate::throttle::Throttle;
use crate::time::{Now, PoweredOn};
use crate::token::SecretToken;
use redb::{ReadableTable, WriteTransaction};
use serde::Serialize;
use std::ops::Deref;

type Result<T> = std::result::Result<T, StoreError>;

/// The store while it is being changed. What was changed is seen at once.
pub struct Change<'t> {
    view: View<'t>,
    transaction: &'t WriteTransaction,
    wrote: bool,
}

impl<'t> Deref for Change<'t> {
    type Target = View<'t>;

    fn deref(&self) -> &View<'t> {
        &self.view
    }
}

/// Methods fail as those of [`View`] do, and with what is said beside each.
impl<'t> Change<'t> {
    pub(super) fn new(transaction: &'t WriteTransaction) -> Self {
        Self {
            view: View::writing(transaction),
            transaction,
            wrote: false,
        }
    }

    /// Whether anything is different from what it was.
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// First start: somebody may enter the card's code from now on. `false` and
    /// unchanged if that was so before.
    ///
    /// # Errors
    /// [`StoreError::Owned`]: a box that has an owner is never paired anew.
    pub fn begin_pairing(&mut self, code: Code, now: PoweredOn) -> Result<bool> {
        if self.pairing()?.is_some() {
            return Ok(false);
        }
        self.nobody_owns_it()?;
        self.put(SINGLE, PAIRING, &Pairing::begin(code, now))?;
        Ok(true)
    }

    /// Decides about the pairing and keeps the decision. The answer may leave the
    /// change that it is decided in, and by no other way: then it is on the medium.
    ///
    /// # Errors
    /// [`StoreError::NotBegun`].
    pub fn decide_pairing<A>(
        &mut self,
        decide: impl FnOnce(Pairing) -> Decided<Pairing, A>,
    ) -> Result<A> {
        let decided = decide(self.pairing()?.ok_or(StoreError::NotBegun)?);
        let (_, answer) = decided.keep(|pairing| self.put(SINGLE, PAIRING, pairing))?;
        Ok(answer)
    }

    /// The form is complete: pairing, owner and settings change together, or none of
    /// them if it is refused. See [`Pairing::finish`].
    ///
    /// # Errors
    /// [`StoreError::NotBegun`], [`StoreError::Owned`], and those of [`Change::set_settings`].
    pub fn finish_pairing(
        &mut self,
        token: Option<&SecretToken>,
        password: PasswordHash,
        settings: &Settings,
        now: Now,
    ) -> Result<std::result::Result<Authenticated, Refusal>> {
        let pairing = self.pairing()?.ok_or(StoreError::NotBegun)?;
        let decided = pairing.finish(token, password, now);
        let (_, answer) = decided.keep(|outcome| {
            self.nobody_owns_it()?;
            self.put(SINGLE, PAIRING, &outcome.pairing)?;
            if let Some(owner) = &outcome.owner {
                self.put(SINGLE, OWNER, owner)?;
            }
            self.set_settings(settings)
        })?;
        Ok(answer)
    }

    fn nobody_owns_it(&self) -> Result<()> {
        match self.owner()? {
            Some(_) => Err(StoreError::Owned),
            None => Ok(()),
        }
    }

    /// Decides about the owner and keeps the decision, as [`Change::decide_pairing`] does.
    ///
    /// # Errors
    /// [`StoreError::NoOwner`].
    pub fn decide_owner<A>(
        &mut self,
        decide: impl FnOnce(Owner) -> Decided<Owner, A>,
    ) -> Result<A> {
        let decided = decide(self.owner()?.ok_or(StoreError::NoOwner)?);
        let (_, answer) = decided.keep(|owner| self.put(SINGLE, OWNER, owner))?;
        Ok(answer)
    }

    /// Changes password or second factor of the owner.
    ///
    /// # Errors
    /// [`StoreError::NoOwner`].
    pub fn change_owner(&mut self, change: impl FnOnce(Owner) -> Owner) -> Result<()> {
        let owner = self.owner()?.ok_or(StoreError::NoOwner)?;
        self.put(SINGLE, OWNER, &change(owner))
    }

    /// Opens, uses, ends sessions.
    ///
    /// # Errors
    /// See [`View`].
    pub fn change_sessions<T>(&mut self, change: impl FnOnce(&mut Sessions) -> T) -> Result<T> {
        let mut sessions = self.sessions()?;
        let result = change(&mut sessions);
        self.put(SINGLE, SESSIONS, &sessions)?;
        Ok(result)
    }

    /// Counts a try to sign in, or takes one back.
    ///
    /// # Errors
    /// See [`View`].
    pub fn change_throttle<T>(&mut self, change: impl FnOnce(&mut Throttle) -> T) -> Result<T> {
        let mut throttle = self.throttle()?;
        let result = change(&mut throttle);
        self.put(SINGLE, THROTTLE, &throttle)?;
        Ok(result)
    }

    /// Saves powered-on time, which only grows: belongs in every change.
    ///
    /// # Errors
    /// See [`View`].
    pub fn save_powered_on(&mut self, now: PoweredOn) -> Result<()> {
        let now = now.max(self.powered_on()?);
        self.put(SINGLE, POWERED_ON, &now)
    }

    /// Replaces the settings.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] beyond [`MAX_SETTINGS`].
    pub fn set_settings(&mut self, settings: &Settings) -> Result<()> {
        fits("the settings", render(settings).len(), MAX_SETTINGS)?;
        self.put(SINGLE, SETTINGS, settings)
    }

    /// Keeps what the relay's owner gave, as it was pasted, or that there is no relay.
    ///
    /// # Errors
    /// Those of [`Change::set_settings`].
    pub fn set_relay(&mut self, relay: Option<String>) -> Result<()> {
        let settings = Settings {
            relay,
            ..self.settings()?
        };
        self.set_settings(&settings)
    }

    /// A laptop is paired from now on.
    ///
    /// # Errors
    /// [`StoreError::Paired`], [`StoreError::TooMany`] beyond [`MAX_LAPTOPS`],
    /// [`StoreError::TooLong`] for a name beyond [`MAX_NAME`].
    pub fn add_laptop(&mut self, key: &LaptopKey, laptop: &Laptop) -> Result<()> {
        fits("the laptop's name", laptop.name.len(), MAX_NAME)?;
        let laptops = self.laptops()?;
        if laptops.iter().any(|(other, _)| other == key) {
            return Err(StoreError::Paired);
        }
        if laptops.len() >= MAX_LAPTOPS {
            return Err(StoreError::TooMany {
                what: "laptops",
                limit: MAX_LAPTOPS,
            });
        }
        self.put(LAPTOPS, &key.0, laptop)
    }

    /// A laptop was connected; `false` if it is not paired. Written down at most
    /// every [`SEEN_EVERY`].
    ///
    /// # Errors
    /// See [`View`].
    pub fn saw_laptop(&mut self, key: &LaptopKey, now: Now) -> Result<bool> {
        let Some(mut laptop) = self.laptop(key)? else {
            return Ok(false);
        };
        let now_and_then = |seen: Now| now.powered_on.since(seen.powered_on) >= SEEN_EVERY;
        if laptop.seen.is_none_or(now_and_then) {
            laptop.seen = Some(now);
            self.put(LAPTOPS, &key.0, &laptop)?;
        }
        Ok(true)
    }

    /// Unpairs a laptop; `false` if it is not paired.
    ///
    /// # Errors
    /// See [`View`].
    pub fn remove_laptop(&mut self, key: &LaptopKey) -> Result<bool> {
        self.remove(LAPTOPS, &key.0)
    }

    /// A passkey signs in from now on, or there is one too many; within, why not.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] beyond [`MAX_PASSKEY`].
    pub fn add_passkey(
        &mut self,
        id: &PasskeyId,
        passkey: &Passkey,
    ) -> Result<std::result::Result<(), NotAdded>> {
        fits("the passkey", render(passkey).len(), MAX_PASSKEY)?;
        let known = self.passkeys()?;
        if known.iter().any(|(other, _)| other == id) {
            return Ok(Err(NotAdded::Twice));
        }
        if known.len() >= MAX_PASSKEYS {
            return Ok(Err(NotAdded::TooMany));
        }
        self.put(PASSKEYS, &id.0, passkey)?;
        Ok(Ok(()))
    }

    /// Decides about a passkey and keeps the decision, as [`Change::decide_pairing`] does;
    /// `None` if there is no such passkey.
    ///
    /// # Errors
    /// See [`View`].
    pub fn decide_passkey<A>(
        &mut self,
        id: &PasskeyId,
        decide: impl FnOnce(Passkey) -> Decided<Passkey, A>,
    ) -> Result<Option<A>> {
        let Some(passkey) = self.passkey(id)? else {
            return Ok(None);
        };
        let decided = decide(passkey);
        let (_, answer) = decided.keep(|passkey| self.put(PASSKEYS, &id.0, passkey))?;
        Ok(Some(answer))
    }

    /// The owner, who has just shown who they are, removes a passkey; `false` if there is none.
    ///
    /// # Errors
    /// See [`View`].
    pub fn remove_passkey(&mut self, _: Authenticated, id: &PasskeyId) -> Result<bool> {
        self.remove(PASSKEYS, &id.0)
    }

    /// Appends to the audit log, which forgets what is older than its last
    /// [`MAX_AUDIT`] entries.
    ///
    /// # Errors
    /// See [`View`].
    pub fn audit_entry(&mut self, entry: &Entry) -> Result<()> {
        let newest = self.all::<Entry>(AUDIT, 1)?;
        let number = match newest.first() {
            Some((key, _)) => u64::from_be_bytes(exact(AUDIT, key)?) + 1,
            None => 0,
        };
        self.put(AUDIT, &number.to_be_bytes(), entry)?;
        // One goes for each that comes.
        if let Some(oldest) = number.checked_sub(MAX_AUDIT) {
            self.remove(AUDIT, &oldest.to_be_bytes())?;
        }
        Ok(())
    }

    /// What is there already is not written again.
    fn put<T: Serialize>(&mut self, table: Table, key: &[u8], record: &T) -> Result<()> {
        let mut table = self
            .transaction
            .open_table(table)
            .map_err(redb::Error::from)?;
        let record = render(record);
        let before = table.get(key).map_err(redb::Error::from)?;
        if before.is_some_and(|before| before.value() == record) {
            return Ok(());
        }
        self.wrote = true;
        table.insert(key, &record[..]).map_err(redb::Error::from)?;
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool> {
        let mut table = self
            .transaction
            .open_table(table)
            .map_err(redb::Error::from)?;
        let was = table.remove(key).map_err(redb::Error::from)?.is_some();
        self.wrote |= was;
        Ok(was)
    }
}

fn fits(what: &'static str, length: usize, limit: usize) -> Result<()> {
    if length > limit {
        return Err(StoreError::TooLong { what, limit });
    }
    Ok(())
}

fn render<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("no map with other keys than strings is in a record")
}
