//! The laptop's side of the device API (`roost_service::update`).
//!
//! - [`address`]: where a box is; [`identity`]: the laptop's key; [`folder`]: what is kept on this
//!   computer, of that [`paired`]: boxes, and [`cards`]: cards made here.
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
pub mod identity;
pub mod link;
pub mod mailbox;
pub mod paired;
pub mod stop;
pub mod tls;
pub mod words;

use crate::cli::BoxArgs;
use crate::error::Failure;
use crate::password::agreed;
use crate::ui::Ui;
use address::Address;
use error::DeviceError;
use link::Link;
use paired::{Boxes, Installed, Paired};
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
    /// Those that may answer there; one if it is known which is meant.
    candidates: Vec<Paired>,
    /// Which of them is meant, as far as that is known.
    meant: Option<usize>,
    /// Which has answered: its place among the candidates.
    met: Option<usize>,
    /// Ctrl-C, for those who wait for it.
    pub stop: Stop,
}

impl<'a> Device<'a> {
    /// The box that the arguments or the environment name, or else the only one that is paired.
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
        let boxes = Boxes::of_user()?;
        let mut all = boxes.all()?;
        let typed = match argument.or(args.device.as_ref()) {
            Some(address) => Some(address.clone()),
            None => from_environment()?,
        };
        if all.is_empty() {
            return Err(Failure::usage("this laptop is paired with no box")
                .hint("pair with it first: roost pair ADDRESS"));
        }
        let (address, candidates, meant) = match typed {
            None => match all.as_slice() {
                [_] => (None, all, Some(0)),
                several => {
                    let list: Vec<String> = (several.iter())
                        .map(|known| format!("{} at {}", known.name, known.address))
                        .collect();
                    return Err(Failure::usage("this laptop is paired with several boxes")
                        .because(list.join("\n"))
                        .hint(format!("say which: --box {}", several[0].name)));
                }
            },
            Some(typed) => match all.iter().position(|known| known.is_called(&typed)) {
                Some(at) => {
                    let known = all.swap_remove(at);
                    // Its name is enough; nothing needs to resolve it.
                    let by_name = typed.to_string() == known.name;
                    ((!by_name).then_some(typed), vec![known], Some(0))
                }
                // Addresses wander: which of the paired boxes is there now, its certificate says.
                None => {
                    let text = typed.to_string();
                    let last = all.iter().position(|known| known.address == text);
                    (Some(typed), all, last)
                }
            },
        };
        let address = match address {
            Some(address) => address,
            None => candidates[0].address.parse().map_err(|why: String| {
                Failure::new(format!(
                    "the kept address of {} is damaged",
                    candidates[0].name
                ))
                .because(why)
            })?,
        };
        Ok(Self {
            ui,
            address,
            boxes,
            candidates,
            meant,
            met: None,
            stop,
        })
    }

    /// The box that has answered.
    pub fn met(&self) -> Option<&Paired> {
        self.candidates.get(self.met?)
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
        known.installed = Some(installed);
        self.boxes.put(known)
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
        let known = &self.candidates[at];
        let (expected, identity) = (known.fingerprint()?, known.identity()?);
        let socket = self.address.connect(CONNECT_LIMIT)?;
        let link = match Link::open(socket, Expect::One(expected, Some(identity)), &self.stop) {
            Err(DeviceError::Stranger { shown }) if [self.meant, self.met].contains(&Some(at)) => {
                let known = expected;
                return Err(DeviceError::ChangedCertificate { known, shown });
            }
            other => other?,
        };
        self.met = Some(at);
        Ok(link)
    }

    /// Which of several boxes answers at an address that may be any's. Each wants to see a key of its
    /// own, and none is shown here.
    fn look(&self) -> Result<usize, DeviceError> {
        let mut expected = Vec::new();
        for known in &self.candidates {
            expected.push(known.fingerprint()?);
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
        if known.address == address && !known.pending {
            return Ok(());
        }
        known.address = address;
        known.pending = false;
        self.boxes.put(known)
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
