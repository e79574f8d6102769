//! What happened to the box's doors, and what was changed, in plain words.
//!
//! An entry holds no text that a stranger chose (names of laptops and passkeys are the owner's), so nobody
//! writes into the owner's log. What
//! was *not let through* is no event: a stranger could fill the card with it. The
//! tries that were let through are limited by [`crate::throttle`] and [`crate::pairing`].
//!
//! # A new kind of event
//!
//! is a new variant, and no step of the store's schema: a version that does not know the kind, because
//! the box went back to it, keeps such an entry as [`Event::Other`] and says that it has no words for
//! it. A kind that is there never changes its fields; it gets a successor instead.

mod backups;
mod certificates;
mod mail;

pub use backups::BackupChange;
pub use certificates::CertificateChange;
pub use mail::{GB, MailChange, gigabytes};

use crate::owner::SignedInBy;
use crate::time::{Now, words};
use crate::visitor::Browser;
use roost_service::dns::Dmarc;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The owner, in a session.
    Owner,
    /// Somebody who is not signed in; it may have been the owner.
    Somebody,
    /// The box by itself.
    Box,
    /// A laptop whose key the box knows.
    Laptop,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A wrong pairing code was entered.
    CodeWrong,
    /// The pairing code was entered.
    CodeRight {
        /// Where.
        browser: Browser,
    },
    /// The pairing code, or the right to finish the pairing, has expired.
    CodeExpired,
    /// A new pairing code was made.
    CodeRenewed,
    /// The pairing is finished: the box has an owner.
    Paired,
    /// A sign-in.
    SignedIn {
        /// How.
        by: SignedInBy,
        /// Where.
        browser: Browser,
    },
    /// A wrong password.
    PasswordWrong {
        /// Whether in a browser in which the owner had signed in before.
        known_browser: bool,
    },
    /// The right password with a wrong second factor.
    SecondWrong {
        /// Whether in a browser in which the owner had signed in before.
        known_browser: bool,
    },
    /// A sign-out.
    SignedOut,
    /// A session was ended from another one.
    SessionEnded {
        /// The browser of the session that was ended.
        browser: Browser,
    },
    /// All other sessions were ended.
    OthersEnded,
    /// The admin password was changed.
    PasswordChanged,
    /// A second factor was set up.
    SecondSetUp,
    /// The second factor was removed.
    SecondRemoved,
    /// A recovery code was used up.
    RecoveryUsed {
        /// How many are left.
        left: usize,
    },
    /// A sign-in with a passkey.
    PasskeyUsed {
        /// What the owner calls it.
        passkey: String,
        /// Where.
        browser: Browser,
    },
    /// A passkey that is not the owner's, or an answer that is not right.
    PasskeyWrong {
        /// Whether in a browser in which the owner had signed in before.
        known_browser: bool,
    },
    /// A passkey whose counter has gone back: there may be a copy of it.
    PasskeyCopied {
        /// What the owner calls it.
        passkey: String,
    },
    /// A passkey was added.
    PasskeyAdded {
        /// What the owner calls it.
        passkey: String,
    },
    /// A passkey was removed.
    PasskeyRemoved {
        /// What the owner calls it.
        passkey: String,
    },
    /// A laptop was paired.
    LaptopPaired {
        /// What the owner calls it.
        laptop: String,
    },
    /// A laptop was revoked.
    LaptopRevoked {
        /// What the owner calls it.
        laptop: String,
    },
    /// A backup was asked for, or the code that opens backups: all that the box keeps, in other hands.
    BackedUp,
    /// Where backups go was changed.
    Backups {
        /// What.
        change: BackupChange,
        /// Whether the backup service said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// A restart was asked for.
    Restarted,
    /// The other version was asked for.
    RolledBack,
    /// An update from a file in a browser was asked for.
    UpdateSent {
        /// Its version, as people read it; signed, so no stranger's words.
        version: String,
    },
    /// Mail goes by another relay, or by one for the first time.
    RelaySet {
        /// Whether the tunnel service said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// Mail goes by no relay any more.
    RelayRemoved {
        /// Whether the tunnel service said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// This card serves again, though another with the same keys had taken its place.
    TakenOver {
        /// Whether the tunnel service said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// A domain has other records of the owner's own.
    RecordsSet {
        /// The domain.
        domain: String,
        /// Whether the name server said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// The key of a domain that its registrar knows is being replaced.
    KeyReplaced {
        /// The domain.
        domain: String,
        /// Whether the name server said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// Something about certificates was changed, or asked for.
    Certificates {
        /// What.
        change: CertificateChange,
        /// Whether the certificate service said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// Receivers are told otherwise what to do with mail that is forged in a domain's name.
    DmarcSet {
        /// The domain.
        domain: String,
        /// What the owner chose; `None`: the box chooses.
        stage: Option<Dmarc>,
        /// Whether the name server said that it is done; if it breaks off, nobody knows.
        known: bool,
    },
    /// A factory reset was asked for. The reset takes the log with it, so this is seen only until
    /// then, or if nothing came of it.
    FactoryReset,
    /// Something about mail was changed.
    Mail {
        /// What.
        change: MailChange,
        /// Whether the mail service said that it is done. It says no to much, which is no event; if it
        /// breaks off, nobody knows.
        known: bool,
    },
    /// What another version of this program has written, as it stands there.
    #[serde(untagged)]
    Other(Map<String, Value>),
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When.
    pub at: Now,
    /// Who.
    pub who: Actor,
    /// From where; `None` for the box itself.
    pub from: Option<IpAddr>,
    /// What.
    pub what: Event,
}

impl Event {
    /// Whether the owner should be told without having to look: a message, a line at the
    /// top of the page.
    pub fn is_alarming(&self) -> bool {
        match self {
            // Whoever gets this far has the password.
            Self::SecondWrong { .. } => true,
            Self::SecondRemoved | Self::PasswordChanged | Self::RecoveryUsed { .. } => true,
            // They may do all that the owner may.
            Self::LaptopPaired { .. } | Self::PasskeyAdded { .. } => true,
            Self::PasskeyCopied { .. } => true,
            // All mail goes there, if encrypted; and without a place, none is there on a bad day.
            Self::Backups { .. } => true,
            // All mail passes there.
            Self::RelaySet { .. } => true,
            Self::FactoryReset => true,
            Self::Mail { change, .. } => change.is_alarming(),
            // Better looked at once for nothing.
            Self::Other(_) => true,
            Self::CodeWrong
            | Self::Certificates { .. }
            | Self::CodeRight { .. }
            | Self::CodeExpired
            | Self::CodeRenewed
            | Self::Paired
            | Self::SignedIn { .. }
            | Self::PasswordWrong { .. }
            | Self::SignedOut
            | Self::SessionEnded { .. }
            | Self::OthersEnded
            | Self::SecondSetUp
            | Self::PasskeyUsed { .. }
            | Self::PasskeyWrong { .. }
            | Self::PasskeyRemoved { .. }
            | Self::LaptopRevoked { .. }
            | Self::BackedUp
            | Self::Restarted
            | Self::RolledBack
            | Self::UpdateSent { .. }
            | Self::RelayRemoved { .. }
            | Self::TakenOver { .. }
            | Self::RecordsSet { .. }
            | Self::KeyReplaced { .. }
            | Self::DmarcSet { .. } => false,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "The owner",
            Self::Somebody => "Somebody",
            Self::Box => "The box",
            Self::Laptop => "The owner's laptop",
        })
    }
}

const TUNNEL: &str = "tunnel service";
const NAME_SERVER: &str = "name server";
const CERTIFICATES: &str = "certificate service";
const BACKUPS: &str = "backup service";

fn place(known_browser: bool) -> &'static str {
    if known_browser {
        "in a browser that the owner has used before"
    } else {
        "in a browser that is new here"
    }
}

fn unless_known(known: bool, service: &str) -> String {
    if known {
        return String::new();
    }
    format!(", or tried to: the {service} broke off before it said whether that is done")
}

impl fmt::Display for Event {
    /// What the actor did, to stand after its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CodeWrong => f.write_str("entered a wrong pairing code"),
            Self::CodeRight { browser } => write!(f, "entered the pairing code ({browser})"),
            Self::CodeExpired => f.write_str("no longer takes its pairing code, which has expired"),
            Self::CodeRenewed => f.write_str("made a new pairing code"),
            Self::Paired => f.write_str("finished the pairing and owns the box from now on"),
            Self::SignedIn { by, browser } => {
                let how = match by {
                    SignedInBy::Pairing => "by pairing",
                    SignedInBy::Password => "with the password",
                    SignedInBy::App => "with the password and a code of the app",
                    SignedInBy::Recovery => "with the password and a recovery code",
                    SignedInBy::Passkey => "with a passkey",
                };
                write!(f, "signed in {how} ({browser})")
            }
            Self::PasswordWrong { known_browser } => {
                write!(f, "entered a wrong password, {}", place(*known_browser))
            }
            Self::SecondWrong { known_browser } => write!(
                f,
                "entered the right password and a wrong code, {}",
                place(*known_browser)
            ),
            Self::SignedOut => f.write_str("signed out"),
            Self::SessionEnded { browser } => write!(f, "ended the session of {browser}"),
            Self::OthersEnded => f.write_str("ended all other sessions"),
            Self::PasswordChanged => f.write_str("changed the admin password"),
            Self::SecondSetUp => f.write_str("set up an app for sign-in codes"),
            Self::SecondRemoved => f.write_str("removed the app for sign-in codes"),
            Self::RecoveryUsed { left: 0 } => f.write_str("used the last recovery code"),
            Self::RecoveryUsed { left: 1 } => f.write_str("used a recovery code; 1 is left"),
            Self::RecoveryUsed { left } => write!(f, "used a recovery code; {left} are left"),
            Self::PasskeyUsed { passkey, browser } => {
                write!(f, "signed in with the passkey {passkey:?} ({browser})")
            }
            Self::PasskeyWrong { known_browser } => write!(
                f,
                "showed a passkey that the box does not take, {}",
                place(*known_browser)
            ),
            Self::PasskeyCopied { passkey } => {
                write!(
                    f,
                    "showed the passkey {passkey:?}, of which there may be a copy"
                )
            }
            Self::PasskeyAdded { passkey } => write!(f, "added the passkey {passkey:?}"),
            Self::PasskeyRemoved { passkey } => write!(f, "removed the passkey {passkey:?}"),
            Self::LaptopPaired { laptop } => write!(f, "paired the laptop {laptop:?}"),
            Self::LaptopRevoked { laptop } => write!(f, "revoked the laptop {laptop:?}"),
            Self::BackedUp => f.write_str("fetched a backup, or the code that opens backups"),
            Self::Backups { change, known } => {
                write!(f, "{change}{}", unless_known(*known, BACKUPS))
            }
            Self::Restarted => f.write_str("restarted the box"),
            Self::RolledBack => f.write_str("asked for the version from before"),
            Self::UpdateSent { version } => {
                write!(f, "asked for the update to {version} with a file")
            }
            Self::RelaySet { known } => {
                write!(f, "set the relay{}", unless_known(*known, TUNNEL))
            }
            Self::RelayRemoved { known } => {
                write!(f, "removed the relay{}", unless_known(*known, TUNNEL))
            }
            Self::TakenOver { known } => {
                let unless = unless_known(*known, TUNNEL);
                write!(
                    f,
                    "had this card serve in place of another with the same keys{unless}"
                )
            }
            Self::RecordsSet { domain, known } => {
                let unless = unless_known(*known, NAME_SERVER);
                write!(f, "set DNS records of {domain:?}{unless}")
            }
            Self::KeyReplaced { domain, known } => {
                let unless = unless_known(*known, NAME_SERVER);
                write!(f, "began to replace the DNSSEC key of {domain:?}{unless}")
            }
            Self::Certificates { change, known } => {
                write!(f, "{change}{}", unless_known(*known, CERTIFICATES))
            }
            Self::DmarcSet {
                domain,
                stage,
                known,
            } => {
                let what = match stage {
                    Some(Dmarc::None) => {
                        "that receivers only report mail that is forged in the name of"
                    }
                    Some(Dmarc::Quarantine) => {
                        "that receivers put into the junk folder what is forged in the name of"
                    }
                    Some(Dmarc::Reject) => {
                        "that receivers refuse mail that is forged in the name of"
                    }
                    None => {
                        "to leave to the box what receivers do with mail that is forged in the name of"
                    }
                };
                let unless = unless_known(*known, NAME_SERVER);
                write!(f, "chose {what} {domain:?}{unless}")
            }
            Self::FactoryReset => f.write_str("asked for a factory reset"),
            Self::Mail {
                change,
                known: true,
            } => change.fmt(f),
            Self::Mail {
                change,
                known: false,
            } => write!(
                f,
                "{change}, or tried to: the mail service broke off before it said whether that is done"
            ),
            Self::Other(_) => {
                f.write_str("did something that another version of this box has words for")
            }
        }
    }
}

impl fmt::Display for Entry {
    /// When, from where, who, what: one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.wall {
            Some(wall) => write!(f, "{wall}")?,
            None => {
                let age = Duration::from_secs(self.at.powered_on.0);
                write!(
                    f,
                    "before the clock was set, {} into the life of the box",
                    words(age)
                )?;
            }
        }
        if let Some(from) = self.from {
            write!(f, ", from {}", from.to_canonical())?;
        }
        write!(f, ": {} {}.", self.who, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{PoweredOn, Wall};
    use serde_json::json;

    #[test]
    fn every_event_is_a_sentence() {
        let browser = Browser::recognise("(Linux; Android 15) Chrome/140.0");
        let events = [
            (Actor::Somebody, Event::CodeWrong),
            (Actor::Somebody, Event::CodeRight { browser }),
            (Actor::Box, Event::CodeExpired),
            (Actor::Box, Event::CodeRenewed),
            (Actor::Owner, Event::Paired),
            (
                Actor::Owner,
                Event::SignedIn {
                    by: SignedInBy::Pairing,
                    browser,
                },
            ),
            (
                Actor::Owner,
                Event::SignedIn {
                    by: SignedInBy::Password,
                    browser,
                },
            ),
            (
                Actor::Owner,
                Event::SignedIn {
                    by: SignedInBy::App,
                    browser,
                },
            ),
            (
                Actor::Owner,
                Event::SignedIn {
                    by: SignedInBy::Recovery,
                    browser,
                },
            ),
            (
                Actor::Somebody,
                Event::PasswordWrong {
                    known_browser: true,
                },
            ),
            (
                Actor::Somebody,
                Event::PasswordWrong {
                    known_browser: false,
                },
            ),
            (
                Actor::Somebody,
                Event::SecondWrong {
                    known_browser: true,
                },
            ),
            (
                Actor::Somebody,
                Event::SecondWrong {
                    known_browser: false,
                },
            ),
            (Actor::Owner, Event::SignedOut),
            (Actor::Owner, Event::SessionEnded { browser }),
            (Actor::Owner, Event::OthersEnded),
            (Actor::Owner, Event::PasswordChanged),
            (Actor::Owner, Event::SecondSetUp),
            (Actor::Laptop, Event::SecondRemoved),
            (Actor::Owner, Event::RecoveryUsed { left: 7 }),
            (Actor::Owner, Event::RecoveryUsed { left: 1 }),
            (Actor::Owner, Event::RecoveryUsed { left: 0 }),
            (
                Actor::Owner,
                Event::PasskeyAdded {
                    passkey: "phone".into(),
                },
            ),
            (
                Actor::Owner,
                Event::PasskeyUsed {
                    passkey: "phone".into(),
                    browser,
                },
            ),
            (
                Actor::Somebody,
                Event::PasskeyWrong {
                    known_browser: false,
                },
            ),
            (
                Actor::Somebody,
                Event::PasskeyCopied {
                    passkey: "phone".into(),
                },
            ),
            (
                Actor::Owner,
                Event::PasskeyRemoved {
                    passkey: "phone".into(),
                },
            ),
            (
                Actor::Owner,
                Event::LaptopPaired {
                    laptop: "desk".into(),
                },
            ),
            (
                Actor::Laptop,
                Event::LaptopRevoked {
                    laptop: "couch".into(),
                },
            ),
            (Actor::Laptop, Event::BackedUp),
            (
                Actor::Laptop,
                Event::Backups {
                    change: BackupChange::TargetSet {
                        endpoint: "https://s3.example.net".into(),
                        place: "s3://backups/attic".into(),
                    },
                    known: true,
                },
            ),
            (
                Actor::Owner,
                Event::Backups {
                    change: BackupChange::TargetRemoved,
                    known: false,
                },
            ),
            (Actor::Laptop, Event::Restarted),
            (Actor::Owner, Event::RolledBack),
            (
                Actor::Owner,
                Event::UpdateSent {
                    version: "1.2".into(),
                },
            ),
            (Actor::Owner, Event::RelaySet { known: true }),
            (Actor::Laptop, Event::RelaySet { known: false }),
            (Actor::Laptop, Event::RelayRemoved { known: true }),
            (Actor::Owner, Event::RelayRemoved { known: false }),
            (Actor::Laptop, Event::TakenOver { known: true }),
            (Actor::Owner, Event::TakenOver { known: false }),
            (
                Actor::Owner,
                Event::RecordsSet {
                    domain: "example.org".into(),
                    known: true,
                },
            ),
            (
                Actor::Laptop,
                Event::KeyReplaced {
                    domain: "example.org".into(),
                    known: false,
                },
            ),
            (
                Actor::Owner,
                Event::DmarcSet {
                    domain: "example.org".into(),
                    stage: None,
                    known: true,
                },
            ),
            (
                Actor::Owner,
                Event::DmarcSet {
                    domain: "example.org".into(),
                    stage: Some(Dmarc::None),
                    known: true,
                },
            ),
            (
                Actor::Laptop,
                Event::DmarcSet {
                    domain: "example.org".into(),
                    stage: Some(Dmarc::Quarantine),
                    known: true,
                },
            ),
            (
                Actor::Owner,
                Event::DmarcSet {
                    domain: "example.org".into(),
                    stage: Some(Dmarc::Reject),
                    known: false,
                },
            ),
            (Actor::Laptop, Event::FactoryReset),
        ];
        let mail = mail::tests::one_of_each().into_iter().map(|change| {
            let known = true;
            (Actor::Owner, Event::Mail { change, known })
        });
        let certificates = certificates::tests::one_of_each().into_iter();
        let certificates = certificates.enumerate().map(|(i, change)| {
            let known = i > 0;
            (Actor::Owner, Event::Certificates { change, known })
        });
        let change = MailChange::QueuedDeleted;
        let unknown = Event::Mail {
            change,
            known: false,
        };
        let other = json!({ "event": "moved_house", "to": "attic", "floors": [1, 2] });
        let other = serde_json::from_value(other).unwrap();
        let events = events.into_iter().chain(mail).chain(certificates);
        let events = events.chain([(Actor::Laptop, unknown), (Actor::Owner, other)]);
        let mut text = String::new();
        for (i, (who, what)) in events.enumerate() {
            let from = (who != Actor::Box).then(|| "::ffff:192.168.1.20".parse().unwrap());
            let at = Now {
                powered_on: PoweredOn(200),
                wall: (i > 4).then_some(Wall(1_798_761_540 + i as u64)),
            };
            let entry = Entry {
                at,
                who,
                from,
                what,
            };
            let json = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<Entry>(&json).unwrap(), entry);
            text += &format!(
                "{}{entry}\n",
                if entry.what.is_alarming() { "! " } else { "  " }
            );
        }
        insta::assert_snapshot!(text);
    }

    /// A box that went back a version must read, keep and give away what the newer one wrote.
    #[test]
    fn what_another_version_wrote_stays_as_it_is() {
        for other in [
            json!({ "event": "moved_house", "to": "attic" }),
            json!({ "event": "laptop_paired", "laptop": "desk", "by": "a glance" }),
            json!({ "event": "mail", "change": { "change": "burnt" }, "known": true }),
            json!({ "event": "signed_in", "by": "smell", "browser": 7 }),
        ] {
            let read: Event = serde_json::from_value(other.clone()).unwrap();
            assert!(matches!(read, Event::Other(_)), "{read:?}");
            assert!(read.is_alarming());
            assert_eq!(serde_json::to_value(&read).unwrap(), other);
        }
        // What is no event at all is damage.
        for damaged in [json!("signed_out"), json!(7), json!([])] {
            assert!(serde_json::from_value::<Event>(damaged).is_err());
        }
        let read: Event = serde_json::from_value(json!({ "event": "signed_out" })).unwrap();
        assert_eq!(read, Event::SignedOut);
    }
}
