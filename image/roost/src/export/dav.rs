//! Contacts and calendars out of a server (RFC 4918, RFC 4791, RFC 6352), one by one over one connection.

use crate::device::ANSWER_LIMIT;
use crate::device::CONNECT_LIMIT;
use crate::device::address::Address;
use crate::device::error::DeviceError;
use crate::device::link::Link;
use crate::device::stop::Stop;
use crate::device::tls::Expect;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;
use roost_service::fingerprint::Fingerprint;
use zeroize::Zeroizing;

/// Longest answer, in bytes: a list of a hundred thousand contacts, or a contact with its photo.
const MAX_BODY: usize = 64 << 20;
/// Connections that may end during one request: servers close those that were used for long.
const TRIES: u32 = 3;
const PROPFIND: &str = r#"<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/><d:displayname/></d:prop></d:propfind>"#;

/// What a collection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Contacts.
    AddressBook,
    /// Appointments and tasks.
    Calendar,
    /// Something else with things in it.
    Folder,
    /// No collection but one thing.
    Thing,
}

/// Something that a server lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path, as it is asked for.
    pub path: String,
    /// For people; may be empty.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// One account of a server.
pub struct Dav {
    address: Address,
    certificate: Fingerprint,
    authorization: Zeroizing<String>,
    stop: Stop,
    link: Option<Link>,
}

impl Dav {
    /// The account `user` of whoever has this certificate.
    pub fn new(
        address: Address,
        certificate: Fingerprint,
        user: &str,
        password: &str,
        stop: &Stop,
    ) -> Self {
        let pair = Zeroizing::new(format!("{user}:{password}"));
        Self {
            address,
            certificate,
            authorization: Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))),
            stop: stop.clone(),
            link: None,
        }
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What is in a collection, but not the collection itself.
    ///
    /// # Errors
    ///
    /// [`DeviceError`].
    pub fn list(&mut self, path: &str) -> Result<Vec<Found>, DeviceError> {
        let body = self.ask(
            "PROPFIND",
            path,
            "Depth: 1\r\nContent-Type: application/xml; charset=utf-8\r\n",
            PROPFIND.as_bytes(),
        )?;
        let all =
            parse(&body).map_err(|why| DeviceError::NotUnderstood(format!("{path}: {why}")))?;
        let own = path.trim_end_matches('/');
        Ok(all
            .into_iter()
            .filter(|found| found.path.trim_end_matches('/') != own)
            .collect())
    }

    /// The bytes of a thing.
    ///
    /// # Errors
    ///
    /// [`DeviceError`].
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>, DeviceError> {
        self.ask("GET", path, "", &[])
    }

    fn ask(
        &mut self,
        method: &str,
        path: &str,
        fields: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, DeviceError> {
        let fine = |b: u8| b.is_ascii_graphic();
        if !path.starts_with('/') || !path.bytes().all(fine) {
            return Err(DeviceError::NotUnderstood(format!("{path:?} is no path")));
        }
        let head = Zeroizing::new(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\n{fields}Content-Length: {}\r\n",
            self.address.host_header(),
            *self.authorization,
            body.len(),
        ));
        let mut tries = 0;
        let (status, body) = loop {
            tries += 1;
            match self.link()?.exchange(&head, body, MAX_BODY, ANSWER_LIMIT) {
                Err(DeviceError::Cut(_)) if tries < TRIES => self.link = None,
                other => break other?,
            }
        };
        match status {
            200..300 => Ok(body),
            _ => Err(DeviceError::Refused {
                message: format!("it answers {status} to {method} {path}"),
                hint: None,
            }),
        }
    }

    fn link(&mut self) -> Result<&mut Link, DeviceError> {
        if self.link.is_none() {
            let socket = self.address.connect(CONNECT_LIMIT)?;
            self.link = Some(Link::open(
                socket,
                Expect::One(self.certificate, None),
                &self.stop,
            )?);
        }
        self.link
            .as_mut()
            .ok_or_else(|| DeviceError::Cut("there is no connection".to_owned()))
    }
}

/// Reads a multistatus (RFC 4918, section 14.16).
fn parse(xml: &[u8]) -> Result<Vec<Found>, String> {
    const DAV: &str = "DAV:";
    let xml = std::str::from_utf8(xml).map_err(|e| e.to_string())?;
    let mut reader = NsReader::from_str(xml);
    let mut all = Vec::new();
    let mut open: Vec<(bool, String)> = Vec::new();
    let (mut path, mut name, mut kind) = (String::new(), String::new(), Kind::Thing);
    loop {
        let (space, event) = reader.read_resolved_event().map_err(|e| e.to_string())?;
        let dav = matches!(space, ResolveResult::Bound(Namespace(DAV)));
        let is = |open: &[(bool, String)], wanted: &str| {
            open.last().is_some_and(|(dav, own)| *dav && own == wanted)
        };
        match event {
            Event::Start(tag) | Event::Empty(tag) if is(&open, "resourcetype") => {
                kind = match tag.local_name().as_ref() {
                    "addressbook" => Kind::AddressBook,
                    "calendar" => Kind::Calendar,
                    "collection" if kind == Kind::Thing => Kind::Folder,
                    _ => kind,
                };
            }
            Event::Start(tag) => {
                let local = tag.local_name().as_ref().to_owned();
                if dav && local == "response" {
                    (path, name, kind) = (String::new(), String::new(), Kind::Thing);
                }
                open.push((dav, local));
            }
            Event::End(tag) => {
                if is(&open, "response")
                    && tag.local_name().as_ref() == "response"
                    && !path.is_empty()
                {
                    all.push(Found {
                        path: path_alone(path.trim()),
                        name: name.trim().to_owned(),
                        kind,
                    });
                }
                if open
                    .last()
                    .is_some_and(|(_, own)| own == tag.local_name().as_ref())
                {
                    open.pop();
                }
            }
            Event::Text(text) => {
                if is(&open, "href") && open.len() == 3 {
                    path += &text;
                } else if is(&open, "displayname") {
                    name += &text;
                }
            }
            Event::CData(text) if is(&open, "displayname") => name += &text,
            Event::GeneralRef(entity) => {
                let decoded = match entity.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(c) => c.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(&entity)
                        .unwrap_or_default()
                        .to_owned(),
                };
                if is(&open, "href") && open.len() == 3 {
                    path += &decoded;
                } else if is(&open, "displayname") {
                    name += &decoded;
                }
            }
            Event::Eof if open.is_empty() => return Ok(all),
            Event::Eof => return Err("it ends in the middle".to_owned()),
            _ => {}
        }
    }
}

