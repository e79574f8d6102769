//! USB disks: children look for them, mount and unmount; [`Lending`] decides who has one.

use super::*;
use crate::disks::{Outcome, Refusal, Wanted};
use crate::machine::Phase;
use roost_service::control::Response;
use roost_service::disk::{self, DiskMark};
use roost_service::spec::Right;

impl From<Refusal> for Response {
    fn from(Refusal { why, hint }: Refusal) -> Self {
        Self::DiskRefused { why, hint }
    }
}

fn refused(why: impl ToString) -> Response {
    Response::DiskRefused {
        why: why.to_string(),
        hint: None,
    }
}

fn later(why: &str) -> Response {
    Refusal::new(why, "try again in a moment").into()
}

impl Init {
    /// Has a child look which disks are plugged in; [`Init::disks_found`] answers.
    pub(super) fn look_for_disks(&mut self, client: u64) -> Option<Response> {
        let looks = |helper: &Helper| matches!(helper.task, Task::Disks { .. });
        if self.helpers.iter().any(looks) {
            return Some(later("somebody looks for disks just now"));
        }
        let started = self.start_helper(Task::Disks { client }, &["--disks"], b"");
        let error = started.err()?;
        Some(refused(format!("cannot look for disks: {error}")))
    }

    /// Disks were looked for.
    pub(super) fn disks_found(&mut self, client: u64, text: &[u8]) {
        let response = match disks::outcome(text) {
            Ok(Outcome::Disks(disks)) => Response::Disks { disks },
            Ok(Outcome::Refused(refusal)) => refusal.into(),
            Ok(Outcome::Done | Outcome::DoneBut(_)) => refused("nothing was told of disks"),
            Err(problem) => refused(problem),
        };
        self.answer_disk(client, &response);
    }

    /// Has a child mount a disk for the service that may have one; [`Init::lent`] answers.
    pub(super) fn lend(&mut self, disk: DiskMark, folder: String, client: u64) -> Option<Response> {
        if let Err(error) = disk.check().and_then(|()| disk::check_folder(&folder)) {
            return Some(refused(error));
        }
        if matches!(self.machine.phase(), Phase::Stopping { .. } | Phase::Down) {
            return Some(refused("the box goes down"));
        }
        let may = |spec: &&ServiceSpec| spec.control.contains_key(&Right::Disk);
        let Some(user) = self.table.iter().find(may).map(|spec| spec.user) else {
            return Some(refused("no service of this image may have a disk"));
        };
        if let Err(error) = self.lending.want(client) {
            return Some(later(&error.to_string()));
        }
        let wanted = Wanted { disk, folder, user };
        let input = serde_json::to_vec(&wanted).unwrap_or_default();
        let started = self.start_helper(Task::Lend, &["--lend-disk"], &input);
        let error = started.err()?;
        self.lending.lent(false);
        Some(refused(format!("cannot mount the disk: {error}")))
    }

    /// A disk was mounted, or not: answers who wanted it.
    pub(super) fn lent(&mut self, text: &[u8]) {
        let outcome = disks::outcome(text);
        let well = matches!(outcome, Ok(Outcome::Done | Outcome::DoneBut(_)));
        let response = match outcome {
            Ok(Outcome::Refused(refusal)) => refusal.into(),
            Ok(Outcome::Disks(_)) => refused("nothing was told of the disk"),
            Ok(Outcome::Done | Outcome::DoneBut(_)) => Response::Ok,
            Err(problem) => refused(problem),
        };
        match &response {
            Response::DiskRefused { why, .. } => {
                let line = format!("no disk was mounted: {why}");
                self.say(Level::Quiet, &line);
            }
            _ => self.say(Level::Quiet, "a USB disk is mounted, and lent to a service"),
        }
        if let Some(holder) = self.lending.lent(well) {
            self.answer_disk(holder, &response);
            // Gone while the disk was mounted, and forgotten since.
            if !self.sources.contains_key(&holder) {
                self.hung_up(holder);
            }
        }
    }

    /// Its holder gives it back; [`Init::taken_back`] answers.
    pub(super) fn give_back(&mut self, client: u64) -> Option<Response> {
        if let Err(error) = self.lending.give_back(client) {
            return Some(refused(error));
        }
        let error = self.take_back().err()?;
        Some(refused(error))
    }

    /// Somebody's connection has ended, and with it what was lent over it.
    pub(super) fn hung_up(&mut self, token: u64) {
        if self.lending.gone(token)
            && let Err(error) = self.take_back()
        {
            self.say(Level::Quiet, &error);
        }
    }

    fn take_back(&mut self) -> Result<(), String> {
        let started = self.start_helper(Task::TakeBack, &["--take-disk-back"], b"");
        started.map_err(|error| {
            // Whoever wants a disk next unmounts this one first.
            self.lending.taken_back();
            format!("the disk stays mounted: {error}")
        })
    }

    /// The disk was unmounted: answers who waits for that.
    pub(super) fn taken_back(&mut self, text: &[u8]) {
        let problem = match disks::outcome(text) {
            Ok(Outcome::DoneBut(problem)) | Err(problem) => Some(problem),
            Ok(_) => None,
        };
        let line = match &problem {
            None => "the USB disk is unmounted, and can be pulled out".to_owned(),
            Some(problem) => format!("the USB disk is let go, but: {problem}"),
        };
        self.say(Level::Quiet, &line);
        let response = problem.map_or(Response::Ok, refused);
        if let Some(holder) = self.lending.taken_back() {
            self.answer_disk(holder, &response);
        }
    }

    fn answer_disk(&mut self, client: u64, response: &Response) {
        self.answer_late(client, response, None);
        // What came behind it, or its end.
        self.readable(client);
    }
}
