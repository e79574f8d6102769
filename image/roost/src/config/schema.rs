//! How a key of `roost.toml` is defined: once, for reading, for the reference
//! page and for the commented file that `roost init` writes.

use super::read::{Node, Report};
use toml::de::DeValue;

/// A table of `roost.toml` and its keys.
pub struct Section {
    /// Name between the brackets; `components` stands for one table for each of [`Section::members`].
    pub name: &'static str,
    /// What the table is for, in one or more sentences.
    pub doc: &'static str,
    /// Names of sub-tables, all with the same keys; empty for a plain table.
    pub members: &'static [&'static str],
    /// The keys, in the order of the page.
    pub fields: &'static [&'static dyn AnyField],
}

/// A key whose value is a `T`.
pub struct Field<T: 'static> {
    /// The key.
    pub key: &'static str,
    /// What it says, for people; Markdown within sentences.
    pub doc: &'static str,
    /// What kind of value it takes, e.g. `text`.
    pub kind: &'static str,
    /// What holds when it is absent.
    pub absent: Absent,
    /// A valid value as TOML.
    pub example: &'static str,
    /// Checks and converts a value; what is wrong goes into the report.
    pub parse: fn(&Node<'_>, &mut Report<'_>) -> Option<T>,
}

/// What holds when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// The file is refused; these words say what to do.
    Required(&'static str),
    /// This value, as TOML.
    Default(&'static str),
    /// What these words say.
    Otherwise(&'static str),
}

/// A [`Field`] whatever its type, as the pages and the name check see it.
pub trait AnyField: Sync {
    /// The key.
    fn key(&self) -> &'static str;
    /// What it says.
    fn doc(&self) -> &'static str;
    /// What kind of value it takes.
    fn kind(&self) -> &'static str;
    /// What holds when it is absent.
    fn absent(&self) -> Absent;
    /// A valid value as TOML.
    fn example(&self) -> &'static str;
}

impl<T> AnyField for Field<T> {
    fn key(&self) -> &'static str {
        self.key
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn kind(&self) -> &'static str {
        self.kind
    }
    fn absent(&self) -> Absent {
        self.absent
    }
    fn example(&self) -> &'static str {
        self.example
    }
}

impl<T> Field<T> {
    /// The value that stands for an absent key, if its definition has one.
    pub fn default_value(&self) -> Option<T> {
        let Absent::Default(text) = self.absent else {
            return None;
        };
        let node = DeValue::parse(text).expect("defaults are TOML; a test reads them all");
        (self.parse)(&node, &mut Report::new("default", text))
    }
}
