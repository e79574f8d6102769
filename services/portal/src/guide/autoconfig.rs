//! Thunderbird's way (<https://wiki.mozilla.org/Thunderbird:Autoconfiguration:ConfigFileFormat>).
//!
//! The first server of a kind is the one that a program takes.

use super::{CALENDARS, CONTACTS, Document, Guide, Security};
use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::{ElementWriter, Writer};
use roost_service::mail::ports;
use std::io;

type Xml = Writer<Vec<u8>>;

/// The log-in name, which a program makes of the address.
const LOGIN: &str = "%EMAILLOCALPART%";

impl Guide {
    /// For programs that ask for the settings of a domain.
    pub fn autoconfig(&self) -> Document {
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        // Writing into memory does not fail.
        let _ = write(self, &mut xml);
        let mut body = xml.into_inner();
        body.push(b'\n');
        Document::xml(body)
    }
}

fn write(guide: &Guide, xml: &mut Xml) -> io::Result<()> {
    let own = guide.domains[0].as_str();
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("clientConfig")
        .with_attribute(("version", "1.1"))
        .write_inner_content(|xml| {
            xml.create_element("emailProvider")
                .with_attribute(("id", own))
                .write_inner_content(|xml| {
                    for domain in &guide.domains {
                        leaf(xml.create_element("domain"), domain.as_str())?;
                    }
                    leaf(xml.create_element("displayName"), own)?;
                    leaf(xml.create_element("displayShortName"), own)?;
                    for (kind, port, security) in [
                        ("imap", ports::IMAPS, Security::Tls),
                        ("imap", ports::IMAP, Security::StartTls),
                        ("pop3", ports::POP3S, Security::Tls),
                        ("pop3", ports::POP3, Security::StartTls),
                    ] {
                        let element = xml.create_element("incomingServer");
                        server(guide, element, kind, port, security)?;
                    }
                    for (port, security) in [
                        (ports::SUBMISSIONS, Security::Tls),
                        (ports::SUBMISSION, Security::StartTls),
                    ] {
                        let element = xml.create_element("outgoingServer");
                        server(guide, element, "smtp", port, security)?;
                    }
                    Ok(())
                })?;
            for (name, kind, path) in [
                ("addressBook", "carddav", CONTACTS),
                ("calendar", "caldav", CALENDARS),
            ] {
                xml.create_element(name)
                    .with_attribute(("type", kind))
                    .write_inner_content(|xml| {
                        leaf(xml.create_element("username"), LOGIN)?;
                        leaf(xml.create_element("authentication"), "http-basic")?;
                        leaf(xml.create_element("serverURL"), &guide.url(path))
                    })?;
            }
            Ok(())
        })?;
    Ok(())
}

fn server(
    guide: &Guide,
    element: ElementWriter<'_, Vec<u8>>,
    kind: &str,
    port: u16,
    security: Security,
) -> io::Result<()> {
    element
        .with_attribute(("type", kind))
        .write_inner_content(|xml| {
            leaf(xml.create_element("hostname"), &guide.host)?;
            leaf(xml.create_element("port"), &port.to_string())?;
            let socket = match security {
                Security::Tls => "SSL",
                Security::StartTls => "STARTTLS",
            };
            leaf(xml.create_element("socketType"), socket)?;
            // Inside TLS; the box keeps only hashes, so no other way is open.
            leaf(xml.create_element("authentication"), "password-cleartext")?;
            leaf(xml.create_element("username"), LOGIN)
        })?;
    Ok(())
}

fn leaf(element: ElementWriter<'_, Vec<u8>>, text: &str) -> io::Result<()> {
    element.write_text_content(BytesText::new(text))?;
    Ok(())
}
