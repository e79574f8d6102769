//! What the owner reads about the zones, and what comes of what the owner does there.

use crate::browser::Browser;
use crate::pages::snapshot;
use crate::played_zones::{PlayedZones, check, nowhere, zone};
use crate::the_box::TheBox;
use roost_portal::watchdog;
use roost_service::dns::{Call, DelegationState, Dmarc, Secondary};
use std::time::Duration;
use tokio::net::UdpSocket;

async fn owner() -> (TheBox, PlayedZones, Browser) {
    let the_box = TheBox::start().await;
    let zones = PlayedZones::listen(&the_box.app.places.dns);
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    (the_box, zones, browser)
}

const ZONE: &str = "/dns/zone?domain=example.org";

#[tokio::test]
async fn every_state_of_a_zone_is_told_in_words() {
    let the_box = TheBox::start().await;
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    snapshot("dns_without_name_server", &browser.get("/dns").await);
    let zones = PlayedZones::listen(&the_box.app.places.dns);
    snapshot("dns", &browser.get("/dns").await);
    snapshot("dns_zone", &browser.get(ZONE).await);
    let missing = browser.get("/dns/zone?domain=example.com").await;
    assert!(missing.text().contains("There is no such zone."));

    let all = [
        DelegationState::Unknown,
        DelegationState::Elsewhere,
        DelegationState::Unsigned,
        DelegationState::Broken,
    ];
    zones.lock().zones = all
        .map(|state| {
            let mut zone = zone();
            zone.secondary = Some(Secondary {
                told: (state != DelegationState::Unknown).then_some(7),
                fault: (state == DelegationState::Broken).then(|| "no answer came".into()),
                address: "10.82.0.1".into(),
            });
            let delegation = zone.delegation.as_mut().unwrap();
            delegation.state = state;
            delegation.advice = format!("do this about `{state:?}`");
            zone
        })
        .to_vec();
    zones.lock().zones.push(nowhere());
    snapshot("dns_states", &browser.get("/dns").await);

    // Without an address there is nothing to download, but something to enter elsewhere.
    zones.lock().zones = vec![nowhere()];
    let mut records = std::mem::take(&mut zones.lock().records);
    records.retain(|record| record.kind == "MX");
    zones.lock().records = records;
    snapshot("dns_zone_nowhere", &browser.get(ZONE).await);
    let export = browser.get("/dns/export?domain=example.org").await;
    assert_eq!(export.status, 422);
    assert!(
        export.text().contains("not served yet"),
        "{}",
        export.text()
    );
}

#[tokio::test]
async fn a_zone_is_checked_and_taken_away() {
    let (_the_box, zones, mut browser) = owner().await;
    snapshot(
        "dns_check",
        &browser.get("/dns/check?domain=example.org").await,
    );
    let mut right = check();
    right.rows.truncate(1);
    zones.lock().check = right;
    let page = browser.get("/dns/check?domain=example.org").await;
    assert!(page.text().contains("All is as it should be."));
    let unknown = browser.get("/dns/check?domain=example.com").await;
    assert_eq!(unknown.status, 422);

    for (path, signed) in [("", false), ("&signed=true", true)] {
        let file = browser
            .get(&format!("/dns/export?domain=example.org{path}"))
            .await;
        assert_eq!(file.html, "www A 192.0.2.1\n");
        assert_eq!(
            file.headers["content-disposition"],
            "attachment; filename=\"example.org.zone\""
        );
        let domain = "example.org".to_owned();
        let asked = zones.lock().orders.pop();
        assert_eq!(asked, Some(Call::Export { domain, signed }));
    }
}

