//! Keys: the box's own pair, made here and kept here, and the relay's public one.
//!
//! The private key exists in the file [`FILE`] and in this program's memory. It has neither `Debug`
//! nor `Display` nor `Serialize`, so that no log, status or answer can have it by mistake.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use boringtun::x25519;
use roost_service::files::{self, MODE};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Name of the private key's file in the service's data folder.
pub const FILE: &str = "private.key";
/// Bytes of a key.
const LENGTH: usize = 32;
/// Characters of a key in base64.
const TEXT: usize = 44;

/// A key of the other side, or the box's own to show. It is not the neutral point, with which
/// anybody could have made the handshake (RFC 7748, section 6.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; LENGTH]);

/// Why a text is no [`PublicKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has other characters, or another number of them.
    #[error("a key has 44 characters of base64, as `wg pubkey` prints them")]
    Form,
    /// Nothing can be agreed on with it.
    #[error("it is of the few keys that protect nothing")]
    Weak,
}

impl PublicKey {
    /// Reads base64.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() != TEXT {
            return Err(KeyError::Form);
        }
        let bytes = BASE64_STANDARD.decode(text).map_err(|_| KeyError::Form)?;
        let key: [u8; LENGTH] = bytes.try_into().map_err(|_| KeyError::Form)?;
        // A point of small order takes every private key to zero.
        let any = x25519::StaticSecret::from([0x42; LENGTH]);
        let shared = any.diffie_hellman(&x25519::PublicKey::from(key));
        if !shared.was_contributory() {
            return Err(KeyError::Weak);
        }
        Ok(Self(key))
    }

    /// The bytes.
    pub fn bytes(&self) -> [u8; LENGTH] {
        self.0
    }

    /// For boringtun.
    pub fn point(&self) -> x25519::PublicKey {
        self.0.into()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The box's own key. Dropping it clears its memory.
#[derive(Clone)]
pub struct PrivateKey(x25519::StaticSecret);

impl PrivateKey {
    /// Makes one.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn make() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        getrandom::fill(bytes.as_mut()).map_err(io::Error::from)?;
        Ok(Self(x25519::StaticSecret::from(*bytes)))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519::PublicKey::from(&self.0).to_bytes())
    }

    /// For boringtun.
    pub fn secret(&self) -> x25519::StaticSecret {
        self.0.clone()
    }

    /// For the kernel.
    pub(crate) fn bytes(&self) -> Zeroizing<[u8; LENGTH]> {
        Zeroizing::new(self.0.to_bytes())
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let mut bytes = Zeroizing::new([0; LENGTH + 1]);
        let length = BASE64_STANDARD.decode_slice(text, bytes.as_mut()).ok()?;
        let key: Zeroizing<[u8; LENGTH]> = Zeroizing::new(bytes[..length].try_into().ok()?);
        // All zeros is what a file is after a power cut in other programs' hands.
        (*key != [0; LENGTH]).then(|| Self(x25519::StaticSecret::from(*key)))
    }
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is there and holds no key. It stays: a new key would be another box to the relay.
    #[error(
        "{} holds no private key ({TEXT} characters of base64): put the right file back, or delete it and tell the relay the new public key",
        .0.display()
    )]
    NoKey(PathBuf),
    /// It cannot be read or written.
    #[error("{what} {}: {why}", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
}

/// Reads the box's key from `folder`; the first time, makes it.
///
/// When this returns, the key is on the medium: what the owner gives to the relay outlives a power
/// cut a moment later.
///
/// # Errors
/// [`FileError`].
pub fn load_or_make(folder: &Path) -> Result<PrivateKey, FileError> {
    let path = folder.join(FILE);
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |why| FileError::Io { what, path, why }
    };
    match File::open(&path) {
        Ok(mut file) => {
            let meta = file.metadata().map_err(io("read", &path))?;
            if meta.permissions().mode() & 0o077 != 0 {
                println!("tunnel: {} was readable by others", path.display());
                file.set_permissions(fs::Permissions::from_mode(MODE))
                    .map_err(io("close to others", &path))?;
            }
            // Room for all of it at once: growing would leave copies behind.
            let mut text = Zeroizing::new(String::with_capacity(2 * TEXT));
            (&mut file)
                .take(TEXT as u64 + 2)
                .read_to_string(&mut text)
                .map_err(|why| match why.kind() {
                    io::ErrorKind::InvalidData => FileError::NoKey(path.clone()),
                    _ => io("read", &path)(why),
                })?;
            PrivateKey::read(&text).ok_or(FileError::NoKey(path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = PrivateKey::make().map_err(io("make the key for", &path))?;
            write(&path, &key).map_err(io("write", &path))?;
            Ok(key)
        }
        Err(error) => Err(io("read", &path)(error)),
    }
}

fn write(path: &Path, key: &PrivateKey) -> io::Result<()> {
    let mut text = Zeroizing::new([b'\n'; TEXT + 1]);
    BASE64_STANDARD
        .encode_slice(key.bytes().as_ref(), text.as_mut())
        .map_err(io::Error::other)?;
    files::write(path, text.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("private.key.new"), "half").unwrap();
        let made = load_or_make(folder.path()).unwrap();
        let again = load_or_make(folder.path()).unwrap();
        assert_eq!(made.public(), again.public());
        let path = folder.path().join(FILE);
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        assert!(!folder.path().join("private.key.new").exists());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        load_or_make(folder.path()).unwrap();
        assert_eq!(mode(), 0o600);
        assert_ne!(
            PrivateKey::make().unwrap().public(),
            PrivateKey::make().unwrap().public()
        );
    }

    #[test]
    fn a_damaged_file_is_never_replaced() {
        let zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        for text in [
            "",
            "\n",
            "x",
            zeros,
            &zeros[1..],
            &format!("{zeros}A"),
            "\0\0",
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE);
            fs::write(&path, text).unwrap();
            let error = load_or_make(folder.path()).err().expect("a fault");
            assert!(error.to_string().contains("holds no private key"));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), [0xff; 45]).unwrap();
        let error = load_or_make(folder.path()).err().expect("a fault");
        assert!(error.to_string().contains("holds no private key"));
    }

    #[test]
    fn a_missing_folder_is_said() {
        let error = load_or_make(Path::new("/nowhere/at/all"))
            .err()
            .expect("a fault");
        assert_eq!(
            error.to_string(),
            "write /nowhere/at/all/private.key: No such file or directory (os error 2)"
        );
    }

    /// From RFC 7748, section 6.1.
    #[test]
    fn the_public_half_is_the_right_one() {
        let private = PrivateKey::read("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=\n").unwrap();
        let public = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
        assert_eq!(private.public().to_string(), public);
        assert_eq!(PublicKey::parse(public), Ok(private.public()));
    }

    #[test]
    fn keys_that_protect_nothing_are_refused() {
        for bytes in [[0; 32], {
            let mut one = [0; 32];
            one[0] = 1;
            one
        }] {
            let text = BASE64_STANDARD.encode(bytes);
            assert_eq!(PublicKey::parse(&text), Err(KeyError::Weak));
        }
        assert_eq!(PublicKey::parse("short"), Err(KeyError::Form));
        assert_eq!(PublicKey::parse(&"!".repeat(44)), Err(KeyError::Form));
        assert_eq!(PublicKey::parse(&"A".repeat(44)), Err(KeyError::Form));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = PublicKey::parse(&text);
            let _ = PrivateKey::read(&text);
        }
    }
}
