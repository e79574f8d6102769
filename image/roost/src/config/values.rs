//! Parsers of single values; each takes a node and reports what is wrong with it.

use super::hash::PasswordHash;
use super::names::{AccountName, BoxName, Domain, printable_text};
use super::read::{Node, Reason, Report, kind_of};
use roost_bundle::PublicKey;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use toml::de::DeValue;

/// Reads a text by `parse`.
fn text<T>(
    node: &Node<'_>,
    report: &mut Report<'_>,
    example: &str,
    parse: impl FnOnce(&str) -> Result<T, Reason>,
) -> Option<T> {
    let DeValue::String(value) = node.get_ref() else {
        wrong_kind(node, report, "text in quotes", example);
        return None;
    };
    parse(value)
        .map_err(|reason| report.add(node.span(), reason))
        .ok()
}

fn wrong_kind(node: &Node<'_>, report: &mut Report<'_>, wanted: &str, example: &str) {
    let found = kind_of(node.get_ref());
    report.add(
        node.span(),
        Reason::new(format!("expected {wanted}, found {found}"))
            .hint(format!("write it like {example}")),
    );
}

/// Reads a list, each element by `parse`; all bad elements are reported.
pub(super) fn list<T>(
    node: &Node<'_>,
    report: &mut Report<'_>,
    example: &str,
    parse: impl Fn(&str) -> Result<T, Reason>,
) -> Option<Vec<T>> {
    let DeValue::Array(items) = node.get_ref() else {
        wrong_kind(node, report, "a list", example);
        return None;
    };
    if items.is_empty() {
        report.add(
            node.span(),
            Reason::new("the list is empty").hint("name at least one, or remove the line"),
        );
        return None;
    }
    // Every element is read before the first fault ends it: all faults are wanted.
    let read: Vec<Option<T>> = items
        .iter()
        .map(|item| text(item, report, example, &parse))
        .collect();
    read.into_iter().collect()
}

/// `true` or `false`.
pub fn switch(node: &Node<'_>, report: &mut Report<'_>) -> Option<bool> {
    match node.get_ref() {
        DeValue::Boolean(value) => Some(*value),
        _ => {
            wrong_kind(node, report, "true or false without quotes", "true");
            None
        }
    }
}

/// Name of the box.
pub fn box_name(node: &Node<'_>, report: &mut Report<'_>) -> Option<BoxName> {
    text(node, report, "\"roost\"", BoxName::parse)
}

/// A mail domain or host name.
pub fn domain(node: &Node<'_>, report: &mut Report<'_>) -> Option<Domain> {
    text(node, report, "\"example.org\"", Domain::parse)
}

/// Name of an account.
pub fn account_name(node: &Node<'_>, report: &mut Report<'_>) -> Option<AccountName> {
    text(node, report, "\"alice\"", AccountName::parse)
}

/// A person's name.
pub fn display_name(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "\"Alice Example\"", printable_text)
}

/// A password's hash; the line is not repeated in messages.
pub fn password_hash(node: &Node<'_>, report: &mut Report<'_>) -> Option<PasswordHash> {
    let reason = match node.get_ref() {
        DeValue::String(value) => match PasswordHash::parse(value) {
            Ok(hash) => return Some(hash),
            Err(reason) => reason,
        },
        other => Reason::new(format!("expected text in quotes, found {}", kind_of(other))),
    };
    let start = node.span().start;
    report.add_secret(start..start, reason);
    None
}

/// How the network is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkMode {
    /// By DHCP.
    Dhcp,
    /// As the file says.
    Static,
}

/// `dhcp` or `static`.
pub fn network_mode(node: &Node<'_>, report: &mut Report<'_>) -> Option<NetworkMode> {
    text(node, report, "\"dhcp\"", |value| match value {
        "dhcp" => Ok(NetworkMode::Dhcp),
        "static" => Ok(NetworkMode::Static),
        other => {
            let hint = match super::read::nearest(other, &["dhcp", "static"]) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "write \"dhcp\" or \"static\"".to_owned(),
            };
            Err(Reason::new(format!(
                "unknown mode \"{}\"",
                super::read::printable(other)
            ))
            .hint(hint))
        }
    })
}

