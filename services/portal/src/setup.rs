//! The form behind the pairing code.
//!
//! # Which fields, and why no others
//!
//! | | Field | Why it is asked |
//! |---|---|---|
//! | 1 | pairing code | on the page before: proves that somebody has the card's slip ([`crate::pairing`]) |
//! | 2 | admin password | nobody else can choose it; once, because the page can show it |
//! | 3 | domain | filled in from `roost.toml` where the image has it |
//! | 4 | account | likewise; the first address, and where the box writes to |
//! | 5 | relay | what the maker of a relay gets to paste; may stay empty, the box works at home without |
//!
//! Not asked: a **user name** (there is one owner), the password **again** (a button shows it), the
//! **person's name** (the account's name will do, the portal can change it), a **second factor** (offered
//! after that; it needs a clock, which a new box may not have), and a
//! **password for mail**: the box makes that one. The same password for both would put the
//! portal's on every phone, and let it be guessed on port 993 from the whole internet, where no second
//! factor is asked for. One of 100 random bits, shown once, is typed once into each program.

use crate::code::{Code, letters};
use crate::password::{NewPassword, PasswordHash, hash};
use roost_service::names::{AccountName, Domain, Reason};
use roost_service::tunnel::{self, Tunnel};
use std::fmt;
use zeroize::Zeroizing;

/// Longest text that is taken for a relay's, in bytes; a real one has a tenth of it.
const MAX_RELAY: usize = 4096;

/// A field of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The pairing code, on a page of its own.
    Code,
    /// The admin password.
    Password,
    /// The mail domain.
    Domain,
    /// The first mail account.
    Account,
    /// What the relay's owner pastes.
    Relay,
}

impl Field {
    /// All that there are, in the order of the pages.
    pub const ALL: [Self; 5] = [
        Self::Code,
        Self::Password,
        Self::Domain,
        Self::Account,
        Self::Relay,
    ];

    /// Its name in the form.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Password => "password",
            Self::Domain => "domain",
            Self::Account => "account",
            Self::Relay => "relay",
        }
    }

    /// What stands above it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Code => "Pairing code",
            Self::Password => "Admin password",
            Self::Domain => "Your domain",
            Self::Account => "Your address",
            Self::Relay => "Relay",
        }
    }

    /// What stands below it.
    pub fn help(self) -> &'static str {
        match self {
            Self::Code => {
                "Eight letters and digits, shown by `roost flash` and on the box's screen."
            }
            Self::Password => {
                "For this portal only. At least ten letters; four words that have nothing to do with each other are good."
            }
            Self::Domain => "The part after the @ of your mail addresses, like example.org.",
            Self::Account => {
                "The part before the @, like alice. Programs for mail get a password of their own, which the next page shows."
            }
            Self::Relay => {
                "Paste the text that you got where you made the relay. Without a relay the box works at home, and you can add one later."
            }
        }
    }
}

/// What was sent, as it was typed.
#[derive(Default)]
pub struct Form<'a> {
    /// The admin password.
    pub password: &'a str,
    /// The mail domain; empty for the image's.
    pub domain: &'a str,
    /// The first mail account; empty for the image's.
    pub account: &'a str,
    /// The relay's text; empty for none.
    pub relay: &'a str,
}

impl fmt::Debug for Form<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form(…)")
    }
}

/// What is known without asking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Name of the box on the home network.
    pub box_name: &'a str,
    /// Domain from the image's settings, or empty.
    pub domain: &'a str,
    /// Account from the image's settings, or empty.
    pub account: &'a str,
    /// The pairing code, if the card still has it: it is no password.
    pub code: Option<&'a Code>,
}

/// A form in which everything is right.
#[derive(Debug)]
pub struct Setup {
    /// The admin password.
    pub password: NewPassword,
    /// The mail domain.
    pub domain: Domain,
    /// The first mail account.
    pub account: AccountName,
    /// The relay, if one was pasted.
    pub relay: Option<RelayText>,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub field: Field,
    /// What, and what to do.
    pub reason: Reason,
}

