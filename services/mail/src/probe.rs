//! Proving on request that mail works (`roost_service::probe`).
//!
//! The proof itself is in `roost_mail_config::probe`. Here are the socket on
//! which it is asked for, the ways to the ports, and the mailbox that is used:
//! while no proof is under way it has neither password nor address.

use crate::socket;
use anyhow::{Context, Result};
use roost_mail_config::probe::{self, Attempt, Fault, Password, Step};
use roost_mail_config::setup::Setup;
use roost_mail_server::directory::{Directory, InternalAccount};
use roost_service::probe as contract;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// The spec's name of this program.
const SERVICE: &str = "mail";
const SMTP_PORT: u16 = 25;
const IMAP_PORT: u16 = 993;

/// An answer is smaller than the socket's buffer; who does not take it is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failed `accept`, usually for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers requests until it is aborted. `directory`: of a mail server that serves; without
/// one there is no domain, so there is nothing to try.
///
/// Mail matters more than its proof, so nothing here keeps the program from serving.
pub fn open(folder: &Path, serving: Option<(&Setup, Directory)>) -> Option<AbortHandle> {
    if serving
        .as_ref()
        .is_some_and(|(setup, _)| setup.account.name == probe::ACCOUNT)
    {
        // The builder takes no such name; its owner's password is not touched.
        eprintln!(
            "mail: the account has the name of the test's own: nobody can ask whether mail works"
        );
        return None;
    }
    match prepare(serving, folder) {
        Ok((listener, prober)) => Some(tokio::spawn(serve(listener, prober)).abort_handle()),
        Err(error) => {
            eprintln!("mail: nobody can ask whether mail works: {error:#}");
            None
        }
    }
}

fn prepare(
    serving: Option<(&Setup, Directory)>,
    folder: &Path,
) -> Result<(UnixListener, Option<Prober>)> {
    let prober = match serving {
        None => None,
        Some((setup, directory)) => Some(Prober {
            directory,
            account: InternalAccount {
                name: probe::ACCOUNT.into(),
                description: probe::DESCRIPTION.into(),
                address: probe::address(setup),
                quota: probe::QUOTA,
            },
            host: setup.host.clone(),
            tls: tls()?,
        }),
    };
    let path = contract::socket(SERVICE);
    let listener = socket::listen(&folder.join(path.file_name().unwrap_or_default()))?;
    Ok((listener, prober))
}

/// One after the other: two probes would empty each other's mailbox.
async fn serve(listener: UnixListener, prober: Option<Prober>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answer = match &prober {
                    Some(prober) => prober.probe().await,
                    None => probe::answer(Ok(()), Duration::ZERO),
                };
                reply(stream, answer).await;
            }
            Err(error) => {
                eprintln!("mail: accept on the probe's socket: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn reply(mut stream: UnixStream, answer: String) {
    let writing = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    // Who asked may be gone.
    let _ = timeout(ANSWER_TIMEOUT, writing).await;
}

struct Prober {
    directory: Directory,
    account: InternalAccount,
    host: String,
    tls: TlsConnector,
}

impl Prober {
    async fn probe(&self) -> String {
        let began = Instant::now();
        let outcome = self.attempt(began + probe::TIMEOUT).await;
        let took = began.elapsed();
        match &outcome {
            Ok(()) => println!("mail: works, tried in {} ms", took.as_millis()),
            Err(fault) => eprintln!("mail: does not work: {fault}"),
        }
        probe::answer(outcome, took)
    }

    async fn attempt(&self, deadline: Instant) -> Result<(), Fault> {
        let password = Password::random();
        let open = self
            .directory
            .open_internal(self.account.clone(), password.hash());
        let opened = match timeout_at(deadline, open).await {
            Ok(opened) => opened.map_err(|error| format!("{error:#}")),
            Err(_) => Err("the mail store does not answer".into()),
        };
        opened.map_err(|reason| Fault {
            step: Step::OpenAccount,
            reason,
        })?;
        let attempt = Attempt::new(self.account.address.clone(), SystemTime::now().into());
        let smtp = TcpStream::connect((Ipv4Addr::LOCALHOST, SMTP_PORT));
        let outcome = probe::run(&attempt, &password, deadline, smtp, self.imap()).await;
        if let Err(error) = self.directory.close_internal(&self.account.name).await {
            // The password is forgotten in any case.
            eprintln!("mail: {error:#}");
        }
        outcome
    }

    async fn imap(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, IMAP_PORT)).await?;
        let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
        self.tls.connect(name, stream).await
    }
}

fn tls() -> Result<TlsConnector> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .context("prepare TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OwnPort(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}

/// Takes every certificate, from a holder of its key: on loopback, port 993 is
/// bound by this very program.
#[derive(Debug)]
struct OwnPort(Arc<CryptoProvider>);

impl ServerCertVerifier for OwnPort {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
