//! A place in a bucket of an S3 server.

use super::target::{MAX_PIECE, NoTarget, S3};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Region of servers that have only one, and Amazon's own default.
const REGION: &str = "us-east-1";

/// A place in a bucket of an S3 server, without the secret that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BucketTarget {
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

impl BucketTarget {
    /// From what a person types: `s3://BUCKET/PREFIX`, and what the server's own page says of the
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

impl fmt::Display for BucketTarget {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        place: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
    ) -> Result<BucketTarget, NoTarget> {
        BucketTarget::of(place, endpoint, region, "AKIA1")
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
            BucketTarget::of("s3://bucket", None, None, " "),
            Err(NoTarget::KeyId)
        );
    }
}
