//! Where the box backs up to, as people write it and as it is kept: a place in a bucket, a folder of a server, or one of
//! a USB disk that is plugged into the box.

use crate::disk::{Disk, DiskMark, NoDisk, check_folder};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// What a place in an S3 bucket begins with.
pub const S3: &str = "s3://";
/// What a folder of an SFTP server begins with.
pub const SFTP: &str = "sftp://";
/// What a folder of a USB disk at the box begins with.
pub const USB: &str = "usb://";
/// The folder on a USB disk where none is named.
const USB_FOLDER: &str = "roost-backups";
/// Region of servers that have only one, and Amazon's own default.
const REGION: &str = "us-east-1";
/// Port of SSH.
const SSH_PORT: u16 = 22;
/// Longest piece of a target, in bytes. S3's own limit for a key is 1024, and names of a repository have 70.
const MAX_PIECE: usize = 512;
/// Longest name of a user, in bytes; Linux allows 32, and directories of companies have addresses there.
const MAX_USER: usize = 128;
/// What a folder begins with that is meant from where the account begins.
const HOME: &str = "~/";

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

/// A folder of an SFTP server, without what opens it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SftpTarget {
    /// The server's name or address; one of IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who signs in there.
    pub user: String,
    /// The folder: from the top, e.g. `/backups/attic`, or from where the account begins, e.g. `~/attic`.
    pub folder: String,
    /// Fingerprint of the server's host key, as OpenSSH shows it: `SHA256:` and 43 characters. A server that
    /// shows another is not talked to.
    pub host_key: HostKey,
}

impl SftpTarget {
    /// From what a person types, `sftp://USER@HOST[:PORT]/FOLDER`, and the fingerprint that was confirmed.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn of(place: &str, host_key: HostKey) -> Result<Self, NoTarget> {
        let SftpPlace {
            host,
            port,
            user,
            folder,
        } = place.parse()?;
        Ok(Self {
            host,
            port,
            user,
            folder,
            host_key,
        })
    }

    /// Whether it can be one at all. Nothing is asked.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn check(&self) -> Result<(), NoTarget> {
        self.place().check()
    }

    /// Without the fingerprint.
    pub fn place(&self) -> SftpPlace {
        SftpPlace {
            host: self.host.clone(),
            port: self.port,
            user: self.user.clone(),
            folder: self.folder.clone(),
        }
    }

    /// Name and port, as they are written together, e.g. `nas.local:22` or `[fd00::2]:22`.
    pub fn address(&self) -> String {
        self.place().address()
    }
}

impl fmt::Display for SftpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place().fmt(f)
    }
}

/// A folder of a server of which it is not known yet which one answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpPlace {
    /// See [`SftpTarget::host`].
    pub host: String,
    /// See [`SftpTarget::port`].
    pub port: u16,
    /// See [`SftpTarget::user`].
    pub user: String,
    /// See [`SftpTarget::folder`].
    pub folder: String,
}

impl FromStr for SftpPlace {
    type Err = NoTarget;
    fn from_str(place: &str) -> Result<Self, NoTarget> {
        let place = place.trim().strip_prefix(SFTP).ok_or(NoTarget::Scheme)?;
        let (authority, folder) = place.split_once('/').unwrap_or((place, ""));
        let Some((user, server)) = authority.rsplit_once('@') else {
            return Err(NoTarget::User(String::new()));
        };
        let (host, port) = match server.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, ""))) => (host, None),
            Some(Some((host, port))) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            Some(None) => return Err(NoTarget::Host(server.to_owned())),
            None => match server.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (server, None),
            },
        };
        let port = match port {
            None => SSH_PORT,
            Some(port) => port.parse().map_err(|_| NoTarget::Port(port.to_owned()))?,
        };
        let folder = folder.trim_end_matches('/');
        let place = Self {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            folder: match folder.starts_with(HOME) {
                true => folder.to_owned(),
                false => format!("/{folder}"),
            },
        };
        place.check()?;
        Ok(place)
    }
}

