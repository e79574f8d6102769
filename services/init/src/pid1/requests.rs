//! What is asked of init, and its answers.

use super::*;
use crate::machine::Phase;
use crate::status::{self, Facts};
use roost_service::card;
use roost_service::control::{Request, Response};
use roost_service::settings::{CHOSEN_PATH, Chosen, MAX_CHOSEN};
use std::path::Path;

impl Init {
    /// What a request is answered; does what can be done before the answer is on its way.
    /// `None`: it is carried out by a child, see [`Init::kept`] and [`Init::lent`]; `client` waits for it.
    pub(super) fn answer(
        &mut self,
        request: Result<Request, String>,
        client: u64,
    ) -> Option<Response> {
        let request = match request {
            Ok(request) => request,
            Err(message) => return Some(Response::Error { message }),
        };
        let kept = match request {
            Request::Configure { chosen } => self.configure(&chosen, client),
            Request::FactoryReset { code } => self.factory_reset(code, client),
            Request::Logs {
                service,
                lines,
                boot,
                follow,
            } => {
                let lines = lines.min(control::MAX_LOG_LINES);
                return self.recent(&service, lines, boot, follow, client);
            }
            Request::Disks => return self.look_for_disks(client),
            Request::TakeDisk { disk, folder } => return self.lend(disk, folder, client),
            Request::ReleaseDisk => return self.give_back(client),
            request => return Some(self.answer_at_once(request)),
        };
        kept.err().map(|message| Response::Error { message })
    }

    fn configure(&mut self, chosen: &Chosen, client: u64) -> Result<(), String> {
        chosen.check().map_err(|e| e.to_string())?;
        let before = crate::card::read_at_most(Path::new(CHOSEN_PATH), MAX_CHOSEN);
        let before = before.ok().and_then(|bytes| Chosen::parse(&bytes).ok());
        let changes = chosen.changes_from(before.as_ref());
        let json = serde_json::to_vec(chosen).map_err(|e| e.to_string())?;
        self.keep(What::Chosen, &json, client)?;
        self.changes = changes;
        Ok(())
    }

    fn factory_reset(&mut self, code: Option<String>, client: u64) -> Result<(), String> {
        // The next start may be of the other slot, whose version may not know of resets.
        if self.on_trial() {
            return Err("an update is being tried out: wait until it has ended".into());
        }
        let code = code.unwrap_or_else(crate::data::new_code);
        if card::normalise_code(&code).as_ref() != Some(&code) {
            return Err("the code is none".into());
        }
        self.keep(What::Reset, code.as_bytes(), client)
    }

    fn keep(&mut self, what: What, text: &[u8], client: u64) -> Result<(), String> {
        if !self.data_mounted {
            return Err("the data partition is not there".into());
        }
        let busy = |helper: &Helper| matches!(helper.task, Task::Keep { .. });
        if self.helpers.iter().any(busy) {
            return Err("something else is being kept just now: try again".into());
        }
        let task = Task::Keep { what, client };
        self.start_helper(task, &["--keep", what.word()], text)
            .map_err(|e| format!("cannot start what keeps it: {e}"))
    }

    fn answer_at_once(&mut self, request: Request) -> Response {
        match request {
            Request::Status => Response::Status(self.status()),
            Request::BootTimes => Response::BootTimes(self.boot.times().clone()),
            Request::Kill { service } => self.ask_service(&service, supervisor::Event::Kill),
            Request::Restart { service } => self.ask_service(&service, supervisor::Event::Restart),
            // Carried out once the answer is on its way, see `Init::serve`.
            Request::Reboot { trial: false } | Request::PowerOff => Response::Ok,
            // The firmware's other slot is the one that this boot tries.
            Request::Reboot { trial: true } if self.on_trial() => Response::Error {
                message: "this boot is a trial itself: it has to end before the next one".into(),
            },
            Request::Reboot { trial: true } => match trial::Way::find() {
                Ok(_) => Response::Ok,
                Err(message) => Response::Error { message },
            },
            Request::EndTrial if !self.on_trial() => Response::Error {
                message: "this boot is no trial".into(),
            },
            Request::Announce {
                code,
                name,
                fingerprint,
            } => {
                let now = clock::since_boot();
                match self.screen.announce(now, code, name, fingerprint) {
                    Ok(()) => Response::Ok,
                    Err(message) => Response::Error { message },
                }
            }
            Request::Configure { .. }
            | Request::FactoryReset { .. }
            | Request::Logs { .. }
            | Request::Disks
            | Request::TakeDisk { .. }
            | Request::ReleaseDisk => unreachable!("these are answered above"),
            Request::EndTrial => {
                self.event(machine::Event::TrialEnded);
                self.say(
                    Level::Quiet,
                    "the trial has ended well: this slot is the committed one",
                );
                Response::Ok
            }
        }
    }

    fn on_trial(&self) -> bool {
        self.machine.trial_left(clock::since_boot()).is_some()
    }

    fn ask_service(
        &mut self,
        name: &str,
        event: impl FnOnce(supervisor::Index) -> supervisor::Event,
    ) -> Response {
        let Some(index) = self.machine.supervisor().index(name) else {
            return Response::Error {
                message: format!("there is no service {name:?}"),
            };
        };
        if let Phase::Rescue { reason } = self.machine.phase() {
            let message = format!("no service runs in the rescue state: {reason}");
            return Response::Error { message };
        }
        self.event(machine::Event::Service(event(index)));
        Response::Ok
    }

    fn status(&self) -> roost_service::control::BoxStatus {
        let facts = Facts {
            name: self.name.clone(),
            version: self.version.clone(),
            slot: self.slot,
            clock_synced: self.clock.synced && self.clock.trust != Trust::Doubtful,
            trial_left: self.machine.trial_left(clock::since_boot()),
            addresses: self.network.addresses(),
        };
        status::gather(&self.machine, facts)
    }
}
