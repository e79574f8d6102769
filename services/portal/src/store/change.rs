//! Changing the store.

use super::StoreError;
use super::records::*;
use super::schema::{AUDIT, LAPTOPS, SESSIONS, SINGLE, Table};
use super::view::{OWNER, PAIRING, SETTINGS, View, exact};
use redb::WriteTransaction;
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

    pub(super) fn wrote(&self) -> bool {
        self.wrote
    }

    /// The box gets its owner, without a second factor.
    ///
    /// # Errors
    /// [`StoreError::Owned`], [`StoreError::TooLong`] beyond [`MAX_PASSWORD_HASH`].
    pub fn create_owner(&mut self, password_hash: String) -> Result<()> {
        if self.owner()?.is_some() {
            return Err(StoreError::Owned);
        }
        fits(
            "the password's hash",
            password_hash.len(),
            MAX_PASSWORD_HASH,
        )?;
        let totp = None;
        self.put(
            SINGLE,
            OWNER,
            &Owner {
                password_hash,
                totp,
            },
        )
    }

    /// Replaces the password. Sessions go on; see [`Change::end_other_sessions`].
    ///
    /// # Errors
    /// [`StoreError::NoOwner`], [`StoreError::TooLong`] beyond [`MAX_PASSWORD_HASH`].
    pub fn set_password(&mut self, password_hash: String) -> Result<()> {
        let mut owner = self.owner()?.ok_or(StoreError::NoOwner)?;
        fits(
            "the password's hash",
            password_hash.len(),
            MAX_PASSWORD_HASH,
        )?;
        owner.password_hash = password_hash;
        self.put(SINGLE, OWNER, &owner)
    }

    /// Sets or removes the secret of the second factor.
    ///
    /// # Errors
    /// [`StoreError::NoOwner`], [`StoreError::TooLong`] beyond [`MAX_TOTP_SECRET`].
    pub fn set_totp(&mut self, secret: Option<Vec<u8>>) -> Result<()> {
        let mut owner = self.owner()?.ok_or(StoreError::NoOwner)?;
        let length = secret.as_ref().map_or(0, Vec::len);
        fits("the second factor's secret", length, MAX_TOTP_SECRET)?;
        let last_step = None;
        owner.totp = secret.map(|secret| Totp { secret, last_step });
        self.put(SINGLE, OWNER, &owner)
    }

    /// Takes a one-time password of this time step; `false` if one of it or of a
    /// later step was taken before, or there is no second factor.
    ///
    /// # Errors
    /// [`StoreError::NoOwner`].
    pub fn use_totp_step(&mut self, step: u64) -> Result<bool> {
        let mut owner = self.owner()?.ok_or(StoreError::NoOwner)?;
        match &mut owner.totp {
            Some(totp) if totp.last_step.is_none_or(|last| step > last) => {
                totp.last_step = Some(step);
                self.put(SINGLE, OWNER, &owner)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Changes how far pairing is: tries, blocks, a code that is new.
    ///
    /// # Errors
    /// See [`View`].
    pub fn change_pairing<T>(&mut self, change: impl FnOnce(&mut Pairing) -> T) -> Result<T> {
        let before = self.pairing()?;
        let mut pairing = before.clone();
        let result = change(&mut pairing);
        if pairing != before {
            self.put(SINGLE, PAIRING, &pairing)?;
        }
        Ok(result)
    }

    /// Uses the pairing code up. What it gives (an owner, a laptop) belongs in
    /// the same change, so that one is never there without the other.
    ///
    /// # Errors
    /// [`StoreError::CodeUsed`].
    pub fn redeem_code(&mut self, at: u64) -> Result<()> {
        if self.pairing()?.used_at.is_some() {
            return Err(StoreError::CodeUsed);
        }
        let used_at = Some(at);
        self.put(
            SINGLE,
            PAIRING,
            &Pairing {
                used_at,
                ..Pairing::default()
            },
        )
    }

    /// Replaces the settings.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] beyond [`MAX_SETTINGS`].
    pub fn set_settings(&mut self, settings: &Settings) -> Result<()> {
        fits("the settings", render(settings).len(), MAX_SETTINGS)?;
        self.put(SINGLE, SETTINGS, settings)
    }

    /// The owner has logged in. The session that was seen longest ago ends if
    /// there would be more than [`MAX_SESSIONS`].
    ///
    /// # Errors
    /// See [`View`].
    pub fn begin_session(&mut self, token: &TokenHash, mut session: Session) -> Result<()> {
        session.user_agent = cut(session.user_agent);
        let mut others = self.sessions()?;
        others.retain(|(other, _)| other != token);
        if others.len() >= MAX_SESSIONS {
            let oldest = others.iter().min_by_key(|(_, other)| other.last_seen);
            let (oldest, _) = oldest.expect("there are some");
            self.end_session(oldest)?;
        }
        self.put(SESSIONS, &token.0, &session)
    }

    /// A session was used; `false` if there is none. Written down at most every
    /// [`SEEN_EVERY_S`].
    ///
    /// # Errors
    /// See [`View`].
    pub fn saw_session(&mut self, token: &TokenHash, at: u64) -> Result<bool> {
        let Some(mut session) = self.session(token)? else {
            return Ok(false);
        };
        if is_news(Some(session.last_seen), at) {
            session.last_seen = at;
            self.put(SESSIONS, &token.0, &session)?;
        }
        Ok(true)
    }

    /// Ends a session; `false` if there is none.
    ///
    /// # Errors
    /// See [`View`].
    pub fn end_session(&mut self, token: &TokenHash) -> Result<bool> {
        self.remove(SESSIONS, &token.0)
    }

    /// Ends all sessions but `keep`. Gives their number.
    ///
    /// # Errors
    /// See [`View`].
    pub fn end_other_sessions(&mut self, keep: Option<&TokenHash>) -> Result<usize> {
        self.end_sessions_that(|token, _| Some(token) != keep)
    }

    /// Ends the sessions that were not used for `idle_s` seconds or began more
    /// than `age_s` seconds ago, and those that began more than
    /// [`CLOCK_SLACK_S`] in the future: the clock was wrong then. Gives their number.
    ///
    /// # Errors
    /// See [`View`].
    pub fn expire_sessions(&mut self, at: u64, idle_s: u64, age_s: u64) -> Result<usize> {
        self.end_sessions_that(|_, session| {
            at.saturating_sub(session.last_seen) > idle_s
                || at.saturating_sub(session.created) > age_s
                || session.created.saturating_sub(at) > CLOCK_SLACK_S
        })
    }

    fn end_sessions_that(
        &mut self,
        mut end: impl FnMut(&TokenHash, &Session) -> bool,
    ) -> Result<usize> {
        let mut sessions = self.sessions()?;
        sessions.retain(|(token, session)| end(token, session));
        for (token, _) in &sessions {
            self.end_session(token)?;
        }
        Ok(sessions.len())
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
    /// every [`SEEN_EVERY_S`].
    ///
    /// # Errors
    /// See [`View`].
    pub fn saw_laptop(&mut self, key: &LaptopKey, at: u64) -> Result<bool> {
        let Some(mut laptop) = self.laptop(key)? else {
            return Ok(false);
        };
        if is_news(laptop.last_seen, at) {
            laptop.last_seen = Some(at);
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

    /// Appends to the audit log, which forgets what is older than its last
    /// [`MAX_AUDIT`] entries.
    ///
    /// # Errors
    /// See [`View`].
    pub fn audit_entry(&mut self, mut entry: Entry) -> Result<()> {
        entry.who = cut(entry.who);
        entry.what = cut(entry.what);
        let newest = self.all::<Entry>(AUDIT, 1)?;
        let number = match newest.first() {
            Some((key, _)) => u64::from_be_bytes(exact(AUDIT, key)?) + 1,
            None => 0,
        };
        self.put(AUDIT, &number.to_be_bytes(), &entry)?;
        // One goes for each that comes.
        if let Some(oldest) = number.checked_sub(MAX_AUDIT) {
            self.remove(AUDIT, &oldest.to_be_bytes())?;
        }
        Ok(())
    }

    fn put<T: Serialize>(&mut self, table: Table, key: &[u8], record: &T) -> Result<()> {
        let mut table = self
            .transaction
            .open_table(table)
            .map_err(redb::Error::from)?;
        self.wrote = true;
        table
            .insert(key, &render(record)[..])
            .map_err(redb::Error::from)?;
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

/// Whether a sighting is worth a write. A clock that was set back is not one.
fn is_news(before: Option<u64>, at: u64) -> bool {
    before.is_none_or(|before| at.saturating_sub(before) >= SEEN_EVERY_S)
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
