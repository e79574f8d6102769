//! Which domain, account and addresses are still missing.
//!
//! The mail program asks the directory what is there ([`State`]), gets the
//! missing steps from [`plan`] and performs them. What exists is never
//! changed: the account belongs to its owner once it was made.

use crate::settings::Settings;
use std::collections::BTreeSet;

/// Addresses that every mail domain must accept (RFC 2142, RFC 5321 §4.5.1).
const REQUIRED: [&str; 2] = ["postmaster", "abuse"];

/// What the directory already holds.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Whether the mail domain exists.
    pub domain: bool,
    /// Whether the first account exists.
    pub account: bool,
    /// Those of [`addresses`] that already deliver to somebody.
    pub taken: BTreeSet<String>,
}

/// Addresses that the first account should have, its own first.
pub fn addresses(settings: &Settings) -> Vec<String> {
    let own = settings.account.name.as_str();
    std::iter::once(own)
        .chain(REQUIRED.into_iter().filter(|name| *name != own))
        .map(|local| format!("{local}@{}", settings.domain))
        .collect()
}

/// One thing to add to the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make mail for this domain local.
    Domain {
        /// The domain, in lower case.
        name: String,
    },
    /// Make a mail account.
    Account {
        /// Log-in name.
        name: String,
        /// The person's name.
        display_name: String,
        /// Crypt-style hash of the password.
        password_hash: String,
        /// Addresses, the account's own first.
        addresses: Vec<String>,
    },
}

/// The steps that lead from `state` to what `settings` asks for.
pub fn plan(settings: &Settings, state: &State) -> Vec<Step> {
    let mut steps = Vec::new();
    if !state.domain {
        steps.push(Step::Domain {
            name: settings.domain.clone(),
        });
    }
    if !state.account {
        let mut addresses = addresses(settings);
        // After a change of the account's name the old account keeps its own.
        addresses.retain(|address| !state.taken.contains(address));
        let account = &settings.account;
        steps.push(Step::Account {
            name: account.name.clone(),
            display_name: account.display_name.clone(),
            password_hash: account.password_hash.clone(),
            addresses,
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::settings;

    #[test]
    fn first_boot_makes_everything() {
        insta::assert_debug_snapshot!(plan(&settings(), &State::default()));
    }

    #[test]
    fn nothing_is_touched_once_it_exists() {
        let state = State {
            domain: true,
            account: true,
            taken: addresses(&settings()).into_iter().collect(),
        };
        assert_eq!(plan(&settings(), &state), []);
    }

    #[test]
    fn a_renamed_account_does_not_take_the_old_ones_addresses() {
        let state = State {
            domain: true,
            account: false,
            taken: ["postmaster@example.org", "abuse@example.org"]
                .map(String::from)
                .into(),
        };
        let steps = plan(&settings(), &state);
        let [Step::Account { addresses, .. }] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_eq!(addresses, &["alice@example.org"]);
    }

    #[test]
    fn an_account_called_postmaster_gets_its_address_once() {
        let mut settings = settings();
        settings.account.name = "postmaster".into();
        assert_eq!(
            addresses(&settings),
            ["postmaster@example.org", "abuse@example.org"]
        );
    }
}
