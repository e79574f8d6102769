//! The store's format before it is opened, and the clean-up of what was kept for a way back.

use anyhow::{Context, Result};
use roost_mail_config::store_format::{self, Settled};
use roost_service::spec::DATA_FORMAT_ENV;
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How often what was kept is looked at.
const TIDY_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Brings the store and this version together (see [`store_format::settle`]).
pub fn settle(data: &Path) -> Result<()> {
    let ours = match std::env::var(DATA_FORMAT_ENV) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{DATA_FORMAT_ENV}={text:?} is not a number"))?,
        // Started by hand or by a test, beside no other version.
        Err(_) => 1,
    };
    match store_format::settle(data, ours, || Ok(file_system(data)?.1))? {
        Settled::Same => {}
        Settled::Kept { format } => {
            println!("mail: the store changes from format {format} to {ours}; a snapshot is kept");
        }
        Settled::Restored { from } => println!(
            "mail: the store had format {from} and was replaced by its snapshot of format {ours}; \
             mail that came in between is in replaced-{from} for {} days",
            store_format::KEEP_REPLACED.as_secs() / (24 * 3600)
        ),
    }
    Ok(())
}

/// Cleans up now and every day, until it is dropped.
pub async fn tidy(data: &Path) {
    let mut every = tokio::time::interval(TIDY_EVERY);
    loop {
        every.tick().await;
        if let Err(error) = store_format::tidy(data, SystemTime::now()) {
            eprintln!("mail: {error}");
        }
    }
}

/// Size and free bytes of the file system that `path` is on.
///
/// By libc, because rustix' file functions would be a new feature of a crate
/// below Stalwart, which would then be compiled again.
#[allow(unsafe_code)]
pub fn file_system(path: &Path) -> std::io::Result<(u64, u64)> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: both pointers are good for the length of the call.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the call said that it has filled it in.
    let found = unsafe { found.assume_init() };
    Ok((
        found.f_blocks * found.f_frsize,
        found.f_bavail * found.f_frsize,
    ))
}
