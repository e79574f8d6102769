//! What `roost flash` told this card: a name and a network instead of those in the image.

use roost_service::card::{self, Card};
use roost_service::settings::{Network, Settings};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Name of a box whose settings cannot be read.
const NO_NAME: &str = "roost";

/// What holds on this box, by image and card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Host name.
    pub name: String,
    /// Address configuration.
    pub network: Network,
    /// What is wrong with the card's file, in plain words.
    pub problem: Option<String>,
}

/// What the image says.
pub fn of_image(settings: Option<&Settings>) -> Chosen {
    Chosen {
        name: settings.map_or(NO_NAME, |s| s.name.as_str()).to_owned(),
        network: settings.map_or(Network::Dhcp, |s| s.network.clone()),
        problem: None,
    }
}

/// What the image says, and over it what the card's file says, if there is one and it is sound.
pub fn choose(settings: Option<&Settings>, file: io::Result<Vec<u8>>) -> Chosen {
    let mut chosen = of_image(settings);
    let card = match file {
        Ok(bytes) => card::parse(&bytes).map_err(|e| e.to_string()),
        // A card that was written by other means, or before there was `roost flash`.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    match card {
        Ok(Some(Card { name, network, .. })) => {
            chosen.name = name.unwrap_or(chosen.name);
            chosen.network = network.unwrap_or(chosen.network);
        }
        Ok(None) => {}
        Err(why) => {
            chosen.problem = Some(format!(
                "{} is ignored, the image's own settings hold: {why}",
                card::PATH
            ));
        }
    }
    chosen
}

/// Reads the file.
///
/// # Errors
/// What the kernel says.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, card::SIZE)
}

/// Reads a file of `limit` bytes at most: one more shows that it is too long. Nothing but a file
/// is read.
///
/// # Errors
/// What the kernel says.
pub fn read_at_most(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    // Not waiting: opening a pipe would, for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Leaves the card in a service's folder for sockets, for that service alone to read; nothing
/// there if the card has nothing to say. The folder is the service's own, so what it may have put
/// there is followed nowhere.
///
/// # Errors
/// What the kernel says.
pub fn hand_over(from: &Path, to: &Path, user: u32) -> io::Result<()> {
    match std::fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let bytes = match read(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes?,
    };
    // A damaged one was told when the name was read from it.
    let Ok(Some(card)) = card::parse(&bytes) else {
        return Ok(());
    };
    let json = serde_json::to_vec(&card).map_err(io::Error::other)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o400)
        .open(to)?;
    file.write_all(&json)?;
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    Ok(())
}

/// What holds on this box, now that its data is mounted.
pub fn on_box(settings: Option<&Settings>) -> Chosen {
    let path = Path::new(card::PATH);
    // Once more: without it the box may have another address until the next start.
    let again = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Err(error),
        _ => read(path),
    };
    choose(settings, read(path).or_else(again))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::settings;
    use std::net::Ipv4Addr;

    fn settings() -> Settings {
        Settings {
            name: "roost".into(),
            mailbox: None,
            network: Network::Dhcp,
            time_servers: vec!["pool.ntp.org".into()],
            mail: settings::Mail {
                host: None,
                max_message_size: 1 << 20,
                spam_filter: true,
            },
            update: settings::Update::default(),
            resolver: None,
        }
    }

    fn fixed() -> Network {
        Network::Static {
            address: Ipv4Addr::new(192, 168, 1, 5),
            prefix: 24,
            gateway: Ipv4Addr::new(192, 168, 1, 1),
            dns: Vec::new(),
            address6: None,
        }
    }

    fn file(name: Option<&str>, network: Option<Network>) -> io::Result<Vec<u8>> {
        let card = Card {
            format: card::FORMAT_ALONE,
            name: name.map(str::to_owned),
            network,
            pairing: None,
            identity: None,
            computer: None,
        };
        Ok(card::render(&card).unwrap().to_vec())
    }

    #[test]
    fn what_the_card_says_holds_over_the_image() {
        let image = settings();
        let chosen = choose(Some(&image), file(Some("attic"), Some(fixed())));
        assert_eq!((chosen.name.as_str(), chosen.network), ("attic", fixed()));
        assert_eq!(chosen.problem, None);
        let chosen = choose(Some(&image), file(None, Some(fixed())));
        assert_eq!((chosen.name.as_str(), chosen.network), ("roost", fixed()));
        let chosen = choose(None, file(Some("attic"), None));
        assert_eq!(
            (chosen.name.as_str(), chosen.network),
            ("attic", Network::Dhcp)
        );
    }

    #[test]
    fn without_a_card_the_image_holds() {
        let image = settings();
        for nothing in [
            Err(io::ErrorKind::NotFound.into()),
            Ok(card::placeholder().to_vec()),
            file(None, None),
        ] {
            assert_eq!(choose(Some(&image), nothing), of_image(Some(&image)));
        }
    }

    #[test]
    fn a_damaged_card_is_told_and_ignored() {
        let image = settings();
        let mut damaged = file(Some("attic"), None).unwrap();
        damaged[40] = b'}';
        for bad in [
            Ok(damaged),
            Ok(Vec::new()),
            Err(io::ErrorKind::PermissionDenied.into()),
        ] {
            let chosen = choose(Some(&image), bad);
            assert_eq!(chosen.name, "roost");
            let problem = chosen.problem.unwrap();
            assert!(
                problem.starts_with("/data/first-boot/card is ignored"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_service_gets_the_card_in_a_file_of_its_own() {
        use std::os::unix::fs::MetadataExt;
        let dir = std::env::temp_dir().join(format!("roost-hand-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let [from, to, bait] = ["card", "given", "bait"].map(|name| dir.join(name));
        std::fs::write(&from, file(Some("attic"), None).unwrap()).unwrap();
        std::fs::write(&bait, b"left alone").unwrap();
        std::os::unix::fs::symlink(&bait, &to).unwrap();
        let me = bait.metadata().unwrap().uid();
        hand_over(&from, &to, me).unwrap();
        let meta = to.symlink_metadata().unwrap();
        assert!(meta.is_file());
        assert_eq!((meta.mode() & 0o777, meta.uid()), (0o400, me));
        let card: Card = serde_json::from_slice(&std::fs::read(&to).unwrap()).unwrap();
        assert_eq!(card.name.as_deref(), Some("attic"));
        assert_eq!(std::fs::read(&bait).unwrap(), b"left alone");
        // An old one does not stay when there is nothing to say any more.
        std::fs::write(&from, card::placeholder()).unwrap();
        hand_over(&from, &to, me).unwrap();
        assert!(!to.exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn only_a_file_is_read_and_never_all_of_a_long_one() {
        let dir = std::env::temp_dir().join(format!("roost-card-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name);
        std::fs::write(path("long"), vec![b'x'; 3 * card::SIZE]).unwrap();
        assert_eq!(read(&path("long")).unwrap().len(), card::SIZE + 1);
        std::os::unix::fs::symlink(path("long"), path("link")).unwrap();
        assert!(read(&path("link")).is_err());
        assert!(read(&dir).is_err());
        let missing = read(&path("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
