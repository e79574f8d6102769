//! Runs the health gate of a trial: does what [`crate::gate`] says.

use crate::control::{probe, words};
use crate::engine::{LastLook, Trial};
use crate::gate::{Gate, Next};
use crate::updater::{Updater, now};
use roost_service::control::Request;
use roost_service::spec::ServiceSpec;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Time between two looks that are kept on the card, in case the trial ends
/// without a word: two dozen small writes in the longest trial.
const KEEP_EVERY: Duration = Duration::from_secs(20);
/// Lines kept of each log that tells something.
const LOG_LINES: usize = 30;
/// Logs kept; with their lines this is what `roost status` shows of a rollback.
const LOGS: usize = 3;
/// Longest line kept, in characters.
const LOG_LINE: usize = 300;
/// Time between two attempts to make init restart the box.
const AGAIN: Duration = Duration::from_secs(5);

/// Time since the kernel started.
pub fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

/// Runs the gate to its end, then commits the running slot or restarts into
/// the one before. `wrong` ends it at once. `clock`: [`since_boot`].
pub async fn run(
    updater: Arc<Updater>,
    trial: Trial,
    wrong: Option<String>,
    services: &[ServiceSpec],
    clock: fn() -> Duration,
) {
    let mut gate = Gate::new(services);
    let mut keep_next = Duration::ZERO;
    let reason = loop {
        updater.set_checks(gate.checks());
        if let Some(wrong) = wrong {
            break wrong;
        }
        let at = clock();
        match gate.next(at) {
            Next::AskStatus => {
                let status = updater.init.status().await;
                let status = status.as_ref().map_err(|error| words(error));
                gate.status(clock(), status);
            }
            Next::Probe(service) => {
                let answer = probe(&service, &(updater.places.probe)(&service)).await;
                let answer = answer.map_err(|error| words(&error));
                gate.answer(clock(), &service, answer);
            }
            Next::WaitUntil(then) => {
                if at >= keep_next {
                    keep_next = at + KEEP_EVERY;
                    keep(&updater, &gate, None).await;
                }
                sleep(then.saturating_sub(clock())).await;
            }
            Next::Pass(passed) => {
                let this = updater.clone();
                let commit = tokio::task::spawn_blocking(move || {
                    let mut disk = this.disk().map_err(|error| words(&error))?;
                    trial
                        .commit(passed, &mut disk, &this.ledger, now())
                        .map_err(|error| words(&error))
                });
                match commit.await {
                    Ok(Ok(committed)) => {
                        if let Some(error) = committed.state {
                            println!("updater: {}", words(&error));
                        }
                        return end(&updater).await;
                    }
                    Ok(Err(error)) => {
                        break format!("it is healthy, but cannot be committed: {error}");
                    }
                    Err(_) => break "it is healthy, but the updater failed".into(),
                }
            }
            Next::Fail(reason) => break reason,
        }
    };
    println!("updater: the trial is given up: {reason}");
    keep(&updater, &gate, Some(reason)).await;
    loop {
        match updater.init.ask(&Request::Reboot { trial: false }).await {
            Ok(_) => return,
            // Init itself restarts the box soon.
            Err(error) => println!("updater: {}", words(&error)),
        }
        sleep(AGAIN).await;
    }
}

/// Tells init that the running slot is the committed one.
pub async fn end(updater: &Updater) {
    println!(
        "updater: version {} is committed",
        updater.facts.running.version.name
    );
    if let Err(error) = updater.init.ask(&Request::EndTrial).await {
        // Should init not know of a trial, all is well; else its deadline
        // restarts the box into this very slot.
        println!("updater: ending the trial: {}", words(&error));
    }
}

async fn keep(updater: &Updater, gate: &Gate, failed: Option<String>) {
    let mut log = Vec::new();
    let suspects = gate.suspects();
    let sources = suspects.iter().map(String::as_str).chain(["init"]);
    for source in sources.take(LOGS) {
        let Ok(lines) = updater.init.logs(source, LOG_LINES, Some(0)).await else {
            continue;
        };
        log.extend(lines.into_iter().map(|line| {
            let line: String = line.chars().take(LOG_LINE).collect();
            format!("{source}: {line}")
        }));
    }
    let look = LastLook {
        failed,
        checks: gate.checks(),
        log,
    };
    if let Err(error) = look.record(&updater.ledger) {
        println!("updater: {}", words(&error));
    }
}
