//! Folder names as servers and maildirs write them: modified UTF-7 (RFC 3501, section 5.1.3).

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Base 64 with a comma, unpadded. Bits left over that are not zero are somebody's fault, but the
/// letters before them are still good.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &IMAP_MUTF7,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Writes a name for a server.
pub fn encode(name: &str) -> String {
    let mut out = String::new();
    let mut shifted: Vec<u8> = Vec::new();
    let flush = |shifted: &mut Vec<u8>, out: &mut String| {
        if !shifted.is_empty() {
            out.push('&');
            BASE64.encode_string(&*shifted, out);
            out.push('-');
            shifted.clear();
        }
    };
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut shifted, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shifted.extend(unit.to_be_bytes());
            }
        }
    }
    flush(&mut shifted, &mut out);
    out
}

/// Reads a name. Servers that know nothing of modified UTF-7 write UTF-8, or something else: what
/// cannot be read as the one is taken as the other, so that no folder is without a name.
pub fn decode(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.is_ascii() {
        decoded(&text).unwrap_or_else(|| text.into_owned())
    } else {
        text.into_owned()
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (code, after) = shifted.split_once('-')?;
        if code.is_empty() {
            out.push('&');
        } else {
            let bytes = BASE64.decode(code).ok()?;
            let (pairs, odd) = bytes.as_chunks::<2>();
            if !odd.is_empty() || pairs.is_empty() {
                return None;
            }
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            for c in char::decode_utf16(units) {
                out.push(c.ok()?);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_written_as_the_rfc_does() {
        for (name, written) in [
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("Tom & Jerry", "Tom &- Jerry"),
            ("smile 😀", "smile &2D3eAA-"),
            ("", ""),
        ] {
            assert_eq!(encode(name), written);
            assert_eq!(decode(written.as_bytes()), name);
        }
    }

    #[test]
    fn what_is_no_utf7_is_taken_as_it_is() {
        assert_eq!(decode("Entwürfe & Co".as_bytes()), "Entwürfe & Co");
        assert_eq!(decode(b"R&D"), "R&D");
        assert_eq!(decode(b"&!!-"), "&!!-");
        // Half a surrogate pair.
        assert_eq!(decode(b"&2D0-"), "&2D0-");
        assert_eq!(decode(b"Entw\xfcrfe"), "Entw\u{fffd}rfe");
        // A letter that needs no shift may be shifted all the same.
        assert_eq!(decode(b"1&AC4-0"), "1.0");
    }

    proptest! {
        #[test]
        fn every_name_comes_back(name in "\\PC{0,40}|[&-]{0,10}") {
            let written = encode(&name);
            prop_assert!(written.is_ascii());
            prop_assert_eq!(decode(written.as_bytes()), name);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'&'), Just(b'-'), Just(b'A')], 0..40)) {
            let _ = decode(&bytes);
        }
    }
}
