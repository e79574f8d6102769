//! Lines on the admin socket, any bytes: never a panic; every answer is one line that the portal
//! can read; whatever was granted, the box's domain, its first account and the addresses that each
//! domain must have are still there, and no address has two owners.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_mail_config::admin::{self, Fresh};
use roost_mail_config::app_password::RANDOM;
use roost_mail_config::book::Book;
use roost_mail_config::plan::plan;
use roost_mail_config::setup::Setup;
use roost_service::mail::{Answer, Call, MAX_ANSWER, line};
use roost_service::settings::Account;
use std::collections::BTreeSet;

fuzz_target!(|input: &[u8]| {
    let setup = Setup {
        name: "roost".into(),
        domain: "example.org".into(),
        account: Account {
            name: "alice".into(),
            display_name: String::new(),
            password_hash: "$6$salt$hash".into(),
        },
        host: "mail.example.org".into(),
        max_message_size: 1 << 20,
        spam_filter: true,
    };
    let mut book = plan(&setup, &Book::default())
        .iter()
        .fold(Book::default(), Book::after);
    for (at, text) in input.split(|byte| *byte == b'\n').enumerate() {
        let Ok(call) = Call::read(text) else {
            continue;
        };
        let answer = match admin::topic(&call) {
            Err(refused) => refused,
            Ok(_) => {
                let fresh = Fresh {
                    random: [at as u8; RANDOM],
                    now: at as u64,
                };
                match admin::decide(&call, &book, &setup, 0, fresh) {
                    Err(refused) => refused,
                    Ok(decision) => {
                        book = decision.steps.iter().fold(book, Book::after);
                        decision.answer
                    }
                }
            }
        };
        let sent = line(&answer).expect("JSON");
        assert!(sent.len() <= MAX_ANSWER && sent.trim_end().lines().count() == 1);
        assert_eq!(Answer::read(sent.as_bytes()), Ok(answer));
    }
    assert_eq!(plan(&setup, &book), []);
    let mut seen = BTreeSet::new();
    for entry in &book.accounts {
        assert!(!entry.addresses.is_empty());
        for address in &entry.addresses {
            let (_, domain) = address.rsplit_once('@').expect("an address");
            assert!(book.has_domain(domain) && seen.insert(address), "{address}");
        }
    }
});
