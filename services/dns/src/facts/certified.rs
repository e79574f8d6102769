//! What the certificate service says, as far as zones are made of it.
//!
//! Whatever it says, a zone can still be made: what cannot stand in a record is left out here.

use super::OFFERS;
use crate::generate::{self, Acme, Facts, TTL_CHANGING, TlsKey};
use roost_service::certificates::{CertificateStatus, Directory, MAIL, Role, State, Status};
use roost_service::mail::ports;
use serde::{Deserialize, Serialize};

/// How Let's Encrypt is called in CAA records, by its place for tests too.
const LETS_ENCRYPT: &str = "letsencrypt.org";

/// What zones are made of, kept on the card: the service may be away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificates {
    /// Who issues them, once the owner has agreed to that.
    acme: Option<Acme>,
    /// What the mail host shows in TLS, while it has a certificate.
    key: Option<TlsKey>,
    /// Names with a certificate that others trust.
    names: Vec<Certified>,
    /// Full name of the box's own pages.
    portal: Option<String>,
}

/// A name with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Certified {
    name: String,
    /// The last second in which the certificate holds, since 1970.
    until: u64,
}

impl From<&Status> for Certificates {
    fn from(status: &Status) -> Self {
        let holds = |one: &&CertificateStatus| matches!(one.state, State::Valid | State::Failing);
        let held = || status.certificates.iter().filter(holds);
        let choice = status.choice.as_ref();
        // Nobody trusts what comes from there.
        let for_tests =
            choice.is_some_and(|choice| choice.directory == Directory::LetsEncryptStaging);
        let names = held().filter(|_| !for_tests).flat_map(|one| {
            let until = one.valid.map(|(_, until)| until);
            let hosts = one.names.iter().filter(|name| generate::is_host(name));
            hosts.filter_map(move |name| {
                Some(Certified {
                    name: name.to_ascii_lowercase(),
                    until: until?,
                })
            })
        });
        let portal = choice.and_then(|choice| choice.portal.clone());
        Self {
            acme: acme(status),
            key: held().find(|one| one.id == MAIL).and_then(key),
            names: names.collect(),
            portal: portal.filter(|name| generate::is_host(name)),
        }
    }
}

/// Who may issue. Without an authority's name no record forbids anything: a guess would shut it out.
fn acme(status: &Status) -> Option<Acme> {
    let choice = status.choice.as_ref()?;
    let told = status.caa.iter().find(|name| generate::is_host(name));
    let issuer = match (&choice.directory, told) {
        (_, Some(told)) => told,
        (Directory::LetsEncrypt | Directory::LetsEncryptStaging, None) => LETS_ENCRYPT,
        (Directory::Url(_), None) => return None,
    };
    choice.terms_agreed.then(|| Acme {
        issuer: issuer.to_owned(),
        account: (status.account.clone()).filter(|url| generate::is_account(url)),
        contact: (choice.contact.clone()).filter(|address| generate::is_address(address)),
    })
}

/// The mail host's key, at each port where it is shown.
fn key(mail: &CertificateStatus) -> Option<TlsKey> {
    let of = |role| {
        let key = mail.tls_keys.iter().find(|key| key.role == role)?;
        generate::is_digest(&key.sha256).then(|| key.sha256.clone())
    };
    let mut ports = vec![ports::SMTP];
    ports.extend(OFFERS.map(|(_, port)| port));
    ports.dedup();
    Some(TlsKey {
        ports,
        current: of(Role::Current)?,
        next: of(Role::Next),
        previous: of(Role::Previous),
    })
}

