//! What strangers try at the pages; the core's own tests try far more at the decisions behind them.

use crate::browser::Browser;
use crate::the_box::{CODE, PASSWORD, TheBox};
use hyper::StatusCode;
use roost_portal::listen::Limits;
use roost_portal::pairing::CODE_LIFE;
use roost_portal::store::{DataFolder, FILE, Store};
use roost_portal::time::PoweredOn;
use tower::ServiceExt;

const SESSION: &str = "__Host-roost";

#[tokio::test]
async fn after_five_wrong_codes_nobody_gets_a_try_not_even_with_the_right_one() {
    let the_box = TheBox::start().await;
    let mut guesser = Browser::new(&the_box);
    for last in ["2", "3", "4", "5"] {
        let page = guesser
            .post("/pair", &[("code", &format!("ABCDEFG{last}"))])
            .await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let page = guesser.post("/pair", &[("code", "ABCDEFG6")]).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.headers.contains_key("retry-after"));
    for last in [1, 2] {
        let mut other = Browser::from(&the_box, last);
        let page = other.post("/pair", &[("code", CODE)]).await;
        assert_eq!(
            page.status,
            StatusCode::TOO_MANY_REQUESTS,
            "{}",
            page.text()
        );
        assert!(other.cookies.is_empty());
    }
}

#[tokio::test]
async fn a_code_is_used_up_when_its_browser_has_seen_the_form() {
    let the_box = TheBox::start().await;
    let mut owner = Browser::new(&the_box);
    owner.enter_code().await;
    let mut thief = Browser::from(&the_box, 2);
    let page = thief.post("/pair", &[("code", CODE)]).await;
    assert!(
        page.html.contains("nother browser has entered the code"),
        "{}",
        page.text()
    );
    assert_eq!(thief.set_up().await.headers.get("set-cookie"), None);

    // Nor does what the owner held open the box a second time.
    let grant = owner.cookies.clone();
    assert_eq!(owner.set_up().await.location(), "/welcome");
    thief.cookies = grant;
    assert_eq!(thief.get("/pair").await.location(), "/sign-in");
    let page = thief.set_up().await;
    assert_eq!(
        (page.location(), page.headers.get("set-cookie")),
        ("/sign-in", None)
    );
    let page = thief.post("/pair", &[("code", CODE)]).await;
    assert_eq!(page.location(), "/sign-in");
}

#[tokio::test]
async fn an_expired_code_opens_nothing() {
    let age = PoweredOn(CODE_LIFE.as_secs() + 1);
    let the_box = TheBox::with(Limits::STANDARD, age, None).await;
    let mut late = Browser::new(&the_box);
    let page = late.post("/pair", &[("code", CODE)]).await;
    assert!(
        page.html.contains("pairing code has expired"),
        "{}",
        page.text()
    );
    assert!(late.cookies.is_empty());
}

