//! Where the box backs up to, as people write it and as it is kept: a place in a bucket, a folder of a server, or one of
//! a USB disk that is plugged into the box.

use super::bucket::BucketTarget;
use super::sftp::SftpTarget;
use super::usb::UsbTarget;
use crate::disk::NoDisk;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a place in an S3 bucket begins with.
pub const S3: &str = "s3://";
/// What a folder of an SFTP server begins with.
pub const SFTP: &str = "sftp://";
/// What a folder of a USB disk at the box begins with.
pub const USB: &str = "usb://";
/// Longest piece of a target, in bytes. S3's own limit for a key is 1024, and names of a repository have 70.
pub(super) const MAX_PIECE: usize = 512;

/// Where the box writes backups to by itself, without the secret that opens it.
///
/// As JSON they differ by their fields, and those of a bucket are what they were before there was a second kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Target {
    /// A bucket of an S3 server.
    S3(BucketTarget),
    /// A folder of an SFTP server.
    Sftp(SftpTarget),
    /// A folder of a USB disk.
    Usb(UsbTarget),
}

impl From<BucketTarget> for Target {
    fn from(bucket: BucketTarget) -> Self {
        Self::S3(bucket)
    }
}

impl From<SftpTarget> for Target {
    fn from(server: SftpTarget) -> Self {
        Self::Sftp(server)
    }
}

impl From<UsbTarget> for Target {
    fn from(disk: UsbTarget) -> Self {
        Self::Usb(disk)
    }
}

impl Target {
    /// A bucket: [`BucketTarget::of`].
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn of(
        place: &str,
        endpoint: Option<&str>,
        region: Option<&str>,
        key_id: &str,
    ) -> Result<Self, NoTarget> {
        BucketTarget::of(place, endpoint, region, key_id).map(Self::S3)
    }

    /// Whether it can be one at all. Nothing is asked.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn check(&self) -> Result<(), NoTarget> {
        match self {
            Self::S3(bucket) => bucket.check(),
            Self::Sftp(server) => server.check(),
            Self::Usb(disk) => disk.check(),
        }
    }

    /// Whether everybody on the way can see which files come and go. What is in them is encrypted anyway.
    pub fn is_open(&self) -> bool {
        match self {
            Self::S3(bucket) => bucket.is_open(),
            Self::Sftp(_) | Self::Usb(_) => false,
        }
    }

    /// The server, for people: an address of S3, a name and a port, or which disk it is.
    pub fn server(&self) -> String {
        match self {
            Self::S3(bucket) => bucket.endpoint.clone(),
            Self::Sftp(server) => server.address(),
            Self::Usb(usb) => usb.disk.to_string(),
        }
    }
}

impl fmt::Display for Target {
    /// As people write it, e.g. `s3://backups/attic`, `sftp://roost@nas.local/backups/attic` or
    /// `usb://1A2B-3C4D/roost-backups`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3(bucket) => bucket.fmt(f),
            Self::Sftp(server) => server.fmt(f),
            Self::Usb(disk) => disk.fmt(f),
        }
    }
}

/// Why something is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    /// It begins with none of [`S3`], [`SFTP`] and [`USB`].
    #[error(
        "a place for backups begins with s3://, sftp:// or usb://, e.g. s3://BUCKET/attic, sftp://USER@HOST/attic or usb://DISK"
    )]
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
    /// Who signs in at an SFTP server.
    #[error("{0:?} is no user of a server: a place there is sftp://USER@HOST/FOLDER")]
    User(String),
    /// The SFTP server.
    #[error("{0:?} is no name or address of a server")]
    Host(String),
    /// Its port.
    #[error("{0:?} is no port")]
    Port(String),
    /// The folder there.
    #[error(
        "{0:?} is no folder for backups: it is named from the top, e.g. sftp://USER@HOST/backups/attic, or from where the account begins, e.g. sftp://USER@HOST/~/attic"
    )]
    Folder(String),
    /// The fingerprint of its host key.
    #[error(
        "{0:?} is no fingerprint of a host key: it is SHA256: and 43 letters and digits, as `ssh-keygen -l` shows it"
    )]
    HostKey(String),
    /// The disk, or the folder on it.
    #[error(transparent)]
    Disk(#[from] NoDisk),
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST_KEY: &str = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8";

    #[test]
    fn each_kind_is_known_by_its_fields() {
        let bucket = BucketTarget::of("s3://backups/attic", None, None, "AKIA1").unwrap();
        let server =
            SftpTarget::of("sftp://roost@nas.local/attic", HOST_KEY.parse().unwrap()).unwrap();
        // What a box has kept since before there was another kind.
        let kept = r#"{"endpoint":"https://s3.us-east-1.amazonaws.com","region":"us-east-1","bucket":"backups","prefix":"attic","key_id":"AKIA1"}"#;
        assert_eq!(
            serde_json::to_string(&Target::S3(bucket.clone())).unwrap(),
            kept
        );
        for target in [Target::S3(bucket), Target::Sftp(server)] {
            let json = serde_json::to_string(&target).unwrap();
            assert_eq!(serde_json::from_str::<Target>(&json).unwrap(), target);
        }
        let json = r#"{"disk":{"file_system":"vfat","id":"1A2B-3C4D","label":"BACKUP"},"folder":"roost-backups"}"#;
        let disk: Target = serde_json::from_str(json).unwrap();
        assert_eq!(disk.to_string(), "usb://1A2B-3C4D/roost-backups");
        assert_eq!(disk.server(), "BACKUP (FAT, 1A2B-3C4D)");
        assert_eq!(serde_json::to_string(&disk).unwrap(), json);
        // Neither a mixture nor half of one.
        let mixed = kept.replace('}', r#","host":"nas"}"#);
        assert!(serde_json::from_str::<Target>(&mixed).is_err());
        assert!(serde_json::from_str::<Target>(r#"{"host":"nas"}"#).is_err());
    }
}
