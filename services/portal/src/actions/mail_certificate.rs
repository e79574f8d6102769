//! Which certificate mail programs are shown: paired laptops move mail over IMAP, and know by it that what
//! answers at that port is the box.
//!
//! The mail service is asked on loopback, where nobody else may open its port.

use crate::any_certificate;
use crate::app::App;
use roost_service::fingerprint::Fingerprint;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Mail answers within milliseconds; a busy board has been seen to need seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The SHA-256 of the certificate that the mail service shows to those who ask for no name.
///
/// # Errors
///
/// What the connection says.
pub async fn shown(app: &App) -> io::Result<Fingerprint> {
    let look = async {
        let mut config = any_certificate::settings()?;
        config.enable_sni = false;
        let stream = TcpStream::connect(app.places.mail_imaps).await?;
        let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let shown = stream
            .get_ref()
            .1
            .peer_certificates()
            .and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| io::Error::other("it showed no certificate"))?;
        Ok(Fingerprint::of(shown))
    };
    timeout(PATIENCE, look)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
