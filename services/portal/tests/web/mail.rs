//! What the owner reads about mail, and what comes of what the owner does there.

use crate::browser::Browser;
use crate::pages::snapshot;
use crate::played_mail::PlayedMail;
use crate::the_box::TheBox;
use roost_service::mail::Call;

async fn owner() -> (TheBox, PlayedMail, Browser) {
    let the_box = TheBox::start().await;
    let mail = PlayedMail::listen(&the_box.app.places.mail);
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    (the_box, mail, browser)
}

#[tokio::test]
async fn accounts_and_what_belongs_to_them() {
    let (_the_box, mail, mut browser) = owner().await;
    snapshot("mail_accounts", &browser.get("/mail").await);
    let page = browser.get("/mail/account?name=bob").await;
    snapshot("mail_account", &page);
    snapshot(
        "mail_account_first",
        &browser.get("/mail/account?name=alice").await,
    );
    snapshot(
        "mail_account_missing",
        &browser.get("/mail/account?name=zoe").await,
    );

    let mut heads = String::new();
    let carol = [
        ("name", " carol "),
        ("domain", "example.net"),
        ("display_name", " Carol C. "),
        ("quota", "0,5"),
    ];
    let rooms = [
        ("name", "dave"),
        ("domain", "example.org"),
        ("quota", "much"),
    ];
    for (path, fields) in [
        ("/mail", &carol[..]),
        ("/mail", &carol),
        ("/mail", &rooms),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "add-alias"),
                ("address", "c@example.org"),
            ],
        ),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "remove-alias"),
                ("address", "c@example.org"),
            ],
        ),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "remove-alias"),
                ("address", "c@example.org"),
            ],
        ),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "change"),
                ("display_name", "Carol"),
                ("quota", ""),
            ],
        ),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "change"),
                ("display_name", "Caro"),
                ("quota", "-1"),
            ],
        ),
        (
            "/mail/account",
            &[("name", "carol"), ("do", "set-password")],
        ),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "make-app-password"),
                ("label", " laptop "),
            ],
        ),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "revoke-app-password"),
                ("id", "0001"),
            ],
        ),
        (
            "/mail/account",
            &[
                ("name", "carol"),
                ("do", "revoke-app-password"),
                ("id", "0001"),
            ],
        ),
        ("/mail/account", &[("name", "carol"), ("do", "remove")]),
        (
            "/mail/account",
            &[("name", "carol"), ("do", "remove"), ("sure", "yes")],
        ),
        (
            "/mail/account",
            &[("name", "alice"), ("do", "remove"), ("sure", "yes")],
        ),
        ("/mail/account", &[("name", "alice"), ("do", "dance")]),
    ] {
        let page = browser.post(path, fields).await;
        // What is said above the page.
        let text = page.text();
        let said: Vec<_> = text.lines().skip(1).take(4).collect();
        heads += &format!("{}\n    {}\n", page.status, said.join("\n    "));
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(
        r"([0-9a-hjkmnp-tv-z]{5}-){3}[0-9a-hjkmnp-tv-z]{5}",
        "[mail password]",
    );
    settings.bind(|| insta::assert_snapshot!("mail_account_orders", heads));
    let orders: Vec<_> = mail
        .lock()
        .orders
        .iter()
        .map(|call| format!("{call:?}"))
        .collect();
    insta::assert_snapshot!("mail_account_calls", orders.join("\n"));
    snapshot("mail_activity", &browser.get("/activity").await);
}

