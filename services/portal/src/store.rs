//! What the portal remembers, in one file.
//!
//! [`Store::change`] is one transaction: all that is done in it is on the medium
//! when it returns `Ok`, and nothing of it is there when it returns an error or
//! when the power is cut before. [`Store::view`] sees the store as it was at one
//! moment. Which database is below is nobody's business but this module's; why
//! it is this one is told in the README.
//!
//! Changes wait for the card, some ten milliseconds each, so an asynchronous
//! server calls them where it may block.

mod change;
mod folder;
mod records;
mod schema;
mod view;

pub use change::Change;
pub use folder::{DataFolder, Folder};
pub use records::*;
pub use view::View;

use redb::{Database, ReadableDatabase, StorageBackend};
use std::io;
use std::path::Path;

/// The file's name.
pub const FILE: &str = "portal.redb";
/// The name that it is made under. It gets the other one when it is whole.
pub const NEW: &str = "portal.redb.new";
/// Memory for pages that were read, in bytes. The whole store is about as large.
const CACHE: usize = 1 << 20;

/// The store could not be opened. It is as it was: nothing is deleted or made anew.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is there and is not what was written to it.
    #[error("the portal's store ({FILE}) is damaged: {0}")]
    Damaged(String),
    /// A newer version of the portal has changed it.
    #[error("the portal's store ({FILE}) has schema {found}, but this version reads up to {known}")]
    Newer {
        /// Schema of the store.
        found: u32,
        /// Newest one that this program reads.
        known: u32,
    },
    /// Another program has it open.
    #[error("the portal's store ({FILE}) is in use by another program")]
    InUse,
    /// The file system said no.
    #[error("cannot open the portal's store ({FILE})")]
    Io(#[source] io::Error),
}

impl OpenError {
    /// What the owner can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Damaged(_) => {
                "Mail goes on working. Who owns the box, its laptops and what was chosen in the \
                 browser cannot be read. Only a factory reset (flash the card again) begins anew, \
                 and it deletes the mail too: copy that first, with any mail program."
            }
            Self::Newer { .. } => {
                "The box went back to an older version. Install the newer one again with \
                 `roost update`."
            }
            Self::InUse => "Restart the box.",
            Self::Io(_) => {
                "The card may be full or worn out; `roost status` shows its free space. Restart \
                 the box once it has some."
            }
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io(error) => Self::Io(error),
            StoreError::Damaged(what) => Self::Damaged(what),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Something could not be read or changed. After an error nothing has changed,
/// but for [`StoreError::Io`] at the very end of a change: then it is not known.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The first start has not begun the pairing yet.
    #[error("the pairing has not begun")]
    NotBegun,
    /// There is an owner already.
    #[error("the box has an owner")]
    Owned,
    /// There is no owner yet.
    #[error("the box has no owner")]
    NoOwner,
    /// The laptop is paired already.
    #[error("this laptop is paired already")]
    Paired,
    /// A value is longer than what is kept.
    #[error("{what}: more than {limit} bytes")]
    TooLong {
        /// Which.
        what: &'static str,
        /// The most, in bytes.
        limit: usize,
    },
    /// There is no room for a further one.
    #[error("{limit} {what} are the most that can be kept")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most.
        limit: usize,
    },
    /// A record is not what was written.
    #[error("the portal's store is damaged: {0}")]
    Damaged(String),
    /// The file system said no. Every further change is refused until the store
    /// is opened again, so the portal had best end and be started anew by init.
    #[error("cannot use the portal's store")]
    Io(#[source] io::Error),
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::Io(error),
            redb::Error::PreviousIo => Self::Io(io::Error::other(error)),
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// The open store. Threads may share it; changes wait for each other.
#[derive(Debug)]
pub struct Store {
    db: Database,
}

impl Store {
    /// Opens the store, or makes it if there is none. The whole file is checked:
    /// it has some hundred kilobytes.
    ///
    /// # Errors
    /// See [`OpenError`]. A file that is there is never replaced.
    pub fn open(folder: &impl Folder) -> Result<Self, OpenError> {
        let file = match folder.open(FILE).map_err(OpenError::Io)? {
            Some(file) => file,
            None => make(folder)?,
        };
        // To the database, an empty file is one to begin in. Here it is a store
        // that was lost: beginning anew would leave the box to the next comer.
        if file.len().map_err(OpenError::Io)? == 0 {
            return Err(OpenError::Damaged("the file is empty".into()));
        }
        let db = attach(file)?;
        schema::bring_up(&db, schema::STEPS)?;
        Ok(Self { db })
    }

    /// Does all of `change` or nothing of it. It is on the medium when this
    /// returns. A `change` that changed nothing is not written.
    ///
    /// Changes wait for each other: one begun within another waits for ever.
    ///
    /// # Errors
    /// What `change` returned, or the store's own.
    pub fn change<T, E: From<StoreError>>(
        &self,
        change: impl FnOnce(&mut Change<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = schema::begin(&self.db)?;
        let mut changed = Change::new(&transaction);
        let result = change(&mut changed)?;
        if changed.wrote() {
            transaction
                .commit()
                .map_err(|error| StoreError::from(redb::Error::from(error)))?;
        }
        Ok(result)
    }

    /// The file's bytes as they are between two changes: nobody changes the store meanwhile.
    /// [`Store::open`] takes them for a store whose power was cut.
    ///
    /// # Errors
    /// The store's, and the file system's.
    pub fn bytes(&self, folder: &Path) -> Result<Vec<u8>, StoreError> {
        let transaction = schema::begin(&self.db)?;
        let bytes = std::fs::read(folder.join(FILE)).map_err(StoreError::Io);
        transaction
            .abort()
            .map_err(|error| StoreError::from(redb::Error::from(error)))?;
        bytes
    }

    /// Looks into the store as it is now, whatever is changed meanwhile.
    ///
    /// # Errors
    /// What `look` returned, or the store's own.
    pub fn view<T, E: From<StoreError>>(
        &self,
        look: impl FnOnce(&View<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let transaction = self
            .db
            .begin_read()
            .map_err(|error| StoreError::from(redb::Error::from(error)))?;
        look(&View::reading(&transaction))
    }
}

/// Makes the store under another name, so that a power cut leaves none or a whole one.
fn make<F: Folder>(folder: &F) -> Result<F::File, OpenError> {
    let file = folder.create(NEW).map_err(OpenError::Io)?;
    let db = attach(file)?;
    schema::make(&db)?;
    db.close().map_err(open_error)?;
    folder.rename(NEW, FILE).map_err(OpenError::Io)?;
    folder.sync().map_err(OpenError::Io)?;
    let made = folder.open(FILE).map_err(OpenError::Io)?;
    made.ok_or_else(|| OpenError::Io(io::ErrorKind::NotFound.into()))
}

/// Opens the file as a database, every page checked: without that it trusts what
/// it reads, and may panic where the card did damage.
fn attach(file: impl StorageBackend) -> Result<Database, OpenError> {
    Database::builder()
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .create_with_backend(file)
        .map_err(open_error)
}

fn open_error(error: redb::DatabaseError) -> OpenError {
    use redb::DatabaseError;
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse,
        // Shorter than its pages, or no database at all: nothing that the file
        // system says by itself.
        DatabaseError::Storage(redb::StorageError::Io(error))
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            OpenError::Damaged(error.to_string())
        }
        DatabaseError::Storage(redb::StorageError::Io(error)) => OpenError::Io(error),
        error => OpenError::Damaged(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
