//! What people read when something is wrong.

use super::key;
use crate::{BuildError, Error, PublicKey, Table};
use std::fmt::Write;
use std::io;

#[test]
fn texts() {
    let signer = key(1).public();
    let lost = || io::Error::other("the connection was lost");
    let errors = [
        Error::Io {
            what: "payloads",
            source: lost(),
        },
        Error::Truncated { what: "manifest" },
        Error::NotABundle,
        Error::Format { found: 2 },
        Error::SignatureCount { found: 3 },
        Error::ManifestLength { found: 1 << 30 },
        Error::SameSigner { signer },
        Error::UnknownSigner {
            signers: vec![signer],
        },
        Error::UnknownSigner {
            signers: vec![PublicKey([1; 32]), PublicKey([2; 32])],
        },
        Error::Signature { signer },
        Error::Rotation {
            why: "a new key is named, but has not signed",
        },
        Error::Manifest {
            why: "its notes contain control characters".into(),
        },
        Error::TableHash {
            table: Table::Chunks,
        },
        Error::Row {
            table: Table::Deltas,
            row: 12,
            why: "its chunk does not exist",
        },
        Error::Tables {
            why: "the payloads overlap or leave gaps",
        },
        Error::Length {
            expected: 1000,
            found: 900,
        },
        Error::Payload { chunk: 5 },
        Error::Unpack {
            chunk: 5,
            why: "Data corruption detected".into(),
        },
        Error::Content {
            chunk: 5,
            from: "copied from the running slot",
        },
        Error::Base { chunk: 5 },
        Error::Plan {
            why: "it names chunks that do not exist",
        },
    ];
    let mut told = String::new();
    for error in errors {
        writeln!(told, "{error}").expect("text");
        if let Some(source) = std::error::Error::source(&error) {
            writeln!(told, "    because: {source}").expect("text");
        }
        if let Some(hint) = error.hint() {
            writeln!(told, "    try: {hint}").expect("text");
        }
    }
    let building = [
        BuildError::Io {
            what: "slot image",
            source: lost(),
        },
        BuildError::SlotLength { found: 5000 },
        BuildError::Chunks { found: 70_000 },
        BuildError::SameKey,
        BuildError::Manifest {
            why: "its notes contain control characters".into(),
        },
        BuildError::Pack(lost()),
    ];
    for error in building {
        writeln!(told, "{error}").expect("text");
    }
    insta::assert_snapshot!(told);
}
