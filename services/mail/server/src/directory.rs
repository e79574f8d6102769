//! Domains, accounts and addresses, inside the library: no administrator's
//! password exists, so none can leak.

use crate::Later;
use anyhow::{Result, anyhow};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::common::{self, Inner};
use stalwart_lib::directory::Type;
use stalwart_lib::directory::backend::internal::lookup::DirectoryStore;
use stalwart_lib::directory::backend::internal::manage::{ManageDirectory, UpdatePrincipal};
use stalwart_lib::directory::backend::internal::{
    PrincipalField, PrincipalSet, PrincipalUpdate, PrincipalValue,
};
use std::sync::Arc;

/// Who receives mail here.
pub struct Directory(common::Server);

/// A mail account to be made.
#[derive(Clone)]
pub struct NewAccount {
    /// Log-in name.
    pub name: String,
    /// The person's name.
    pub display_name: String,
    /// Crypt-style hash of the password.
    pub password_hash: String,
    /// Addresses, the account's own first; their domains must exist.
    pub addresses: Vec<String>,
}

/// A mailbox that a program of the box uses and nobody else: without mail sent,
/// POP3, JMAP and the rest.
#[derive(Clone)]
pub struct InternalAccount {
    /// Log-in name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Its one address; the domain must exist.
    pub address: String,
    /// Most bytes that it may hold.
    pub quota: u64,
}

/// What an internal account may do, in the library's words.
const INTERNAL_PERMISSIONS: [&str; 7] = [
    "authenticate",
    "email-receive",
    "imap-authenticate",
    "imap-select",
    "imap-fetch",
    "imap-store",
    "imap-expunge",
];

impl Directory {
    pub(crate) fn new(inner: &Arc<Inner>) -> Self {
        Directory(inner.build_server())
    }

    /// Whether mail for a domain is delivered here.
    pub fn has_domain<'a>(&'a self, name: &'a str) -> Later<'a, Result<bool>> {
        Box::pin(self.has(name, Type::Domain))
    }

    /// Whether somebody logs in by this name.
    pub fn has_account<'a>(&'a self, name: &'a str) -> Later<'a, Result<bool>> {
        Box::pin(self.has(name, Type::Individual))
    }

    /// Whether an address delivers to somebody.
    pub fn has_address<'a>(&'a self, address: &'a str) -> Later<'a, Result<bool>> {
        Box::pin(async move {
            let owner = self
                .0
                .store()
                .email_to_id(address)
                .await
                .map_err(|error| anyhow!("look up {address}: {error}"))?;
            Ok(owner.is_some())
        })
    }

    /// Makes mail for a domain local.
    pub fn add_domain<'a>(&'a self, name: &'a str) -> Later<'a, Result<()>> {
        Box::pin(async move {
            let domain = PrincipalSet::new(0, Type::Domain).with_field(PrincipalField::Name, name);
            self.add(domain)
                .await
                .map_err(|error| anyhow!("make domain {name}: {error}"))
        })
    }

    /// Makes a mail account.
    pub fn add_account<'a>(&'a self, account: NewAccount) -> Later<'a, Result<()>> {
        Box::pin(async move {
            let name = account.name.clone();
            let account = PrincipalSet::new(0, Type::Individual)
                .with_field(PrincipalField::Name, account.name)
                .with_field(PrincipalField::Description, account.display_name)
                .with_field(PrincipalField::Secrets, vec![account.password_hash])
                .with_field(PrincipalField::Emails, account.addresses)
                .with_field(PrincipalField::Roles, vec!["user".to_string()]);
            self.add(account)
                .await
                .map_err(|error| anyhow!("make account {name}: {error}"))
        })
    }

    /// Gives an internal account its address and a password; makes the account
    /// if it is not there.
    pub fn open_internal<'a>(
        &'a self,
        account: InternalAccount,
        password_hash: String,
    ) -> Later<'a, Result<()>> {
        Box::pin(async move {
            let InternalAccount {
                name,
                description,
                address,
                quota,
            } = account;
            if !self.has_account(&name).await? {
                let new = PrincipalSet::new(0, Type::Individual)
                    .with_field(PrincipalField::Name, name.as_str())
                    .with_field(PrincipalField::Description, description);
                self.add(new)
                    .await
                    .map_err(|error| anyhow!("make account {name}: {error}"))?;
            }
            let permissions = INTERNAL_PERMISSIONS.map(String::from).to_vec();
            self.update(
                &name,
                vec![
                    (PrincipalField::Quota, quota.into()),
                    (PrincipalField::EnabledPermissions, permissions.into()),
                    (PrincipalField::Emails, vec![address].into()),
                    (PrincipalField::Secrets, vec![password_hash].into()),
                ],
            )
            .await
        })
    }

    /// Takes password and address away from an internal account: nobody can log
    /// in to it or write to it.
    pub fn close_internal<'a>(&'a self, name: &'a str) -> Later<'a, Result<()>> {
        Box::pin(async move {
            let nothing = || PrincipalValue::StringList(Vec::new());
            self.update(
                name,
                vec![
                    (PrincipalField::Secrets, nothing()),
                    (PrincipalField::Emails, nothing()),
                ],
            )
            .await
        })
    }

    async fn update(
        &self,
        name: &str,
        fields: Vec<(PrincipalField, PrincipalValue)>,
    ) -> Result<()> {
        let updates = fields
            .into_iter()
            .map(|(field, value)| PrincipalUpdate::set(field, value))
            .collect();
        let update = UpdatePrincipal::by_name(name).with_updates(updates);
        let changed = self
            .0
            .store()
            .update_principal(update)
            .await
            .map_err(|error| anyhow!("change account {name}: {error}"))?;
        self.0.invalidate_principal_caches(changed).await;
        Ok(())
    }

    async fn has(&self, name: &str, kind: Type) -> Result<bool> {
        let found = self
            .0
            .store()
            .get_principal_info(name)
            .await
            .map_err(|error| anyhow!("look up {name}: {error}"))?;
        Ok(found.is_some_and(|found| found.typ == kind))
    }

    async fn add(&self, principal: PrincipalSet) -> Result<(), stalwart_lib::Error> {
        self.0
            .store()
            .create_principal(principal, None, None)
            .await?;
        Ok(())
    }
}
