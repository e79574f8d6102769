//! Downloads of pinned Debian packages into the cache, named by their hash.

use crate::error::Failure;
use crate::lock::Package;
use crate::store::{disk_failure, sha256_file};
use crate::ui::Step;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// Connections at a time: enough to hide a mirror's latency, few enough to be polite.
const CONNECTIONS: usize = 4;
/// A mirror that sends nothing for so long has forgotten the connection: the file is asked for again.
const STALL: Duration = Duration::from_secs(30);

/// The folder of downloaded packages.
pub struct Downloads {
    dir: PathBuf,
    /// How long a mirror may send nothing.
    stall: Duration,
}

impl Downloads {
    /// The download folder below the cache.
    pub fn new(cache: &Path) -> Self {
        Self {
            dir: cache.join("packages"),
            stall: STALL,
        }
    }

    /// Where the package's file is once fetched. Its presence means that its hash was right.
    pub fn path(&self, package: &Package) -> PathBuf {
        self.dir.join(format!("{}.deb", package.sha256))
    }

    /// The packages that are not there yet.
    pub fn missing<'a>(&self, packages: impl Iterator<Item = &'a Package>) -> Vec<&'a Package> {
        packages.filter(|p| !self.path(p).is_file()).collect()
    }

    /// Fetches `packages` from the mirror, checking size and hash of each.
    pub fn fetch(
        &self,
        mirror: &str,
        packages: &[&Package],
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.dir).map_err(|e| disk_failure("create", &self.dir, e))?;
        step.total_bytes(packages.iter().map(|p| p.size).sum());
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // Starts anew with every read; a large file on a slow line may take as long as it needs.
            .timeout_per_read(Some(self.stall))
            .user_agent("roost")
            .build()
            .into();
        let queue = Mutex::new(packages.iter().copied().collect::<VecDeque<_>>());
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    loop {
                        let Some(package) =
                            queue.lock().expect("no panic while locked").pop_front()
                        else {
                            break;
                        };
                        if let Err(e) = self.fetch_one(&agent, mirror, package, step) {
                            queue.lock().expect("no panic while locked").clear();
                            failure
                                .lock()
                                .expect("no panic while locked")
                                .get_or_insert(e);
                        }
                    }
                });
            }
        });
        failure
            .into_inner()
            .expect("no panic while locked")
            .map_or(Ok(()), Err)
    }

    fn fetch_one(
        &self,
        agent: &ureq::Agent,
        mirror: &str,
        package: &Package,
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        let mut last = None;
        // A mirror behind a busy line drops connections; one file is small enough to start over.
        for _ in 0..3 {
            match self.attempt(agent, mirror, package, step) {
                Ok(()) => return Ok(()),
                Err(Attempt::Final(f)) => return Err(f),
                Err(Attempt::Again(f)) => last = Some(f),
            }
        }
        Err(last.expect("three attempts were made"))
    }

    fn attempt(
        &self,
        agent: &ureq::Agent,
        mirror: &str,
        package: &Package,
        step: &Step<'_>,
    ) -> Result<(), Attempt> {
        let what = format!("{} {} ({})", package.name, package.version, package.arch);
        let url = format!("{mirror}/{}", package.path);
        let response = agent.get(&url).call().map_err(|e| match e {
            ureq::Error::StatusCode(404) => Attempt::Final(
                Failure::new(format!("{what} is no longer on the mirror"))
                    .because(format!("{url}: 404 Not Found"))
                    .hint(
                        "run `roost lock` to pin the versions that the mirror has now, \
                         or name a mirror that keeps old versions:  [build]  mirror = \"…\"  in roost.toml",
                    ),
            ),
            e => Attempt::Again(
                Failure::new(format!("cannot download {what}"))
                    .because(format!("{url}: {e}"))
                    .hint(AGAIN),
            ),
        })?;
        let fail = |e| Attempt::Final(disk_failure("write", &self.dir, e));
        let mut file = tempfile::Builder::new()
            .prefix(".part-")
            .tempfile_in(&self.dir)
            .map_err(fail)?;
        let mut body = response.into_body().into_reader();
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        let mut size = 0;
        let broken_off = |e: std::io::Error| {
            let stalled = matches!(
                e.get_ref().and_then(|e| e.downcast_ref()),
                Some(ureq::Error::Timeout(_))
            );
            let why = if stalled {
                format!("no data for {} s", self.stall.as_secs_f32())
            } else {
                e.to_string()
            };
            Attempt::Again(
                Failure::new(format!("the download of {what} broke off"))
                    .because(format!("{url}: {why}"))
                    .hint(AGAIN),
            )
        };
        let damaged = |why: String| {
            Attempt::Again(
                Failure::new(format!("the download of {what} is damaged"))
                    .because(format!("{url}: {why}"))
                    .hint("run the same command again; if it stays, the mirror or a proxy changes files: try another mirror"),
            )
        };
        loop {
            let n = body.read(&mut buffer).map_err(broken_off)?;
            if n == 0 {
                break;
            }
            size += n as u64;
            if size > package.size {
                return Err(damaged(format!("longer than {} bytes", package.size)));
            }
            hash.update(&buffer[..n]);
            file.write_all(&buffer[..n]).map_err(fail)?;
            step.advance(n as u64);
        }
        let got = hex::encode(hash.finalize());
        if got != package.sha256 {
            return Err(damaged(format!(
                "sha256 is {got}, roost.lock says {}",
                package.sha256
            )));
        }
        file.persist(self.path(package))
            .map_err(|e| fail(e.error))?;
        Ok(())
    }

    /// Reads a cached file again and compares its hash; a damaged one is removed, so that a retry fetches it anew.
    pub fn verify(&self, package: &Package) -> Result<PathBuf, Failure> {
        let path = self.path(package);
        let got = sha256_file(&path)?;
        if got == package.sha256 {
            return Ok(path);
        }
        std::fs::remove_file(&path).map_err(|e| disk_failure("remove", &path, e))?;
        Err(Failure::new(format!(
            "the cached copy of {} {} is damaged",
            package.name, package.version
        ))
        .because(format!(
            "sha256 is {got}, roost.lock says {}",
            package.sha256
        ))
        .hint("it was removed; run the same command again to fetch it anew"))
    }
}

