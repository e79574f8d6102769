//! A [`Store`] as `rustic_core` wants it.

use crate::store::{Kind, Name, Store};
use bytes::Bytes;
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Why no snapshot may be written: set by whoever reads what goes into it.
///
/// The library logs a file that cannot be read and goes on without it, so its snapshot would lack the
/// file and look whole. Here nothing is a backup but what came in full.
#[derive(Debug, Clone, Default)]
pub struct Flaw(Arc<Mutex<Option<String>>>);

impl Flaw {
    /// Something is missing. The first reason stays.
    pub fn set(&self, why: impl fmt::Display) {
        let mut flaw = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flaw.get_or_insert_with(|| why.to_string());
    }

    /// What, if anything.
    pub fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The adapter.
pub struct Backend {
    store: Arc<dyn Store>,
    flaw: Flaw,
    /// Whether files may be removed: by whoever forgets backups, and nobody else.
    forgets: bool,
}

impl Backend {
    /// For this store; snapshots are written while there is no flaw.
    pub fn new(store: Arc<dyn Store>, flaw: Flaw, forgets: bool) -> Self {
        Self {
            store,
            flaw,
            forgets,
        }
    }

    fn told<T>(&self, what: &str, kind: Kind, result: io::Result<T>) -> RusticResult<T> {
        result.map_err(|error| {
            // The library's own words for it would be a screen long.
            self.flaw.set(format!(
                "cannot {what} {}: {error}",
                match kind {
                    Kind::Config => "the repository's config",
                    Kind::Key => "a key",
                    Kind::Snapshot => "a snapshot",
                    Kind::Index => "an index",
                    Kind::Pack => "a pack",
                }
            ));
            RusticError::with_source(ErrorKind::Backend, "the place of the repository", error)
        })
    }
}

fn kind(of: FileType) -> Kind {
    match of {
        FileType::Config => Kind::Config,
        FileType::Key => Kind::Key,
        FileType::Snapshot => Kind::Snapshot,
        FileType::Index => Kind::Index,
        FileType::Pack => Kind::Pack,
    }
}

fn name(of: &Id) -> RusticResult<Name> {
    let hex = of.to_hex();
    hex.as_str()
        .parse()
        .map_err(|why: String| RusticError::new(ErrorKind::Internal, why))
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.store.place()
    }

    fn list_with_size(&self, of: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let kind = kind(of);
        let listed = self.told("list", kind, self.store.list(kind))?;
        listed
            .into_iter()
            .map(|(name, size)| Ok((name.to_string().parse()?, size)))
            .collect()
    }

    fn read_full(&self, of: FileType, id: &Id) -> RusticResult<Bytes> {
        let kind = kind(of);
        self.told("read", kind, self.store.read(kind, name(id)?, None))
    }

    fn read_partial(
        &self,
        of: FileType,
        id: &Id,
        _: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let (kind, part) = (kind(of), Some((offset, length)));
        self.told("read", kind, self.store.read(kind, name(id)?, part))
    }

    fn warmup_path(&self, _: FileType, id: &Id) -> String {
        id.to_hex().as_str().to_owned()
    }
}

impl WriteBackend for Backend {
    fn write_bytes(&self, of: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        let kind = kind(of);
        if kind == Kind::Snapshot
            && let Some(why) = self.flaw.get()
        {
            return Err(RusticError::new(ErrorKind::InputOutput, why));
        }
        let written = self.store.write(kind, name(id)?, content.slice());
        self.told("write", kind, written)
    }

    fn remove(&self, of: FileType, id: &Id, _: bool) -> RusticResult<()> {
        if !self.forgets {
            return Err(RusticError::new(
                ErrorKind::AppendOnly,
                "nothing is removed from here",
            ));
        }
        let kind = kind(of);
        self.told("remove", kind, self.store.remove(kind, name(id)?))
    }
}