/// An IPv4 address with its prefix length.
pub fn address4(node: &Node<'_>, report: &mut Report<'_>) -> Option<(Ipv4Addr, u8)> {
    text(node, report, "\"192.168.1.5/24\"", parse_address4)
}

/// The box's IPv4 address and prefix length, as `roost.toml` and options give it.
pub fn parse_address4(value: &str) -> Result<(Ipv4Addr, u8), Reason> {
    let (address, prefix): (Ipv4Addr, u8) = with_prefix(value, "192.168.1.5/24")?;
    // A /32 has no room for a gateway; shorter than /8 is no network that a home has.
    if !(8..=31).contains(&prefix) {
        return Err(Reason::new(format!(
            "the prefix length /{prefix} is not between /8 and /31"
        ))
        .hint("most home networks use /24"));
    }
    host4(address)?;
    let mask = u32::MAX << (32 - prefix);
    let host = address.to_bits() & !mask;
    // RFC 3021: a /31 has neither a network nor a broadcast address.
    if prefix < 31 && host == 0 {
        return Err(
            Reason::new(format!("{value} is the network's own address")).hint(format!(
                "give the box's address, e.g. {}/{prefix}",
                Ipv4Addr::from_bits(address.to_bits() | 5 & !mask)
            )),
        );
    }
    if prefix < 31 && host == !mask {
        return Err(Reason::new(format!(
            "{value} is the network's broadcast address"
        )));
    }
    Ok((address, prefix))
}

/// An IPv6 address with its prefix length.
pub fn address6(node: &Node<'_>, report: &mut Report<'_>) -> Option<(Ipv6Addr, u8)> {
    text(node, report, "\"2001:db8::5/64\"", |value| {
        let (address, prefix): (Ipv6Addr, u8) = with_prefix(value, "2001:db8::5/64")?;
        if !(16..=128).contains(&prefix) {
            return Err(Reason::new(format!(
                "the prefix length /{prefix} is not between /16 and /128"
            ))
            .hint("home networks use /64"));
        }
        if address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address.to_ipv4_mapped().is_some()
        {
            return Err(Reason::new(format!(
                "{address} cannot be the address of a box"
            )));
        }
        if address.is_unicast_link_local() {
            return Err(Reason::new(format!("{address} is link-local"))
                .hint("the box makes that address by itself; give a global or fd… address"));
        }
        Ok((address, prefix))
    })
}

fn with_prefix<A: std::str::FromStr>(value: &str, example: &str) -> Result<(A, u8), Reason> {
    let Some((address, prefix)) = value.split_once('/') else {
        return Err(Reason::new("the prefix length is missing")
            .hint(format!("write address and prefix length, like {example}")));
    };
    match (address.parse(), decimal(prefix)) {
        (Ok(address), Some(prefix)) => Ok((address, prefix)),
        (Err(_), _) => Err(Reason::new(format!(
            "\"{}\" is no such address",
            super::read::printable(address)
        ))
        .hint(format!("write address and prefix length, like {example}"))),
        (_, None) => Err(Reason::new(format!(
            "\"{}\" is no prefix length",
            super::read::printable(prefix)
        ))
        .hint(format!("write address and prefix length, like {example}"))),
    }
}

/// A number written in digits alone (`parse` would take a sign).
fn decimal<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

fn host4(address: Ipv4Addr) -> Result<(), Reason> {
    let [first, ..] = address.octets();
    // RFC 6890: 0/8 is "this network", 240/4 is reserved.
    let unusable = first == 0
        || first >= 240
        || address.is_loopback()
        || address.is_multicast()
        || address.is_link_local();
    if unusable {
        Err(Reason::new(format!(
            "{address} cannot be the address of a machine"
        )))
    } else {
        Ok(())
    }
}

/// An IPv4 address of a machine.
pub fn machine4(node: &Node<'_>, report: &mut Report<'_>) -> Option<Ipv4Addr> {
    text(node, report, "\"192.168.1.1\"", parse_machine4)
}

