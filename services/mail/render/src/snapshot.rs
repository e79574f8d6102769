//! The mail store for a backup, while mail goes on.
//!
//! SQLite in WAL mode appends every commit to its log, and copies pages from there into the store's file
//! when nobody reads an older state (sqlite.org/wal.html). A transaction that reads keeps the log from
//! being begun anew: what lies in the two files from then on is what a power cut at some moment would
//! leave, and the mail server opens that at every start after one. So the files are copied as they are,
//! the store first and then the log; no second copy is made on the card, and no mail waits.
//!
//! One case is different. Whoever begins to read when all of the log is in the store's file reads that
//! alone, and others may begin the log anew meanwhile: a copy of it could then lead back to older pages.
//! So three things are done in their order:
//!
//! 1. a first transaction reads: nothing behind what it sees gets into the store's file;
//! 2. a commit that changes nothing (`user_version` as it was) puts a page behind that into the log;
//! 3. a second transaction reads. It needs that page, so the log is not begun anew until it ends.
//!
//! The log grows meanwhile by what is written in the minutes of a backup.

use crate::room::BALLAST_FILE;
use crate::store_format::{LOG, LOG_INDEX, STORE};
use roost_service::snapshot::Held;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest wait for those who write.
const PATIENCE: Duration = Duration::from_secs(30);

/// Holds the store as it is now, and hands it over with the keys and everything else of the data folder
/// but what can be made anew.
///
/// # Errors
/// SQLite's and the file system's.
pub fn hold(data: &Path) -> io::Result<Held> {
    let store = data.join(STORE);
    let mut held = if store.exists() {
        let reader = begin(&store).map_err(|error| {
            io::Error::other(format!("the mail store cannot be held still: {error}"))
        })?;
        let mut held = Held::new(reader);
        held.add_kept(STORE, kept(&store)?)?;
        held.add_file(LOG, File::open(data.join(LOG))?)?;
        held
    } else {
        Held::new(())
    };
    held.add_folder(data, is_left_out)?;
    Ok(held)
}

/// What is no part of a backup, or comes another way.
fn is_left_out(path: &str) -> bool {
    [STORE, LOG, LOG_INDEX, BALLAST_FILE].contains(&path)
        // Kept for the way back of an update, which a restored box does not take.
        || ["snapshot-", "replaced-"].iter().any(|begin| path.starts_with(begin))
}

