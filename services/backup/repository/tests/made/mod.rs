//! Boxes that are made up, for repositories to be made of.

#![allow(
    dead_code,
    missing_docs,
    reason = "each file of tests has its own need of it"
)]

use roost_backup_repository::code::Code;
use roost_backup_repository::contents::Contents;
use roost_backup_repository::repository::{About, Backup, Error, Repository};
use roost_backup_repository::source::Stream;
use roost_backup_repository::store::Store;
use roost_service::snapshot::{Head, Held, read_head};
use std::io::Cursor;
use std::sync::Arc;

/// A Monday, 15 January 2024.
pub const BEGIN: u64 = 1_705_276_800;

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// What a service sends of its files.
pub fn sent<'a>(files: impl IntoIterator<Item = (&'a str, u32, Vec<u8>)>) -> Vec<u8> {
    let mut held = Held::new(());
    for (path, mode, bytes) in files {
        held.add_bytes(path, mode, bytes);
    }
    let mut sent = Vec::new();
    held.write_to(&mut sent).unwrap();
    sent
}

/// The same as it is read.
pub fn stream(folder: &str, user: u32, sent: Vec<u8>) -> Stream {
    let mut from = Cursor::new(sent);
    let Head::Files(items) = read_head(&mut from).unwrap() else {
        panic!("refused")
    };
    Stream {
        folder: folder.into(),
        items,
        user,
        from: Box::new(from),
    }
}

/// A backup of a box with this store of mail, and with a key beside it.
pub fn back_up(
    store: Arc<dyn Store>,
    code: &Code,
    made_s: u64,
    mail: &[u8],
) -> Result<(Backup, Contents), Error> {
    let files = [
        ("mail.sqlite3", 0o600, mail.to_vec()),
        ("keys/dkim.pem", 0o640, b"secret".to_vec()),
        ("keys.old", 0o600, Vec::new()),
    ];
    let about = About {
        name: "attic".into(),
        version: "0.1.0+7".into(),
        made_s,
        services: vec![],
    };
    let streams = vec![stream("services/mail", 800, sent(files))];
    Repository::open_or_begin(store, code)?.back_up(about, streams, |_, _| {})
}
