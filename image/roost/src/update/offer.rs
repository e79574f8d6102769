//! What an update would do, as it is shown before the question.

use crate::device::paired::Installed;
use crate::device::words::{plain, span, version};
use crate::ui::size;
use crate::ui::table::{Align, Table};
use roost_bundle::{Component, Release};
use roost_service::update::{Offer, Report};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// From the restart until the kernel runs, beside what the services take: stopping services,
/// the firmware, loading the kernel (seconds).
const RESTART_S: f64 = 15.0;

/// A component that is not the same before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Its version now; none if it is new.
    pub from: Option<String>,
    /// Its version then; none if it goes.
    pub to: Option<String>,
}

/// What an update would do.
#[derive(Debug, Clone, Serialize)]
pub struct Outlook<'a> {
    /// The box's own words.
    pub offer: &'a Offer,
    /// Components that differ; none if this laptop does not know what the box has.
    pub components: Option<Vec<Change>>,
    /// Seconds that no mail is taken, if the box restarts as it did last time.
    pub downtime_s: Option<f64>,
    /// Whether the version now can run again after it.
    pub reversible: bool,
    /// Release notes.
    pub notes: &'a str,
}

impl<'a> Outlook<'a> {
    /// Puts together what the box, the bundle and this laptop know.
    pub fn new(
        offer: &'a Offer,
        release: &'a Release,
        report: &Report,
        installed: Option<&Installed>,
    ) -> Self {
        let components = installed
            .filter(|i| i.number == offer.from.number)
            .map(|i| changes(&i.components, &release.components));
        Self {
            offer,
            components,
            downtime_s: report.machine.ready_after_s.map(|s| s + RESTART_S),
            reversible: release.reversible,
            notes: &release.notes,
        }
    }

    /// For people.
    pub fn render(&self, place: &str) -> String {
        let offer = self.offer;
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            writeln!(text, "  {name:<10}  {value}").expect("writing to a string");
        };
        line("box", place);
        line("runs", &version(&offer.from));
        let older = if offer.to.number < offer.from.number {
            "  (older than what runs)"
        } else {
            ""
        };
        line("update to", &format!("{}{older}", version(&offer.to)));
        line("to send", &size(offer.send));
        line(
            "to write",
            &match offer.copied {
                0 => size(offer.write),
                copied => format!(
                    "{}, {} of them copied on the box",
                    size(offer.write),
                    size(copied)
                ),
            },
        );
        line(
            "downtime",
            &match self.downtime_s {
                Some(s) => format!("about {}", span(rounded(s))),
                None => "not known".to_owned(),
            },
        );
        match self.components.as_deref() {
            None => {}
            Some([]) => line("components", "the same versions"),
            Some(changes) => {
                let mut table = Table::new([
                    ("component", Align::Left),
                    ("now", Align::Left),
                    ("then", Align::Left),
                ]);
                for change in changes {
                    let cell = |v: &Option<String>| v.as_deref().map_or("none".into(), plain);
                    table.row([plain(&change.name), cell(&change.from), cell(&change.to)]);
                }
                text += "\n";
                text += &table.render();
            }
        }
        if !self.notes.trim().is_empty() {
            text += "\n";
            for line in self.notes.trim().lines() {
                let _ = writeln!(text, "  {}", plain(line));
            }
        }
        if !self.reversible {
            text += "\n  There is no way back from this version once it was kept. Make a backup first.\n";
        }
        text
    }
}

/// To five seconds: it is an estimate.
fn rounded(seconds: f64) -> f64 {
    (seconds / 5.0).ceil() * 5.0
}

/// The components whose versions differ, by name.
fn changes(from: &[Component], to: &[Component]) -> Vec<Change> {
    let versions = |components: &[Component]| -> BTreeMap<String, String> {
        components
            .iter()
            .map(|c| (c.name.clone(), c.version.clone()))
            .collect()
    };
    let (from, to) = (versions(from), versions(to));
    let names: std::collections::BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    names
        .into_iter()
        .map(|name| Change {
            name: name.clone(),
            from: from.get(name).cloned(),
            to: to.get(name).cloned(),
        })
        .filter(|change| change.from != change.to)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str, version: &str) -> Component {
        Component {
            name: name.into(),
            version: version.into(),
        }
    }

    #[test]
    fn only_what_differs_is_told() {
        let from = [
            component("init", "1"),
            component("linux", "7.3.4"),
            component("old", "1"),
        ];
        let to = [
            component("init", "2"),
            component("linux", "7.3.4"),
            component("new", "1"),
        ];
        let told: Vec<String> = changes(&from, &to)
            .into_iter()
            .map(|c| format!("{} {:?} {:?}", c.name, c.from, c.to))
            .collect();
        assert_eq!(
            told,
            [
                r#"init Some("1") Some("2")"#,
                r#"new None Some("1")"#,
                r#"old Some("1") None"#
            ]
        );
        assert_eq!(changes(&from, &from), []);
    }
}
