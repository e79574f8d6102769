//! Which of the cards with this box's keys this is, on the card.

use roost_service::files;
use roost_service::tunnel::{GENERATION, Generation, INSTANCE, Replaced};
use std::io;
use std::path::{Path, PathBuf};

/// Longest file, in bytes.
const MAX_FILE: u64 = 4096;

/// The file, and what it says.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    /// `Err`: why nobody knows.
    now: Result<Generation, String>,
}

impl Kept {
    /// Reads the file in the service's data folder; makes it where there is none: then it is a card that was
    /// never restored.
    ///
    /// # Errors
    /// When it cannot be made. A file that cannot be understood is no error: such a card stands down.
    pub fn load_or_make(data: &Path) -> io::Result<Self> {
        let path = data.join(GENERATION);
        match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut kept = Self {
                    path,
                    now: Err(String::new()),
                };
                kept.keep(Generation::first(random()?))?;
                Ok(kept)
            }
            Err(error) => Err(error),
            Ok(meta) => Ok(Self {
                now: read(&path, meta.len()),
                path,
            }),
        }
    }

    /// What it says.
    ///
    /// # Errors
    /// Why nobody can say.
    pub fn now(&self) -> Result<&Generation, &str> {
        self.now.as_ref().map_err(String::as_str)
    }

    fn keep(&mut self, generation: Generation) -> io::Result<()> {
        let text = serde_json::to_vec(&generation)?;
        files::write(&self.path, &text)?;
        self.now = Ok(generation);
        Ok(())
    }

    /// Writes down that the relay with this key remembers who may serve.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn remembers(&mut self, relay: String) -> io::Result<()> {
        match &self.now {
            Err(_) => Ok(()),
            Ok(now) => self.keep(Generation {
                relay: Some(relay),
                ..now.clone()
            }),
        }
    }

    /// Writes down that another card has taken this one's place. It holds in this run even where it cannot
    /// be kept.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn replaced(&mut self, by: u64, at_s: u64) -> io::Result<()> {
        let Ok(now) = &mut self.now else {
            return Ok(());
        };
        now.replaced = Some(Replaced { by, at_s });
        let now = now.clone();
        self.keep(now)
    }

    /// Takes the place back.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn take_over(&mut self, now_s: u64) -> io::Result<()> {
        let next = match &self.now {
            Ok(now) => now.taken_over(now_s),
            Err(_) => Generation::restored(None, random()?, now_s),
        };
        self.keep(next)
    }
}

/// A number of its own for each run of the program.
///
/// # Errors
/// When the kernel gives no random bytes.
pub fn run() -> io::Result<String> {
    Ok(Generation::first(random()?).instance)
}

fn random() -> io::Result<[u8; INSTANCE]> {
    let mut bytes = [0; INSTANCE];
    getrandom::fill(&mut bytes).map_err(io::Error::from)?;
    Ok(bytes)
}

fn read(path: &Path, length: u64) -> Result<Generation, String> {
    let fail = |why: String| format!("{}: {why}", path.display());
    if length > MAX_FILE {
        return Err(fail(format!("it is longer than {MAX_FILE} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    let read: Generation = serde_json::from_slice(&bytes).map_err(|e| fail(e.to_string()))?;
    // The relay takes nothing else.
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if read.instance.len() != 2 * INSTANCE || !read.instance.chars().all(plain) {
        return Err(fail(
            "`instance` is no random number in hexadecimal digits".into(),
        ));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = Kept::load_or_make(folder.path()).unwrap();
        let now = first.now().unwrap().clone();
        assert_eq!((now.number, now.instance.len()), (1, 32));
        let mut again = Kept::load_or_make(folder.path()).unwrap();
        assert_eq!(again.now(), Ok(&now));
        again.remembers("relay".into()).unwrap();
        again.replaced(9, 10).unwrap();
        let mut later = Kept::load_or_make(folder.path()).unwrap();
        let kept = later.now().unwrap();
        assert_eq!(kept.relay.as_deref(), Some("relay"));
        assert_eq!(kept.replaced, Some(Replaced { by: 9, at_s: 10 }));
        later.take_over(5).unwrap();
        let over = Kept::load_or_make(folder.path()).unwrap();
        let over = over.now().unwrap();
        assert_eq!((over.number, &over.replaced), (10, &None));
        assert_eq!(over.instance, now.instance);
    }

    #[test]
    fn one_that_cannot_be_read_is_another_card_after_the_owner_says_so() {
        let folder = tempfile::tempdir().unwrap();
        for (text, why) in [
            ("{\"number\":", "EOF while parsing"),
            ("{\"number\": 3, \"instance\": \"A/B\"}", "hexadecimal"),
            (&"x".repeat(5000), "longer than"),
        ] {
            std::fs::write(folder.path().join(GENERATION), text).unwrap();
            let mut kept = Kept::load_or_make(folder.path()).unwrap();
            let said = kept.now().unwrap_err().to_owned();
            assert!(said.contains(why) && said.contains(GENERATION), "{said}");
            kept.remembers("relay".into()).unwrap();
            kept.replaced(1, 2).unwrap();
            assert!(kept.now().is_err());
            kept.take_over(1_777_777_777).unwrap();
            assert_eq!(kept.now().unwrap().number, 1_777_777_777);
        }
    }

    #[test]
    fn what_cannot_be_kept_holds_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::load_or_make(folder.path()).unwrap();
        let gone = folder.path().to_owned();
        folder.close().unwrap();
        assert!(!gone.exists());
        assert!(kept.replaced(9, 10).is_err());
        assert!(kept.now().unwrap().replaced.is_some());
        assert!(kept.take_over(11).is_err());
        assert!(kept.now().unwrap().replaced.is_some());
    }
}
