//! The laptop's side of the device API (`roost_service::update`).
//!
//! - [`address`]: where a box is; [`identity`]: the laptop's key; [`folder`]: what is kept on this
//!   computer, of that [`paired`]: boxes, and [`cards`]: cards made here; [`known`]: which of both is meant.
//! - [`hello`]: what a box says to anybody.
//! - [`tls`] compares certificates, [`link`] moves bytes and lines, [`error`] tells what went wrong.
//! - [`mailbox`]: the box's mail accounts, for commands that move mail.
//! - [`stop`]: Ctrl-C; [`words`]: how things that a box reports are put on a terminal.
//!
//! A command makes a [`Device`] and opens conversations with it. Each begins
//! with the box's report of itself.

pub mod address;
pub mod cards;
pub mod error;
pub mod folder;
pub mod hello;
pub mod identity;
pub mod known;
pub mod link;
pub mod mailbox;
pub mod paired;
pub mod stop;
pub mod tls;
pub mod words;

use crate::ask::agreed;
use crate::cli::BoxArgs;
use crate::error::Failure;
use crate::ui::Ui;
use address::Address;
use cards::Cards;
use error::DeviceError;
use known::{All, Known, Promise, Standing};
use link::Link;
use paired::{Boxes, Installed, Paired};
use roost_service::card::display_code;
use roost_service::fingerprint::Fingerprint;
use roost_service::update::{Answer, Call, Report};
use std::time::Duration;
use stop::Stop;
use tls::Expect;

/// For a connection to one address of a box.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For an answer that needs no work. A busy Pi 3 has been seen to think for some seconds.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Names the box, if nothing on the command line does.
pub const VARIABLE: &str = "ROOST_BOX";

/// A box as this laptop sees it.
pub struct Device<'a> {
    ui: &'a Ui,
    /// Where it is.
    pub address: Address,
    boxes: Boxes,
    cards: Cards,
    /// Those that may answer there; one if it is known which is meant.
    candidates: Vec<Known>,
    /// Which of them is meant, as far as that is known.
    meant: Option<usize>,
    /// Which has answered: its place among the candidates.
    met: Option<usize>,
    /// Ctrl-C, for those who wait for it.
    pub stop: Stop,
}

impl<'a> Device<'a> {
    /// The box that the arguments or the environment name, or else the only one that is paired, or
    /// whose card was flashed here ([`known`]).
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is none, or several, or if what is kept of them cannot be read.
    pub fn of(
        args: &BoxArgs,
        argument: Option<&Address>,
        stop: Stop,
        ui: &'a Ui,
    ) -> Result<Self, Failure> {
        let (boxes, cards) = (Boxes::of_user()?, Cards::of_user()?);
        let typed = match argument.or(args.device.as_ref()) {
            Some(address) => Some(address.clone()),
            None => from_environment()?,
        };
        let all = All::load(&boxes, &cards)?;
        let (candidates, clear) = all.candidates(typed.as_ref())?;
        let meant = match (clear, &typed) {
            (true, _) => Some(0),
            (false, Some(typed)) => {
                let text = typed.to_string();
                candidates
                    .iter()
                    .position(|known| known.paired.address == text)
            }
            (false, None) => None,
        };
        let first = &candidates[0].paired;
        // Its name is enough; nothing needs to resolve it.
        let by_name = |typed: &Address| typed.to_string() == first.name;
        let address = match typed.filter(|typed| !by_name(typed)) {
            Some(address) => address,
            None => first.address.parse().map_err(|why: String| {
                Failure::new(format!("the kept address of {} is damaged", first.name)).because(why)
            })?,
        };
        Ok(Self {
            ui,
            address,
            boxes,
            cards,
            candidates,
            meant,
            met: None,
            stop,
        })
    }

    /// The box that has answered.
    pub fn met(&self) -> Option<&Paired> {
        Some(&self.candidates.get(self.met?)?.paired)
    }

