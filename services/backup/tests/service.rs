//! The program itself, with services that are played and a laptop's folder.

#[path = "../repository/tests/moto/mod.rs"]
mod moto;
#[path = "../repository/tests/sshd/mod.rs"]
mod sshd;

use moto::Moto;
use roost_backup_repository::code::Code;
use roost_backup_repository::folder::Folder;
use roost_backup_repository::place::{Opener, Place};
use roost_backup_repository::repository::Repository;
use roost_backup_repository::s3::Patience;
use roost_backup_repository::wire::{Call, Ended, Wire, keep, line};
use roost_service::backup::{Answer, BackupStatus as Status, TARGET_FILE, Work};
use roost_service::control::{BoxStatus, Request, Response};
use roost_service::disk::{Disk, DiskMark, FileSystem};
use roost_service::snapshot::{Head, Held, write_line};
use roost_service::spec::ServiceSpec;
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The program in a folder of its own, ended with it.
struct Service {
    dir: tempfile::TempDir,
    child: Child,
    /// Whether init says that a time server has set the clock.
    clock: Arc<AtomicBool>,
    disks: Arc<Mutex<Sockets>>,
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

/// What init knows of USB disks.
#[derive(Default)]
struct Sockets {
    plugged: Vec<Disk>,
    /// How often one was lent and taken back.
    lent: u32,
    back: u32,
}

/// Init, which knows of the clock, and lends disks.
fn play_init(socket: &Path, clock: Arc<AtomicBool>, sockets: Arc<Mutex<Sockets>>) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (clock, sockets) = (clock.clone(), sockets.clone());
            let connection = connection.unwrap();
            std::thread::spawn(move || {
                let mut has_one = false;
                let mut lines = BufReader::new(&connection);
                let mut asked = String::new();
                while matches!(lines.read_line(&mut asked), Ok(1..)) {
                    let request = serde_json::from_str(&asked).unwrap();
                    let answer = init_says(&request, &clock, &sockets, &mut has_one);
                    let _ = (&connection).write_all(&line(&answer).unwrap());
                    asked.clear();
                }
                if has_one {
                    sockets.lock().unwrap().back += 1;
                }
            });
        }
    });
}

