//! What opens a target: a secret key or a password.

use super::target::MAX_PIECE;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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
