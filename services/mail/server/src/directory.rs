//! Domains, accounts and addresses, inside the library: no administrator's
//! password exists, so none can leak.

use crate::Later;
use anyhow::{Result, anyhow};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::common::{self, Inner};
use stalwart_lib::directory::Type;
use stalwart_lib::directory::backend::internal::lookup::DirectoryStore;
use stalwart_lib::directory::backend::internal::manage::ManageDirectory;
use stalwart_lib::directory::backend::internal::{PrincipalField, PrincipalSet};
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
