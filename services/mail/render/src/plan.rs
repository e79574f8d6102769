//! Which domain, account and addresses are still missing when the service starts.
//!
//! The mail program reads the directory, gets the missing steps from [`plan`] and performs
//! them. What exists is never changed, and what the owner may take away in the portal is never
//! missing: the box's domain, its first account, that account's own address, and `postmaster@`
//! and `abuse@` of each domain cannot be removed there (see [`crate::admin`]).

use crate::book::{Book, REQUIRED, Step};
use crate::setup::Setup;

/// The first account's own address.
pub fn own_address(setup: &Setup) -> String {
    format!("{}@{}", setup.account.name, setup.domain)
}

/// The steps that lead from the directory to what `setup` asks for.
pub fn plan(setup: &Setup, book: &Book) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut domains: Vec<&str> = book.domains.iter().map(String::as_str).collect();
    if !book.has_domain(&setup.domain) {
        steps.push(Step::AddDomain {
            name: setup.domain.clone(),
        });
        domains.push(&setup.domain);
    }
    // Whoever has an address keeps it, after a change of the account's name too. A domain that
    // was cut off while it was added gets here what it lacks.
    let required = domains.into_iter().flat_map(|domain| {
        REQUIRED
            .into_iter()
            .map(move |local| format!("{local}@{domain}"))
    });
    let mut missing = Vec::new();
    for address in std::iter::once(own_address(setup)).chain(required) {
        if book.owner(&address).is_none() && !missing.contains(&address) {
            missing.push(address);
        }
    }
    let account = &setup.account;
    if book.account(&account.name).is_some() {
        steps.extend(missing.into_iter().map(|address| Step::AddAddress {
            name: account.name.clone(),
            address,
        }));
    } else {
        steps.push(Step::AddAccount {
            name: account.name.clone(),
            display_name: account.display_name.clone(),
            password_hash: account.password_hash.clone(),
            addresses: missing,
        });
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::setup;

    fn planned(setup: &Setup, book: &Book) -> Book {
        plan(setup, book).iter().fold(book.clone(), Book::after)
    }

    #[test]
    fn first_boot_makes_everything() {
        insta::assert_debug_snapshot!(plan(&setup(), &Book::default()));
    }

    #[test]
    fn nothing_is_touched_once_it_exists() {
        let book = planned(&setup(), &Book::default());
        assert_eq!(plan(&setup(), &book), []);
    }

    #[test]
    fn a_renamed_account_does_not_take_the_old_ones_addresses() {
        let book = planned(&setup(), &Book::default());
        let mut renamed = setup();
        renamed.account.name = "bob".into();
        let steps = plan(&renamed, &book);
        let [Step::AddAccount { addresses, .. }] = steps.as_slice() else {
            panic!("{steps:?}");
        };
        assert_eq!(addresses, &["bob@example.org"]);
        assert_eq!(planned(&renamed, &book).accounts[0], book.accounts[0]);
    }

    #[test]
    fn another_domain_is_added_to_the_same_account() {
        let book = planned(&setup(), &Book::default());
        let mut moved = setup();
        moved.domain = "example.net".into();
        let book = planned(&moved, &book);
        assert_eq!(book.domains, ["example.net", "example.org"]);
        assert_eq!(
            book.accounts[0].addresses,
            [
                "alice@example.org",
                "postmaster@example.org",
                "abuse@example.org",
                "alice@example.net",
                "postmaster@example.net",
                "abuse@example.net",
            ]
        );
        assert_eq!(plan(&moved, &book), []);
    }

    #[test]
    fn an_account_called_postmaster_gets_its_address_once() {
        let mut setup = setup();
        setup.account.name = "postmaster".into();
        let book = planned(&setup, &Book::default());
        assert_eq!(
            book.accounts[0].addresses,
            ["postmaster@example.org", "abuse@example.org"]
        );
    }
}
