//! The certificate that TLS shows: the certificate service's as soon as there is one, and until then
//! the self-signed one that the library has from the configuration.
//!
//! No copy of it is kept: the service starts at the same time as this program, and a key that lies in
//! one place less is stolen from one place less.

use roost_mail_config::issued;
use roost_service::certificates::{Certificate, MAIL, socket};
use roost_service::follow;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The certificate that a start is to open its ports with, while it is being asked for.
pub struct First(JoinHandle<Option<Certificate>>);

/// Begins to ask. Must be called within tokio's runtime.
pub fn first() -> First {
    First(tokio::spawn(async { issued::first(&socket()).await }))
}

impl First {
    /// What the certificate service says; nothing if it says nothing for too long.
    pub async fn in_time(mut self) -> Option<Certificate> {
        match timeout(issued::PATIENCE, &mut self.0).await {
            Ok(asked) => asked.ok().flatten(),
            Err(_) => {
                self.0.abort();
                eprintln!(
                    "mail: the certificate service does not answer: \
                     TLS shows the self-signed certificate until it does"
                );
                None
            }
        }
    }
}

/// What is shown.
pub struct Certificates {
    server: roost_mail_server::Certificates,
    /// [`Certificate::version`] of what was taken last.
    version: String,
}

impl Certificates {
    /// The configuration's own certificate is shown.
    pub fn new(server: roost_mail_server::Certificates) -> Self {
        Certificates {
            server,
            version: String::new(),
        }
    }

    /// Shows it to new connections. One that cannot be used changes nothing.
    pub fn take(&mut self, certificate: &Certificate) {
        if self.version == certificate.version {
            return;
        }
        // Also of one that cannot be used: that is said once.
        self.version.clone_from(&certificate.version);
        match issued::certified_key(certificate) {
            Ok(key) => {
                self.server.show(key, issued::lookup_names(certificate));
                println!("mail: {}", issued::in_use(certificate));
            }
            Err(error) => eprintln!("mail: {error}; the one before stays in use"),
        }
    }

    /// Takes every certificate that comes, for as long as this program runs.
    pub async fn follow(mut self) {
        let mut newest = follow::follow(socket(), MAIL.into());
        loop {
            let certificate = newest.borrow_and_update().clone();
            if let Some(certificate) = certificate {
                self.take(&certificate);
            }
            if newest.changed().await.is_err() {
                return;
            }
        }
    }
}
