//! What is in a backup, told by the backup itself: its last file, [`NAME`].
//!
//! The hashes were made of the bytes as they came from the services, before the library saw them. So
//! comparing them with what comes back out proves the whole way, library included.

use serde::{Deserialize, Serialize};

/// The file, in the snapshot's root.
pub const NAME: &str = "manifest.json";
/// The folder beside it: the box's data partition, as far as it is in a backup.
pub const DATA: &str = "data";
/// The newest form that this code reads.
pub const FORMAT: u32 = 1;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Form of this file.
    pub format: u32,
    /// What the box calls itself.
    pub name: String,
    /// Version of its image, e.g. `0.1.0+12`.
    pub version: String,
    /// When it was made, in seconds since 1970, by the clock of whoever asked for it.
    pub made_s: u64,
    /// The services that handed something over.
    pub services: Vec<Service>,
    /// Every file, in the order of `roost_service::snapshot::order`.
    pub files: Vec<FileOf>,
}

/// A service that handed something over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The format of what it keeps: an image with a lower one cannot use it.
    pub data_format: u32,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileOf {
    /// Below [`DATA`], e.g. `services/mail/mail.sqlite3`.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
}

impl Contents {
    /// Bytes of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The service whose folder a file lies in.
    pub fn owner(path: &str) -> Option<&str> {
        path.strip_prefix("services/")?.split('/').next()
    }

    /// As the file has it.
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers: it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the file, and looks whether its paths stay below their folder.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let form: Form = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if form.format > FORMAT {
            return Err(format!(
                "it has form {}, and this program reads up to {FORMAT}",
                form.format
            ));
        }
        let contents: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        for file in &contents.files {
            if !roost_service::snapshot::is_plain(&file.path) || file.mode & !0o777 != 0 {
                return Err(format!("{:?} is no path of a backup", file.path));
            }
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_or_is_newer_is_refused() {
        let contents = |path: &str| Contents {
            format: FORMAT,
            name: "roost".into(),
            version: "1".into(),
            made_s: 0,
            services: vec![],
            files: vec![FileOf {
                path: path.into(),
                mode: 0o600,
                size: 0,
                sha256: "0".repeat(64),
            }],
        };
        let good = contents("services/mail/x");
        assert_eq!(Contents::parse(&good.to_json()).as_ref(), Ok(&good));
        assert!(Contents::parse(&contents("../../etc/passwd").to_json()).is_err());
        let mut newer = good;
        newer.format += 1;
        assert_eq!(
            Contents::parse(&newer.to_json()).unwrap_err(),
            "it has form 2, and this program reads up to 1"
        );
        assert_eq!(Contents::owner("services/mail/a/b"), Some("mail"));
        assert_eq!(Contents::owner("settings/chosen.json"), None);
    }
}
