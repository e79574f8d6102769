//! Passkeys over the wire: who may add one, what signs in, and what is refused. What an answer may say
//! wrongly is tested beside `passkey.rs`.

use crate::authenticator::{Device, PRESENT};
use crate::browser::{Browser, Page};
use crate::played_certificates::{PlayedCertificates, valid};
use crate::the_box::{PASSWORD, TheBox};
use hyper::StatusCode;

const ORIGIN: &str = "https://roost.local";

/// The owner asks for a passkey. Gives the page.
async fn begin(owner: &mut Browser, name: &str) -> Page {
    owner.get("/security").await;
    let fields = [("name", name), ("password", PASSWORD)];
    owner.post("/security/passkeys", &fields).await
}

/// What the page's script is given.
fn options(page: &Page) -> String {
    let (_, rest) = page.html.split_once("data-options=\"").unwrap();
    let (options, _) = rest.split_once('"').unwrap();
    options.replace("&quot;", "\"").replace("&amp;", "&")
}

async fn add(owner: &mut Browser, device: &mut Device, name: &str) -> Page {
    let answer = device.create(&options(&begin(owner, name).await), ORIGIN);
    owner
        .post("/security/passkeys/add", &[("answer", &answer)])
        .await
}

/// Asks for a challenge and lets the device answer.
async fn answer(browser: &mut Browser, device: &mut Device) -> String {
    let asked = browser.post("/sign-in/passkey/begin", &[]).await;
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.html);
    device.get(&asked.html, ORIGIN)
}

async fn sign_in(browser: &mut Browser, device: &mut Device) -> Page {
    let answer = answer(browser, device).await;
    show(browser, &answer).await
}

async fn show(browser: &mut Browser, answer: &str) -> Page {
    browser
        .post("/sign-in/passkey", &[("answer", answer)])
        .await
}

async fn owner_with(device: &mut Device, the_box: &TheBox) -> Browser {
    let mut owner = Browser::new(the_box);
    owner.become_owner().await;
    let page = add(&mut owner, device, "phone").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    owner
}

async fn log(owner: &mut Browser) -> String {
    owner.get("/activity").await.text()
}

#[tokio::test]
async fn a_passkey_stands_for_password_and_code() {
    let the_box = TheBox::start().await;
    let mut device = Device::new(1);
    let mut owner = owner_with(&mut device, &the_box).await;
    insta::assert_snapshot!("security_with_passkey", owner.get("/security").await.text());

    let mut other = Browser::from(&the_box, 2);
    let page = other.get("/sign-in").await;
    assert!(page.text().contains("Sign in with a passkey"));
    device.counter = 1;
    let page = sign_in(&mut other, &mut device).await;
    assert_eq!(page.location(), "/", "{}", page.text());
    assert!(!other.cookies.contains_key("__Host-roost-passkey"));
    let page = other.get("/security").await.text();
    assert!(page.contains("signed in with a passkey just now"), "{page}");
    let log = log(&mut other).await;
    assert!(log.contains("The owner signed in with the passkey \"phone\" (Firefox on Linux)."));
    assert!(
        log.contains("The owner added the passkey \"phone\". look"),
        "{log}"
    );
    // It is a session like others: a sign-in ends the one before.
    let before = other.cookies["__Host-roost"].clone();
    device.counter = 2;
    sign_in(&mut other, &mut device).await;
    let after = other.cookies.insert("__Host-roost".into(), before).unwrap();
    assert_eq!(other.get("/security").await.location(), "/sign-in");
    other.cookies.insert("__Host-roost".into(), after);
    assert_eq!(other.get("/security").await.status, StatusCode::OK);
}

