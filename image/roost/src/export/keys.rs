//! The domain's private keys, for who leaves and wants to go on signing as before.
//!
//! A box hands them out to nobody. They come from a backup, which the recovery code opens: who has that can do all
//! that the box can.

use crate::backup;
use crate::cli::ExportArgs;
use crate::error::Failure;
use crate::ui::Ui;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use p256::pkcs8::DecodePrivateKey as _;
use serde::Deserialize;

/// The mail service's keys in a backup, and in the archive.
const DKIM: [(&str, &str); 2] = [
    ("services/mail/dkim-rsa.pem", "dkim-rsa.pem"),
    ("services/mail/dkim-ed25519.pem", "dkim-ed25519.pem"),
];
/// What the name server keeps of its zones (services/dns/src/state.rs), a file for each.
const ZONES: (&str, &str) = ("services/dns/zone-", "json");
/// Number of ECDSA P-256 with SHA-256 (RFC 6605), of which all keys are.
const ALGORITHM: u8 = 13;

/// A file of the archive.
pub struct File {
    /// Its name, below `keys`.
    pub name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// The part of a zone's file that is looked at; see `Kept` and `StoredSet` of the name server.
#[derive(Deserialize)]
struct Zone {
    keys: Keys,
}

#[derive(Deserialize)]
struct Keys {
    origin: String,
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    /// When it was made, in seconds since 1970.
    created: u64,
    /// `ksk` or `zsk`, and in that how far it has come.
    stage: serde_json::Value,
    pkcs8: String,
}

/// Reads them out of the backup that `--keys-from` names; none without.
///
/// # Errors
///
/// A [`Failure`] if the backup cannot be read, or its keys make no sense.
pub fn of_backup(args: &ExportArgs, ui: &Ui) -> Result<Vec<File>, Failure> {
    let Some(place) = &args.keys_from else {
        return Ok(Vec::new());
    };
    let is_zone = |path: &str| path.starts_with(ZONES.0) && path.ends_with(ZONES.1);
    let wanted = |path: &str| is_zone(path) || DKIM.iter().any(|(key, _)| *key == path);
    let step = ui.step("private keys");
    let (access, code) = (&args.access, &args.code);
    let found = backup::read(place, (access, code), args.backup.as_deref(), wanted, ui)?;
    let mut files = Vec::new();
    for (path, bytes) in found {
        if let Some((_, name)) = DKIM.iter().find(|(key, _)| *key == path) {
            files.push(File {
                name: (*name).to_owned(),
                bytes,
            });
            continue;
        }
        let strange = |why: String| {
            Failure::new(format!("{path} of the backup makes no sense"))
                .because(why)
                .hint("is this roost older than the box? Update it, and try again")
        };
        let zone: Zone = serde_json::from_slice(&bytes).map_err(|e| strange(e.to_string()))?;
        for key in &zone.keys.keys {
            files.extend(of_bind(&zone.keys.origin, key).map_err(strange)?);
        }
    }
    step.done(format!("{} files", files.len()));
    Ok(files)
}

/// The two files that BIND has of a key (dnssec-keygen(8)), which Knot and PowerDNS read as well.
fn of_bind(origin: &str, key: &Key) -> Result<[File; 2], String> {
    let pkcs8 = STANDARD
        .decode(&key.pkcs8)
        .map_err(|error| error.to_string())?;
    let secret = SecretKey::from_pkcs8_der(&pkcs8).map_err(|error| error.to_string())?;
    let point = secret.public_key().to_sec1_point(false);
    // Without the octet that says that it is not compressed (RFC 6605, section 4).
    let public = &point.as_bytes()[1..];
    let (flags, signs) = match (key.stage.get("ksk"), key.stage.get("zsk")) {
        (Some(_), None) => (257_u16, true),
        // One that is only shown signs nothing.
        (None, Some(stage)) => (256, stage.get("active").is_some()),
        _ => return Err(format!("a key of no known kind: {}", key.stage)),
    };
    let mut rdata = flags.to_be_bytes().to_vec();
    rdata.extend([3, ALGORITHM]);
    rdata.extend(public);
    let tag = tag(&rdata);
    let name = format!("dnssec/K{origin}+{ALGORITHM:03}+{tag:05}");
    let record = format!(
        "{origin} IN DNSKEY {flags} 3 {ALGORITHM} {}\n",
        STANDARD.encode(public)
    );
    // As BIND writes a time, in UTC. The day is near enough.
    let day = super::day(i64::try_from(key.created).unwrap_or_default());
    let created = format!("{}000000", day.replace('-', ""));
    let active = match signs {
        true => format!("Activate: {created}\n"),
        false => String::new(),
    };
    let private = format!(
        "Private-key-format: v1.3\nAlgorithm: {ALGORITHM} (ECDSAP256SHA256)\nPrivateKey: {}\n\
         Created: {created}\nPublish: {created}\n{active}",
        STANDARD.encode(secret.to_bytes()),
    );
    Ok([
        File {
            name: format!("{name}.key"),
            bytes: record.into_bytes(),
        },
        File {
            name: format!("{name}.private"),
            bytes: private.into_bytes(),
        },
    ])
}

/// The key's tag (RFC 4034, appendix B).
fn tag(rdata: &[u8]) -> u16 {
    let sum: u32 = (rdata.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    (sum + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `dnssec-keygen -a ECDSAP256SHA256 -f KSK example.org` of BIND 9.18 made the first, the same without `-f KSK` the second.
    #[test]
    fn a_key_becomes_what_bind_has() {
        let zone = include_str!("keys/zone.json");
        let zone: Zone = serde_json::from_str(zone).unwrap();
        let files: Vec<File> = (zone.keys.keys.iter())
            .flat_map(|key| of_bind(&zone.keys.origin, key).unwrap())
            .collect();
        let said: Vec<String> = (files.iter())
            .map(|file| format!("{}\n{}", file.name, String::from_utf8_lossy(&file.bytes)))
            .collect();
        insta::assert_snapshot!(said.join("\n"));
        let mut damaged = zone.keys.keys;
        damaged[0].pkcs8.replace_range(40..44, "AAAA");
        assert!(of_bind("example.org.", &damaged[0]).is_err());
    }
}
