//! What is asked of init, and its answers.

use super::*;
use crate::machine::Phase;
use crate::status::{self, Facts};
use roost_service::control::{Request, Response};

impl Init {
    /// What a request is answered; does what can be done before the answer is on its way.
    pub(super) fn answer(&mut self, request: Result<Request, String>) -> Response {
        let request = match request {
            Ok(request) => request,
            Err(message) => return Response::Error { message },
        };
        match request {
            Request::Status => Response::Status(self.status()),
            Request::Logs { service, lines } => {
                self.recent(&service, lines.min(control::MAX_LOG_LINES))
            }
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
            Request::Announce { .. } | Request::Configure { .. } | Request::FactoryReset { .. } => {
                Response::Error {
                    message: "this version of init does not know how".into(),
                }
            }
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

    fn recent(&self, name: &str, count: usize) -> Response {
        let known = name == "init" || self.machine.supervisor().index(name).is_some();
        match name {
            "kernel" => Response::Logs {
                lines: logs::kernel(count),
            },
            _ if known => Response::Logs {
                lines: self.logs.last(name, count).unwrap_or_default(),
            },
            _ => Response::Error {
                message: format!("there is no service {name:?}"),
            },
        }
    }

    fn status(&self) -> roost_service::control::BoxStatus {
        let facts = Facts {
            name: self.name.clone(),
            version: self.version.clone(),
            slot: self.slot,
            clock_synced: self.clock.synced,
            trial_left: self.machine.trial_left(clock::since_boot()),
            addresses: self.network.addresses(),
        };
        status::gather(&self.machine, facts)
    }
}
