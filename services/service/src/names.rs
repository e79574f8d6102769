//! Rules of the names that people type, in `roost.toml` or in a browser, and what is
//! said of one that breaks them. Holding a name proves that it was checked.
//!
//! [`Domain::parse`] is behind the feature `names`, because international domain names need
//! tables of Unicode. PID 1 does without: it sees only what such a program has normalised.

#[cfg(feature = "names")]
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use std::fmt;

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
}

/// What somebody typed, made fit for a one-line message.
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

/// A domain name of at least two labels that the public DNS may hold: lower case, ASCII
/// (punycode where needed, RFC 5890), no dot at its end, at most 253 letters (RFC 1035).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

/// Top-level names that the public DNS never delegates, with what they are kept for.
const SPECIAL: [(&str, &str); 8] = [
    ("local", "names on the home network (RFC 6762)"),
    ("localhost", "the machine itself (RFC 6761)"),
    ("invalid", "names that must not exist (RFC 6761)"),
    ("test", "tests (RFC 6761)"),
    ("example", "documentation (RFC 6761)"),
    ("onion", "Tor (RFC 7686)"),
    ("alt", "names outside the DNS (RFC 9476)"),
    ("internal", "private networks"),
];

impl Domain {
    /// Checks and normalises a domain name.
    ///
    /// # Errors
    /// Says which rule it breaks.
    #[cfg(feature = "names")]
    pub fn parse(value: &str) -> Result<Self, Reason> {
        let shown = printable(value);
        if value.is_empty() {
            return Err(Reason::new("the name is empty").hint("write it like example.org"));
        }
        if value.contains('@') {
            return Err(
                Reason::new(format!("\"{shown}\" is a mail address, not a domain"))
                    .hint("give the part after the @"),
            );
        }
        if value.contains("://") || value.contains('/') {
            return Err(
                Reason::new(format!("\"{shown}\" is a web address, not a domain"))
                    .hint("write it like example.org"),
            );
        }
        if let Some(bare) = value.strip_suffix('.') {
            return Err(Reason::new(format!("\"{shown}\" ends with a dot"))
                .hint(format!("did you mean \"{}\"?", printable(bare))));
        }
        let ascii = Uts46::new()
            .to_ascii(
                value.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::Check,
                DnsLength::Verify,
            )
            .map_err(|_| Self::why_invalid(value))?
            .into_owned();
        Self::placed(ascii, &shown)
    }