/// A relay's text: of sane length, printable, and with all fields that there must be. Whether they can
/// be used is for the tunnel to say.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayText {
    text: Zeroizing<String>,
    tunnel: Tunnel,
}

impl fmt::Debug for RelayText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayText(…)")
    }
}

impl RelayText {
    /// Checks what was pasted.
    ///
    /// # Errors
    /// When it is no relay's.
    pub fn parse(pasted: &str) -> Result<Self, Reason> {
        let text = pasted.trim();
        let hint = "paste the relay's whole text, and nothing else";
        if text.is_empty() {
            return Err(Reason::new("the text is empty").hint(hint));
        }
        if text.len() > MAX_RELAY {
            return Err(Reason::new("the text is too long for a relay's").hint(hint));
        }
        if text
            .chars()
            .any(|c| c.is_control() && !c.is_ascii_whitespace())
        {
            return Err(Reason::new("the text holds signs that cannot be seen").hint(hint));
        }
        let tunnel = tunnel::parse(text).map_err(|why| Reason::new(why.to_string()).hint(hint))?;
        Ok(Self {
            text: Zeroizing::new(text.to_owned()),
            tunnel,
        })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub fn tunnel(&self) -> &Tunnel {
        &self.tunnel
    }
}

impl Form<'_> {
    /// Checks all fields.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the fields.
    pub fn check(&self, known: Known<'_>) -> Result<Setup, Vec<Fault>> {
        let or = |typed: &str, known: &str| {
            let typed = typed.trim();
            if typed.is_empty() { known } else { typed }.to_owned()
        };
        let domain = Domain::parse(&or(self.domain, known.domain));
        let account = AccountName::parse(&or(self.account, known.account));
        let code = Zeroizing::new(known.code.map(Code::reveal).unwrap_or_default());
        let names = [
            known.box_name,
            known.domain,
            known.account,
            domain.as_ref().map_or(self.domain, Domain::as_str),
            account.as_ref().map_or(self.account, AccountName::as_str),
            &code,
        ];
        let password = NewPassword::choose(self.password, &names);
        let relay = Some(self.relay)
            .filter(|pasted| !pasted.trim().is_empty())
            .map(RelayText::parse)
            .transpose();
        match (password, domain, account, relay) {
            (Ok(password), Ok(domain), Ok(account), Ok(relay)) => Ok(Setup {
                password,
                domain,
                account,
                relay,
            }),
            (password, domain, account, relay) => {
                let faults = [
                    (Field::Password, password.err()),
                    (Field::Domain, domain.err()),
                    (Field::Account, account.err()),
                    (Field::Relay, relay.err()),
                ];
                let fault = |(field, reason): (Field, Option<Reason>)| {
                    reason.map(|reason| Fault { field, reason })
                };
                Err(faults.into_iter().filter_map(fault).collect())
            }
        }
    }
}

/// A password for mail programs: 100 random bits, easy to type from a screen, shown once.
/// It has the form of those that `roost password --generate-password` makes.
pub struct MailPassword(Zeroizing<String>);

impl fmt::Debug for MailPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailPassword(…)")
    }
}

impl MailPassword {
    /// Makes one of fresh random bytes.
    pub fn from_random(bytes: [u8; 20]) -> Self {
        let groups: Vec<String> = bytes
            .chunks(5)
            .map(|group| letters(group).to_ascii_lowercase())
            .collect();
        Self(Zeroizing::new(groups.join("-")))
    }

    /// The password, for the page that shows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its hash, which the mail server understands. `salt` are fresh random bytes.
    pub fn hash(&self, salt: [u8; 16]) -> PasswordHash {
        hash(self.0.as_bytes(), salt)
    }
}

#[cfg(test)]
#[path = "setup_tests.rs"]
mod tests;
