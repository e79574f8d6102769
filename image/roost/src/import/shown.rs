//! What became of an import, for people.

use super::{Summary, Trouble};
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::size;
use crate::ui::table::{Align, Table};
use std::fmt::Write as _;

/// Troubles that are told one by one on a terminal.
const MAX_TOLD: usize = 20;

/// A table of the folders, and what did not go as it should.
pub fn told(summary: &Summary) -> String {
    let mut out = String::new();
    let moved = if summary.dry_run { "to move" } else { "moved" };
    let left_out = summary.folders.iter().any(|report| report.left_out > 0);
    let refused = summary.folders.iter().any(|report| report.refused > 0);
    let untried = summary.folders.iter().any(|report| report.untried > 0);
    let mut columns = vec![
        ("folder", Align::Left),
        ("into", Align::Left),
        ("messages", Align::Right),
        ("size", Align::Right),
        (moved, Align::Right),
        ("already there", Align::Right),
    ];
    for (shown, name) in [
        (refused, "refused"),
        (left_out, "left out"),
        (untried, "not tried"),
    ] {
        columns.extend(shown.then_some((name, Align::Right)));
    }
    let mut table = Table::new(columns);
    for report in &summary.folders {
        let new = if report.new { " (new)" } else { "" };
        let mut row = vec![
            plain(&report.folder),
            format!("{}{new}", plain(&report.into)),
            report.messages.to_string(),
            size(report.bytes),
            report.moved.to_string(),
            report.there.to_string(),
        ];
        for (shown, number) in [
            (refused, report.refused),
            (left_out, report.left_out),
            (untried, report.untried),
        ] {
            row.extend(shown.then(|| number.to_string()));
        }
        table.row(row);
    }
    out += &table.render();
    if !summary.passed_over.is_empty() {
        let _ = writeln!(out, "Passed over:");
        for (folder, why) in &summary.passed_over {
            let _ = writeln!(out, "  {}: {why}", plain(folder));
        }
    }
    let (changed, refused): (Vec<&Trouble>, Vec<&Trouble>) =
        summary.troubles.iter().partition(|trouble| trouble.changed);
    list(&mut out, "Not moved:", &refused);
    list(
        &mut out,
        "Moved without some of their marks, or with another date:",
        &changed,
    );
    let bytes: u64 = summary
        .folders
        .iter()
        .map(|report| report.moved_bytes)
        .sum();
    let messages: u64 = summary.folders.iter().map(|report| report.moved).sum();
    if summary.dry_run {
        let _ = write!(
            out,
            "{messages} messages ({}) would go into {}. Nothing was changed.",
            size(bytes),
            summary.target
        );
        if let Some(room) = summary.room {
            let enough = if room < bytes { ": not enough" } else { "" };
            let _ = write!(out, " It has room for {}{enough}.", size(room));
        }
    } else {
        let _ = write!(
            out,
            "{messages} messages ({}) are now in {}.",
            size(bytes),
            summary.target
        );
    }
    out.push('\n');
    out
}

fn list(out: &mut String, title: &str, troubles: &[&Trouble]) {
    if troubles.is_empty() {
        return;
    }
    let _ = writeln!(out, "{title}");
    for trouble in troubles.iter().take(MAX_TOLD) {
        let _ = writeln!(
            out,
            "  {}, {} ({}): {}",
            plain(&trouble.folder),
            plain(&trouble.which),
            size(trouble.bytes),
            plain(&trouble.why)
        );
    }
    if let Some(more) = troubles
        .len()
        .checked_sub(MAX_TOLD)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(out, "  and {more} more; --json lists them all");
    }
}

/// Whether all is well.
pub fn verdict(summary: &Summary) -> Result<(), Failure> {
    let missing = summary
        .troubles
        .iter()
        .filter(|trouble| !trouble.changed)
        .count();
    match missing {
        0 => Ok(()),
        1 => Err(Failure::new("one message was not moved")),
        n => Err(Failure::new(format!("{n} messages were not moved"))),
    }
    .map_err(|failure| failure.hint("the reasons stand above. They are still in the old mailbox; the same command tries these again and no others"))
}

/// A URL without the password that somebody put into it.
pub fn without_secret(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}
