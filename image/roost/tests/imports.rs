//! Who may import whom (ARCHITECTURE.md, "Who may import whom"), checked against cargo's own view.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

#[derive(serde::Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(serde::Deserialize)]
struct Package {
    name: String,
    source: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(serde::Deserialize)]
struct Dependency {
    name: String,
    /// `null` for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// Each crate of ours and the crates of ours that it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "roost",
        &[
            "roost-backup-repository",
            "roost-board",
            "roost-bundle",
            "roost-emulator",
            "roost-service",
        ],
    ),
    (
        "roost-backup",
        &["roost-backup-repository", "roost-service"],
    ),
    ("roost-backup-repository", &["roost-service"]),
    ("roost-board", &[]),
    ("roost-bundle", &[]),
    ("roost-dns", &["roost-service"]),
    ("roost-certificates", &["roost-service"]),
    ("roost-emulator", &["roost-board"]),
    ("roost-init", &["roost-board", "roost-service"]),
    (
        "roost-mail",
        &["roost-mail-config", "roost-mail-server", "roost-service"],
    ),
    ("roost-mail-config", &["roost-service"]),
    ("roost-mail-server", &[]),
    ("roost-portal", &["roost-service"]),
    ("roost-resolver", &["roost-service"]),
    ("roost-service", &[]),
    ("roost-tunnel", &["roost-service"]),
    (
        "roost-updater",
        &["roost-board", "roost-bundle", "roost-service"],
    ),
];

/// What PID 1 must never link: runtimes, TLS, HTTP, and the tables behind `roost_service::names`.
const NOT_IN_INIT: &[&str] = &[
    "tokio",
    "rustls",
    "ring",
    "openssl",
    "hyper",
    "ureq",
    "reqwest",
    "async-std",
    "idna",
];

/// The packages of all workspaces that the image is made from.
fn packages() -> Vec<Package> {
    ["image/roost", "services/mail"]
        .map(packages_of)
        .into_iter()
        .flatten()
        .collect()
}

/// The packages of the workspace around `folder`.
fn packages_of(folder: &str) -> Vec<Package> {
    let checkout = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let out = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--no-deps",
        ])
        .current_dir(checkout.join(folder))
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let metadata: Metadata = serde_json::from_slice(&out.stdout).expect("cargo prints JSON");
    metadata.packages
}

#[test]
fn crates_import_only_what_they_may() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages
        .iter()
        .filter(|p| p.source.is_none())
        .map(|p| p.name.as_str())
        .collect();
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    for package in &packages {
        let may = allowed.get(package.name.as_str()).unwrap_or_else(|| {
            panic!(
                "{} is new: say in this test whom it may import",
                package.name
            )
        });
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            if ours.contains(name) && dependency.kind.as_deref() != Some("dev") {
                assert!(may.contains(&name), "{} imports {name}", package.name);
            }
        }
    }
    for (name, _) in ALLOWED {
        assert!(
            ours.contains(name),
            "{name} is gone: take it out of this test"
        );
    }
}

#[test]
fn pid_1_links_no_runtime_no_tls_and_no_http() {
    let out = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "-p",
            "roost-init",
            "-e",
            "normal",
            "--prefix",
            "none",
            "-f",
            "{p}",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let text = String::from_utf8(out.stdout).expect("names are text");
    assert!(
        text.contains("rustix"),
        "cargo tree printed something else:\n{text}"
    );
    let linked: BTreeSet<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
    for name in NOT_IN_INIT {
        assert!(!linked.contains(name), "init links {name}");
    }
}