/// The API counts bytes, the page shows thousandths of a gigabyte.
#[tokio::test]
async fn room_that_is_not_touched_stays_to_the_byte() {
    let (_the_box, mail, mut browser) = owner().await;
    let given = 5 << 30;
    let set = Call::SetQuota {
        name: "bob".into(),
        quota: Some(given),
    };
    mail.lock().answer(set);
    let page = browser.get("/mail/account?name=bob").await;
    assert!(page.html.contains("value=\"5.369\""), "{}", page.html);
    for (typed, kept) in [("5.369", given), ("5.37", 5_370_000_000)] {
        let fields = [
            ("name", "bob"),
            ("do", "change"),
            ("display_name", "Bob"),
            ("quota", typed),
        ];
        browser.post("/mail/account", &fields).await;
        let last = mail.lock().orders.last().cloned();
        let quota = Some(kept);
        let name = "bob".into();
        assert_eq!(last, Some(Call::SetQuota { name, quota }));
    }
    // Only what became different is told.
    let activity = browser.get("/activity").await.text();
    assert_eq!(activity.matches("GB of room").count(), 1, "{activity}");
}

#[tokio::test]
async fn domains_and_the_queue() {
    let (_the_box, mail, mut browser) = owner().await;
    snapshot("mail_domains", &browser.get("/mail/domains").await);
    for (fields, said) in [
        (
            [("do", "add"), ("domain", " example.com "), ("account", "")],
            "The domain is added. Now set its DNS records.",
        ),
        (
            [
                ("do", "catch-all"),
                ("domain", "example.com"),
                ("account", "bob"),
            ],
            "That is saved.",
        ),
        (
            [
                ("do", "catch-all"),
                ("domain", "example.org"),
                ("account", ""),
            ],
            "That is saved.",
        ),
        (
            [("do", "remove"), ("domain", "example.com"), ("account", "")],
            "The domain is removed.",
        ),
        (
            [("do", "remove"), ("domain", "example.org"), ("account", "")],
            "it is the box's own domain",
        ),
    ] {
        let page = browser.post("/mail/domains", &fields).await;
        assert!(page.text().contains(said), "{}", page.text());
    }
    snapshot("mail_queue", &browser.get("/mail/queue").await);
    snapshot(
        "mail_queue_later",
        &browser.get("/mail/queue?after=7").await,
    );
    for (fields, said) in [
        (
            [("do", "retry"), ("id", "7")],
            "The box tries it now. Load this page again in a minute.",
        ),
        (
            [("do", "delete"), ("id", "7")],
            "The message is deleted. Nobody is told.",
        ),
        ([("do", "delete"), ("id", "7")], "it does not wait any more"),
        ([("do", "delete"), ("id", "9")], "Nothing waits"),
    ] {
        let page = browser.post("/mail/queue", &fields).await;
        assert!(page.text().contains(said), "{}", page.text());
    }
    let orders = mail.lock().orders.clone();
    assert!(orders.contains(&Call::AddDomain {
        domain: "example.com".into(),
        account: None,
    }));
    assert!(orders.contains(&Call::SetCatchAll {
        domain: "example.org".into(),
        account: None,
    }));
    assert_eq!(orders.len(), 9, "{orders:?}");
}

#[tokio::test]
async fn scripts_of_the_pages_use_the_api_with_the_sessions_token() {
    let (_the_box, mail, mut browser) = owner().await;
    let path = "/api/v1/mail/accounts/bob/aliases/sales@example.net";
    let request = |browser: &Browser, method: &str, token: Option<&str>| {
        let mut request = browser
            .request(method, path)
            .header("origin", "https://roost.local");
        if let Some(token) = token {
            request = request.header("x-roost-form", token);
        }
        request.body(Default::default()).unwrap()
    };
    let form = browser.form.clone();
    for (token, status) in [(None, 403), (Some("0"), 403), (Some(form.as_str()), 204)] {
        assert_eq!(mail.lock().orders, []);
        let request = request(&browser, "DELETE", token);
        assert_eq!(browser.send(request).await.status.as_u16(), status);
    }
    assert_eq!(mail.lock().orders.len(), 1);
    let page = browser.get("/api/v1/mail/accounts/bob").await;
    assert!(
        page.html.contains("\"addresses\":[\"bob@example.org\"]"),
        "{}",
        page.html
    );
    let activity = browser.get("/activity").await.text();
    let line = "The owner took the address sales@example.net from the mail account bob.";
    assert!(activity.contains(line), "{activity}");
}
