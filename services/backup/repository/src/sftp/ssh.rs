//! The way to an SFTP server: a connection whose host key is looked at before anything is said, and who signs in.

use super::Login;
use super::key::fingerprint;
use super::session::{Session, Wait};
use roost_service::backup::{HostKey, SftpTarget};
use russh::client::{self, AuthResult, KeyboardInteractiveAuthResponse as Answer, Msg};
use russh::keys::{Algorithm, EcdsaCurve, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelStream, MethodKind, Preferred, SshId};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Kinds of host keys, the first of which that a server has it shows. The fingerprint that was confirmed is of that one.
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
];
/// How often a server that says nothing is asked whether it is there; routers at home forget who is silent.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long one of several addresses of a server may take to answer: two fit into the patience of who sits before a page.
const EACH: Duration = Duration::from_secs(2);
/// Most rounds of questions when somebody signs in. One is usual.
const ROUNDS: usize = 4;

/// A server that somebody has signed in at.
pub struct Connection {
    /// The conversation.
    pub session: Session<ChannelStream<Msg>>,
    /// Its end is the connection's.
    _ssh: client::Handle<Checked>,
}

/// Compares the key that a server shows.
struct Checked {
    /// The one that was confirmed; without, none is taken.
    wanted: Option<HostKey>,
    /// The one that is shown.
    shown: Arc<OnceLock<HostKey>>,
}

impl client::Handler for Checked {
    type Error = russh::Error;
    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        let Some(shown) = fingerprint(key) else {
            return Ok(false);
        };
        let is_right = self.wanted.as_ref() == Some(&shown);
        // The same one again when keys are renewed.
        let _ = self.shown.set(shown);
        Ok(is_right)
    }
}

/// Why it did not work, in the words of this side.
fn told(error: russh::Error) -> io::Error {
    use io::ErrorKind as Kind;
    use russh::Error as Of;
    let (kind, why) = match error {
        Of::IO(error) => return unreached(error),
        Of::NoCommonAlgo { kind, .. } => (
            Kind::InvalidInput,
            format!("the server offers no {kind:?} algorithm that is safe and known here"),
        ),
        Of::WrongServerSig => (
            Kind::InvalidInput,
            "it cannot be told whether this is the right server: its signature is wrong".to_owned(),
        ),
        Of::Version | Of::KexInit | Of::Kex | Of::PacketSize(_) => (
            Kind::InvalidInput,
            "what answers there does not speak SSH".to_owned(),
        ),
        Of::ChannelOpenFailure(_) | Of::RequestDenied => (
            Kind::InvalidInput,
            "the server does not offer SFTP to this account".to_owned(),
        ),
        other => (
            Kind::ConnectionReset,
            format!("the connection broke off: {other}"),
        ),
    };
    io::Error::new(kind, why)
}

fn unreached(error: io::Error) -> io::Error {
    use io::ErrorKind as Kind;
    let (kind, why) = match error.kind() {
        Kind::ConnectionRefused => (
            Kind::ConnectionRefused,
            "the server takes no connection".to_owned(),
        ),
        Kind::HostUnreachable | Kind::NetworkUnreachable => (
            Kind::ConnectionRefused,
            "the server is not reached".to_owned(),
        ),
        Kind::TimedOut => (
            Kind::TimedOut,
            "the server does not answer in time".to_owned(),
        ),
        _ => (
            Kind::ConnectionReset,
            format!("the connection broke off: {error}"),
        ),
    };
    io::Error::new(kind, why)
}

fn config() -> Arc<client::Config> {
    Arc::new(client::Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-roost")),
        preferred: Preferred {
            key: Cow::Borrowed(HOST_KEYS),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(KEEPALIVE),
        // A request is small, and its answer is waited for.
        nodelay: true,
        ..client::Config::default()
    })
}

/// A connection to the first address that takes one. The last may take all the time that is left, each before it `each`
/// at most: a router that lets IPv6 in nowhere drops what is asked there, and the server is reached over IPv4.
async fn connect_to(addresses: &[SocketAddr], wait: Wait, each: Duration) -> io::Result<TcpStream> {
    let Some((last, others)) = addresses.split_last() else {
        return Err(unreached(io::ErrorKind::HostUnreachable.into()));
    };
    let till_last = async {
        for address in others {
            if let Ok(Ok(stream)) = timeout(each, TcpStream::connect(address)).await {
                return Ok(stream);
            }
        }
        TcpStream::connect(last).await.map_err(unreached)
    };
    wait.within(till_last).await
}

async fn reach(
    host: &str,
    port: u16,
    wanted: Option<HostKey>,
    wait: Wait,
) -> io::Result<(
    Result<client::Handle<Checked>, russh::Error>,
    Option<HostKey>,
)> {
    let addresses = wait.within(async {
        let found = tokio::net::lookup_host((host, port)).await;
        found.map_err(|_| {
            let why = "the server's name is not known, or the network is not reached";
            io::Error::new(io::ErrorKind::ConnectionRefused, why)
        })
    });
    let addresses: Vec<_> = addresses.await?.collect();
    let stream = connect_to(&addresses, wait, EACH).await?;
    // Without, some things take longer.
    let _ = stream.set_nodelay(true);
    let shown = Arc::new(OnceLock::new());
    let handler = Checked {
        wanted,
        shown: shown.clone(),
    };
    let greeted =
        wait.within(async { Ok(client::connect_stream(config(), stream, handler).await) });
    let greeted = greeted.await?;
    Ok((greeted, shown.get().cloned()))
}

