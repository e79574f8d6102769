//! The root file system: a tree of named files, then erofs, then its dm-verity hash tree.

use crate::error::Failure;
use crate::sdk::Sdk;
use crate::store::{KeyBuilder, disk_failure, sha256_file};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where an entry's contents come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file on this machine.
    File(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
    /// An empty folder.
    Folder,
}

/// One path of the root file system.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Component that it counts to in the build table.
    pub component: String,
    /// Contents.
    pub source: Source,
    /// Whether it may be executed.
    pub program: bool,
}

/// The whole tree by absolute path without the leading `/`.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// An erofs image with its hash tree behind it, and what the kernel must be told of them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verity {
    /// Blocks of 4096 bytes before the hash tree.
    pub data_blocks: u64,
    /// Root hash, SHA-256 in hex.
    pub root_hash: String,
    /// Salt in hex.
    pub salt: String,
}

impl Verity {
    /// Reads what the root step left in its output `root`.
    pub fn load(root: &Path) -> Result<Self, Failure> {
        let path = root.join("verity.json");
        let text = std::fs::read_to_string(&path).map_err(|e| disk_failure("read", &path, e))?;
        serde_json::from_str(&text).map_err(|e| {
            Failure::new(format!("{} is damaged", path.display()))
                .because(e)
                .hint("remove that folder and build again")
        })
    }
}

const BLOCK: u64 = 4096;

impl Tree {
    /// Adds a plain file with these bytes.
    pub fn bytes(&mut self, component: &str, path: &str, bytes: impl Into<Vec<u8>>) {
        self.add(component, path, Source::Bytes(bytes.into()), false);
    }

    /// Adds a program.
    pub fn program(&mut self, component: &str, path: &str, file: &Path) {
        self.add(component, path, Source::File(file.to_owned()), true);
    }

    /// Adds a plain file of this machine.
    pub fn file(&mut self, component: &str, path: &str, file: &Path) {
        self.add(component, path, Source::File(file.to_owned()), false);
    }

    /// Adds an empty folder, to be mounted on.
    pub fn folder(&mut self, path: &str) {
        self.add("base", path, Source::Folder, false);
    }

    fn add(&mut self, component: &str, path: &str, source: Source, program: bool) {
        let entry = Entry {
            component: component.to_owned(),
            source,
            program,
        };
        let before = self.entries.insert(path.to_owned(), entry);
        assert!(before.is_none(), "{path} is in the root file system twice");
    }

    /// All entries in order of path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(p, e)| (p.as_str(), e))
    }

    /// Adds everything that decides the tree's bytes to a key.
    pub fn fingerprint(&self, mut key: KeyBuilder) -> Result<KeyBuilder, Failure> {
        for (path, entry) in self.entries() {
            key = key.text(path).text(if entry.program { "x" } else { "-" });
            key = match &entry.source {
                Source::File(from) => key.text("file").text(&sha256_file(from)?),
                Source::Bytes(bytes) => key.text("bytes").bytes(bytes),
                Source::Folder => key.text("folder"),
            };
        }
        Ok(key)
    }

    fn write_below(&self, root: &Path) -> Result<(), Failure> {
        for (path, entry) in self.entries() {
            let to = root.join(path);
            let fail = |e| disk_failure("write", &to, e);
            let parent = to.parent().expect("below the root");
            std::fs::create_dir_all(parent).map_err(fail)?;
            match &entry.source {
                Source::File(from) => {
                    std::fs::copy(from, &to).map_err(|e| disk_failure("copy", from, e))?;
                }
                Source::Bytes(bytes) => std::fs::write(&to, bytes).map_err(fail)?,
                Source::Folder => std::fs::create_dir_all(&to).map_err(fail)?,
            }
            let mode = if entry.program || matches!(entry.source, Source::Folder) {
                0o755
            } else {
                0o644
            };
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode)).map_err(fail)?;
        }
        // Folders made on the way took this process's umask.
        let mut open = vec![root.to_owned()];
        while let Some(dir) = open.pop() {
            let fail = |e| disk_failure("read", &dir, e);
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).map_err(fail)?;
            for entry in std::fs::read_dir(&dir).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                if entry.file_type().map_err(fail)?.is_dir() {
                    open.push(entry.path());
                }
            }
        }
        Ok(())
    }

    /// Makes `root.img` in `into`. `seed` (hex, 32 bytes) fixes the volume's id and the hash tree's salt.
    pub fn build(&self, sdk: &Sdk, seed: &str, into: &Path) -> Result<Verity, Failure> {
        let scratch = tempfile::Builder::new()
            .prefix(".root-")
            .tempdir_in(into)
            .map_err(|e| disk_failure("create a folder in", into, e))?;
        let tree = scratch.path().join("tree");
        std::fs::create_dir(&tree).map_err(|e| disk_failure("create", &tree, e))?;
        self.write_below(&tree)?;
        let sandbox = sdk.sandbox().read(&tree, "/work/").write(into, "/target");
        // Owners, times and the volume's id are fixed: equal trees give equal bytes.
        // Nothing is compressed: one changed line in a program would change every compressed byte
        // behind it, and all of them would be in the update.
        sandbox.run(
            "mkfs.erofs",
            &[
                "--quiet",
                "-T0",
                "-x-1",
                "--all-root",
                &format!("-U{}", uuid(seed)),
                "/target/root.img",
                "/work",
            ],
        )?;
        let image = into.join("root.img");
        let fail = |e| disk_failure("pad", &image, e);
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(&image)
            .map_err(fail)?;
        let data_blocks = file.metadata().map_err(fail)?.len().div_ceil(BLOCK);
        file.set_len(data_blocks * BLOCK).map_err(fail)?;
        let out = sandbox.run(
            "veritysetup",
            &[
                "format",
                "--no-superblock",
                "--format=1",
                "--hash=sha256",
                &format!("--data-blocks={data_blocks}"),
                &format!("--hash-offset={}", data_blocks * BLOCK),
                &format!("--salt={seed}"),
                "/target/root.img",
                "/target/root.img",
            ],
        )?;
        let text = String::from_utf8_lossy(&out.stdout);
        let root_hash = text
            .lines()
            .find_map(|l| l.strip_prefix("Root hash:"))
            .map(|h| h.trim().to_owned())
            .ok_or_else(|| {
                Failure::new("veritysetup printed no root hash").because(text.clone().into_owned())
            })?;
        Ok(Verity {
            data_blocks,
            root_hash,
            salt: seed.to_owned(),
        })
    }
}

/// The first 128 bits of a hash (hex) written as a UUID.
pub fn uuid(hash: &str) -> String {
    format!(
        "{}-{}-{}-{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[12..16],
        &hash[16..20],
        &hash[20..32]
    )
}