impl Certificates {
    /// Adds to each domain's facts what is true at `now`, in seconds since 1970.
    ///
    /// A name counts until its certificate ends, less the time that others keep a record which promises it. A
    /// key counts on: TLSA `3 1 1` pins it, whatever the certificate's dates are (RFC 7671, section 5.1).
    pub fn add_to(&self, all: &mut [Facts], now: u64) {
        let end = now.saturating_add(TTL_CHANGING.into());
        let holding = self.names.iter().filter(|certified| certified.until > end);
        let holding: Vec<String> = holding.map(|certified| certified.name.clone()).collect();
        for facts in all {
            facts.acme.clone_from(&self.acme);
            facts.tls_keys = self.key.iter().cloned().collect();
            facts.certified.clone_from(&holding);
            facts.portal.clone_from(&self.portal);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use roost_service::certificates::{Choice, TlsKey as Told};

    pub(crate) const DAY: u64 = 86_400;

    /// A box of one domain that has all its certificates, until ninety days after `now`.
    pub(crate) fn status(now: u64) -> Status {
        let certificate = |id: &str, names: &[&str]| CertificateStatus {
            id: id.into(),
            names: names.iter().map(|&name| name.into()).collect(),
            readers: vec!["portal".into()],
            state: State::Valid,
            summary: "It holds.".into(),
            serial: Some("01".into()),
            valid: Some((now, now + 90 * DAY)),
            next_at: None,
            tls_keys: [(Role::Current, "ab"), (Role::Next, "cd")]
                .map(|(role, byte)| Told {
                    role,
                    sha256: byte.repeat(32),
                    published_since: None,
                })
                .to_vec(),
            failure: None,
        };
        Status {
            summary: "All certificates are there and hold.".into(),
            choice: Some(Choice {
                terms_agreed: true,
                portal: Some("box.example.org".into()),
                contact: Some("owner@example.org".into()),
                ..Choice::default()
            }),
            zones: None,
            directory: Some(Directory::LetsEncrypt.url().into()),
            account: Some("https://acme-v02.api.letsencrypt.org/acme/acct/7".into()),
            caa: Vec::new(),
            certificates: vec![
                certificate(MAIL, &["mail.example.org"]),
                certificate(
                    "example.org",
                    &[
                        "mta-sts.example.org",
                        "autoconfig.example.org",
                        "autodiscover.example.org",
                    ],
                ),
            ],
        }
    }

    fn heard(status: &Status) -> Certificates {
        Certificates::from(status)
    }

    fn choose(status: &mut Status) -> &mut Choice {
        status.choice.as_mut().unwrap()
    }

    #[test]
    fn who_may_issue() {
        let issuer = |status: &Status| heard(status).acme.map(|acme| acme.issuer);
        let mut status = status(0);
        assert_eq!(issuer(&status).as_deref(), Some("letsencrypt.org"));
        choose(&mut status).directory = Directory::LetsEncryptStaging;
        assert_eq!(issuer(&status).as_deref(), Some("letsencrypt.org"));
        choose(&mut status).directory = Directory::Url("https://acme.ca.example/dir".into());
        assert_eq!(issuer(&status), None, "an address tells no name");
        status.caa = vec!["no name".into(), "ca.example".into(), "ca.test".into()];
        assert_eq!(issuer(&status).as_deref(), Some("ca.example"));
        choose(&mut status).terms_agreed = false;
        assert_eq!(issuer(&status), None);
        status.choice = None;
        assert_eq!(issuer(&status), None);
    }

    #[test]
    fn what_cannot_stand_in_a_record_is_left_out() {
        let mut status = status(0);
        status.account = Some("https://ca.example/1; x=y".into());
        let choice = choose(&mut status);
        choice.contact = Some("a,b@example.org".into());
        choice.portal = Some("box".into());
        status.certificates[1].names.push("*.example.org".into());
        status.certificates[0].tls_keys[1].sha256 = "+f".repeat(32);
        let heard = heard(&status);
        let acme = heard.acme.unwrap();
        assert_eq!((acme.account, acme.contact), (None, None));
        assert_eq!((heard.portal, heard.names.len()), (None, 4));
        assert_eq!(heard.key.unwrap().next, None);
    }

    #[test]
    fn a_key_is_told_at_each_port_while_there_is_a_certificate() {
        let mut status = status(0);
        status.certificates[0].tls_keys.push(Told {
            role: Role::Previous,
            sha256: "ef".repeat(32),
            published_since: None,
        });
        let key = heard(&status).key.unwrap();
        assert_eq!(key.ports, [25, 465, 587, 993, 995, 4190, 443]);
        assert_eq!(key.current, "ab".repeat(32));
        assert_eq!(key.next, Some("cd".repeat(32)));
        assert_eq!(key.previous, Some("ef".repeat(32)));
        for (state, there) in [
            (State::Missing, false),
            (State::Valid, true),
            (State::Failing, true),
            (State::Expired, false),
        ] {
            status.certificates[0].state = state;
            assert_eq!(heard(&status).key.is_some(), there, "{state:?}");
        }
    }

    #[test]
    fn names_are_certified_while_the_certificate_holds_and_others_trust_it() {
        let mut facts = [crate::generate::tests::typical()];
        let mut certified = |status: &Status, now| {
            heard(status).add_to(&mut facts, now);
            let keys = facts[0].tls_keys.len();
            (facts[0].certified.len(), keys)
        };
        let mut status = status(0);
        assert_eq!(certified(&status, 0), (4, 1));
        let end = 90 * DAY - u64::from(TTL_CHANGING);
        assert_eq!(certified(&status, end - 1), (4, 1));
        // Nothing was heard for long; the key is the same still.
        assert_eq!(certified(&status, end), (0, 1));
        status.certificates[1].state = State::Missing;
        status.certificates[1].valid = None;
        assert_eq!(certified(&status, 0), (1, 1));
        choose(&mut status).directory = Directory::LetsEncryptStaging;
        assert_eq!(certified(&status, 0), (0, 1));
    }

    #[test]
    fn what_an_older_version_kept_is_read() {
        let none: Certificates = serde_json::from_str("{}").unwrap();
        assert_eq!(none, Certificates::default());
        let heard = heard(&status(0));
        let text = serde_json::to_string(&heard).unwrap();
        assert_eq!(serde_json::from_str::<Certificates>(&text).unwrap(), heard);
    }
}
