//! A client of IMAP servers (RFC 3501, RFC 9051), for moving mail.
//!
//! - [`wire`]: what a server says. [`tls`]: whether it is the one. [`socket`]: when to give up.
//! - [`error`]: what went wrong.
//!
//! Nothing is asked for that a server of 1996 has not, but where it says that it can do better. One command
//! at a time; messages go through memory or a temporary file one by one.

pub mod error;
pub mod socket;
pub mod tls;
pub mod wire;

use super::account::{Account, Security};
use super::date::Date;
use super::message::{Content, Flags, Key, Message, Writer};
use crate::device::stop::Stop;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use error::ImapError;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use socket::Socket;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::time::Duration;
use wire::{Answer, Said, Status, Value, Wire};
use zeroize::Zeroizing;

/// For a connection to one address of a server.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// Silence after which a server is given up: opening a folder of a million messages takes some minutes
/// on an old disk.
const PATIENCE: Duration = Duration::from_secs(300);

/// Over TLS, or not yet.
enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Read for Stream {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(to),
            Self::Tls(tls) => match tls.read(to) {
                // Many servers hang up without saying so.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}

/// A folder as a server lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The server's own spelling, by which it is asked for.
    pub raw: Vec<u8>,
    /// What is between a folder and one in it; `None` on servers without such.
    pub separator: Option<char>,
    /// In lower case, e.g. `\sent`, `\noselect`.
    pub attributes: Vec<String>,
}

impl Listed {
    /// Whether it has this attribute, in lower case.
    pub fn is(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|own| own == attribute)
    }
}

/// A folder that was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Opened {
    /// How many messages are in it.
    pub messages: u64,
    /// While this stays, a number means the same message.
    pub validity: u64,
    /// Every message that comes from now on has this number or a higher one; 0 if the server does not say.
    pub next: u64,
}

/// A message that was looked at and not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its number in the folder.
    pub uid: u64,
    /// By which it may be the same as another.
    pub key: Key,
}

/// A connection to a server that knows who we are.
pub struct Client {
    wire: Wire<Stream>,
    tags: u64,
    capabilities: Vec<String>,
}

impl Client {
    /// Connects and signs in.
    ///
    /// # Errors
    ///
    /// [`ImapError`], whatever went wrong. The password is sent to nobody but a server whose
    /// certificate was accepted.
    pub fn connect(account: &Account, stop: &Stop) -> Result<Self, ImapError> {
        let socket = account.address.connect(CONNECT_LIMIT)?;
        let socket = Socket::new(socket, stop, PATIENCE)?;
        let (stream, greeted) = match account.security {
            Security::Tls => (encrypted(account, socket)?, false),
            Security::StartTls => (encrypted(account, start_tls(socket)?)?, true),
        };
        let mut client = Self {
            wire: Wire::new(stream),
            tags: 0,
            capabilities: Vec::new(),
        };
        let mut signed_in = false;
        if !greeted {
            signed_in = client.greeting()? == Status::Preauth;
        }
        client.ask_capabilities()?;
        if !signed_in {
            client.sign_in(account)?;
            // There are more for those who are known.
            client.ask_capabilities()?;
        }
        Ok(client)
    }

