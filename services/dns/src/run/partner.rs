//! What is agreed with the certificate service: it learns what is served and where keys' hashes are, and gives
//! the key with which it writes its challenges into the zones.

use super::soon;
use crate::keeper::Pinned;
use crate::tsig::Key;
use crate::update::{BadPattern, Rule, Writer};
use hickory_proto::rr::{Name, RecordType};
use roost_service::certificates::{Answer, Call, MAX_LINE, Role, Status, Zones};
use roost_service::door::ask;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The one algorithm that is spoken here (RFC 8945, section 6).
const ALGORITHM: &str = "hmac-sha256";
/// Where a certificate authority looks for challenges (RFC 8555, section 8.4).
const CHALLENGES: &str = "_acme-challenge.**";

/// The certificate service, and what it may do here.
pub(super) struct Partner {
    socket: PathBuf,
    /// In memory alone: the service keeps the key, and says it again after each start.
    writer: Option<Writer>,
    /// Why there is no key, as it was told last.
    no_key: Option<String>,
    /// What could not be told, and why: each stands in the log once.
    untold: BTreeSet<String>,
}

impl Partner {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            writer: None,
            no_key: None,
            untold: BTreeSet::new(),
        }
    }

    /// Who may write challenges.
    pub(super) fn writer(&self) -> Option<&Writer> {
        self.writer.as_ref()
    }

    /// Asks for the key with which challenges are written. Says whether there is another.
    pub(super) async fn ask_key(&mut self) -> bool {
        let fault = match self.another_key().await {
            Ok(None) => None,
            Ok(another) => {
                println!("dns: the certificate service may write challenges");
                self.writer = another;
                self.no_key = None;
                return true;
            }
            Err(why) => Some(why),
        };
        if let Some(why) = fault.as_ref().filter(|_| fault != self.no_key) {
            eprintln!("dns: there is no key for challenges: {why}");
        }
        self.no_key = fault;
        false
    }

    /// Tells what differs from its status.
    pub(super) async fn tell(&mut self, status: &Status, zones: Option<Zones>, pinned: &[Pinned]) {
        let mut untold = BTreeSet::new();
        for call in news(status, zones, pinned) {
            if let Err(why) = self.say(&call).await {
                let what = match call {
                    Call::Published { .. } => "which keys are published",
                    _ => "which zones are served",
                };
                untold.insert(format!("{what}: {why}"));
            }
        }
        for what in untold.difference(&self.untold) {
            eprintln!("dns: the certificate service could not be told {what}");
        }
        self.untold = untold;
    }

    async fn say(&self, call: &Call) -> Result<(), String> {
        match soon(ask(&self.socket, call, MAX_LINE)).await {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Refused { why }) => Err(why),
            Ok(_) => Err("it answers in riddles".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The key, if it is another than before.
    async fn another_key(&self) -> Result<Option<Writer>, String> {
        let answer = soon(ask(&self.socket, &Call::DnsKey, MAX_LINE)).await;
        let (name, algorithm, secret) = match answer.map_err(|error| error.to_string())? {
            Answer::DnsKey {
                name,
                algorithm,
                secret,
            } => (name, algorithm, secret),
            Answer::Refused { why } => return Err(why),
            _ => return Err("the certificate service answers in riddles".into()),
        };
        if !algorithm.eq_ignore_ascii_case(ALGORITHM) {
            return Err(format!("it is for {algorithm}, not for {ALGORITHM}"));
        }
        let name = Name::from_ascii(&name).map_err(|error| error.to_string())?;
        let key = Key::from_base64(name, &secret).map_err(|error| error.to_string())?;
        if self
            .writer
            .as_ref()
            .is_some_and(|writer| *writer.key == key)
        {
            return Ok(None);
        }
        let rule = Rule {
            names: (CHALLENGES.parse()).map_err(|error: BadPattern| error.to_string())?,
            types: vec![RecordType::TXT],
        };
        Ok(Some(Writer {
            key: Arc::new(key),
            rules: vec![rule],
        }))
    }
}

/// What the service does not know yet.
fn news(status: &Status, zones: Option<Zones>, pinned: &[Pinned]) -> Vec<Call> {
    let other = zones.filter(|zones| status.zones.as_ref() != Some(zones));
    let serve = other.map(|zones| Call::Serve { zones });
    // Nobody waits for the key before.
    let keys = status.certificates.iter().flat_map(|one| &one.tls_keys);
    let waits = keys.filter(|key| key.role != Role::Previous && key.published_since.is_none());
    let published = waits.filter_map(|key| {
        let pin = pinned.iter().find(|pin| pin.sha256 == key.sha256)?;
        Some(Call::Published {
            sha256: pin.sha256.clone(),
            since: pin.since,
            ttl_s: pin.ttl_s,
        })
    });
    serve.into_iter().chain(published).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::certified::tests::status;

    fn zones(host: &str) -> Zones {
        Zones {
            mail_host: host.into(),
            domains: vec!["example.org".into()],
            secondaries: Vec::new(),
        }
    }

    #[test]
    fn what_it_knows_is_not_told_again() {
        let mut status = status(0);
        let pinned = ["ab", "cd", "ef"].map(|byte| Pinned {
            sha256: byte.repeat(32),
            since: 7,
            ttl_s: 300,
        });
        let told = |status: &Status, zones| news(status, zones, &pinned);
        // Two certificates have the same keys here; of each, both.
        status.certificates.truncate(1);
        let published = |byte: &str| Call::Published {
            sha256: byte.repeat(32),
            since: 7,
            ttl_s: 300,
        };
        let serve = Call::Serve {
            zones: zones("mail.example.org"),
        };
        assert_eq!(
            told(&status, Some(zones("mail.example.org"))),
            [serve, published("ab"), published("cd")]
        );
        status.zones = Some(zones("mail.example.org"));
        status.certificates[0].tls_keys[0].published_since = Some(7);
        status.certificates[0].tls_keys[1].role = Role::Previous;
        assert_eq!(told(&status, Some(zones("mail.example.org"))), []);
        // The mail host's zone is not served now: what it was told stays.
        assert_eq!(told(&status, None), []);
        let serve = Call::Serve {
            zones: zones("mx.example.org"),
        };
        assert_eq!(told(&status, Some(zones("mx.example.org"))), [serve]);
        assert_eq!(news(&status, None, &[]), []);
    }
}
