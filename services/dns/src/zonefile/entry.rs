//! Reads entries one after the other, each with what the ones before have set.

use hickory_proto::rr::{Name, Record};
use hickory_proto::serialize::txt::parse_ttl;

use super::convert;
use super::export::written;
use super::split::Words;
use crate::generate::TTL;

/// Types with names in their data, by number: NS, CNAME, SOA, PTR, MINFO, MX, RP, SRV, NAPTR, SVCB and HTTPS.
const HAVE_NAMES: [u16; 11] = [2, 5, 6, 12, 14, 15, 17, 33, 35, 64, 65];

const SOA: u16 = 6;
const TXT: u16 = 16;

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// A record.
    Record(Box<Record>),
    /// It sets something for the entries after it.
    Setting,
    /// It wants further text, from a file or by counting, that this reader does not fetch or make.
    Wants(&'static str),
    /// A record of this type, which `skip` names: its data is not read.
    Skipped(u16),
}

/// What holds for the next entry.
pub(crate) struct Reader {
    origin: Name,
    owner: Option<Name>,
    default_ttl: Option<u32>,
    last_ttl: Option<u32>,
    skip: fn(u16) -> bool,
}

impl Reader {
    /// A reader for names below `origin`. Records whose type's number `skip` confirms are recognised and
    /// not read further.
    pub(crate) fn new(origin: &Name, skip: fn(u16) -> bool) -> Self {
        Self {
            origin: origin.clone(),
            owner: None,
            default_ttl: None,
            last_ttl: None,
            skip,
        }
    }

    /// Reads the next entry.
    ///
    /// # Errors
    /// What is wrong with it, in words for the owner. The entries after it can still be read.
    pub(crate) fn read(&mut self, entry: &Words) -> Result<Step, String> {
        let mut words = entry.words.iter().map(String::as_str);
        if !entry.indented {
            let first = words.next().unwrap_or_default();
            if first.starts_with('$') {
                return self.directive(first, &mut words);
            }
            // Kept even if the rest is wrong: the owner of the lines after it does not depend on that.
            self.owner = None;
            self.owner = Some(name(first, &self.origin)?);
        }
        let owner = self
            .owner
            .clone()
            .ok_or("it does not say which name it is for")?;
        let (ttl, kind, data) = self.head(&mut words)?;
        let number =
            convert::type_number(kind).ok_or_else(|| format!("{kind} is not a record type"))?;
        if (self.skip)(number) {
            return Ok(Step::Skipped(number));
        }
        let data = plain(number, data, &self.origin)?;
        let text = format!(". {ttl} IN {kind} {}", data.join(" "));
        let mut record = convert::read(&text, &self.origin)?;
        record.name = owner;
        Ok(Step::Record(Box::new(record)))
    }

    /// Reads TTL, class and type, the first two in any order and both optional.
    fn head<'w>(
        &mut self,
        words: &mut impl Iterator<Item = &'w str>,
    ) -> Result<(u32, &'w str, Vec<&'w str>), String> {
        let (mut ttl, mut class) = (None, None);
        let kind = loop {
            let word = words.next().ok_or("it does not say its type")?;
            let seconds = parse_ttl(word).ok();
            let number = convert::class_number(word);
            if ttl.is_none() && seconds.is_some() {
                ttl = seconds;
            } else if class.is_none() && number.is_some() {
                class = number;
            } else {
                break word;
            }
        };
        if class.is_some_and(|class| !convert::is_internet(class)) {
            return Err("its class is not IN".into());
        }
        self.last_ttl = ttl.or(self.last_ttl);
        // RFC 2308, section 4 over RFC 1035, section 5.1: `$TTL` wins over the entry before.
        let ttl = ttl.or(self.default_ttl).or(self.last_ttl).unwrap_or(TTL);
        Ok((ttl, kind, words.collect()))
    }

    fn directive<'w>(
        &mut self,
        name_of: &str,
        words: &mut impl Iterator<Item = &'w str>,
    ) -> Result<Step, String> {
        let value = words.next();
        match name_of.to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                let value = value.ok_or("$ORIGIN needs a name")?;
                self.origin = name(value, &self.origin)?;
            }
            "$TTL" => {
                let value = value.and_then(|value| parse_ttl(value).ok());
                self.default_ttl = Some(value.ok_or("$TTL needs a time, such as 3600 or 1h")?);
            }
            "$INCLUDE" => return Ok(Step::Wants("$INCLUDE")),
            "$GENERATE" => return Ok(Step::Wants("$GENERATE")),
            _ => return Err(format!("{name_of} is not known")),
        }
        if words.next().is_some() {
            return Err(format!("{name_of} has too many values"));
        }
        Ok(Step::Setting)
    }
}

/// A record's data as the library takes it: `@` stands for the origin only in an owner's place there, and
/// times are in seconds.
fn plain(number: u16, data: Vec<&str>, origin: &Name) -> Result<Vec<String>, String> {
    let word = |(at, word): (usize, &str)| {
        // Refresh, retry, expire and minimum of an SOA.
        if number == SOA && (3..7).contains(&at) {
            let seconds = parse_ttl(word).map_err(|_| format!("{word} is not a time"))?;
            return Ok(seconds.to_string());
        }
        if number == TXT && !word.is_ascii() {
            return Ok(escaped(word));
        }
        let is_origin = word == "@" && HAVE_NAMES.contains(&number);
        Ok(if is_origin {
            written(origin)
        } else {
            word.to_owned()
        })
    };
    data.into_iter().enumerate().map(word).collect()
}

/// Letters beyond ASCII as the bytes of their UTF-8 form, which is what BIND reads of them.
fn escaped(word: &str) -> String {
    let mut text = String::new();
    for letter in word.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).bytes();
            text.extend(bytes.map(|byte| format!("\\{byte:03}")));
        }
    }
    text
}

/// Reads a name on its own, by way of a record that has it as its data.
fn name(text: &str, origin: &Name) -> Result<Name, String> {
    if text == "@" {
        return Ok(origin.to_lowercase());
    }
    if !text.is_ascii() {
        return Err(format!(
            "{text} has letters beyond a to z; write the form that begins with xn--"
        ));
    }
    let record = convert::read(&format!(". 0 IN NS {text}"), origin)
        .map_err(|_| format!("{text} is not a name"))?;
    match record.data {
        hickory_proto::rr::RData::NS(name) => Ok(name.0.to_lowercase()),
        _ => Err(format!("{text} is not a name")),
    }
}
