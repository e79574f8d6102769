//! Where mail comes from: a server, maildirs, mbox files.

use super::maildir;
use super::mbox::Mbox;
use super::roles::{Role, guess, path_of, prefix_of};
use crate::device::stop::Stop;
use crate::error::Failure;
use crate::mail::account::Account;
use crate::mail::date::Date;
use crate::mail::imap::error::ImapError;
use crate::mail::imap::{Client, Opened};
use crate::mail::message::{Flags, Key, Measure, Message, ToCrlf, Writer};
use crate::store::disk_failure;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Messages that a server is asked for at a time; each comes when the one before was taken.
const BATCH: usize = 50;
/// Connections without a single message before the next one is passed over, or all is given up.
const TRIES: u32 = 3;
/// Between two tries to connect.
const DELAYS: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];
/// Until a server that has too much to do is asked again.
pub const BUSY: Duration = Duration::from_secs(15);
/// Times that it is asked again.
pub const MAX_WAITS: u32 = 20;
/// Folders in folders; deeper ones are somebody's loop.
const MAX_DEPTH: usize = 20;
/// Bytes of a file that show whether it is an mbox file.
const BEGINNING: u64 = 4096;

/// A folder of the old mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Names from the outermost one on.
    pub path: Vec<String>,
    /// What it is for.
    pub role: Option<Role>,
    place: Place,
}

impl Folder {
    /// For people.
    pub fn name(&self) -> String {
        self.path.join("/")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Server(Vec<u8>),
    Maildir(PathBuf),
    Mbox(PathBuf),
    /// A file of no bytes, beside one that says that it is a folder.
    Empty,
}

/// A message that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its number on a server, its place among the files, or its first byte.
    at: u64,
    /// By which it may be the same as another.
    pub key: Key,
}

/// The messages of a folder.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// In their order.
    pub items: Vec<Item>,
    /// While this stays, [`Source::mark`] means the same message.
    pub validity: u64,
    /// Left out for a reason that is nobody's fault: deleted in Thunderbird, but still in its file.
    pub gone: u64,
    files: Vec<PathBuf>,
    /// Files that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// What came of reading a message.
pub enum Got {
    /// It is here.
    Message(Item, Box<Message>),
    /// It is not to be had, because.
    Unreadable(Item, String),
}

/// The old mailbox.
pub enum Source {
    /// On a server.
    Server(Box<Server>),
    /// In files below this one.
    Files(PathBuf),
}

/// An account of a server, and a connection while there is one.
pub struct Server {
    account: Account,
    whose: String,
    stop: Stop,
    client: Option<Client>,
}

impl Source {
    /// An account of a server; connects, so that a wrong password is told at once.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is no connection.
    pub fn server(account: Account, whose: String, stop: &Stop) -> Result<Self, Failure> {
        let mut server = Server {
            account,
            whose,
            stop: stop.clone(),
            client: None,
        };
        server.client =
            Some(Client::connect(&server.account, stop).map_err(|e| server.failure(e))?);
        Ok(Self::Server(Box::new(server)))
    }

    /// Mail in files.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing.
    pub fn files(path: &Path) -> Result<Self, Failure> {
        let about = std::fs::metadata(path)
            .map_err(|e| Failure::usage(format!("cannot read {}", path.display())).because(e))?;
        if about.is_file() {
            let mut start = Vec::new();
            let read =
                File::open(path).and_then(|file| file.take(BEGINNING).read_to_end(&mut start));
            read.map_err(|e| disk_failure("read", path, e))?;
            let packed = maildir::packed(&start).is_some() || start.get(257..262) == Some(b"ustar");
            if packed {
                return Err(Failure::usage(format!("{} is packed", path.display()))
                    .hint("unpack it (tar xf, gunzip), and name the folder or file with the mail in it"));
            }
        }
        let absolute = std::path::absolute(path).map_err(|e| disk_failure("find", path, e))?;
        Ok(Self::Files(absolute))
    }

    /// By what it is remembered.
    pub fn id(&self) -> String {
        match self {
            Self::Server(server) => format!("{}:{}", server.whose, server.account.address.port()),
            Self::Files(path) => path.display().to_string(),
        }
    }

