//! Looks at the room on the card, and refuses new mail in time (`roost_mail_config::room`).
//!
//! The rule in the configuration asks by SQL, which is the one door of the library's expressions
//! that leads back to this program: every connection gets a function that reads [`FULL`].

use anyhow::{Context, Result};
use roost_mail_config::room::{self, BALLAST, BALLAST_FILE, Ballast, Room};
use roost_service::notifier::Notifier;
use rusqlite::{Connection, OpenFlags, auto_extension, ffi};
use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::store_format::file_system;

/// How often the file system is asked: a fast line brings 60 MB in this time.
const EVERY: Duration = Duration::from_secs(5);

/// Whether no new mail is taken.
static FULL: AtomicBool = AtomicBool::new(false);

/// Lets the rule ask, on every connection that is opened from now on, and lets go of the ballast
/// if nothing could start otherwise.
pub fn prepare(data: &Path) -> Result<()> {
    #[allow(unsafe_code)]
    // SAFETY: the extension neither opens nor closes a database nor touches
    // the list of extensions, which is all that the function asks for.
    unsafe { auto_extension::register_auto_extension(add_function) }
        .context("register the SQLite function")?;
    let file = data.join(BALLAST_FILE);
    let room = look(data, false).context("ask for the room on the card")?;
    if room::ballast(room, file.exists(), true) == Ballast::Drop {
        std::fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        println!("mail: the card is full; what was held back for that is used to start");
    }
    note(room);
    Ok(())
}

/// Looks now and then, until it is dropped.
pub async fn watch(data: PathBuf, notifier: &Notifier) {
    let mut said = false;
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        let folder = data.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let room = look(&folder, true)?;
            hold_back(&folder, room);
            Ok::<_, anyhow::Error>(room)
        });
        let room = match looked.await {
            Ok(Ok(room)) => room,
            Ok(Err(error)) => {
                eprintln!("mail: ask for the room on the card: {error:#}");
                continue;
            }
            Err(_) => continue,
        };
        let full = note(room);
        if full != said {
            let status = if full {
                room.full_status()
            } else {
                "there is room on the card again: mail is taken".into()
            };
            println!("mail: {status}");
            notifier.status(&status);
            said = full;
        }
    }
}

/// Decides, and says what is so from now on.
fn note(room: Room) -> bool {
    let full = room.is_full(FULL.load(Ordering::Relaxed));
    FULL.store(full, Ordering::Relaxed);
    full
}

/// `inside`: with what the store could use again, if that decides.
fn look(data: &Path, inside: bool) -> Result<Room> {
    let (total, free) = file_system(data)?;
    let mut room = Room {
        total,
        free,
        reusable: 0,
    };
    if inside && !room.is_plenty() {
        room.reusable = reusable(&data.join("mail.sqlite3"))?;
    }
    Ok(room)
}

/// Bytes of the store's file that hold nothing.
fn reusable(store: &Path) -> Result<u64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(store, flags)?;
    let value = |pragma| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let pages = value("PRAGMA freelist_count")?;
    let size = value("PRAGMA page_size")?;
    Ok(u64::try_from(pages.saturating_mul(size)).unwrap_or(0))
}

fn hold_back(data: &Path, room: Room) {
    let file = data.join(BALLAST_FILE);
    if room::ballast(room, file.exists(), false) != Ballast::Make {
        return;
    }
    if let Err(error) = make_ballast(&file) {
        eprintln!("mail: hold back room in {}: {error}", file.display());
        let _ = std::fs::remove_file(&file);
    }
}

/// Takes the blocks without writing to them, which would wear the card.
fn make_ballast(file: &Path) -> io::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    let length = libc::off_t::try_from(BALLAST).map_err(io::Error::other)?;
    #[allow(unsafe_code)]
    // SAFETY: the descriptor is open for the length of the call.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Runs for every new connection.
#[allow(unsafe_code)]
unsafe extern "C" fn add_function(
    connection: *mut ffi::sqlite3,
    _error: *mut *mut c_char,
    _api: *const ffi::sqlite3_api_routines,
) -> c_int {
    const NAME: &CStr = c"roost_refuses";
    // SAFETY: SQLite passes the connection that it is opening; the function
    // needs no user data.
    unsafe {
        ffi::sqlite3_create_function_v2(
            connection,
            NAME.as_ptr(),
            1,
            ffi::SQLITE_UTF8,
            std::ptr::null_mut(),
            Some(refuses),
            None,
            None,
            None,
        )
    }
}

/// `roost_refuses(address)`: 1 if new mail of this client is refused.
#[allow(unsafe_code)]
unsafe extern "C" fn refuses(
    context: *mut ffi::sqlite3_context,
    _count: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: the function was registered with one argument, whose text lives
    // as long as this call; its length is asked for after the text, as SQLite wants it.
    let address = unsafe {
        let text = ffi::sqlite3_value_text(*values);
        if text.is_null() {
            ""
        } else {
            let length = usize::try_from(ffi::sqlite3_value_bytes(*values)).unwrap_or(0);
            std::str::from_utf8(std::slice::from_raw_parts(text, length)).unwrap_or("")
        }
    };
    let refused = room::refuses(FULL.load(Ordering::Relaxed), address);
    // SAFETY: the context is SQLite's own.
    unsafe { ffi::sqlite3_result_int(context, refused.into()) };
}