    /// Checks a name that [`Domain::parse`] has given before: nothing in it is changed.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn normalised(value: &str) -> Result<Self, Reason> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if value.len() > 253 || !value.split('.').all(label) {
            return Err(Self::why_invalid(value));
        }
        Self::placed(value.to_owned(), &printable(value))
    }

    /// A name of sound labels, if it can be somebody's in the public DNS.
    fn placed(ascii: String, shown: &str) -> Result<Self, Reason> {
        let labels: Vec<&str> = ascii.split('.').collect();
        let [.., last] = labels[..] else {
            unreachable!("split gives at least one label")
        };
        if labels.len() < 2 {
            return Err(
                Reason::new(format!("\"{shown}\" is a single word, not a domain"))
                    .hint("write the whole domain, like example.org"),
            );
        }
        // RFC 3696 section 2: a top-level name is never all digits; this catches IPv4 addresses.
        if last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Reason::new(format!(
                "\"{shown}\" is an address or a number, not a name"
            )));
        }
        if let Some((name, purpose)) = SPECIAL.iter().find(|(name, _)| *name == last) {
            return Err(Reason::new(format!(
                "no mail can reach .{name}: it is kept for {purpose}"
            ))
            .hint("use a domain that you own, or example.org to try things out"));
        }
        Ok(Self(ascii))
    }

    /// The rule that `value` breaks.
    fn why_invalid(value: &str) -> Reason {
        let shown = printable(value);
        if value.len() > 253 {
            return Reason::new("the name is longer than 253 letters (RFC 1035)");
        }
        for label in value.split('.') {
            let label_shown = printable(label);
            if label.is_empty() {
                return Reason::new(format!(
                    "\"{shown}\" has two dots in a row or one at its start"
                ));
            }
            if label.len() > 63 && label.is_ascii() {
                return Reason::new(format!(
                    "\"{label_shown}\" is longer than 63 letters (RFC 1035)"
                ));
            }
            if let Some(bad) = label
                .chars()
                .find(|c| c.is_ascii() && !c.is_ascii_alphanumeric() && *c != '-')
            {
                let hint = if bad == '_' {
                    "did you mean a hyphen?"
                } else {
                    "letters, digits and hyphens may stand in it"
                };
                return Reason::new(format!("{bad:?} may not stand in a domain name")).hint(hint);
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Reason::new(format!("\"{label_shown}\" begins or ends with a hyphen"));
            }
        }
        Reason::new(format!(
            "\"{shown}\" is no valid international domain name (RFC 5890)"
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `label` put before this domain, e.g. `mail` gives `mail.example.org`; none if that is too long.
    pub fn child(&self, label: &str) -> Option<Self> {
        Self::normalised(&format!("{label}.{}", self.0)).ok()
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a mail account: a local part that needs no quoting anywhere, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName(String);

/// Addresses that the box serves by itself (RFC 2142, RFC 5321 section 4.5.1) or that
/// programs send as; no person should be one of them.
const RESERVED: [&str; 13] = [
    "abuse",
    "admin",
    "administrator",
    "dmarc",
    "hostmaster",
    "mailer-daemon",
    "no-reply",
    "noreply",
    "postmaster",
    "roost-probe",
    "root",
    "security",
    "webmaster",
];

impl AccountName {
    /// Checks a name.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(value: &str) -> Result<Self, Reason> {
        let shown = printable(value);
        if value.is_empty() {
            return Err(Reason::new("the name is empty").hint("write it like alice"));
        }
        if let Some((local, _)) = value.split_once('@') {
            return Err(
                Reason::new(format!("\"{shown}\" is a whole address")).hint(format!(
                    "give the part before the @:  \"{}\"",
                    printable(local)
                )),
            );
        }
        if RESERVED.contains(&value.to_lowercase().as_str()) {
            return Err(Reason::new(format!(
                "\"{shown}\" is reserved: the box uses that address itself"
            ))
            .hint("choose a name of your own, like alice"));
        }
        needs_no_quoting(value, "an account's name")?;
        Ok(Self(value.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The rules of a local part, whose kind is `what`: none of its letters needs quoting anywhere.
fn needs_no_quoting(value: &str, what: &str) -> Result<(), Reason> {
    let shown = printable(value);
    if value.len() > 64 {
        return Err(Reason::new("the name is longer than 64 letters (RFC 5321)"));
    }
    if value.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(
            Reason::new(format!("\"{shown}\" has capital letters")).hint(format!(
                "did you mean \"{}\"? mail to Alice@ reaches alice@",
                printable(&value.to_lowercase())
            )),
        );
    }
    if let Some(bad) = value
        .chars()
        .find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && !"._-".contains(*c))
    {
        let hint = match bad {
            '+' => "mail to alice+anything@ reaches alice@ by itself",
            _ => "letters from a to z, digits and . _ - may stand in it",
        };
        return Err(Reason::new(format!("{bad:?} may not stand in {what}")).hint(hint));
    }
    let ends = |c: char| value.starts_with(c) || value.ends_with(c);
    if ends('.') || ends('-') || ends('_') || value.contains("..") {
        return Err(Reason::new(format!(
            "\"{shown}\" begins or ends with a sign, or has two dots in a row"
        )));
    }
    Ok(())
}

/// A mail address that needs no quoting anywhere, in lower case. Its first half may be one of
/// the names that no account may have, like `webmaster`, but not one that programs send as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    whole: String,
    domain: Domain,
}

/// First halves to which nobody writes: programs send as these, and the box tests its mail with one.
#[cfg(feature = "names")]
const SENT_BY_PROGRAMS: [&str; 4] = ["mailer-daemon", "no-reply", "noreply", "roost-probe"];

impl Address {
    /// Checks an address.
    ///
    /// # Errors
    /// Says which rule it breaks.
    #[cfg(feature = "names")]
    pub fn parse(value: &str) -> Result<Self, Reason> {
        let shown = printable(value);
        let Some((local, domain)) = value.rsplit_once('@') else {
            return Err(Reason::new(format!("\"{shown}\" is no mail address"))
                .hint("write it like sales@example.org"));
        };
        let domain = Domain::parse(domain)?;
        if local.is_empty() {
            return Err(Reason::new("nothing stands before the @")
                .hint(format!("write it like sales@{domain}")));
        }
        needs_no_quoting(local, "an address")?;
        if SENT_BY_PROGRAMS.contains(&local) {
            return Err(Reason::new(format!(
                "\"{local}\" is reserved: programs send as it, and nobody reads it"
            )));
        }
        Ok(Self {
            whole: format!("{local}@{domain}"),
            domain,
        })
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// What stands before the `@`.
    pub fn local(&self) -> &str {
        self.whole.split('@').next().unwrap_or_default()
    }

    /// What stands behind it.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

#[cfg(all(test, feature = "names"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn domains_are_normalised() {
        for (given, kept) in [
            ("example.org", "example.org"),
            ("Example.ORG", "example.org"),
            ("bücher.example.net", "xn--bcher-kva.example.net"),
            ("xn--bcher-kva.example.net", "xn--bcher-kva.example.net"),
            ("a-b.co.uk", "a-b.co.uk"),
            ("1.example.org", "1.example.org"),
        ] {
            assert_eq!(Domain::parse(given).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn what_is_no_domain_is_refused() {
        let long = format!("{}.org", "a".repeat(64));
        let very_long = format!("{}org", "abc.".repeat(70));
        for bad in [
            "",
            "org",
            "example.org.",
            ".example.org",
            "example..org",
            "-a.org",
            "a-.org",
            "a_b.org",
            "a b.org",
            "192.168.1.1",
            "[::1]",
            "alice@example.org",
            "https://example.org",
            "roost.local",
            "x.test",
            "xn--a.org",
            "a.b\n.org",
            "\u{200b}.org",
            &long,
            &very_long,
        ] {
            assert!(Domain::parse(bad).is_err(), "{bad:?}");
            assert!(
                Domain::normalised(bad).is_err() || bad == "xn--a.org",
                "{bad:?}"
            );
        }
        for other in ["Example.org", "bücher.example.net"] {
            assert!(Domain::normalised(other).is_err(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_was_normalised_is_known_again(name in "[A-Za-z0-9äß-]{1,9}(\\.[A-Za-z0-9ü-]{1,9}){0,3}") {
            if let Ok(domain) = Domain::parse(&name) {
                prop_assert_eq!(Domain::normalised(domain.as_str()), Ok(domain));
            }
        }
    }

    #[test]
    fn account_names_need_no_quoting() {
        for good in ["alice", "a", "alice.b", "a-b_c.d", "0x"] {
            assert_eq!(AccountName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Alice",
            "alice@example.org",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a+b",
            "postmaster",
            "mailer-daemon",
            "jürgen",
            "a/b",
            "-a",
            &"a".repeat(65),
        ] {
            assert!(AccountName::parse(bad).is_err(), "{bad:?}");
        }
    }
    #[test]
    fn addresses_are_normalised_or_refused() {
        for (given, kept) in [
            ("sales@example.org", "sales@example.org"),
            ("webmaster@Example.ORG", "webmaster@example.org"),
            (
                "a.b-c_d@b\u{fc}cher.example.net",
                "a.b-c_d@xn--bcher-kva.example.net",
            ),
        ] {
            let address = Address::parse(given).unwrap();
            assert_eq!(address.as_str(), kept);
            assert_eq!(
                format!("{}@{}", address.local(), address.domain()),
                address.as_str()
            );
        }
        for bad in [
            "",
            "@",
            "sales",
            "@example.org",
            "Sales@example.org",
            "a@b@example.org",
            "a b@example.org",
            "\"a\"@example.org",
            "a+b@example.org",
            "sales@example",
            "noreply@example.org",
            "roost-probe@example.org",
            "sales@example.org\n",
            &format!("{}@example.org", "a".repeat(65)),
        ] {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }
}