    /// All folders with mail, with their roles; the inbox first, what has all mail once more last.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if they cannot be had.
    pub fn folders(&mut self) -> Result<Vec<Folder>, Failure> {
        let mut all = match self {
            Self::Server(server) => server.folders()?,
            Self::Files(path) => {
                let mut all = Vec::new();
                let found = find(path, &[], 0, &mut all);
                found.map_err(|e| disk_failure("read", path, e))?;
                if all.is_empty() {
                    return Err(Failure::usage(format!("there is no mail in {}", path.display()))
                        .because("it is no mbox file and no maildir, and has none in it")
                        .hint("a maildir has the folders cur and new; an mbox file begins with a line \"From … date\""));
                }
                all
            }
        };
        let mut roles: Vec<_> = all
            .iter()
            .map(|folder| (folder.path.clone(), folder.role))
            .collect();
        guess(&mut roles);
        for (folder, (_, role)) in all.iter_mut().zip(roles) {
            folder.role = role;
        }
        all.sort_by(|a, b| (order(a), &a.path).cmp(&(order(b), &b.path)));
        Ok(all)
    }

    /// Looks at the messages of a folder.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the folder cannot be had.
    pub fn list(&mut self, folder: &Folder) -> Result<Listing, Failure> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |e| disk_failure("read", &path, e)
        };
        match (self, &folder.place) {
            (Self::Server(server), Place::Server(raw)) => server.list(raw),
            (_, Place::Maildir(place)) => list_maildir(place).map_err(failed(place)),
            (_, Place::Mbox(place)) => list_mbox(place).map_err(failed(place)),
            _ => Ok(Listing::default()),
        }
    }

    /// What tells a message from the others of its folder, if that is known before it was read.
    pub fn mark(folder: &Folder, listing: &Listing, item: &Item) -> Option<Vec<u8>> {
        match folder.place {
            Place::Server(_) => Some(item.at.to_be_bytes().to_vec()),
            Place::Maildir(_) => {
                let name = file_of(listing, item)?.file_name()?;
                Some(maildir::base(name.as_encoded_bytes()).to_vec())
            }
            Place::Mbox(_) | Place::Empty => None,
        }
    }

    /// How a message is named to people who look for it.
    pub fn which(folder: &Folder, listing: &Listing, item: &Item) -> String {
        match folder.place {
            Place::Server(_) => format!("UID {}", item.at),
            Place::Maildir(_) => file_of(listing, item)
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            Place::Mbox(_) | Place::Empty => format!("byte {}", item.at),
        }
    }

    /// Reads messages, in their order as far as the server obeys. Every one is given to `each`, in one way or
    /// the other, unless that breaks off.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if nothing more can be had.
    pub fn read(
        &mut self,
        (folder, listing): (&Folder, &Listing),
        items: &[Item],
        each: &mut dyn FnMut(Got) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        match (self, &folder.place) {
            (Self::Server(server), Place::Server(raw)) => {
                server.read((raw, listing.validity), items, each)
            }
            (_, Place::Maildir(place)) => {
                let words = maildir::keywords(place)
                    .map_err(|e| disk_failure("read", &place.join(maildir::KEYWORDS), e))?;
                for item in items {
                    let got = match file_of(listing, item).map(|path| read_file(path, &words)) {
                        Some(Ok(message)) => Got::Message(*item, Box::new(message)),
                        Some(Err(e)) => Got::Unreadable(*item, e.to_string()),
                        None => continue,
                    };
                    if each(got).is_break() {
                        break;
                    }
                }
                Ok(())
            }
            (_, Place::Mbox(place)) => {
                read_mbox(place, items, each).map_err(|e| disk_failure("read", place, e))
            }
            _ => Ok(()),
        }
    }

    /// Says good-bye.
    pub fn close(self) {
        if let Self::Server(server) = self
            && let Some(client) = server.client
        {
            client.close();
        }
    }
}

fn order(folder: &Folder) -> u8 {
    match folder.role {
        Some(Role::Inbox) => 0,
        Some(Role::All | Role::View) => 2,
        _ => 1,
    }
}

