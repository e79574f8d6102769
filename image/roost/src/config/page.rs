//! The reference page and the commented `roost.toml`, made from the definitions.

use super::fields::SECTIONS;
use super::schema::{Absent, Section};
use std::fmt::Write;

/// Comments are broken at this column.
const WIDTH: usize = 100;

/// Values that the commented file sets, as (table, key, TOML value).
pub type Answers<'a> = &'a [(&'a str, &'a str, String)];

/// A commented `roost.toml` in which `answers` are set and everything else is commented out.
pub fn template(answers: Answers<'_>) -> String {
    let mut out = String::new();
    comment(
        &mut out,
        "What this box is. `roost build` makes its image from this file; docs/roost-toml.md describes every key.",
    );
    comment(
        &mut out,
        "A line like \"#key = value\" shows a default or an example: remove its # to set the key.",
    );
    for section in SECTIONS {
        let used = answers.iter().any(|(table, ..)| *table == section.name);
        out.push('\n');
        comment(&mut out, section.doc);
        let names = names(section);
        // One table is enough as an example.
        let name = &names[0];
        // A table without any value is legal, but one of components needs all its keys.
        let off = if section.members.is_empty() || used {
            ""
        } else {
            "#"
        };
        let _ = writeln!(out, "{off}[{name}]");
        for (i, field) in section.fields.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            if let Some(given) = answers
                .iter()
                .find(|(t, k, _)| *t == section.name && *k == field.key())
            {
                comment(&mut out, field.doc());
                let _ = writeln!(out, "{} = {}", field.key(), given.2);
            } else {
                let (text, value) = match field.absent() {
                    Absent::Default(value) => (field.doc().to_owned(), value),
                    Absent::Otherwise(what) => (
                        format!("{} Without it: {}.", field.doc(), what),
                        field.example(),
                    ),
                    Absent::Required(_) => (field.doc().to_owned(), field.example()),
                };
                comment(&mut out, &text);
                let _ = writeln!(out, "#{} = {value}", field.key());
            }
        }
    }
    out
}

/// The reference page in Markdown.
#[cfg_attr(not(test), expect(dead_code, reason = "a test writes the page"))]
pub fn reference() -> String {
    let mut out = String::from(
        "# roost.toml\n\n\
         <!-- Made from the definitions in image/roost/src/config/fields.rs: \
         UPDATE_DOCS=1 cargo test -p roost reference_page -->\n\n\
         One file says what a box is. `roost init` writes it, `roost build` reads it. It is \
         [TOML](https://toml.io): tables in brackets, and keys below them. Unknown keys and impossible values \
         are refused with their place, the reason and what to do; all of them at once.\n\n\
         An empty file will do: whoever pairs with the box then chooses domain and account in the browser.\n",
    );
    for section in SECTIONS {
        let title = match section.members {
            [] => format!("[{}]", section.name),
            _ => format!("[{}.*name*]", section.name),
        };
        let _ = write!(out, "\n## {title}\n\n{}\n", section.doc);
        if !section.members.is_empty() {
            let names: Vec<String> = names(section).iter().map(|n| format!("`[{n}]`")).collect();
            let _ = write!(out, "\nTables: {}.\n", names.join(", "));
        }
        for field in section.fields {
            let _ = write!(out, "\n### {}\n\n{}\n\n", field.key(), field.doc());
            let _ = writeln!(out, "- Value: {}", field.kind());
            let _ = match field.absent() {
                Absent::Required(_) => writeln!(out, "- Required"),
                Absent::Default(value) => writeln!(out, "- Default: `{value}`"),
                Absent::Otherwise(what) => writeln!(out, "- Without it: {what}"),
            };
            let _ = writeln!(out, "- Example: `{} = {}`", field.key(), field.example());
        }
    }
    out
}

/// The names of a section's tables.
fn names(section: &Section) -> Vec<String> {
    match section.members {
        [] => vec![section.name.to_owned()],
        members => members
            .iter()
            .map(|m| format!("{}.{m}", section.name))
            .collect(),
    }
}

/// Adds `text` as comment lines.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

/// A text as a TOML basic string.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