fn init_says(
    request: &Request,
    clock: &AtomicBool,
    sockets: &Mutex<Sockets>,
    has_one: &mut bool,
) -> Response {
    let mut sockets = sockets.lock().unwrap();
    match request {
        Request::Disks => Response::Disks {
            disks: sockets.plugged.clone(),
        },
        Request::TakeDisk { disk, .. } => {
            let meant = |plugged: &&Disk| plugged.mark.as_ref() == Some(disk);
            match sockets.plugged.iter().find(meant) {
                Some(_) => {
                    *has_one = true;
                    sockets.lent += 1;
                    Response::Ok
                }
                None => Response::DiskRefused {
                    why: format!("the disk {disk} is not plugged in"),
                    hint: Some("plug it in, and wait some seconds".into()),
                },
            }
        }
        Request::ReleaseDisk => {
            *has_one = false;
            sockets.back += 1;
            Response::Ok
        }
        _ => Response::Status(BoxStatus {
            name: "attic".into(),
            version: "0.1.0+7".into(),
            slot: 2,
            trial_left_s: None,
            uptime_s: 100.0,
            rescue: None,
            ready: true,
            ready_after_s: Some(9.0),
            clock_synced: clock.load(Ordering::SeqCst),
            addresses: vec![],
            memory_total: 1,
            memory_available: 1,
            data_total: 1,
            data_free: 1,
            data_written: 1,
            services: vec![],
        }),
    }
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
        let clock = Arc::new(AtomicBool::new(false));
        let at = |name: &str| dir.path().join(name);
        for folder in ["data", "lent", "run", "settings", "sockets"] {
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
        let disks = Arc::default();
        play_init(&at("control.sock"), clock.clone(), Arc::clone(&disks));
        let child = Self::begin(dir.path());
        let service = Self {
            dir,
            child,
            clock,
            disks,
        };
        service.wait();
        service
    }

    fn begin(dir: &Path) -> Child {
        let at = |name: &str| dir.join(name);
        Command::new(env!("CARGO_BIN_EXE_backup"))
            .env("ROOST_DATA", at("data"))
            .env("ROOST_RUN", at("run"))
            .env("ROOST_NAME", "attic")
            .env("ROOST_SERVICES", at("services.json"))
            .env("ROOST_RELEASE", at("release.json"))
            .env("ROOST_CHOSEN", at("settings"))
            .env("ROOST_SOCKETS", at("sockets"))
            .env("ROOST_CONTROL", at("control.sock"))
            .env("ROOST_DISK", at("lent"))
            .env("ROOST_BACKUP_REST_S", "0")
            .spawn()
            .unwrap()
    }

    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        let there = |name| UnixStream::connect(self.at(name)).is_ok();
        while !there("run/laptops.sock") || !there("run/portal.sock") {
            assert!(Instant::now() < end, "the sockets are not there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The plug is pulled and put back.
    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for socket in ["laptops.sock", "portal.sock"] {
            std::fs::remove_file(self.at("run").join(socket)).unwrap();
        }
        self.child = Self::begin(self.dir.path());
        self.wait();
    }

    /// What the portal gets for a call.
    fn ask(&self, call: &roost_service::backup::Call) -> Answer {
        let mut socket = UnixStream::connect(self.at("run/portal.sock")).unwrap();
        socket.write_all(&line(call).unwrap()).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        assert!(!text.contains(Moto::secret().reveal()), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn status(&self) -> Status {
        match self.ask(&roost_service::backup::Call::Status) {
            Answer::Status(status) => *status,
            _ => panic!("no status"),
        }
    }

    /// Waits until the service is through with something.
    fn until(&self, what: impl Fn(&Status) -> bool) -> Status {
        let end = Instant::now() + Duration::from_secs(240);
        loop {
            let status = self.status();
            if status.running.is_none() && what(&status) {
                return status;
            }
            assert!(Instant::now() < end, "{status:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
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

fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused { why, hint } => format!("{why}\n{}", hint.unwrap_or_default()),
        _ => panic!("it worked"),
    }
}

#[test]
fn the_box_backs_up_to_its_target_by_itself_and_proves_it() {
    use roost_service::backup::Call;
    let Some(moto) = Moto::start() else { return };
    let mut service = Service::start();
    let sockets = service.at("sockets");
    play(&sockets, "mail", || {
        held(&[("mail.sqlite3", &[7; 300_000])])
    });
    play(&sockets, "dns", || held(&[("keys/ksk", b"secret")]));
    let place = |place: &str| moto.target(place);
    let set = |place: &str| Call::Set {
        target: moto.target(place),
        secret: Some(Moto::secret()),
    };
    assert_eq!(service.status(), Status::default());
    insta::assert_snapshot!(refused(service.ask(&Call::Now)), @"
    no target is set
    set one: `roost backup target set`, or the page Backups
    ");
    // Backups are due by the time, and signatures have one.
    insta::assert_snapshot!(refused(service.ask(&set("s3://backups/attic"))), @"
    the box's clock is not set yet
    wait some minutes: the box asks time servers, and what it does at a target has a time
    ");
    service.clock.store(true, Ordering::SeqCst);
    insta::assert_snapshot!(refused(service.ask(&set("s3://nobody/attic"))), @"
    s3://nobody/attic is of no use: its files cannot be listed: there is no such bucket (404 NoSuchBucket)
    look at the server's own page for the bucket and its access key
    ");
    assert_eq!(service.status(), Status::default());

    // It is begun at once; proof and forgetting follow by themselves.
    assert!(service.ask(&set("s3://backups/attic")) == Answer::Done);
    let status = service.until(|status| status.made.is_some() || status.failure.is_some());
    let made = status.made.unwrap();
    assert_eq!((made.files, made.bytes), (3, 300_030));
    assert_eq!(status.target.unwrap(), place("s3://backups/attic"));
    let wait = status.next_at.unwrap() - made.at;
    assert!((23 * 3600..25 * 3600).contains(&wait), "{wait}");
    assert!(status.forgets);
    let kept = service.at("data").join(TARGET_FILE);
    let mode = std::fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(service.ask(&Call::Prove) == Answer::Done);
    let status = service.until(|status| status.proof.is_some());
    let proof = status.proof.unwrap();
    assert_eq!((proof.fault, proof.files, proof.bytes), (None, 3, 300_030));

    // All of it is known after a power cut, and what is due is done without being asked.
    let state = service.at("data/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["due_at"] = 1.into();
    std::fs::write(&state, json.to_string()).unwrap();
    service.restart();
    let again = service.until(|status| status.made.as_ref().is_some_and(|new| new.id != made.id));
    assert!(again.proof.is_some() && again.failure.is_none());

    // Somebody empties the bucket: the proof notices, and the next backup says what is wrong.
    let store = Place::new(
        &place("s3://backups/attic"),
        Opener::Secret(Moto::secret()),
        Patience::Short,
    )
    .unwrap()
    .into_store();
    use roost_backup_repository::store::Kind;
    for kind in [Kind::Pack, Kind::Snapshot] {
        for (name, _) in store.list(kind).unwrap() {
            store.remove(kind, name).unwrap();
        }
    }
    assert!(service.ask(&Call::Prove) == Answer::Done);
    let status = service.until(|status| {
        status
            .proof
            .as_ref()
            .is_some_and(|proof| proof.fault.is_some())
    });
    assert_eq!(
        status.proof.unwrap().fault.as_deref(),
        Some("it is not there any more")
    );

    // Another place knows nothing of this one, until the server is away.
    assert!(service.ask(&set("s3://backups/elsewhere")) == Answer::Done);
    let status = service.until(|status| status.made.is_some());
    assert_eq!(status.target.unwrap(), place("s3://backups/elsewhere"));
    drop(moto);
    insta::assert_snapshot!(refused(service.ask(&Call::Set {
        target: roost_service::backup::Target::of("s3://backups", Some("http://127.0.0.1:1"), None, "A").unwrap(),
        secret: Some(Moto::secret()),
    })), @"
    s3://backups is of no use: its files cannot be listed: the server takes no connection
    is the address right, and does the box reach the internet? `roost doctor` says more
    ");
    assert!(service.ask(&Call::Now) == Answer::Done);
    // It tries for half a minute, in which it says what it does and takes no second order.
    let end = Instant::now() + Duration::from_secs(20);
    while service.status().running.is_none() {
        assert!(Instant::now() < end, "it does not begin");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(service.status().running.unwrap().what, Work::Backup);
    insta::assert_snapshot!(refused(service.ask(&Call::Now)), @"
    the box is at it already
    `roost backup status` says how far it is
    ");
    let status = service.until(|status| status.failure.is_some());
    let failure = status.failure.unwrap();
    assert_eq!(failure.times, 1);
    insta::assert_snapshot!(failure.why, @"the server takes no connection");
    assert!(status.next_at.unwrap() < failure.at + 3600);
    assert!(service.ask(&Call::Remove) == Answer::Done);
    assert_eq!(service.status(), Status::default());
    assert!(!kept.exists());
}

#[test]
fn the_box_backs_up_to_a_server_that_knows_its_key() {
    use roost_service::backup::{Call, Secret, Target};
    let mut server = sshd::Sshd::start();
    let mut service = Service::start();
    let sockets = service.at("sockets");
    play(&sockets, "mail", || {
        held(&[("mail.sqlite3", &[7; 300_000])])
    });
    play(&sockets, "dns", || held(&[("keys/ksk", b"secret")]));
    service.clock.store(true, Ordering::SeqCst);
    let plain = |text: &str, server: &sshd::Sshd| {
        text.replace(&server.place("attic"), "sftp://USER@HOST/attic")
            .replace(&server.host_key.to_string(), "SHA256:now")
    };
    // Which server it is, and by what the box will sign in: both are asked before anything is chosen.
    let host = || "127.0.0.1".to_owned();
    let port = server.port;
    let Answer::HostKey { host_key } = service.ask(&Call::HostKey { host: host(), port }) else {
        panic!("no host key")
    };
    assert_eq!(host_key, server.host_key);
    let off = Call::HostKey {
        host: host(),
        port: 1,
    };
    insta::assert_snapshot!(refused(service.ask(&off)), @"
    sftp://127.0.0.1:1 is of no use: the server takes no connection
    is the address right, is the server on, and does the box reach it? `roost doctor` says more of the box's network
    ");
    let odd = Call::HostKey {
        host: "-o x".into(),
        port,
    };
    insta::assert_snapshot!(refused(service.ask(&odd)), @r#"
    "-o x" is no name or address of a server
    give it as in sftp://USER@HOST:PORT/FOLDER
    "#);
    let Answer::Key { line } = service.ask(&Call::Key) else {
        panic!("no key")
    };
    let kept = std::fs::read_to_string(service.at("data/ssh-key")).unwrap();
    assert!(
        !line.contains("PRIVATE") && kept.contains("PRIVATE"),
        "{line}"
    );
    service.restart();
    assert!(service.ask(&Call::Key) == Answer::Key { line: line.clone() });

    let target: Target = server.target("attic").into();
    let set = |target: &Target, secret: Option<&str>| Call::Set {
        target: target.clone(),
        secret: secret.map(|text| Secret::password(text).unwrap()),
    };
    // A server that does not know it, and a password that is none.
    let no = refused(service.ask(&set(&target, None)));
    insta::assert_snapshot!(plain(&no, &server), @"
    sftp://USER@HOST/attic is of no use: the server does not take the key: its public half has to be in the account's authorized_keys
    look at the account on the server; `roost backup target key` shows the line for its authorized_keys
    ");
    let no = refused(service.ask(&set(&target, Some("open sesame"))));
    insta::assert_snapshot!(plain(&no, &server), @"
    sftp://USER@HOST/attic is of no use: the server does not take the password
    look at the account on the server; `roost backup target key` shows the line for its authorized_keys
    ");
    // A bucket has no such key.
    let bucket = Target::of("s3://backups", Some("http://127.0.0.1:1"), None, "A").unwrap();
    insta::assert_snapshot!(refused(service.ask(&set(&bucket, None))), @"
    a bucket is opened by a secret key
    give the secret key of the bucket's access key with it
    ");
    assert_eq!(service.status(), Status::default());

    server.authorize(&line);
    assert!(service.ask(&set(&target, None)) == Answer::Done);
    let status = service.until(|status| status.made.is_some() || status.failure.is_some());
    let made = status.made.unwrap();
    assert_eq!((made.files, made.bytes), (3, 300_030));
    assert_eq!(
        (status.target.as_ref(), status.forgets),
        (Some(&target), true)
    );
    assert!(service.ask(&Call::Prove) == Answer::Done);
    let status = service.until(|status| status.proof.is_some());
    let proof = status.proof.unwrap();
    assert_eq!((proof.fault, proof.files, proof.bytes), (None, 3, 300_030));
    // What is there opens with the box's code, and what the box has kept has no password.
    let code = std::fs::read_to_string(service.at("data/recovery-code")).unwrap();
    let folder = Arc::new(Folder::new(server.home().join("attic")));
    let repository = Repository::open(folder, &Code::parse(&code).unwrap()).unwrap();
    assert_eq!(repository.list().unwrap().len(), 1);
    let kept = std::fs::read_to_string(service.at("data").join(TARGET_FILE)).unwrap();
    assert!(!kept.contains("secret"), "{kept}");

    // Somebody else answers in the server's place: nothing is sent, and it is no fault of the backup.
    let before = server.host_key.to_string();
    server.change_host_key();
    assert!(service.ask(&Call::Now) == Answer::Done);
    let status = service.until(|status| status.failure.is_some());
    let why = status
        .failure
        .unwrap()
        .why
        .replace(&before, "SHA256:before");
    insta::assert_snapshot!(plain(&why, &server), @"this is not the server that was confirmed: it shows the host key SHA256:now instead of SHA256:before");
    assert!(service.ask(&Call::Prove) == Answer::Done);
    let status = service.until(|status| status.proof_failure.is_some());
    assert_eq!(status.proof.unwrap().fault, None);
    // Its owner has set it up anew, and says so.
    assert!(service.ask(&set(&server.target("attic").into(), None)) == Answer::Done);
    let again = service.until(|status| status.made.as_ref().is_some_and(|new| new.id != made.id));
    assert!(again.proof.is_some() && again.failure.is_none());
}

/// A stick as init tells of it.
fn stick(label: &str) -> Disk {
    Disk {
        name: "sda1".into(),
        model: "SanDisk Ultra".into(),
        bytes: 64_000_000_000,
        mark: Some(DiskMark {
            file_system: FileSystem::Exfat,
            id: "1A2B-3C4D".into(),
            label: label.into(),
        }),
        problem: None,
        hint: None,
    }
}

#[test]
fn the_box_backs_up_to_a_disk_while_that_is_plugged_in() {
    use roost_service::backup::{Call, UsbTarget};
    let mut service = Service::start();
    let sockets = service.at("sockets");
    play(&sockets, "mail", || {
        held(&[("mail.sqlite3", &[7; 300_000])])
    });
    play(&sockets, "dns", || held(&[("keys/ksk", b"secret")]));
    service.clock.store(true, Ordering::SeqCst);
    let plug = |service: &Service, disks: &[Disk]| {
        service.disks.lock().unwrap().plugged = disks.to_vec();
    };
    let disk = stick("BACKUP");
    let set = || Call::Set {
        target: UsbTarget {
            disk: disk.mark.clone().unwrap(),
            folder: "roost-backups".into(),
        }
        .into(),
        secret: None,
    };
    // One that is not there, and one that is another's.
    assert!(service.ask(&Call::Disks) == Answer::Disks { disks: vec![] });
    plug(&service, &[stick("HOLIDAY")]);
    insta::assert_snapshot!(refused(service.ask(&set())), @"
    the disk BACKUP (exFAT, 1A2B-3C4D) is not plugged in
    plug it in, and wait some seconds
    ");
    assert_eq!(service.status(), Status::default());
    plug(&service, std::slice::from_ref(&disk));
    assert!(service.ask(&set()) == Answer::Done);
    let status = service.until(|status| status.made.is_some() || status.failure.is_some());
    let made = status.made.unwrap();
    assert_eq!((made.files, made.bytes), (3, 300_030));
    assert!(status.forgets && status.waits_since.is_none());
    assert!(service.ask(&Call::Prove) == Answer::Done);
    let status = service.until(|status| status.proof.is_some());
    assert_eq!(status.proof.unwrap().fault, None);
    // What is there opens with the box's code, in a folder like any other.
    let code = std::fs::read_to_string(service.at("data/recovery-code")).unwrap();
    let folder = Arc::new(Folder::new(service.at("lent")));
    let repository = Repository::open(folder, &Code::parse(&code).unwrap()).unwrap();
    assert_eq!(repository.list().unwrap().len(), 1);
    let nobody_has_it = |service: &Service| {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let sockets = service.disks.lock().unwrap();
            if sockets.lent > 2 && sockets.lent == sockets.back {
                return;
            }
            drop(sockets);
            assert!(Instant::now() < end, "the disk is still lent");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    nobody_has_it(&service);

    // It is pulled out. Who asks is told; what is due waits, and that is no failure.
    plug(&service, &[]);
    insta::assert_snapshot!(refused(service.ask(&Call::Now)), @"
    the disk BACKUP (exFAT, 1A2B-3C4D) is not plugged in
    plug it in; what is due begins by itself within a minute
    ");
    let begin_to_wait = |service: &mut Service| {
        let state = service.at("data/state.json");
        let mut kept: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
        kept["due_at"] = 0.into();
        service.child.kill().unwrap();
        std::fs::write(&state, kept.to_string()).unwrap();
        service.restart();
        service.until(|status| status.waits_since.is_some())
    };
    let status = begin_to_wait(&mut service);
    assert_eq!((status.failure, status.made), (None, Some(made.clone())));
    // Back again, it is used without anybody asking: within a minute, or after a start.
    plug(&service, std::slice::from_ref(&disk));
    service.restart();
    let status = service.until(|status| status.made.as_ref().is_some_and(|new| new.id != made.id));
    assert_eq!((status.failure, status.waits_since), (None, None));
    nobody_has_it(&service);
    // Or because somebody asks.
    let made = status.made.unwrap();
    plug(&service, &[]);
    begin_to_wait(&mut service);
    plug(&service, std::slice::from_ref(&disk));
    assert!(service.ask(&Call::Now) == Answer::Done);
    let status = service.until(|status| status.made.as_ref().is_some_and(|new| new.id != made.id));
    assert_eq!((status.failure, status.waits_since), (None, None));
    nobody_has_it(&service);

    // What the disk itself refuses is told in place of what came of it.
    std::fs::remove_dir_all(service.at("lent")).unwrap();
    std::os::unix::fs::symlink("/dev/full", service.at("lent")).unwrap();
    assert!(service.ask(&Call::Now) == Answer::Done);
    let status = service.until(|status| status.failure.is_some());
    let why = status.failure.unwrap().why;
    assert!(
        why.starts_with("the disk BACKUP (exFAT, 1A2B-3C4D) fails: "),
        "{why}"
    );
    nobody_has_it(&service);
}