/// What to do about a network that does not work.
const AGAIN: &str = "check the network and run the same command again; finished downloads are kept";

enum Attempt {
    Again(Failure),
    Final(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Purpose;
    use crate::ui::{Mode, Ui};
    use std::net::TcpListener;

    /// A mirror that answers every request with `answer`; gives its address.
    fn mirror(answer: Vec<u8>) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        format!("http://{address}")
    }

    fn package(contents: &[u8]) -> Package {
        Package {
            purpose: Purpose::Image,
            name: "linux".into(),
            arch: "arm64".into(),
            version: "7.3".into(),
            path: "pool/linux.deb".into(),
            size: contents.len() as u64,
            sha256: hex::encode(Sha256::digest(contents)),
        }
    }

    fn fetch(dir: &Path, mirror: &str, package: &Package) -> Result<(), String> {
        let ui = Ui::new(Mode::Quiet);
        let step = ui.step("fetch");
        let mut downloads = Downloads::new(dir);
        downloads.stall = Duration::from_millis(500);
        downloads.fetch(mirror, &[package], &step).map_err(|f| {
            let text = anstream::adapter::strip_str(&f.render()).to_string();
            text.replace(mirror, "http://mirror")
        })
    }

    fn answer(status: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// The folder holds nothing but whole, checked files.
    fn files(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir.join("packages")).unwrap();
        entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_damaged_download_leaves_nothing_and_the_next_try_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let package = package(b"right");
        let text = fetch(dir.path(), &mirror(answer("200 OK", b"wrong")), &package).unwrap_err();
        insta::assert_snapshot!(text);
        assert!(files(dir.path()).is_empty());
        fetch(dir.path(), &mirror(answer("200 OK", b"right")), &package).unwrap();
        assert_eq!(files(dir.path()), [format!("{}.deb", package.sha256)]);
    }

    #[test]
    fn a_download_cut_short_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nri".to_vec();
        let text = fetch(dir.path(), &mirror(cut), &package(b"right")).unwrap_err();
        assert!(
            text.starts_with("error: the download of linux 7.3 (arm64) broke off"),
            "{text}"
        );
        assert!(files(dir.path()).is_empty());
    }

    #[test]
    fn a_stalled_download_is_tried_again_and_then_given_up() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut open = Vec::new();
            // Half of the file, then silence on an open connection.
            for _ in 0..3 {
                let mut stream = listener.accept().unwrap().0;
                let _ = stream.read(&mut [0; 4096]).unwrap();
                let half = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nri";
                stream.write_all(half).unwrap();
                open.push(stream);
            }
            open
        });
        let dir = tempfile::tempdir().unwrap();
        let text = fetch(dir.path(), &address, &package(b"right")).unwrap_err();
        insta::assert_snapshot!(text);
        assert!(files(dir.path()).is_empty());
        assert_eq!(server.join().unwrap().len(), 3);
    }

    #[test]
    fn a_version_that_the_mirror_no_longer_has_is_said_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let text = fetch(
            dir.path(),
            &mirror(answer("404 Not Found", b"")),
            &package(b"right"),
        )
        .unwrap_err();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_cached_file_that_went_bad_is_removed_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let package = package(b"right");
        fetch(dir.path(), &mirror(answer("200 OK", b"right")), &package).unwrap();
        let downloads = Downloads::new(dir.path());
        std::fs::write(downloads.path(&package), b"rotten").unwrap();
        let failure = downloads.verify(&package).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "the cached copy of linux 7.3 is damaged"
        );
        assert_eq!(downloads.missing([&package].into_iter()).len(), 1);
    }
}
