//! Passwords: taken from the user or made here, and turned into the hash that `roost.toml` holds.

use crate::ask::{can_ask, no_answer};
use crate::cli::{PasswordArgs, PasswordSource};
use crate::config::hash::PasswordHash;
use crate::config::page;
use crate::error::Failure;
use crate::ui::{Mode, Ui};
use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::Serialize;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// Shortest password that a person may choose, in letters (NIST SP 800-63B section 3.1.1.2
/// asks for 8 at least). The box slows guessing down.
const MIN_LETTERS: usize = 8;
/// Longest password in bytes: SASL mechanisms and mail programs cut or refuse longer ones.
const MAX_BYTES: usize = 255;
/// Crockford's base 32: no two letters look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Groups and letters in each of a generated password: 20 × 5 bits = 100 bits.
const GROUPS: [usize; 4] = [5; 4];

/// A password in clear; it never reaches a file, a log or a `Debug` text.
pub struct Password {
    text: String,
    /// Whether it was made here and must be shown.
    generated: bool,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl Password {
    /// Checks a password that a person chose; the message does not repeat it.
    pub fn chosen(text: &str) -> Result<Self, String> {
        if text.chars().count() < MIN_LETTERS {
            return Err(format!("the password has fewer than {MIN_LETTERS} letters"));
        }
        if text.len() > MAX_BYTES {
            return Err(format!("the password is longer than {MAX_BYTES} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err(
                "the password holds control characters, which mail programs cannot send".to_owned(),
            );
        }
        if text.chars().all(|c| text.starts_with(c)) {
            return Err("the password is one letter repeated".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            generated: false,
        })
    }

    /// Makes a password of 100 random bits, easy to type from paper.
    pub fn generate() -> Result<Self, Failure> {
        let mut text = String::new();
        for letters in GROUPS {
            if !text.is_empty() {
                text.push('-');
            }
            // 256 is a multiple of 32, so the low five bits are as evenly spread as the byte.
            let bytes = random::<5>()?;
            text.extend(
                bytes[..letters]
                    .iter()
                    .map(|b| char::from(ALPHABET[usize::from(b & 31)])),
            );
        }
        Ok(Self {
            text,
            generated: true,
        })
    }

    /// The text, if it was made here and has to be shown once.
    pub fn to_show(&self) -> Option<&str> {
        self.generated.then_some(self.text.as_str())
    }

    /// The password's hash, with a salt of its own each time.
    pub fn hash(&self) -> Result<PasswordHash, Failure> {
        let damaged = |e: &dyn fmt::Display| {
            Failure::new("cannot make the password's hash").because(e.to_string())
        };
        // OWASP's smallest equivalent of its Argon2id recommendation: a Pi with 1 GB checks
        // several log-ins at once, at 7 MiB each.
        let params = Params::new(7168, 5, 1, None).map_err(|e| damaged(&e))?;
        let salt = SaltString::encode_b64(&random::<16>()?).map_err(|e| damaged(&e))?;
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(self.text.as_bytes(), &salt)
            .map_err(|e| damaged(&e))?;
        PasswordHash::parse(&hash.to_string()).map_err(|reason| damaged(&reason.message))
    }
}

/// Bytes of the system's random generator.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::new("the system gives no random numbers").because(e))?;
    Ok(bytes)
}

/// Takes a password from where the options say, or asks for it.
pub fn obtain(source: &PasswordSource, ui: &Ui) -> Result<Password, Failure> {
    if source.generate_password {
        return Password::generate();
    }
    let password = match &source.password_file {
        Some(path) => Password::chosen(&first_line(path)?).map_err(|why| {
            Failure::usage(format!("cannot use the password from {}", name_of(path))).because(why)
        })?,
        None if can_ask(ui) => ask()?,
        None => {
            return Err(Failure::usage(
                "no password was given, and there is no terminal to ask for it",
            )
            .hint("add --generate-password, or --password-file FILE"));
        }
    };
    if !password.text.is_ascii() {
        ui.warn("the password has letters beyond ASCII: some mail programs send them in another encoding");
    }
    Ok(password)
}

fn ask() -> Result<Password, Failure> {
    let text = dialoguer::Password::new()
        .with_prompt("Password (empty: make one)")
        .with_confirmation("The same again", "They differ, once more")
        .allow_empty_password(true)
        .validate_with(|text: &String| {
            if text.is_empty() {
                Ok(())
            } else {
                Password::chosen(text).map(drop)
            }
        })
        .interact()
        .map_err(no_answer)?;
    match text.as_str() {
        "" => Password::generate(),
        chosen => Password::chosen(chosen).map_err(Failure::usage),
    }
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

pub fn first_line(path: &Path) -> Result<String, Failure> {
    let unreadable = |e: std::io::Error| {
        Failure::usage(format!("cannot read the password from {}", name_of(path))).because(e)
    };
    let mut text = String::new();
    // A password's file has one short line; reading stops long before memory runs out.
    let limit = 64 << 10;
    if path == Path::new("-") {
        std::io::stdin()
            .take(limit)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else {
        std::fs::File::open(path)
            .and_then(|f| f.take(limit).read_to_string(&mut text))
            .map_err(unreadable)?;
    }
    let line = text.split('\n').next().unwrap_or_default();
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// `roost password`.
pub fn run(args: &PasswordArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Made<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        password: Option<&'a str>,
        password_hash: &'a str,
    }
    let password = obtain(&args.source, ui)?;
    let hash = password.hash()?;
    if let Some(text) = password.to_show() {
        // Beside the result, which is meant to be piped or copied.
        if ui.mode() != Mode::Json {
            eprintln!("The password, shown only now:  {text}");
        }
    }
    let line = format!("password_hash = {}", page::quoted(hash.as_str()));
    ui.result(
        line,
        &Made {
            password: password.to_show(),
            password_hash: hash.as_str(),
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::password_hash::{self, PasswordVerifier};

    #[test]
    fn a_hash_fits_its_password_only() {
        let password = Password::chosen("correct horse").unwrap();
        let (one, two) = (password.hash().unwrap(), password.hash().unwrap());
        assert!(one.as_str().starts_with("$argon2id$v=19$m=7168,t=5,p=1$"));
        assert_ne!(one, two, "each hash has a salt of its own");
        let parsed = password_hash::PasswordHash::new(one.as_str()).unwrap();
        assert!(
            Argon2::default()
                .verify_password(b"correct horse", &parsed)
                .is_ok()
        );
        assert!(
            Argon2::default()
                .verify_password(b"correct horsf", &parsed)
                .is_err()
        );
    }

    #[test]
    fn generated_passwords_differ_and_are_typeable() {
        let one = Password::generate().unwrap();
        let text = one.to_show().unwrap();
        assert_eq!(text.len(), 23);
        assert!(
            text.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        );
        assert_ne!(Some(text), Password::generate().unwrap().to_show());
        assert!(Password::chosen(text).is_ok());
    }

    #[test]
    fn bad_passwords_are_refused_without_being_repeated() {
        for bad in [
            "",
            "short",
            "aaaaaaaaaaaa",
            "tab\tinside it",
            &"x1".repeat(200),
        ] {
            let why = Password::chosen(bad).unwrap_err();
            assert!(bad.is_empty() || !why.contains(bad));
        }
        assert_eq!(
            format!("{:?}", Password::chosen("correct horse").unwrap()),
            "Password(…)"
        );
    }
}
