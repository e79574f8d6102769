//! Plain tables: columns set under their headings, no lines drawn.

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

/// Which side a column's text leans on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows of text under headings.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

const HEADING: Style = Style::new().bold();
const GAP: &str = "  ";

impl Table {
    /// A table with these headings.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        Self {
            columns: columns
                .into_iter()
                .map(|(h, a)| (h.to_owned(), a))
                .collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; cells that it lacks stay empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
        self
    }

    /// The table's lines, each set in by two blanks and ended by a line feed.
    pub fn render(&self) -> String {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(i, (heading, _))| {
                self.rows
                    .iter()
                    .map(|r| r[i].width())
                    .chain([heading.width()])
                    .max()
                    .unwrap_or_default()
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| -> String {
            let mut line = String::from(GAP);
            for ((cell, width), (_, align)) in cells.zip(&widths).zip(&self.columns) {
                let pad = " ".repeat(width - cell.width());
                match align {
                    Align::Left => line.extend([cell, &pad, GAP]),
                    Align::Right => line.extend([&pad, cell, GAP]),
                }
            }
            line.trim_end().to_owned()
        };
        let heading = line(&mut self.columns.iter().map(|(h, _)| h.as_str()));
        let mut out = format!("{}{heading}{}\n", HEADING.render(), HEADING.render_reset());
        for row in &self.rows {
            out.push_str(&line(&mut row.iter().map(String::as_str)));
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new([
            ("component", Align::Left),
            ("licence", Align::Left),
            ("bytes", Align::Right),
        ]);
        table
            .row(["kernel", "GPL-2.0", "17.6 MB"])
            .row(["größe", "MIT", "4 B"])
            .row(["all"]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&table.render()).to_string(), @r"
        component  licence    bytes
        kernel     GPL-2.0  17.6 MB
        größe      MIT          4 B
        all
        ");
    }
}
