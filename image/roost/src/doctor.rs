//! `roost doctor`: every check of the box, and what to do about those that are not well.

use crate::cli::DoctorArgs;
use crate::device::Device;
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::error::{Exit, Failure};
use crate::ui::Ui;
use anstyle::{AnsiColor, Style};
use roost_service::health::{Checked, Health, Level};
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// Longest wait: the box takes half a minute, and may have to wait for a look that is under way.
const LIMIT: Duration = Duration::from_secs(90);
/// Width of what is printed, in columns.
const WIDTH: usize = 100;
/// Columns before what was found: level and name.
const INDENT: usize = 36;
const BOLD: Style = Style::new().bold();

/// `roost doctor`.
pub fn run(args: &DoctorArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        address: String,
        summary: String,
        #[serde(flatten)]
        health: &'a Health,
    }
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let mut device = Device::of(&args.which, args.argument.as_ref(), stop, ui)?;
    let step = ui.step("the box looks at itself, and asks others how they see it");
    let asked = device.api_within("GET", "/api/v1/health", None, LIMIT);
    let health: Health = asked
        .and_then(|answer| {
            serde_json::from_value(answer).map_err(|e| DeviceError::NotUnderstood(e.to_string()))
        })
        .map_err(|e| {
            let interrupted = matches!(e, DeviceError::Interrupted);
            let failure = device.failure("cannot examine", e);
            match interrupted {
                true => failure,
                false => failure.exiting(Exit::Usage),
            }
        })?;
    let failed = health.count(Level::Failed);
    step.done(format!("{} checks", health.checks.len()));
    let address = device.address.to_string();
    ui.result(
        told(&health, &address),
        &Result {
            address,
            summary: health.summary(),
            health: &health,
        },
    );
    match failed {
        0 => Ok(()),
        1 => Err(Failure::new("a check has failed").hint("see above what to do about it")),
        more => Err(Failure::new(format!("{more} checks have failed"))
            .hint("see above what to do about each")),
    }
}

/// Every check by group, then what is not well with what to do, the worst last, and a line that sums it up: the
/// end is what a terminal shows.
fn told(health: &Health, address: &str) -> String {
    let mut text = format!("{} at {address}\n", plain(&health.name));
    let mut group = "";
    for checked in &health.checks {
        if checked.group != group {
            group = &checked.group;
            let _ = write!(text, "\n{BOLD}{}{BOLD:#}\n", plain(group));
        }
        let style = style(checked.level);
        let word = checked.level.word();
        let pad = " ".repeat(13usize.saturating_sub(word.width()));
        let id = plain(&checked.id);
        let gap = " ".repeat((INDENT - 15).saturating_sub(id.width()).max(1));
        let found = wrapped(&plain(&checked.found), INDENT);
        let _ = writeln!(text, "  {style}{word}{style:#}{pad}{id}{gap}{found}");
    }
    for level in [Level::Warning, Level::Failed] {
        for checked in health.checks.iter().filter(|one| one.level == level) {
            text += &detail(checked);
        }
    }
    let worst = [Level::Failed, Level::Warning, Level::Ok];
    let worst = worst.into_iter().find(|level| health.count(*level) > 0);
    let style = style(worst.unwrap_or(Level::Note));
    let _ = write!(text, "\n{style}{}{style:#}\n", plain(&health.summary()));
    text
}

/// What is not well, and what to do.
fn detail(checked: &Checked) -> String {
    let style = style(checked.level);
    let mut text = format!(
        "\n{style}{}{style:#}: {}\n",
        checked.level.word(),
        plain(&checked.id)
    );
    for (before, what) in [
        ("  should be: ", &checked.what),
        ("  found:     ", &checked.found),
        ("  try:       ", &checked.to_do),
        ("  see:       ", &checked.docs),
    ] {
        if !what.is_empty() {
            let _ = writeln!(text, "{before}{}", wrapped(&plain(what), before.len()));
        }
    }
    text
}

fn style(level: Level) -> Style {
    match level {
        Level::Ok => AnsiColor::Green.on_default(),
        Level::Note => AnsiColor::Cyan.on_default(),
        Level::Unknown => Style::new().dimmed(),
        Level::Warning => AnsiColor::Yellow.on_default().bold(),
        Level::Failed => AnsiColor::Red.on_default().bold(),
    }
}

/// A text in lines, all but the first set in.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines = String::new();
    let mut used = indent;
    for word in text.split_whitespace() {
        let width = word.width();
        if used > indent && used + 1 + width > WIDTH {
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            used = indent;
        } else if used > indent {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += width;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(group: &str, id: &str, level: Level, found: &str, to_do: &str) -> Checked {
        Checked {
            id: id.into(),
            group: group.into(),
            what: format!("The {} is fine", group.to_lowercase()),
            level,
            found: found.into(),
            to_do: to_do.into(),
            docs: format!("docs/doctor.md#{id}"),
        }
    }

    fn health() -> Health {
        Health {
            name: "attic".into(),
            at: Some(1_798_761_540),
            checks: vec![
                checked(
                    "Box",
                    "box-services",
                    Level::Ok,
                    "7 services are ready.",
                    "",
                ),
                checked(
                    "Box",
                    "box-heat",
                    Level::Warning,
                    "The processor has 81 °C.",
                    "Give the box air, or a case with a heat sink.",
                ),
                checked(
                    "Card",
                    "card-room",
                    Level::Failed,
                    "500 MB of 30 GB are free.\u{1b}[31m",
                    "Delete mail that is not needed any more, empty trash and junk, or move to a larger card: \
                     without room no mail is taken.",
                ),
                checked(
                    "Card",
                    "card-life",
                    Level::Unknown,
                    "This card does not tell its age.",
                    "",
                ),
                checked(
                    "DNS",
                    "dns-outside-second",
                    Level::Note,
                    "Something that takes more words than there is room for in one line of a terminal that \
                     is as wide as terminals are.",
                    "",
                ),
            ],
        }
    }

    fn seen(health: &Health) -> String {
        anstream::adapter::strip_str(&told(health, "attic.local:7625")).to_string()
    }

    #[test]
    fn checks_are_shown_by_group_and_what_to_do_at_the_end() {
        insta::assert_snapshot!(seen(&health()));
        let coloured = told(&health(), "attic.local");
        assert!(
            coloured.contains("\u{1b}[1m\u{1b}[31mfailed"),
            "{coloured:?}"
        );
    }

    #[test]
    fn a_box_that_is_well_is_said_to_be() {
        let mut health = health();
        health.checks.retain(|checked| checked.level == Level::Ok);
        insta::assert_snapshot!(seen(&health));
    }
}
