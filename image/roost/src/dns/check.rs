//! `roost dns check`: what each name server answers, beside what it should.

use super::Place;
use crate::cli::DnsCheckArgs;
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::Ui;
use crate::ui::table::{Align, Table};
use roost_service::dns::{Check, Row};
use std::fmt::Write as _;

/// `roost dns check`.
pub(super) fn run(args: &DnsCheckArgs, ui: &Ui) -> Result<(), Failure> {
    let mut place = Place::of(&args.zone, ui)?;
    let step = ui.step("ask name servers and registry");
    let check: Check = place.get("check", "cannot check the DNS through")?;
    let wrong = wrong(&check);
    step.done(match wrong {
        0 => "all is as it should be".to_owned(),
        _ => format!("{wrong} of {} are not as they should be", check.rows.len()),
    });
    ui.result(told(&check, args.all), &check);
    if wrong == 0 {
        return Ok(());
    }
    let (all, domain) = (check.rows.len(), plain(&check.domain));
    Err(
        Failure::new(format!("{wrong} of {all} answers for {domain} are wrong"))
            .hint("see above what to do about each; a change may take some minutes to be seen"),
    )
}

fn wrong(check: &Check) -> usize {
    check.rows.iter().filter(|row| !row.right).count()
}

/// Who was asked, a row for each name and type that is wrong (or for all), and what to do.
fn told(check: &Check, all: bool) -> String {
    let mut asked = Table::new([
        ("asked", Align::Left),
        ("address", Align::Left),
        ("serial", Align::Left),
    ]);
    for place in &check.places {
        let serial = match (&place.fault, place.serial) {
            (Some(fault), _) => plain(fault),
            (None, Some(serial)) => serial.to_string(),
            (None, None) => String::new(),
        };
        let address = place.address.as_deref().unwrap_or_default();
        asked.row([plain(&place.name), plain(address), serial]);
    }
    let mut text = asked.render();
    let rows: Vec<&Row> = (check.rows.iter())
        .filter(|row| all || !row.right)
        .collect();
    if !rows.is_empty() {
        let places: Vec<String> = check.places.iter().map(|p| plain(&p.name)).collect();
        let columns = ["name", "type"].into_iter();
        let columns = columns.chain(places.iter().map(String::as_str));
        let mut table = Table::new(columns.map(|name| (name, Align::Left)));
        for row in &rows {
            let marks = (0..places.len()).map(|place| mark(row, place).to_owned());
            table.row(
                [plain(&row.name), plain(&row.kind)]
                    .into_iter()
                    .chain(marks),
            );
        }
        text += "\n";
        text += &table.render();
        text += "\n  ✓ as it should be   ✗ different, or missing   – not asked, or no answer\n";
    }
    for row in check.rows.iter().filter(|row| !row.right) {
        text += &detail(check, row);
    }
    text
}

fn is_same(row: &Row, found: &[String]) -> bool {
    row.right
        || (found.len() == row.expected.len()
            && found.iter().all(|value| row.expected.contains(value)))
}

fn mark(row: &Row, place: usize) -> &'static str {
    match row.found.get(place) {
        Some(Some(found)) if is_same(row, found) => "✓",
        Some(Some(_)) => "✗",
        Some(None) | None => "–",
    }
}

/// A name and type that is wrong: what there should be, what there is instead, and what to do.
fn detail(check: &Check, row: &Row) -> String {
    let mut text = format!("\n{} {}\n", plain(&row.name), plain(&row.kind));
    let mut values = |whose: &str, values: &[String]| {
        let nothing = ["nothing".to_owned()];
        let values = if values.is_empty() { &nothing } else { values };
        for (i, value) in values.iter().enumerate() {
            let whose = if i == 0 { whose } else { "" };
            writeln!(text, "  {whose:<10}  {}", plain(value)).expect("writing to a string");
        }
    };
    values("should be", &row.expected);
    for (place, found) in check.places.iter().zip(&row.found) {
        if let Some(found) = found
            && !is_same(row, found)
        {
            values(&plain(&place.name), found);
        }
    }
    if !row.advice.is_empty() {
        writeln!(text, "  {}", plain(&row.advice)).expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::dns;

    fn check() -> Check {
        let place = |name: &str, address: &str, serial, fault: Option<&str>| dns::Place {
            name: name.into(),
            address: Some(address.into()).filter(|address: &String| !address.is_empty()),
            serial,
            fault: fault.map(Into::into),
        };
        let mx = vec!["10 mail.example.org.".to_owned()];
        let ns = vec!["ns1.example.org.".to_owned(), "ns2.example.org.".to_owned()];
        let late = Some("no answer came in time");
        Check {
            domain: "example.org".into(),
            at: 1_798_761_540,
            places: vec![
                place("box", "127.0.0.1", Some(1_795_700_007), None),
                place("secondary", "10.77.0.1", Some(1_795_700_000), None),
                place("ns1", "192.0.2.1", Some(1_795_700_007), None),
                place("ns2", "", None, late),
                place("parent", "199.19.56.1", None, None),
            ],
            rows: vec![
                Row {
                    name: "example.org".into(),
                    kind: "MX".into(),
                    expected: mx.clone(),
                    found: vec![Some(mx.clone()), Some(mx.clone()), Some(mx), None, None],
                    right: true,
                    advice: String::new(),
                },
                Row {
                    name: "example.org".into(),
                    kind: "NS".into(),
                    expected: ns.clone(),
                    found: vec![
                        Some(ns.clone()),
                        Some(ns.clone()),
                        Some(ns),
                        None,
                        Some(vec!["ns.old.example.\u{1b}[31m".into()]),
                    ],
                    right: false,
                    advice: "Give your registrar the box's name servers: `roost dns ds`.".into(),
                },
                Row {
                    name: "www.example.org".into(),
                    kind: "A".into(),
                    expected: vec!["192.0.2.80".into()],
                    found: vec![
                        Some(vec!["192.0.2.80".into()]),
                        Some(Vec::new()),
                        Some(vec!["192.0.2.80".into()]),
                        None,
                        None,
                    ],
                    right: false,
                    advice: "The relay has an older copy: look again in some minutes.".into(),
                },
            ],
        }
    }

    fn seen(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let check = check();
        assert_eq!(wrong(&check), 2);
        insta::assert_snapshot!(seen(&told(&check, false)));
    }

    #[test]
    fn all_of_it_is_shown_if_asked_for() {
        let mut check = check();
        insta::assert_snapshot!("all", seen(&told(&check, true)));
        check.rows.truncate(1);
        insta::assert_snapshot!("all_right", seen(&told(&check, false)));
    }
}