#[tokio::test]
async fn a_zone_is_changed_and_nothing_typed_is_lost() {
    let (_the_box, zones, mut browser) = owner().await;
    browser.get(ZONE).await;
    let mut heads = String::new();
    for fields in [
        [("do", "dmarc"), ("stage", "reject")],
        [("do", "dmarc"), ("stage", "automatic")],
        [("do", "dmarc"), ("stage", "burn")],
        [("do", "own"), ("own", "\r\nwww A 192.0.2.7\r\n")],
        [
            ("do", "own"),
            ("own", "a nonsense\r\n<b> A 1\r\nb nonsense"),
        ],
        [("do", "import"), ("file", "@ SOA ( 1")],
        [("do", "import"), ("file", "@ NS ns.old.example.")],
        [
            ("do", "import"),
            ("file", "ftp A 192.0.2.9\r\n@ NS ns.old.example."),
        ],
        [("do", "keep"), ("keep", "ftp A 192.0.2.9\r\n")],
        [("do", "keep"), ("keep", "x nonsense\r\n")],
        [("do", "replace-key"), ("sure", "")],
        [("do", "replace-key"), ("sure", "yes")],
        [("do", "dance"), ("sure", "yes")],
    ] {
        let form = [("domain", "example.org"), fields[0], fields[1]];
        let page = browser.post("/dns/zone", &form).await;
        let text = page.text();
        let above = text.lines().skip(2).take_while(|line| *line != "Now");
        let wrong = text.lines().filter(|line| line.starts_with("Line "));
        let said: Vec<_> = above.chain(wrong).collect();
        heads += &format!("{fields:?}\n{}\n    {}\n", page.status, said.join("\n    "));
        match fields {
            [_, ("own", typed)] if page.status == 422 => {
                let typed = typed
                    .replace("\r\n", "\n")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;");
                assert!(page.html.contains(&typed), "{}", page.html);
            }
            [
                ("do", "import"),
                (_, "ftp A 192.0.2.9\r\n@ NS ns.old.example."),
            ] => {
                snapshot("dns_zone_import", &page);
            }
            [_, ("file", typed)] if page.status == 422 => {
                assert!(page.html.contains(typed), "{}", page.html);
            }
            _ => {}
        }
    }
    insta::assert_snapshot!("dns_orders", heads);
    assert_eq!(zones.lock().own, "\nwww A 192.0.2.7\nftp A 192.0.2.9\n");
    // A line feed at the beginning is the owner's, and stays.
    let page = browser.get(ZONE).await;
    assert!(
        page.html.contains(">\n\nwww A 192.0.2.7\n"),
        "{}",
        page.html
    );
    let orders = zones.lock().orders.clone();
    let stages: Vec<_> = (orders.iter())
        .filter_map(|call| match call {
            Call::SetDmarc { stage, .. } => Some(*stage),
            _ => None,
        })
        .collect();
    assert_eq!(stages, [Some(Dmarc::Reject), None]);
    let replaced = |call: &&Call| matches!(call, Call::ReplaceKey { .. });
    assert_eq!(orders.iter().filter(replaced).count(), 1);
    let activity = browser.get("/activity").await.text();
    let line =
        "The owner chose that receivers refuse mail that is forged in the name of \"example.org\".";
    assert!(activity.contains(line), "{activity}");
}

/// Whoever saves an empty field would lose all records.
#[tokio::test]
async fn records_that_could_not_be_read_cannot_be_overwritten() {
    let (_the_box, zones, mut browser) = owner().await;
    let page = browser.get(ZONE).await;
    assert!(page.html.contains("name=\"own\""));
    zones.lock().breaks_off = true;
    let form = [
        ("domain", "example.org"),
        ("do", "own"),
        ("own", "www A 192.0.2.7"),
    ];
    let page = browser.post("/dns/zone", &form).await;
    assert_eq!(page.status, 503);
    assert!(!page.html.contains("name=\"own\""), "{}", page.html);
    assert!(page.html.contains("www A 192.0.2.7"), "{}", page.html);
    let activity = browser.get("/activity").await.text();
    let line = "set DNS records of \"example.org\", or tried to: the name server broke off";
    assert!(activity.contains(line), "{activity}");
}

#[tokio::test]
async fn answers_without_signatures_are_an_alarm_once_the_clock_is_set() {
    // Somebody who only ever says REFUSED.
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        loop {
            let (read, asker) = server.recv_from(&mut buffer).await.unwrap();
            // The question comes back with the bit QR and the code (RFC 1035, section 4.1.1).
            buffer[2] |= 0x80;
            buffer[3] = 5;
            server.send_to(&buffer[..read], asker).await.unwrap();
        }
    });
    let the_box = TheBox::with_name_server(address).await;
    let _zones = PlayedZones::listen(&the_box.app.places.dns);
    let mut browser = Browser::new(&the_box);
    browser.become_owner().await;
    for _ in 0..4 {
        assert!(!watchdog::look(&the_box.app).await);
    }
    assert_eq!(
        the_box.app.signatures.alarms().len(),
        0,
        "no clock, no alarm"
    );

    let _heard = the_box.with_init();
    let wait = async {
        while the_box.app.now().wall.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, wait)
        .await
        .expect("the clock is set");
    for _ in 0..2 {
        assert!(!watchdog::look(&the_box.app).await);
        assert_eq!(the_box.app.signatures.alarms().len(), 0);
    }
    assert!(!watchdog::look(&the_box.app).await);
    let alarm = "The box's name server does not answer for example.org: it says REFUSED.";
    for page in ["/", "/dns", ZONE] {
        let page = browser.get(page).await.text();
        assert!(page.contains(alarm), "{page}");
    }
    let page = browser.get("/api/v1/dns").await;
    assert!(page.html.contains(alarm), "{}", page.html);
}
