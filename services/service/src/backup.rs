//! The backup service, as others see it.
//!
//! - Laptops reach it by the device API, whose connection becomes the service's own ([`UPGRADE`], [`socket`]).
//!   What is said there stands in `services/backup/repository/src/wire.rs`.
//! - The portal asks it at another socket, [`door`]: a [`Call`] as a line of JSON, an [`Answer`] as a line.
//!
//! A [`Target`] is where the box writes backups to by itself. Its secret travels in one direction only:
//! no answer has a field for it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The spec's name of the service.
pub const SERVICE: &str = "backup";
/// Path of the device API.
pub const PATH: &str = "/api/v1/backup";
/// The protocol's name in the header `Upgrade`.
pub const UPGRADE: &str = "roost-backup/1";
/// Longest [`Call`] as JSON, in bytes, the line feed included.
pub const MAX_CALL: usize = 16 << 10;
/// The file in the service's data folder that has a [`Kept`], as JSON.
pub const TARGET_FILE: &str = "target.json";
/// Where a place in an S3 bucket begins with.
pub const S3: &str = "s3://";
/// Region of servers that have only one, and Amazon's own default.
const REGION: &str = "us-east-1";
/// Longest piece of a target, in bytes. S3's own limit for a key is 1024, and names of a repository have 70.
const MAX_PIECE: usize = 512;

/// The service's socket, to which the portal pipes laptops.
pub fn socket() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("laptops.sock")
}

/// The service's socket for the portal's own questions.
pub fn door() -> PathBuf {
    crate::spec::run_folder(SERVICE).join("portal.sock")
}

/// A place in a bucket of an S3 server, without the secret that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The server's address, e.g. `https://s3.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// Its region, which is part of every signature.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// What the names of all files begin with, without slashes at its ends; may be empty.
    #[serde(default)]
    pub prefix: String,
    /// The access key's public half.
    pub key_id: String,
}

/// Why something is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// It does not begin with [`S3`].
    #[error("a place for backups begins with s3://, e.g. s3://BUCKET/attic")]
    Scheme,
    /// The bucket's name.
    #[error("{0:?} is no name of a bucket: it has 3 to 63 letters, digits, dots and hyphens")]
    Bucket(String),
    /// The prefix.
    #[error("{0:?} cannot be the beginning of names in a bucket")]
    Prefix(String),
    /// The address.
    #[error("{0:?} is no address of a server: it begins with https:// or http://, and has no path")]
    Endpoint(String),
    /// The region.
    #[error("{0:?} is no region")]
    Region(String),
    /// The key.
    #[error("the name of the access key is missing, or is none")]
    KeyId,
}

impl Target {
    /// A target from what a person types: `s3://BUCKET/PREFIX`, and what the server's own page says of the
    /// key. Without an endpoint it is Amazon's; without a region, the one in the endpoint's name or S3's default.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn of(
        place: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
        key_id: &str,
    ) -> Result<Self, NoTarget> {
        let given = |text: Option<&str>| {
            let text = text.map(str::trim).filter(|text| !text.is_empty());
            // One slash at the end is what browsers show behind a host.
            text.map(|text| match text.strip_suffix('/') {
                Some(host) if !host.ends_with('/') => host.to_owned(),
                _ => text.to_owned(),
            })
        };
        let place = place.trim().strip_prefix(S3).ok_or(NoTarget::Scheme)?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let (endpoint, region) = match (given(endpoint), given(region)) {
            (Some(endpoint), region) => {
                let region = region.or_else(|| region_of(&endpoint));
                (endpoint, region.unwrap_or_else(|| REGION.to_owned()))
            }
            (None, region) => {
                let region = region.unwrap_or_else(|| REGION.to_owned());
                (format!("https://s3.{region}.amazonaws.com"), region)
            }
        };
        let target = Self {
            endpoint,
            region,
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            key_id: key_id.trim().to_owned(),
        };
        target.check()?;
        Ok(target)
    }

    /// Whether it can be one at all. Nothing is asked.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn check(&self) -> Result<(), NoTarget> {
        let word = |text: &str, also: &[char]| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || also.contains(&c))
        };
        // First: Amazon's address has it in it.
        if self.region.is_empty() || self.region.len() > 63 || !word(&self.region, &['-', '_']) {
            return Err(NoTarget::Region(self.region.clone()));
        }
        let host = host(&self.endpoint).filter(|host| {
            // A name or an address, and a port; an IPv6 address stands in brackets.
            let may =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
            !host.is_empty() && host.len() <= MAX_PIECE && host.chars().all(may)
        });
        if host.is_none() {
            return Err(NoTarget::Endpoint(self.endpoint.clone()));
        }
        if !(3..=63).contains(&self.bucket.len())
            || !word(&self.bucket, &['.', '-'])
            // These lead elsewhere in a path.
            || self.bucket.contains("..")
            || self.bucket.starts_with(['.', '-'])
        {
            return Err(NoTarget::Bucket(self.bucket.clone()));
        }
        let plain = |part: &str| {
            !part.is_empty() && part != "." && part != ".." && word(part, &['.', '-', '_'])
        };
        if self.prefix.len() > MAX_PIECE
            || !(self.prefix.is_empty() || self.prefix.split('/').all(plain))
        {
            return Err(NoTarget::Prefix(self.prefix.clone()));
        }
        let is_key = |c: char| c.is_ascii_graphic() && c != '/';
        if self.key_id.is_empty()
            || self.key_id.len() > MAX_PIECE
            || !self.key_id.chars().all(is_key)
        {
            return Err(NoTarget::KeyId);
        }
        Ok(())
    }

    /// Whether everybody on the way can see which files come and go. What is in them is encrypted anyway.
    pub fn is_open(&self) -> bool {
        self.endpoint.starts_with("http://")
    }
}

