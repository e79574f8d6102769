//! The directory as a whole: read as a [`Book`], changed by [`Step`]s.

use anyhow::Result;
use roost_mail_config::book::{Book, Entry, Step};
use roost_mail_config::{config, probe};
use roost_mail_server::directory::{Directory, NewAccount};
use roost_mail_server::queue::Queue;
use std::path::PathBuf;

/// The directory, and what goes with its domains.
pub struct Ledger {
    /// Accounts and domains.
    pub directory: Directory,
    /// Signs the domains' mail, too.
    pub queue: Queue,
    /// The service's data folder, which has the keys.
    pub data: PathBuf,
}

impl Ledger {
    /// Everything but the mailbox of the box's own test.
    pub async fn read(&self) -> Result<Book> {
        let accounts = self.directory.accounts().await?;
        Ok(Book {
            domains: self.directory.domains().await?,
            accounts: accounts
                .into_iter()
                .filter(|account| account.name != probe::ACCOUNT)
                .map(|account| Entry {
                    name: account.name,
                    display_name: account.display_name,
                    addresses: account.addresses,
                    quota: Some(account.quota).filter(|bytes| *bytes > 0),
                    used: account.used,
                    app_passwords: account.app_passwords,
                })
                .collect(),
        })
    }

    /// Performs one step; when this returns it is on the card.
    pub async fn perform(&self, step: Step) -> Result<()> {
        let directory = &self.directory;
        match step {
            Step::AddDomain { name } => {
                directory.add_domain(&name).await?;
                self.sign_for(&name).await?;
                println!("mail: made domain {name}");
            }
            Step::RemoveDomain { name } => {
                directory.remove_domain(&name).await?;
                println!("mail: removed domain {name}");
            }
            Step::AddAccount {
                name,
                display_name,
                password_hash,
                addresses,
            } => {
                let account = NewAccount {
                    name: name.clone(),
                    display_name,
                    password_hash,
                    addresses,
                };
                directory.add_account(account).await?;
                println!("mail: made account {name}");
            }
            Step::RemoveAccount { name } => {
                directory.remove_account(&name).await?;
                println!("mail: deleted account {name}");
            }
            Step::SetDisplayName { name, display_name } => {
                directory.set_display_name(&name, display_name).await?;
            }
            Step::SetPassword {
                name,
                password_hash,
            } => {
                directory.set_password(&name, password_hash).await?;
                println!("mail: changed the password of {name}");
            }
            Step::SetQuota { name, quota } => {
                directory.set_quota(&name, quota.unwrap_or(0)).await?;
            }
            Step::AddAddress { name, address } => {
                println!("mail: gives {address} to {name}");
                directory.add_address(&name, address).await?;
            }
            Step::RemoveAddress { name, address } => {
                println!("mail: takes {address} from {name}");
                directory.remove_address(&name, address).await?;
            }
            Step::AddAppPassword { name, kept } => {
                directory.add_app_password(&name, kept).await?;
                println!("mail: made an app password for {name}");
            }
            Step::RemoveAppPassword { name, kept } => {
                directory.remove_app_password(&name, kept).await?;
                println!("mail: revoked an app password of {name}");
            }
        }
        Ok(())
    }

    /// Mail from a domain is signed from now on.
    pub async fn sign_for(&self, domain: &str) -> Result<()> {
        let signatures = config::signatures_of(domain, &self.data)?;
        self.queue.sign(&signatures).await
    }
}