    /// Forgets the pairing with the box that has answered.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if what is kept cannot be removed.
    pub fn forget(&self) -> Result<(), Failure> {
        match self.met() {
            Some(known) => self.boxes.forget(known.fingerprint()?),
            None => Ok(()),
        }
    }

    /// What this laptop has installed on it last.
    pub fn installed(&self) -> Option<&Installed> {
        self.met()?.installed.as_ref()
    }

    /// Writes down what is installed on it from now on.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be written.
    pub fn note_installed(&mut self, installed: Installed) -> Result<(), Failure> {
        let Some(known) = self.met.and_then(|at| self.candidates.get_mut(at)) else {
            return Ok(());
        };
        known.paired.installed = Some(installed);
        self.boxes.put(&known.paired)
    }

    /// Connects; both sides show who they are.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], whatever went wrong.
    pub fn connect(&mut self) -> Result<Link, DeviceError> {
        let at = match (self.met, self.candidates.len()) {
            (Some(met), _) => met,
            (None, 1) => 0,
            (None, _) => self.look()?,
        };
        let known = &self.candidates[at].paired;
        let (expected, identity) = (known.fingerprint()?, known.identity()?);
        if let Standing::Promised(promise) = &self.candidates[at].standing {
            self.has_owner(promise, expected)
                .map_err(|error| self.certificate_of(at, error))?;
            self.candidates[at].standing = Standing::Owned;
        }
        let socket = self.address.connect(CONNECT_LIMIT)?;
        let link = Link::open(socket, Expect::One(expected, Some(identity)), &self.stop)
            .map_err(|error| self.certificate_of(at, error))?;
        self.met = Some(at);
        Ok(link)
    }

    /// Another certificate is told as a changed one where it is clear which was to be shown.
    fn certificate_of(&self, at: usize, error: DeviceError) -> DeviceError {
        match (error, self.candidates[at].paired.fingerprint()) {
            (DeviceError::Stranger { shown }, Ok(known))
                if [self.meant, self.met].contains(&Some(at)) =>
            {
                DeviceError::ChangedCertificate { known, shown }
            }
            (error, _) => error,
        }
    }

    /// Makes sure that the box whose card was flashed here has an owner: before that, it would not say
    /// more than that it does not know this computer.
    fn has_owner(&self, promise: &Promise, expected: Fingerprint) -> Result<(), DeviceError> {
        let web = match promise.web.0.with_port(self.address.port()) == self.address {
            true => promise.web.clone(),
            false => self.address.web(),
        };
        let mut link = hello::connect(&web, Expect::One(expected, None))?;
        match hello::ask(&mut link, &web)?.paired {
            true => Ok(()),
            false => Err(DeviceError::NoOwner {
                page: format!("https://{web}/pair"),
                code: display_code(&promise.code),
            }),
        }
    }

    /// Which of several boxes answers at an address that may be any's. Each wants to see a key of its
    /// own, and none is shown here.
    fn look(&self) -> Result<usize, DeviceError> {
        let mut expected = Vec::new();
        for known in &self.candidates {
            expected.push(known.paired.fingerprint()?);
        }
        let socket = self.address.connect(CONNECT_LIMIT)?;
        let link = match Link::open(socket, Expect::OneOf(expected.clone()), &self.stop) {
            Err(DeviceError::Stranger { shown }) => {
                return Err(match self.meant.and_then(|at| expected.get(at)) {
                    Some(known) => DeviceError::ChangedCertificate {
                        known: *known,
                        shown,
                    },
                    None => DeviceError::Stranger { shown },
                });
            }
            other => other?,
        };
        let shown = Fingerprint::of(&link.certificate()?);
        let at = expected.iter().position(|known| *known == shown);
        at.ok_or(DeviceError::Stranger { shown })
    }

    /// Connects and asks how the box is.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], whatever went wrong.
    pub fn open(&mut self) -> Result<(Link, Report), DeviceError> {
        let mut link = self.connect()?;
        link.upgrade(&self.address.host_header(), ANSWER_LIMIT)?;
        let report = status(&mut link)?;
        self.note_address()?;
        Ok((link, report))
    }

