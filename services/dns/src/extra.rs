//! The owner's own records beside those that the box makes.
//!
//! What the owner gives is believed as far as it cannot break the box: records that mail delivery, signatures
//! or the zone itself depend on stay the box's. Everything else that the box makes gives way to a record of
//! the owner's:
//!
//! | The owner gives | It replaces |
//! |---|---|
//! | A or AAAA | both kinds of addresses that the box gave the name |
//! | TXT with `v=spf1` | SPF of that name |
//! | TXT at `_dmarc`, `_smtp._tls` | the text there |
//! | MX below the domain, SRV | the records of that name and type |
//! | CAA with `issuewild` at the domain | the ban on certificates for all names at once |
//! | CNAME | everything at that name |
//!
//! | Never replaced | Because |
//! |---|---|
//! | NS and CNAME at the domain itself, SOA, DNSSEC | without them there is no zone |
//! | MX at the domain itself | MTA-STS and DANE promise that mail goes to the box |
//! | addresses of the mail server, name servers and `mta-sts` | nothing would find them |
//! | CAA of names with a certificate of the box's | it could not be renewed |
//! | TLSA of the mail server, `_mta-sts`, the box's DKIM keys | they change with keys that only the box knows |

mod merge;
mod rules;

#[cfg(test)]
mod tests;

use std::fmt;

use hickory_proto::rr::Name;

use crate::records::{Entry, Source};
use crate::zonefile::{Reader, Step, split};

pub use merge::{Merged, Replaced, merge};
pub(crate) use rules::{Verdict, judge, refused_type};

/// Most records of an owner's in one zone. Signing takes about a tenth of a millisecond for each on a Pi 3.
pub const MAX_RECORDS: usize = 2000;
/// Most text of all records together, in bytes.
pub const MAX_BYTES: usize = 256 << 10;
/// Most data of one name and type together, in bytes: it is sent as one answer, of at most 65,535 bytes with
/// its signatures, and nobody likes to be sent that much.
pub const MAX_SET: usize = 16 << 10;
/// Longest that others keep an owner's record, in seconds: a day. A longer time is lowered to it without a
/// word, since it was never more than permission. Signatures have to outlive it.
pub const MAX_TTL: u32 = 86_400;

/// A record as the owner gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its line, from 1.
    pub line: usize,
    /// The line's text. From [`read`]: shortened for messages. From [`crate::zonefile::import`]: in full, to be
    /// kept and given to [`read`] later.
    pub text: String,
    /// The record.
    pub entry: Entry,
}

/// Why a record cannot be taken, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line, text, reason, ..
        } = self;
        if text.is_empty() {
            return write!(f, "line {line}: {reason}");
        }
        write!(f, "line {line} ({text}): {reason}")
    }
}

impl std::error::Error for Problem {}

/// Reads records, one on each line: name (relative to the domain, or with a dot at its end), TTL, class, type
/// and data, of which TTL and class can be left out. A comment becomes the record's explanation. Empty lines
/// and lines that are only a comment are passed over.
///
/// # Errors
/// All that is wrong with the lines, each by itself. How they fit the zone is for [`merge`] to say.
pub fn read<S: AsRef<str>>(origin: &Name, lines: &[S]) -> Result<Vec<Given>, Vec<Problem>> {
    let bytes: usize = lines.iter().map(|line| line.as_ref().len()).sum();
    if bytes > MAX_BYTES || lines.len() > MAX_RECORDS {
        return Err(vec![Problem {
            line: lines.len().min(MAX_RECORDS + 1),
            text: String::new(),
            reason: format!("there are {} lines of {bytes} bytes", lines.len()),
            hint: format!(
                "At most {MAX_RECORDS} lines of {MAX_BYTES} bytes together can be kept here."
            ),
        }]);
    }
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    for (index, line) in lines.iter().enumerate() {
        let text = line.as_ref().trim();
        match one(origin, text) {
            Ok(None) => {}
            Ok(Some(entry)) => given.push(Given {
                line: index + 1,
                text: shortened(text),
                entry,
            }),
            Err((reason, hint)) => problems.push(Problem {
                line: index + 1,
                text: shortened(text),
                reason,
                hint: hint.into(),
            }),
        }
    }
    if problems.is_empty() {
        Ok(given)
    } else {
        Err(problems)
    }
}

/// Reads a line, or says what is wrong and what to do.
fn one(origin: &Name, text: &str) -> Result<Option<Entry>, (String, &'static str)> {
    const HINT: &str = "Write it like: www 3600 IN A 192.0.2.1";
    if text.contains(['\n', '\r']) {
        return Err((
            "it is more than one line".into(),
            "Give each record by itself.",
        ));
    }
    let Some(entry) = split(text).pop() else {
        return Ok(None);
    };
    let words = entry.map_err(|unreadable| (unreadable.reason.to_owned(), HINT))?;
    let mut reader = Reader::new(origin, |number| refused_type(number).is_some());
    match reader.read(&words).map_err(|reason| (reason, HINT))? {
        Step::Record(record) => {
            let why = words.comment.unwrap_or_else(|| "Added by you.".into());
            Ok(Some(owned(*record, why)))
        }
        Step::Skipped(number) => Err(match refused_type(number) {
            Some(refusal) => (refusal.reason.into(), refusal.hint),
            None => ("this type cannot be given".into(), HINT),
        }),
        Step::Setting | Step::Wants(_) => Err((
            "lines that begin with $ belong into zone files".into(),
            HINT,
        )),
    }
}

/// An owner's record.
pub(crate) fn owned(mut record: hickory_proto::rr::Record, why: String) -> Entry {
    record.ttl = record.ttl.min(MAX_TTL);
    Entry {
        record,
        source: Source::Owner,
        why,
    }
}

/// A line's text as it is repeated in messages: a key of two thousand letters would hide the rest.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    let visible = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut short: String = visible.take(MOST).collect();
    if text.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}
