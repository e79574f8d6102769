//! A repository in a folder of a disk, as restic lays it out.

use crate::store::{Kind, Name, Store};
use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What stands before the name of a file that is being written. What a power cut leaves of one is in
/// nobody's way: names of 64 digits alone are looked at, here and in restic.
const UNFINISHED: &str = ".unfinished-";

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// This one. It is made by the first write.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Whether a repository has been begun here.
    pub fn is_begun(&self) -> bool {
        self.0.join(Kind::Config.folder()).is_file()
    }

    /// Removes a file, which [`Store::remove`] does not: a laptop's folder keeps all that it has. One that is not there
    /// is removed already.
    ///
    /// # Errors
    /// The disk's.
    pub fn erase(&self, kind: Kind, name: Name) -> io::Result<()> {
        match fs::remove_file(self.path(kind, name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Where a file lies: packs in 256 folders, by the first digits of their names.
    fn path(&self, kind: Kind, name: Name) -> PathBuf {
        let folder = self.0.join(kind.folder());
        let digits = name.to_string();
        match kind {
            Kind::Config => folder,
            Kind::Pack => folder
                .join(digits.get(..2).unwrap_or_default())
                .join(digits),
            _ => folder.join(digits),
        }
    }
}

/// Makes a folder and those above it, on the medium.
fn make(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| *above != Path::new("")) {
        make(above)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    sync(folder.parent().unwrap_or(folder))
}

fn sync(folder: &Path) -> io::Result<()> {
    let folder = match folder == Path::new("") {
        true => Path::new("."),
        false => folder,
    };
    File::open(folder)?.sync_all()
}

fn length(file: &fs::Metadata) -> io::Result<u32> {
    u32::try_from(file.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a file of 4 GiB or more"))
}

impl Store for Folder {
    fn place(&self) -> String {
        self.0.display().to_string()
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
        let folder = self.0.join(kind.folder());
        if kind == Kind::Config {
            return match fs::metadata(&folder) {
                Ok(file) => Ok(vec![(Name::default(), length(&file)?)]),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        let mut found = Vec::new();
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                if let Ok(name) = name.parse() {
                    found.push((name, length(&entry.metadata()?)?));
                } else if kind == Kind::Pack && name.len() == 2 && entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        Ok(found)
    }

    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        let mut file = File::open(self.path(kind, name))?;
        let mut bytes = Vec::new();
        match part {
            None => {
                file.read_to_end(&mut bytes)?;
            }
            Some((offset, length)) => {
                file.seek(SeekFrom::Start(offset.into()))?;
                file.take(length.into()).read_to_end(&mut bytes)?;
                if bytes.len() != length as usize {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        Ok(bytes.into())
    }

    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
        let path = self.path(kind, name);
        if path.exists() {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.0);
        make(folder)?;
        if kind == Kind::Key && !self.is_begun() {
            // The key comes before the config. One without is of a beginning that was cut short: it
            // opens with the same code, and nothing that will ever be here.
            for (stale, _) in self.list(Kind::Key)? {
                fs::remove_file(self.path(Kind::Key, stale))?;
            }
        }
        let unfinished = folder.join(format!("{UNFINISHED}{name}"));
        let written =
            write_whole(&unfinished, pieces).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // On a full disk half a file is in everybody's way. The first fault is the one to be told.
            let _ = fs::remove_file(&unfinished);
        }
        written.and_then(|()| sync(folder))
    }
}

fn write_whole(path: &Path, pieces: &[Bytes]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    for piece in pieces {
        file.write_all(piece)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_and_stay_as_they_were_first_written() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("a/b"));
        assert!(!folder.is_begun());
        // A beginning that was cut short between key and config.
        folder
            .write(Kind::Key, Name([9; 32]), &["lost".into()])
            .unwrap();
        folder
            .write(Kind::Key, Name([8; 32]), &["kept".into()])
            .unwrap();
        assert_eq!(folder.list(Kind::Key).unwrap(), [(Name([8; 32]), 4)]);
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        for kind in Kind::ALL {
            assert_eq!(folder.list(kind).unwrap(), []);
            let pieces = [Bytes::from("hello "), Bytes::from(kind.folder())];
            let name = Name::of(&pieces);
            folder.write(kind, name, &pieces).unwrap();
            folder.write(kind, name, &["other".into()]).unwrap();
            let listed = folder.list(kind).unwrap();
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0].1 as usize, 6 + kind.folder().len());
            assert_eq!(
                folder.read(kind, name, None).unwrap(),
                [&pieces[0][..], &pieces[1]].concat()
            );
            assert_eq!(folder.read(kind, name, Some((1, 3))).unwrap(), "ell");
            assert!(folder.read(kind, name, Some((1, 300))).is_err());
        }
        assert!(folder.is_begun());
        let name = Name::of(&["hello ".into(), "index".into()]);
        assert!(folder.remove(Kind::Index, name).is_err());
        folder.erase(Kind::Index, name).unwrap();
        folder.erase(Kind::Index, name).unwrap();
        assert_eq!(folder.list(Kind::Index).unwrap(), []);
        assert_eq!(
            folder
                .read(Kind::Pack, Name([1; 32]), None)
                .unwrap_err()
                .kind(),
            io::ErrorKind::NotFound
        );
        // What a cut left of a write counts for nothing, and the next write takes its place.
        let left = dir
            .path()
            .join("a/b/snapshots")
            .join(format!("{UNFINISHED}{}", Name([2; 32])));
        fs::write(&left, "hal").unwrap();
        assert_eq!(folder.list(Kind::Snapshot).unwrap().len(), 1);
        folder
            .write(Kind::Snapshot, Name([2; 32]), &["whole".into()])
            .unwrap();
        assert_eq!(folder.list(Kind::Snapshot).unwrap().len(), 2);
        assert!(!left.exists());
    }
}