/// The IPv4 address of a machine, as `roost.toml` and options give it.
pub fn parse_machine4(value: &str) -> Result<Ipv4Addr, Reason> {
    let address = value.parse().map_err(|_| {
        Reason::new(format!(
            "\"{}\" is no IPv4 address",
            super::read::printable(value)
        ))
        .hint("write it like 192.168.1.1")
    })?;
    host4(address)?;
    Ok(address)
}

/// Addresses of resolvers.
pub fn resolvers(node: &Node<'_>, report: &mut Report<'_>) -> Option<Vec<IpAddr>> {
    list(node, report, "[\"192.168.1.1\"]", parse_resolver)
}

/// The address of a resolver, as `roost.toml` and options give it.
pub fn parse_resolver(value: &str) -> Result<IpAddr, Reason> {
    let address: IpAddr = value.parse().map_err(|_| {
        Reason::new(format!(
            "\"{}\" is no IP address",
            super::read::printable(value)
        ))
        .hint("a resolver is given by its address, not by its name")
    })?;
    match address {
        IpAddr::V4(v4) => host4(v4)?,
        IpAddr::V6(v6)
            if v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unicast_link_local() =>
        {
            return Err(Reason::new(format!(
                "{v6} cannot be the address of a resolver"
            )));
        }
        IpAddr::V6(_) => {}
    }
    Ok(address)
}

/// Names or addresses of time servers.
pub fn servers(node: &Node<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    list(
        node,
        report,
        "[\"time.example.net\"]",
        |value| match value.parse::<IpAddr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Domain::parse(value).map(|name| name.to_string()),
        },
    )
}

/// Largest accepted message, in bytes.
pub fn message_size(node: &Node<'_>, report: &mut Report<'_>) -> Option<u64> {
    const MIB: u64 = 1 << 20;
    text(node, report, "\"50 MiB\"", |value| {
        let bytes = size(value)?;
        // Below 1 MiB ordinary mail with a picture bounces; a message is held in memory
        // several times while it is taken in, and the smallest box has 1 GB.
        if !(MIB..=128 * MIB).contains(&bytes) {
            return Err(
                Reason::new(format!("\"{value}\" is not between 1 MiB and 128 MiB"))
                    .hint("50 MiB suits most people"),
            );
        }
        Ok(bytes)
    })
}

/// A size with its unit, in bytes.
fn size(value: &str) -> Result<u64, Reason> {
    const UNITS: [(&str, u64); 7] = [
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    let malformed = || {
        Reason::new(format!("\"{}\" is no size", super::read::printable(value)))
            .hint("write a whole number and a unit, like 50 MiB")
    };
    let split = value
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(value.len());
    let (number, unit) = value.split_at(split);
    let number: u64 = decimal(number)
        .filter(|_| !number.is_empty())
        .ok_or_else(malformed)?;
    let unit = unit.trim();
    if unit.is_empty() {
        return Err(Reason::new(format!("\"{value}\" has no unit"))
            .hint(format!("did you mean \"{number} MiB\"?")));
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let same = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let names: Vec<&str> = UNITS.iter().map(|(name, _)| *name).collect();
        let hint = match same {
            Some((name, _)) => format!("did you mean \"{number} {name}\"?"),
            None => format!("units are {}", names.join(", ")),
        };
        return Err(
            Reason::new(format!("unknown unit \"{}\"", super::read::printable(unit))).hint(hint),
        );
    };
    number.checked_mul(*factor).ok_or_else(malformed)
}

/// Name of an AWS region.
pub fn region(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "\"eu-central-1\"", |value| {
        // Two letters, one or more words, a number.
        let parts: Vec<&str> = value.split('-').collect();
        let good = match parts.as_slice() {
            [place, words @ .., number] if !words.is_empty() => {
                place.len() == 2
                    && (words.iter().chain([place]))
                        .all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
                    && matches!(number.as_bytes(), [b'1'..=b'9'])
            }
            _ => false,
        };
        good.then(|| value.to_owned()).ok_or_else(|| {
            Reason::new(format!(
                "\"{}\" is no name of an AWS region",
                super::read::printable(value)
            ))
            .hint("write it like eu-central-1; a letter at its end would be a zone's")
        })
    })
}

