//! `[resolver]`: a root of the DNS that is not the internet's.

use super::fields::{RESOLVER_ROOT_SERVERS, RESOLVER_TRUST_ANCHORS};
use super::read::{Node, Reader, Reason, Report, printable};
use super::schema::AnyField;
use super::values::list;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use roost_service::settings::Resolver;

/// What a record looks like, for hints.
const EXAMPLE: &str = "[\". IN DS 20326 8 2 E06D…\"]";

/// Reads the table; what is wrong goes into the report.
pub fn read(table: &Reader<'_, '_>, report: &mut Report<'_>) -> Option<Resolver> {
    let root_servers = table.get(&RESOLVER_ROOT_SERVERS, report);
    let trust_anchors = table.get(&RESOLVER_TRUST_ANCHORS, report);
    let both: [(&dyn AnyField, &dyn AnyField); 2] = [
        (&RESOLVER_ROOT_SERVERS, &RESOLVER_TRUST_ANCHORS),
        (&RESOLVER_TRUST_ANCHORS, &RESOLVER_ROOT_SERVERS),
    ];
    for (given, other) in both {
        if let (Some(span), None) = (table.span(given), table.span(other)) {
            let message = format!("`{}` has no use without `{}`", given.key(), other.key());
            let hint =
                "a root of one's own has servers and keys; the internet's needs neither here";
            report.add(span, Reason::new(message).hint(hint));
        }
    }
    Some(Resolver {
        root_servers: root_servers?,
        trust_anchors: trust_anchors?,
    })
}

/// DS or DNSKEY records of the root.
pub fn trust_anchors(node: &Node<'_>, report: &mut Report<'_>) -> Option<Vec<String>> {
    list(node, report, EXAMPLE, parse_anchor)
}

/// A DS or DNSKEY record of the root (RFC 4034, sections 2.2 and 5.3), in one line with single blanks.
fn parse_anchor(value: &str) -> Result<String, Reason> {
    let wrong = |why: &str| {
        Reason::new(format!("\"{}\" is no key of the root: {why}", printable(value))).hint(
            "write a line of the file that `dnssec-dsfromkey` or `dnssec-keygen` made, without comments",
        )
    };
    let words: Vec<&str> = value.split_whitespace().collect();
    let [".", rest @ ..] = words.as_slice() else {
        return Err(wrong("it does not begin with a dot, the root's name"));
    };
    let is_ttl = |word: &&&str| word.bytes().all(|b| b.is_ascii_digit());
    let rest = &rest[rest.first().iter().filter(|word| is_ttl(word)).count()..];
    let rest = rest.strip_prefix(&["IN"]).unwrap_or(rest);
    let [kind, first, second, third, data @ ..] = rest else {
        return Err(wrong("something is missing"));
    };
    let data = data.concat();
    let numbers = first.parse::<u16>().is_ok()
        && [second, third]
            .iter()
            .all(|number| number.parse::<u8>().is_ok());
    if !numbers {
        return Err(wrong("three numbers have to stand before the key"));
    }
    let is_key = match *kind {
        "DS" => {
            let length = match *third {
                "2" => 64,
                "4" => 96,
                _ => return Err(wrong("only digests of the types 2 and 4 are strong enough")),
            };
            data.len() == length && data.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "DNSKEY" => {
            *second == "3"
                && BASE64_STANDARD
                    .decode(&data)
                    .is_ok_and(|key| key.len() >= 32)
        }
        _ => return Err(wrong("it is neither a DS nor a DNSKEY record")),
    };
    if !is_key {
        return Err(wrong("the key is not whole"));
    }
    Ok(format!(". IN {kind} {first} {second} {third} {data}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_root_are_taken_and_others_refused() {
        let hash = "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D";
        let whole = format!(". IN DS 20326 8 2 {hash}");
        for line in [
            whole.clone(),
            format!(".  172800\tIN DS 20326 8 2 {hash}"),
            format!(". DS 20326 8 2 {} {}", &hash[..40], &hash[40..]),
        ] {
            assert_eq!(
                parse_anchor(&line).map_err(|r| r.message),
                Ok(whole.clone())
            );
        }
        let key = BASE64_STANDARD.encode([7; 64]);
        let line = format!(". IN DNSKEY 257 3 13 {key}");
        assert_eq!(parse_anchor(&line).map_err(|r| r.message), Ok(line.clone()));
        for (line, why) in [
            (String::new(), "begin with a dot"),
            (format!("org. IN DS 20326 8 2 {hash}"), "begin with a dot"),
            (". IN DS 20326 8".into(), "missing"),
            (format!(". IN DS x 8 2 {hash}"), "three numbers"),
            (
                format!(". IN DS 20326 8 1 {}", &hash[..40]),
                "strong enough",
            ),
            (format!(". IN DS 20326 8 2 {}", &hash[1..]), "not whole"),
            (". IN DNSKEY 257 3 13 AAAA".into(), "not whole"),
            (format!(". IN A 1 2 3 {hash}"), "neither"),
        ] {
            let reason = parse_anchor(&line).unwrap_err();
            assert!(reason.message.contains(why), "{}", reason.message);
        }
    }
}
