//! `roost bundle verify`.

use super::{open, refused};
use crate::cli::VerifyArgs;
use crate::config::Config;
use crate::error::Failure;
use crate::store::disk_failure;
use crate::ui::Ui;
use roost_bundle::{Check, Error, PublicKey, TrustedKeys, decode_chunk};
use serde::Serialize;
use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

/// What was found.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    bundle: String,
    number: u64,
    name: &'a str,
    signed_by: PublicKey,
    new_key: Option<PublicKey>,
}

/// `roost bundle verify`: the signature, and every byte behind it.
pub fn run(args: &VerifyArgs, ui: &Ui) -> Result<(), Failure> {
    let mut opened = open(&args.file, Some(&trusted(args)?))?;
    let verified = &opened.verified;
    let chunks = opened.tables.chunks();
    let step = ui.step("check the chunks");
    step.total_bytes(verified.manifest().slot.bytes);
    let start = verified.payload_start();
    let mut stored = Vec::new();
    let mut read = |at: u64, len: u32| -> Result<Vec<u8>, Failure> {
        stored.resize(len as usize, 0);
        // Payloads follow each other, so most of these steps stay within the buffer.
        let done = opened
            .from
            .seek(SeekFrom::Start(start + at))
            .and_then(|_| opened.from.read_exact(&mut stored));
        match done {
            Ok(()) => Ok(std::mem::take(&mut stored)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(refused(&args.file, Error::Truncated { what: "payloads" }))
            }
            Err(e) => Err(disk_failure("read", &args.file, e)),
        }
    };
    let mut seen = HashSet::new();
    for (row, chunk) in chunks.iter().enumerate() {
        if seen.insert(chunk.hash) && !chunk.is_zero() {
            let stored = read(chunk.payload, chunk.stored)?;
            decode_chunk(row, chunk, &stored).map_err(|e| refused(&args.file, e))?;
        }
        step.advance(chunk.len.into());
    }
    // A delta can be unpacked only where its base is. That its bytes are the signed ones can be told.
    for delta in opened.tables.deltas() {
        let chunk = delta.chunk as usize;
        if Check::of(&read(delta.payload, delta.stored)?) != delta.check {
            return Err(refused(&args.file, Error::Payload { chunk }));
        }
    }
    step.done("");

    let release = &verified.manifest().release;
    let whole = Whole {
        bundle: args.file.display().to_string(),
        number: release.version,
        name: &release.name,
        signed_by: verified.signed_by(),
        new_key: verified.new_key(),
    };
    let mut text = format!(
        "{} is whole: release {}, signed by {}\n",
        whole.bundle, whole.name, whole.signed_by
    );
    if let Some(new) = whole.new_key {
        text += &format!("After it the box trusts {new} instead.\n");
    }
    ui.result(text, &whole);
    Ok(())
}

/// The keys that were named, or those of the box.
fn trusted(args: &VerifyArgs) -> Result<TrustedKeys, Failure> {
    if !args.key.is_empty() {
        return Ok(TrustedKeys::new(args.key.iter().copied()));
    }
    if !args.config.exists() {
        return Err(Failure::usage("there is no key to check the bundle with")
            .because(format!("{} does not exist", args.config.display()))
            .hint("name the key with --key, or the box's configuration with --config"));
    }
    let keys = Config::load(&args.config)?.update.keys;
    if keys.is_empty() {
        return Err(Failure::usage(format!(
            "{} has no keys in [update] to check the bundle with",
            args.config.display()
        ))
        .hint("name the key with --key"));
    }
    Ok(TrustedKeys::new(keys))
}
