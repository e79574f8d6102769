//! What the other services said last, on the card: a box whose mail does not start still answers.

use super::PORT;
use crate::facts::{Certificates, facts};
use crate::generate::Facts;
use anyhow::Result;
use roost_service::certificates::{Secondary, Zones};
use roost_service::files;
use roost_service::mail::Published;
use roost_service::tunnel::Reached;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// The file in the data folder.
const FILE: &str = "known.json";

/// What the other services said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    pub published: Option<Published>,
    pub reached: Option<Reached>,
    pub certificates: Certificates,
}

impl Known {
    /// What lies in the data folder. Nothing is as good as a damaged file: the services are asked anyway.
    pub fn load(data: &Path) -> Self {
        let path = data.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                eprintln!("dns: {} cannot be read: {error}", path.display());
                return Self::default();
            }
        };
        // The parser's own words could repeat a key.
        serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            eprintln!("dns: {} is damaged and begun anew", path.display());
            Self::default()
        })
    }

    /// Keeps it. When this returns, it is on the card.
    pub fn save(&self, data: &Path) -> Result<()> {
        let text = serde_json::to_vec(self)?;
        files::write(&data.join(FILE), &text)?;
        Ok(())
    }

    /// The facts of each domain at `now`.
    pub fn facts(&self, now: u64) -> Vec<Facts> {
        let Some(published) = &self.published else {
            return Vec::new();
        };
        let outside = self.reached.as_ref().map(|reached| &reached.outside);
        let mut all = facts(published, outside);
        self.certificates.add_to(&mut all, now);
        all
    }

    /// What certificates are to be for: the names in zones that are served. `None` while the mail host's is
    /// not.
    pub fn zones(&self, served: Vec<String>) -> Option<Zones> {
        let mail_host = self.published.as_ref()?.host.clone();
        let is_in = |domain: &String| {
            let rest = mail_host.strip_suffix(domain.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let outside = self.reached.as_ref().map(|reached| &reached.outside);
        let secondary = outside.and_then(|outside| outside.secondary.as_ref());
        let addresses = secondary.map_or(&[][..], |secondary| &secondary.addresses);
        let within = self.reached.as_ref().map_or(&[][..], |r| &r.within);
        let secondaries = addresses.iter().map(|ip| Secondary {
            address: SocketAddr::new(*ip, PORT),
            // Any other would not lead there.
            from: (within.iter())
                .find(|own| own.is_ipv4() == ip.is_ipv4())
                .copied(),
        });
        served.iter().any(is_in).then(|| Zones {
            secondaries: secondaries.collect(),
            mail_host,
            domains: served,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::certified::tests::status;

    fn known() -> Known {
        let json = serde_json::json!({
            "published": {"host": "mail.example.org", "domains": ["example.org"], "dkim": []},
            "reached": {
                "outside": {
                    "addresses": ["192.0.2.1"],
                    "secondary": {"addresses": ["10.0.0.1", "fd00::1"], "key": "relay", "secret": ""},
                },
                "within": ["10.0.0.2"],
            },
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_was_said_stays_and_what_an_older_version_kept_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Known::load(folder.path()), Known::default());
        let mut known = known();
        assert_eq!(known.certificates, Certificates::default());
        known.certificates = Certificates::from(&status(0));
        known.save(folder.path()).unwrap();
        assert_eq!(Known::load(folder.path()), known);
        assert_eq!(known.facts(0)[0].tls_keys.len(), 1);
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert_eq!(Known::load(folder.path()), Known::default());
    }

    #[test]
    fn certificates_are_for_what_is_served() {
        let zones = |served: &[&str]| known().zones(served.iter().map(|&d| d.into()).collect());
        let all = zones(&["example.org", "example.net"]).unwrap();
        assert_eq!(all.mail_host, "mail.example.org");
        assert_eq!(all.domains, ["example.org", "example.net"]);
        let secondaries: Vec<String> = (all.secondaries.iter())
            .map(|server| format!("{} from {:?}", server.address, server.from))
            .collect();
        assert_eq!(
            secondaries,
            ["10.0.0.1:53 from Some(10.0.0.2)", "[fd00::1]:53 from None"]
        );
        assert!(zones(&["mail.example.org"]).is_some());
        for without in [&[][..], &["example.net"], &["ample.org"]] {
            assert_eq!(zones(without), None, "{without:?}");
        }
    }
}
