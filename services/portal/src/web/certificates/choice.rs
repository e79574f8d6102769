//! How certificates are got: the owner's choice, with consent.

use super::super::page::{Field, Kind, token};
use super::super::visit::{Fields, Signed};
use super::agreed;
use maud::{Markup, html};
use roost_service::certificates::{Choice, Directory, Status};

/// Where Let's Encrypt's terms of service are.
const TERMS: &str = "https://letsencrypt.org/repository/";
/// The values of the field `authority`, and what people read.
const AUTHORITIES: [(&str, &str); 3] = [
    ("letsencrypt", "Let’s Encrypt"),
    (
        "staging",
        "Let’s Encrypt, for trying out: browsers do not trust it",
    ),
    ("other", "Another, by its address"),
];

/// The fields of the choice.
pub struct Typed {
    authority: String,
    directory: String,
    roots: String,
    contact: String,
    portal: String,
}

impl Typed {
    pub fn of(fields: &Fields) -> Self {
        let text = |name| fields.get(name).trim().to_owned();
        Self {
            authority: text("authority"),
            directory: text("directory"),
            roots: text("roots"),
            contact: text("contact"),
            portal: text("portal"),
        }
    }

    /// What stands in the form before anything is typed.
    fn before(choice: Option<&Choice>) -> Self {
        let choice = choice.cloned().unwrap_or_default();
        let (authority, directory) = match choice.directory {
            Directory::LetsEncrypt => ("letsencrypt", String::new()),
            Directory::LetsEncryptStaging => ("staging", String::new()),
            Directory::Url(url) => ("other", url),
        };
        Self {
            authority: authority.to_owned(),
            directory,
            roots: choice.roots_pem.unwrap_or_default(),
            contact: choice.contact.unwrap_or_default(),
            portal: choice.portal.unwrap_or_default(),
        }
    }

    /// With the owner's consent. A profile is of one authority; at the same one it stays.
    pub fn choice(&self, before: Option<&Choice>) -> Choice {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let other = self.authority == "other";
        let directory = match self.authority.as_str() {
            "other" => Directory::Url(self.directory.clone()),
            "staging" => Directory::LetsEncryptStaging,
            _ => Directory::LetsEncrypt,
        };
        let same = before.filter(|before| before.directory == directory);
        Choice {
            profile: same.and_then(|before| before.profile.clone()),
            roots_pem: given(&self.roots).filter(|_| other),
            directory,
            terms_agreed: true,
            portal: given(&self.portal).map(|name| name.to_ascii_lowercase()),
            contact: given(&self.contact),
        }
    }
}

/// How certificates are got: the owner's choice, with consent.
pub fn card(signed: &Signed, status: &Status, typed_wrong: Option<&Typed>) -> Markup {
    let before;
    let typed = match typed_wrong {
        Some(typed) => typed,
        None => {
            before = Typed::before(status.choice.as_ref());
            &before
        }
    };
    let form = html! {
        form method="post" action="/certificates" {
            (token(&signed.form))
            input type="hidden" name="do" value="set";
            @if agreed(status) {
                (fields(typed))
            } @else {
                details open[typed_wrong.is_some() || typed.authority != "letsencrypt"] {
                    summary { "Another authority, a contact, a name for these pages" }
                    (fields(typed))
                }
            }
            label.check {
                input type="checkbox" name="agree" value="yes" required;
                span { "I agree to " a href=(TERMS) rel="noreferrer" { "Let’s Encrypt’s terms of service" } ", or to those of the authority that I chose" }
            }
            button { @if agreed(status) { "Save" } @else { "Get certificates" } }
        }
    };
    html! {
        section.card {
            @if agreed(status) {
                h2 { "How they are got" }
                dl {
                    @if let Some(directory) = &status.directory { dt { "From" } dd { (directory) } }
                    @if let Some(account) = &status.account { dt { "Account" } dd { (account) } }
                }
                details open[typed_wrong.is_some()] { summary { "Change it" } (form) }
            } @else {
                h2 { "Get certificates" }
                p { "They come from Let’s Encrypt, which is run for the public good and costs nothing." }
                (form)
            }
        }
    }
}

fn fields(typed: &Typed) -> Markup {
    html! {
        div.field {
            label for="authority" { "Certificate authority" }
            select #authority name="authority" {
                @for (value, name) in AUTHORITIES {
                    option value=(value) selected[value == typed.authority] { (name) }
                }
            }
        }
        (Field { name: "directory", label: "Address of another authority", help: Some("Of its ACME directory, e.g. `https://ca.example/directory`."), value: &typed.directory, required: false, ..Field::default() }.show())
        (Field { name: "roots", label: "Whom to trust on the way to it", help: Some("Certificates as PEM, if that authority is not publicly known."), kind: Kind::Long, value: &typed.roots, required: false, ..Field::default() }.show())
        (Field { name: "contact", label: "Your mail address for it", help: Some("It may write there if something is wrong. Take one that does not depend on this box."), value: &typed.contact, required: false, complete: "email", ..Field::default() }.show())
        (Field { name: "portal", label: "A name of its own for these pages", help: Some("In one of your domains, e.g. `box.example.org`. Without one they are at the mail server’s name."), value: &typed.portal, required: false, ..Field::default() }.show())
    }
}
