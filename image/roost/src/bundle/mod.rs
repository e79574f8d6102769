//! `roost bundle`: makes, shows and checks update bundles.
//!
//! - [`make`] packs the slot of the built image, with deltas against earlier ones.
//! - [`base`] finds the slots of earlier releases.
//! - [`show`] tells what is in a bundle; [`verify`] checks every byte of one.
//! - [`part`] reads a part of a file as if it were a whole one.

mod base;
pub mod make;
mod part;
mod show;
mod verify;

use crate::cli::{BundleArgs, BundleCommand};
use crate::error::Failure;
use crate::store::disk_failure;
use crate::ui::Ui;
use roost_bundle::{PublicKey, Tables, TrustedKeys, Unverified, Verified};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// `roost bundle`.
pub fn run(args: &BundleArgs, ui: &Ui) -> Result<(), Failure> {
    match &args.command {
        BundleCommand::Make(args) => make::run(args, ui),
        BundleCommand::Inspect(args) => show::run(args, ui),
        BundleCommand::Verify(args) => verify::run(args, ui),
    }
}

/// A bundle whose head was read and found right.
struct Opened {
    verified: Verified,
    /// All whose signature it has, in their order.
    signers: Vec<PublicKey>,
    tables: Tables,
    /// At the first payload.
    from: BufReader<File>,
}

/// Reads the head of a bundle that one of `trusted` has signed; `None`: that whoever it names has signed.
fn open(path: &Path, trusted: Option<&TrustedKeys>) -> Result<Opened, Failure> {
    let fail = |e| disk_failure("read", path, e);
    let file = File::open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if meta.is_dir() {
        return Err(fail(std::io::ErrorKind::IsADirectory.into()));
    }
    let mut from = BufReader::with_capacity(1 << 17, file);
    let refuse = |e| refused(path, e);
    let unverified = Unverified::read(&mut from).map_err(refuse)?;
    let signers: Vec<PublicKey> = unverified.claimed_signers().collect();
    let named = || TrustedKeys::new(signers.iter().copied());
    let trusted = trusted.cloned().unwrap_or_else(named);
    // All signatures are checked, whoever is trusted.
    let verified = unverified.verify(&trusted).map_err(refuse)?;
    verified.check_length(meta.len()).map_err(refuse)?;
    let tables = verified.read_tables(&mut from).map_err(refuse)?;
    Ok(Opened {
        verified,
        signers,
        tables,
        from,
    })
}

/// Why a bundle cannot be used, with the library's hint.
fn refused(path: &Path, error: roost_bundle::Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(format!("cannot use {}", path.display())).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
