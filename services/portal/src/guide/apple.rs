//! Apple's way: a configuration profile (<https://developer.apple.com/documentation/devicemanagement>)
//! with the payloads `com.apple.mail.managed`, `com.apple.caldav.account` and
//! `com.apple.carddav.account`.
//!
//! It holds no password: the device asks for it while it installs the profile. It is not signed,
//! which the device says.

use super::{Document, Guide, Person, xml_text};
use plist::{Dictionary, Value};
use roost_service::mail::ports;
use uuid::Uuid;

impl Guide {
    /// A profile for one person's iPhone, iPad or Mac. The same account gives the same
    /// identifiers, so that a second profile takes the place of the first.
    pub fn apple_profile(&self, person: &Person) -> Document {
        let address = xml_text(&person.address);
        let login = xml_text(&person.login);
        let mut profile = self.payload("Configuration", person);
        set(&mut profile, "PayloadDisplayName", address.as_str());
        set(
            &mut profile,
            "PayloadOrganization",
            self.domains[0].as_str(),
        );
        set(
            &mut profile,
            "PayloadDescription",
            format!("Mail, calendars and contacts of {address}"),
        );
        set(&mut profile, "PayloadRemovalDisallowed", false);
        set(
            &mut profile,
            "PayloadContent",
            vec![
                Value::Dictionary(self.mail(person, &login, &address)),
                Value::Dictionary(self.dav("caldav", "CalDAV", person, &login, &address)),
                Value::Dictionary(self.dav("carddav", "CardDAV", person, &login, &address)),
            ],
        );
        let mut body = Vec::new();
        // Writing into memory does not fail.
        let _ = Value::Dictionary(profile).to_writer_xml(&mut body);
        body.push(b'\n');
        Document {
            content_type: "application/x-apple-aspen-config",
            file_name: Some(file_name(&login)),
            body,
        }
    }

    fn mail(&self, person: &Person, login: &str, address: &str) -> Dictionary {
        let mut mail = self.payload("com.apple.mail.managed", person);
        set(&mut mail, "EmailAccountDescription", address);
        set(
            &mut mail,
            "EmailAccountName",
            xml_text(&person.display_name),
        );
        set(&mut mail, "EmailAccountType", "EmailTypeIMAP");
        set(&mut mail, "EmailAddress", address);
        for (way, port) in [("Incoming", ports::IMAPS), ("Outgoing", ports::SUBMISSIONS)] {
            let mut set = |key: &str, value: Value| {
                mail.insert(format!("{way}MailServer{key}"), value);
            };
            set("Authentication", "EmailAuthPassword".into());
            set("HostName", self.host.as_str().into());
            set("PortNumber", port.into());
            set("UseSSL", true.into());
            set("Username", login.into());
        }
        set(&mut mail, "OutgoingPasswordSameAsIncomingPassword", true);
        mail
    }

    fn dav(
        &self,
        kind: &str,
        prefix: &str,
        person: &Person,
        login: &str,
        address: &str,
    ) -> Dictionary {
        let mut dav = self.payload(&format!("com.apple.{kind}.account"), person);
        for (key, value) in [
            ("AccountDescription", Value::from(address)),
            ("HostName", self.host.as_str().into()),
            ("Port", ports::HTTPS.into()),
            ("UseSSL", true.into()),
            ("Username", login.into()),
        ] {
            dav.insert(format!("{prefix}{key}"), value);
        }
        dav
    }

    /// What every payload has.
    fn payload(&self, kind: &str, person: &Person) -> Dictionary {
        let name = format!("https://{}/{}/{kind}", self.domains[0], person.address);
        let uuid = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
        let mut labels: Vec<&str> = self.domains[0].as_str().split('.').collect();
        labels.reverse();
        let mut payload = Dictionary::new();
        set(&mut payload, "PayloadType", kind);
        set(&mut payload, "PayloadVersion", 1);
        set(
            &mut payload,
            "PayloadIdentifier",
            format!("{}.roost.{uuid}", labels.join(".")),
        );
        set(
            &mut payload,
            "PayloadUUID",
            uuid.hyphenated().to_string().to_uppercase(),
        );
        payload
    }
}

fn set(dictionary: &mut Dictionary, key: &str, value: impl Into<Value>) {
    dictionary.insert(key.to_owned(), value.into());
}

/// A name that needs no quoting in a header.
fn file_name(login: &str) -> String {
    let plain: String = login
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c))
        .collect();
    format!("{plain}.mobileconfig")
}
