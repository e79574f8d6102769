//! Reads tables by their definition and collects everything that is wrong.

use super::problem::Problem;
use super::schema::{Absent, AnyField, Field, Section};
use crate::error::Failure;
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its place in the file.
pub type Node<'i> = Spanned<DeValue<'i>>;

/// Hint of everything that is wrong with a password's hash.
pub const MAKE_A_HASH: &str = "run `roost password` and put the line that it prints here";

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What is wrong, without the key's name.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Reason {
    /// A reason without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same about the value of an option of the command line, e.g. `--name`.
    pub fn of_option(self, option: &str) -> Failure {
        let failure = Failure::usage(format!("{option}: {}", self.message));
        match self.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Everything found wrong in one file.
pub struct Report<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Report<'a> {
    /// A report on `text`, which the user knows as `file`.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: Vec::new(),
        }
    }

    /// Adds a problem at a byte range.
    pub fn add(&mut self, span: Range<usize>, reason: Reason) {
        let problem = Problem::at(self.file, self.text, span, reason.message, reason.hint);
        // An inline table may have a password beside the fault, a syntax error one behind it.
        let secret = problem.source.to_lowercase().contains("pass");
        self.problems
            .push(if secret { problem.alone() } else { problem });
    }

    /// Adds a problem in a line whose value must not be repeated on a screen or in a log.
    pub fn add_secret(&mut self, span: Range<usize>, reason: Reason) {
        self.problems
            .push(Problem::at(self.file, self.text, span, reason.message, reason.hint).alone());
    }

    /// The end of the text, where something missing would be added.
    pub fn end(&self) -> Range<usize> {
        let end = self.text.trim_end().len();
        end..end
    }

    /// The problems in the order of the file.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|p| (p.line, p.column));
        self.problems
    }
}

/// A table being read.
pub struct Reader<'t, 'i> {
    /// How messages call it, e.g. `[box]`.
    title: String,
    fields: &'static [&'static dyn AnyField],
    /// Place of its name and its contents; none if the file lacks it.
    table: Option<(Range<usize>, &'t DeTable<'i>)>,
    /// Keys that a misspelt one was taken for: they are not reported as absent on top.
    meant: Vec<&'static str>,
}

impl<'t, 'i> Reader<'t, 'i> {
    /// A reader of the table `title`, which is defined by `section` and may be absent.
    ///
    /// Keys that the definition does not know are reported here.
    pub fn new(
        title: String,
        section: &'static Section,
        table: Option<(Range<usize>, &'t DeTable<'i>)>,
        report: &mut Report<'_>,
    ) -> Self {
        let mut meant = Vec::new();
        for (key, _) in table.iter().flat_map(|(_, t)| t.iter()) {
            if !section.fields.iter().any(|f| f.key() == key.get_ref()) {
                meant.extend(unknown_key(section, &title, key, report));
            }
        }
        Self {
            title,
            fields: section.fields,
            table,
            meant,
        }
    }

    /// The place of `field`'s value.
    pub fn span(&self, field: &dyn AnyField) -> Option<Range<usize>> {
        self.node(field).map(Spanned::span)
    }

    fn node(&self, field: &dyn AnyField) -> Option<&'t Node<'i>> {
        debug_assert!(
            self.fields.iter().any(|f| f.key() == field.key()),
            "{} is in no list",
            field.key()
        );
        self.table.as_ref()?.1.get(field.key())
    }

    /// The value of `field`, its default, or none; what is wrong goes into the report.
    ///
    /// After reading, none with an empty report means that the key is absent and may be.
    pub fn get<T>(&self, field: &Field<T>, report: &mut Report<'_>) -> Option<T> {
        match self.node(field) {
            Some(node) => (field.parse)(node, report),
            None => match field.absent {
                Absent::Default(_) => field.default_value(),
                Absent::Otherwise(_) => None,
                Absent::Required(hint) => {
                    self.missing(field, "", hint, report);
                    None
                }
            },
        }
    }

    /// Reports that `field` is absent though it is needed; `why` is empty or begins with a comma.
    pub fn missing(&self, field: &dyn AnyField, why: &str, hint: &str, report: &mut Report<'_>) {
        let (key, title) = (field.key(), &self.title);
        if self.meant.contains(&key) {
            return;
        }
        match &self.table {
            Some((name, _)) => {
                report.add(
                    name.clone(),
                    Reason::new(format!("{title} lacks `{key}`{why}")).hint(hint),
                );
            }
            None => report.add(
                report.end(),
                Reason::new(format!("the table {title} with `{key}` is missing"))
                    .hint(format!("add the table {title}, then {hint}")),
            ),
        }
    }
}

/// Reports a key that the definition of its table does not know; returns the one that was meant.
fn unknown_key(
    section: &Section,
    title: &str,
    key: &Spanned<Cow<'_, str>>,
    report: &mut Report<'_>,
) -> Option<&'static str> {
    let name = key.get_ref();
    if section.name == "account" && name == "password" {
        let reason =
            Reason::new("a password in clear has no place in roost.toml").hint(MAKE_A_HASH);
        report.add(key.span(), reason);
        return Some("password_hash");
    }
    let known: Vec<&'static str> = section.fields.iter().map(|f| f.key()).collect();
    let near = nearest(name, &known);
    let elsewhere = super::fields::SECTIONS.iter().find(|s| {
        s.name != section.name && s.members.is_empty() && s.fields.iter().any(|f| f.key() == name)
    });
    let hint = match (near, elsewhere) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(s)) => format!("`{name}` belongs in [{}]", s.name),
        (None, None) => format!("known here: {}", known.join(", ")),
    };
    let reason = Reason::new(format!("unknown key `{}` in {title}", printable(name))).hint(hint);
    // What stands behind a misspelt `password` may be one.
    if section.name == "account" {
        report.add_secret(key.span(), reason)
    } else {
        report.add(key.span(), reason)
    }
    near
}

/// The name of `known` that someone who wrote `name` most likely meant.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = name.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&name, k), *k))
        // A third of the letters may be wrong: enough for slips, too little for chance.
        .filter(|(distance, k)| *distance <= (k.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// A name from the file made fit for a one-line message.
pub fn printable(name: &str) -> String {
    let mut text: String = name
        .chars()
        .take(40)
        .map(|c| if c.is_control() { '·' } else { c })
        .collect();
    if name.chars().count() > 40 {
        text.push('…');
    }
    text
}

/// What a value is, for messages.
pub fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let known = ["name", "domain", "max_message_size"];
        assert_eq!(nearest("domian", &known), Some("domain"));
        assert_eq!(nearest("Domain", &known), Some("domain"));
        assert_eq!(
            nearest("max-message-size", &known),
            Some("max_message_size")
        );
        assert_eq!(nearest("nam", &known), Some("name"));
        assert_eq!(nearest("colour", &known), None);
    }
}