/// Where browsers trust the box, passkeys need no certificate that somebody has installed.
#[tokio::test]
async fn a_passkey_may_be_of_the_mail_hosts_name() {
    let the_box = TheBox::start().await;
    let mut owner = Browser::new(&the_box);
    owner.become_owner().await;
    let service = PlayedCertificates::listen(&the_box.app.places.certificates);
    service.lock().status = valid();
    let wait = async {
        while the_box.app.certificates.trusted().is_none() {
            the_box.app.certificates.changed.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, wait).await.expect("it asks");
    let (host, origin) = ("mail.example.org", "https://mail.example.org");
    let page = owner.get("/security").await.text();
    assert!(
        page.contains("At https://mail.example.org it is trusted already"),
        "{page}"
    );

    let at = |browser: &mut Browser| {
        browser.host = host.into();
        browser.origin = Some(origin.into());
    };
    at(&mut owner);
    let mut device = Device::new(1);
    let answer = device.create(&options(&begin(&mut owner, "phone").await), origin);
    let page = owner
        .post("/security/passkeys/add", &[("answer", &answer)])
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let mut other = Browser::from(&the_box, 2);
    let page = other.get("/sign-in").await;
    assert!(
        page.html.contains("https://mail.example.org/sign-in"),
        "{}",
        page.text()
    );
    at(&mut other);
    device.counter = 1;
    let asked = other.post("/sign-in/passkey/begin", &[]).await;
    let answer = device.get(&asked.html, origin);
    assert_eq!(show(&mut other, &answer).await.location(), "/");
}

#[tokio::test]
async fn only_the_owner_who_shows_it_once_more_adds_one() {
    let the_box = TheBox::start().await;
    let mut device = Device::new(1);
    let mut owner = Browser::new(&the_box);
    owner.become_owner().await;
    let fields = [("name", "phone"), ("password", "wrong")];
    let page = owner.post("/security/passkeys", &fields).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(!page.html.contains("data-options"));
    for name in ["", "a\nb", &"x".repeat(65)] {
        let page = begin(&mut owner, name).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.text().contains("The passkey's name has"));
    }
    // Nobody asked.
    let empty = owner
        .post("/security/passkeys/add", &[("answer", "{}")])
        .await;
    assert_eq!(empty.status, StatusCode::CONFLICT);

    // What was asked of one session is not answered by another, and of no one signed in.
    let mut second = Browser::from(&the_box, 2);
    second.sign_in().await;
    second.get("/security").await;
    let made = device.create(&options(&begin(&mut owner, "phone").await), ORIGIN);
    let page = second
        .post("/security/passkeys/add", &[("answer", &made)])
        .await;
    assert_eq!(page.status, StatusCode::CONFLICT, "{}", page.text());
    let mut stranger = Browser::from(&the_box, 3);
    let page = stranger
        .post("/security/passkeys/add", &[("answer", &made)])
        .await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    // Nor without the form's token, which another site does not have.
    let form = std::mem::take(&mut owner.form);
    let page = owner
        .post("/security/passkeys/add", &[("answer", &made)])
        .await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    owner.form = form;
    let page = owner
        .post("/security/passkeys/add", &[("answer", &made)])
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    // Once.
    let page = owner
        .post("/security/passkeys/add", &[("answer", &made)])
        .await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    // Nor the same device again, should its browser let it.
    let page = add(&mut owner, &mut device, "again").await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.text().contains("The box has this passkey already."));
    assert!(!page.text().contains("again ("));
}

#[tokio::test]
async fn an_answer_counts_once_and_in_the_browser_that_was_asked() {
    let the_box = TheBox::start().await;
    let mut device = Device::new(1);
    owner_with(&mut device, &the_box).await;
    let late = "The box waits two minutes for a passkey, and they are over.";

    let mut asked = Browser::from(&the_box, 2);
    let right = answer(&mut asked, &mut device).await;
    // Overheard, and shown by another browser: without its cookie, and with a challenge of its own.
    let mut other = Browser::from(&the_box, 3);
    let page = show(&mut other, &right).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text().contains(late), "{}", page.text());
    answer(&mut other, &mut device).await;
    let page = show(&mut other, &right).await;
    assert!(page.text().contains(late), "{}", page.text());
    assert!(!other.cookies.contains_key("__Host-roost"));

    let cookie = asked.cookies["__Host-roost-passkey"].clone();
    assert_eq!(show(&mut asked, &right).await.location(), "/");
    // Again, with all that it had.
    asked.cookies.clear();
    asked.cookies.insert("__Host-roost-passkey".into(), cookie);
    let page = show(&mut asked, &right).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(page.text().contains(late), "{}", page.text());
    assert!(!asked.cookies.contains_key("__Host-roost"));
}

#[tokio::test]
async fn what_is_refused_is_counted_and_told() {
    let the_box = TheBox::start().await;
    let mut device = Device::new(1);
    device.counter = 7;
    let mut owner = owner_with(&mut device, &the_box).await;
    let mut other = Browser::from(&the_box, 2);
    device.counter = 7;
    let page = sign_in(&mut other, &mut device).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(
        page.text().contains("may have been copied"),
        "{}",
        page.text()
    );
    device.counter = 8;
    device.flags = PRESENT;
    let page = sign_in(&mut other, &mut device).await;
    assert!(
        page.text().contains("has not asked for a finger"),
        "{}",
        page.text()
    );
    let mut unknown = Device::new(2);
    let page = sign_in(&mut other, &mut unknown).await;
    assert!(
        page.text().contains("does not know this passkey"),
        "{}",
        page.text()
    );
    for nonsense in ["", "{}"] {
        answer(&mut other, &mut device).await;
        let page = show(&mut other, nonsense).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
    }
    // Five, as with passwords: now even the right one waits, and so does a password.
    device.flags = Device::new(1).flags;
    let page = sign_in(&mut other, &mut device).await;
    assert_eq!(
        page.status,
        StatusCode::TOO_MANY_REQUESTS,
        "{}",
        page.text()
    );
    assert!(page.headers.contains_key("retry-after"));
    assert_eq!(other.sign_in().await.status, StatusCode::TOO_MANY_REQUESTS);
    // Not so the browser in which the owner has signed in before.
    let page = sign_in(&mut owner, &mut device).await;
    assert_eq!(page.location(), "/", "{}", page.text());

    let log = log(&mut owner).await;
    let of = |what: &str| log.matches(what).count();
    assert_eq!(
        of("showed the passkey \"phone\", of which there may be a copy. look"),
        1
    );
    let wrong =
        "Somebody showed a passkey that the box does not take, in a browser that is new here.";
    assert_eq!(of(wrong), 4, "{log}");
}

