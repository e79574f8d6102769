//! Mail accounts of a paired box, as a mail program reaches them.
//!
//! The laptop is known by its key, so nobody types a password: the box makes one for this command alone
//! (an "app password"), which is taken back at the end. That the server at port 993 is the box, its certificate
//! says, whose SHA-256 the box tells over the paired connection.

use super::address::{Address, WEB_PORT};
use super::stop::Stop;
use super::{Device, DeviceError};
use crate::cli::{BoxArgs, MailPortArgs};
use crate::error::Failure;
use crate::mail::account::{Account, Security, fingerprint};
use crate::mail::imap::tls::Trust;
use crate::ui::Ui;
use roost_service::fingerprint::Fingerprint;
use roost_service::mail::{MAX_LABEL, ports};
use roost_service::update::PORT;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A mail account.
#[derive(Debug, Clone, Deserialize)]
pub struct Known {
    /// Log-in name.
    pub name: String,
    /// Addresses, its own first.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Whether it is the box's first one.
    #[serde(default)]
    pub first: bool,
}

#[derive(Debug, Deserialize)]
struct Accounts {
    host: String,
    accounts: Vec<Known>,
}

#[derive(Debug, Deserialize)]
struct Certificate {
    sha256: String,
}

#[derive(Debug, Deserialize)]
struct AppPasswords {
    app_passwords: Vec<AppPassword>,
}

#[derive(Debug, Deserialize)]
struct AppPassword {
    id: String,
    label: String,
}

#[derive(Deserialize)]
struct Made {
    id: String,
    password: String,
}

/// A box, and passwords for some of its accounts while they are needed.
pub struct Mailbox<'a> {
    device: Device<'a>,
    /// Name of its mail server.
    pub host: String,
    /// Its accounts, the first one first.
    pub accounts: Vec<Known>,
    certificate: Fingerprint,
    label: String,
    /// Account and id of passwords that are not taken back yet.
    made: Vec<(String, String)>,
    ports: MailPortArgs,
}

impl<'a> Mailbox<'a> {
    /// Of the box that the arguments name; `what` is the command's name.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it does not answer, or has no mail yet.
    pub fn open(
        (which, ports): (&BoxArgs, &MailPortArgs),
        what: &str,
        stop: &Stop,
        ui: &'a Ui,
    ) -> Result<Self, Failure> {
        let mut device = Device::of(which, None, stop.clone(), ui)?;
        let Accounts { host, accounts } = get(
            &mut device,
            "mail/accounts",
            "cannot ask for the accounts of",
        )?;
        let Certificate { sha256 } = get(
            &mut device,
            "mail/certificate",
            "cannot ask for the mail server's certificate of",
        )?;
        let certificate = fingerprint(&sha256).map_err(|why| {
            let error = DeviceError::NotUnderstood(why);
            device.failure("cannot ask for the mail server's certificate of", error)
        })?;
        let laptop = device
            .met()
            .map(|known| known.laptop.clone())
            .unwrap_or_default();
        let label: String = format!("roost {what} on {laptop}")
            .chars()
            .take(MAX_LABEL)
            .collect();
        Ok(Self {
            device,
            host,
            accounts,
            certificate,
            label,
            made: Vec::new(),
            ports: ports.clone(),
        })
    }

