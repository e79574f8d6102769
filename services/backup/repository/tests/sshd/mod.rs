//! A real SFTP server: OpenSSH's, from `build/openssh` (`scripts/setup test` unpacks it there), on the loopback as
//! the user who runs the test; and a wire to it that can be cut.

#![allow(dead_code, missing_docs)]

use roost_backup_repository::s3::Patience;
use roost_backup_repository::sftp::{Key, Login, Sftp};
use roost_service::backup::{HostKey, SftpTarget};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Where the server's programs are, below the folder that has them.
const SERVER: &str = "usr/sbin/sshd";
/// Since OpenSSH 9.8 it has others, at places that its configuration can name.
const PARTS: [(&str, &str); 2] = [
    ("SshdSessionPath", "sshd-session"),
    ("SshdAuthPath", "sshd-auth"),
];

fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("build/openssh"))
        .find(|folder| folder.join(SERVER).exists())
        .expect("OpenSSH's server is in build/openssh (scripts/setup test)")
}

/// The program that speaks SFTP.
pub fn sftp_server() -> PathBuf {
    installed().join("usr/lib/openssh/sftp-server")
}

/// Who runs the test.
pub fn user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// The server, ended with it.
pub struct Sshd {
    child: Child,
    dir: tempfile::TempDir,
    pub port: u16,
    /// A key that it takes.
    pub key: Key,
    /// The fingerprint of its own, as `ssh-keygen` tells it.
    pub host_key: HostKey,
    options: String,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Sshd {
    pub fn start() -> Self {
        Self::with("")
    }

    /// With these options of its program `sftp-server`.
    pub fn with(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = Key::random().unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        std::fs::write(dir.path().join("authorized_keys"), key.line()).unwrap();
        let port = free_port();
        let host_key = new_host_key(dir.path());
        let child = begin(dir.path(), port, options);
        let server = Self {
            child,
            dir,
            port,
            key,
            host_key,
            options: options.to_owned(),
        };
        server.wait();
        server
    }

    /// Not by connecting: to a port that nobody has yet, the kernel may connect a socket with itself.
    fn wait(&self) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.log().contains("Server listening") {
            let log = self.log();
            assert!(Instant::now() < end, "sshd does not listen: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Another server at the same place: that of somebody in between, or the same one set up anew.
    pub fn change_host_key(&mut self) {
        self.stop();
        self.host_key = new_host_key(self.dir.path());
        self.again();
    }

    pub fn again(&mut self) {
        self.child = begin(self.dir.path(), self.port, &self.options);
        self.wait();
    }

    /// What it takes a key of, from now on.
    pub fn authorize(&self, lines: &str) {
        std::fs::write(self.dir.path().join("authorized_keys"), lines).unwrap();
    }

    /// Where the account begins.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn place(&self, folder: &str) -> String {
        format!("sftp://{}@127.0.0.1:{}/~/{folder}", user(), self.port)
    }

    pub fn target(&self, folder: &str) -> SftpTarget {
        SftpTarget::of(&self.place(folder), self.host_key.clone()).unwrap()
    }

    pub fn login(&self) -> Login {
        Login::Key(self.key.clone())
    }

    pub fn sftp(&self, folder: &str, patience: Patience) -> Sftp {
        Sftp::new(&self.target(folder), self.login(), patience).unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

/// One that nobody has; the listener that found it is gone when this returns.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn new_host_key(dir: &Path) -> HostKey {
    let path = dir.join("host_key");
    let key = Key::random().unwrap();
    std::fs::write(&path, key.to_text().as_bytes()).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let out = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(&path)
        .output()
        .expect("ssh-keygen is installed (scripts/setup test)");
    let shown = String::from_utf8(out.stdout).unwrap();
    shown.split(' ').nth(1).unwrap().parse().unwrap()
}

fn begin(dir: &Path, port: u16, options: &str) -> Child {
    let from = installed();
    let at = |name: &str| dir.join(name).display().to_string();
    let mut config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
         StrictModes no\nPasswordAuthentication yes\nPermitRootLogin yes\n\
         Subsystem sftp {} -d {} {options}\n",
        at("host_key"),
        at("authorized_keys"),
        sftp_server().display(),
        at("home"),
    );
    for (option, program) in PARTS {
        let path = from.join("usr/lib/openssh").join(program);
        if path.exists() {
            // The same versions make whoever was refused wait.
            config += &format!("{option} {}\nPerSourcePenalties no\n", path.display());
        }
    }
    std::fs::write(dir.join("config"), config).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let server = from.join(SERVER);
    let mut command;
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        // As root it wants a user of its own and a folder, which its package would make.
        std::fs::write(
            dir.join("passwd"),
            std::fs::read_to_string("/etc/passwd").unwrap()
                + "\nsshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n",
        )
        .unwrap();
        command = Command::new("bwrap");
        command
            .args(["--die-with-parent", "--dev-bind", "/", "/", "--ro-bind"])
            .args([&at("passwd"), "/etc/passwd"])
            .args(["--perms", "0755", "--tmpfs", "/run/sshd"])
            .arg(server);
    } else {
        command = Command::new(server);
    }
    command
        .args(["-D", "-e", "-f"])
        .arg(dir.join("config"))
        .env("LD_LIBRARY_PATH", from.join("usr/lib/x86_64-linux-gnu"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("sshd (scripts/setup test) and, for root, bwrap are installed")
}

/// A wire to a server. So many bytes go over it to the server as [`Wire::cut_after`] says; then it is cut, and nothing
/// goes any more, until it is mended.
pub struct Wire {
    pub port: u16,
    left: Arc<AtomicI64>,
}

impl Wire {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().port();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let wire = Self {
            port: here,
            left: left.clone(),
        };
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(here) = connection else { return };
                if left.load(Ordering::SeqCst) <= 0 {
                    continue;
                }
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                let (from, to) = (there.try_clone().unwrap(), here.try_clone().unwrap());
                std::thread::spawn(move || carry(from, to, &AtomicI64::new(i64::MAX)));
                let left = left.clone();
                std::thread::spawn(move || carry(here, there, &left));
            }
        });
        wire
    }

    pub fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.cut_after(i64::MAX);
    }

    /// How many bytes may still go.
    pub fn left(&self) -> i64 {
        self.left.load(Ordering::SeqCst)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, left: &AtomicI64) {
    let mut buffer = [0; 4096];
    loop {
        let count = from.read(&mut buffer).unwrap_or(0);
        let before = left.fetch_sub(count as i64, Ordering::SeqCst);
        let allowed = usize::try_from(before).unwrap_or(0).min(count);
        let sent = to.write_all(&buffer[..allowed]);
        if count == 0 || sent.is_err() || allowed < count {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            return;
        }
    }
}
