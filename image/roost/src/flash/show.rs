//! What the user sees: the list of disks, and the card's papers at the end.

use super::card::Personal;
use super::guard::Verdict;
use super::media::{Bus, Medium};
use crate::ui::size;
use crate::ui::table::{Align, Table};
use anstyle::{Ansi256Color, Style};
use fast_qr::{ECL, QRBuilder};
use roost_service::card::display_code;
use roost_service::settings::Network;
use serde::Serialize;

/// Empty modules around a QR code; the standard (ISO/IEC 18004) asks for four.
const QUIET: usize = 4;
/// Black on white whatever the terminal's own colours are: readers expect no other.
const QR: Style = Style::new()
    .fg_color(Some(anstyle::Color::Ansi256(Ansi256Color(16))))
    .bg_color(Some(anstyle::Color::Ansi256(Ansi256Color(231))));
const BOLD: Style = Style::new().bold();

/// What is on a disk, in a few words.
pub fn content(medium: &Medium) -> String {
    if medium.bytes == 0 {
        return "no card in it".to_owned();
    }
    if medium.roost {
        return "a Roost box, with its mail if it ran".to_owned();
    }
    if !medium.readable {
        return match medium.parts.len() {
            0 => "only root may look".to_owned(),
            1 => "1 partition; only root may look".to_owned(),
            n => format!("{n} partitions; only root may look"),
        };
    }
    let parts: Vec<String> = medium
        .parts
        .iter()
        .map(|part| match &part.found {
            None => format!("unknown ({})", size(part.bytes)),
            Some(found) => match &found.label {
                Some(label) => format!("{} \"{label}\"", found.system),
                None => format!("{} ({})", found.system, size(part.bytes)),
            },
        })
        .collect();
    match parts.len() {
        0 => "nothing known".to_owned(),
        1..=3 => parts.join(", "),
        more => format!("{}, and {} more", parts[..2].join(", "), more - 2),
    }
}

/// A verdict in a word, and its reasons.
pub fn verdict(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Fit => ("yes", String::new()),
        Verdict::TypeName(reasons) => ("ask", reasons.join("; ")),
        Verdict::Never(why, _) => ("no", why.clone()),
    }
}

/// Whether a disk belongs into the list: what is built in is shown only if it is asked for by name.
pub fn is_listed(medium: &Medium) -> bool {
    medium.removable || medium.bus != Bus::Internal
}

/// One disk in a line, as for a question.
pub fn line(medium: &Medium) -> String {
    format!(
        "{}  {}, {}: {}",
        medium.path.display(),
        size(medium.bytes),
        medium.model,
        content(medium)
    )
}

/// The list of disks.
pub fn list(media: &[(Medium, Verdict)]) -> String {
    let (shown, hidden): (Vec<_>, Vec<_>) = media.iter().partition(|(m, _)| is_listed(m));
    let mut text = match shown.is_empty() {
        true => "No card and no stick was found.\n".to_owned(),
        false => {
            let mut table = Table::new([
                ("disk", Align::Left),
                ("size", Align::Right),
                ("model", Align::Left),
                ("on it", Align::Left),
                ("flash", Align::Left),
            ]);
            let mut notes = String::new();
            for (medium, judged) in shown {
                let (word, why) = verdict(judged);
                table.row([
                    medium.path.display().to_string(),
                    size(medium.bytes),
                    medium.model.clone(),
                    content(medium),
                    word.to_owned(),
                ]);
                notes += &match judged {
                    Verdict::Fit => String::new(),
                    Verdict::Never(..) => format!("  {}: {why}\n", medium.name),
                    Verdict::TypeName(_) => {
                        format!("  {}: {why}; you will have to type its name\n", medium.name)
                    }
                };
            }
            table.render() + &notes
        }
    };
    if !hidden.is_empty() {
        let names: Vec<&str> = hidden.iter().map(|(m, _)| m.name.as_str()).collect();
        text += &format!("  Built in, not listed: {}\n", names.join(", "));
    }
    text
}

/// The same for scripts.
#[derive(Debug, Serialize)]
pub struct Listed<'a> {
    /// The disks, those that are built in as well.
    pub disks: Vec<ListedDisk<'a>>,
}

/// A disk and what is decided about it.
#[derive(Debug, Serialize)]
pub struct ListedDisk<'a> {
    /// The disk.
    #[serde(flatten)]
    pub medium: &'a Medium,
    /// `yes`, `ask` (only if its name is typed) or `no`.
    pub flash: &'static str,
    /// Why not without more ado.
    pub reasons: Vec<String>,
}

impl<'a> Listed<'a> {
    /// The list.
    pub fn new(media: &'a [(Medium, Verdict)]) -> Self {
        let disks = media.iter().map(|(medium, judged)| {
            let reasons = match judged {
                Verdict::Fit => Vec::new(),
                Verdict::TypeName(reasons) => reasons.clone(),
                Verdict::Never(why, _) => vec![why.clone()],
            };
            ListedDisk {
                medium,
                flash: verdict(judged).0,
                reasons,
            }
        });
        Self {
            disks: disks.collect(),
        }
    }
}