#[tokio::test]
async fn a_removed_passkey_is_of_no_use() {
    let the_box = TheBox::start().await;
    let mut device = Device::new(1);
    let mut owner = owner_with(&mut device, &the_box).await;
    let page = owner.get("/security").await;
    let (_, id) = page.html.split_once("<option value=\"").unwrap();
    let id = id[..64].to_owned();
    let mut other = Browser::from(&the_box, 2);
    let right = answer(&mut other, &mut device).await;
    let wrong = [("id", id.as_str()), ("password", "wrong")];
    let page = owner.post("/security/passkeys/remove", &wrong).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    let fields = [("id", id.as_str()), ("password", PASSWORD)];
    let page = owner.post("/security/passkeys/remove", &fields).await;
    assert!(
        page.text().contains("“phone” is removed"),
        "{}",
        page.text()
    );
    // Also if it was asked before.
    let page = show(&mut other, &right).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    assert!(
        page.text().contains("does not know this passkey"),
        "{}",
        page.text()
    );
    assert!(!other.cookies.contains_key("__Host-roost"));
    let page = owner.post("/security/passkeys/remove", &fields).await;
    assert!(
        page.text().contains("not there any more"),
        "{}",
        page.text()
    );
    assert!(
        log(&mut owner)
            .await
            .contains("The owner removed the passkey \"phone\".")
    );
    // The password works as ever.
    assert_eq!(other.sign_in().await.location(), "/");
}

#[tokio::test]
async fn an_address_has_no_passkeys_and_another_name_has_its_own() {
    let the_box = TheBox::start().await;
    let mut device = Device::new(1);
    owner_with(&mut device, &the_box).await;
    for address in ["192.0.2.5", "[2001:db8::5]"] {
        let mut browser = Browser::from(&the_box, 2);
        browser.host = address.into();
        browser.origin = Some(format!("https://{address}"));
        let page = browser.get("/sign-in").await;
        insta::allow_duplicates! { insta::assert_snapshot!("sign_in_by_address", page.text()); }
        let page = browser.post("/sign-in/passkey/begin", &[]).await;
        assert_eq!(page.status, StatusCode::CONFLICT);
        browser.sign_in().await;
        let page = browser.get("/security").await;
        assert!(
            page.text().contains("opened by an address"),
            "{}",
            page.text()
        );
        assert!(!page.text().contains("Add a passkey"));
        let fields = [("name", "x"), ("password", PASSWORD)];
        let page = browser.post("/security/passkeys", &fields).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let mut browser = Browser::from(&the_box, 3);
    browser.host = "roost".into();
    browser.origin = Some("https://roost".into());
    let page = browser.get("/sign-in").await.text();
    assert!(!page.contains("Sign in with a passkey"), "{page}");
    assert!(
        page.contains("only at the name that it was made for"),
        "{page}"
    );
    let asked = browser.post("/sign-in/passkey/begin", &[]).await;
    let answer = device.get(&asked.html, "https://roost");
    let page = show(&mut browser, &answer).await.text();
    assert!(
        page.contains("This passkey signs in at roost.local only."),
        "{page}"
    );
}

#[tokio::test]
async fn a_box_without_an_owner_asks_nobody() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    for path in ["/sign-in/passkey/begin", "/sign-in/passkey"] {
        let page = browser.post(path, &[("answer", "{}")]).await;
        assert_eq!(page.location(), "/pair");
        assert!(browser.cookies.is_empty());
    }
}

#[tokio::test]
async fn another_site_cannot_even_ask() {
    let the_box = TheBox::start().await;
    owner_with(&mut Device::new(1), &the_box).await;
    let mut browser = Browser::from(&the_box, 2);
    browser.origin = Some("https://evil.example".into());
    browser.fetch_site = Some("cross-site".into());
    for path in ["/sign-in/passkey/begin", "/sign-in/passkey"] {
        let page = browser.post(path, &[("answer", "{}")]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
        assert!(browser.cookies.is_empty());
    }
}
