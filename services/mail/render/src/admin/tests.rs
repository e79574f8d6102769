use super::*;
use crate::config::tests::setup;
use crate::plan::plan;
use proptest::prelude::*;

const HASH: &str = "$argon2id$v=19$m=7168,t=5,p=1$sP0hhfCNbADYmlNNCISjqA$8AM/OVk0PYDzl3fwtCIYiNcCdZq0ye2N5v1uMHFlgfQ";

fn fresh(seed: u8) -> Fresh {
    Fresh {
        random: [seed; app_password::RANDOM],
        now: 1_700_000_000 + u64::from(seed),
    }
}

/// A box as it is after its first start.
fn book() -> Book {
    plan(&setup(), &Book::default())
        .iter()
        .fold(Book::default(), Book::after)
}

fn decided(book: &Book, call: &Call) -> Result<Decision, Answer> {
    decide(call, book, &setup(), 3, fresh(1))
}

/// The book after a call that must be granted.
fn after(book: Book, call: Call) -> Book {
    let decision = decided(&book, &call).unwrap_or_else(|refused| panic!("{call:?}: {refused:?}"));
    decision.steps.iter().fold(book, Book::after)
}

fn add(name: &str) -> Call {
    Call::AddAccount {
        name: name.into(),
        domain: "example.org".into(),
        display_name: format!("{name} Example"),
        password_hash: Secret(HASH.into()),
        quota: Some(1 << 30),
    }
}

fn alias(name: &str, address: &str) -> Call {
    Call::AddAlias {
        name: name.into(),
        address: address.into(),
    }
}

fn no_alias(name: &str, address: &str) -> Call {
    Call::RemoveAlias {
        name: name.into(),
        address: address.into(),
    }
}

fn catch_all(domain: &str, account: Option<&str>) -> Call {
    Call::SetCatchAll {
        domain: domain.into(),
        account: account.map(Into::into),
    }
}

fn domain(name: &str) -> Call {
    Call::AddDomain {
        domain: name.into(),
        account: None,
    }
}

fn no_domain(name: &str) -> Call {
    Call::RemoveDomain {
        domain: name.into(),
    }
}

fn app_password(name: &str, label: &str) -> Call {
    Call::MakeAppPassword {
        name: name.into(),
        label: label.into(),
    }
}

