//! restic itself as the judge: what we call a repository of restic's format, it checks and restores.

use roost_backup_repository::code::Code;
use roost_backup_repository::contents::Contents;
use roost_backup_repository::folder::Folder;
use roost_backup_repository::repository::{About, Repository, compare};
use roost_backup_repository::source::Stream;
use roost_service::snapshot::{Head, Held, read_head};
use std::io::Cursor;
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
        let mut held = Held::new(());
        held.add_bytes("mail.sqlite3", 0o600, text.repeat(100_000).into_bytes());
        held.add_bytes("keys/dkim.pem", 0o640, b"secret".to_vec());
        held.add_bytes("keys.old", 0o600, Vec::new());
        let mut sent = Vec::new();
        held.write_to(&mut sent).unwrap();
        let mut from = Cursor::new(sent);
        let Head::Files(items) = read_head(&mut from).unwrap() else {
            panic!("refused")
        };
        let stream = Stream {
            folder: "services/mail".into(),
            items,
            user: 800,
            from: Box::new(from),
        };
        let about = About {
            name: "attic".into(),
            version: "0.1.0+7".into(),
            made_s: 1_700_000_000 + 3600 * hour as u64,
            services: vec![],
        };
        let store = Arc::new(Folder::new(&repository));
        Repository::open_or_begin(store, &code)
            .unwrap()
            .back_up(about, vec![stream], |_, _| {})
            .unwrap();
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