    /// The account of this name, or the first one.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is none.
    pub fn find(&self, name: Option<&str>) -> Result<Known, Failure> {
        let found = match name {
            Some(name) => self.accounts.iter().find(|known| {
                known.name == name || known.addresses.iter().any(|address| address == name)
            }),
            None => self
                .accounts
                .iter()
                .find(|known| known.first)
                .or(self.accounts.first()),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = self
                .accounts
                .iter()
                .map(|known| known.name.as_str())
                .collect();
            match name {
                Some(name) => {
                    Failure::usage(format!("{} has no account {name}", self.device.address)).hint(
                        format!(
                            "it has: {}. The portal's page Accounts makes more",
                            names.join(", ")
                        ),
                    )
                }
                None => Failure::new(format!("{} has no account yet", self.device.address))
                    .hint("choose a domain first: `roost pair`"),
            }
        })
    }

    /// For people, e.g. `alice on attic`.
    pub fn whose(&self, account: &Known) -> String {
        let name = self.device.met().map_or_else(
            || self.device.address.to_string(),
            |known| known.name.clone(),
        );
        format!("{} on {name}", account.name)
    }

    /// Makes a password for an account.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box does not.
    pub fn sign_in(&mut self, account: &Known) -> Result<Account, Failure> {
        let path = format!("mail/accounts/{}/app-passwords", account.name);
        let cannot = "cannot make a password on";
        // Those of a command that was killed.
        let AppPasswords { app_passwords } = get(&mut self.device, &path, cannot)?;
        for left in app_passwords {
            if left.label == self.label {
                self.revoke(&account.name, &left.id)?;
            }
        }
        let body = json!({ "label": self.label });
        let answer = self
            .device
            .api("POST", &format!("/api/v1/{path}"), Some(&body));
        let answer = answer.map_err(|e| self.device.failure(cannot, e))?;
        let Made { id, password } = understood(&self.device, answer, cannot)?;
        self.made.push((account.name.clone(), id));
        Ok(Account {
            address: self.at(self.ports.imap_port, ports::IMAPS),
            security: Security::Tls,
            trust: Trust::Certificate(self.certificate),
            user: account.name.clone(),
            password: Zeroizing::new(password),
        })
    }

    /// Where its pages are, and calendars and contacts.
    pub fn web(&self) -> Address {
        self.at(self.ports.web_port, WEB_PORT)
    }

    /// The certificate of its pages: that of the pairing.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if what is kept of it is damaged.
    pub fn web_certificate(&self) -> Result<Fingerprint, Failure> {
        match self.device.met() {
            Some(known) => known.fingerprint(),
            None => Err(Failure::new("the box has not answered")),
        }
    }

    /// The box itself.
    pub fn device(&mut self) -> &mut Device<'a> {
        &mut self.device
    }

    /// A port of the same machine: the one that was given, or the usual one. `roost run` adds the
    /// same number to all of them.
    fn at(&self, given: Option<u16>, usual: u16) -> Address {
        let address = &self.device.address;
        let offset = address.port().saturating_sub(PORT);
        address.with_port(given.or(usual.checked_add(offset)).unwrap_or(usual))
    }

    fn revoke(&mut self, account: &str, id: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/mail/accounts/{account}/app-passwords/{id}");
        match self.device.api("DELETE", &path, None) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.device.failure("cannot take back a password on", e)),
        }
    }

    /// Takes all passwords back, also after Ctrl-C.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the box does not answer; the next command of this kind tries again.
    pub fn close(&mut self) -> Result<(), Failure> {
        self.device.stop = Stop::default();
        let mut all = Ok(());
        for (account, id) in std::mem::take(&mut self.made) {
            all = all.and(self.revoke(&account, &id));
        }
        all
    }
}

impl Drop for Mailbox<'_> {
    /// On the way out of an error, which is told instead of this one.
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// Asks the API.
///
/// # Errors
///
/// A [`Failure`] if the box does not answer, or not what was asked.
pub fn get<T: DeserializeOwned>(
    device: &mut Device<'_>,
    path: &str,
    cannot: &str,
) -> Result<T, Failure> {
    let answer = device.api("GET", &format!("/api/v1/{path}"), None);
    let answer = answer.map_err(|e| device.failure(cannot, e))?;
    understood(device, answer, cannot)
}

fn understood<T: DeserializeOwned>(
    device: &Device<'_>,
    answer: Value,
    cannot: &str,
) -> Result<T, Failure> {
    serde_json::from_value(answer)
        .map_err(|e| device.failure(cannot, DeviceError::NotUnderstood(e.to_string())))
}
