//! The tables, and what leads from an older form of them to the present one.

use super::{OpenError, StoreError};
use redb::{Database, Durability, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

/// Keys and values are bytes in every table: which, is said in `change.rs`.
pub(super) type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// [`SCHEMA_KEY`] only. Its form never changes, so that any program can read it.
const META: Table = TableDefinition::new("meta");
const SCHEMA_KEY: &[u8] = b"schema";
/// Records that exist once, by name.
pub(super) const SINGLE: Table = TableDefinition::new("single");
/// Laptops by their key.
pub(super) const LAPTOPS: Table = TableDefinition::new("laptops");
/// Passkeys by the SHA-256 of their credential id.
pub(super) const PASSKEYS: Table = TableDefinition::new("passkeys");
/// Audit log by number, 8 bytes, the most significant one first.
pub(super) const AUDIT: Table = TableDefinition::new("audit");

/// Changes a store from one schema to the next.
pub(super) type Step = fn(&WriteTransaction) -> Result<(), StoreError>;

/// `STEPS[n - 1]` leads from schema n to schema n + 1.
pub(super) const STEPS: &[Step] = &[];

/// The schema that a store has after these steps.
fn schema_after(steps: &[Step]) -> u32 {
    u32::try_from(steps.len()).expect("a handful of steps") + 1
}

/// Begins a change that is on the medium once it is committed.
///
/// Two-phase: with one phase, whether a commit counts after a power cut depends
/// on a checksum (xxh3) over bytes that strangers can choose a part of.
pub(super) fn begin(db: &Database) -> Result<WriteTransaction, StoreError> {
    let mut change = db.begin_write().map_err(redb::Error::from)?;
    change
        .set_durability(Durability::Immediate)
        .map_err(redb::Error::from)?;
    change.set_two_phase_commit(true);
    Ok(change)
}

/// Makes all tables in an empty store.
pub(super) fn make(db: &Database) -> Result<(), StoreError> {
    let change = begin(db)?;
    for table in [SINGLE, LAPTOPS, PASSKEYS, AUDIT] {
        change.open_table(table).map_err(redb::Error::from)?;
    }
    set(&change, schema_after(STEPS))?;
    change.commit().map_err(redb::Error::from)?;
    Ok(())
}

/// Brings a store to the schema after all of `steps`, in one transaction.
pub(super) fn bring_up(db: &Database, steps: &[Step]) -> Result<(), OpenError> {
    let (found, known) = (get(db)?, schema_after(steps));
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    if found == known {
        return Ok(());
    }
    let change = begin(db)?;
    for step in &steps[found as usize - 1..] {
        step(&change)?;
    }
    set(&change, known)?;
    change
        .commit()
        .map_err(|error| StoreError::from(redb::Error::from(error)))?;
    Ok(())
}

fn set(change: &WriteTransaction, schema: u32) -> Result<(), StoreError> {
    let mut table = change.open_table(META).map_err(redb::Error::from)?;
    table
        .insert(SCHEMA_KEY, &schema.to_be_bytes()[..])
        .map_err(redb::Error::from)?;
    Ok(())
}

/// The schema that a store says it has.
fn get(db: &Database) -> Result<u32, StoreError> {
    let damaged = || StoreError::Damaged("it does not say which schema it has".into());
    let view = db.begin_read().map_err(redb::Error::from)?;
    let table = match view.open_table(META) {
        Err(TableError::TableDoesNotExist(_)) => return Err(damaged()),
        table => table.map_err(redb::Error::from)?,
    };
    let bytes = table.get(SCHEMA_KEY).map_err(redb::Error::from)?;
    let bytes = bytes.ok_or_else(damaged)?;
    let schema = u32::from_be_bytes(bytes.value().try_into().map_err(|_| damaged())?);
    if schema == 0 {
        return Err(damaged());
    }
    Ok(schema)
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
