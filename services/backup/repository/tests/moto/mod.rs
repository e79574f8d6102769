//! A real server that speaks S3: moto, from `build/relay-tools` (`scripts/setup` makes it).

#![allow(dead_code, missing_docs)]

use roost_service::backup::{Secret, Target};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Keys in a list, so that lists have more than one page.
const PAGE: &str = "20";

/// The server, ended with it. What it keeps is in memory.
pub struct Moto {
    child: Child,
    pub url: String,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    /// With the bucket `backups`. `None`, and a word on it, where moto is not installed.
    pub fn start() -> Option<Self> {
        let tools = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let python = tools
            .ancestors()
            .map(|folder| folder.join("build/relay-tools/bin/python"))
            .find(|python| python.exists());
        let Some(python) = python else {
            eprintln!("SKIPPED: no moto, so nothing of S3 was tried: run scripts/setup test");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(port.to_string())
            .env("MOTO_S3_DEFAULT_MAX_KEYS", PAGE)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        let end = Instant::now() + Duration::from_secs(120);
        while moto.put("backups", "").is_err() {
            assert!(Instant::now() < end, "moto does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(moto)
    }

    /// Puts something there without a signature, which moto does not ask for.
    pub fn put(&self, path: &str, body: &str) -> Result<(), ureq::Error> {
        ureq::put(format!("{}/{path}", self.url))
            .send(body)
            .map(drop)
    }

    pub fn target(&self, place: &str) -> Target {
        Target::of(place, Some(&self.url), None, "AKIA1").unwrap()
    }

    pub fn secret() -> Secret {
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCY".parse().unwrap()
    }
}
