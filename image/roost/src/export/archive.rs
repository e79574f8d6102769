//! The file that an export ends up in: a tar archive, compressed if its name says so, that appears whole or not at all.

use crate::error::Failure;
use crate::store::disk_failure;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

/// Fast, and mail with its attachments in base 64 shrinks by a quarter all the same.
const LEVEL: i32 = 6;
/// Longest name that a header of tar itself can have, in bytes.
const SHORT_NAME: usize = 100;
/// The list of what is in it.
pub const SUMS: &str = "SHA256SUMS";

/// Where the bytes go.
enum Out {
    Plain(BufWriter<File>),
    Zstd(Box<zstd::Encoder<'static, BufWriter<File>>>),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// An archive that is being written, under a name that is not its own.
pub struct Archive {
    path: PathBuf,
    folder: PathBuf,
    temp: NamedTempFile,
    tar: Builder<Out>,
    /// All names begin with it, so that unpacking makes one folder.
    root: String,
    sums: String,
    now: i64,
}

impl Archive {
    /// Begins the file at `path`; what is in it unpacks into the folder `root`. `now`: seconds since 1970.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it exists already, or cannot be written.
    pub fn begin(path: &Path, root: &str, now: i64) -> Result<Self, Failure> {
        if path.symlink_metadata().is_ok() {
            return Err(Failure::usage(format!("{} exists already", path.display()))
                .hint("move it away, or name another file with --output"));
        }
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).to_owned();
        let failed = |e| disk_failure("write", path, e);
        let temp = tempfile::Builder::new()
            .prefix(".roost-export-")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&folder)
            .map_err(failed)?;
        let file = BufWriter::with_capacity(1 << 20, temp.as_file().try_clone().map_err(failed)?);
        let out = match is_compressed(path) {
            true => Out::Zstd(Box::new(zstd::Encoder::new(file, LEVEL).map_err(failed)?)),
            false => Out::Plain(file),
        };
        Ok(Self {
            path: path.to_owned(),
            folder,
            temp,
            tar: Builder::new(out),
            root: root.to_owned(),
            sums: String::new(),
            now,
        })
    }

    /// Where what waits to be packed may lie: where the archive has room as well.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn failed(&self) -> impl Fn(io::Error) -> Failure + use<> {
        let path = self.path.clone();
        move |e| disk_failure("write", &path, e)
    }

    /// A folder, also an empty one.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the disk is full, and the like.
    pub fn add_folder(&mut self, name: &str) -> Result<(), Failure> {
        let full = format!("{}/{name}/", self.root);
        let mut header = self.header(EntryType::Directory, 0o700, 0, self.now);
        self.tar
            .append_data(&mut header, full, io::empty())
            .map_err(self.failed())
    }

    /// A file of `size` bytes, last changed at `changed`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the disk is full, and the like, or if `from` has another size.
    pub fn add(
        &mut self,
        name: &str,
        changed: Option<i64>,
        size: u64,
        from: &mut dyn Read,
    ) -> Result<(), Failure> {
        let full = format!("{}/{name}", self.root);
        let changed = changed.unwrap_or(self.now);
        let mut header = self.header(EntryType::Regular, 0o600, size, changed.max(0));
        let mut reader = Hashing {
            from: from.take(size),
            hash: Sha256::new(),
            read: 0,
        };
        let written = if changed < 0 {
            // A header of tar counts from 1970 on; POSIX's records can do more, and then have the name as well.
            let fields = [("mtime", changed.to_string()), ("path", full.clone())];
            let fields = fields.iter().map(|(key, value)| (*key, value.as_bytes()));
            let short: String = full
                .chars()
                .take(SHORT_NAME)
                .map(|c| if c.is_ascii() { c } else { '_' })
                .collect();
            self.tar.append_pax_extensions(fields).and_then(|()| {
                header.set_path(&short)?;
                header.set_cksum();
                self.tar.append(&header, &mut reader)
            })
        } else {
            self.tar.append_data(&mut header, &full, &mut reader)
        };
        let (hash, read) = (reader.hash.finalize(), reader.read);
        written.map_err(self.failed())?;
        if read != size {
            return Err(Failure::new(format!("cannot pack {name}"))
                .because(format!("it has {read} bytes instead of {size}")));
        }
        let _ = writeln!(self.sums, "{}  {name}", hex::encode(hash));
        Ok(())
    }

    /// A file that is in memory.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn add_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.add(name, None, bytes.len() as u64, &mut &*bytes)
    }

    fn header(&self, kind: EntryType, mode: u32, size: u64, changed: i64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(u64::try_from(changed).unwrap_or_default());
        header
    }

    /// Gives it its name, once all of it is on the disk. Says how long it is, in bytes.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that fails; there is no file then.
    pub fn finish(mut self) -> Result<u64, Failure> {
        let sums = std::mem::take(&mut self.sums);
        self.add_bytes(SUMS, sums.as_bytes())?;
        let failed = self.failed();
        let buffer = match self.tar.into_inner().map_err(&failed)? {
            Out::Plain(file) => file,
            Out::Zstd(encoder) => encoder.finish().map_err(&failed)?,
        };
        let file = buffer.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(&failed)?;
        let length = file.metadata().map_err(&failed)?.len();
        self.temp
            .persist_noclobber(&self.path)
            .map_err(|e| failed(e.error))?;
        // The new name must outlive a power cut too.
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(&failed)?;
        Ok(length)
    }
}

