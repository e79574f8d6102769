//! A place from which packs are read in stretches: who gets a backup back reads its pieces, of some 64 KiB,
//! mostly one behind the other, and each would be a request of its own.

use crate::store::{Kind, Name, Store};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes read at once. A piece that lies alone costs this much.
const STRETCH: u32 = 1 << 20;
/// Stretches that are kept: a file's pieces come from some packs in turn.
const KEPT: usize = 8;

/// The place, read ahead.
pub struct Ahead {
    store: Arc<dyn Store>,
    lengths: OnceLock<HashMap<Name, u32>>,
    kept: Mutex<VecDeque<Stretch>>,
}

struct Stretch {
    pack: Name,
    from: u32,
    bytes: Bytes,
}

impl Stretch {
    fn part(&self, pack: Name, offset: u32, length: u32) -> Option<Bytes> {
        let from = offset.checked_sub(self.from)? as usize;
        let to = from + length as usize;
        (self.pack == pack && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

impl Ahead {
    /// This one. It must not change while it is read: nobody removes packs meanwhile.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            lengths: OnceLock::new(),
            kept: Mutex::default(),
        }
    }

    fn length(&self, pack: Name) -> io::Result<Option<u32>> {
        if let Some(lengths) = self.lengths.get() {
            return Ok(lengths.get(&pack).copied());
        }
        let lengths = self.store.list(Kind::Pack)?.into_iter().collect();
        Ok(self.lengths.get_or_init(|| lengths).get(&pack).copied())
    }
}

impl Store for Ahead {
    fn place(&self) -> String {
        self.store.place()
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
        self.store.list(kind)
    }

    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        let (Kind::Pack, Some((offset, length))) = (kind, part) else {
            return self.store.read(kind, name, part);
        };
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept()
            .iter()
            .find_map(|stretch| stretch.part(name, offset, length));
        if let Some(bytes) = found {
            return Ok(bytes);
        }
        // A pack that came later than the list, or is shorter than it should be: as it is asked for.
        let end = self.length(name)?.unwrap_or_default();
        let stretch = length.max(STRETCH.min(end.saturating_sub(offset)));
        let bytes = self.store.read(kind, name, Some((offset, stretch)))?;
        let wanted = bytes.slice(..length as usize);
        let mut kept = kept();
        kept.push_front(Stretch {
            pack: name,
            from: offset,
            bytes,
        });
        kept.truncate(KEPT);
        Ok(wanted)
    }

    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
        self.store.write(kind, name, pieces)
    }

    fn remove(&self, kind: Kind, name: Name) -> io::Result<()> {
        self.store.remove(kind, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::Folder;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Counted(Folder, AtomicU32);

    impl Store for Counted {
        fn place(&self) -> String {
            self.0.place()
        }
        fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
            self.0.list(kind)
        }
        fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
            self.1.fetch_add(1, Ordering::SeqCst);
            self.0.read(kind, name, part)
        }
        fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
            self.0.write(kind, name, pieces)
        }
    }

    fn pack(number: u8) -> (Name, Bytes) {
        let bytes: Vec<u8> = (0..3_000_000_u32)
            .map(|n| (n / 251) as u8 ^ n as u8 ^ number)
            .collect();
        (Name([number; 32]), bytes.into())
    }

    #[test]
    fn pieces_in_a_row_are_few_reads() {
        let dir = tempfile::tempdir().unwrap();
        let counted = Arc::new(Counted(Folder::new(dir.path()), AtomicU32::new(0)));
        let (name, bytes) = pack(1);
        let pieces = [bytes.clone()];
        counted.write(Kind::Pack, name, &pieces).unwrap();
        let ahead = Ahead::new(counted.clone());
        for from in (0..3_000_000).step_by(60_000) {
            let read = ahead.read(Kind::Pack, name, Some((from, 60_000))).unwrap();
            assert_eq!(read, bytes.slice(from as usize..from as usize + 60_000));
        }
        assert_eq!(counted.1.load(Ordering::SeqCst), 3);
        // What is wrong is wrong as without.
        assert!(ahead.read(Kind::Pack, name, Some((2_999_999, 2))).is_err());
        assert!(ahead.read(Kind::Pack, Name([9; 32]), Some((0, 1))).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn whatever_is_asked_for_comes(
            asked in proptest::collection::vec((0_u8..3, 0_u32..3_000_000, 0_u32..1_500_000), 1..40)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let folder = Folder::new(dir.path());
            for number in 0..3 {
                let (name, bytes) = pack(number);
                folder.write(Kind::Pack, name, &[bytes]).unwrap();
            }
            let ahead = Ahead::new(Arc::new(folder.clone()));
            for (number, from, length) in asked {
                let part = Some((from, length.min(3_000_000 - from)));
                let name = Name([number; 32]);
                prop_assert_eq!(
                    ahead.read(Kind::Pack, name, part).unwrap(),
                    folder.read(Kind::Pack, name, part).unwrap()
                );
            }
        }
    }
}
