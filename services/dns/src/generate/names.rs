//! Checks of what facts contain.

use hickory_proto::rr::Name;

use super::facts::FactsError;

/// Longest text of a DKIM key: an RSA key of 8,192 bits takes 1,400 bytes.
const MAX_DKIM: usize = 2000;

/// Reads a host name (RFC 1123, section 2.1), in lower case and absolute.
pub(super) fn host(what: &'static str, text: &str) -> Result<Name, FactsError> {
    let wrong = |reason| FactsError::Host {
        what,
        name: text.into(),
        reason,
    };
    let labels: Vec<&str> = text.split('.').collect();
    if text.len() > 253 {
        return Err(wrong("it is longer than 253 letters"));
    }
    if labels.len() < 2 {
        return Err(wrong("it needs a dot"));
    }
    for label in &labels {
        if label.is_empty() || label.len() > 63 {
            return Err(wrong("between dots there are 1 to 63 letters"));
        }
        if !label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return Err(wrong("only letters, digits and hyphens can be in it"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(wrong("a hyphen cannot stand beside a dot"));
        }
    }
    if labels
        .last()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(wrong("it ends like an address"));
    }
    below(text, &Name::root())
}

/// The name `text` below `base`, `text` being one or more labels.
pub(super) fn below(text: &str, base: &Name) -> Result<Name, FactsError> {
    let labels = text
        .split('.')
        .map(|label| label.to_ascii_lowercase().into_bytes());
    let mut name = Name::from_labels(labels)
        .and_then(|name| name.append_domain(base))
        .map_err(|_| FactsError::TooLong {
            name: format!("{text}.{base}").trim_end_matches('.').into(),
        })?;
    name.set_fqdn(true);
    Ok(name)
}

/// Reads a selector: labels of letters, digits and hyphens (RFC 6376, section 3.1).
pub(super) fn selector(text: &str) -> Result<&str, FactsError> {
    let fine = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if text.split('.').all(fine) {
        Ok(text)
    } else {
        Err(value(
            "the DKIM selector",
            text,
            "is not made of letters, digits and hyphens",
        ))
    }
}

/// Reads the text of a DKIM key's record.
pub(super) fn dkim(text: &str) -> Result<&str, FactsError> {
    let reason = if !text.starts_with("v=DKIM1;") {
        "does not begin with v=DKIM1;"
    } else if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        "has letters that a record cannot carry"
    } else if text.len() > MAX_DKIM {
        "is too long"
    } else {
        return Ok(text);
    };
    Err(value("the DKIM key", text, reason))
}

/// Reads a mail address that can be put into `mailto:` as it is, with nothing that would end it in DMARC or
/// CAA (`,`, `!`, `;`).
pub(super) fn address(text: &str) -> Result<&str, FactsError> {
    let wrong = || FactsError::Address {
        address: text.into(),
    };
    let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    if local.is_empty() || local.len() > 64 || !local.bytes().all(plain) {
        return Err(wrong());
    }
    host("the mail domain", domain).map_err(|_| wrong())?;
    Ok(text)
}

/// Reads a URL that can stand in a parameter of CAA (RFC 8659, section 4.2).
pub(super) fn parameter(text: &str) -> Result<&str, FactsError> {
    let fine = text.starts_with("https://") || text.starts_with("http://");
    if !fine || !text.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
        return Err(value(
            "the ACME account",
            text,
            "is not the address of an account",
        ));
    }
    if text.len() > 200 {
        return Err(value("the ACME account", text, "is too long"));
    }
    Ok(text)
}

/// Reads a SHA-256 in hex digits.
pub(super) fn digest(text: &str) -> Result<Vec<u8>, FactsError> {
    let wrong = || value("the key's SHA-256", text, "is not 64 hex digits");
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    (0..64)
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}

/// Whether [`host`] takes it.
pub(crate) fn is_host(text: &str) -> bool {
    host("the name", text).is_ok()
}

/// Whether [`address`] takes it.
pub(crate) fn is_address(text: &str) -> bool {
    address(text).is_ok()
}

/// Whether [`parameter`] takes it.
pub(crate) fn is_account(text: &str) -> bool {
    parameter(text).is_ok()
}

/// Whether [`digest`] takes it.
pub(crate) fn is_digest(text: &str) -> bool {
    digest(text).is_ok()
}

pub(super) fn value(what: &'static str, value: impl ToString, reason: &'static str) -> FactsError {
    FactsError::Value {
        what,
        value: value.to_string(),
        reason,
    }
}