/// What the names of the relay's parts begin with.
pub fn relay_name(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "\"roost\"", |value| {
        let begins = value.starts_with(|c: char| c.is_ascii_lowercase());
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if begins && value.len() <= 20 && value.bytes().all(rest) {
            return Ok(value.to_owned());
        }
        Err(Reason::new(
            "the name must have 1 to 20 small letters, digits and hyphens, and begin with a letter",
        ))
    })
}

/// EC2 instance type with an ARM processor.
pub fn instance_type(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "\"t4g.nano\"", |value| {
        let arm = |family: &str| {
            let digits = family.trim_start_matches(|c: char| c.is_ascii_lowercase());
            let after = digits.trim_start_matches(|c: char| c.is_ascii_digit());
            family == "a1"
                || (digits.len() < family.len() && digits != after && after.starts_with('g'))
        };
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        match value.split_once('.') {
            Some((family, size))
                if !size.is_empty() && value.bytes().all(|b| word(b) || b == b'.') =>
            {
                if arm(family) {
                    return Ok(value.to_owned());
                }
                Err(Reason::new(format!("{value} has no ARM processor"))
                    .hint("its family must have a g after the number, as in t4g.nano"))
            }
            _ => Err(Reason::new(format!(
                "\"{}\" is no instance type",
                super::read::printable(value)
            ))
            .hint("write it like t4g.nano")),
        }
    })
}

/// Id of an EC2 image.
pub fn ami(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "\"ami-0123456789abcdef0\"", |value| {
        aws_id(value, "ami-", "an image")
    })
}

/// Id of an Elastic IP's allocation.
pub fn allocation(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "\"eipalloc-0123456789abcdef0\"", |value| {
        aws_id(value, "eipalloc-", "an Elastic IP's allocation")
    })
}

/// An id as AWS gives them: a prefix and 8 to 17 hexadecimal digits.
fn aws_id(value: &str, prefix: &str, what: &str) -> Result<String, Reason> {
    let digits = value.strip_prefix(prefix).unwrap_or_default();
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if (8..=17).contains(&digits.len()) && digits.bytes().all(hex) {
        return Ok(value.to_owned());
    }
    Err(Reason::new(format!(
        "\"{}\" is no id of {what}",
        super::read::printable(value)
    ))
    .hint(format!(
        "write it like {prefix}0123456789abcdef0, as AWS's console shows it"
    )))
}

/// A mail address, roughly: AWS checks it by writing to it.
pub fn mail_address(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "\"you@example.com\"", |value| {
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '@';
        match value.split_once('@') {
            Some((name, domain))
                if !name.is_empty()
                    && !name.contains(bad)
                    && !domain.contains(bad)
                    && domain.trim_matches('.').contains('.') =>
            {
                Ok(value.to_owned())
            }
            _ => Err(Reason::new(format!(
                "\"{}\" is no mail address",
                super::read::printable(value)
            ))
            .hint("write it like you@example.com")),
        }
    })
}

/// A sum in US dollars.
pub fn dollars(node: &Node<'_>, report: &mut Report<'_>) -> Option<u32> {
    let DeValue::Integer(number) = node.get_ref() else {
        wrong_kind(node, report, "a whole number", "15");
        return None;
    };
    let value = u32::from_str_radix(number.as_str(), number.radix()).ok();
    let value = value.filter(|value| (1..=100_000).contains(value));
    if value.is_none() {
        report.add(node.span(), Reason::new("the sum must be from 1 to 100000"));
    }
    value
}

/// Address of a Debian mirror, without a slash at its end.
pub fn mirror(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    let example = "\"https://debian.example.net/debian\"";
    text(node, report, example, |value| {
        // The address becomes a word in apt's configuration: no blanks, quotes or options may enter it.
        web_address(value, "-._~:/%+[]", example)?;
        Ok(value.trim_end_matches('/').to_owned())
    })
}

