//! Canonical form of record data (RFC 4034, section 6.2, as changed by RFC 6840, section 5.1).

use hickory_proto::ProtoError;
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{RData, Record, RecordType};
use hickory_proto::serialize::binary::{
    BinDecoder, BinEncodable, BinEncoder, NameEncoding, Restrict,
};

/// The octets of `data` that are signed and sorted by: names in full, in lower case where the RFC says so.
pub fn wire(data: &RData) -> Result<Vec<u8>, ProtoError> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder)?;
    if let Some(names) = names_within(data.record_type()) {
        lower(&mut bytes, names);
    }
    Ok(bytes)
}

/// `data` with its names in the case they are signed in, and the octets of that.
///
/// hickory sorts an RRset by the octets *as given* and lower-cases afterwards. Two name servers that differ in
/// case only before the sort would be signed in the wrong order, so the zone is served in this form.
pub fn normal(data: &RData) -> Result<(RData, Vec<u8>), ProtoError> {
    let bytes = wire(data)?;
    if bytes.is_empty() {
        return Ok((data.clone(), bytes));
    }
    let length = u16::try_from(bytes.len())
        .map_err(|_| ProtoError::from("record data over 65535 octets"))?;
    let mut decoder = BinDecoder::new(&bytes);
    let normal = RData::read(&mut decoder, data.record_type(), Restrict::new(length))?;
    // What hickory reads and writes back differently is kept as it was given.
    if wire(&normal)? == bytes {
        return Ok((normal, bytes));
    }
    let rdata = NULL::with(bytes.clone());
    Ok((
        RData::Unknown {
            code: data.record_type(),
            rdata,
        },
        bytes,
    ))
}

/// Where the names are in data of types that hickory keeps as plain octets and that have a canonical form:
/// octets before the first name, and the number of names.
fn names_within(kind: RecordType) -> Option<(usize, usize)> {
    match u16::from(kind) {
        // MD, MF, MB, MG, MR, DNAME
        3 | 4 | 7 | 8 | 9 | 39 => Some((0, 1)),
        // MINFO, RP
        14 | 17 => Some((0, 2)),
        // AFSDB, RT, KX
        18 | 21 | 36 => Some((2, 1)),
        // PX
        26 => Some((2, 2)),
        _ => None,
    }
}

/// Lower-cases uncompressed names; stops where there is none.
fn lower(bytes: &mut [u8], (skip, names): (usize, usize)) {
    let mut at = skip;
    for _ in 0..names {
        while let Some(&length) = bytes.get(at) {
            let end = at + 1 + usize::from(length);
            let Some(label) = bytes.get_mut(at + 1..end) else {
                return;
            };
            label.make_ascii_lowercase();
            at = end;
            if length == 0 {
                break;
            }
        }
    }
}

/// Sorts records by name, type and data (RFC 4034, section 6). Their data must be in canonical form.
pub fn sort(records: &mut [Record]) {
    records.sort_by_cached_key(|record| {
        let wire = wire(&record.data).unwrap_or_default();
        (record.name.clone(), record.record_type(), wire)
    });
}
