//! The directory as it is, and the steps that change it.
//!
//! Domains, accounts, their addresses and passwords live in the mail server's own directory,
//! which is part of its store, and nowhere else: what the owner changed is in every snapshot
//! of the store, and no second file can disagree with it. A catch-all is an address without
//! its first half (`@example.org`) and an app password one more secret of its account, both
//! as the mail server keeps them.

/// Addresses that every mail domain must accept (RFC 2142, RFC 5321 §4.5.1).
pub const REQUIRED: [&str; 2] = ["postmaster", "abuse"];

/// The directory, but for the mailbox of the box's own test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// Domains, by name.
    pub domains: Vec<String>,
    /// Accounts, by log-in name.
    pub accounts: Vec<Entry>,
}

/// One account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// Log-in name.
    pub name: String,
    /// The person's name; may be empty.
    pub display_name: String,
    /// Addresses, its own first, catch-alls among them.
    pub addresses: Vec<String>,
    /// Most bytes that it may hold.
    pub quota: Option<u64>,
    /// Bytes that it holds.
    pub used: u64,
    /// App passwords as the directory keeps them ([`crate::app_password`]).
    pub app_passwords: Vec<String>,
}

/// One change of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make mail for this domain local.
    AddDomain {
        /// The domain, in lower case.
        name: String,
    },
    /// Mail for this domain is no longer local.
    RemoveDomain {
        /// The domain.
        name: String,
    },
    /// Make a mail account.
    AddAccount {
        /// Log-in name.
        name: String,
        /// The person's name.
        display_name: String,
        /// Crypt-style hash of the password.
        password_hash: String,
        /// Addresses, the account's own first.
        addresses: Vec<String>,
    },
    /// Delete an account and all that it holds.
    RemoveAccount {
        /// Log-in name.
        name: String,
    },
    /// Another name of the person.
    SetDisplayName {
        /// Log-in name.
        name: String,
        /// The person's name.
        display_name: String,
    },
    /// Another password; app passwords stay.
    SetPassword {
        /// Log-in name.
        name: String,
        /// Crypt-style hash of the password.
        password_hash: String,
    },
    /// Another quota.
    SetQuota {
        /// Log-in name.
        name: String,
        /// Most bytes that the account may hold.
        quota: Option<u64>,
    },
    /// One more address, the last.
    AddAddress {
        /// Log-in name.
        name: String,
        /// The address, or `@` and a domain.
        address: String,
    },
    /// One address less.
    RemoveAddress {
        /// Log-in name.
        name: String,
        /// The address, or `@` and a domain.
        address: String,
    },
    /// One more app password.
    AddAppPassword {
        /// Log-in name.
        name: String,
        /// As the directory keeps it.
        kept: String,
    },
    /// One app password less.
    RemoveAppPassword {
        /// Log-in name.
        name: String,
        /// As the directory keeps it.
        kept: String,
    },
}

impl Book {
    /// An account.
    pub fn account(&self, name: &str) -> Option<&Entry> {
        self.accounts.iter().find(|entry| entry.name == name)
    }

    /// Whether a domain is served.
    pub fn has_domain(&self, name: &str) -> bool {
        self.domains.iter().any(|domain| domain == name)
    }

    /// Who has an address, or with `@` and a domain its catch-all.
    pub fn owner(&self, address: &str) -> Option<&Entry> {
        self.accounts
            .iter()
            .find(|entry| entry.addresses.iter().any(|own| own == address))
    }

    /// What the directory holds after a step, as [`crate::plan`] and tests need it: sizes stay.
    pub fn after(mut self, step: &Step) -> Self {
        let entry = |book: &mut Book, name: &str, change: &dyn Fn(&mut Entry)| {
            if let Some(entry) = book.accounts.iter_mut().find(|entry| entry.name == name) {
                change(entry);
            }
        };
        match step {
            Step::AddDomain { name } => {
                self.domains.push(name.clone());
                self.domains.sort();
            }
            Step::RemoveDomain { name } => self.domains.retain(|domain| domain != name),
            Step::AddAccount {
                name,
                display_name,
                addresses,
                ..
            } => {
                self.accounts.push(Entry {
                    name: name.clone(),
                    display_name: display_name.clone(),
                    addresses: addresses.clone(),
                    ..Entry::default()
                });
                self.accounts.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Step::RemoveAccount { name } => self.accounts.retain(|entry| entry.name != *name),
            Step::SetDisplayName { name, display_name } => entry(&mut self, name, &|entry| {
                entry.display_name.clone_from(display_name);
            }),
            Step::SetPassword { .. } => {}
            Step::SetQuota { name, quota } => entry(&mut self, name, &|entry| entry.quota = *quota),
            Step::AddAddress { name, address } => entry(&mut self, name, &|entry| {
                entry.addresses.push(address.clone());
            }),
            Step::RemoveAddress { name, address } => entry(&mut self, name, &|entry| {
                entry.addresses.retain(|own| own != address);
            }),
            Step::AddAppPassword { name, kept } => entry(&mut self, name, &|entry| {
                entry.app_passwords.push(kept.clone());
            }),
            Step::RemoveAppPassword { name, kept } => entry(&mut self, name, &|entry| {
                entry.app_passwords.retain(|own| own != kept);
            }),
        }
        self
    }
}
