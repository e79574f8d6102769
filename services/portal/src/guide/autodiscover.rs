//! Outlook's way: "plain old XML" of [MS-OXDSCLI].
//!
//! A program posts its address and gets servers. The request is read strictly: what Outlook
//! sends is four elements and two texts, and whatever is more is none.

use super::{Document, Guide};
use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::{Reader, Writer};
use roost_service::mail::ports;
use roost_service::names::Address;
use std::io;

/// Longest request, in bytes; real ones have four hundred.
pub const MAX_REQUEST: usize = 4096;

/// Schema of answers as a whole.
const ANSWER: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006";
/// Schema of answers with settings.
const SETTINGS: &str =
    "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";

/// What a program asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The address that somebody typed.
    pub address: String,
    /// The schema that it understands, if it says so.
    pub schema: Option<String>,
}

/// Why there are no settings ([MS-OXDSCLI] 2.2.4.1.1.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// The address is not served here.
    Unknown = 500,
    /// The request was not understood.
    Malformed = 600,
    /// The program wants something else, like ActiveSync.
    Other = 601,
}

impl Guide {
    /// For a program that posts a request; whatever it posts gets a document.
    pub fn autodiscover(&self, request: &[u8]) -> Document {
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        // Writing into memory does not fail.
        let _ = match self.wished(request) {
            Ok(address) => self.write_settings(&mut xml, &address),
            Err(refusal) => write_refusal(&mut xml, refusal),
        };
        let mut body = xml.into_inner();
        body.push(b'\n');
        Document::xml(body)
    }

    fn wished(&self, request: &[u8]) -> Result<Address, Refusal> {
        let wish = read(request).ok_or(Refusal::Malformed)?;
        // Documents show this schema with http and with https.
        let known = |schema: &str| {
            let bare = |schema: &'_ str| schema.split_once("://").map(|(_, rest)| rest.to_owned());
            bare(schema) == bare(SETTINGS)
        };
        if wish.schema.as_deref().is_some_and(|schema| !known(schema)) {
            return Err(Refusal::Other);
        }
        let address = Address::parse(&wish.address.to_lowercase()).map_err(|_| Refusal::Unknown)?;
        if self.serves(&address) {
            Ok(address)
        } else {
            Err(Refusal::Unknown)
        }
    }

    fn write_settings(&self, xml: &mut Writer<Vec<u8>>, address: &Address) -> io::Result<()> {
        declaration(xml)?;
        xml.create_element("Autodiscover")
            .with_attribute(("xmlns", ANSWER))
            .write_inner_content(|xml| {
                xml.create_element("Response")
                    .with_attribute(("xmlns", SETTINGS))
                    .write_inner_content(|xml| {
                        xml.create_element("Account").write_inner_content(|xml| {
                            leaf(xml, "AccountType", "email")?;
                            leaf(xml, "Action", "settings")?;
                            self.protocol(xml, "IMAP", ports::IMAPS, address)?;
                            self.protocol(xml, "POP3", ports::POP3S, address)?;
                            self.protocol(xml, "SMTP", ports::SUBMISSIONS, address)
                        })?;
                        Ok(())
                    })?;
                Ok(())
            })?;
        Ok(())
    }