impl SftpPlace {
    /// Whether it can be one at all. Nothing is asked.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn check(&self) -> Result<(), NoTarget> {
        let Self {
            host,
            port,
            user,
            folder,
        } = self;
        // What stands around it in a place, or could be taken for an option of a program.
        let of_user = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '@');
        if user.is_empty()
            || user.len() > MAX_USER
            || user.starts_with('-')
            || !user.chars().all(of_user)
        {
            return Err(NoTarget::User(user.clone()));
        }
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = !host.is_empty()
            && host.len() <= MAX_PIECE
            && !host.starts_with('-')
            && host.chars().all(of_name);
        if !is_name && host.parse::<Ipv6Addr>().is_err() {
            return Err(NoTarget::Host(host.clone()));
        }
        if *port == 0 {
            return Err(NoTarget::Port(port.to_string()));
        }
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..") && !part.starts_with('~') && !part.contains(odd)
        };
        let below = folder
            .strip_prefix(HOME)
            .or_else(|| folder.strip_prefix('/'));
        match below {
            Some(below) if folder.len() <= MAX_PIECE && below.split('/').all(plain) => Ok(()),
            _ => Err(NoTarget::Folder(folder.clone())),
        }
    }

    /// Name and port, as they are written together.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The folder as the server understands it: a path that begins with no slash is from where the account begins.
    pub fn path(&self) -> &str {
        self.folder.strip_prefix(HOME).unwrap_or(&self.folder)
    }
}

/// What no folder's name has in it: what has a meaning in an address, and what a terminal would obey.
fn odd(c: char) -> bool {
    c.is_control() || matches!(c, '?' | '#' | '%' | '\\')
}

impl fmt::Display for SftpPlace {
    /// As people write it: without the usual port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address();
        let address = match self.port {
            SSH_PORT => address.strip_suffix(":22").unwrap_or(&address),
            _ => &address,
        };
        let slash = match self.folder.starts_with('/') {
            true => "",
            false => "/",
        };
        write!(f, "{SFTP}{}@{address}{slash}{}", self.user, self.folder)
    }
}

/// A folder of a USB disk that is plugged into the box, now and then or always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UsbTarget {
    /// By what the disk is known again. Another one is not written to.
    pub disk: DiskMark,
    /// The folder on it, e.g. `roost-backups`.
    pub folder: String,
}

impl UsbTarget {
    /// Whether it can be one at all. Nothing is asked.
    ///
    /// # Errors
    /// [`NoTarget::Disk`].
    pub fn check(&self) -> Result<(), NoTarget> {
        self.disk.check()?;
        Ok(check_folder(&self.folder)?)
    }
}

impl fmt::Display for UsbTarget {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{USB}{}/{}", self.disk.id, self.folder)
    }
}

/// A folder of a USB disk, as somebody names it who sees which disks are plugged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbPlace {
    /// The number or the name of its file system; may be empty, if there is but one.
    pub disk: String,
    /// The folder.
    pub folder: String,
}

impl Default for UsbPlace {
    /// The only disk, and the usual folder.
    fn default() -> Self {
        Self {
            disk: String::new(),
            folder: USB_FOLDER.to_owned(),
        }
    }
}

impl FromStr for UsbPlace {
    type Err = NoTarget;
    fn from_str(place: &str) -> Result<Self, NoTarget> {
        let place = place.trim().strip_prefix(USB).ok_or(NoTarget::Scheme)?;
        let (disk, folder) = place.split_once('/').unwrap_or((place, ""));
        let folder = match folder.trim_end_matches('/') {
            "" => USB_FOLDER,
            folder => folder,
        };
        check_folder(folder)?;
        Ok(Self {
            disk: disk.to_owned(),
            folder: folder.to_owned(),
        })
    }
}