/// Some write the whole address.
fn path_alone(href: &str) -> String {
    match href.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .map_or_else(|| "/".to_owned(), |at| rest[at..].to_owned()),
        None => href.to_owned(),
    }
}

/// Appointments of one calendar as one file, which every program imports (RFC 5545): the parts of all
/// objects in one object, and each time zone once.
pub struct Merged {
    zones: std::collections::HashSet<String>,
    body: Vec<u8>,
}

impl Merged {
    /// Empty.
    pub fn new() -> Self {
        Self {
            zones: std::collections::HashSet::new(),
            body: Vec::new(),
        }
    }

    /// Adds what is in an object.
    ///
    /// # Errors
    ///
    /// Why it is none.
    pub fn add(&mut self, object: &[u8]) -> Result<(), String> {
        let mut open: Vec<Vec<u8>> = Vec::new();
        let mut component: Vec<u8> = Vec::new();
        let mut parts = Vec::new();
        for line in object.split(|b| *b == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let upper = line.to_ascii_uppercase();
            let inside = open.len() > 1;
            if let Some(name) = upper.strip_prefix(b"BEGIN:") {
                open.push(name.trim_ascii().to_vec());
            }
            if inside || open.len() > 1 {
                component.extend(line);
                component.extend(b"\r\n");
            }
            if let Some(name) = upper.strip_prefix(b"END:") {
                if open.pop().as_deref() != Some(name.trim_ascii()) {
                    return Err("its parts are not closed in their order".to_owned());
                }
                if open.len() == 1 {
                    parts.push((
                        name.trim_ascii() == b"VTIMEZONE",
                        std::mem::take(&mut component),
                    ));
                }
            }
        }
        if !open.is_empty() || parts.is_empty() {
            return Err("it is no whole calendar object".to_owned());
        }
        for (is_zone, part) in parts {
            if !is_zone || self.zones.insert(zone_id(&part)) {
                self.body.extend(part);
            }
        }
        Ok(())
    }

    /// The file.
    pub fn finish(self) -> Vec<u8> {
        let head = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Roost//export//EN\r\n";
        [head.as_slice(), &self.body, b"END:VCALENDAR\r\n"].concat()
    }
}

fn zone_id(zone: &[u8]) -> String {
    let text = String::from_utf8_lossy(zone);
    let line = text
        .lines()
        .find(|line| line.to_ascii_uppercase().starts_with("TZID"));
    line.unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_listing_is_read_whatever_its_prefixes() {
        let xml = br#"<?xml version="1.0"?><multistatus xmlns="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav">
            <response><href>/dav/cal/alice/</href><propstat><prop><resourcetype><collection/></resourcetype></prop></propstat></response>
            <response><href>https://box/dav/cal/alice/a&amp;b/</href><propstat><prop><displayname>Work &lt;1&gt; &#252;</displayname>
              <resourcetype><collection/><c:calendar/></resourcetype></prop><status>HTTP/1.1 200 OK</status></propstat></response>
            <D:response xmlns:D="DAV:"><D:href> /x.ics </D:href><D:propstat><D:prop><D:resourcetype></D:resourcetype></D:prop></D:propstat></D:response>
            </multistatus>"#;
        let all = parse(xml).unwrap();
        let told: Vec<String> = all
            .iter()
            .map(|found| format!("{} {:?} {:?}", found.path, found.name, found.kind))
            .collect();
        assert_eq!(
            told,
            [
                "/dav/cal/alice/ \"\" Folder",
                "/dav/cal/alice/a&b/ \"Work <1> ü\" Calendar",
                "/x.ics \"\" Thing",
            ]
        );
        assert!(parse(b"<multistatus xmlns='DAV:'><response>").is_err());
    }

    #[test]
    fn calendars_are_merged_with_each_zone_once() {
        let object = |uid: &str| {
            format!(
                "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VTIMEZONE\r\nTZID:Europe/Vienna\r\nBEGIN:STANDARD\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
             BEGIN:VEVENT\nUID:{uid}\nDESCRIPTION:END:\n  folded\nBEGIN:VALARM\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\n"
            )
        };
        let mut merged = Merged::new();
        merged.add(object("1").as_bytes()).unwrap();
        merged.add(object("2").as_bytes()).unwrap();
        assert!(
            merged
                .add(b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR\r\n")
                .is_err()
        );
        assert!(merged.add(b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n").is_err());
        assert!(merged.add(b"<html>").is_err());
        insta::assert_snapshot!(
            String::from_utf8(merged.finish())
                .unwrap()
                .replace("\r\n", "\n")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "(<[a-z/!?]{0,9}>|&[a-z#0-9]{0,4};|BEGIN:V|END:V|\\n|\\PC){0,30}") {
            let _ = (parse(&bytes), parse(text.as_bytes()), path_alone(&text));
            let mut merged = Merged::new();
            let _ = (merged.add(&bytes), merged.add(text.as_bytes()));
        }
    }
}
