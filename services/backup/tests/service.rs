//! The program itself, with services that are played and a laptop's folder.

use roost_backup_repository::code::Code;
use roost_backup_repository::folder::Folder;
use roost_backup_repository::repository::Repository;
use roost_backup_repository::wire::{Call, Ended, Wire, keep, line};
use roost_service::snapshot::{Head, Held, write_line};
use roost_service::spec::ServiceSpec;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The program in a folder of its own, ended with it.
struct Service {
    dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service that hands over this, for as long as the test runs.
fn play(folder: &Path, name: &str, sent: impl Fn() -> Vec<u8> + Send + 'static) {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join("snapshot")).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            // A backup that was given up is no matter of its own.
            let _ = connection.unwrap().write_all(&sent());
        }
    });
}

fn held(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut held = Held::new(());
    for (path, bytes) in files {
        held.add_bytes(path, 0o600, bytes.to_vec());
    }
    let mut sent = Vec::new();
    held.write_to(&mut sent).unwrap();
    sent
}

impl Service {
    /// With the services `mail` and `dns`, which the caller plays.
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["data", "run", "settings", "sockets"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        let user = std::fs::metadata("/proc/self").unwrap().uid();
        let mut own = ServiceSpec::plain("backup", user + 1);
        own.sockets = ["mail", "dns"]
            .map(|name| (name.to_owned(), "A test.".to_owned()))
            .into();
        let table = [
            own,
            ServiceSpec::plain("mail", 800),
            ServiceSpec::plain("dns", 850),
            ServiceSpec::plain("portal", user),
        ];
        std::fs::write(at("services.json"), serde_json::to_vec(&table).unwrap()).unwrap();
        std::fs::write(at("release.json"), r#"{"version":"0.1.0+7","number":7}"#).unwrap();
        std::fs::write(at("settings/chosen.json"), r#"{"domain":"example.org"}"#).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_backup"))
            .env("ROOST_DATA", at("data"))
            .env("ROOST_RUN", at("run"))
            .env("ROOST_NAME", "attic")
            .env("ROOST_SERVICES", at("services.json"))
            .env("ROOST_RELEASE", at("release.json"))
            .env("ROOST_CHOSEN", at("settings"))
            .env("ROOST_SOCKETS", at("sockets"))
            .spawn()
            .unwrap();
        let service = Self { dir, child };
        let end = Instant::now() + Duration::from_secs(60);
        while UnixStream::connect(service.at("run/laptops.sock")).is_err() {
            assert!(Instant::now() < end, "the socket is not there");
            std::thread::sleep(Duration::from_millis(20));
        }
        service
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// What the laptop gets for a call.
    fn call(&self, call: &Call, folder: &Folder) -> Ended {
        let mut wire = Laptop(BufReader::new(
            UnixStream::connect(self.at("run/laptops.sock")).unwrap(),
        ));
        wire.send(&line(call).unwrap()).unwrap();
        keep(&mut wire, folder, |_, _, _| {}).unwrap()
    }
}

struct Laptop(BufReader<UnixStream>);

impl Wire for Laptop {
    type Error = io::Error;
    fn line(&mut self, max: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.0)
            .take(max as u64)
            .read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }
}

fn why(ended: Ended) -> String {
    match ended {
        Ended::Failed { message, .. } => message,
        Ended::Done(_) | Ended::Code(_) => panic!("it worked"),
    }
}

#[test]
fn a_laptop_fetches_what_all_services_keep() {
    let service = Service::start();
    let sockets = service.at("sockets");
    let store: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let mail = store.clone();
    play(&sockets, "mail", move || {
        held(&[("mail.sqlite3", &mail), ("dkim.pem", b"key")])
    });
    let (folder, now_s) = (Folder::new(service.at("laptop")), 1_800_000_000);

    // One service is not there yet: no backup at all, and the laptop is told which.
    let call = Call::BackUp { now_s };
    let failed = why(service.call(&call, &folder));
    assert_eq!(
        failed.split(':').next(),
        Some("dns does not hand over what it keeps"),
        "{failed}"
    );
    play(&sockets, "dns", || held(&[("keys/ksk", b"secret")]));
    let Ended::Done(done) = service.call(&call, &folder) else {
        panic!("no backup")
    };
    let (backup, contents) = *done;
    assert_eq!(
        (backup.name.as_str(), backup.made_s),
        ("attic", 1_800_000_000)
    );
    let sizes: BTreeMap<&str, u64> = contents
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.size))
        .collect();
    let all = [
        ("services/dns/keys/ksk", 6),
        ("services/mail/dkim.pem", 3),
        ("services/mail/mail.sqlite3", 8_000_000),
        ("settings/chosen.json", 24),
    ];
    assert_eq!(sizes, all.into());
    let names: Vec<&str> = contents
        .services
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["mail", "dns"]);

    // With the code that the box gives, it comes back.
    let Ended::Code(words) = service.call(&Call::Code, &folder) else {
        panic!("no code")
    };
    let code = Code::parse(&words).unwrap();
    let kept = std::fs::read_to_string(service.at("data/recovery-code")).unwrap();
    assert_eq!(kept, words);
    let into = tempfile::tempdir().unwrap();
    Repository::open(Arc::new(folder), &code)
        .unwrap()
        .restore(None, into.path(), |_, _| {})
        .unwrap();
    let back = std::fs::read(into.path().join("data/services/mail/mail.sqlite3")).unwrap();
    assert!(back == store);
}

#[test]
fn what_services_refuse_or_break_off_is_told() {
    let service = Service::start();
    let sockets = service.at("sockets");
    play(&sockets, "dns", || held(&[]));
    let broken = std::sync::atomic::AtomicBool::new(false);
    play(&sockets, "mail", move || {
        let mut sent = Vec::new();
        if broken.swap(true, std::sync::atomic::Ordering::SeqCst) {
            sent = held(&[("mail.sqlite3", &[7; 500_000])]);
            sent.truncate(400_000);
        } else {
            let why = "the mail store cannot be held still".to_owned();
            write_line(&mut sent, &Head::Refused { why }).unwrap();
        }
        sent
    });
    let folder = Folder::new(service.at("laptop"));
    let call = Call::BackUp { now_s: 1 };
    assert_eq!(
        why(service.call(&call, &folder)),
        "mail does not hand over what it keeps: the mail store cannot be held still"
    );
    let failed = why(service.call(&call, &folder));
    assert!(failed.starts_with("a service broke off"), "{failed}");
    let Ended::Code(words) = service.call(&Call::Code, &folder) else {
        panic!("no code")
    };
    let code = Code::parse(&words).unwrap();
    let repository = Repository::open(Arc::new(folder), &code).unwrap();
    assert_eq!(repository.list().unwrap(), []);
}
