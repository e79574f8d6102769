//! What the DNS says at the places where a domain's records should be.
//!
//! Asked through the resolver that the box has from its network, so it is what others see, as far
//! as that resolver's cache is fresh.

use crate::resolver::{self, Resolver, broken};
use domain::base::iana::Rtype;
use domain::rdata::ZoneRecordData;
use futures_util::future::join_all;
use roost_service::mail::DnsRecord;
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Longest wait for one answer; all are asked at once.
const PATIENCE: Duration = Duration::from_secs(4);

/// What was found where a record should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    /// The record, and nothing that contradicts it.
    Right,
    /// Something whose rightness the box cannot judge: it does not know its public address.
    Something {
        /// What is there.
        values: Vec<String>,
    },
    /// Something else.
    Wrong {
        /// What is there.
        values: Vec<String>,
    },
    /// Nothing.
    Nothing,
    /// No answer.
    NotTold {
        /// Why.
        because: String,
    },
}

/// A record as it should be, and as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Looked {
    /// As it should be.
    pub record: DnsRecord,
    /// What the DNS says now.
    pub now: Found,
}

/// Looks all records up in the DNS; without a resolver, nothing is told of them.
pub async fn look_up(resolver: Option<&Resolver>, records: Vec<DnsRecord>) -> Vec<Looked> {
    let found = match resolver {
        Some(resolver) => ask_all(resolver, &records).await,
        None => {
            let because = resolver::NONE.to_owned();
            vec![Found::NotTold { because }; records.len()]
        }
    };
    (records.into_iter().zip(found))
        .map(|(record, now)| Looked { record, now })
        .collect()
}

/// Asks for all at once; the answers are in the same order.
async fn ask_all(resolver: &Resolver, records: &[DnsRecord]) -> Vec<Found> {
    join_all(records.iter().map(|record| async move {
        let wanted: Vec<&str> = records
            .iter()
            .filter(|other| other.name == record.name && other.kind == record.kind)
            .filter_map(|other| other.value.as_deref())
            .collect();
        match tokio::time::timeout(PATIENCE, ask(resolver, &record.name, &record.kind)).await {
            Ok(Ok(there)) => compare(record, &wanted, there),
            Ok(Err(because)) => Found::NotTold { because },
            Err(_) => Found::NotTold {
                because: "no answer came in time".to_owned(),
            },
        }
    }))
    .await
}

/// The values that a name has, as in a zone file, a `TXT`'s text in one piece.
async fn ask(resolver: &Resolver, name: &str, kind: &str) -> Result<Vec<String>, String> {
    let kind: Rtype = kind.parse().map_err(|_| format!("{kind} is no type"))?;
    let answer = resolver.ask(name, kind).await?;
    let mut values = Vec::new();
    let records = answer.answer().map_err(broken)?;
    for record in records.limit_to_in::<ZoneRecordData<_, _>>() {
        let record = record.map_err(broken)?;
        // Before the values there may be aliases that led to them.
        if record.rtype() == kind {
            values.push(match record.data() {
                ZoneRecordData::Txt(text) => {
                    String::from_utf8_lossy(&text.text::<Vec<u8>>()).into_owned()
                }
                other => other.to_string(),
            });
        }
    }
    Ok(values)
}

/// `wanted` are all values that should be there, the record's among them.
fn compare(record: &DnsRecord, wanted: &[&str], there: Vec<String>) -> Found {
    let text = record.kind == "TXT";
    let Some(value) = record.value.as_deref() else {
        return match there.is_empty() {
            true => Found::Nothing,
            false => Found::Something { values: there },
        };
    };
    // Other texts of a name are for others, but two of a kind contradict each other.
    let related: Vec<String> = there
        .into_iter()
        .filter(|other| !text || tag(other) == tag(value))
        .collect();
    let same = |one: &str, other: &str| plain(one, text) == plain(other, text);
    if related.is_empty() {
        Found::Nothing
    } else if related.iter().any(|there| same(there, value))
        && (related.iter()).all(|there| wanted.iter().any(|wanted| same(there, wanted)))
    {
        Found::Right
    } else {
        Found::Wrong { values: related }
    }
}

/// What a text is for: all of these begin with a version, e.g. `v=spf1` (RFC 7208 §4.5).
fn tag(text: &str) -> String {
    let end = text.find([';', ' ']).unwrap_or(text.len());
    text[..end].to_ascii_lowercase()
}

/// A value without what makes no difference: dots at the end and case of names, blanks in texts.
fn plain(value: &str, text: bool) -> String {
    let words = value.split_whitespace();
    if text {
        return words.collect::<String>().trim_end_matches(';').to_owned();
    }
    words
        .map(|word| word.trim_end_matches('.').to_ascii_lowercase())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
