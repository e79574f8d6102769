//! Where the sources and the caches of a build are.

use crate::error::Failure;
use std::path::{Path, PathBuf};

/// The folders that a build reads and writes.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// The Roost checkout: sources of the box's programs, recipes, `roost.lock`.
    pub source: PathBuf,
    /// Downloads, SDK roots, compiled programs and finished steps; safe to delete.
    pub cache: PathBuf,
}

impl Workspace {
    /// Finds the checkout above the current folder or above this program, and the user's cache.
    pub fn find() -> Result<Self, Failure> {
        let starts = [std::env::current_dir().ok(), std::env::current_exe().ok()];
        let source = starts
            .iter()
            .flatten()
            .flat_map(|p| p.ancestors())
            .find(|p| p.join("image/components/debian.toml").is_file())
            .map(Path::to_owned)
            .ok_or_else(|| {
                Failure::new("no Roost checkout here")
                    .because("neither this folder nor the roost program lies in one")
                    .hint("run roost inside the checkout that it was built from")
            })?;
        Ok(Self {
            source,
            cache: cache_folder()?,
        })
    }

    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.source.join("roost.lock")
    }

    /// The recipe that `roost lock` resolves.
    pub fn recipe(&self) -> PathBuf {
        self.source.join("image/components/debian.toml")
    }
}

/// `$ROOST_CACHE`, else `roost` in the user's cache folder (XDG Base Directory Specification).
fn cache_folder() -> Result<PathBuf, Failure> {
    if let Some(dir) = std::env::var_os("ROOST_CACHE").filter(|d| !d.is_empty()) {
        return std::path::absolute(PathBuf::from(dir))
            .map_err(|e| Failure::new("ROOST_CACHE is no usable path").because(e));
    }
    let xdg = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|d| d.is_absolute());
    let home = || std::env::var_os("HOME").map(|h| Path::new(&h).join(".cache"));
    xdg.or_else(home).map(|d| d.join("roost")).ok_or_else(|| {
        Failure::new("no cache folder: HOME is not set")
            .hint("set HOME, XDG_CACHE_HOME or ROOST_CACHE")
    })
}