impl UsbPlace {
    /// Those of the disks that it may mean, and that the box can back up to.
    pub fn among<'a>(&self, disks: &'a [Disk]) -> Vec<&'a Disk> {
        let meant = |disk: &&Disk| disk.usable().is_some_and(|mark| self.means(mark));
        disks.iter().filter(meant).collect()
    }

    /// Whether it may mean this one.
    pub fn means(&self, disk: &DiskMark) -> bool {
        self.disk.is_empty() || disk.id.eq_ignore_ascii_case(&self.disk) || disk.label == self.disk
    }

    /// The folder on this disk.
    pub fn on(&self, disk: &DiskMark) -> UsbTarget {
        UsbTarget {
            disk: disk.clone(),
            folder: self.folder.clone(),
        }
    }
}

/// Fingerprint of a server's host key, as OpenSSH shows it: `SHA256:` and the hash in Base64 without padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct HostKey(String);

impl FromStr for HostKey {
    type Err = NoTarget;
    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let text = text.trim();
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
        match text.strip_prefix("SHA256:") {
            Some(hash) if hash.len() == 43 && hash.chars().all(is_base64) => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(NoTarget::HostKey(text.to_owned())),
        }
    }
}

impl TryFrom<String> for HostKey {
    type Error = NoTarget;
    fn try_from(text: String) -> Result<Self, NoTarget> {
        text.parse()
    }
}

