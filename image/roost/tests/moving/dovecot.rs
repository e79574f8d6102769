//! Dovecot on loopback, with a folder of its own: the old server, and the new one.
//!
//! Mail is put into its store and looked at there as files, past everything that is under test.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of every account.
pub const PASSWORD: &str = "wobbly lantern \"orbits\\ quietly ü";

/// A message as it lies in a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// Seconds since 1970.
    pub date: i64,
    /// Marks, sorted.
    pub flags: String,
    /// With line feeds.
    pub bytes: Vec<u8>,
}

/// All folders by name, with their messages, sorted.
pub type Mail = BTreeMap<String, Vec<Kept>>;

/// How the server is set up.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// Every folder is called `INBOX.…`, as many providers have it; without special uses.
    pub below_inbox: bool,
    /// Its own folders have names of their own, those of the box.
    pub like_the_box: bool,
    /// Bytes that an account may hold, in kB.
    pub quota_kb: Option<u64>,
    /// No encryption.
    pub plain: bool,
}

/// A server that ends with its value.
pub struct Dovecot {
    _dir: tempfile::TempDir,
    dir: PathBuf,
    process: Child,
    setup: Setup,
    /// TLS from the first byte.
    pub imaps: u16,
    /// STARTTLS.
    pub imap: u16,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A name of this machine's users, if there is one.
fn id(option: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([option, user]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

impl Dovecot {
    /// Starts one.
    pub fn start(setup: Setup) -> Self {
        let outside = tempfile::tempdir().unwrap();
        let dir = outside.path().to_owned();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let certificate =
            rcgen::generate_simple_self_signed(vec!["mail.old.example".to_owned()]).unwrap();
        let der = certificate.serialize_der().unwrap();
        let fingerprint = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&der));
        fs::write(
            dir.join("cert.pem"),
            pem::encode(&pem::Pem::new("CERTIFICATE", der)),
        )
        .unwrap();
        fs::write(
            dir.join("key.pem"),
            pem::encode(&pem::Pem::new(
                "PRIVATE KEY",
                certificate.serialize_private_key_der(),
            )),
        )
        .unwrap();
        let (imaps, imap) = (free_port(), free_port());
        let config = dir.join("dovecot.conf");
        fs::write(&config, settings(&dir, setup, imaps, imap)).unwrap();
        let users: String = ["alice", "bob", "carol@old.example"]
            .iter()
            .map(|user| format!("{user}:{{PLAIN}}{PASSWORD}\n"))
            .collect();
        fs::write(dir.join("users"), users).unwrap();
        fs::create_dir(dir.join("mail")).unwrap();
        let process = Command::new("dovecot")
            .args(["-F", "-c"])
            .arg(&config)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("stderr")).unwrap())
            .spawn()
            .expect("dovecot is missing: apt-get install dovecot-imapd");
        let mut this = Self {
            _dir: outside,
            dir,
            process,
            setup,
            imaps,
            imap,
            fingerprint,
        };
        this.owned(&this.dir.join("mail"));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", imap)).is_err() {
            if this.process.try_wait().unwrap().is_some() || began.elapsed() > PATIENCE {
                panic!("dovecot does not start:\n{}", this.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        this
    }

    /// What it has said.
    pub fn log(&self) -> String {
        let files = ["stderr", "log"]
            .map(|name| fs::read_to_string(self.dir.join(name)).unwrap_or_default());
        files.concat()
    }

    /// Runs its administrator's command.
    pub fn doveadm(&self, args: &[&str]) {
        let done = Command::new("doveadm")
            .arg("-c")
            .arg(self.dir.join("dovecot.conf"))
            .args(args)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    /// Its files must be its user's.
    pub fn owned(&self, path: &Path) {
        if let Some(uid) = mail_user() {
            chown(path, Some(uid), id("-g", "nobody")).unwrap();
            if path.is_dir() {
                fs::read_dir(path)
                    .unwrap()
                    .for_each(|entry| self.owned(&entry.unwrap().path()));
            }
        }
    }

    /// Where the mail of an account lies.
    pub fn root(&self, user: &str) -> PathBuf {
        self.dir.join("mail").join(user)
    }

    /// Where a folder lies; its name as the server writes it.
    fn place(&self, user: &str, folder: &str) -> PathBuf {
        match (folder, self.setup.below_inbox) {
            ("INBOX", _) => self.root(user),
            (name, true) => self.root(user).join(format!(".{}", name.replace('/', "."))),
            (name, false) => self.root(user).join(name),
        }
    }

    /// Makes folders; names as the server writes them (modified UTF-7).
    pub fn folders(&self, user: &str, names: &[&str]) {
        for name in names {
            let place = self.place(user, name);
            for part in ["cur", "new", "tmp"] {
                fs::create_dir_all(place.join(part)).unwrap();
            }
            if self.setup.below_inbox {
                fs::write(place.join("maildirfolder"), "").unwrap();
            }
        }
        self.owned(&self.root(user));
    }

    /// Puts a message into a folder. `marks`: letters of a maildir; a to c stand for
    /// `$Forwarded`, `NonJunk` and `work`.
    pub fn put(&self, user: &str, folder: &str, (date, marks): (i64, &str), bytes: &[u8]) {
        let place = self.place(user, folder);
        let keywords = place.join("dovecot-keywords");
        fs::write(&keywords, "0 $Forwarded\n1 NonJunk\n2 work\n").unwrap();
        let number = fs::read_dir(place.join("cur")).unwrap().count();
        let path = place.join("cur").join(format!(
            "{}.{number}.test:2,{marks}",
            1_000_000_000 + number
        ));
        fs::write(&path, bytes).unwrap();
        // File::set_times knows no time before 1970.
        let time = rustix::fs::Timespec {
            tv_sec: date,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty())
            .unwrap();
        self.owned(&path);
        self.owned(&keywords);
    }

    /// All that an account has.
    pub fn mail(&self, user: &str) -> Mail {
        let mut all = Mail::new();
        self.read(&self.root(user), "", &mut all);
        all
    }

    fn read(&self, place: &Path, name: &str, all: &mut Mail) {
        if place.join("cur").is_dir() {
            let folder = if name.is_empty() { "INBOX" } else { name };
            all.insert(folder.to_owned(), kept(place));
        }
        let Ok(entries) = fs::read_dir(place) else {
            return;
        };
        for entry in entries.map(Result::unwrap) {
            let inner = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir()
                && !["cur", "new", "tmp"].contains(&inner.as_str())
            {
                let bare = inner.strip_prefix('.').unwrap_or(&inner);
                let inner_name = if name.is_empty() {
                    bare.to_owned()
                } else {
                    format!("{name}/{bare}")
                };
                self.read(&entry.path(), &inner_name, all);
            }
        }
    }

    /// An account's address for `roost import`.
    pub fn url(&self, user: &str) -> String {
        format!("imaps://{user}@127.0.0.1:{}", self.imaps)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its children end with it when it is asked.
        let pid = self.process.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Dovecot reads no mail as root.
fn mail_user() -> Option<u32> {
    (rustix::process::geteuid().is_root()).then(|| id("-u", "nobody").unwrap())
}

fn settings(dir: &Path, setup: Setup, imaps: u16, imap: u16) -> String {
    let at = dir.display();
    let (user, own) = match mail_user() {
        Some(uid) => (uid.to_string(), String::new()),
        None => {
            let uid = rustix::process::geteuid().as_raw().to_string();
            let name =
                String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
            let name = name.trim().to_owned();
            (
                uid,
                format!(
                    "default_internal_user = {name}\ndefault_login_user = {name}\nservice imap-login {{\n chroot =\n}}\nservice anvil {{\n chroot =\n}}\n"
                ),
            )
        }
    };
    let group = mail_user().map_or_else(
        || rustix::process::getegid().as_raw(),
        |_| id("-g", "nobody").unwrap(),
    );
    let (layout, separator, prefix) = if setup.below_inbox {
        ("", ".", "INBOX.")
    } else {
        (":LAYOUT=fs", "/", "")
    };
    let names = match setup {
        Setup {
            below_inbox: true, ..
        } => Vec::new(),
        Setup {
            like_the_box: true, ..
        } => vec![
            ("Sent Items", "Sent"),
            ("Deleted Items", "Trash"),
            ("Drafts", "Drafts"),
            ("Junk Mail", "Junk"),
        ],
        _ => vec![("Sent", "Sent"), ("Deleted", "Trash"), ("Drafts", "Drafts")],
    };
    let uses: String = names
        .iter()
        .map(|(name, role)| {
            format!("mailbox \"{name}\" {{\n special_use = \\{role}\n auto = create\n}}\n")
        })
        .collect();
    let quota = setup.quota_kb.map_or_else(String::new, |kb| {
        format!(
            "mail_plugins = quota\nprotocol imap {{\n mail_plugins = quota imap_quota\n}}\nplugin {{\n quota = count:User quota\n quota_rule = *:storage={kb}k\n quota_vsizes = yes\n}}\n"
        )
    });
    let ssl = if setup.plain {
        "ssl = no\n"
    } else {
        "ssl = yes\n"
    };
    format!(
        "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {at}/run\nstate_dir = {at}/state\nlog_path = {at}/log\n\
         {own}{ssl}ssl_cert = <{at}/cert.pem\nssl_key = <{at}/key.pem\ndisable_plaintext_auth = yes\nauth_mechanisms = plain login\n\
         mail_location = maildir:{at}/mail/%u{layout}\nfirst_valid_uid = 1\nfirst_valid_gid = 0\n\
         passdb {{\n driver = passwd-file\n args = username_format=%u {at}/users\n}}\n\
         userdb {{\n driver = static\n args = uid={user} gid={group} home={at}/mail/%u\n}}\n\
         namespace inbox {{\n inbox = yes\n separator = {separator}\n prefix = {prefix}\n{uses}}}\n\
         service imap-login {{\n inet_listener imap {{\n port = {imap}\n}}\n inet_listener imaps {{\n port = {imaps}\n ssl = yes\n}}\n}}\n{quota}"
    )
}

/// The messages in a maildir.
pub fn kept(place: &Path) -> Vec<Kept> {
    let words = fs::read_to_string(place.join("dovecot-keywords")).unwrap_or_default();
    let words: BTreeMap<char, &str> = words
        .lines()
        .filter_map(|line| {
            let (number, word) = line.split_once(' ')?;
            Some((char::from(b'a' + number.parse::<u8>().ok()?), word))
        })
        .collect();
    let mut all = Vec::new();
    for part in ["cur", "new"] {
        for entry in fs::read_dir(place.join(part)).unwrap().map(Result::unwrap) {
            // The server may be at work.
            let (Ok(about), Ok(bytes)) = (entry.metadata(), fs::read(entry.path())) else {
                continue;
            };
            let name = entry.file_name().into_string().unwrap();
            let marks = name
                .split_once(":2,")
                .map(|(_, marks)| marks)
                .unwrap_or_default();
            let mut flags: Vec<String> = marks
                .chars()
                .map(|letter| {
                    words
                        .get(&letter)
                        .map_or_else(|| letter.to_string(), |word| (*word).to_owned())
                })
                .collect();
            flags.sort();
            all.push(Kept {
                date: about.mtime(),
                flags: flags.join(" "),
                bytes,
            });
        }
    }
    all.sort();
    all
}
