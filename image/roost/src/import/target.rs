//! Where mail goes: an account of the box, or of another server, over IMAP.

use super::roles::Layout;
use super::source::{BUSY, MAX_WAITS, connect};
use crate::device::stop::Stop;
use crate::error::Failure;
use crate::mail::account::Account;
use crate::mail::date::Date;
use crate::mail::imap::error::ImapError;
use crate::mail::imap::{Client, Opened};
use crate::mail::message::{Key, Message, Print};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Connections that may end while one message is put there, before it is taken for refused.
const TRIES: u32 = 3;
/// The same when not even its folder can be looked at: then all is given up.
const MAX_CUTS: u32 = 10;
/// Refusals for want of room, one after the other, after which nothing more is tried: what comes is
/// not smaller, and each try costs its bytes.
pub const FULL_AFTER: u32 = 10;
/// The last second that a date of 32 bits can be (2038-01-19).
const LAST_DATE: i64 = i32::MAX as i64;

/// A message of the folder that mail goes into.
#[derive(Debug, Clone, Copy)]
enum There {
    /// Its number; what is in it was not looked at.
    Number(u64),
    /// What is in it.
    Print(Print),
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in its folder now; if not all of its marks and its date, why not.
    Moved(Option<String>),
    /// It was there before.
    There,
    /// The server does not take it, because.
    Refused(String),
}

/// The new mailbox.
pub struct Target {
    account: Account,
    whose: String,
    stop: Stop,
    client: Client,
    layout: Layout,
    /// Of the folder that is open.
    folder: Vec<u8>,
    opened: Opened,
    next: u64,
    index: HashMap<Key, Vec<There>>,
    full: u32,
}

impl Target {
    /// Connects.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is no connection.
    pub fn open(
        account: Account,
        whose: String,
        option: Option<&str>,
        stop: &Stop,
    ) -> Result<Self, Failure> {
        let failed = |e: ImapError| e.failure("cannot put mail into", &whose, option);
        let mut client = Client::connect(&account, stop).map_err(failed)?;
        let spaces = client.namespaces().map_err(failed)?;
        let listed = client.folders().map_err(failed)?;
        Ok(Self {
            layout: Layout::new(&listed, &spaces.own),
            account,
            stop: stop.clone(),
            client,
            folder: Vec::new(),
            opened: Opened::default(),
            next: 1,
            index: HashMap::new(),
            full: 0,
            whose,
        })
    }

    /// For people.
    pub fn whose(&self) -> &str {
        &self.whose
    }

    /// By what it is remembered: two servers of one machine may have made their folders in the same second, which
    /// is what most take for a validity.
    pub fn id(&self) -> String {
        format!("{}:{}", self.whose, self.account.address.port())
    }

    /// Its folders.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes that it holds and may hold, if it says so.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the connection ends.
    pub fn room(&mut self) -> Result<Option<(u64, u64)>, Failure> {
        self.client.room().map_err(|e| self.failure(e))
    }

    fn failure(&self, e: ImapError) -> Failure {
        e.failure("cannot put mail into", &self.whose, None)
    }

    /// Makes a folder.
    ///
    /// # Errors
    ///
    /// Why the server does not want to, in a [`Failure`] if nothing else can be done either.
    pub fn create(&mut self, raw: &[u8]) -> Result<Result<(), String>, Failure> {
        let mut cuts = 0;
        loop {
            match self.client.create(raw) {
                Err(e @ ImapError::Refused(_)) => return Ok(Err(e.to_string())),
                Err(e) if e.may_pass() && cuts < MAX_CUTS => {
                    cuts += 1;
                    self.reconnect()?;
                }
                other => return other.map(Ok).map_err(|e| self.failure(e)),
            }
        }
    }

