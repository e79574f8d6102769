//! The last screen, for people and for scripts.

use super::*;
use crate::flash::write::Written;
use roost_service::fingerprint::Fingerprint;
use std::net::Ipv4Addr;

fn done(is_file: bool, network: Option<Network>, ejected: bool) -> Done {
    let personal = Personal {
        name: "attic".into(),
        code: "7QXM4KPB".into(),
        fingerprint: Fingerprint::of(b"a certificate"),
        file: Box::new(roost_service::card::placeholder()),
        certificate: String::new(),
        lets_in: is_file.then(|| "desk".into()),
    };
    let written = Written {
        bytes: 140_000_000,
        skipped: 669_000_000,
    };
    let device = if is_file { "card.img" } else { "/dev/sdb" };
    Done::new(device.into(), is_file, &personal, network, written, ejected)
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn the_last_screen_has_everything_that_is_needed_next() {
    let fixed = Network::Static {
        address: Ipv4Addr::new(192, 168, 1, 5),
        prefix: 24,
        gateway: Ipv4Addr::new(192, 168, 1, 1),
        dns: vec![Ipv4Addr::new(192, 168, 1, 1).into()],
        address6: None,
    };
    let done = done(false, Some(fixed), true);
    insta::assert_snapshot!(plain(&done.render(Some(80))));
    insta::assert_snapshot!(
        "the_last_screen_for_scripts",
        serde_json::to_string_pretty(&done).unwrap()
    );
}

#[test]
fn without_a_terminal_there_is_no_code_to_scan() {
    let text = plain(&done(true, None, false).render(None));
    insta::assert_snapshot!(text);
    assert_eq!(
        plain(&done(true, None, false).render(Some(30))),
        text,
        "too narrow"
    );
    let text = plain(&done(false, None, false).render(None));
    assert!(text.contains("You can take the card out now"), "{text}");
}

#[test]
fn a_qr_code_has_a_border_and_its_colours() {
    let text = qr("https://attic.local/pair#7QXM-4KPB", 80).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.iter().all(|line| line.contains("\u{1b}[38;5;16m")));
    let first = plain(lines[0]);
    assert!(first.trim().is_empty() && first.len() > 30, "{first:?}");
    assert!(plain(lines[3]).contains('█'));
}
