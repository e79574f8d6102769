//! Zones from master files, read by BIND's own tool: it knows every type's text form.

use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use roost_dns::records::Signed;
use std::path::Path;
use std::process::Command;

/// Loads a zone with all that is in it.
pub fn load(origin: &str, file: &Path) -> Signed {
    let raw = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut command = Command::new("named-compilezone");
    command.args(["-q", "-i", "none", "-k", "ignore", "-F", "raw", "-o"]);
    command.arg(raw.path()).arg(origin).arg(file);
    let output = command
        .output()
        .expect("named-compilezone is missing: apt-get install bind9-utils");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "named-compilezone {origin}: {text}"
    );
    let mut records = read_raw(&std::fs::read(raw.path()).expect("the compiled zone"));
    records.sort_by_key(|record| record.record_type() != RecordType::SOA);
    let RData::SOA(soa) = &records[0].data else {
        panic!("{origin} has no SOA")
    };
    let serial = soa.serial;
    Signed {
        origin: Name::from_ascii(origin).expect("a name"),
        serial,
        records,
        expires: None,
    }
}

/// BIND's raw format, version 1: a header, then sets of records as they are sent.
fn read_raw(bytes: &[u8]) -> Vec<Record> {
    let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let long = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    assert_eq!((long(0), long(4)), (2, 1), "raw format, version 1");
    let mut at = 24;
    let mut records = Vec::new();
    while at < bytes.len() {
        let (class, kind, ttl) = (short(at + 4), short(at + 6), long(at + 10));
        let count = long(at + 14);
        let length = usize::from(short(at + 18));
        let owner = &bytes[at + 20..at + 20 + length];
        at += 20 + length;
        for _ in 0..count {
            let size = usize::from(short(at));
            let data = &bytes[at..at + 2 + size];
            let mut whole = owner.to_vec();
            whole.extend_from_slice(&kind.to_be_bytes());
            whole.extend_from_slice(&class.to_be_bytes());
            whole.extend_from_slice(&ttl.to_be_bytes());
            whole.extend_from_slice(data);
            let record = Record::read(&mut BinDecoder::new(&whole));
            records.push(record.unwrap_or_else(|error| panic!("type {kind}: {error}")));
            at += 2 + size;
        }
    }
    records
}
