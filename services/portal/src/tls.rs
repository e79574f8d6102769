//! Which certificate port 443 shows to whom.
//!
//! | A client asks for | It gets |
//! |---|---|
//! | a name of a certificate that the certificate service has for the portal (SNI, RFC 6066 section 3) | that certificate, as new as it is; one that has run out rather than none |
//! | nothing, an address, `NAME.local`, any other name | the box's own, which laptops and browsers at home know |
//!
//! A connection keeps what it has shaken hands with. The laptops' door on 7625 shows the box's own alone.

use crate::actions::certificates::{self, NotDone};
use crate::app::App;
use crate::identity::Identity;
use roost_service::certificates::{Certificate, CertificateStatus};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::timeout;

/// How often the certificate service is asked whether there is something newer. Certificates change every
/// few weeks; this is for the owner who waits for the first one.
const EVERY: Duration = Duration::from_secs(10);
/// The same until it has answered for the first time: after a start, programs of the household
/// come back at once and would see another certificate than before.
const AT_THE_START: Duration = Duration::from_secs(1);

/// The certificates that are shown by name, in lower case. Handshakes read it; [`keep`] changes it.
#[derive(Debug, Default)]
pub struct Shown(RwLock<HashMap<String, Arc<CertifiedKey>>>);

impl Shown {
    /// Whether there is a certificate for this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        // It is replaced as a whole, so a thread that panicked has left nothing half done.
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        shown.get(&name.to_ascii_lowercase()).cloned()
    }

    fn replace(&self, shown: HashMap<String, Arc<CertifiedKey>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// Chooses a certificate for each handshake.
#[derive(Debug)]
pub(crate) struct ByName {
    shown: Arc<Shown>,
    own: Arc<CertifiedKey>,
}

impl ByName {
    /// `identity` for whoever asks for nothing that is in `shown`.
    ///
    /// # Errors
    /// When key and certificate of the box do not belong together.
    pub(crate) fn new(
        identity: &Identity,
        shown: Arc<Shown>,
        provider: &CryptoProvider,
    ) -> Result<Self, rustls::Error> {
        let chain = vec![identity.certificate.clone()];
        let own = CertifiedKey::from_der(chain, identity.key.clone_key(), provider)?;
        Ok(Self {
            shown,
            own: Arc::new(own),
        })
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.shown.find(name));
        Some(named.unwrap_or_else(|| self.own.clone()))
    }
}

/// A certificate that is shown.
struct Held {
    /// As the status had it when this was fetched.
    serial: String,
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

/// What [`keep`] remembers between two looks.
struct Keeper {
    provider: CryptoProvider,
    /// By [`CertificateStatus::id`].
    held: BTreeMap<String, Held>,
    /// What the log was told last about each, and about the service itself (empty).
    said: BTreeMap<String, String>,
}

/// Sees to it that `shown` has the newest certificates, until the program ends. What cannot be used is told
/// in the log once, and what was there before stays.
pub async fn keep(app: Arc<App>, shown: Arc<Shown>) {
    let mut keeper = Keeper {
        provider: rustls::crypto::ring::default_provider(),
        held: BTreeMap::new(),
        said: BTreeMap::new(),
    };
    let mut every = AT_THE_START;
    loop {
        match keeper.look(&app, &shown).await {
            Ok(()) => {
                every = EVERY;
                keeper.said.remove("");
            }
            Err(why) => keeper.say("", &format!("certificates stay as they are: {why}")),
        }
        // An order of the owner is looked after at once.
        let _ = timeout(every, app.certificates.changed.notified()).await;
    }
}

impl Keeper {
    async fn look(&mut self, app: &App, shown: &Shown) -> Result<(), NotDone> {
        let status = certificates::status(app).await?;
        app.certificates.learn(&status);
        let ours = |one: &&CertificateStatus| one.readers.iter().any(|reader| reader == "portal");
        let wanted: Vec<_> = status.certificates.iter().filter(ours).collect();
        let is_wanted = |id: &String| wanted.iter().any(|one| one.id == *id);
        self.held.retain(|id, _| is_wanted(id));
        self.said.retain(|id, _| id.is_empty() || is_wanted(id));
        for one in &wanted {
            let Some(serial) = &one.serial else { continue };
            if self
                .held
                .get(&one.id)
                .is_some_and(|held| held.serial == *serial)
            {
                continue;
            }
            match self.fetch(app, &one.id, serial).await {
                Ok(held) => {
                    println!("portal: {} has a new certificate", held.names.join(", "));
                    self.held.insert(one.id.clone(), held);
                    self.said.remove(&one.id);
                }
                Err(why) => {
                    let why = format!("the certificate for {} {why}", one.names.join(", "));
                    self.say(&one.id, &why);
                }
            }
        }
        let by_name = self.held.values().flat_map(|held| {
            let names = held.names.iter();
            names.map(|name| (name.to_ascii_lowercase(), held.key.clone()))
        });
        shown.replace(by_name.collect());
        Ok(())
    }

    async fn fetch(&self, app: &App, id: &str, serial: &str) -> Result<Held, String> {
        let certificate = certificates::get(app, id.to_owned())
            .await
            .map_err(|why| format!("cannot be fetched: {why}"))?;
        let key =
            usable(&certificate, &self.provider).map_err(|why| format!("cannot be used: {why}"))?;
        Ok(Held {
            serial: serial.to_owned(),
            names: certificate.names,
            key: Arc::new(key),
        })
    }

    /// Tells the log, unless that was the last thing that it was told.
    fn say(&mut self, about: &str, what: &str) {
        if self.said.get(about).is_none_or(|said| said != what) {
            eprintln!("portal: {what}");
            self.said.insert(about.to_owned(), what.to_owned());
        }
    }
}

/// Reads chain and key, which must belong together.
fn usable(
    certificate: &Certificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes())?;
    Ok(CertifiedKey::from_der(chain?, key, provider)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        let made = rcgen::generate_simple_self_signed(vec!["mail.example.org".into()]).unwrap();
        Certificate {
            id: "mail".into(),
            version: "v".into(),
            serial: "1".into(),
            names: vec!["mail.example.org".into()],
            chain_pem: made.serialize_pem().unwrap(),
            key_pem: made.serialize_private_key_pem(),
            not_after: 0,
        }
    }

    #[test]
    fn chain_and_key_must_belong_together() {
        let provider = rustls::crypto::ring::default_provider();
        let (one, two) = (certificate(), certificate());
        assert_eq!(usable(&one, &provider).unwrap().cert.len(), 1);
        let with_issuer = Certificate {
            chain_pem: one.chain_pem.clone() + &two.chain_pem,
            ..one.clone()
        };
        assert_eq!(usable(&with_issuer, &provider).unwrap().cert.len(), 2);
        for wrong in [
            Certificate {
                key_pem: two.key_pem,
                ..one.clone()
            },
            Certificate {
                chain_pem: String::new(),
                ..one.clone()
            },
            Certificate {
                key_pem: "key".into(),
                ..one
            },
        ] {
            assert!(usable(&wrong, &provider).is_err());
        }
    }

    #[test]
    fn names_are_found_in_any_capitals() {
        let provider = rustls::crypto::ring::default_provider();
        let key = Arc::new(usable(&certificate(), &provider).unwrap());
        let shown = Shown::default();
        shown.replace(HashMap::from([("mail.example.org".to_owned(), key)]));
        assert!(shown.has("Mail.Example.ORG"));
        assert!(!shown.has("example.org"));
        shown.replace(HashMap::new());
        assert!(!shown.has("mail.example.org"));
    }
}