/// See the module's words.
fn begin(store: &Path) -> rusqlite::Result<Connection> {
    let open = || {
        let connection = Connection::open_with_flags(
            store,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(PATIENCE)?;
        Ok::<_, rusqlite::Error>(connection)
    };
    let read = |connection: &Connection| {
        connection.execute_batch("BEGIN")?;
        // The transaction begins with what it reads first.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
    };
    let first = open()?;
    read(&first)?;
    let writer = open()?;
    writer.execute_batch("BEGIN IMMEDIATE")?;
    let version: i64 = writer.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    writer.execute_batch(&format!("PRAGMA user_version = {version}; COMMIT"))?;
    let second = open()?;
    read(&second)?;
    Ok(second)
}

/// The store's file, open until the program ends: closing it would take away the locks that SQLite has on
/// it (sqlite.org/howtocorrupt.html, section 2.2).
fn kept(path: &Path) -> io::Result<&'static File> {
    static OPEN: Mutex<Vec<(PathBuf, &'static File)>> = Mutex::new(Vec::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, file)) = open.iter().find(|(known, _)| known == path) {
        return Ok(file);
    }
    let file: &'static File = Box::leak(Box::new(File::open(path)?));
    open.push((path.to_owned(), file));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roost_service::snapshot::{Head, read_end, read_head};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn open(path: &Path) -> Connection {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")
            .unwrap();
        connection
    }

    /// A thousand rows that change together, and some that come.
    fn make(path: &Path) -> Connection {
        let connection = open(path);
        connection
            .execute_batch(
                "CREATE TABLE same (n INTEGER PRIMARY KEY, value INTEGER, filler BLOB);
                 CREATE TABLE mail (n INTEGER PRIMARY KEY, text BLOB);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
                 INSERT INTO same SELECT i, 0, randomblob(700) FROM n;",
            )
            .unwrap();
        connection
    }

    fn change(connection: &Connection) {
        connection
            .execute_batch(
                "BEGIN IMMEDIATE; UPDATE same SET value = value + 1;
                 INSERT INTO mail (text) VALUES (randomblob(5000)); COMMIT",
            )
            .unwrap();
    }

    /// Puts what comes into a folder; `rest` is called between pieces.
    fn take(from: impl Read, into: &Path, mut rest: impl FnMut()) -> io::Result<Vec<String>> {
        let mut from = BufReader::new(from);
        let Head::Files(items) = read_head(&mut from)? else {
            panic!("refused")
        };
        for item in &items {
            let path = into.join(&item.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let (mut file, mut left) = (File::create(path).unwrap(), item.size);
            while left > 0 {
                let piece = from.fill_buf()?;
                let count = piece.len().min(usize::try_from(left).unwrap());
                file.write_all(&piece[..count]).unwrap();
                from.consume(count);
                left -= count as u64;
                rest();
            }
        }
        read_end(&mut from, &items)?;
        Ok(items.into_iter().map(|item| item.path).collect())
    }

    /// What the store says of itself: the value that all rows have, and how many messages there are.
    fn sound(path: &Path) -> (i64, i64) {
        let connection = Connection::open(path).unwrap();
        let row = |sql: &str| -> (i64, i64) {
            connection
                .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap()
        };
        let check: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        let (least, most) = row("SELECT min(value), max(value) FROM same");
        assert_eq!(least, most, "a transaction came half");
        let (rows, mails) = row("SELECT (SELECT count(*) FROM same), (SELECT count(*) FROM mail)");
        assert_eq!(rows, 300);
        assert_eq!(mails, most, "a message without its transaction");
        (most, mails)
    }

    #[test]
    fn keys_come_with_the_store_and_what_can_be_made_anew_does_not() {
        let (data, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| data.path().join(name);
        std::fs::write(at("dkim-rsa.pem"), "key").unwrap();
        std::fs::write(at(BALLAST_FILE), [0; 100]).unwrap();
        std::fs::create_dir(at("snapshot-1")).unwrap();
        std::fs::write(at("snapshot-1/mail.sqlite3"), "old").unwrap();
        let get = || {
            let mut sent = Vec::new();
            hold(data.path()).unwrap().write_to(&mut sent).unwrap();
            take(&sent[..], copy.path(), || {}).unwrap()
        };
        assert_eq!(get(), ["dkim-rsa.pem"], "a box that waits for pairing");
        let connection = make(&at(STORE));
        change(&connection);
        assert_eq!(get(), ["dkim-rsa.pem", STORE, LOG]);
        assert_eq!(sound(&copy.path().join(STORE)), (1, 1));
        // Once more, when everything is in the store's file and the log is empty.
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        std::fs::remove_file(copy.path().join(STORE)).unwrap();
        get();
        assert_eq!(sound(&copy.path().join(STORE)), (1, 1));
        let user: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .unwrap();
        assert_eq!(user, 0);
    }

    /// A snapshot while others write and checkpoint as fast as they can, taken slowly.
    fn under_load(checkpoint_pages: u32, truncate: bool, before: u32) {
        let (data, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = data.path().join(STORE);
        let connection = make(&store);
        for _ in 0..before {
            change(&connection);
        }
        if truncate {
            connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
                .unwrap();
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let connection = open(&store);
                connection
                    .execute_batch(&format!("PRAGMA wal_autocheckpoint = {checkpoint_pages}"))
                    .unwrap();
                while !stop.load(Ordering::Relaxed) {
                    change(&connection);
                    // SQLite's locks know no queue: whoever never rests keeps all others out.
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            scope.spawn(|| {
                let connection = open(&store);
                connection.busy_timeout(Duration::ZERO).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    for kind in ["PASSIVE", "RESTART", "TRUNCATE"] {
                        // Busy is an answer too.
                        let _ = connection.query_row(
                            &format!("PRAGMA wal_checkpoint({kind})"),
                            [],
                            |_| Ok(()),
                        );
                    }
                }
            });
            let (ours, theirs) = UnixStream::pair().unwrap();
            let held = hold(data.path()).unwrap();
            scope.spawn(move || held.write_to(&mut &ours).unwrap());
            take(theirs, copy.path(), || {
                std::thread::sleep(Duration::from_micros(300))
            })
            .unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        let (value, _) = sound(&copy.path().join(STORE));
        assert!(value >= i64::from(before), "{value} of {before}");
        // The store itself took no harm, and its log gets short again.
        sound(&store);
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
                assert_eq!(row.get::<_, i64>(0), Ok(0), "somebody still reads");
                Ok(())
            })
            .unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn a_snapshot_under_load_is_of_one_moment(pages in 1_u32..200, truncate: bool, before in 0_u32..20) {
            under_load(pages, truncate, before);
        }
    }
}
