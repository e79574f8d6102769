//! Unix sockets in the folder that init makes for this service.

use anyhow::{Context, Result};
use roost_service::spec::RUN_ENV;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// The folder; without init there is none, and nobody can connect.
pub fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os(RUN_ENV).map(PathBuf::from);
    if folder.is_none() {
        println!(
            "mail: {RUN_ENV} is not set: nobody can ask whether mail works or look after accounts"
        );
    }
    folder
}

/// Makes a socket that every user may connect to.
pub fn listen(path: &Path) -> Result<UnixListener> {
    // What the program's last run left would be in the way.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
    .and_then(|()| UnixListener::bind(path))
    .and_then(|listener| {
        // Whoever connects needs the right to write (unix(7)).
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
        Ok(listener)
    })
    .with_context(|| format!("listen on {}", path.display()))
}