/// Whether a file of this name is compressed; tar and zstd go by it too.
pub fn is_compressed(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| end == "zst" || end == "tzst")
}

struct Hashing<R> {
    from: R,
    hash: Sha256,
    read: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(to)?;
        self.hash.update(&to[..n]);
        self.read += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// GNU tar and sha256sum agree with it, dates before 1970 and long names included.
    #[test]
    fn what_was_packed_unpacks_with_its_dates() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.tar", "a.tar.zst"] {
            let path = dir.path().join(name);
            let mut archive = Archive::begin(&path, "root", 1_800_000_000).unwrap();
            let long = format!("mail/{}/ü", "x".repeat(150));
            archive.add_folder("empty").unwrap();
            archive.add_bytes("README.txt", b"hello\n").unwrap();
            archive
                .add("old", Some(-86_400), 3, &mut b"abc".as_slice())
                .unwrap();
            archive
                .add(&long, Some(-1), 3, &mut b"abc".as_slice())
                .unwrap();
            archive
                .add(&format!("{long}2"), Some(1 << 33), 0, &mut io::empty())
                .unwrap();
            assert!(!path.exists(), "it is not whole yet");
            archive.finish().unwrap();
            let script = format!(
                "mkdir {name}.d && tar -C {name}.d -xf {name} && cd {name}.d/root && sha256sum --quiet --check SHA256SUMS \
                 && stat -c '%Y %a %n' empty README.txt old {long} {long}2"
            );
            let done = Command::new("sh")
                .args(["-ec", &script])
                .current_dir(dir.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&done.stdout);
            // tar says what it thinks of such times.
            assert!(
                done.status.success(),
                "{}",
                String::from_utf8_lossy(&done.stderr)
            );
            let expected = format!(
                "1800000000 700 empty\n1800000000 600 README.txt\n-86400 600 old\n-1 600 {long}\n8589934592 600 {long}2\n"
            );
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn nothing_is_left_of_an_archive_that_was_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar.zst");
        let mut archive = Archive::begin(&path, "root", 0).unwrap();
        let failure = archive
            .add("x", None, 5, &mut b"abc".as_slice())
            .unwrap_err();
        assert!(
            failure.in_a_line().contains("3 bytes instead of 5"),
            "{}",
            failure.in_a_line()
        );
        drop(archive);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        std::fs::write(&path, "mine").unwrap();
        assert!(Archive::begin(&path, "root", 0).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
