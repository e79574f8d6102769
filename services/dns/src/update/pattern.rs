//! Names that a key may write.

use hickory_proto::rr::Name;
use std::fmt;
use std::str::FromStr;

/// Labels from left to right: `*` stands for one, `**` for any number, none included. `_acme-challenge.**`,
/// `*._domainkey.**`, `*._tcp.mail.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    One,
    Any,
    Label(Box<[u8]>),
}

/// A pattern that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("'{0}' is no pattern of names: labels, '*' and '**', with dots between")]
pub struct BadPattern(String);

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let part = |label: &str| match label {
            "*" => Ok(Part::One),
            "**" => Ok(Part::Any),
            label => {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                let good = label.bytes().all(good) && (1..=63).contains(&label.len());
                let label = label.to_ascii_lowercase().into_bytes();
                good.then(|| Part::Label(label.into())).ok_or_else(bad)
            }
        };
        let labels = text.strip_suffix('.').unwrap_or(text).split('.');
        Ok(Self(labels.map(part).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            match part {
                Part::One => write!(f, "{dot}*")?,
                Part::Any => write!(f, "{dot}**")?,
                Part::Label(label) => write!(f, "{dot}{}", String::from_utf8_lossy(label))?,
            }
        }
        Ok(())
    }
}

impl Pattern {
    /// Whether the name fits, whatever its case.
    pub fn matches(&self, name: &Name) -> bool {
        let labels: Vec<&[u8]> = name.iter().collect();
        // Which numbers of labels the parts so far can stand for: never more work than parts times labels.
        let mut reached = vec![false; labels.len() + 1];
        reached[0] = true;
        for part in &self.0 {
            reached = step(part, &reached, &labels);
        }
        reached[labels.len()]
    }
}

fn step(part: &Part, reached: &[bool], labels: &[&[u8]]) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    match part {
        Part::Any => {
            let first = reached.iter().position(|is| *is).unwrap_or(reached.len());
            next[first..].fill(true);
        }
        Part::One => next[1..].copy_from_slice(&reached[..labels.len()]),
        Part::Label(wanted) => {
            for (at, label) in labels.iter().enumerate() {
                next[at + 1] = reached[at] && label.eq_ignore_ascii_case(wanted);
            }
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::from_str(pattern)
            .unwrap()
            .matches(&Name::from_ascii(name).unwrap())
    }

    #[test]
    fn names_fit_label_by_label() {
        assert!(matches(
            "_acme-challenge.**",
            "_ACME-challenge.mail.example.org."
        ));
        assert!(!matches(
            "_acme-challenge.**",
            "x._acme-challenge.example.org."
        ));
        assert!(matches("*._domainkey.**", "s1._domainkey.example.org."));
        assert!(!matches("*._domainkey.**", "_domainkey.example.org."));
        assert!(matches(
            "*._tcp.mail.example.org",
            "_25._tcp.mail.example.org."
        ));
        assert!(!matches(
            "*._tcp.mail.example.org",
            "_25._tcp.www.example.org."
        ));
        assert!(!matches(
            "*._tcp.mail.example.org",
            "_25._tcp.mail.example.org.evil."
        ));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "..", "a..b", "a*.b", "***", "ä", "a b", &"x".repeat(64)] {
            assert!(Pattern::from_str(text).is_err(), "{text}");
        }
    }

    /// The definition, in so many words.
    fn plain(parts: &[&str], labels: &[&str]) -> bool {
        match (parts, labels) {
            ([], rest) => rest.is_empty(),
            (["**", parts @ ..], _) => (0..=labels.len()).any(|skip| plain(parts, &labels[skip..])),
            ([part, parts @ ..], [label, labels @ ..]) => {
                (*part == "*" || part == label) && plain(parts, labels)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_defined(
            parts in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**"]), 1..6),
            labels in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..6),
        ) {
            let (pattern, name) = (parts.join("."), labels.join(".") + ".");
            prop_assert_eq!(matches(&pattern, &name), plain(&parts, &labels));
        }

        #[test]
        fn shown_and_read_again(text in "(\\*|\\*\\*|[a-z_-]{1,9})(\\.(\\*|\\*\\*|[a-z_-]{1,9})){0,4}") {
            prop_assert_eq!(Pattern::from_str(&text).unwrap().to_string(), text);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = Pattern::from_str(&text);
        }
    }
}
