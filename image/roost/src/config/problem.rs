//! One thing that is wrong in a file, shown with its place.

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::fmt::Write;
use std::ops::Range;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// One thing that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The source line.
    pub source: String,
    /// Marked part of the source line: start and length in terminal cells.
    #[serde(skip)]
    pub mark: (usize, usize),
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

const RED: Style = AnsiColor::Red.on_default().bold();
const BLUE: Style = AnsiColor::Blue.on_default().bold();
const BOLD: Style = Style::new().bold();

impl Problem {
    /// The problem at the byte range `span` of `text`.
    ///
    /// A span beyond the text or inside a character is moved to the nearest sound place.
    pub fn at(
        file: &str,
        text: &str,
        span: Range<usize>,
        message: String,
        hint: Option<String>,
    ) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        // A span over several lines (a table) is marked on its first.
        let end = text.ceil_char_boundary(span.end.clamp(start, line_end));
        // Tabs have no fixed width: shown as one blank, so that the mark stands under its text.
        let shown = |part: &str| {
            part.trim_end_matches('\r')
                .replace(|c: char| c.is_control(), " ")
        };
        Self {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            source: shown(&text[line_start..line_end]),
            mark: (
                shown(&text[line_start..start]).width(),
                shown(&text[start..end]).width().max(1),
            ),
            message,
            hint,
        }
    }

    /// The problem as text with colours: message, place, source line with a mark, hint.
    pub fn render(&self) -> String {
        let (red, blue, bold, reset) = (
            RED.render(),
            BLUE.render(),
            BOLD.render(),
            RED.render_reset(),
        );
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let mut out = String::new();
        let _ = writeln!(out, "{red}error:{reset} {}", self.message);
        let _ = writeln!(
            out,
            "{gutter}{blue}-->{reset} {}:{}:{}",
            self.file, self.line, self.column
        );
        let _ = writeln!(out, "{gutter} {blue}|{reset}");
        let _ = writeln!(out, "{blue}{number} |{reset} {}", self.source);
        let (indent, length) = self.mark;
        let _ = writeln!(
            out,
            "{gutter} {blue}|{reset} {}{red}{}{reset}",
            " ".repeat(indent),
            "^".repeat(length)
        );
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "  {bold}try:{reset} {hint}");
        }
        out
    }

    /// The same with the source line reduced to its marked part, because the rest may be a secret.
    ///
    /// What comes before the mark stays if it is but `key = `.
    #[must_use]
    pub fn alone(mut self) -> Self {
        let (indent, length) = self.mark;
        let mut before = self.source.clone();
        let rest = before.split_off(byte_at(&self.source, indent));
        let end = byte_at(&rest, length);
        if before.contains(['{', ',', '"', '\'', '#']) {
            before = String::from("… ");
        }
        self.mark.0 = before.width();
        let hidden = if rest[end..].trim().is_empty() {
            ""
        } else {
            " …"
        };
        self.source = format!("{before}{}{hidden}", &rest[..end]);
        self
    }
}

/// Where in `text` the terminal cell number `cell` begins.
fn byte_at(text: &str, cell: usize) -> usize {
    let mut cells = 0;
    for (i, c) in text.char_indices() {
        if cells >= cell {
            return i;
        }
        cells += c.width().unwrap_or_default();
    }
    text.len()
}