    /// One request of the API, on a connection of its own.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], whatever went wrong.
    pub fn api(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<serde_json::Value, DeviceError> {
        self.api_within(method, path, body, ANSWER_LIMIT)
    }

    /// The same, for an answer that takes longer.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], whatever went wrong.
    pub fn api_within(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&serde_json::Value>,
        limit: Duration,
    ) -> Result<serde_json::Value, DeviceError> {
        let mut link = self.connect()?;
        let host = self.address.host_header();
        let answer = link.request(&host, method, path, body, limit)?;
        self.note_address()?;
        Ok(answer)
    }

    /// The address works: next time nobody has to type it. A pairing whose answer was lost holds.
    fn note_address(&mut self) -> Result<(), Failure> {
        let Some(known) = self.met.and_then(|at| self.candidates.get_mut(at)) else {
            return Ok(());
        };
        let address = self.address.to_string();
        if known.paired.address == address && !known.paired.pending {
            return Ok(());
        }
        known.paired.address = address;
        known.paired.pending = false;
        self.boxes.put(&known.paired)?;
        if known.standing == Standing::Owned {
            known.standing = Standing::Paired;
            self.cards.forget(known.paired.fingerprint()?)?;
            self.boxes.forget_former(&known.paired)?;
            self.ui.info(format!(
                "{} knows this computer since it has an owner: its card was flashed here",
                known.paired.name
            ));
        }
        Ok(())
    }

    /// Turns an error of a conversation into the command's, `what` as in `cannot restart`.
    pub fn failure(&self, what: &str, error: DeviceError) -> Failure {
        error.failure(what, &self.address)
    }

    /// Asks `question`, if `yes` does not say it already.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the answer is no, or if there is no terminal to ask on.
    pub fn confirm(&self, question: &str, yes: bool, command: &str) -> Result<(), Failure> {
        let no = "you said no; nothing was changed on the box";
        agreed(self.ui, question, yes, command, no)
    }
}

/// Asks a connected box for its report.
///
/// # Errors
///
/// [`DeviceError`].
pub fn status(link: &mut Link) -> Result<Report, DeviceError> {
    match ask(link, &Call::Status, &[], ANSWER_LIMIT)? {
        Answer::Status(report) => Ok(*report),
        other => Err(unexpected(&other)),
    }
}

/// Asks a connected box for something that it answers with `ok`.
///
/// # Errors
///
/// [`DeviceError`].
pub fn demand(link: &mut Link, call: &Call) -> Result<(), DeviceError> {
    match ask(link, call, &[], ANSWER_LIMIT)? {
        Answer::Ok => Ok(()),
        other => Err(unexpected(&other)),
    }
}

/// One call with the bytes that follow it, and its answer.
///
/// # Errors
///
/// [`DeviceError`].
pub fn ask(
    link: &mut Link,
    call: &Call,
    body: &[u8],
    limit: Duration,
) -> Result<Answer, DeviceError> {
    link.send(call, body, limit)?;
    link.answer(limit)
}

/// An answer that belongs to another call.
pub fn unexpected(answer: &Answer) -> DeviceError {
    let name = match answer {
        Answer::Status(_) => "a status",
        Answer::Logs { .. } => "log lines",
        Answer::BootTimes(_) => "boot times",
        Answer::Offer(_) => "an offer",
        Answer::Progress { .. } => "progress",
        Answer::Staged => "`staged`",
        Answer::Ok => "`ok`",
        Answer::Error { .. } => "an error",
    };
    DeviceError::NotUnderstood(format!("{name} was not asked for"))
}

fn from_environment() -> Result<Option<Address>, Failure> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|t| !t.is_empty()) else {
        return Ok(None);
    };
    text.to_string_lossy()
        .parse()
        .map(Some)
        .map_err(|why: String| Failure::usage(format!("cannot use {VARIABLE}")).because(why))
}