    /// Whether the server says that it can do this.
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own == capability)
    }

    fn greeting(&mut self) -> Result<Status, ImapError> {
        match self.wire.answer()? {
            Answer::Said(said) if matches!(said.status, Status::Ok | Status::Preauth) => {
                Ok(said.status)
            }
            Answer::Said(said) => Err(ImapError::Lost(said.text)),
            _ => Err(ImapError::NotUnderstood(
                "it greets like no IMAP server".to_owned(),
            )),
        }
    }

    fn ask_capabilities(&mut self) -> Result<(), ImapError> {
        let mut all = Vec::new();
        self.run("CAPABILITY", |data| {
            if data.first().and_then(Value::word).as_deref() == Some("CAPABILITY") {
                all = data.iter().skip(1).filter_map(Value::word).collect();
            }
        })?;
        self.capabilities = all;
        Ok(())
    }

    fn sign_in(&mut self, account: &Account) -> Result<(), ImapError> {
        let (user, password) = (&account.user, &account.password);
        let done = if self.can("AUTH=PLAIN") {
            let plain = Zeroizing::new(format!("\0{user}\0{}", **password));
            let coded = Zeroizing::new(STANDARD.encode(plain.as_bytes()));
            if self.can("SASL-IR") {
                let line = Zeroizing::new(format!("AUTHENTICATE PLAIN {}", *coded));
                self.run(&line, |_| {})
            } else {
                self.start(b"AUTHENTICATE PLAIN", &mut |_| {})
                    .and_then(|tag| {
                        self.wire
                            .send(Zeroizing::new(format!("{}\r\n", *coded)).as_bytes())?;
                        self.end(&tag, &mut |_| {})
                    })
            }
        } else if self.can("LOGINDISABLED") {
            return Err(ImapError::NoSignIn);
        } else {
            self.command(
                &[
                    Part::Line(b"LOGIN "),
                    Part::Arg(user.as_bytes()),
                    Part::Line(b" "),
                    Part::Arg(password.as_bytes()),
                ],
                &mut |_| {},
            )
        };
        match done {
            Err(ImapError::Refused(said)) => Err(ImapError::SignIn(said)),
            other => other.map(drop),
        }
    }

    /// All folders that can be seen.
    ///
    /// # Errors
    ///
    /// [`ImapError`].
    pub fn folders(&mut self) -> Result<Vec<Listed>, ImapError> {
        let mut all: Vec<Listed> = Vec::new();
        let line = if self.can("LIST-EXTENDED") && self.can("SPECIAL-USE") {
            "LIST \"\" \"*\" RETURN (SPECIAL-USE)"
        } else {
            "LIST \"\" \"*\""
        };
        self.run(line, |data| {
            if let Some(listed) = listed(data) {
                match all.iter_mut().find(|known| known.raw == listed.raw) {
                    Some(known) => known.attributes.extend(listed.attributes),
                    None => all.push(listed),
                }
            }
        })?;
        Ok(all)
    }

    /// What stands before the names of the user's own folders, and before those of others. Empty if the
    /// server does not say (RFC 2342).
    ///
    /// # Errors
    ///
    /// [`ImapError`].
    pub fn namespaces(&mut self) -> Result<Namespaces, ImapError> {
        let mut found = Namespaces::default();
        if !self.can("NAMESPACE") {
            return Ok(found);
        }
        self.run("NAMESPACE", |data| {
            if let [word, own, rest @ ..] = data
                && word.word().as_deref() == Some("NAMESPACE")
            {
                found.own = prefixes(own);
                found.others = rest.iter().flat_map(prefixes).collect();
            }
        })?;
        Ok(found)
    }

    /// Opens a folder for reading.
    ///
    /// # Errors
    ///
    /// [`ImapError::Refused`] if there is none, and the like.
    pub fn open(&mut self, folder: &[u8]) -> Result<Opened, ImapError> {
        let mut opened = Opened::default();
        let mut codes = |said: &Said| {
            let code = said
                .code
                .as_deref()
                .unwrap_or_default()
                .to_ascii_uppercase();
            let number = |name: &str| code.strip_prefix(name)?.trim().parse().ok();
            opened.validity = number("UIDVALIDITY ").unwrap_or(opened.validity);
            opened.next = number("UIDNEXT ").unwrap_or(opened.next);
        };
        let mut messages = 0;
        self.command_with(
            &[Part::Line(b"EXAMINE "), Part::Arg(folder)],
            &mut |data| {
                if let [number, word, ..] = data
                    && word.word().as_deref() == Some("EXISTS")
                {
                    messages = number.number().unwrap_or(0);
                }
            },
            &mut codes,
        )?;
        opened.messages = messages;
        Ok(opened)
    }

    /// Looks at the messages of the open folder with this number and higher ones.
    ///
    /// # Errors
    ///
    /// [`ImapError`].
    pub fn summaries(
        &mut self,
        first: u64,
        mut each: impl FnMut(Summary),
    ) -> Result<(), ImapError> {
        let line =
            format!("UID FETCH {first}:* (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])");
        self.run(&line, |data| {
            let Some(items) = fetched(data) else { return };
            let (mut uid, mut size, mut header) = (None, None, None);
            for (name, value) in items {
                match name.as_str() {
                    "UID" => uid = value.number(),
                    "RFC822.SIZE" => size = value.number(),
                    name if name.starts_with("BODY[HEADER") => {
                        header = Some(if value.is_nil() {
                            &[]
                        } else {
                            value.bytes().unwrap_or_default()
                        });
                    }
                    _ => {}
                }
            }
            // To a number behind the last a server answers with the last.
            if let (Some(uid), Some(size), Some(header)) = (uid, size, header)
                && uid >= first
            {
                each(Summary {
                    uid,
                    key: Key::new(header, size),
                });
            }
        })
        .map(drop)
    }

    /// Reads messages of the open folder. What the server cannot give is not given.
    ///
    /// # Errors
    ///
    /// [`ImapError`]. After `each` has broken off, nothing else can be asked on this connection.
    pub fn read(
        &mut self,
        uids: &[u64],
        each: &mut dyn FnMut(u64, Message) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ImapError> {
        let line = format!(
            "UID FETCH {} (UID FLAGS INTERNALDATE BODY.PEEK[])",
            set(uids)
        );
        let tag = self.tag();
        self.wire.send(format!("{tag} {line}\r\n").as_bytes())?;
        loop {
            match self.wire.answer()? {
                Answer::Done(done, said) if done == tag.as_bytes() => {
                    return match said.status {
                        Status::Ok => Ok(ControlFlow::Continue(())),
                        _ => Err(ImapError::Refused(said)),
                    };
                }
                Answer::Said(said) if said.status == Status::Bye => {
                    return Err(ImapError::Lost(said.text));
                }
                Answer::Data(data) => {
                    if let Some((uid, message)) = message(data)?
                        && uids.contains(&uid)
                        && each(uid, message).is_break()
                    {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Makes a folder, and subscribes to it, so that mail programs show it.
    ///
    /// # Errors
    ///
    /// [`ImapError`].
    pub fn create(&mut self, folder: &[u8]) -> Result<(), ImapError> {
        match self.command(&[Part::Line(b"CREATE "), Part::Arg(folder)], &mut |_| {}) {
            Err(ImapError::Refused(said)) if said.code.as_deref() == Some("ALREADYEXISTS") => {}
            other => drop(other?),
        }
        match self.command(&[Part::Line(b"SUBSCRIBE "), Part::Arg(folder)], &mut |_| {}) {
            // A courtesy.
            Err(ImapError::Refused(_)) | Ok(_) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Puts a message into a folder.
    ///
    /// # Errors
    ///
    /// [`ImapError::Refused`] if the server takes it not; after [`ImapError::Lost`] and the like
    /// nobody knows whether it is there.
    pub fn append(
        &mut self,
        folder: &[u8],
        (flags, date): (&Flags, Option<Date>),
        content: &mut Content,
        moved: impl FnMut(u64),
    ) -> Result<(), ImapError> {
        let mut line = Vec::new();
        if !flags.is_empty() {
            let all: Vec<&str> = flags.iter().collect();
            line.extend(format!(" ({})", all.join(" ")).bytes());
        }
        if let Some(date) = date.and_then(Date::to_imap) {
            line.extend(format!(" \"{date}\"").bytes());
        }
        line.extend(format!(" {{{}}}", content.len()).bytes());
        let tag = self.start_parts(
            &[Part::Line(b"APPEND "), Part::Arg(folder), Part::Line(&line)],
            &mut |_| {},
        )?;
        let reader = content.reader().map_err(ImapError::Here)?;
        self.wire.send_all(reader, moved)?;
        self.wire.send(b"\r\n")?;
        self.end(&tag, &mut |_| {}).map(drop)
    }

    /// Bytes that the account holds and may hold; `None` if the server does not say (RFC 2087).
    ///
    /// # Errors
    ///
    /// [`ImapError`].
    pub fn room(&mut self) -> Result<Option<(u64, u64)>, ImapError> {
        if !self.can("QUOTA") {
            return Ok(None);
        }
        let mut room: Option<(u64, u64)> = None;
        let asked = self.run("GETQUOTAROOT INBOX", |data| {
            let [word, _, list] = data else { return };
            let Some(list) = list
                .list()
                .filter(|_| word.word().as_deref() == Some("QUOTA"))
            else {
                return;
            };
            for resource in list.as_chunks::<3>().0 {
                if let [name, used, limit] = resource
                    && name.word().as_deref() == Some("STORAGE")
                    && let (Some(used), Some(limit)) = (used.number(), limit.number())
                {
                    // In units of 1,024 bytes.
                    let this = (used.saturating_mul(1024), limit.saturating_mul(1024));
                    let left = |(used, limit): (u64, u64)| limit.saturating_sub(used);
                    room = Some(
                        room.filter(|other| left(*other) < left(this))
                            .unwrap_or(this),
                    );
                }
            }
        });
        match asked {
            Ok(_) | Err(ImapError::Refused(_)) => Ok(room),
            Err(e) => Err(e),
        }
    }

    /// Says good-bye.
    pub fn close(mut self) {
        let _ = self.run("LOGOUT", |_| {});
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("r{}", self.tags)
    }

    fn run(
        &mut self,
        line: &str,
        mut data: impl FnMut(&[Value<Content>]),
    ) -> Result<Said, ImapError> {
        self.command(&[Part::Line(line.as_bytes())], &mut data)
    }

    fn command(
        &mut self,
        parts: &[Part<'_>],
        data: &mut dyn FnMut(&[Value<Content>]),
    ) -> Result<Said, ImapError> {
        self.command_with(parts, data, &mut |_| {})
    }

    fn command_with(
        &mut self,
        parts: &[Part<'_>],
        data: &mut dyn FnMut(&[Value<Content>]),
        said: &mut dyn FnMut(&Said),
    ) -> Result<Said, ImapError> {
        let tag = self.send_parts(parts, data)?;
        self.end_with(&tag, data, said)
    }

    fn start(
        &mut self,
        line: &[u8],
        data: &mut dyn FnMut(&[Value<Content>]),
    ) -> Result<String, ImapError> {
        self.start_parts(&[Part::Line(line)], data)
    }

    /// Sends a command that ends with a literal or a question of the server's, and waits for its `+`.
    fn start_parts(
        &mut self,
        parts: &[Part<'_>],
        data: &mut dyn FnMut(&[Value<Content>]),
    ) -> Result<String, ImapError> {
        let tag = self.send_parts(parts, data)?;
        self.go_on(&tag, data)?;
        Ok(tag)
    }

    /// Sends a command; what cannot stand in a line goes as a literal, when the server asks for it.
    fn send_parts(
        &mut self,
        parts: &[Part<'_>],
        data: &mut dyn FnMut(&[Value<Content>]),
    ) -> Result<String, ImapError> {
        let tag = self.tag();
        let mut line = Zeroizing::new(format!("{tag} ").into_bytes());
        for part in parts {
            match part {
                Part::Line(text) => line.extend_from_slice(text),
                Part::Arg(text) => match wire::quote(text).map(Zeroizing::new) {
                    Some(quoted) => line.extend_from_slice(&quoted),
                    None => {
                        line.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
                        self.wire.send(&line)?;
                        self.go_on(&tag, data)?;
                        line = Zeroizing::new(text.to_vec());
                    }
                },
            }
        }
        line.extend_from_slice(b"\r\n");
        self.wire.send(&line)?;
        Ok(tag)
    }

    /// Waits for a `+`.
    fn go_on(
        &mut self,
        tag: &str,
        data: &mut dyn FnMut(&[Value<Content>]),
    ) -> Result<(), ImapError> {
        loop {
            match self.wire.answer()? {
                Answer::Continue(_) => return Ok(()),
                Answer::Done(done, said) if done == tag.as_bytes() => {
                    return Err(ImapError::Refused(said));
                }
                Answer::Said(said) if said.status == Status::Bye => {
                    return Err(ImapError::Lost(said.text));
                }
                Answer::Data(values) => data(&values),
                _ => {}
            }
        }
    }

    fn end(
        &mut self,
        tag: &str,
        data: &mut dyn FnMut(&[Value<Content>]),
    ) -> Result<Said, ImapError> {
        self.end_with(tag, data, &mut |_| {})
    }

    /// Waits for a command's end.
    fn end_with(
        &mut self,
        tag: &str,
        data: &mut dyn FnMut(&[Value<Content>]),
        by_the_way: &mut dyn FnMut(&Said),
    ) -> Result<Said, ImapError> {
        loop {
            match self.wire.answer()? {
                Answer::Done(done, said) if done == tag.as_bytes() => {
                    return match said.status {
                        Status::Ok => Ok(said),
                        _ => Err(ImapError::Refused(said)),
                    };
                }
                Answer::Said(said) if said.status == Status::Bye => {
                    return Err(ImapError::Lost(said.text));
                }
                Answer::Said(said) => by_the_way(&said),
                Answer::Data(values) => data(&values),
                // A question that was not asked for: nothing is the answer.
                Answer::Continue(_) => self.wire.send(b"\r\n")?,
                Answer::Done(..) => {}
            }
        }
    }
}

/// Prefixes of folder names, each with its separator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Of the user's folders.
    pub own: Vec<Vec<u8>>,
    /// Of folders that others share.
    pub others: Vec<Vec<u8>>,
}

/// Part of a command.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// As it is.
    Line(&'a [u8]),
    /// An argument: quoted where that is possible, else as a literal.
    Arg(&'a [u8]),
}

/// Asks for encryption, and takes nothing that came before it for the server's word.
fn start_tls(socket: Socket) -> Result<Socket, ImapError> {
    let mut client = Client {
        wire: Wire::new(Stream::Plain(socket)),
        tags: 0,
        capabilities: Vec::new(),
    };
    if client.greeting()? == Status::Preauth {
        // It would keep us from asking for encryption (RFC 8314, RFC 3501 section 6.2.1).
        return Err(ImapError::NoEncryption(
            "it says that we are signed in already, so it cannot be asked".to_owned(),
        ));
    }
    match client.run("STARTTLS", |_| {}) {
        Ok(_) => {}
        Err(ImapError::Refused(said)) => return Err(ImapError::NoEncryption(said.text)),
        Err(e) => return Err(e),
    }
    match client.wire.into_stream() {
        Some(Stream::Plain(socket)) => Ok(socket),
        _ => Err(ImapError::NoEncryption(
            "something was slipped in before the encryption began".to_owned(),
        )),
    }
}

fn encrypted(account: &Account, socket: Socket) -> Result<Stream, ImapError> {
    let (config, verifier) =
        tls::settings(account.trust).map_err(|e| ImapError::Tls(e.to_string()))?;
    let host = account
        .address
        .host()
        .split('%')
        .next()
        .unwrap_or_default()
        .to_owned();
    let name = ServerName::try_from(host).map_err(|e| ImapError::Tls(e.to_string()))?;
    let connection =
        ClientConnection::new(config, name).map_err(|e| ImapError::Tls(e.to_string()))?;
    let mut tls = StreamOwned::new(connection, socket);
    while tls.conn.is_handshaking() {
        if let Err(e) = tls.conn.complete_io(&mut tls.sock) {
            return Err(
                match e.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
                    Some(rustls::Error::InvalidCertificate(why)) => match verifier.shown() {
                        Some(shown) => ImapError::Untrusted {
                            shown,
                            why: error::in_words(why),
                        },
                        None => ImapError::Tls(why.to_string()),
                    },
                    Some(why) => ImapError::Tls(why.to_string()),
                    None => ImapError::from(e),
                },
            );
        }
    }
    Ok(Stream::Tls(Box::new(tls)))
}

/// `* LIST (\HasNoChildren) "/" name`.
fn listed(data: &[Value<Content>]) -> Option<Listed> {
    let [word, attributes, separator, name, ..] = data else {
        return None;
    };
    if word.word()? != "LIST" {
        return None;
    }
    let separator = match separator {
        Value::Text(text) => char::from_u32(u32::from(*text.first()?)),
        _ => None,
    };
    let attributes = attributes.list()?.iter().filter_map(Value::bytes);
    Some(Listed {
        raw: name.bytes()?.to_vec(),
        separator,
        attributes: attributes
            .map(|a| String::from_utf8_lossy(a).to_ascii_lowercase())
            .collect(),
    })
}

/// `(("INBOX." ".") ("~" "/"))`.
fn prefixes(namespace: &Value<Content>) -> Vec<Vec<u8>> {
    let all = namespace.list().unwrap_or_default().iter();
    all.filter_map(|one| Some(one.list()?.first()?.bytes()?.to_vec()))
        .collect()
}

/// Names and values of `* 12 FETCH (…)`.
fn fetched(data: &[Value<Content>]) -> Option<impl Iterator<Item = (String, &Value<Content>)>> {
    let [_, word, list] = data else { return None };
    if word.word()? != "FETCH" {
        return None;
    }
    Some(
        list.list()?
            .as_chunks::<2>()
            .0
            .iter()
            .filter_map(|[name, value]| Some((name.word()?, value))),
    )
}

/// A message with its number out of an answer.
fn message(data: Vec<Value<Content>>) -> Result<Option<(u64, Message)>, ImapError> {
    let (mut uid, mut flags, mut date, mut content) = (None, Flags::default(), None, None);
    let is_fetch = data.get(1).and_then(Value::word).as_deref() == Some("FETCH");
    let Some(Value::List(list)) = data.into_iter().nth(2).filter(|_| is_fetch) else {
        return Ok(None);
    };
    let mut list = list.into_iter();
    while let (Some(name), Some(value)) = (list.next(), list.next()) {
        match name.word().as_deref() {
            Some("UID") => uid = value.number(),
            Some("FLAGS") => {
                let all = value
                    .list()
                    .unwrap_or_default()
                    .iter()
                    .filter_map(Value::bytes);
                flags = all
                    .filter_map(|flag| std::str::from_utf8(flag).ok())
                    .collect();
            }
            Some("INTERNALDATE") => {
                let text = value.bytes().map(String::from_utf8_lossy);
                date = text.and_then(|text| Date::from_imap(text.trim()));
            }
            _ if wire::is_whole_message(&name) => {
                content = Some(match value {
                    Value::Message(content) => content,
                    // Short ones may come in quotes, and nothing at all as nothing.
                    other => {
                        let mut writer = Writer::new();
                        let bytes = if other.is_nil() {
                            &[]
                        } else {
                            other.bytes().unwrap_or_default()
                        };
                        writer.write_all(bytes).map_err(ImapError::Here)?;
                        writer.finish()
                    }
                });
            }
            _ => {}
        }
    }
    Ok(uid.zip(content).map(|(uid, content)| {
        (
            uid,
            Message {
                flags,
                date,
                content,
            },
        )
    }))
}

/// Numbers as IMAP writes many of them, in their order: `1:4,7`.
fn set(uids: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for uid in uids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*uid) => *last = *uid,
            _ => runs.push((*uid, *uid)),
        }
    }
    let runs = runs.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}:{last}"),
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_runs() {
        assert_eq!(set(&[1, 2, 3, 5, 7, 8]), "1:3,5,7:8");
        assert_eq!(set(&[u64::MAX, 1]), format!("{},1", u64::MAX));
        assert_eq!(set(&[]), "");
    }
}