/// Address of a bundle.
pub fn bundle_url(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    let example = "\"https://example.org/roost.bundle\"";
    text(node, report, example, |value| {
        // RFC 3986 without the fragment, which no server ever sees.
        let rest = web_address(value, "-._~:/?[]@!$&'()*+,;=%", example)?;
        if rest.find('/').is_none_or(|at| at + 1 == rest.len()) {
            return Err(Reason::new("the address names a server, but no file on it")
                .hint(format!("write it like {example}")));
        }
        Ok(value.to_owned())
    })
}

/// What follows `http://` or `https://`, which has letters, digits and `signs` only.
fn web_address<'v>(value: &'v str, signs: &str, example: &str) -> Result<&'v str, Reason> {
    let hint = format!("write it like {example}");
    let rest = value
        .strip_prefix("https://")
        .or_else(|| value.strip_prefix("http://"))
        .ok_or_else(|| {
            Reason::new("the address does not begin with https:// or http://").hint(&hint)
        })?;
    if let Some(bad) = rest
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || signs.contains(*c)))
    {
        return Err(Reason::new(format!("{bad:?} does not belong in the address")).hint(hint));
    }
    if rest.split('/').next().is_none_or(str::is_empty) {
        return Err(Reason::new("the address names no host").hint(hint));
    }
    Ok(rest)
}

/// Public halves of keys, each once.
pub fn public_keys(node: &Node<'_>, report: &mut Report<'_>) -> Option<Vec<PublicKey>> {
    let keys = list(node, report, "[\"64 hexadecimal digits\"]", |value| {
        PublicKey::parse(value).ok_or_else(|| {
            let digits = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
            Reason::new(if digits {
                "this is no public key of Ed25519: a digit must be wrong"
            } else {
                "a public key has 64 hexadecimal digits"
            })
            .hint("`roost init` writes it here; the comment in the key's own file repeats it")
        })
    })?;
    for (i, key) in keys.iter().enumerate() {
        if keys[..i].contains(key) {
            let reason = Reason::new(format!("the key {key} stands here twice"));
            report.add(node.span(), reason.hint("remove one of the two"));
            return None;
        }
    }
    Some(keys)
}

/// The first hour of a span and the one at which it ends.
pub fn window(node: &Node<'_>, report: &mut Report<'_>) -> Option<(u8, u8)> {
    let hour = |node: &Node<'_>| match node.get_ref() {
        DeValue::Integer(n) => n
            .as_str()
            .parse::<u8>()
            .ok()
            .filter(|h| n.radix() == 10 && *h < 24),
        _ => None,
    };
    let found = match node.get_ref() {
        DeValue::Array(items) => match &items[..] {
            [from, until] => hour(from).zip(hour(until)),
            _ => None,
        },
        _ => None,
    };
    let hint = "write it like [2, 5]: from 2 until 5 o'clock, UTC";
    match found {
        Some((from, until)) if from != until => Some((from, until)),
        Some(_) => {
            let reason = Reason::new("the span is empty: it ends in the hour in which it begins");
            report.add(node.span(), reason.hint("remove the line for any time"));
            None
        }
        None => {
            let reason = Reason::new("expected a list of two hours from 0 to 23");
            report.add(node.span(), reason.hint(hint));
            None
        }
    }
}

/// A file of the machine that builds.
pub fn file(node: &Node<'_>, report: &mut Report<'_>) -> Option<PathBuf> {
    text(node, report, "\"parts/mail\"", |value| {
        if value.is_empty() || value.contains('\0') {
            return Err(Reason::new("the path is empty or holds a NUL"));
        }
        if value.starts_with('~') {
            return Err(Reason::new("`~` has no meaning here")
                .hint("write the whole path, or one relative to roost.toml"));
        }
        Ok(PathBuf::from(value))
    })
}

/// A SHA-256 in lower-case hex.
pub fn sha256(node: &Node<'_>, report: &mut Report<'_>) -> Option<String> {
    text(node, report, "a SHA-256 in quotes", |value| {
        if value.len() != 64 || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Reason::new("a SHA-256 has 64 hexadecimal digits")
                .hint("`sha256sum FILE` prints it"));
        }
        Ok(value.to_ascii_lowercase())
    })
}
