//! A folder of an SFTP server.

use super::target::{MAX_PIECE, NoTarget, SFTP};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Port of SSH.
const SSH_PORT: u16 = 22;
/// Longest name of a user, in bytes; Linux allows 32, and directories of companies have addresses there.
const MAX_USER: usize = 128;
/// What a folder begins with that is meant from where the account begins.
const HOME: &str = "~/";

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