#[test]
fn the_overview_shows_everything_but_secrets() {
    let mut book = after(book(), add("bob"));
    book = after(book, domain("example.net"));
    book = after(book, catch_all("example.net", Some("bob")));
    book = after(book, alias("bob", "sales@example.net"));
    book = after(book, app_password("bob", "phone"));
    let answer = decided(&book, &Call::Overview).unwrap().answer;
    let shown = serde_json::to_string_pretty(&answer).unwrap();
    assert!(!shown.contains("argon2"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn every_refusal_says_what_why_and_what_to_do() {
    let mut book = after(book(), add("bob"));
    book = after(book, domain("example.net"));
    let carol = {
        let mut call = add("carol");
        if let Call::AddAccount { domain, .. } = &mut call {
            *domain = "example.net".into();
        }
        call
    };
    book = after(book, carol);
    let with_hash = |hash: &str| Call::SetPassword {
        name: "bob".into(),
        password_hash: Secret(hash.into()),
    };
    let quota = |bytes| Call::SetQuota {
        name: "bob".into(),
        quota: Some(bytes),
    };
    let calls = [
        add("bob"),
        add("Bob"),
        add("postmaster"),
        add("roost-probe"),
        add("bob@example.org"),
        add("example.net"),
        add(""),
        Call::AddAccount {
            name: "dave".into(),
            domain: "example.com".into(),
            display_name: String::new(),
            password_hash: Secret(HASH.into()),
            quota: None,
        },
        Call::AddAccount {
            name: "dave".into(),
            domain: "example.org".into(),
            display_name: "x".repeat(61),
            password_hash: Secret(HASH.into()),
            quota: None,
        },
        Call::RemoveAccount {
            name: "alice".into(),
        },
        Call::RemoveAccount {
            name: "nobody\n".into(),
        },
        with_hash("hunter2"),
        quota(1000),
        quota(u64::MAX),
        alias("bob", "alice@example.org"),
        alias("bob", "bob@example.org"),
        alias("bob", "sales@example.com"),
        alias("bob", "sales"),
        alias("bob", "roost-probe@example.org"),
        no_alias("bob", "bob@example.org"),
        no_alias("alice", "postmaster@example.org"),
        no_alias("bob", "sales@example.org"),
        app_password("bob", "$"),
        Call::RevokeAppPassword {
            name: "bob".into(),
            id: "00000000".into(),
        },
        catch_all("example.com", Some("bob")),
        catch_all("example.org", Some("nobody")),
        domain("example.org"),
        domain("roost.local"),
        domain("a b"),
        no_domain("example.org"),
        no_domain("example.net"),
        no_domain("example.com"),
    ];
    let said: Vec<String> = calls
        .iter()
        .map(|call| match decided(&book, call) {
            Err(Answer::Error {
                what,
                because,
                hint,
            }) => {
                let hint = hint.map(|hint| format!("\n    {hint}")).unwrap_or_default();
                format!("{what}: {because}{hint}")
            }
            other => panic!("{call:?}: {other:?}"),
        })
        .collect();
    assert!(said.iter().all(|line| !line.contains("hunter2")));
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_must_exist_moves_and_never_vanishes() {
    let book = after(book(), add("bob"));
    let book = after(book, alias("bob", "postmaster@example.org"));
    assert_eq!(book.owner("postmaster@example.org").unwrap().name, "bob");
    let book = after(book, Call::RemoveAccount { name: "bob".into() });
    assert_eq!(book.owner("postmaster@example.org").unwrap().name, "alice");
    assert_eq!(plan(&setup(), &book), []);
}

#[test]
fn a_catch_all_moves_and_goes() {
    let book = after(book(), add("bob"));
    let book = after(book, catch_all("example.org", Some("bob")));
    assert_eq!(book.owner("@example.org").unwrap().name, "bob");
    let book = after(book, catch_all("example.org", Some("alice")));
    assert_eq!(book.owner("@example.org").unwrap().name, "alice");
    // An account's own address stays the first.
    assert_eq!(
        book.account("alice").unwrap().addresses[0],
        "alice@example.org"
    );
    let again = decided(&book, &catch_all("example.org", Some("alice"))).unwrap();
    assert_eq!(again.steps, []);
    let book = after(book, catch_all("example.org", None));
    assert!(book.owner("@example.org").is_none());
}

#[test]
fn a_domain_goes_with_its_addresses() {
    let before = after(book(), add("bob"));
    let book = after(before.clone(), domain("bücher.example.net"));
    let name = "xn--bcher-kva.example.net";
    assert!(book.has_domain(name));
    let book = after(book, alias("bob", &format!("sales@{name}")));
    let book = after(book, catch_all(name, Some("bob")));
    assert_eq!(after(book, no_domain(name)), before);
}

#[test]
fn an_app_password_is_told_once_and_can_be_revoked() {
    let decision = decided(&book(), &app_password("alice", "phone")).unwrap();
    let Answer::AppPassword { id, password } = decision.answer else {
        panic!("{:?}", decision.answer);
    };
    assert_eq!(password.0.len(), 23);
    let with = decision.steps.iter().fold(book(), Book::after);
    let list = Call::AppPasswords {
        name: "alice".into(),
    };
    let Answer::AppPasswords { passwords } = decided(&with, &list).unwrap().answer else {
        panic!();
    };
    assert_eq!(passwords.len(), 1);
    assert_eq!(
        (&passwords[0].id, passwords[0].label.as_str()),
        (&id, "phone")
    );
    let without = after(
        with,
        Call::RevokeAppPassword {
            name: "alice".into(),
            id,
        },
    );
    assert_eq!(without, book());
}

#[test]
fn nothing_grows_without_end() {
    let mut book = book();
    for at in 1..MAX_ACCOUNTS {
        book = after(book, add(&format!("user{at}")));
    }
    assert!(decided(&book, &add("onemore")).is_err());
    for at in 1..MAX_ADDRESSES {
        book = after(book, alias("user1", &format!("alias{at}@example.org")));
    }
    assert!(decided(&book, &alias("user1", "more@example.org")).is_err());
    assert!(decided(&book, &catch_all("example.org", Some("user1"))).is_err());
    for at in 0..MAX_APP_PASSWORDS {
        let call = app_password("user1", "phone");
        let decision = decide(&call, &book, &setup(), 0, fresh(at as u8)).unwrap();
        book = decision.steps.iter().fold(book, Book::after);
    }
    assert!(decide(&app_password("user1", "x"), &book, &setup(), 0, fresh(99)).is_err());
    for at in 1..MAX_DOMAINS {
        book = after(
            book,
            Call::AddDomain {
                domain: format!("d{at}.example.net"),
                account: Some(format!("user{}", at + 1)),
            },
        );
    }
    assert!(decided(&book, &domain("onemore.example.net")).is_err());
    // The largest answer still fits.
    let overview = decided(&book, &Call::Overview).unwrap().answer;
    let line = roost_service::mail::line(&overview).unwrap();
    assert!(
        line.len() * 20 < roost_service::mail::MAX_ANSWER,
        "{}",
        line.len()
    );
}

#[test]
fn numbers_of_messages_are_numbers() {
    let retry = |id: &str| topic(&Call::RetryQueued { id: id.into() });
    assert!(matches!(
        retry("18446744073709551615"),
        Ok(Topic::Retry { id: u64::MAX })
    ));
    for bad in ["", "-1", "+1", "1 ", "0x1", "18446744073709551616", "a"] {
        assert!(retry(bad).is_err(), "{bad:?}");
    }
    let first = topic(&Call::Queue { after: None });
    assert!(matches!(first, Ok(Topic::Queue { after: None })));
}

#[test]
fn a_servers_words_stay_on_one_line() {
    assert_eq!(
        plain_line("550 5.1.2\r\nno\u{1b}[31m", 400),
        "550 5.1.2  no [31m"
    );
    assert_eq!(plain_line("ääää", 3), "ä");
}

fn any_call() -> impl Strategy<Value = Call> {
    let name = prop::sample::select(vec!["alice", "bob", "carol", "example.org", "", "a\nb"]);
    let host = prop::sample::select(vec!["example.org", "example.net", "example.com", "x"]);
    let local = prop::sample::select(vec!["alice", "bob", "postmaster", "abuse", "sales", ""]);
    (0..9_u8, name, host, local, any::<bool>()).prop_map(|(kind, name, host, local, some)| {
        let (name, domain, address) = (name.into(), host.into(), format!("{local}@{host}"));
        match kind {
            0 => Call::AddAccount {
                name,
                domain,
                display_name: String::new(),
                password_hash: Secret(HASH.into()),
                quota: None,
            },
            1 => Call::RemoveAccount { name },
            2 => Call::AddAlias { name, address },
            3 => Call::RemoveAlias { name, address },
            4 => Call::SetCatchAll {
                domain,
                account: some.then_some(name),
            },
            5 => Call::AddDomain {
                domain,
                account: some.then_some(name),
            },
            6 => Call::RemoveDomain { domain },
            7 => Call::MakeAppPassword {
                name,
                label: "phone".into(),
            },
            _ => Call::Overview,
        }
    })
}

proptest! {
    /// Whatever is asked in whatever order: what the next start would make is there, each
    /// address has one owner in a domain that exists, and each account keeps its own.
    #[test]
    fn no_order_of_calls_breaks_the_directory(calls in prop::collection::vec(any_call(), 1..40)) {
        let mut book = book();
        for (at, call) in calls.iter().enumerate() {
            if let Ok(decision) = decide(call, &book, &setup(), 0, fresh(at as u8)) {
                book = decision.steps.iter().fold(book, Book::after);
            }
            prop_assert_eq!(plan(&setup(), &book), vec![]);
            let mut seen = std::collections::BTreeSet::new();
            for entry in &book.accounts {
                let own = entry.addresses.first().and_then(|own| own.split('@').next());
                prop_assert_eq!(own, Some(entry.name.as_str()));
                for address in &entry.addresses {
                    let (_, domain) = address.rsplit_once('@').unwrap();
                    prop_assert!(book.has_domain(domain), "{address}");
                    prop_assert!(seen.insert(address.clone()), "{address}");
                }
            }
        }
    }
}
