//! What the owner reads, and what comes of what the owner does.

use crate::browser::{Browser, Page};
use crate::the_box::{CODE, PASSWORD, TheBox};
use hyper::StatusCode;
use roost_portal::actions::laptops::Applicant;
use totp_rs::{Algorithm, Secret, TOTP};

/// Without what differs each time.
pub fn snapshot(name: &str, page: &Page) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(
        r"[0-9a-hjkmnp-tv-z]{5}(-[0-9a-hjkmnp-tv-z]{5}){3}",
        "[mail password]",
    );
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "[time]");
    settings.add_filter(r"\b[0-9A-Z]{5}-[0-9A-Z]{5}\b", "[recovery code]");
    settings.add_filter(r"\b[A-Z2-7]{32}\b", "[key]");
    settings.add_filter(r"(?:[0-9A-F]{2}:){15}[0-9A-F]{2}", "[fingerprint]");
    settings.add_filter(r"(?m)as words:\n(\w+ ){5}\w+$", "as words:\n[words]");
    settings.add_filter(r"The processor has \d+ °C\.( hot It slows.*)?\n", "");
    settings.bind(|| insta::assert_snapshot!(name, page.text()));
}

#[tokio::test]
async fn from_the_code_to_the_overview() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    snapshot("code", &browser.get("/pair").await);
    let page = browser.post("/pair", &[("code", "ABCDEFG2")]).await;
    snapshot("code_wrong", &page);
    let page = browser.post("/pair", &[("code", "what?")]).await;
    snapshot("code_that_is_none", &page);
    browser.enter_code().await;
    snapshot("form", &browser.get("/pair").await);
    let wrong = [
        ("password", "roost"),
        ("domain", "a@b"),
        ("account", "<b>"),
        ("relay", ""),
    ];
    let page = browser.post("/pair/setup", &wrong).await;
    assert!(
        page.html.contains("value=\"&lt;b&gt;\""),
        "typed text is not lost, nor taken for tags"
    );
    assert!(
        !page.html.contains("value=\"roost\""),
        "a password is not sent back"
    );
    snapshot("form_wrong", &page);
    assert_eq!(browser.set_up().await.location(), "/welcome");
    assert!(!browser.cookies.contains_key("__Host-roost-pairing"));

    let page = browser.get("/welcome").await;
    snapshot("welcome", &page);
    assert!(
        browser.get("/welcome").await.html.contains("mail-password"),
        "a bad line costs nothing"
    );
    browser.post("/welcome", &[]).await;
    assert!(!browser.get("/welcome").await.html.contains("mail-password"));
    let mut other = Browser::from(&the_box, 2);
    other.sign_in().await;
    assert!(!other.get("/welcome").await.html.contains("mail-password"));

    for (name, path) in [
        ("overview_without_init", "/"),
        ("security", "/security"),
        ("activity", "/activity"),
        ("laptops", "/laptops"),
        ("updates_without_updater", "/updates"),
        ("reset", "/reset"),
        ("accounts_without_mail", "/mail"),
        ("progress_without_init", "/progress"),
        ("nothing", "/nothing"),
    ] {
        snapshot(name, &browser.get(path).await);
    }
    browser.post("/sign-out", &[]).await;
    snapshot("sign_in", &browser.get("/sign-in").await);
    let page = browser.post("/sign-in", &[("password", "x")]).await;
    snapshot("sign_in_wrong", &page);
}

#[tokio::test]
async fn who_becomes_the_owner_is_told_of_the_computer_that_wrote_the_card() {
    let desk = Applicant::new("desk", &"0f".repeat(32)).unwrap();
    let the_box = TheBox::written_by(desk).await;
    let mut browser = Browser::new(&the_box);
    browser.enter_code().await;
    let form = browser.get("/pair").await;
    assert!(
        form.text()
            .contains("The computer that wrote the card, desk, may update this box"),
        "{}",
        form.text()
    );
    assert_eq!(browser.set_up().await.location(), "/welcome");
    snapshot("laptop_of_the_card", &browser.get("/laptops").await);
    snapshot(
        "laptop_of_the_card_in_the_log",
        &browser.get("/activity").await,
    );
    let key = "0f".repeat(32);
    let page = browser.post("/laptops", &[("key", &key)]).await;
    assert!(page.text().contains("There is none."), "{}", page.text());
}

