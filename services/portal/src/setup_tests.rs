use super::*;
use proptest::prelude::*;

fn known(code: &Code) -> Known<'_> {
    Known {
        box_name: "roost",
        domain: "example.org",
        account: "alice",
        code: Some(code),
    }
}

const RELAY: &str = r#"{"relay": {"public_key": "x", "endpoint": "relay.example.org:51820"}, "address4": "10.82.0.2"}"#;

fn code() -> Code {
    Code::parse("K7Q2-M9XP").unwrap()
}

#[test]
fn there_are_five_fields() {
    let mut text = String::new();
    for field in Field::ALL {
        text += &format!(
            "{} ({})\n    {}\n",
            field.label(),
            field.name(),
            field.help()
        );
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_password_is_all_that_must_be_typed() {
    let form = Form {
        password: "trout-lamp-river",
        ..Form::default()
    };
    let setup = form.check(known(&code())).unwrap();
    assert_eq!(setup.domain.as_str(), "example.org");
    assert_eq!(setup.account.as_str(), "alice");
    assert!(setup.relay.is_none());
    assert!(!format!("{setup:?} {form:?}").contains("trout"));
}

#[test]
fn what_is_typed_wins() {
    let form = Form {
        password: "trout-lamp-river",
        domain: " Bücher.example.net ",
        account: "bob",
        relay: &format!("\n  {RELAY}\n"),
    };
    let setup = form.check(known(&code())).unwrap();
    assert_eq!(setup.domain.as_str(), "xn--bcher-kva.example.net");
    assert_eq!(setup.account.as_str(), "bob");
    let relay = setup.relay.unwrap();
    assert_eq!(relay.as_str(), RELAY);
    assert_eq!(relay.tunnel().relay.endpoint, "relay.example.org:51820");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let long = "x".repeat(MAX_RELAY + 1);
    let mut text = String::new();
    for form in [
        Form {
            password: "short",
            domain: "example.org.",
            account: "Alice",
            relay: "a\u{7}b",
        },
        Form {
            password: "Example.org1",
            domain: "http://x.org",
            account: "alice@example.org",
            relay: &long,
        },
        Form {
            password: "k7q2-m9xp-!",
            domain: "roost.local",
            account: "postmaster",
            relay: "some text of a relay",
        },
        Form {
            password: "bob@b.example",
            domain: "localhost",
            account: "bob bob",
            relay: r#"{"address4": "10.82.0.2"}"#,
        },
    ] {
        for fault in form.check(known(&code())).unwrap_err() {
            text += &format!("{}: {}\n", fault.field.label(), fault.reason.message);
            if let Some(hint) = fault.reason.hint {
                text += &format!("    {hint}\n");
            }
        }
        text += "\n";
    }
    insta::assert_snapshot!(text);
    let nothing = Form::default().check(Known::default()).unwrap_err();
    assert_eq!(nothing.len(), 3);
}

#[test]
fn mail_passwords_are_long_and_fit_their_hash() {
    let password =
        MailPassword::from_random(std::array::from_fn(|i| u8::try_from(i * 13).unwrap()));
    insta::assert_snapshot!(password.reveal(), @"0dt7m-1ev8n-2fw9p-3gxaq");
    let hash = password.hash([3; 16]);
    assert!(crate::password::is_right(Some(&hash), password.reveal()));
    assert_eq!(format!("{password:?}"), "MailPassword(…)");
    // It would do as an admin password, too.
    assert!(NewPassword::choose(password.reveal(), &[]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_form_breaks_the_check(password: String, domain: String, account: String, relay: String) {
        let form = Form { password: &password, domain: &domain, account: &account, relay: &relay };
        if let Err(faults) = form.check(known(&code())) {
            prop_assert!(!faults.is_empty() && faults.len() <= 4);
        }
    }
}
