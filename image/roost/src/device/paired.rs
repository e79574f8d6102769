//! The boxes that this computer is paired with: where each is, by which certificate it is known,
//! and the key that was made for it.

use super::address::Address;
use super::folder::{self, Folder};
use super::identity::{Identity, Seed};
use crate::error::Failure;
use roost_bundle::Component;
use roost_service::fingerprint::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

/// A box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paired {
    /// What it calls itself.
    pub name: String,
    /// Where its device API answered last.
    pub address: String,
    /// The certificate that it must show, in PEM.
    pub certificate: String,
    /// What the box calls this computer.
    pub laptop: String,
    /// By which the box knows this computer.
    pub key: Seed,
    /// The pairing was asked for, and its answer has not come. It may hold, or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
    /// What this laptop has installed there last, to tell what an update changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<Installed>,
}

/// A version that this laptop has installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Its number.
    pub number: u64,
    /// What was in it.
    pub components: Vec<Component>,
}

impl Paired {
    /// Of its certificate.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the kept certificate is damaged.
    pub fn fingerprint(&self) -> Result<Fingerprint, Failure> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes()).map_err(|e| {
            Failure::new(format!("the kept certificate of {} is damaged", self.name))
                .because(e)
                .hint("pair with that box again: roost pair")
        })?;
        Ok(Fingerprint::of(&der))
    }

    /// What to show to the box.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the kept key makes no certificate.
    pub fn identity(&self) -> Result<Identity, Failure> {
        Identity::of(&self.key)
    }

    /// Whether what was typed is this box's name.
    pub fn is_called(&self, typed: &Address) -> bool {
        let host = typed.host();
        host.strip_suffix(".local").unwrap_or(host) == self.name
    }
}

/// In PEM, as it is kept.
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec()))
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Boxes(Folder);

impl Boxes {
    /// Those of this user.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if nothing says where they are.
    pub fn of_user() -> Result<Self, Failure> {
        Ok(Self(Folder::new(folder::config()?.join("boxes"))))
    }

    /// All by their names, those with a pending pairing as well.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if one cannot be read.
    pub fn all(&self) -> Result<Vec<Paired>, Failure> {
        let mut all: Vec<Paired> = self.0.all()?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The one with this certificate.
    ///
    /// # Errors
    ///
    /// As [`Self::all`].
    pub fn with(&self, fingerprint: Fingerprint) -> Result<Option<Paired>, Failure> {
        for paired in self.all()? {
            if paired.fingerprint()? == fingerprint {
                return Ok(Some(paired));
            }
        }
        Ok(None)
    }

    /// Writes it down, in place of what was known of the box with this certificate.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that fails; it is then as before.
    pub fn put(&self, paired: &Paired) -> Result<(), Failure> {
        self.0.put(&file_name(paired.fingerprint()?), paired)
    }

    /// Forgets boxes of that name at that address with another certificate: the card of that box was
    /// written anew, as somebody who may say so has said, and the box that was there is no more.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that fails.
    pub fn forget_former(&self, now: &Paired) -> Result<(), Failure> {
        // All emulated boxes have one address.
        if now
            .address
            .parse()
            .is_ok_and(|at: Address| at.is_loopback())
        {
            return Ok(());
        }
        let mine = now.fingerprint()?;
        for former in self.all()? {
            let fingerprint = former.fingerprint()?;
            let same = former.name == now.name && former.address == now.address;
            if same && fingerprint != mine {
                self.forget(fingerprint)?;
            }
        }
        Ok(())
    }

    /// Forgets a box.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that fails.
    pub fn forget(&self, fingerprint: Fingerprint) -> Result<(), Failure> {
        self.0.remove(&file_name(fingerprint))
    }

    /// Where it is written down.
    pub fn file(&self, fingerprint: Fingerprint) -> std::path::PathBuf {
        self.0.path(&file_name(fingerprint))
    }
}

/// Names a file after a certificate; 64 bits of its hash, which nobody hits by accident.
pub fn file_name(fingerprint: Fingerprint) -> String {
    fingerprint.hex()[..16].to_owned()
}