    /// Opens a folder and looks at what is in it. Gives its validity.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub fn enter(&mut self, raw: &[u8]) -> Result<Result<u64, String>, Failure> {
        self.folder = raw.to_vec();
        let mut cuts = 0;
        loop {
            self.index.clear();
            self.next = 1;
            match self.look() {
                Err(e @ ImapError::Refused(_)) => return Ok(Err(e.to_string())),
                Err(e) if e.may_pass() && cuts < MAX_CUTS => {
                    cuts += 1;
                    self.reconnect()?;
                }
                other => {
                    return other
                        .map(|()| Ok(self.opened.validity))
                        .map_err(|e| self.failure(e));
                }
            }
        }
    }

    /// Whether the open folder has a message that may be the same.
    pub fn may_have(&self, key: Key) -> bool {
        self.index.contains_key(&key)
    }

    /// Opens the folder and adds to the index what came since the last look.
    fn look(&mut self) -> Result<(), ImapError> {
        let opened = self.client.open(&self.folder)?;
        if opened.validity != self.opened.validity {
            self.index.clear();
            self.next = 1;
        }
        self.opened = opened;
        let (index, mut next) = (&mut self.index, self.next);
        if opened.messages > 0 {
            self.client.summaries(self.next, |summary| {
                next = next.max(summary.uid.saturating_add(1));
                index
                    .entry(summary.key)
                    .or_default()
                    .push(There::Number(summary.uid));
            })?;
        }
        self.next = next;
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), Failure> {
        self.client = connect(&self.account, &self.stop).map_err(|e| self.failure(e))?;
        Ok(())
    }

    /// Whether nothing more can be put there.
    pub fn is_full(&self) -> bool {
        self.full >= FULL_AFTER
    }

    /// Puts a message into the open folder, unless it is there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is no connection any more. Then it may be there or not; the next
    /// import finds out.
    pub fn put(
        &mut self,
        message: &mut Message,
        moved: &mut dyn FnMut(u64),
    ) -> Result<Outcome, Failure> {
        let (mut cuts, mut waits) = (0, 0);
        let mut plainer = None;
        // Why the last connection ended. The message may have arrived, and only the answer was lost: so
        // nothing is sent before the folder was looked at again.
        let mut lost = None;
        loop {
            let seen = match lost {
                Some(_) => self.look(),
                None => Ok(()),
            };
            let attempt = match seen.and_then(|()| self.has(message)) {
                Ok(true) => return Ok(Outcome::There),
                Ok(false) => match lost.take() {
                    Some(why) if cuts >= TRIES => {
                        return Ok(Outcome::Refused(format!(
                            "the server ended the connection {TRIES} times: {why}"
                        )));
                    }
                    _ => self.append(message, plainer.is_some(), moved),
                },
                Err(e) => Err(e),
            };
            match attempt {
                Ok(()) => {
                    self.full = 0;
                    let (key, print) = (message.content.key(), message.content.print());
                    self.index.entry(key).or_default().push(There::Print(print));
                    return Ok(Outcome::Moved(plainer));
                }
                Err(e) if e.is_full() => {
                    self.full += 1;
                    return Ok(Outcome::Refused(e.to_string()));
                }
                Err(e) if e.is_busy() && waits < MAX_WAITS => {
                    waits += 1;
                    if !self.stop.wait(BUSY) {
                        return Err(Failure::interrupted("interrupted"));
                    }
                }
                Err(e @ ImapError::Refused(_)) => match plainer {
                    None if is_odd(message) => plainer = Some(e.to_string()),
                    // It was not that.
                    Some(why) => return Ok(Outcome::Refused(why)),
                    None => return Ok(Outcome::Refused(e.to_string())),
                },
                Err(e) if e.may_pass() && cuts < MAX_CUTS => {
                    cuts += 1;
                    lost = Some(e.to_string());
                    self.reconnect()?;
                }
                Err(e) => return Err(self.failure(e)),
            }
        }
    }

    /// Whether the very same message is in the folder.
    fn has(&mut self, message: &Message) -> Result<bool, ImapError> {
        let print = message.content.print();
        let keys = [message.content.key(), message.content.key_with_line_ends()];
        let count = if keys[0] == keys[1] { 1 } else { 2 };
        for key in &keys[..count] {
            for candidate in self.index.get_mut(key).into_iter().flatten() {
                if let There::Number(uid) = *candidate {
                    let read = self.client.read(&[uid], &mut |_, message| {
                        *candidate = There::Print(message.content.print());
                        ControlFlow::Continue(())
                    });
                    match read {
                        // What cannot be read is another one: rather twice than not at all.
                        Ok(_) | Err(ImapError::Refused(_)) => {}
                        Err(e) => return Err(e),
                    }
                }
                if matches!(candidate, There::Print(known) if *known == print) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn append(
        &mut self,
        message: &mut Message,
        plain: bool,
        moved: &mut dyn FnMut(u64),
    ) -> Result<(), ImapError> {
        let (flags, date) = if plain {
            let clamped = message.date.map(|date| Date {
                seconds: date.seconds.clamp(0, LAST_DATE),
                ..date
            });
            (message.flags.plain(), clamped)
        } else {
            (message.flags.clone(), message.date)
        };
        self.client
            .append(&self.folder, (&flags, date), &mut message.content, moved)
    }

    /// Says good-bye.
    pub fn close(self) {
        self.client.close();
    }
}

/// Whether some of it may be more than a server can keep.
fn is_odd(message: &Message) -> bool {
    let odd_date = message
        .date
        .is_some_and(|date| !(0..=LAST_DATE).contains(&date.seconds));
    odd_date || message.flags.keywords().next().is_some()
}
