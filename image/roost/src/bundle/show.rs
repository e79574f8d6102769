//! `roost bundle inspect`.

use super::open;
use crate::cli::InspectArgs;
use crate::error::Failure;
use crate::ui::table::{Align, Table};
use crate::ui::{Ui, size};
use roost_bundle::{Component, Hash, Manifest, PublicKey, Release};
use serde::Serialize;
use std::path::PathBuf;

/// What is in a bundle.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    bundle: PathBuf,
    bytes: u64,
    id: Hash,
    signed_by: Vec<PublicKey>,
    new_key: Option<PublicKey>,
    release: &'a Release,
    slot_bytes: u64,
    root_hash: Hash,
    /// Bytes of everything before the payloads, which every update sends.
    head_bytes: u64,
    chunks: usize,
    chunk_bytes: u64,
    deltas: usize,
    delta_bytes: u64,
}

/// `roost bundle inspect`.
pub fn run(args: &InspectArgs, ui: &Ui) -> Result<(), Failure> {
    let opened = open(&args.file, None)?;
    let verified = &opened.verified;
    let Manifest {
        release,
        slot,
        new_key,
        payload_bytes,
        ..
    } = verified.manifest();
    let delta_bytes = opened.tables.deltas().iter();
    let delta_bytes = delta_bytes.map(|d| u64::from(d.stored)).sum();
    let shown = Shown {
        bundle: args.file.clone(),
        bytes: verified.total_bytes(),
        id: verified.id(),
        signed_by: opened.signers,
        new_key: *new_key,
        release,
        slot_bytes: slot.bytes,
        root_hash: slot.root_hash,
        head_bytes: verified.payload_start(),
        chunks: opened.tables.chunks().len(),
        chunk_bytes: payload_bytes - delta_bytes,
        deltas: opened.tables.deltas().len(),
        delta_bytes,
    };
    ui.result(shown.render(), &shown);
    Ok(())
}

impl Shown<'_> {
    fn render(&self) -> String {
        let release = self.release;
        let mut text = String::new();
        let mut line = |name: &str, value: String| text += &format!("  {name:<13}{value}\n");
        line(
            "bundle",
            format!("{} ({})", self.bundle.display(), size(self.bytes)),
        );
        line("release", release.name.clone());
        line("made", date(release.created));
        let boards: Vec<&str> = release.boards.iter().map(String::as_str).collect();
        line("boards", boards.join(", "));
        line(
            "updates from",
            match release.min_version {
                0 | 1 => "any earlier release".to_owned(),
                n => format!("release {n} on"),
            },
        );
        line(
            "way back",
            match release.reversible {
                true => "yes".to_owned(),
                false => "no: the release before cannot run again after it".to_owned(),
            },
        );
        for key in &self.signed_by {
            let new = match Some(*key) == self.new_key {
                true => " (from now on)",
                false => "",
            };
            line("signed by", format!("{key}{new}"));
        }
        line("slot", size(self.slot_bytes));
        line("root hash", self.root_hash.to_string());
        line("head", size(self.head_bytes));
        line(
            "chunks",
            format!("{}, {} packed", self.chunks, size(self.chunk_bytes)),
        );
        line(
            "deltas",
            format!("{}, {} packed", self.deltas, size(self.delta_bytes)),
        );
        if !release.components.is_empty() {
            let mut table = Table::new([("component", Align::Left), ("version", Align::Left)]);
            for Component { name, version } in &release.components {
                table.row([name, version]);
            }
            text += &format!("\n{}", table.render());
        }
        if !release.notes.is_empty() {
            text += "\n";
            for line in release.notes.lines() {
                text += format!("  {line}").trim_end();
                text += "\n";
            }
        }
        text
    }
}

/// Seconds since 1970 as date and time in UTC.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days:
    // years begin in March, so that the leap day is their last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second % 3_600 / 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_800, "2000-03-01 00:00 UTC"),
            (1_798_761_540, "2026-12-31 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
