//! Names that the box is known by. Holding one proves that it was checked.

use super::read::{Reason, printable};
pub use roost_service::names::{AccountName, Domain};

/// Name of the box on the home network: one label of RFC 1123 in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoxName(String);

impl BoxName {
    /// Checks a name.
    pub fn parse(value: &str) -> Result<Self, Reason> {
        let shown = printable(value);
        if value.is_empty() {
            return Err(Reason::new("the name is empty").hint("\"roost\" is a good one"));
        }
        if value.contains('.') {
            return Err(Reason::new(format!("\"{shown}\" is more than one word"))
                .hint("the box's name is a single word; the domain goes into `domain`"));
        }
        if value.len() > 63 {
            return Err(Reason::new("the name is longer than 63 letters (RFC 1123)"));
        }
        if let Some(bad) = value
            .chars()
            .find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && *c != '-')
        {
            let what = match bad {
                'A'..='Z' => {
                    format!("capital letters as in \"{shown}\" may not stand in the box's name")
                }
                _ => format!("{bad:?} may not stand in the box's name"),
            };
            let fit = value.to_lowercase().replace(
                |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(),
                "-",
            );
            let hint = match Self::parse(fit.trim_matches('-')) {
                Ok(Self(fit)) => format!("did you mean \"{fit}\"?"),
                Err(_) => "letters from a to z, digits and hyphens may stand in it".to_owned(),
            };
            return Err(Reason::new(what).hint(hint));
        }
        if value.starts_with('-') || value.ends_with('-') {
            return Err(Reason::new(format!(
                "\"{shown}\" begins or ends with a hyphen"
            )));
        }
        if value == "localhost" || value.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Reason::new(format!(
                "\"{shown}\" cannot be the name of a machine"
            )));
        }
        Ok(Self(value.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person's name or another short text that ends up in mail headers.
pub fn printable_text(value: &str) -> Result<String, Reason> {
    let value = value.trim();
    if value.is_empty() {
        return Err(
            Reason::new("the name is empty").hint("remove the line to use the account's name")
        );
    }
    if value.chars().any(char::is_control) {
        return Err(Reason::new(
            "line breaks and control characters may not stand in a name",
        ));
    }
    if value.chars().count() > 100 {
        return Err(Reason::new("the name is longer than 100 letters"));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_names_are_one_label() {
        for good in ["roost", "my-box", "box2", "2box"] {
            assert_eq!(BoxName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Roost",
            "my.box",
            "my_box",
            "-box",
            "box-",
            "127",
            "localhost",
            "kücken",
            &"a".repeat(64),
        ] {
            assert!(BoxName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