/// What became of a card, for scripts and for the last screen.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Where it was written to.
    pub device: String,
    /// The box's name.
    pub name: String,
    /// Where it will answer.
    pub address: String,
    /// The pairing code as people type it.
    pub pairing_code: String,
    /// What the QR code says.
    pub pairing_address: String,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
    /// The same in words, as far as they go.
    pub fingerprint_words: [&'static str; 6],
    /// What the box calls this computer, which it lets in once it has an owner; `null`: it does not.
    pub laptop: Option<String>,
    /// The card's own network; `null`: as the image says.
    pub network: Option<Network>,
    /// Bytes written.
    pub written_bytes: u64,
    /// Bytes that were zero already.
    pub skipped_bytes: u64,
    /// Whether the reader let go of the card.
    pub ejected: bool,
    /// What `roost pair` is given.
    #[serde(skip)]
    web: String,
    #[serde(skip)]
    lines: [String; 2],
    /// Whether it is a file and not a card.
    #[serde(skip)]
    is_file: bool,
}

impl Done {
    /// What there is to tell of `personal`, now on `device`.
    pub fn new(
        device: String,
        is_file: bool,
        personal: &Personal,
        network: Option<Network>,
        written: super::write::Written,
        ejected: bool,
    ) -> Self {
        Self {
            device,
            name: personal.name.clone(),
            address: personal.address(),
            pairing_code: display_code(&personal.code),
            pairing_address: personal.pairing_address(),
            web: match &network {
                Some(Network::Static { address, .. }) => address.to_string(),
                _ => format!("{}.local", personal.name),
            },
            fingerprint: personal.fingerprint.hex(),
            fingerprint_words: personal.fingerprint.words(),
            laptop: personal.lets_in.clone(),
            network,
            written_bytes: written.bytes,
            skipped_bytes: written.skipped,
            ejected,
            lines: personal.fingerprint.lines(),
            is_file,
        }
    }

    /// The last screen; with the QR code if there is room for it in `columns`.
    pub fn render(&self, columns: Option<usize>) -> String {
        let (bold, reset) = (BOLD.render(), BOLD.render_reset());
        let what = if self.is_file { "file" } else { "card" };
        let mut text = format!(
            "\nThe {what} is complete, and was read back without a difference.\n\n\
             \x20 box           {bold}{}{reset}\n\
             \x20 address       {bold}{}{reset}\n\
             \x20 pairing code  {bold}{}{reset}   (works once; `roost pair` on this computer knows it)\n",
            self.name, self.address, self.pairing_code
        );
        if let Some(Network::Static {
            address, prefix, ..
        }) = &self.network
        {
            text += &format!("  network       {address}/{prefix}, fixed\n");
        }
        if let Some(laptop) = &self.laptop {
            text += &format!(
                "  lets in       this computer, as {laptop:?}, once the box has an owner\n"
            );
        }
        text += &format!(
            "  certificate   {bold}{}{reset}\n\
             \x20               SHA-256 {}\n\
             \x20                       {}\n",
            self.fingerprint_words.join(" "),
            self.lines[0],
            self.lines[1]
        );
        if let Some(qr) = columns.and_then(|columns| qr(&self.pairing_address, columns)) {
            text += &format!("\n{qr}");
        }
        text += &match (self.is_file, self.ejected) {
            (true, _) => {
                "\nThe file holds the box's private key: keep it to yourself.\n".to_owned()
            }
            (false, true) => {
                "\nThe card was let go: take it out, put it into the Pi and switch that on.\n"
                    .to_owned()
            }
            (false, false) => {
                "\nYou can take the card out now. Put it into the Pi and switch that on.\n"
                    .to_owned()
            }
        };
        text += &format!(
            "Once it is on, open its address in a browser, or become its owner from here: roost pair {}\n",
            self.web
        );
        text
    }
}

/// `text` as a QR code, two modules to a letter; `None` if it is wider than `columns`.
fn qr(text: &str, columns: usize) -> Option<String> {
    // 15 % may be unreadable: terminals leave gaps between lines.
    let code = QRBuilder::new(text).ecl(ECL::M).build().ok()?;
    let width = code.size + 2 * QUIET;
    if width + 2 > columns {
        return None;
    }
    let dark = |row: usize, column: usize| {
        let inside = |n: usize| n.checked_sub(QUIET).filter(|n| *n < code.size);
        match (inside(row), inside(column)) {
            (Some(row), Some(column)) => code[row][column].value(),
            _ => false,
        }
    };
    let mut lines = String::new();
    for row in (0..width).step_by(2) {
        let modules: String = (0..width)
            .map(|column| match (dark(row, column), dark(row + 1, column)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            })
            .collect();
        lines += &format!("  {}{modules}{}\n", QR.render(), QR.render_reset());
    }
    Some(lines)
}

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
