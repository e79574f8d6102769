//! Between this program's records and those of the `domain` crate, by way of the wire form, and between
//! these and text.

use bytes::Bytes;
use domain::base::iana::{Class, Rtype};
use domain::base::name::Name as DomainName;
use domain::base::record::ParsedRecord;
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt};
use domain::dep::octseq::Parser;
use domain::rdata::ZoneRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use hickory_proto::rr::{Name, RData, Record};
use hickory_proto::serialize::binary::{
    BinDecodable, BinDecoder, BinEncodable, BinEncoder, NameEncoding,
};

/// Number of the class that the internet uses.
const IN: u16 = 1;

/// Reads an entry that fits on one line: owner, TTL, class, type and data. Names without a dot at the end
/// are below `origin`.
pub(super) fn read(text: &str, origin: &Name) -> Result<Record, String> {
    let mut file = Zonefile::from(text);
    file.extend_from_slice(b"\n");
    let origin = wire_name(origin)?;
    let origin = DomainName::from_octets(Bytes::from(origin)).map_err(|error| error.to_string())?;
    file.set_origin(origin);
    file.set_default_class(Class::IN);
    let entry = file
        .next_entry()
        .map_err(|error| reason(&error.to_string()))?;
    let Some(Entry::Record(record)) = entry else {
        return Err("it is not a record".into());
    };
    let mut wire = Vec::new();
    record
        .compose(&mut wire)
        .map_err(|error| error.to_string())?;
    let mut decoder = BinDecoder::new(&wire);
    let record = Record::read(&mut decoder).map_err(|error| error.to_string())?;
    match record.data {
        // What the library makes of any type without data; only dynamic updates have such records.
        RData::Update0(_) => Err("it has no data".into()),
        _ => Ok(record),
    }
}

/// The library's words without the position, which is one within a text that the owner has not seen.
fn reason(error: &str) -> String {
    match error.split_once(": ").map_or(error, |(_, words)| words) {
        "trailing tokens" => "there is too much at its end".into(),
        "unexpected end of entry" => "something is missing at its end".into(),
        "bad symbol" => {
            "it has a letter that cannot stand there; names with letters beyond a to z are written in the \
             form that begins with xn--"
                .into()
        }
        "unknown record type with concrete data" => {
            "this type can only be given as bytes, like: TYPE29 \\# 4 00010203".into()
        }
        words => words.into(),
    }
}

/// Number of a record type, from its mnemonic or `TYPE123` (RFC 3597, section 5).
pub(super) fn type_number(text: &str) -> Option<u16> {
    text.parse::<Rtype>().ok().map(|rtype| rtype.to_int())
}

/// Number of a class, from its mnemonic or `CLASS123`.
pub(super) fn class_number(text: &str) -> Option<u16> {
    text.parse::<Class>().ok().map(|class| class.to_int())
}

/// Whether a class is the internet's.
pub(super) fn is_internet(class: u16) -> bool {
    class == IN
}

/// Type and data of a record in presentation format. A form that would not be read back as the same record
/// gives way to that for unknown types (RFC 3597).
pub(super) fn type_and_data(record: &Record) -> (String, String) {
    let wire = wire(record);
    let rtype = Rtype::from_int(record.record_type().into()).to_string();
    if let Some(data) = mnemonic(&wire) {
        let text = format!(". {} IN {rtype} {data}", record.ttl);
        let same = |again: Record| again.data == record.data;
        if read(&text, &Name::root()).is_ok_and(same) {
            return (rtype, data);
        }
    }
    (rtype, unknown(&wire, record))
}

fn mnemonic(wire: &[u8]) -> Option<String> {
    let mut parser = Parser::from_ref(wire);
    let parsed = ParsedRecord::parse(&mut parser).ok()?;
    let record = parsed.to_record::<ZoneRecordData<_, _>>().ok()??;
    let text = record
        .data()
        .display_zonefile(DisplayKind::Simple)
        .to_string();
    (!text.contains('\n')).then_some(text)
}

/// `\# LENGTH HEX`.
fn unknown(wire: &[u8], record: &Record) -> String {
    // Behind the owner's name come type, class, TTL and length: 10 bytes.
    let owner = wire_name(&record.name).map_or(0, |name| name.len());
    let data = wire.get(owner + 10..).unwrap_or_default();
    let mut text = format!("\\# {}", data.len());
    if !data.is_empty() {
        text.push(' ');
    }
    text.extend(data.iter().map(|byte| format!("{byte:02x}")));
    text
}

/// A record's wire form without compression; empty if it has none, which no record that was read has.
pub(crate) fn wire(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    match record.emit(&mut encoder) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

fn wire_name(name: &Name) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    name.emit(&mut encoder).map_err(|error| error.to_string())?;
    Ok(bytes)
}