#[tokio::test]
async fn what_was_chosen_reaches_init_once() {
    let the_box = TheBox::start().await;
    let heard = the_box.with_init();
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    let wait = async {
        while !heard
            .lock()
            .unwrap()
            .iter()
            .any(|asked| asked["op"] == "configure")
        {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let patience = std::time::Duration::from_secs(10);
    tokio::time::timeout(patience, wait)
        .await
        .expect("init is told");
    let chosen = {
        let heard = heard.lock().unwrap();
        let asked = heard
            .iter()
            .find(|asked| asked["op"] == "configure")
            .unwrap();
        asked["chosen"].clone()
    };
    assert_eq!(chosen["domain"], "example.org");
    assert_eq!(chosen["account"]["name"], "alice");
    assert!(
        chosen["account"]["password_hash"]
            .as_str()
            .unwrap()
            .starts_with("$argon2id$")
    );
    snapshot("overview", &browser.get("/").await);
    snapshot("logs", &browser.get("/logs?service=mail").await);
    snapshot("progress", &browser.get("/progress").await);
    assert!(
        browser
            .get("/logs?service=mail")
            .await
            .html
            .contains("&lt;b&gt;two&lt;/b&gt;")
    );
    // Kept until init had it, and no longer.
    let clean = async {
        loop {
            let settings = the_box.app.view(|store, _| store.settings()).await.unwrap();
            if settings.mail_password.is_none() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, clean)
        .await
        .expect("the hash is forgotten");
    let announced: Vec<_> = {
        let heard = heard.lock().unwrap();
        let announced = heard.iter().filter(|asked| asked["op"] == "announce");
        announced.map(|asked| asked["code"].clone()).collect()
    };
    assert_eq!(
        announced.last(),
        Some(&serde_json::Value::Null),
        "no screen shows a used code"
    );
}

#[tokio::test]
async fn an_app_is_set_up_and_needed_from_then_on() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    let page = browser.post("/security/app", &[]).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "without a clock");
    snapshot("app_without_clock", &page);
    let _heard = the_box.with_init();
    while the_box.app.now().wall.is_none() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(
        browser.post("/security/app", &[]).await.location(),
        "/security/app"
    );
    let page = browser.get("/security/app").await;
    assert!(page.html.contains("<svg"));
    snapshot("app", &page);
    let key = page.text();
    let key = key.lines().find(|line| line.len() == 32).unwrap();
    let secret = Secret::Encoded(key.into()).to_bytes().unwrap();
    let app = TOTP::new_unchecked(Algorithm::SHA1, 6, 0, 30, secret, None, String::new());
    let wrong = [("code", "000000"), ("password", PASSWORD)];
    let page = browser.post("/security/app/confirm", &wrong).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    let code = app.generate_current().unwrap();
    let right = [("code", code.as_str()), ("password", PASSWORD)];
    let page = browser.post("/security/app/confirm", &right).await;
    snapshot("recovery_codes", &page);
    let text = page.text();
    let recovery = text
        .lines()
        .find(|l| l.len() == 11 && l.contains('-'))
        .unwrap();
    assert_eq!(browser.get("/security/app").await.location(), "/security");
    snapshot("security_with_app", &browser.get("/security").await);

    let mut other = Browser::from(&the_box, 2);
    let page = other.sign_in().await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    snapshot("sign_in_without_second", &page);
    // The code that set it up is used up.
    let again = [("password", PASSWORD), ("second", code.as_str())];
    assert_eq!(
        other.post("/sign-in", &again).await.status,
        StatusCode::FORBIDDEN
    );
    let recovered = [("password", PASSWORD), ("second", recovery)];
    assert_eq!(other.post("/sign-in", &recovered).await.location(), "/");
    assert_eq!(
        Browser::from(&the_box, 3)
            .post("/sign-in", &recovered)
            .await
            .status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_reset_asks_for_name_and_password_and_shows_the_new_code() {
    let the_box = TheBox::start().await;
    let heard = the_box.with_init();
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    browser.get("/reset").await;
    let resets = || {
        let heard = heard.lock().unwrap();
        let resets = heard.iter().filter(|asked| asked["op"] == "factory_reset");
        resets.cloned().collect::<Vec<_>>()
    };
    for fields in [
        [("name", "other"), ("password", PASSWORD)],
        [("name", "roost"), ("password", "wrong")],
    ] {
        browser.post("/reset", &fields).await;
        assert!(resets().is_empty());
    }
    let fields = [("name", "roost"), ("password", PASSWORD)];
    let page = browser.post("/reset", &fields).await;
    let code = resets()[0]["code"].as_str().unwrap().to_owned();
    let shown = format!("{}-{}", &code[..4], &code[4..]);
    assert_ne!(shown, CODE);
    assert!(page.html.contains(&shown), "{}", page.text());
    let activity = browser.get("/activity").await.text();
    assert!(
        activity.contains("The owner asked for a factory reset. look"),
        "{activity}"
    );
}

#[tokio::test]
async fn a_page_that_looks_by_itself_gets_a_piece() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    let poll = |browser: &Browser| {
        let request = browser
            .request("GET", "/progress")
            .header("x-roost-poll", "1");
        request.body(Default::default()).unwrap()
    };
    let request = poll(&browser);
    assert_eq!(browser.send(request).await.status, StatusCode::UNAUTHORIZED);
    browser.become_owner().await;
    let request = poll(&browser);
    let page = browser.send(request).await;
    assert!(page.html.starts_with("<ul"), "{}", page.html);
}
