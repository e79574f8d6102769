//! Writes zone files.

use std::fmt::Write as _;

use hickory_proto::rr::{Name, Record};

use super::convert;
use crate::generate::TTL;
use crate::records::Entry;

/// Widest column for names, in letters; longer ones push the rest of their line to the right.
const MAX_COLUMN: usize = 36;

/// A record to write, and what to say of it.
#[derive(Debug, Clone, Copy)]
pub struct Commented<'a> {
    /// The record.
    pub record: &'a Record,
    /// The comment above it, if any. Successive records with the same comment share it.
    pub why: Option<&'a str>,
}

impl<'a> From<&'a Entry> for Commented<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            record: &entry.record,
            why: Some(&entry.why),
        }
    }
}

/// Writes records as a zone file, in the order given. A zone file that others shall load needs the SOA first.
///
/// Every line stands for itself: it has its name, TTL, class and type, so that lines can be moved and
/// deleted. Types that the writer does not know are written as RFC 3597 says.
pub fn export<'a>(origin: &Name, records: impl IntoIterator<Item = Commented<'a>>) -> String {
    let lines: Vec<(Option<&str>, [String; 4])> = records
        .into_iter()
        .map(|Commented { record, why }| (why, columns(origin, record)))
        .collect();
    let width = |column: usize| {
        let widths = lines.iter().map(|(_, columns)| columns[column].len());
        widths
            .filter(|width| *width <= MAX_COLUMN)
            .max()
            .unwrap_or(0)
    };
    let (names, ttls, types) = (width(0), width(1), width(2));
    let mut text = format!("$ORIGIN {}\n$TTL {TTL}\n", written(origin));
    let mut above = None;
    for (why, [name, ttl, kind, data]) in &lines {
        if let Some(why) = why
            && above != Some(*why)
        {
            let _ = write!(text, "\n; {}\n", comment(why));
        }
        above = *why;
        let _ = writeln!(text, "{name:names$} {ttl:>ttls$} IN {kind:types$} {data}");
    }
    text
}

/// One record as an entry on one line, in the form that [`crate::extra::read`] takes.
pub fn line(origin: &Name, record: &Record) -> String {
    let [name, ttl, kind, data] = columns(origin, record);
    format!("{name} {ttl} IN {kind} {data}")
}

/// What a record contains, as it stands on its line: names in it are whole.
pub fn value(record: &Record) -> String {
    convert::type_and_data(record).1
}

fn columns(origin: &Name, record: &Record) -> [String; 4] {
    let (kind, data) = convert::type_and_data(record);
    [
        relative(origin, &record.name),
        record.ttl.to_string(),
        kind,
        data,
    ]
}

/// A name without the origin, if it is in it.
fn relative(origin: &Name, name: &Name) -> String {
    if name == origin {
        return "@".into();
    }
    let full = written(name);
    let tail = written(origin);
    if origin.is_root() || !origin.zone_of(name) {
        return full;
    }
    let head = full.len().saturating_sub(tail.len() + 1);
    full.get(..head).unwrap_or(&full).to_owned()
}

/// A name in full with the dot at its end. Whatever means something in a zone file is written as `\DDD`.
pub(super) fn written(name: &Name) -> String {
    let mut text = String::new();
    for label in name.iter() {
        for byte in label {
            if byte.is_ascii_alphanumeric() || b"-_*/+".contains(byte) {
                text.push(char::from(*byte).to_ascii_lowercase());
            } else {
                let _ = write!(text, "\\{byte:03}");
            }
        }
        text.push('.');
    }
    if text.is_empty() {
        text.push('.');
    }
    text
}

/// A comment on one line: a line feed in it would start a record.
fn comment(why: &str) -> String {
    why.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}
