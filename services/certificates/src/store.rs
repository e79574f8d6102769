//! What is on the card: a file for each certificate, one for the accounts, one for what was chosen, one
//! for the names that it is for.
//!
//! A certificate, its keys, the order that is under way and what is remembered for the next one are in
//! **one** file, so that a certificate and a key that do not match cannot be. A file is written beside
//! the old one, synced, renamed, and its folder synced: a power cut leaves the old one or the new one.

use crate::keys::{Key, Keys};
use crate::leaf::Leaf;
use crate::renew::Renewal;
use crate::zone::Challenge;
use roost_service::certificates::{Choice, Failure, Zones};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A folder on a medium; a test puts a recorder here, to cut the power between any two steps.
pub trait Folder: Send {
    /// A file's content, if it is there.
    ///
    /// # Errors
    /// As the medium.
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>>;

    /// Makes a file anew, for this user alone; its content is on the medium when this returns.
    ///
    /// # Errors
    /// As the medium.
    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, over what has that name.
    ///
    /// # Errors
    /// As the medium.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Names of files are on the medium when this returns.
    ///
    /// # Errors
    /// As the medium.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the file system.
#[derive(Debug)]
pub struct Disk(pub PathBuf);

impl Folder for Disk {
    fn read(&mut self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_synced(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.0.join(name);
        // With the rights that it should have, whatever an earlier one had.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// All that is kept of one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The directory whose certificate it is.
    pub directory: String,
    /// Its keys.
    pub keys: Keys,
    /// The certificate and its issuers, in PEM; the key is [`Keys::find`]'s.
    pub chain: Option<String>,
    /// For the next order.
    pub renewal: Renewal,
    /// The order under way.
    pub order: Option<Pending>,
    /// Challenges that may be in the zone.
    pub challenges: Vec<Challenge>,
    /// Why the last try failed.
    pub failure: Option<Failure>,
    /// A certificate that is to be revoked once there is another.
    pub revoke: Option<Revoke>,
    /// The owner wants another now.
    pub asked: bool,
}

/// An order that the authority has, and that no certificate came of yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its address.
    pub url: String,
    /// Hash of the key that it is for.
    pub key_sha256: String,
}

/// A certificate that is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoke {
    /// It, and its issuers.
    pub chain: String,
    /// Whether somebody else may have its key.
    pub key_compromised: bool,
}

impl Kept {
    /// What is kept of a certificate that there is not yet.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(directory: &str) -> io::Result<Self> {
        Ok(Self {
            directory: directory.into(),
            keys: Keys::make().map_err(io::Error::other)?,
            chain: None,
            renewal: Renewal::default(),
            order: None,
            challenges: vec![],
            failure: None,
            revoke: None,
            asked: false,
        })
    }

    /// The certificate with its key, if there is one.
    pub fn leaf(&self) -> Option<(Leaf, &Key)> {
        let leaf = Leaf::parse(self.chain.as_deref()?).ok()?;
        let key = self.keys.find(&leaf.key_sha256)?;
        Some((leaf, key))
    }

    /// Notes challenges before they are put into the zone. Those that an earlier order may have left there stay
    /// noted: the next order does not have them, when its authority remembers that their names were proven.
    pub fn will_publish(&mut self, challenges: &[Challenge]) {
        // A name's challenge takes the place of the one before.
        let replaced = |old: &Challenge| challenges.iter().any(|new| new.name == old.name);
        self.challenges.retain(|old| !replaced(old));
        self.challenges.extend_from_slice(challenges);
    }
}

/// An account at a certificate authority.
#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    /// The authority's directory.
    pub directory: String,
    /// The private key (PKCS #8, DER, in base64), made before the account is.
    pub key: zeroize::Zeroizing<String>,
    /// The account's address, once there is one.
    pub uri: Option<String>,
    /// Address that the authority knows.
    pub contact: Option<String>,
    /// Names by which CAA records call the authority, as it said when the account was made.
    #[serde(default)]
    pub caa: Vec<String>,
}

/// All files.
pub struct Store {
    folder: Box<dyn Folder>,
}

/// Name of what was chosen.
const CHOICE: &str = "choice.json";
/// Name of what the name server has told.
const ZONES: &str = "zones.json";
/// Name of the list of accounts.
const ACCOUNTS: &str = "accounts.json";

impl Store {
    /// Those in this folder.
    pub fn new(folder: impl Folder + 'static) -> Self {
        let folder = Box::new(folder);
        Self { folder }
    }

    /// What was chosen, if something was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn choice(&mut self) -> io::Result<Option<Choice>> {
        self.load(CHOICE)
    }

    /// Keeps what was chosen.
    ///
    /// # Errors
    /// When it cannot be written; what was there is there still.
    pub fn keep_choice(&mut self, choice: &Choice) -> io::Result<()> {
        self.save(CHOICE, choice)
    }

    /// The names that certificates are for, if they were told.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn zones(&mut self) -> io::Result<Option<Zones>> {
        self.load(ZONES)
    }

    /// Keeps the names.
    ///
    /// # Errors
    /// As [`Self::keep_choice`].
    pub fn keep_zones(&mut self, zones: &Zones) -> io::Result<()> {
        self.save(ZONES, zones)
    }

    /// All accounts.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn accounts(&mut self) -> io::Result<Vec<Account>> {
        Ok(self.load(ACCOUNTS)?.unwrap_or_default())
    }

    /// Keeps these accounts.
    ///
    /// # Errors
    /// As [`Self::keep_choice`].
    pub fn keep_accounts(&mut self, accounts: &[Account]) -> io::Result<()> {
        self.save(ACCOUNTS, &accounts)
    }

    /// What is kept of a certificate, if something is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&mut self, id: &str) -> io::Result<Option<Kept>> {
        self.load(&file(id))
    }

    /// Keeps it.
    ///
    /// # Errors
    /// As [`Self::keep_choice`].
    pub fn keep(&mut self, id: &str, kept: &Kept) -> io::Result<()> {
        self.save(&file(id), kept)
    }

    fn load<T: DeserializeOwned>(&mut self, name: &str) -> io::Result<Option<T>> {
        let Some(bytes) = self.folder.read(name)? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&bytes);
        // The parser's own words could repeat a key.
        let damaged = |error: serde_json::Error| {
            let at = format!(
                "{name} is damaged in line {}, column {}",
                error.line(),
                error.column()
            );
            io::Error::new(io::ErrorKind::InvalidData, at)
        };
        value.map(Some).map_err(damaged)
    }

    fn save<T: Serialize>(&mut self, name: &str, value: &T) -> io::Result<()> {
        let bytes = zeroize::Zeroizing::new(serde_json::to_vec_pretty(value)?);
        let new = format!("{name}.new");
        self.folder.write_synced(&new, &bytes)?;
        self.folder.rename(&new, name)?;
        self.folder.sync()
    }
}

/// Name of a certificate's file. An id is `mail`, `portal` or a domain: no other file is called so.
fn file(id: &str) -> String {
    format!("certificate-{id}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_an_earlier_order_stay_noted() {
        let challenge = |name: &str, value: &str| Challenge {
            name: name.into(),
            zone: "example".into(),
            value: value.into(),
        };
        let mut kept = Kept::new("https://ca.example/directory").unwrap();
        kept.will_publish(&[challenge("a.example", "1"), challenge("b.example", "2")]);
        kept.will_publish(&[challenge("b.example", "3")]);
        assert_eq!(
            kept.challenges,
            [challenge("a.example", "1"), challenge("b.example", "3")]
        );
    }
}