fn file_of<'a>(listing: &'a Listing, item: &Item) -> Option<&'a PathBuf> {
    listing.files.get(usize::try_from(item.at).ok()?)
}

impl Server {
    fn failure(&self, e: ImapError) -> Failure {
        e.failure(
            "cannot read the mail of",
            &self.whose,
            Some("--fingerprint"),
        )
    }

    /// The connection; a new one if there is none.
    fn client(&mut self) -> Result<&mut Client, Failure> {
        if self.client.is_none() {
            self.client = Some(connect(&self.account, &self.stop).map_err(|e| self.failure(e))?);
        }
        self.client
            .as_mut()
            .ok_or_else(|| Failure::new("there is no connection"))
    }

    /// Does something, over a new connection if the old one ends before that.
    fn try_twice<T>(
        &mut self,
        mut what: impl FnMut(&mut Client) -> Result<T, ImapError>,
    ) -> Result<T, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            match what(self.client()?) {
                Err(e) if e.may_pass() && tries < TRIES => self.client = None,
                other => return other.map_err(|e| self.failure(e)),
            }
        }
    }

    fn folders(&mut self) -> Result<Vec<Folder>, Failure> {
        let spaces = self.try_twice(Client::namespaces)?;
        let listed = self.try_twice(Client::folders)?;
        let others: Vec<&Vec<u8>> = spaces
            .others
            .iter()
            .filter(|prefix| !prefix.is_empty())
            .collect();
        let own = listed.iter().filter(|one| {
            let shared = others.iter().any(|prefix| one.raw.starts_with(prefix));
            !shared && !one.is("\\noselect") && !one.is("\\nonexistent")
        });
        Ok(own
            .map(|one| Folder {
                path: path_of(one, prefix_of(&spaces.own, &one.raw)),
                role: Role::of_attributes(one),
                place: Place::Server(one.raw.clone()),
            })
            .collect())
    }

    fn list(&mut self, raw: &[u8]) -> Result<Listing, Failure> {
        self.try_twice(|client| {
            let opened = client.open(raw)?;
            let mut items = Vec::new();
            if opened.messages > 0 {
                client.summaries(1, |summary| {
                    items.push(Item {
                        at: summary.uid,
                        key: summary.key,
                    })
                })?;
            }
            Ok(Listing {
                items,
                validity: opened.validity,
                ..Listing::default()
            })
        })
    }

    fn open(&mut self, raw: &[u8], validity: u64) -> Result<Opened, Failure> {
        let opened = self.try_twice(|client| client.open(raw))?;
        if opened.validity != validity {
            return Err(
                Failure::new(format!("a folder of {} was replaced meanwhile", self.whose))
                    .hint("run the command again: it goes on where it ended"),
            );
        }
        Ok(opened)
    }

    fn read(
        &mut self,
        (raw, validity): (&[u8], u64),
        items: &[Item],
        each: &mut dyn FnMut(Got) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        self.open(raw, validity)?;
        for batch in items.chunks(BATCH) {
            if self.read_batch((raw, validity), batch, each)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn read_batch(
        &mut self,
        (raw, validity): (&[u8], u64),
        batch: &[Item],
        each: &mut dyn FnMut(Got) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Failure> {
        let by_uid: HashMap<u64, Item> = batch.iter().map(|item| (item.at, *item)).collect();
        let mut done: HashSet<u64> = HashSet::new();
        // In one go; what is missing afterwards is asked for one by one.
        let mut together = true;
        let (mut cuts, mut waits) = (0, 0);
        loop {
            let rest: Vec<u64> = batch
                .iter()
                .map(|item| item.at)
                .filter(|uid| !done.contains(uid))
                .collect();
            let Some(first) = rest.first() else {
                return Ok(ControlFlow::Continue(()));
            };
            let asked = if together {
                rest.as_slice()
            } else {
                &rest[..1]
            };
            let before = done.len();
            let answer = self
                .client()?
                .read(asked, &mut |uid, message| match by_uid.get(&uid) {
                    Some(item) if done.insert(uid) => each(Got::Message(*item, Box::new(message))),
                    _ => ControlFlow::Continue(()),
                });
            let without = |why: String| by_uid.get(first).map(|item| Got::Unreadable(*item, why));
            let passed_over = match answer {
                Ok(ControlFlow::Break(())) => {
                    self.client = None;
                    return Ok(ControlFlow::Break(()));
                }
                Ok(ControlFlow::Continue(())) if together => {
                    together = false;
                    None
                }
                Err(ref e @ ImapError::Refused(_)) if together && !e.is_busy() => {
                    together = false;
                    None
                }
                Ok(ControlFlow::Continue(())) if done.len() > before => None,
                Ok(ControlFlow::Continue(())) => without(
                    "the server does not give it (it may have been deleted meanwhile)".to_owned(),
                ),
                Err(e @ ImapError::Refused(_)) if !e.is_busy() => without(e.to_string()),
                Err(e) if e.is_busy() && waits < MAX_WAITS => {
                    waits += 1;
                    if !self.stop.wait(BUSY) {
                        return Err(Failure::interrupted("interrupted"));
                    }
                    None
                }
                Err(e) if e.may_pass() => {
                    self.client = None;
                    cuts = if done.len() > before { 0 } else { cuts + 1 };
                    let why = format!("the connection ended {TRIES} times while it was read: {e}");
                    let given_up = if cuts >= TRIES { without(why) } else { None };
                    self.open(raw, validity)?;
                    given_up
                }
                Err(e) => return Err(self.failure(e)),
            };
            if let Some(got) = passed_over {
                cuts = 0;
                done.insert(*first);
                if each(got).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
}

/// Connects; tries again for a while if that may help.
///
/// # Errors
///
/// [`ImapError`] of the last try.
pub fn connect(account: &Account, stop: &Stop) -> Result<Client, ImapError> {
    for delay in DELAYS {
        match Client::connect(account, stop) {
            Err(e) if e.may_pass() => {
                if !stop.wait(delay) {
                    return Err(ImapError::Interrupted);
                }
            }
            other => return other,
        }
    }
    Client::connect(account, stop)
}

/// Finds mail in files. `path`: the names of the folders that this one is in, and its own.
fn find(place: &Path, path: &[String], depth: usize, all: &mut Vec<Folder>) -> io::Result<()> {
    let named = |name: &str| [path, &[name.to_owned()]].concat();
    if !place.is_dir() {
        // One file, named by whoever asks.
        let stem = place
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        all.extend(mbox_folder(place, &named(&stem))?);
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let is_maildir = maildir::is_one(place);
    if is_maildir {
        let own = if path.is_empty() {
            vec!["INBOX".to_owned()]
        } else {
            path.to_vec()
        };
        let role = path.is_empty().then_some(Role::Inbox);
        all.push(Folder {
            path: own,
            role,
            place: Place::Maildir(place.to_owned()),
        });
        for found in maildir::folders(place)? {
            all.push(Folder {
                path: [path, &found.path].concat(),
                role: found.role.as_deref().and_then(Role::of_name),
                place: Place::Maildir(found.place),
            });
        }
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(place)?
        .map(|e| e.map(|e| e.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for entry in entries {
        let Some(name) = entry
            .file_name()
            .map(|name| name.as_encoded_bytes().to_vec())
        else {
            continue;
        };
        let hidden = name.starts_with(b".");
        if hidden || is_maildir && matches!(name.as_slice(), b"cur" | b"new" | b"tmp") {
            continue;
        }
        if entry.is_dir() {
            // Thunderbird has the folders of `Work` in `Work.sbd`, Apple the messages of `Work` in `Work.mbox/mbox`.
            let bare = name
                .strip_suffix(b".sbd")
                .or(name.strip_suffix(b".mbox"))
                .unwrap_or(&name);
            let inner = named(&crate::mail::names::decode(bare));
            if entry.join("mbox").is_file() {
                all.extend(mbox_folder(&entry.join("mbox"), &inner)?);
            } else {
                find(&entry, &inner, depth + 1, all)?;
            }
        } else if !is_maildir {
            let bare = name.strip_suffix(b".mbox").unwrap_or(&name);
            all.extend(mbox_folder(&entry, &named(&String::from_utf8_lossy(bare)))?);
        }
    }
    Ok(())
}

/// A file as a folder, if it is one.
fn mbox_folder(place: &Path, path: &[String]) -> io::Result<Option<Folder>> {
    let mut start = Vec::new();
    File::open(place)?.take(BEGINNING).read_to_end(&mut start)?;
    let folder = |place| {
        Some(Folder {
            path: path.to_vec(),
            role: None,
            place,
        })
    };
    if start.is_empty() {
        let mut index = place.as_os_str().to_owned();
        index.push(".msf");
        return Ok(if Path::new(&index).exists() {
            folder(Place::Empty)
        } else {
            None
        });
    }
    let is_one = matches!(Mbox::new(start.as_slice(), 0).place(), Ok(Some(_)));
    Ok(if is_one {
        folder(Place::Mbox(place.to_owned()))
    } else {
        None
    })
}

fn list_maildir(place: &Path) -> io::Result<Listing> {
    let mut listing = Listing {
        files: maildir::files(place)?,
        ..Listing::default()
    };
    for (at, path) in (0..).zip(&listing.files) {
        let mut measure = ToCrlf::new(Measure::default());
        match copy_file(path, &mut measure) {
            Ok(_) => listing.items.push(Item {
                at,
                key: measure.into_inner().key(),
            }),
            Err(e) => listing
                .unreadable
                .push((path.display().to_string(), e.to_string())),
        }
    }
    Ok(listing)
}

/// The bytes of a file as mail has them; when the file was last changed.
fn copy_file(path: &Path, to: &mut ToCrlf<impl Write>) -> io::Result<i64> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let start = io::BufRead::fill_buf(&mut reader)?;
    if let Some(kind) = maildir::packed(start) {
        return Err(io::Error::other(format!(
            "it is packed ({kind}): unpack it first"
        )));
    }
    // Who writes the ends of mail's lines into files means all other bytes as they are.
    let first_end = start.iter().position(|b| *b == b'\n');
    if first_end.is_some_and(|at| at > 0 && start[at - 1] == b'\r') {
        io::copy(&mut reader, to.as_is())?;
    } else {
        io::copy(&mut reader, to)?;
    }
    Ok(about.mtime())
}

fn read_file(path: &Path, words: &[String]) -> io::Result<Message> {
    let mut writer = ToCrlf::new(Writer::new());
    let changed = copy_file(path, &mut writer)?;
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    Ok(Message {
        flags: maildir::flags(name, words),
        date: Some(Date::utc(changed)),
        content: writer.into_inner().finish(),
    })
}

fn list_mbox(place: &Path) -> io::Result<Listing> {
    let mut mbox = Mbox::new(BufReader::with_capacity(1 << 20, File::open(place)?), 0);
    let mut listing = Listing::default();
    while let Some(at) = mbox.place()? {
        let mut measure = ToCrlf::new(Measure::default());
        match mbox.message(&mut measure)? {
            Some(head) if head.gone => listing.gone += 1,
            _ => listing.items.push(Item {
                at,
                key: measure.into_inner().key(),
            }),
        }
    }
    Ok(listing)
}

fn read_mbox(
    place: &Path,
    items: &[Item],
    each: &mut dyn FnMut(Got) -> ControlFlow<()>,
) -> io::Result<()> {
    for item in items {
        let mut file = File::open(place)?;
        file.seek(SeekFrom::Start(item.at))?;
        let mut writer = ToCrlf::new(Writer::new());
        let head =
            Mbox::new(BufReader::with_capacity(64 << 10, file), item.at).message(&mut writer)?;
        let content = writer.into_inner().finish();
        let (flags, date) = head.map_or((Flags::default(), None), |head| (head.flags, head.date));
        let got = if content.key() == item.key {
            Got::Message(
                *item,
                Box::new(Message {
                    flags,
                    date,
                    content,
                }),
            )
        } else {
            Got::Unreadable(*item, "the file was changed meanwhile".to_owned())
        };
        if each(got).is_break() {
            break;
        }
    }
    Ok(())
}