    fn protocol(
        &self,
        xml: &mut Writer<Vec<u8>>,
        kind: &str,
        port: u16,
        address: &Address,
    ) -> io::Result<()> {
        xml.create_element("Protocol").write_inner_content(|xml| {
            leaf(xml, "Type", kind)?;
            leaf(xml, "Server", &self.host)?;
            leaf(xml, "Port", &port.to_string())?;
            leaf(xml, "DomainRequired", "off")?;
            leaf(xml, "LoginName", address.local())?;
            // No Windows log-in; TLS from the first byte.
            leaf(xml, "SPA", "off")?;
            leaf(xml, "SSL", "on")?;
            leaf(xml, "AuthRequired", "on")?;
            if kind == "SMTP" {
                leaf(xml, "UsePOPAuth", "off")?;
                leaf(xml, "SMTPLast", "off")?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn write_refusal(xml: &mut Writer<Vec<u8>>, refusal: Refusal) -> io::Result<()> {
    let message = match refusal {
        Refusal::Unknown => "This mail server does not serve that address",
        Refusal::Malformed => "Invalid Request",
        Refusal::Other => "Provider is not available",
    };
    declaration(xml)?;
    xml.create_element("Autodiscover")
        .with_attribute(("xmlns", ANSWER))
        .write_inner_content(|xml| {
            xml.create_element("Response").write_inner_content(|xml| {
                xml.create_element("Error")
                    // Required; nobody reads it.
                    .with_attributes([("Time", "00:00:00"), ("Id", "0")])
                    .write_inner_content(|xml| {
                        leaf(xml, "ErrorCode", &(refusal as u16).to_string())?;
                        leaf(xml, "Message", message)?;
                        leaf(xml, "DebugData", "")
                    })?;
                Ok(())
            })?;
            Ok(())
        })?;
    Ok(())
}

fn declaration(xml: &mut Writer<Vec<u8>>) -> io::Result<()> {
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))
}

fn leaf(xml: &mut Writer<Vec<u8>>, name: &str, text: &str) -> io::Result<()> {
    xml.create_element(name)
        .write_text_content(BytesText::new(text))?;
    Ok(())
}

/// Reads a request: `Autodiscover`, in it one `Request`, in it `EMailAddress` and perhaps
/// `AcceptableResponseSchema`, each once. Programs disagree about the namespace, so that is not
/// compared. No document type, no entities, no instructions.
pub fn read(request: &[u8]) -> Option<Wish> {
    if request.len() > MAX_REQUEST {
        return None;
    }
    let text = std::str::from_utf8(request).ok()?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    reader.config_mut().expand_empty_elements = true;
    let mut path: Vec<Element> = Vec::new();
    let (mut address, mut schema) = (None, None);
    let mut closed = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                let element = Element::of(path.last().copied(), start.local_name().as_ref())?;
                let slot = match element {
                    Element::Autodiscover | Element::Request => None,
                    Element::Address => Some(&mut address),
                    Element::Schema => Some(&mut schema),
                };
                match slot {
                    Some(Some(_)) => return None,
                    Some(slot) => *slot = Some(String::new()),
                    None if closed => return None,
                    None => {}
                }
                path.push(element);
            }
            // The reader compares the names of both tags.
            Event::End(_) => {
                if path.pop()? == Element::Request {
                    closed = true;
                }
            }
            Event::Text(piece) => {
                let piece: &str = &piece;
                match path.last() {
                    Some(Element::Address) => address.as_mut()?.push_str(piece),
                    Some(Element::Schema) => schema.as_mut()?.push_str(piece),
                    _ if piece.trim().is_empty() => {}
                    _ => return None,
                }
            }
            Event::Decl(_) | Event::Comment(_) if path.is_empty() => {}
            Event::Eof if path.is_empty() && closed => break,
            _ => return None,
        }
    }
    let address: String = address?;
    Some(Wish {
        address: address.trim().to_owned(),
        schema: schema.map(|schema: String| schema.trim().to_owned()),
    })
}

/// Elements of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Autodiscover,
    Request,
    Address,
    Schema,
}

impl Element {
    fn of(inside: Option<Element>, name: &str) -> Option<Element> {
        match (inside, name) {
            (None, "Autodiscover") => Some(Element::Autodiscover),
            (Some(Element::Autodiscover), "Request") => Some(Element::Request),
            (Some(Element::Request), "EMailAddress") => Some(Element::Address),
            (Some(Element::Request), "AcceptableResponseSchema") => Some(Element::Schema),
            _ => None,
        }
    }
}
