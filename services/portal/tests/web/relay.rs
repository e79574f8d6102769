//! What the owner reads about the relay, and what comes of what the owner does there.

use crate::browser::Browser;
use crate::pages::snapshot;
use crate::played_tunnel::{
    PlayedTunnel, TEXT, UNFIT, down, replaced, taking_over, unconfigured, up,
};
use crate::the_box::{PASSWORD, TheBox};
use roost_service::tunnel::{Call, parse};
use std::time::Duration;

async fn owner() -> (TheBox, PlayedTunnel, Browser) {
    let the_box = TheBox::start().await;
    let tunnel = PlayedTunnel::listen(&the_box.app.places.tunnel);
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    (the_box, tunnel, browser)
}

async fn kept(the_box: &TheBox) -> Option<String> {
    let settings = the_box.app.view(|store, _| store.settings()).await;
    settings.unwrap().relay
}

/// The card on the overview.
fn card(page: &str) -> String {
    let card = page.split("Way to the relay\n").nth(1).unwrap();
    card.split("All about the relay").next().unwrap().to_owned()
}

#[tokio::test]
async fn every_state_is_told_in_words() {
    let the_box = TheBox::start().await;
    let _heard = the_box.with_init();
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    snapshot("relay_without_tunnel", &browser.get("/relay").await);
    let mut cards = format!("(silent)\n{}\n", card(&browser.get("/").await.text()));
    let tunnel = PlayedTunnel::listen(&the_box.app.places.tunnel);
    for (name, status) in [
        ("relay_unconfigured", unconfigured()),
        ("relay_down", down()),
        ("relay_up", up()),
        ("relay_replaced", replaced()),
        ("relay_taking_over", taking_over()),
    ] {
        tunnel.lock().status = status;
        snapshot(name, &browser.get("/relay").await);
        cards += &format!("({name})\n{}\n", card(&browser.get("/").await.text()));
    }
    insta::assert_snapshot!("relay_cards", cards);
    // A script gets the part that changes.
    let request = browser.request("GET", "/relay").header("x-roost-poll", "1");
    let piece = browser
        .send(request.body(Default::default()).unwrap())
        .await;
    assert!(piece.html.starts_with("<p>"), "{}", piece.html);
}

#[tokio::test]
async fn a_relay_is_set_replaced_and_removed() {
    let (the_box, tunnel, mut browser) = owner().await;
    browser.get("/relay").await;
    let other = TEXT.replace("relay.example", "other.example");
    let mut heads = String::new();
    for fields in [
        [("do", "set"), ("relay", "hello")],
        [("do", "set"), ("relay", UNFIT)],
        [("do", "set"), ("relay", "")],
        [("do", "set"), ("relay", TEXT)],
        [("do", "set"), ("relay", &other)],
        [("do", "remove"), ("sure", "")],
        [("do", "dance"), ("sure", "yes")],
        [("do", "remove"), ("sure", "yes")],
    ] {
        let page = browser.post("/relay", &fields).await;
        let text = page.text();
        let above: Vec<_> = text.lines().skip(1).take(1).collect();
        heads += &format!("{} {}\n", page.status, above.join(""));
        let wrong = page.html.split("<p class=\"wrong\"").nth(1);
        if let Some(wrong) = wrong.and_then(|wrong| wrong.split("</p>").next()) {
            heads += &format!("    {}\n", wrong.split_once('>').unwrap().1);
            assert!(fields[1].1.is_empty() || page.html.contains("</textarea>"));
        }
        // What is kept is what the tunnel has.
        let kept = kept(&the_box).await;
        let has = tunnel.lock().status.relay.clone();
        assert_eq!(kept.map(|text| parse(&text).unwrap().relay.endpoint), has);
    }
    insta::assert_snapshot!("relay_orders", heads);
    let orders = tunnel.lock().orders.clone();
    let set = |text: &str| Call::Set {
        tunnel: Box::new(parse(text).unwrap()),
    };
    assert_eq!(orders, [set(UNFIT), set(TEXT), set(&other), Call::Clear]);
    let activity = browser.get("/activity").await.text();
    assert_eq!(activity.matches("The owner set the relay. look").count(), 2);
    assert!(activity.contains("The owner removed the relay.\n"));
}