impl From<HostKey> for String {
    fn from(key: HostKey) -> Self {
        key.0
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

/// The access key's other half, or a password of an SFTP server. `Debug` does not show it, and nothing that leaves the service has one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(feature = "openapi", schema(value_type = String))]
pub struct Secret(String);

impl TryFrom<String> for Secret {
    type Error = String;
    /// Either kind: which one it has to be, only who knows the target can tell.
    fn try_from(text: String) -> Result<Self, String> {
        Self::password(&text).map_err(str::to_owned)
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl Secret {
    /// For whoever signs, or signs in.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// A password, without the line feed of a file: unlike a secret key it may have blanks and any letters.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub fn password(text: &str) -> Result<Self, &'static str> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        match (text.is_empty(), text.len() > MAX_PIECE) {
            (true, _) => Err("there is none"),
            (_, true) => Err("it is too long for one"),
            _ if text.chars().any(char::is_control) => {
                Err("it has characters in it that no keyboard has")
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl FromStr for Secret {
    type Err = &'static str;
    /// A secret key, without the line feed of a file, and the blanks that come along when something is copied.
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

    const HOST_KEY: &str = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8";

    fn sftp(place: &str) -> Result<SftpTarget, NoTarget> {
        SftpTarget::of(place, HOST_KEY.parse()?)
    }

    #[test]
    fn a_folder_of_a_server_is_written_as_everywhere() {
        for (place, host, port, path) in [
            (
                "sftp://roost@nas.local/volume1/My backups/attic",
                "nas.local",
                22,
                "/volume1/My backups/attic",
            ),
            (
                "sftp://roost@192.168.1.2:2222/attic",
                "192.168.1.2",
                2222,
                "/attic",
            ),
            ("sftp://roost@[fd00::2]/attic", "fd00::2", 22, "/attic"),
            ("sftp://roost@[fd00::2]:2222/~/a/b", "fd00::2", 2222, "a/b"),
        ] {
            let target = sftp(&format!("{place}/")).unwrap();
            assert_eq!(target.to_string(), place);
            assert_eq!((target.host.as_str(), target.port), (host, port));
            assert_eq!(
                (target.user.as_str(), target.place().path()),
                ("roost", path)
            );
            assert_eq!(target.check(), Ok(()));
        }
        let target = sftp("sftp://roost@[fd00::2]/attic").unwrap();
        assert_eq!(target.address(), "[fd00::2]:22");
    }

    #[test]
    fn what_would_lead_elsewhere_at_a_server_is_refused() {
        for user in ["", "-oProxyCommand=x", "a b", "a:b", "a@b"] {
            let no = sftp(&format!("sftp://{user}@nas/x"));
            assert_eq!(no, Err(NoTarget::User(user.into())), "{user}");
        }
        assert_eq!(sftp("sftp://nas/x"), Err(NoTarget::User(String::new())));
        for host in ["", "-x", "a b", "a_b!", "[fd00", "fd00::2::1"] {
            let no = sftp(&format!("sftp://roost@{host}/x")).unwrap_err();
            assert!(
                matches!(no, NoTarget::Host(_) | NoTarget::Port(_)),
                "{host}: {no}"
            );
        }
        for port in ["0", "70000", "x", ""] {
            let no = sftp(&format!("sftp://roost@nas:{port}/x"));
            assert_eq!(no, Err(NoTarget::Port(port.into())));
        }
        for folder in [
            "", "a/../b", "a//b", "~", "~/", "~root/x", "a/~", "a?b", "a%2fb", "a\tb",
        ] {
            let no = sftp(&format!("sftp://roost@nas/{folder}"));
            assert!(matches!(no, Err(NoTarget::Folder(_))), "{folder}: {no:?}");
        }
        for key in [
            "",
            "SHA256:",
            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
            "SHA256:a b",
        ] {
            assert_eq!(key.parse::<HostKey>(), Err(NoTarget::HostKey(key.into())));
        }
    }

    #[test]
    fn each_kind_is_known_by_its_fields() {
        let bucket = of("s3://backups/attic", None, None).unwrap();
        let server = sftp("sftp://roost@nas.local/attic").unwrap();
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

    #[test]
    fn a_disk_is_named_by_its_number_or_its_name() {
        let disk = |id: &str, label: &str, problem: Option<&str>| Disk {
            name: "sda1".into(),
            model: "A stick".into(),
            bytes: 1,
            mark: Some(DiskMark {
                file_system: crate::disk::FileSystem::Vfat,
                id: id.into(),
                label: label.into(),
            }),
            problem: problem.map(str::to_owned),
            hint: None,
        };
        let disks = [
            disk("1A2B-3C4D", "BACKUP", None),
            disk("0000-0001", "HOLIDAY", None),
            disk("0000-0002", "BACKUP", Some("it can only be read")),
        ];
        let of = |place: &str| {
            let place: UsbPlace = place.parse()?;
            let found = place.among(&disks).into_iter();
            let all = found.filter_map(Disk::usable);
            Ok::<_, NoTarget>(
                all.map(|mark| place.on(mark).to_string())
                    .collect::<Vec<_>>(),
            )
        };
        let backup = "usb://1A2B-3C4D/roost-backups";
        for place in [
            "usb://1a2b-3c4d",
            "usb://BACKUP/",
            "usb://1A2B-3C4D/roost-backups",
        ] {
            assert_eq!(of(place).unwrap(), [backup], "{place}");
        }
        assert_eq!(
            of("usb://HOLIDAY/attic").unwrap(),
            ["usb://0000-0001/attic"]
        );
        assert_eq!(of("usb://").unwrap().len(), 2);
        assert_eq!(of("usb://NONE").unwrap(), [""; 0]);
        assert_eq!(of("/media/stick"), Err(NoTarget::Scheme));
        assert!(matches!(of("usb://BACKUP/../x"), Err(NoTarget::Disk(_))));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret: Secret = " wJalr+XUtn/FEMI\n".parse().unwrap();
        assert_eq!(secret.reveal(), "wJalr+XUtn/FEMI");
        assert!(!format!("{secret:?}").contains("wJalr"));
        assert!("".parse::<Secret>().is_err() && "a b".parse::<Secret>().is_err());
        let password = Secret::password(" b\u{e4}r wolf\r\n").unwrap();
        assert_eq!(password.reveal(), " b\u{e4}r wolf");
        assert!(Secret::password("\n").is_err() && Secret::password("a\tb").is_err());
    }
}
