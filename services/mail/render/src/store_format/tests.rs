use super::*;
use std::collections::BTreeMap;

const PLENTY: u64 = 1 << 30;

/// A data folder whose store says `text` and has `format`.
fn folder(text: &str, log: Option<&str>, format: Option<u32>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), text, log);
    fs::write(dir.path().join(LOG_INDEX), "index").unwrap();
    if let Some(format) = format {
        fs::write(dir.path().join(FORMAT), format!("{format}\n")).unwrap();
    }
    dir
}

fn write(dir: &Path, text: &str, log: Option<&str>) {
    fs::write(dir.join(STORE), text).unwrap();
    match log {
        Some(log) => fs::write(dir.join(LOG), log).unwrap(),
        None => remove(&dir.join(LOG)).unwrap(),
    }
}

fn run(dir: &Path, format: u32) -> Result<Settled, Error> {
    settle(dir, format, || Ok(PLENTY))
}

/// Name and text of every file below a folder.
fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            for (inner, text) in files(&entry.path()) {
                found.insert(format!("{name}/{inner}"), text);
            }
        } else {
            found.insert(name, fs::read_to_string(entry.path()).unwrap());
        }
    }
    found
}

fn expect(dir: &Path, wanted: &[(&str, &str)]) {
    let wanted: BTreeMap<_, _> = wanted
        .iter()
        .map(|(n, t)| ((*n).to_owned(), (*t).to_owned()))
        .collect();
    assert_eq!(files(dir), wanted);
}

#[test]
fn a_fresh_box_and_one_from_before_the_number_get_it() {
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(run(fresh.path(), 3).unwrap(), Settled::Same);
    expect(fresh.path(), &[(FORMAT, "3\n")]);
    let old = folder("mail", None, None);
    assert_eq!(run(old.path(), 2).unwrap(), Settled::Kept { format: 1 });
}

#[test]
fn there_and_back() {
    let dir = folder("one", Some("one's log"), Some(1));
    assert_eq!(run(dir.path(), 2).unwrap(), Settled::Kept { format: 1 });
    // The new version migrates, and mail comes in.
    write(dir.path(), "two", None);
    assert_eq!(run(dir.path(), 2).unwrap(), Settled::Same);

    assert_eq!(run(dir.path(), 1).unwrap(), Settled::Restored { from: 2 });
    expect(
        dir.path(),
        &[
            (FORMAT, "1\n"),
            (STORE, "one"),
            (LOG, "one's log"),
            ("replaced-2/mail.sqlite3", "two"),
            ("snapshot-1/mail.sqlite3", "one"),
            ("snapshot-1/mail.sqlite3-wal", "one's log"),
        ],
    );
    assert_eq!(run(dir.path(), 1).unwrap(), Settled::Same);
}

#[test]
fn a_second_try_keeps_what_came_since() {
    let dir = folder("one", None, Some(1));
    run(dir.path(), 2).unwrap();
    run(dir.path(), 1).unwrap();
    write(dir.path(), "one, later", None);
    run(dir.path(), 2).unwrap();
    write(dir.path(), "two again", None);
    assert_eq!(run(dir.path(), 1).unwrap(), Settled::Restored { from: 2 });
    assert_eq!(files(dir.path())[STORE], "one, later");
    assert_eq!(files(dir.path())["replaced-2/mail.sqlite3"], "two again");
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let dir = folder("two", None, Some(2));
    let before = files(dir.path());
    insta::assert_snapshot!(run(dir.path(), 1).unwrap_err(), @"the mail store has format 2, this version knows up to 1 and has no snapshot to return to");
    insta::assert_snapshot!(settle(dir.path(), 3, || Ok(1000)).unwrap_err(), @"the mail store must be copied before this version changes its format: that needs 67108867 bytes, 1000 are free");
    assert_eq!(files(dir.path()), before);
    fs::write(dir.path().join(FORMAT), "many\n").unwrap();
    let said = run(dir.path(), 1).unwrap_err().to_string();
    assert!(said.ends_with("\"many\" is not a format number"), "{said}");
}

/// Runs `settle` again and again, each time with one step more before the power is cut.
/// Returns the number of cuts.
fn cut_everywhere(
    make: impl Fn() -> tempfile::TempDir,
    format: u32,
    after: impl Fn(&Path),
) -> usize {
    for steps in 0.. {
        let dir = make();
        let mut left = steps;
        let mut first = Steps {
            data: dir.path(),
            before: || match left {
                0 => Err(io::Error::other("the power is cut")),
                _ => {
                    left -= 1;
                    Ok(())
                }
            },
        };
        let whole = first.settle(format, || Ok(PLENTY)).is_ok();
        run(dir.path(), format).unwrap();
        after(dir.path());
        if whole {
            return steps;
        }
    }
    unreachable!()
}

#[test]
fn a_power_cut_at_any_step_loses_nothing() {
    for log in [None, Some("one's log")] {
        let cuts = cut_everywhere(
            || folder("one", log, Some(1)),
            2,
            |dir| {
                let files = files(dir);
                assert_eq!(files[STORE], "one");
                assert_eq!(files["snapshot-1/mail.sqlite3"], "one");
                assert_eq!(
                    files.get("snapshot-1/mail.sqlite3-wal").map(String::as_str),
                    log
                );
                assert_eq!(files[FORMAT], "2\n");
            },
        );
        assert!(cuts >= 4, "{cuts}");
        for new_log in [None, Some("two's log")] {
            let cuts = cut_everywhere(
                || {
                    let dir = folder("one", log, Some(1));
                    run(dir.path(), 2).unwrap();
                    write(dir.path(), "two", new_log);
                    dir
                },
                1,
                |dir| {
                    let files = files(dir);
                    assert_eq!(files[STORE], "one");
                    assert_eq!(files.get(LOG).map(String::as_str), log);
                    assert_eq!(files["replaced-2/mail.sqlite3"], "two");
                    assert_eq!(
                        files.get("replaced-2/mail.sqlite3-wal").map(String::as_str),
                        new_log
                    );
                    assert!(!files.keys().any(|name| name.contains(".new")), "{files:?}");
                },
            );
            assert!(cuts >= 8, "{cuts}");
        }
    }
}

#[test]
fn what_is_old_enough_goes() {
    let dir = folder("one", None, Some(1));
    run(dir.path(), 2).unwrap();
    let day = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    tidy(dir.path(), now - 400 * day).unwrap();
    tidy(dir.path(), now + 6 * day).unwrap();
    assert!(dir.path().join("snapshot-1").exists());
    tidy(dir.path(), now + 8 * day).unwrap();
    assert!(!dir.path().join("snapshot-1").exists());
    assert!(dir.path().join(STORE).exists());
}