#[tokio::test]
async fn a_card_that_was_replaced_serves_again_when_the_owner_is_sure() {
    let (_the_box, tunnel, mut browser) = owner().await;
    browser.get("/relay").await;
    let sure = [("do", "takeover"), ("sure", "yes")];
    let page = browser.post("/relay", &sure).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text().contains("o other card has taken"),
        "{}",
        page.text()
    );
    tunnel.lock().status = replaced();
    let unsure = browser.post("/relay", &[("do", "takeover"), ("sure", "")]);
    assert!(unsure.await.text().contains("stood down"));
    let page = browser.post("/relay", &sure).await;
    assert_eq!(page.status, 200);
    let said = page.text();
    assert!(
        said.contains("This card takes back its place.") && said.contains("takes over"),
        "{said}"
    );
    assert_eq!(tunnel.lock().orders, [Call::TakeOver, Call::TakeOver]);
    let activity = browser.get("/activity").await.text();
    let line = "had this card serve in place of another with the same keys";
    assert_eq!(activity.matches(line).count(), 1, "{activity}");
}

#[tokio::test]
async fn a_relay_that_was_removed_does_not_come_back() {
    let (the_box, tunnel, mut browser) = owner().await;
    browser.get("/relay").await;
    let set = [("do", "set"), ("relay", TEXT)];
    assert_eq!(browser.post("/relay", &set).await.status, 200);
    tunnel.lock().breaks_off = true;
    let page = browser
        .post("/relay", &[("do", "remove"), ("sure", "yes")])
        .await;
    assert_eq!(page.status, 503);
    assert!(page.text().contains("it broke off"), "{}", page.text());
    assert_eq!(kept(&the_box).await, None);
    let activity = browser.get("/activity").await.text();
    let line = "removed the relay, or tried to: the tunnel service broke off";
    assert!(activity.contains(line), "{activity}");
}

#[tokio::test]
async fn what_the_pairing_was_given_reaches_a_tunnel_that_comes_late() {
    for text in [TEXT, UNFIT] {
        let the_box = TheBox::start().await;
        tokio::spawn(the_box.app.clone().tick());
        let mut browser = Browser::new(&the_box);
        browser.enter_code().await;
        let mut form = vec![
            ("password", PASSWORD),
            ("domain", "example.org"),
            ("account", "alice"),
            ("relay", "hello"),
        ];
        let page = browser.post("/pair/setup", &form).await;
        assert!(
            page.text().contains("This is no relay's text"),
            "{}",
            page.text()
        );
        form[3].1 = text;
        assert_eq!(
            browser.post("/pair/setup", &form).await.location(),
            "/welcome"
        );
        assert_eq!(kept(&the_box).await.as_deref(), Some(text));
        let tunnel = PlayedTunnel::listen(&the_box.app.places.tunnel);
        let wait = async {
            while tunnel.lock().orders.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let patience = Duration::from_secs(60);
        tokio::time::timeout(patience, wait)
            .await
            .expect("it is told");
        let page = loop {
            let page = browser.get("/relay").await;
            if !page.text().contains("is being set up") {
                break page;
            }
        };
        let set = Call::Set {
            tunnel: Box::new(parse(text).unwrap()),
        };
        assert_eq!(tunnel.lock().orders, [set]);
        if text == UNFIT {
            snapshot("relay_refused", &page);
            // The owner pastes a better one.
            let set = [("do", "set"), ("relay", TEXT)];
            let page = browser.post("/relay", &set).await;
            assert!(!page.text().contains("not usable"), "{}", page.text());
        } else {
            assert!(page.text().contains("not connected"), "{}", page.text());
        }
    }
}

#[tokio::test]
async fn a_start_hands_over_what_the_tunnel_has_not_and_replaces_nothing() {
    let (the_box, tunnel, _browser) = owner().await;
    let give = |text: &str| {
        let text = Some(text.to_owned());
        the_box.app.change(move |store, _| store.set_relay(text))
    };
    // It has another one.
    give(TEXT).await.unwrap();
    tunnel.lock().status = up();
    let first = tokio::spawn(the_box.app.clone().tick());
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.abort();
    assert_eq!(tunnel.lock().orders, []);
    tunnel.lock().status = unconfigured();
    tokio::spawn(the_box.app.clone().tick());
    let wait = async {
        while tunnel.lock().orders.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, wait)
        .await
        .expect("it is told");
}
