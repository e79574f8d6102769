//! Reads FAT16 and FAT32 file systems, and says where on the disk a file lies.
//!
//! The emulator reads slots with it as the firmware does; the builder asks
//! whether `root.img` lies in one piece and where. Own code, because the
//! released `fatfs` (0.3) cannot give a file's extents and opens a broken file
//! system without complaint: here everything is checked against the bounds of
//! the file system, and a chain of clusters that runs in a circle is an error.
//!
//! Specification: Microsoft, "FAT: General Overview of On-Disk Format" 1.03.
//! Not read: FAT12 (no board boots from it here), labels, times, deleted files.

mod folder;
mod volume;

use folder::Entry;
use std::io::{self, Read, Seek, SeekFrom, Write};
use thiserror::Error;
use volume::{Volume, Width};

/// Most bytes that a folder may have: 65,536 entries (the specification's limit).
const MAX_FOLDER: u64 = 65_536 * folder::ENTRY as u64;

/// Why something cannot be read.
#[derive(Debug, Error)]
pub enum FatError {
    /// The disk cannot be read.
    #[error("the disk cannot be read")]
    Io(#[from] io::Error),
    /// The boot sector is not one of FAT16 or FAT32.
    #[error("this is no FAT16 or FAT32 file system: {0}")]
    NotFat(&'static str),
    /// No such file or folder.
    #[error("{0} does not exist")]
    NotFound(String),
    /// A folder where a file is expected, or the other way round.
    #[error("{path} is {found}")]
    WrongKind {
        /// Path in the file system.
        path: String,
        /// `a folder` or `a file`.
        found: &'static str,
    },
    /// The file is larger than the caller wants to read.
    #[error("{path} has {size} bytes, more than {limit}")]
    TooLarge {
        /// Path in the file system.
        path: String,
        /// Its size in bytes.
        size: u64,
        /// The caller's limit in bytes.
        limit: u64,
    },
    /// The file system contradicts itself.
    #[error("the file system is damaged at {path}: {reason}")]
    Damaged {
        /// Path in the file system.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A run of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Byte offset from the start of the file system.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// A file or folder in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Long name if there is one, otherwise the short one.
    pub name: String,
    /// Bytes of a file, 0 for a folder.
    pub size: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// When it was last written, as FAT notes it: only good to be compared.
    pub modified: u32,
}

/// A FAT file system on something that can be read.
#[derive(Debug)]
pub struct FileSystem<D> {
    disk: D,
    /// Byte offset of the file system on the disk.
    base: u64,
    volume: Volume,
    /// The piece of the FAT read last, and its offset: chains are mostly runs.
    cached: Vec<u8>,
    cached_at: Option<u64>,
}

/// Bytes of the FAT read at once.
const CACHE: u64 = 4096;

impl<D: Read + Seek> FileSystem<D> {
    /// Opens a file system that takes up the whole of `disk`.
    ///
    /// # Errors
    /// When the boot sector is not one of FAT16 or FAT32, or says that the
    /// file system is larger than `disk`.
    pub fn open(mut disk: D) -> Result<Self, FatError> {
        let bytes = disk.seek(SeekFrom::End(0))?;
        Self::open_at(disk, 0, bytes)
    }

    /// Opens the file system at byte `offset` of `disk`, which has `bytes` bytes there.
    ///
    /// # Errors
    /// As [`FileSystem::open`].
    pub fn open_at(mut disk: D, offset: u64, bytes: u64) -> Result<Self, FatError> {
        let mut sector = [0; 512];
        if bytes < sector.len() as u64 {
            return Err(FatError::NotFat("it is shorter than a sector"));
        }
        disk.seek(SeekFrom::Start(offset))?;
        disk.read_exact(&mut sector)?;
        let volume = Volume::from_boot_sector(&sector, bytes).map_err(FatError::NotFat)?;
        Ok(Self {
            disk,
            base: offset,
            volume,
            cached: Vec::new(),
            cached_at: None,
        })
    }

    /// What a folder holds, in its own order; `""` is the root.
    ///
    /// # Errors
    /// When the folder does not exist or the file system is damaged.
    pub fn list(&mut self, path: &str) -> Result<Vec<Item>, FatError> {
        let entries = self.folder(path)?;
        Ok(entries
            .into_iter()
            .map(|e| Item {
                size: u64::from(e.size),
                is_folder: e.is_folder,
                modified: e.modified,
                name: e.name,
            })
            .collect())
    }

    /// Whether there is a file of this path.
    ///
    /// # Errors
    /// When the file system is damaged.
    pub fn has_file(&mut self, path: &str) -> Result<bool, FatError> {
        match self.file(path) {
            Ok(_) => Ok(true),
            Err(FatError::NotFound(_) | FatError::WrongKind { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A file's bytes, of which there may be at most `limit`.
    ///
    /// # Errors
    /// When the file does not exist, is larger, or the file system is damaged.
    pub fn read(&mut self, path: &str, limit: u64) -> Result<Vec<u8>, FatError> {
        let size = u64::from(self.file(path)?.size);
        if size > limit {
            return Err(FatError::TooLarge {
                path: path.to_owned(),
                size,
                limit,
            });
        }
        let mut bytes = Vec::new();
        self.copy(path, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes a file's bytes to `to` and returns how many they were.
    ///
    /// # Errors
    /// When the file does not exist, the file system is damaged, or `to` fails
    /// ([`FatError::Io`]).
    pub fn copy(&mut self, path: &str, to: &mut impl Write) -> Result<u64, FatError> {
        let mut total = 0;
        for extent in self.extents(path)? {
            self.disk.seek(SeekFrom::Start(self.base + extent.offset))?;
            let copied = io::copy(&mut (&mut self.disk).take(extent.bytes), to)?;
            if copied < extent.bytes {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            total += copied;
        }
        Ok(total)
    }

    /// Where a file's bytes lie, in order; neighbours are joined, so one extent
    /// means that the file lies in one piece. An empty file has none.
    ///
    /// # Errors
    /// When the file does not exist or the file system is damaged.
    pub fn extents(&mut self, path: &str) -> Result<Vec<Extent>, FatError> {
        let entry = self.file(path)?;
        self.chain(path, entry.cluster, Some(u64::from(entry.size)))
    }

    /// Byte offset of the end of the file that lies last, of those in the root folder itself.
    ///
    /// # Errors
    /// When the file system is damaged.
    pub fn end_of_files(&mut self) -> Result<u64, FatError> {
        let mut end = 0;
        for item in self.list("")? {
            if item.is_folder {
                continue;
            }
            for extent in self.extents(&item.name)? {
                end = end.max(extent.offset + extent.bytes);
            }
        }
        Ok(end)
    }

    /// Where the root folder lies, in order.
    ///
    /// # Errors
    /// When the file system is damaged.
    pub fn root_extents(&mut self) -> Result<Vec<Extent>, FatError> {
        self.root()
    }

    /// The extents of a chain of clusters: of `bytes` bytes, or to the chain's
    /// end (a folder, whose size is written nowhere).
    fn chain(
        &mut self,
        path: &str,
        first: u32,
        bytes: Option<u64>,
    ) -> Result<Vec<Extent>, FatError> {
        let damaged = |reason| FatError::Damaged {
            path: path.to_owned(),
            reason,
        };
        let cluster_bytes = self.volume.cluster_bytes();
        let mut extents: Vec<Extent> = Vec::new();
        let mut left = bytes.unwrap_or(MAX_FOLDER);
        let mut cluster = first;
        let mut walked = 0;
        while left > 0 {
            walked += 1;
            if walked > self.volume.clusters() {
                return Err(damaged("its chain of clusters runs in a circle"));
            }
            let Some(offset) = self.volume.cluster_offset(cluster) else {
                return Err(damaged("its chain leads to a cluster that does not exist"));
            };
            let take = left.min(cluster_bytes);
            match extents.last_mut() {
                Some(last) if last.offset + last.bytes == offset => last.bytes += take,
                _ => extents.push(Extent {
                    offset,
                    bytes: take,
                }),
            }
            left -= take;
            match self.next(cluster)? {
                Some(next) => cluster = next,
                None if bytes.is_some() && left > 0 => {
                    return Err(damaged("its chain of clusters ends before the file does"));
                }
                None => return Ok(extents),
            }
        }
        match bytes {
            Some(_) => Ok(extents),
            None => Err(damaged(
                "it has more than 65,536 entries, or its chain runs in a circle",
            )),
        }
    }

    /// The cluster that follows `cluster`, which exists; `None` at the end of the chain.
    fn next(&mut self, cluster: u32) -> Result<Option<u32>, FatError> {
        let (offset, width) = self.volume.fat_entry(cluster);
        let window = offset - offset % CACHE;
        if self.cached_at != Some(window) {
            self.cached_at = None;
            let bytes = CACHE.min(self.volume.fat_end() - window);
            self.cached.resize(usize::try_from(bytes).unwrap_or(0), 0);
            self.disk.seek(SeekFrom::Start(self.base + window))?;
            self.disk.read_exact(&mut self.cached)?;
            self.cached_at = Some(window);
        }
        let at = usize::try_from(offset - window).unwrap_or(usize::MAX);
        let bytes = self.cached.get(at..).unwrap_or_default();
        Ok(match (width, bytes) {
            (Width::Fat16, [a, b, ..]) => {
                let next = u16::from_le_bytes([*a, *b]);
                (next < 0xfff8).then_some(u32::from(next))
            }
            (Width::Fat32, [a, b, c, d, ..]) => {
                // The upper four bits are reserved and must be ignored.
                let next = u32::from_le_bytes([*a, *b, *c, *d]) & 0x0fff_ffff;
                (next < 0x0fff_fff8).then_some(next)
            }
            _ => return Err(FatError::NotFat("an entry lies outside of the FAT")),
        })
    }

    fn file(&mut self, path: &str) -> Result<Entry, FatError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entry = self.find(folder, name, path)?;
        if entry.is_folder {
            return Err(FatError::WrongKind {
                path: path.to_owned(),
                found: "a folder",
            });
        }
        Ok(entry)
    }

    fn find(&mut self, folder: &str, name: &str, path: &str) -> Result<Entry, FatError> {
        self.folder(folder)?
            .into_iter()
            .find(|e| e.is_called(name))
            .ok_or_else(|| FatError::NotFound(path.to_owned()))
    }

    fn folder(&mut self, path: &str) -> Result<Vec<Entry>, FatError> {
        let mut here = String::new();
        let mut extents = self.root()?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let entries = self.entries(&extents)?;
            if !here.is_empty() {
                here.push('/');
            }
            here.push_str(name);
            let Some(entry) = entries.into_iter().find(|e| e.is_called(name)) else {
                return Err(FatError::NotFound(here));
            };
            if !entry.is_folder {
                return Err(FatError::WrongKind {
                    path: here,
                    found: "a file",
                });
            }
            // Cluster 0 in a ".." entry means the root.
            extents = match entry.cluster {
                0 => self.root()?,
                cluster => self.chain(&here, cluster, None)?,
            };
        }
        self.entries(&extents)
    }

    fn root(&mut self) -> Result<Vec<Extent>, FatError> {
        match self.volume.root() {
            volume::Root::At(extent) => Ok(vec![extent]),
            volume::Root::Cluster(cluster) => self.chain("the root folder", cluster, None),
        }
    }

    fn entries(&mut self, extents: &[Extent]) -> Result<Vec<Entry>, FatError> {
        let mut bytes = Vec::new();
        for extent in extents {
            self.disk.seek(SeekFrom::Start(self.base + extent.offset))?;
            let read = (&mut self.disk)
                .take(extent.bytes)
                .read_to_end(&mut bytes)?;
            if (read as u64) < extent.bytes {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(folder::parse(&bytes))
    }
}

#[cfg(test)]
pub(crate) mod tests;