#[tokio::test]
async fn before_the_pairing_there_is_nothing_but_the_pairing() {
    let the_box = TheBox::start().await;
    let mut anybody = Browser::new(&the_box);
    for path in [
        "/",
        "/security",
        "/logs?service=mail",
        "/relay",
        "/mail",
        "/welcome",
        "/progress",
        "/sign-in",
    ] {
        let page = anybody.get(path).await;
        assert_eq!(
            (page.status, page.location()),
            (StatusCode::SEE_OTHER, "/pair"),
            "{path}"
        );
    }
    for path in [
        "/restart",
        "/relay",
        "/reset",
        "/mail",
        "/updates/rollback",
        "/security/app/remove",
    ] {
        let page = anybody.post(path, &[]).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn another_site_makes_the_owners_browser_do_nothing() {
    let the_box = TheBox::start().await;
    let heard = the_box.with_init();
    let mut owner = Browser::new(&the_box);
    owner.become_owner().await;

    // The browser says where the form comes from.
    for (origin, site) in [
        (Some("https://evil.example"), Some("cross-site")),
        (Some("https://evil.example"), None),
        (Some("null"), None),
        (None, None),
    ] {
        owner.origin = origin.map(Into::into);
        owner.fetch_site = site.map(Into::into);
        assert_eq!(
            owner.post("/restart", &[]).await.status,
            StatusCode::FORBIDDEN
        );
    }
    // Even if it did not, the form has no token, or another session's.
    owner.origin = Some("https://roost.local".into());
    owner.fetch_site = Some("same-origin".into());
    let mut other = Browser::from(&the_box, 2);
    assert_eq!(other.sign_in().await.location(), "/");
    other.get("/").await;
    let own = std::mem::take(&mut owner.form);
    assert_eq!(
        owner.post("/restart", &[]).await.status,
        StatusCode::FORBIDDEN
    );
    owner.form = other.form;
    assert_eq!(
        owner.post("/restart", &[]).await.status,
        StatusCode::FORBIDDEN
    );
    let restarts = || {
        heard
            .lock()
            .unwrap()
            .iter()
            .filter(|r| r["op"] == "reboot")
            .count()
    };
    assert_eq!(restarts(), 0);
    owner.form = own;
    assert_eq!(owner.post("/restart", &[]).await.status, StatusCode::OK);
    assert_eq!(restarts(), 1);
}

#[tokio::test]
async fn a_planted_session_never_becomes_the_owners() {
    let the_box = TheBox::start().await;
    let mut owner = Browser::new(&the_box);
    owner.become_owner().await;
    let before = owner.cookies[SESSION].clone();
    // Signing in again in the same browser: a new session, and the one before is no more.
    owner.sign_in().await;
    assert_ne!(owner.cookies[SESSION], before);
    let mut planted = Browser::from(&the_box, 2);
    planted.cookies.insert(SESSION.into(), before);
    assert_eq!(planted.get("/").await.location(), "/sign-in");
    // One that the attacker has made up is not taken over either.
    let made_up = "ab".repeat(32);
    planted.cookies.insert(SESSION.into(), made_up.clone());
    planted.sign_in().await;
    assert_ne!(planted.cookies[SESSION], made_up);
    let mut attacker = Browser::from(&the_box, 3);
    attacker.cookies.insert(SESSION.into(), made_up);
    assert_eq!(attacker.get("/").await.location(), "/sign-in");
}

#[tokio::test]
async fn wrong_passwords_are_limited_and_known_browsers_go_on() {
    let the_box = TheBox::start().await;
    let mut owner = Browser::new(&the_box);
    owner.become_owner().await;
    let mut guesser = Browser::from(&the_box, 2);
    for _ in 0..5 {
        let page = guesser.post("/sign-in", &[("password", "wrong")]).await;
        assert_eq!(page.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(
        guesser.sign_in().await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    owner.cookies.remove(SESSION);
    owner.from = guesser.from;
    assert_eq!(owner.sign_in().await.location(), "/");
}

#[tokio::test]
async fn ended_sessions_are_ended() {
    let the_box = TheBox::start().await;
    let mut owner = Browser::new(&the_box);
    owner.become_owner().await;
    let mut second = Browser::from(&the_box, 2);
    second.sign_in().await;
    assert_eq!(second.get("/security").await.status, StatusCode::OK);
    owner.post("/security/end-others", &[]).await;
    assert_eq!(second.get("/security").await.location(), "/sign-in");

    second.sign_in().await;
    let new = [
        ("password", PASSWORD),
        ("new", "other words that nobody guesses"),
    ];
    assert_eq!(
        owner.post("/security/password", &new).await.status,
        StatusCode::OK
    );
    assert_eq!(second.get("/security").await.location(), "/sign-in");
    assert_eq!(second.sign_in().await.status, StatusCode::FORBIDDEN);

    let kept = owner.cookies.clone();
    assert_eq!(owner.post("/sign-out", &[]).await.location(), "/sign-in");
    owner.cookies = kept;
    assert_eq!(owner.get("/").await.location(), "/sign-in");
}

#[tokio::test]
async fn only_the_boxs_own_names_and_addresses_are_served() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    for host in [
        "evil.example",
        "roost.local.evil.example",
        "evil.example:443",
        "roost.local@evil.example",
        "127.0.0.1.evil.example",
        "[::1].evil.example",
        "",
    ] {
        browser.host = host.into();
        browser.origin = Some(format!("https://{host}"));
        assert_eq!(
            browser.get("/pair").await.status,
            StatusCode::MISDIRECTED_REQUEST,
            "{host:?}"
        );
        let page = browser.post("/pair", &[("code", CODE)]).await;
        assert_eq!(page.status, StatusCode::MISDIRECTED_REQUEST, "{host:?}");
    }
    for host in [
        "roost.local",
        "ROOST.local:443",
        "roost",
        "192.0.2.5",
        "[2001:db8::5]:8443",
        "localhost:8443",
    ] {
        browser.host = host.into();
        assert_eq!(
            browser.get("/pair").await.status,
            StatusCode::OK,
            "{host:?}"
        );
    }
    let twice = browser
        .request("GET", "/pair")
        .header("host", "roost.local");
    let page = browser.send(twice.body(Default::default()).unwrap()).await;
    assert_eq!(page.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn paths_lead_to_no_file() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    for path in [
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/portal.css/../../portal.redb",
        "/assets/",
        "//etc/passwd",
        "/portal.redb",
        "/identity.pem",
        "/%00",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(!page.html.contains("root:"), "{path}");
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    let mut wrong = Browser::new(&the_box);
    wrong.host = "evil.example".into();
    for page in [
        browser.get("/pair").await,
        browser.get("/nothing").await,
        browser.get("/assets/portal.js").await,
        browser.post("/pair", &[("code", "x")]).await,
        wrong.get("/").await,
    ] {
        let header = |name: &str| page.headers[name].to_str().unwrap();
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; script-src 'self';")
        );
        assert!(!header("content-security-policy").contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "same-origin");
        assert!(!page.headers.contains_key("strict-transport-security"));
        // Nothing is compressed: a form's token must not leak by its length.
        assert!(!page.headers.contains_key("content-encoding"));
        // The policy allows nothing inline; neither do the pages have any.
        assert!(!page.html.contains(" style=") && !page.html.contains("<style"));
        assert!(!page.html.contains(" onclick") && !page.html.contains("javascript:"));
    }
    assert_eq!(
        browser.get("/pair").await.headers["cache-control"],
        "no-store"
    );
}

#[tokio::test]
async fn a_damaged_store_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), "").unwrap();
    let why = Store::open(&DataFolder(folder.path().into())).unwrap_err();
    let router = roost_portal::web::closed::router("roost", &why);
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/pair"),
        ("POST", "/pair"),
        ("POST", "/pair/setup"),
        ("POST", "/sign-in"),
        ("GET", "/api/v1/hello"),
        ("GET", "/jmap/session"),
    ] {
        let request = hyper::Request::builder().method(method).uri(path);
        let request = request.body(axum::body::Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(!answer.headers().contains_key("set-cookie"));
    }
    assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), b"");
}
