//! Looking into the store.

use super::StoreError;
use super::records::*;
use super::schema::{AUDIT, LAPTOPS, PASSKEYS, SINGLE, Table};
use crate::audit::Entry;
use crate::owner::Owner;
use crate::pairing::Pairing;
use crate::passkey::{Passkey, PasskeyId};
use crate::session::Sessions;
use crate::throttle::Throttle;
use crate::time::PoweredOn;
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use serde::de::DeserializeOwned;

pub(super) const OWNER: &[u8] = b"owner";
pub(super) const PAIRING: &[u8] = b"pairing";
pub(super) const SESSIONS: &[u8] = b"sessions";
pub(super) const THROTTLE: &[u8] = b"throttle";
pub(super) const POWERED_ON: &[u8] = b"powered_on";
pub(super) const SETTINGS: &[u8] = b"settings";

type Result<T> = std::result::Result<T, StoreError>;

#[derive(Clone, Copy)]
enum Transaction<'t> {
    Read(&'t ReadTransaction),
    Write(&'t WriteTransaction),
}

/// The store at one moment.
pub struct View<'t>(Transaction<'t>);

/// Every method fails with [`StoreError::Damaged`] for a record that cannot be
/// read, and with [`StoreError::Io`] if the card cannot.
impl<'t> View<'t> {
    pub(super) fn writing(transaction: &'t WriteTransaction) -> Self {
        Self(Transaction::Write(transaction))
    }

    pub(super) fn reading(transaction: &'t ReadTransaction) -> Self {
        Self(Transaction::Read(transaction))
    }

    /// The owner; `None` before the box has one.
    ///
    /// # Errors
    /// See [`View`].
    pub fn owner(&self) -> Result<Option<Owner>> {
        self.get(SINGLE, OWNER)
    }

    /// Where the pairing stands; `None` before the first start has begun it.
    ///
    /// # Errors
    /// See [`View`].
    pub fn pairing(&self) -> Result<Option<Pairing>> {
        self.get(SINGLE, PAIRING)
    }

    /// Browsers that are signed in.
    ///
    /// # Errors
    /// See [`View`].
    pub fn sessions(&self) -> Result<Sessions> {
        Ok(self.get(SINGLE, SESSIONS)?.unwrap_or_default())
    }

    /// The limits of sign-in, with the browsers that are known.
    ///
    /// # Errors
    /// See [`View`].
    pub fn throttle(&self) -> Result<Throttle> {
        Ok(self.get(SINGLE, THROTTLE)?.unwrap_or_default())
    }

    /// How long the box has been powered on in its life, as far as it was saved.
    ///
    /// # Errors
    /// See [`View`].
    pub fn powered_on(&self) -> Result<PoweredOn> {
        Ok(self.get(SINGLE, POWERED_ON)?.unwrap_or_default())
    }

    /// What was chosen in the browser.
    ///
    /// # Errors
    /// See [`View`].
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.get(SINGLE, SETTINGS)?.unwrap_or_default())
    }

    /// One laptop; `None` if it is not paired.
    ///
    /// # Errors
    /// See [`View`].
    pub fn laptop(&self, key: &LaptopKey) -> Result<Option<Laptop>> {
        self.get(LAPTOPS, &key.0)
    }

    /// All paired laptops, in no order that means anything.
    ///
    /// # Errors
    /// See [`View`].
    pub fn laptops(&self) -> Result<Vec<(LaptopKey, Laptop)>> {
        let all = self.keyed(LAPTOPS)?.into_iter();
        Ok(all.map(|(key, laptop)| (LaptopKey(key), laptop)).collect())
    }

    /// One passkey; `None` if there is none.
    ///
    /// # Errors
    /// See [`View`].
    pub fn passkey(&self, id: &PasskeyId) -> Result<Option<Passkey>> {
        self.get(PASSKEYS, &id.0)
    }

    /// All passkeys, in no order that means anything.
    ///
    /// # Errors
    /// See [`View`].
    pub fn passkeys(&self) -> Result<Vec<(PasskeyId, Passkey)>> {
        let all = self.keyed(PASSKEYS)?.into_iter();
        Ok(all.map(|(id, passkey)| (PasskeyId(id), passkey)).collect())
    }

    /// The last `most` entries of the audit log, the newest first.
    ///
    /// # Errors
    /// See [`View`].
    pub fn audit(&self, most: usize) -> Result<Vec<Entry>> {
        let all = self.all(AUDIT, most)?;
        Ok(all.into_iter().map(|(_, entry)| entry).collect())
    }

    fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>> {
        self.read(table, |rows| {
            let found = rows.get(key)?;
            Ok(found.map(|value| parse(table, value.value())))
        })?
        .transpose()
    }

    fn keyed<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<([u8; 32], T)>> {
        let rows = self.all(table, usize::MAX)?.into_iter();
        rows.map(|(key, record)| Ok((exact(table, &key)?, record)))
            .collect()
    }

    /// The last `most` rows, the greatest key first.
    pub(super) fn all<T: DeserializeOwned>(
        &self,
        table: Table,
        most: usize,
    ) -> Result<Vec<(Vec<u8>, T)>> {
        self.read(table, |rows| {
            let rows = rows.iter()?.rev().take(most);
            rows.map(|row| {
                let (key, value) = row?;
                Ok(parse(table, value.value()).map(|value| (key.value().to_vec(), value)))
            })
            .collect()
        })
        .and_then(|rows: Vec<Result<_>>| rows.into_iter().collect())
    }

    fn read<T>(&self, table: Table, look: impl FnOnce(&dyn Rows) -> Found<T>) -> Result<T> {
        match self.0 {
            Transaction::Read(transaction) => {
                look(&transaction.open_table(table).map_err(redb::Error::from)?)
            }
            Transaction::Write(transaction) => {
                look(&transaction.open_table(table).map_err(redb::Error::from)?)
            }
        }
        .map_err(|error| redb::Error::from(error).into())
    }
}

type Found<T> = std::result::Result<T, redb::StorageError>;
type Bytes = &'static [u8];

/// The same for a table that is open for reading and one that is open for writing.
trait Rows {
    fn get(&self, key: &[u8]) -> Found<Option<redb::AccessGuard<'_, Bytes>>>;
    fn iter(&self) -> Found<redb::Range<'_, Bytes, Bytes>>;
}

impl<T: ReadableTable<Bytes, Bytes>> Rows for T {
    fn get(&self, key: &[u8]) -> Found<Option<redb::AccessGuard<'_, Bytes>>> {
        ReadableTable::get(self, key)
    }

    fn iter(&self) -> Found<redb::Range<'_, Bytes, Bytes>> {
        ReadableTable::iter(self)
    }
}

fn parse<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Damaged(format!("a record in {}: {error}", name(table))))
}

pub(super) fn exact<const N: usize>(table: Table, key: &[u8]) -> Result<[u8; N]> {
    key.try_into().map_err(|_| {
        let length = key.len();
        StoreError::Damaged(format!("a key in {} has {length} bytes", name(table)))
    })
}

fn name(table: Table) -> String {
    redb::TableHandle::name(&table).to_owned()
}
