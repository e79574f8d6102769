//! The place that a target names, opened by what opens it.

use crate::s3::{Patience, S3};
use crate::sftp::{Login, NoSftp, Sftp};
use crate::store::Store;
use roost_service::backup::{NoTarget, Secret, Target};
use std::io;
use std::sync::Arc;

/// One of them.
pub enum Place {
    /// In a bucket.
    S3(Box<S3>),
    /// In a folder of a server.
    Sftp(Box<Sftp>),
}

/// What opens a place.
#[derive(Clone)]
pub enum Opener {
    /// The access key's secret half, or a password.
    Secret(Secret),
    /// A key of SSH.
    Key(crate::sftp::Key),
}

/// Why there is no such place.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// It can be none.
    #[error(transparent)]
    Target(#[from] NoTarget),
    /// There is no thread for it.
    #[error(transparent)]
    Sftp(#[from] NoSftp),
    /// What opens it is missing.
    #[error("the secret key is missing, which opens a bucket")]
    NoSecret,
    /// It is none of a server.
    #[error("a USB disk is no place of a server")]
    Usb,
}

impl Place {
    /// This one. Nothing is asked yet.
    ///
    /// # Errors
    /// [`NoPlace`].
    pub fn new(target: &Target, opener: Opener, patience: Patience) -> Result<Self, NoPlace> {
        Ok(match (target, opener) {
            (Target::S3(bucket), Opener::Secret(secret)) => {
                Self::S3(Box::new(S3::new(bucket, &secret, patience)?))
            }
            (Target::S3(_), Opener::Key(_)) => return Err(NoPlace::NoSecret),
            // Its files are in a folder, for whoever has it plugged in.
            (Target::Usb(_), _) => return Err(NoPlace::Usb),
            (Target::Sftp(server), opener) => {
                let login = match opener {
                    Opener::Secret(password) => Login::Password(password),
                    Opener::Key(key) => Login::Key(key),
                };
                Self::Sftp(Box::new(Sftp::new(server, login, patience)?))
            }
        })
    }

    /// Does once all that a backup needs, and tells whether files may be removed there.
    ///
    /// # Errors
    /// What did not work, in plain words.
    pub fn try_out(&self) -> io::Result<bool> {
        match self {
            Self::S3(bucket) => bucket.try_out(),
            Self::Sftp(server) => server.try_out(),
        }
    }

    /// For a repository.
    pub fn into_store(self) -> Arc<dyn Store> {
        match self {
            Self::S3(bucket) => Arc::new(*bucket),
            Self::Sftp(server) => Arc::new(*server),
        }
    }
}
