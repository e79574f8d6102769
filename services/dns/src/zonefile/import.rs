//! Reads another name server's zone file.

use hickory_proto::rr::{Name, Record};

use super::entry::{Reader, Step};
use super::split::split;
use crate::extra::{Given, MAX_RECORDS, Verdict, judge, merge, owned, refused_type, shortened};
use crate::records::Zone;

/// Largest zone file, in bytes. What a server of tens of thousands of names has is not for this box.
pub const MAX_IMPORT: usize = 4 << 20;

/// What becomes of a zone file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Records to keep as the owner's. They fit the zone and each other.
    pub keep: Vec<Given>,
    /// Entries that are left out, in the file's order.
    pub left: Vec<Left>,
}

/// An entry that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The line it begins on, from 1.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// Why.
    pub reason: String,
}

/// Why a zone file is not read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is larger than [`MAX_IMPORT`].
    #[error("the zone file has {0} bytes, at most {MAX_IMPORT} can be read")]
    TooLarge(usize),
    /// More records would be kept than [`MAX_RECORDS`](crate::extra::MAX_RECORDS).
    #[error("the zone file has {0} records of your own, the box keeps at most {MAX_RECORDS}")]
    TooMany(usize),
    /// It lacks a part, so that its records are not all.
    #[error(
        "line {line}: {directive} stands for records that are not in this file; \
         let your name server write the whole zone into one file (named-compilezone does), and import that"
    )]
    Partial {
        /// The line, from 1.
        line: usize,
        /// The directive.
        directive: &'static str,
    },
}

/// Reads a zone file and keeps what the box does not make itself. `zone` is what the box makes.
///
/// An entry that is wrong, or that the box makes itself, is left out with its reason, and the rest is read.
///
/// # Errors
/// If the file is too large, or refers to others.
pub fn import(text: &str, zone: &Zone) -> Result<Imported, ImportError> {
    if text.len() > MAX_IMPORT {
        return Err(ImportError::TooLarge(text.len()));
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut reader = Reader::new(&zone.origin, |number| refused_type(number).is_some());
    let (mut keep, mut left) = (Vec::new(), Vec::new());
    for entry in split(text) {
        let (line, step, comment) = match entry {
            Ok(words) => (words.line, reader.read(&words), words.comment),
            Err(unreadable) => (unreadable.line, Err(unreadable.reason.to_owned()), None),
        };
        let reason = match step {
            Ok(Step::Setting) => continue,
            Ok(Step::Wants(directive)) => return Err(ImportError::Partial { line, directive }),
            Ok(Step::Skipped(number)) => refused_type(number).map_or("", |r| r.reason).to_owned(),
            Ok(Step::Record(record)) => match judge(zone, &record) {
                Verdict::Beside => {
                    let why = comment.unwrap_or_else(|| "From the zone file you brought along.".into());
                    keep.push(Given {
                        line,
                        text: super::line(&zone.origin, &record),
                        entry: owned(*record, why),
                    });
                    continue;
                }
                Verdict::Same(_) => "the box makes this record itself".into(),
                Verdict::Replaces(_) => {
                    "the box makes its own record in its place; add yours by hand if you want it instead".into()
                }
                Verdict::Refused(refusal) => refusal.reason.into(),
            },
            Err(reason) => reason,
        };
        left.push(Left {
            line,
            text: text_of(&lines, line),
            reason,
        });
    }
    // Before they are compared with each other, which takes long for many.
    if keep.len() > MAX_RECORDS {
        return Err(ImportError::TooMany(keep.len()));
    }
    fit(zone, &mut keep, &mut left);
    left.sort_by_key(|left| left.line);
    Ok(Imported { keep, left })
}

/// Reads every record of a zone file as it is, signatures and SOA included.
///
/// # Errors
/// The entries that cannot be read.
pub fn records(text: &str, origin: &Name) -> Result<Vec<Record>, Vec<Left>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut reader = Reader::new(origin, |_| false);
    let (mut records, mut left) = (Vec::new(), Vec::new());
    for entry in split(text) {
        let (line, step) = match entry {
            Ok(words) => (words.line, reader.read(&words)),
            Err(unreadable) => (unreadable.line, Err(unreadable.reason.to_owned())),
        };
        let reason = match step {
            Ok(Step::Record(record)) => {
                records.push(*record);
                continue;
            }
            Ok(Step::Setting) => continue,
            Ok(Step::Wants(directive)) => {
                format!("{directive} stands for records that are not in this file")
            }
            Ok(Step::Skipped(number)) => format!("type {number} is passed over"),
            Err(reason) => reason,
        };
        left.push(Left {
            line,
            text: text_of(&lines, line),
            reason,
        });
    }
    if left.is_empty() {
        Ok(records)
    } else {
        Err(left)
    }
}

fn text_of(lines: &[&str], line: usize) -> String {
    shortened(lines.get(line - 1).copied().unwrap_or_default().trim())
}

/// Leaves out what does not fit beside the rest. One record less can make others misfit (a DS without its
/// NS), never without end: each round leaves out at least one.
fn fit(zone: &Zone, keep: &mut Vec<Given>, left: &mut Vec<Left>) {
    while let Err(problems) = merge(zone, keep) {
        for problem in &problems {
            left.push(Left {
                line: problem.line,
                text: problem.text.clone(),
                reason: problem.reason.clone(),
            });
        }
        keep.retain(|given| !problems.iter().any(|problem| problem.line == given.line));
    }
}