impl fmt::Display for Target {
    /// As people write it, e.g. `s3://backups/attic`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{S3}{}", self.bucket)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(f, "/{prefix}"),
        }
    }
}

fn host(endpoint: &str) -> Option<&str> {
    let (scheme, host) = endpoint.split_once("://")?;
    matches!(scheme, "https" | "http").then_some(host)
}

/// The region in names like `s3.eu-central-1.amazonaws.com` and `s3.us-west-004.backblazeb2.com`.
fn region_of(endpoint: &str) -> Option<String> {
    let labels: Vec<&str> = host(endpoint)?.split('.').collect();
    match labels[..] {
        ["s3", region, _, _, ..] => Some(region.to_owned()),
        _ => None,
    }
}

/// The access key's other half. `Debug` does not show it, and nothing that leaves the service has one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct Secret(String);

impl TryFrom<String> for Secret {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(str::to_owned)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl Secret {
    /// For whoever signs.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = &'static str;
    /// Without the line feed of a file, and the blanks that come along when something is copied.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        match (text.is_empty(), text.len() > MAX_PIECE) {
            (true, _) => Err("there is none"),
            (_, true) => Err("it is too long for one"),
            _ if !text.chars().all(|c| c.is_ascii_graphic()) => {
                Err("it has blanks or letters in it that no secret key has")
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What the service keeps of a target, in [`TARGET_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Where.
    pub target: Target,
    /// What opens it.
    pub secret: Secret,
    /// Whether the key may remove files there, as far as was seen when it was set.
    pub removes: bool,
}

/// What the portal asks. Each changes something or tells something, and none gives the target's secret away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub enum Call {
    /// How backups stand: [`Answer::Status`].
    Status,
    /// The recovery code: [`Answer::Code`].
    Code,
    /// Try this target, and if it works back up to it from now on: [`Answer::Done`].
    Set {
        /// Where.
        target: Target,
        /// What opens it.
        secret: Secret,
    },
    /// Back up to no target any more. What lies there stays: [`Answer::Done`].
    Remove,
    /// Begin a backup now: [`Answer::Done`].
    Now,
    /// Begin a proof now: [`Answer::Done`].
    Prove,
}

/// What comes back.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To [`Call::Status`].
    Status(Box<BackupStatus>),
    /// To [`Call::Code`].
    Code {
        /// Its words.
        words: String,
    },
    /// It is done, or begun.
    Done,
    /// It is not.
    Refused {
        /// Why, in plain words.
        why: String,
        /// What to do.
        hint: Option<String>,
    },
}

/// How backups stand. Times are in seconds since 1970. Fields may be added; a reader skips those that it
/// does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupStatus {
    /// Where the box backs up to by itself; none was set if missing.
    pub target: Option<Target>,
    /// Whether the box forgets old backups there: its key may remove them.
    pub forgets: bool,
    /// The newest backup that it has made there.
    pub made: Option<Made>,
    /// Why the last try failed, until one succeeds.
    pub failure: Option<BackupFailure>,
    /// What the last proof has found.
    pub proof: Option<Proof>,
    /// Why the last proof came to no end, until one does.
    #[serde(default)]
    pub proof_failure: Option<BackupFailure>,
    /// When old backups were last forgotten.
    pub forgotten_at: Option<u64>,
    /// Why that failed since, if it did.
    #[serde(default)]
    pub forget_failure: Option<BackupFailure>,
    /// When the next backup is due; `None`: not known while the clock is not set.
    pub next_at: Option<u64>,
    /// What is under way.
    pub running: Option<Running>,
    /// The newest backup that a laptop has fetched.
    pub fetched: Option<Made>,
}

impl BackupStatus {
    /// The newest backup, wherever it is.
    pub fn newest(&self) -> Option<&Made> {
        let all = self.made.iter().chain(&self.fetched);
        all.max_by_key(|made| made.at)
    }
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Made {
    /// When.
    pub at: u64,
    /// Its name: 64 hexadecimal digits.
    pub id: String,
    /// How many files it has.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Bytes that it added to the repository.
    pub added: u64,
    /// SHA-256 of its list of files and hashes, 64 hexadecimal digits: the proof compares the one in the
    /// backup with this.
    pub manifest: String,
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackupFailure {
    /// When.
    pub at: u64,
    /// How often in a row.
    pub times: u32,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What a proof has found: the newest backup was read back, and every file's hash compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Proof {
    /// When.
    pub at: u64,
    /// Of which backup.
    pub id: String,
    /// How many files came back as they went in.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What was wrong; nothing if missing.
    pub fault: Option<String>,
}

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Running {
    /// What.
    pub what: Work,
    /// Bytes read so far.
    pub read: u64,
    /// Bytes that there are to read; 0: not known yet.
    pub of: u64,
}

/// What the service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// It makes a backup.
    Backup,
    /// It reads one back.
    Proof,
    /// It removes what no backup needs any more.
    Forgetting,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(place: &str, endpoint: Option<&str>, region: Option<&str>) -> Result<Target, NoTarget> {
        Target::of(place, endpoint, region, "AKIA1")
    }

    #[test]
    fn a_target_is_what_people_copy_from_their_server() {
        let amazon = of("s3://backups/attic/", None, Some("eu-central-1")).unwrap();
        assert_eq!(amazon.endpoint, "https://s3.eu-central-1.amazonaws.com");
        assert_eq!(amazon.to_string(), "s3://backups/attic");
        let other = of(
            "s3://backups",
            Some("https://s3.us-west-004.backblazeb2.com/"),
            None,
        )
        .unwrap();
        assert_eq!(other.region, "us-west-004");
        assert_eq!(other.endpoint, "https://s3.us-west-004.backblazeb2.com");
        assert_eq!(other.to_string(), "s3://backups");
        let nas = of("s3://backups/a/b", Some("http://192.168.1.2:9000"), None).unwrap();
        assert_eq!((nas.region.as_str(), nas.is_open()), ("us-east-1", true));
        assert_eq!(nas.prefix, "a/b");
    }

    #[test]
    fn what_would_lead_elsewhere_is_refused() {
        for place in ["backups", "s3:/b", "/mnt/x", ""] {
            assert_eq!(of(place, None, None), Err(NoTarget::Scheme), "{place}");
        }
        for bucket in ["ab", "a..b", "-abc", "a b c", "a?b=c", ""] {
            let no = of(&format!("s3://{bucket}/x"), None, None);
            assert_eq!(no, Err(NoTarget::Bucket(bucket.into())));
        }
        for prefix in ["a/../b", "a//b", "..", "a?b", "a%2fb", "ä"] {
            let no = of(&format!("s3://bucket/{prefix}"), None, None);
            assert_eq!(no, Err(NoTarget::Prefix(prefix.into())));
        }
        for endpoint in [
            "ftp://a",
            "https://",
            "https://a/b",
            "https://u:p@a",
            "a.example",
            "https://a?b",
        ] {
            let no = of("s3://bucket", Some(endpoint), None);
            assert_eq!(no, Err(NoTarget::Endpoint(endpoint.into())));
        }
        assert!(matches!(
            of("s3://bucket", None, Some("a b")),
            Err(NoTarget::Region(_))
        ));
        assert_eq!(
            Target::of("s3://bucket", None, None, " "),
            Err(NoTarget::KeyId)
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret: Secret = " wJalr+XUtn/FEMI\n".parse().unwrap();
        assert_eq!(secret.reveal(), "wJalr+XUtn/FEMI");
        let call = Call::Set {
            target: of("s3://backups", None, None).unwrap(),
            secret,
        };
        assert!(!format!("{call:?}").contains("wJalr"));
        assert!("".parse::<Secret>().is_err() && "a b".parse::<Secret>().is_err());
    }
}
