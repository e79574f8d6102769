//! The laptop's side of the device API (`roost_service::update`).
//!
//! - [`address`]: where a box is; [`identity`]: who is who; [`known`]: the boxes met before.
//! - [`tls`] compares keys, [`link`] moves bytes and lines, [`error`] tells what went wrong.
//! - [`stop`]: Ctrl-C; [`words`]: how things that a box reports are put on a terminal.
//!
//! A command makes a [`Device`] and opens conversations with it. Each begins
//! with the box's report of itself.

pub mod address;
pub mod error;
pub mod identity;
pub mod known;
pub mod link;
pub mod stop;
mod tls;
pub mod words;

use crate::cli::BoxArgs;
use crate::config::Config;
use crate::error::Failure;
use crate::keys;
use crate::password::{can_ask, confirm};
use crate::ui::Ui;
use address::Address;
use error::{Context, DeviceError};
use identity::{BoxKey, Identity};
use known::{Installed, Known, KnownBoxes};
use link::Link;
use roost_service::update::{Answer, Call, Report};
use std::time::Duration;
use stop::Stop;

/// For a connection to one address of a box.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// For an answer that needs no work. A busy Pi 3 has been seen to think for some seconds.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Names the box, if nothing on the command line does.
pub const VARIABLE: &str = "ROOST_BOX";

/// A box as this laptop sees it.
pub struct Device<'a> {
    ui: &'a Ui,
    /// Where it is.
    pub address: Address,
    identity: Identity,
    boxes: KnownBoxes,
    known: Option<Known>,
    /// Ctrl-C, for those who wait for it.
    pub stop: Stop,
}

impl<'a> Device<'a> {
    /// The box that the arguments, the environment or else `roost.toml` name.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if `roost.toml`, the laptop's key or the known boxes cannot be used.
    pub fn of(
        args: &BoxArgs,
        argument: Option<&Address>,
        stop: Stop,
        ui: &'a Ui,
    ) -> Result<Self, Failure> {
        let config = Config::load(&args.config)?;
        let address = match argument.or(args.device.as_ref()) {
            Some(address) => address.clone(),
            None => from_environment()?.unwrap_or_else(|| Address::of_host(config.name.as_str())),
        };
        let folder = keys::folder(&config.domain)?;
        let identity = Identity::load(&folder, ui)?;
        let boxes = KnownBoxes::in_folder(&folder);
        let known = boxes.get(&address)?.filter(|_| !args.accept_new_key);
        Ok(Self {
            ui,
            address,
            identity,
            boxes,
            known,
            stop,
        })
    }

    /// What this laptop has installed on it last.
    pub fn installed(&self) -> Option<&Installed> {
        self.known.as_ref()?.installed.as_ref()
    }

    /// Writes down what is installed on it from now on.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the known boxes cannot be written.
    pub fn note_installed(&mut self, installed: Installed) -> Result<(), Failure> {
        if let Some(known) = &mut self.known {
            known.installed = Some(installed);
            self.boxes.put(&self.address, known.clone())?;
        }
        Ok(())
    }

    /// Connects and asks how the box is. The first time its key is taken on trust, said and kept.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], whatever went wrong.
    pub fn open(&mut self) -> Result<(Link, Report), DeviceError> {
        let socket = self.address.connect(CONNECT_LIMIT)?;
        let known = self.known.as_ref().map(|k| k.key);
        let mut link = Link::open(socket, &self.identity, known, &self.stop)?;
        let report = status(&mut link)?;
        if known.is_none() {
            // Not before it has answered: what does not know this laptop is not our box.
            self.meet(link.box_key()?)?;
        }
        Ok((link, report))
    }

    fn meet(&mut self, key: BoxKey) -> Result<(), Failure> {
        let elsewhere = self.boxes.address_of(key)?;
        let before = self.boxes.get(&self.address)?;
        let text = match (elsewhere, before) {
            (_, Some(before)) if before.key == key => None,
            (Some(elsewhere), _) => Some(format!(
                "{} is the box that this laptop knows as {elsewhere}",
                self.address
            )),
            (None, before) => Some(format!(
                "{} {}; it is known from now on by its key\n  {}",
                match before {
                    Some(_) => "new key of",
                    None => "first contact with",
                },
                self.address,
                key.fingerprint()
            )),
        };
        if let Some(text) = text {
            self.ui.info(text);
        }
        let known = Known {
            key,
            installed: None,
        };
        self.boxes.put(&self.address, known.clone())?;
        self.known = Some(known);
        Ok(())
    }

    /// Turns an error of a conversation into the command's, `what` as in `cannot restart`.
    pub fn failure(&self, what: &str, error: DeviceError) -> Failure {
        let context = Context {
            known_boxes: &self.boxes.path().display().to_string(),
            laptop: &self.identity.public,
        };
        error.failure(what, &self.address, &context)
    }

    /// Asks `question`, if `yes` does not say it already.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the answer is no, or if there is no terminal to ask on.
    pub fn confirm(&self, question: &str, yes: bool, command: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !can_ask(self.ui) {
            return Err(Failure::usage(format!(
                "{command} asks first, and there is no terminal to ask on"
            ))
            .hint("add --yes"));
        }
        if confirm(question)? {
            Ok(())
        } else {
            Err(Failure::interrupted(
                "you said no; nothing was changed on the box",
            ))
        }
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
