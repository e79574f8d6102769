//! restic itself as the judge: what we call a repository of restic's format, it checks and restores.

mod made;

use made::{BEGIN, back_up};
use roost_backup_repository::code::Code;
use roost_backup_repository::contents::Contents;
use roost_backup_repository::folder::Folder;
use roost_backup_repository::repository::compare;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn restic(repository: &Path, code: &Code, arguments: &[&str]) -> String {
    let out = Command::new("restic")
        .args(["--no-cache", "--repo"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", code.as_str())
        .output()
        .expect("restic is installed (scripts/setup test)");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(out.status.success(), "restic {arguments:?}: {text}");
    text
}

#[test]
fn restic_checks_and_restores_what_we_made() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("repository");
    let code = Code::random().unwrap();
    for (hour, text) in ["one", "one and two"].into_iter().enumerate() {
        let store = Arc::new(Folder::new(&repository));
        let made_s = BEGIN + 3600 * hour as u64;
        back_up(store, &code, made_s, text.repeat(100_000).as_bytes()).unwrap();
    }
    let said = restic(&repository, &code, &["check", "--read-data"]);
    assert!(said.contains("no errors were found"), "{said}");
    let json = restic(&repository, &code, &["snapshots", "--json"]);
    let snapshots: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(snapshots.as_array().unwrap().len(), 2);
    assert_eq!(snapshots[1]["hostname"], "attic");
    assert_eq!(snapshots[1]["tags"][0], "roost");

    let into = dir.path().join("restored");
    restic(
        &repository,
        &code,
        &["restore", "latest", "--target", into.to_str().unwrap()],
    );
    let contents = Contents::parse(&std::fs::read(into.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(contents.files.len(), 3);
    compare(&contents, &into.join("data")).unwrap();
}
