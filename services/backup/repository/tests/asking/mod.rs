//! A server that signs people in by a password, as OpenSSH does only with the machine's own accounts: SSH by russh,
//! SFTP by OpenSSH's program for it.

#![allow(dead_code, missing_docs)]

use crate::sshd::sftp_server;
use roost_service::backup::{HostKey, SftpTarget};
use russh::keys::{HashAlg, PrivateKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Response, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::runtime::Runtime;

pub const USER: &str = "nas";
pub const PASSWORD: &str = "bär und wolf";

/// How it asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// For a password.
    Plainly,
    /// By a question, as PAM does.
    Question,
    /// By two questions, as for a code of an app.
    Two,
    /// And then for a key.
    More,
    /// And then there is no SFTP.
    NoSftp,
}

/// The server, ended with it.
pub struct Asking {
    runtime: Option<Runtime>,
    dir: tempfile::TempDir,
    port: u16,
    host_key: HostKey,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Asking {
    pub fn start(asks: Asks) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let key = roost_backup_repository::sftp::Key::random().unwrap();
        let key = PrivateKey::from_openssh(key.to_text().as_bytes()).unwrap();
        let host_key = key.public_key().fingerprint(HashAlg::Sha256);
        let methods = match asks {
            Asks::Plainly | Asks::More | Asks::NoSftp => MethodKind::Password,
            Asks::Question | Asks::Two => MethodKind::KeyboardInteractive,
        };
        let config = Arc::new(server::Config {
            keys: vec![key],
            methods: MethodSet::from(&[methods][..]),
            auth_rejection_time: Duration::ZERO,
            ..server::Config::default()
        });
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        let home = dir.path().to_owned();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let client = Client {
                    asks,
                    home: home.clone(),
                    channels: HashMap::new(),
                };
                let config = config.clone();
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, client).await {
                        // Whoever hangs up does so.
                        let _ = session.await;
                    }
                });
            }
        });
        Self {
            runtime: Some(runtime),
            dir,
            port,
            host_key: host_key.to_string().parse().unwrap(),
        }
    }

    pub fn target(&self, folder: &str) -> SftpTarget {
        let place = format!("sftp://{USER}@127.0.0.1:{}/~/{folder}", self.port);
        SftpTarget::of(&place, self.host_key.clone()).unwrap()
    }

    pub fn home(&self) -> &Path {
        self.dir.path()
    }
}

struct Client {
    asks: Asks,
    home: PathBuf,
    channels: HashMap<ChannelId, Channel<Msg>>,
}

fn no() -> Auth {
    Auth::Reject {
        proceed_with_methods: None,
        partial_success: false,
    }
}

impl server::Handler for Client {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        let is_right = (user, password) == (USER, PASSWORD);
        Ok(match self.asks {
            Asks::Plainly | Asks::NoSftp if is_right => Auth::Accept,
            Asks::More if is_right => Auth::Reject {
                proceed_with_methods: Some(MethodSet::from(&[MethodKind::PublicKey][..])),
                partial_success: true,
            },
            _ => no(),
        })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let ask = |text: &'static str| (Cow::Borrowed(text), false);
        let Some(mut response) = response else {
            let mut prompts = vec![ask("Password: ")];
            if self.asks == Asks::Two {
                prompts.push(ask("Code: "));
            }
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: prompts.into(),
            });
        };
        let is_right = user == USER && response.next().is_some_and(|text| text == PASSWORD);
        Ok(match is_right {
            true => Auth::Accept,
            false => no(),
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let channel = self.channels.remove(&id);
        let (Some(channel), "sftp", false) = (channel, name, self.asks == Asks::NoSftp) else {
            session.channel_failure(id)?;
            return Ok(());
        };
        session.channel_success(id)?;
        let child = Command::new(sftp_server())
            .arg("-d")
            .arg(&self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        tokio::spawn(async move {
            // All of it: with its pipes taken alone it would be dropped, and so killed, at once.
            let mut child = child;
            let (mut input, mut output) =
                (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let (mut from, mut to) = tokio::io::split(channel.into_stream());
            tokio::select! {
                _ = tokio::io::copy(&mut from, &mut input) => {}
                _ = tokio::io::copy(&mut output, &mut to) => {}
            }
        });
        Ok(())
    }
}