/// The fingerprint of the host key that a server shows. Nothing is said there but that it is asked for.
///
/// # Errors
/// Why the server is not reached, or does not show one.
pub async fn host_key(host: &str, port: u16, wait: Wait) -> io::Result<HostKey> {
    match reach(host, port, None, wait).await? {
        (_, Some(shown)) => Ok(shown),
        (Err(error), None) => Err(told(error)),
        (Ok(_), None) => Err(told(russh::Error::UnknownKey)),
    }
}

/// Signs in at a server, if it is the one that was confirmed, and begins to speak SFTP.
///
/// # Errors
/// Why that does not work; `InvalidInput` if it will not by itself either.
pub async fn connect(target: &SftpTarget, login: &Login, wait: Wait) -> io::Result<Connection> {
    let wanted = Some(target.host_key.clone());
    let mut ssh = match reach(&target.host, target.port, wanted, wait).await? {
        (Ok(ssh), _) => ssh,
        (Err(_), Some(shown)) if shown != target.host_key => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "this is not the server that was confirmed: it shows the host key {shown} instead of {}",
                    target.host_key
                ),
            ));
        }
        (Err(error), _) => return Err(told(error)),
    };
    wait.within(sign_in(&mut ssh, &target.user, login)).await?;
    let opened = wait.within(async {
        let mut channel: Channel<Msg> = ssh.channel_open_session().await.map_err(told)?;
        let asked = channel.request_subsystem(true, "sftp").await;
        asked.map_err(told)?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel.into_stream()),
                Some(ChannelMsg::Failure | ChannelMsg::Close | ChannelMsg::Eof) => {
                    return Err(told(russh::Error::RequestDenied));
                }
                Some(_) => {}
                None => return Err(told(russh::Error::Disconnect)),
            }
        }
    });
    let session = Session::begin(opened.await?, wait).await?;
    Ok(Connection { session, _ssh: ssh })
}

async fn sign_in(ssh: &mut client::Handle<Checked>, user: &str, login: &Login) -> io::Result<()> {
    let no = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why.to_owned());
    let (result, refused) = match login {
        Login::Key(key) => (
            ssh.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key.private(), None))
                .await,
            "the server does not take the key: its public half has to be in the account's authorized_keys",
        ),
        Login::Password(password) => (
            ssh.authenticate_password(user, password.reveal()).await,
            "the server does not take the password",
        ),
    };
    let left = match result.map_err(told)? {
        AuthResult::Success => return Ok(()),
        AuthResult::Failure {
            partial_success: true,
            ..
        } => return Err(no("the server wants more than one proof of who signs in")),
        AuthResult::Failure {
            remaining_methods, ..
        } => remaining_methods,
    };
    match login {
        // What many servers have in place of a plain password: questions, of which one is for it.
        Login::Password(password) if left.contains(&MethodKind::KeyboardInteractive) => {
            let mut answer = ssh
                .authenticate_keyboard_interactive_start(user, None)
                .await
                .map_err(told)?;
            for _ in 0..ROUNDS {
                let prompts = match answer {
                    Answer::Success => return Ok(()),
                    Answer::Failure { .. } => return Err(no(refused)),
                    Answer::InfoRequest { prompts, .. } => prompts,
                };
                if prompts.len() > 1 || prompts.iter().any(|prompt| prompt.echo) {
                    return Err(no("the server asks for more than a password"));
                }
                let given = prompts.iter().map(|_| password.reveal().to_owned());
                answer = ssh
                    .authenticate_keyboard_interactive_respond(given.collect())
                    .await
                    .map_err(told)?;
            }
            Err(no(refused))
        }
        _ => Err(no(refused)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use tokio::net::TcpSocket;

    const WAIT: Wait = Wait {
        silence: Duration::from_secs(30),
        until: None,
    };

    #[tokio::test]
    async fn an_address_that_says_nothing_does_not_keep_the_next_from_being_tried() {
        // Whoever comes to a full queue gets no answer.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let full = silent.local_addr().unwrap();
        let short = Duration::from_millis(300);
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = timeout(short, TcpStream::connect(full)).await {
            queued.push(stream);
            assert!(queued.len() < 10, "the queue has no end");
        }
        let answers = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = answers.local_addr().unwrap();
        let refuses = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
        let addresses = [full, refuses.unwrap(), there];
        let stream = connect_to(&addresses, WAIT, short).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
        let none = connect_to(&addresses[..2], WAIT, short).await.unwrap_err();
        assert_eq!(none.to_string(), "the server takes no connection");
        assert!(connect_to(&[], WAIT, short).await.is_err());
    }
}
