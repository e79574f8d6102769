//! An acknowledged message is on the disk.
//!
//! The library opens its SQLite database in WAL mode and sets `PRAGMA
//! synchronous = NORMAL` on every connection. In WAL mode NORMAL does not sync
//! the log on commit, so a power cut may take the last transactions with it
//! (sqlite.org/pragma.html#pragma_synchronous), among them messages whose
//! sender was already told "250". SQLite's own default, FULL, syncs on every
//! commit. An authorizer on each new connection makes that one PRAGMA a no-op.

use anyhow::{Context, Result, bail};
use rusqlite::{auto_extension, ffi};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// `PRAGMA synchronous` reads 2 for FULL.
const FULL: i64 = 2;

/// Protects every connection opened from now on, and proves it on one of its own.
///
/// `data` is the service's data folder, where the proof is made.
pub fn install(data: &Path) -> Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: the extension neither opens nor closes a database nor touches
    // the list of extensions, which is all that the function asks for.
    unsafe { auto_extension::register_auto_extension(protect) }
        .context("register the SQLite extension")?;

    let path = data.join("mail.sqlite3");
    // SQLite gives its log files the permissions of the database.
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("make {}", path.display()))?;
    let connection =
        rusqlite::Connection::open(&path).with_context(|| format!("open {}", path.display()))?;
    // The same words as the library's.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        .with_context(|| format!("set up {}", path.display()))?;
    let level: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if level != FULL {
        bail!("the mail store would lose mail in a power cut: synchronous is {level}, not {FULL}");
    }
    Ok(())
}

/// Runs for every new connection.
#[allow(unsafe_code)]
unsafe extern "C" fn protect(
    connection: *mut ffi::sqlite3,
    _error: *mut *mut c_char,
    _api: *const ffi::sqlite3_api_routines,
) -> c_int {
    // SAFETY: SQLite passes the connection that it is opening, and the
    // authorizer needs no user data.
    unsafe { ffi::sqlite3_set_authorizer(connection, Some(authorize), std::ptr::null_mut()) }
}

/// Asked while a statement is compiled, before it runs.
#[allow(unsafe_code)]
unsafe extern "C" fn authorize(
    _data: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    _trigger: *const c_char,
) -> c_int {
    // `second` is the value: reading the PRAGMA, which has none, stays possible.
    if action == ffi::SQLITE_PRAGMA && !first.is_null() && !second.is_null() {
        // SAFETY: not null, and for this action SQLite passes the PRAGMA's
        // name as a C string that lives as long as this call.
        let name = unsafe { CStr::from_ptr(first) };
        if name.to_bytes().eq_ignore_ascii_case(b"synchronous") {
            return ffi::SQLITE_IGNORE;
        }
    }
    ffi::SQLITE_OK
}
