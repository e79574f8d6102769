//! Whether the zones that the box serves are signed, as anybody on the network sees it.
//!
//! The name server checks every signature before it serves it, and renews them with 22 days left. This is a
//! second look, by another program and through the door that strangers use, for the day on which that
//! fails: a domain whose signatures have ended is gone for whoever validates, and its mail with it.
//!
//! | What is seen | What happens |
//! |---|---|
//! | SOA and DNSKEY, signed for a week and more | all is well; looked at again in an hour |
//! | signatures that end within a week, have ended, or have not begun | an alarm at once |
//! | no signature, no answer, or one that makes no sense | an alarm at the third time in a row, a minute apart: the name server may be starting |
//! | the clock is not set | nothing is asked: nobody knows what has ended |

mod look;

use crate::actions::dns;
use crate::app::App;
use crate::time::{Wall, words};
use futures_util::future::join_all;
use look::look_at;
use roost_service::dns::{DelegationState, Zone};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// Signatures that end within this time raise an alarm.
const SOON: Duration = Duration::from_secs(7 * 86_400);
/// From the start to the first look: services start side by side.
const FIRST: Duration = Duration::from_secs(60);
/// Between two looks while all is well: signatures hold for weeks.
const EVERY: Duration = Duration::from_secs(3600);
/// Between two looks while something is wrong or not known.
const AGAIN: Duration = Duration::from_secs(60);
/// What may be a name server that is starting is an alarm at this try.
const TRIES: u32 = 3;
/// What to do about every alarm.
const HINT: &str =
    "Restart the box; if this is still told five minutes later, `roost logs dns` says why.";

/// What is wrong with a zone's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wrong {
    /// There is none.
    NoAnswer { why: String },
    /// There is one without a signature over this type.
    Unsigned { kind: String },
    /// The first signature to end does so then.
    Ends { at: Wall },
    /// A signature does not hold before then.
    Begins { at: Wall },
}

impl Wrong {
    /// Whether it may be over by itself in a minute.
    fn may_be_a_start(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Unsigned { .. })
    }

    /// For the owner, in whole sentences.
    fn told(&self, domain: &str, now: Wall) -> String {
        let what = match self {
            Self::NoAnswer { why } => {
                format!("The box's name server does not answer for {domain}: {why}.")
            }
            Self::Unsigned { kind } => format!(
                "The box's name server answers for {domain} without DNSSEC signatures: there is none over {kind}."
            ),
            Self::Ends { at } if *at <= now => format!(
                "The DNSSEC signatures that the box serves for {domain} have ended at {at}: whoever checks them sees nothing of the domain any more."
            ),
            Self::Ends { at } => format!(
                "The DNSSEC signatures that the box serves for {domain} end in {}, at {at}, and should have been renewed long ago: from then on, whoever checks them sees nothing of the domain.",
                words(Duration::from_secs(at.0 - now.0)),
            ),
            Self::Begins { at } => format!(
                "The DNSSEC signatures that the box serves for {domain} hold only from {at} on: its clock was wrong when they were made, or is wrong now."
            ),
        };
        format!("{what} {HINT}")
    }
}

/// What was seen of the zones so far.
#[derive(Debug, Default)]
pub struct Watch(Mutex<BTreeMap<String, Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// Looks in a row at which something was wrong.
    failed: u32,
    alarm: Option<String>,
}

impl Watch {
    /// What is wrong with the answers for this domain, in whole sentences with what to do; commands stand
    /// between backticks.
    pub fn alarm(&self, domain: &str) -> Option<String> {
        self.lock().get(domain)?.alarm.clone()
    }

    /// All alarms.
    pub fn alarms(&self) -> Vec<String> {
        let zones = self.lock();
        zones
            .values()
            .filter_map(|zone| zone.alarm.clone())
            .collect()
    }

    fn domains(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Forgets all other domains.
    fn keep(&self, domains: &[String]) {
        self.lock().retain(|domain, _| domains.contains(domain));
    }

    /// Takes what was seen. Returns what is to be logged: when an alarm begins and when it is over.
    fn saw(&self, domain: &str, now: Wall, seen: Result<(), Wrong>) -> Option<String> {
        let mut zones = self.lock();
        let zone = zones.entry(domain.to_owned()).or_default();
        let Err(wrong) = seen else {
            zone.failed = 0;
            let over = zone.alarm.take();
            return over.map(|_| format!("the answers for {domain} are signed again"));
        };
        zone.failed = zone.failed.saturating_add(1);
        if wrong.may_be_a_start() && zone.failed < TRIES {
            return None;
        }
        let told = wrong.told(domain, now);
        let before = zone.alarm.replace(told.clone());
        before.is_none().then_some(told)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        // Nothing is half done in it when a thread panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether somebody may rely on the answers for this zone: it is served, or the world is sent here.
fn is_relied_on(zone: &Zone) -> bool {
    let sent_here = |state| {
        matches!(
            state,
            DelegationState::Unsigned | DelegationState::Secure | DelegationState::Broken
        )
    };
    let delegation = zone.delegation.as_ref();
    zone.serial.is_some() || delegation.is_some_and(|parent| sent_here(parent.state))
}

/// Looks again and again, until the program ends.
pub async fn watch(app: Arc<App>) {
    sleep(FIRST).await;
    loop {
        let well = look(&app).await;
        sleep(if well { EVERY } else { AGAIN }).await;
    }
}

/// One look at every zone; whether all is known to be well.
pub async fn look(app: &App) -> bool {
    let Some(now) = app.now().wall else {
        return false;
    };
    let (told, domains) = match dns::status(app).await {
        Ok(status) => {
            let zones = status.zones.into_iter().filter(is_relied_on);
            let domains: Vec<String> = zones.map(|zone| zone.domain).collect();
            app.signatures.keep(&domains);
            (true, domains)
        }
        // Its door may be what is broken.
        Err(_) => (false, app.signatures.domains()),
    };
    let server = app.places.name_server;
    let looks = domains.iter().map(|domain| look_at(server, domain, now));
    let mut well = told;
    for (domain, seen) in domains.iter().zip(join_all(looks).await) {
        well &= seen.is_ok();
        if let Some(line) = app.signatures.saw(domain, now, seen) {
            eprintln!("portal: {line}");
        }
    }
    well
}

#[cfg(test)]
#[path = "watchdog_tests.rs"]
mod tests;
