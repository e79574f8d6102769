//! The bundle on this machine: its beginning, which the box asks for first, and its payloads.

use crate::cli::{BuildArgs, MakeArgs, UpdateArgs};
use crate::error::Failure;
use crate::ui::Ui;
use roost_bundle::{Error, TrustedKeys, Unverified};
use roost_service::update::{MAX_HEAD, Version};
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The bundle of what `roost.toml` describes; image and bundle are made if anything has changed.
///
/// # Errors
///
/// A [`Failure`] of the build or of `roost bundle make`.
pub fn bundle_for(args: &UpdateArgs, ui: &Ui) -> Result<PathBuf, Failure> {
    let build = BuildArgs {
        config: args.config.clone(),
        output: args.output.clone(),
        offline: false,
        release: None,
        record_syscalls: false,
    };
    let make = MakeArgs {
        build,
        notes: None,
        irreversible: false,
        from: Vec::new(),
        base: Vec::new(),
        signing_key: None,
        new_key: None,
        slot: None,
        root_hash: None,
        level: None,
        board: Vec::new(),
    };
    Ok(crate::bundle::make::make(&make, ui)?.bundle)
}

/// A bundle that is whole at its beginning. Whether the box trusts who signed it, the box decides.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    file: File,
    /// Everything before the first payload.
    head: Vec<u8>,
    /// What is in it.
    pub release: roost_bundle::Release,
    payload_bytes: u64,
}

impl Bundle {
    /// Opens a bundle and checks its beginning and its length.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be read, is damaged, or is too long for the device API.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let cannot = || Failure::new(format!("cannot use the bundle {}", path.display()));
        let io = |e: std::io::Error| cannot().because(e);
        let bad = |e: Error| {
            let hint = e.hint();
            let failure = cannot().because(e);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        };
        let file = File::open(path).map_err(io)?;
        let mut from = BufReader::new(&file);
        let unverified = Unverified::read(&mut from).map_err(bad)?;
        // Its own signers: this finds damage before anything is sent. Trust is the box's matter.
        let signers = TrustedKeys::new(unverified.claimed_signers());
        let verified = unverified.verify(&signers).map_err(bad)?;
        verified
            .check_length(file.metadata().map_err(io)?.len())
            .map_err(bad)?;
        verified.read_tables(&mut from).map_err(bad)?;
        let head_bytes = verified.payload_start();
        if head_bytes > MAX_HEAD {
            return Err(cannot().because(format!(
                "its tables have {head_bytes} bytes; the box takes {MAX_HEAD}"
            )));
        }
        let mut head = vec![0; usize::try_from(head_bytes).expect("it is at most MAX_HEAD")];
        file.read_exact_at(&mut head, 0).map_err(io)?;
        let manifest = verified.manifest();
        Ok(Self {
            path: path.to_owned(),
            release: manifest.release.clone(),
            payload_bytes: manifest.payload_bytes,
            head,
            file,
        })
    }

    /// Everything before the first payload.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// What it installs.
    pub fn version(&self) -> Version {
        Version {
            number: self.release.version,
            name: self.release.name.clone(),
        }
    }

    /// Bytes of the whole file.
    pub fn total_bytes(&self) -> u64 {
        self.head.len() as u64 + self.payload_bytes
    }

    /// Some of its bytes, counted from the beginning of the file.
    ///
    /// # Errors
    ///
    /// The file's own, also if it has become shorter.
    pub fn bytes(&self, range: Range<u64>) -> std::io::Result<Vec<u8>> {
        let length = usize::try_from(range.end - range.start).map_err(std::io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }

    /// Whether all ranges (first byte and byte behind the last, from the first payload on) are in it.
    pub fn has(&self, ranges: &[(u64, u64)]) -> bool {
        ranges
            .iter()
            .all(|(from, to)| from <= to && *to <= self.payload_bytes)
    }

    /// The payloads of `ranges`, one behind the other.
    pub fn payloads<'a>(&'a self, ranges: &'a [(u64, u64)]) -> Payloads<'a> {
        Payloads {
            bundle: self,
            left: ranges,
            at: ranges.first().map_or(0, |range| range.0),
        }
    }
}

/// Reads ranges of a bundle.
pub struct Payloads<'a> {
    bundle: &'a Bundle,
    left: &'a [(u64, u64)],
    /// The next byte, from the first payload on.
    at: u64,
}

impl Payloads<'_> {
    /// The next bytes into `buffer`; 0 at the end.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that names the file.
    pub fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let bundle = self.bundle;
        while let [(_, end), rest @ ..] = self.left {
            let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            if left == 0 {
                self.left = rest;
                self.at = rest.first().map_or(0, |range| range.0);
                continue;
            }
            let wanted = left.min(buffer.len());
            bundle
                .file
                .read_exact_at(&mut buffer[..wanted], bundle.head.len() as u64 + self.at)
                .map_err(|e| {
                    Failure::new(format!("cannot read the bundle {}", bundle.path.display()))
                        .because(e)
                })?;
            self.at += wanted as u64;
            return Ok(wanted);
        }
        Ok(0)
    }
}
