//! Domains, accounts and addresses, inside the library: no administrator's
//! password exists, so none can leak.

use crate::Later;
use anyhow::{Result, anyhow};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::common::{self, Inner};
use stalwart_lib::directory::backend::internal::manage::{ManageDirectory, UpdatePrincipal};
use stalwart_lib::directory::backend::internal::{
    PrincipalField, PrincipalSet, PrincipalUpdate, PrincipalValue,
};
use stalwart_lib::directory::{PrincipalData, QueryBy, Type};
use stalwart_lib::http::management::stores::destroy_account_data;
use stalwart_lib::store::write::DirectoryClass;
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

/// A mail account as it is.
#[derive(Debug, Clone, Default)]
pub struct KeptAccount {
    /// Log-in name.
    pub name: String,
    /// The person's name.
    pub display_name: String,
    /// Addresses, the account's own first; `@domain` is a catch-all.
    pub addresses: Vec<String>,
    /// Most bytes that it may hold; 0: no limit.
    pub quota: u64,
    /// Bytes that it holds.
    pub used: u64,
    /// App passwords, as `$app$name$hash`.
    pub app_passwords: Vec<String>,
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

    /// Domains whose mail is delivered here, by name.
    pub fn domains(&self) -> Later<'_, Result<Vec<String>>> {
        Box::pin(async {
            let found = self
                .0
                .store()
                .list_principals(None, None, &[Type::Domain], false, 0, 0)
                .await
                .map_err(|error| anyhow!("list domains: {error}"))?;
            Ok(found.items.into_iter().map(|item| item.name).collect())
        })
    }

    /// Accounts, by name.
    pub fn accounts(&self) -> Later<'_, Result<Vec<KeptAccount>>> {
        Box::pin(async {
            let found = self
                .0
                .store()
                .list_principals(None, None, &[Type::Individual], true, 0, 0)
                .await
                .map_err(|error| anyhow!("list accounts: {error}"))?;
            let mut accounts = Vec::with_capacity(found.items.len());
            for item in found.items {
                let used = self
                    .0
                    .store()
                    .get_counter(DirectoryClass::UsedQuota(item.id))
                    .await
                    .map_err(|error| anyhow!("measure account {}: {error}", item.name))?;
                let mut account = KeptAccount {
                    name: item.name,
                    used: u64::try_from(used).unwrap_or(0),
                    ..KeptAccount::default()
                };
                for data in item.data {
                    match data {
                        PrincipalData::Description(text) => account.display_name = text,
                        PrincipalData::PrimaryEmail(address) => {
                            account.addresses.insert(0, address);
                        }
                        PrincipalData::EmailAlias(address) => account.addresses.push(address),
                        PrincipalData::DiskQuota(bytes) => account.quota = bytes,
                        PrincipalData::AppPassword(kept) => account.app_passwords.push(kept),
                        _ => {}
                    }
                }
                accounts.push(account);
            }
            Ok(accounts)
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

    /// Mail for a domain is no longer local.
    pub fn remove_domain<'a>(&'a self, name: &'a str) -> Later<'a, Result<()>> {
        Box::pin(self.remove(name, Type::Domain))
    }

    /// Deletes an account and all that it holds.
    pub fn remove_account<'a>(&'a self, name: &'a str) -> Later<'a, Result<()>> {
        Box::pin(self.remove(name, Type::Individual))
    }

    /// Another name of the person.
    pub fn set_display_name<'a>(
        &'a self,
        name: &'a str,
        display_name: String,
    ) -> Later<'a, Result<()>> {
        Box::pin(self.set(name, PrincipalField::Description, display_name.into()))
    }

    /// Another password, as a crypt-style hash; app passwords stay.
    pub fn set_password<'a>(
        &'a self,
        name: &'a str,
        password_hash: String,
    ) -> Later<'a, Result<()>> {
        // The library keeps one secret that is no app password, and this replaces it.
        Box::pin(self.add_item(name, PrincipalField::Secrets, password_hash))
    }

    /// Most bytes that an account may hold; 0: no limit.
    pub fn set_quota<'a>(&'a self, name: &'a str, bytes: u64) -> Later<'a, Result<()>> {
        Box::pin(self.set(name, PrincipalField::Quota, bytes.into()))
    }

    /// One more address, or with `@domain` its catch-all; the domain must exist.
    pub fn add_address<'a>(&'a self, name: &'a str, address: String) -> Later<'a, Result<()>> {
        Box::pin(self.add_item(name, PrincipalField::Emails, address))
    }

    /// One address less.
    pub fn remove_address<'a>(&'a self, name: &'a str, address: String) -> Later<'a, Result<()>> {
        Box::pin(self.remove_item(name, PrincipalField::Emails, address))
    }

    /// One more app password, as `$app$name$hash`.
    pub fn add_app_password<'a>(&'a self, name: &'a str, kept: String) -> Later<'a, Result<()>> {
        Box::pin(self.add_item(name, PrincipalField::Secrets, kept))
    }

    /// One app password less.
    pub fn remove_app_password<'a>(&'a self, name: &'a str, kept: String) -> Later<'a, Result<()>> {
        Box::pin(self.remove_item(name, PrincipalField::Secrets, kept))
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
            if !self.has(&name, Type::Individual).await? {
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

    async fn set(&self, name: &str, field: PrincipalField, value: PrincipalValue) -> Result<()> {
        self.change(name, vec![PrincipalUpdate::set(field, value)])
            .await
    }

    async fn add_item(&self, name: &str, field: PrincipalField, item: String) -> Result<()> {
        let item = PrincipalValue::String(item);
        self.change(name, vec![PrincipalUpdate::add_item(field, item)])
            .await
    }

    async fn remove_item(&self, name: &str, field: PrincipalField, item: String) -> Result<()> {
        let item = PrincipalValue::String(item);
        self.change(name, vec![PrincipalUpdate::remove_item(field, item)])
            .await
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
        self.change(name, updates).await
    }

    async fn change(&self, name: &str, updates: Vec<PrincipalUpdate>) -> Result<()> {
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

    /// Deletes an account or a domain.
    async fn remove(&self, name: &str, kind: Type) -> Result<()> {
        let failed = |error| anyhow!("delete {name}: {error}");
        let found = self
            .0
            .store()
            .get_principal_info(name)
            .await
            .map_err(failed)?
            .filter(|found| found.typ == kind)
            .ok_or_else(|| anyhow!("delete {name}: there is no such name"))?;
        let changed = self
            .0
            .store()
            .delete_principal(QueryBy::Id(found.id))
            .await
            .map_err(failed)?;
        self.0.invalidate_principal_caches(changed).await;
        if kind == Type::Individual {
            // Nobody can log in any more; what is left of the mail is out of reach.
            destroy_account_data(&self.0, found.id, true)
                .await
                .map_err(|error| anyhow!("{name} is gone, but not all of its mail: {error}"))?;
        }
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
