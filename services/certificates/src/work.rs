//! Does what is to be done, one thing after the other.

use crate::acme::Authority;
use crate::book::{Desk, Job};
use crate::clock::Clock;
use crate::fault::{Fault, Remedy};
use crate::http::Https;
use crate::renew::{Next, Why};
use crate::setup::{Setup, Wanted};
use crate::store::Kept;
use crate::zone::NameServers;
use roost_service::certificates::{Choice, Failure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longest that one order may take; what is not done then goes on at the next try.
const LONGEST_ORDER: Duration = Duration::from_secs(900);
/// Most times that an order is gone on with at once.
const MOST_REPEATS: u32 = 8;
/// Longest sleep: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);
/// Rest before the clock is looked at again.
const CLOCK_REST: Duration = Duration::from_secs(5);
/// Rest before something is tried again that has no timetable of its own.
const REST: Duration = Duration::from_secs(60);

/// Who does it.
pub struct Worker {
    /// What is known.
    pub desk: Arc<Desk>,
    /// Whether the clock is set.
    pub clock: Arc<Clock>,
    /// Where challenges go; the secondaries are those that dns has told.
    pub servers: NameServers,
}

impl Worker {
    /// Works for ever.
    pub async fn run(mut self) {
        // Moments before which cleaning and revoking are not tried again.
        let mut rests: BTreeMap<(String, &'static str), Instant> = BTreeMap::new();
        loop {
            let now = self.clock.now().await;
            let mut until = match now {
                Some(_) => LONGEST_SLEEP,
                None => CLOCK_REST,
            };
            let mut busy = false;
            for (wanted, job) in self.desk.jobs(now) {
                let kind = match job {
                    Job::Renew(Next::Wait { until: then, .. }) => {
                        let left = now.map_or(until.as_secs(), |now| then.saturating_sub(now));
                        until = until.min(Duration::from_secs(left.max(1)));
                        continue;
                    }
                    Job::Renew(_) => "renew",
                    Job::Clean => "clean",
                    Job::Revoke => "revoke",
                };
                let key = (wanted.id.clone(), kind);
                if let Some(rest) = rests
                    .get(&key)
                    .and_then(|at| at.checked_duration_since(Instant::now()))
                {
                    until = until.min(rest);
                    continue;
                }
                busy = true;
                if !self.work(&wanted, job).await {
                    rests.insert(key, Instant::now() + REST);
                }
            }
            if !busy {
                tokio::select! {
                    () = sleep(until) => {}
                    () = self.desk.wake.notified() => {}
                }
            }
        }
    }

    /// Does one thing; says whether its timetable knows of it now.
    async fn work(&mut self, wanted: &Wanted, job: Job) -> bool {
        let Some(Setup { choice, zones }) = self.desk.setup() else {
            return true;
        };
        self.servers.secondaries = zones.secondaries;
        let done = match (job, Https::new(choice.roots_pem.as_deref())) {
            (Job::Clean, _) => self.clean(wanted).await,
            (Job::Revoke, Ok(https)) => self.revoke(wanted, &choice, https).await,
            (Job::Renew(Next::AskAdvice), Ok(https)) => self.advice(wanted, &choice, https).await,
            (Job::Renew(Next::Order(why)), Ok(https)) => {
                self.order(wanted, &choice, https, why).await
            }
            (Job::Renew(Next::Order(_)), Err(why)) => {
                let fault = Fault::new("Reading the certificates to trust", why)
                    .hint("Choose other ones, or none.");
                self.failed(wanted, &fault, None)
            }
            (Job::Renew(Next::Wait { .. }), _) => Ok(()),
            (_, Err(why)) => Err(why),
        };
        if let Err(why) = &done {
            println!("certificates: {}: {why}", wanted.id);
        }
        done.is_ok()
    }

    fn authority<'a>(&'a self, choice: &'a Choice, https: Https) -> Authority<'a> {
        Authority {
            choice,
            https,
            servers: &self.servers,
            desk: &self.desk,
        }
    }

    /// Orders a certificate. `Err`: even that it failed could not be written down.
    async fn order(
        &self,
        wanted: &Wanted,
        choice: &Choice,
        https: Https,
        why: Why,
    ) -> Result<(), String> {
        println!(
            "certificates: {}: ordering one for {} ({why:?})",
            wanted.id,
            wanted.names().join(", ")
        );
        self.change(wanted, |kept| kept.renewal.ordered(crate::now()))?;
        let choices = self.desk.choices();
        let mut got = self.certificate(wanted, choice, &https).await;
        for _ in 0..MOST_REPEATS {
            match &got {
                Err(fault) if fault.remedy != Remedy::Wait => self.prepare(fault, choice)?,
                _ => break,
            }
            got = self.certificate(wanted, choice, &https).await;
        }
        let told = match got {
            Ok((chain, sha256)) => self.issued(wanted, choice, chain, &sha256),
            Err(fault) => self.failed(wanted, &fault, https.take_retry_after()),
        };
        if self.desk.choices() != choices {
            // The owner has mended something since: that is tried at once, as if it had failed before.
            self.change(wanted, |kept| kept.renewal.asked())?;
        }
        // At the next round it is tried again, if it fails now.
        if let Err(why) = self.clean(wanted).await {
            println!("certificates: {}: {why}", wanted.id);
        }
        told
    }

    async fn certificate(
        &self,
        wanted: &Wanted,
        choice: &Choice,
        https: &Https,
    ) -> Result<(String, String), Fault> {
        let authority = self.authority(choice, https.clone());
        let got = timeout(LONGEST_ORDER, authority.certificate(wanted)).await;
        got.unwrap_or_else(|_| Err(Fault::new("Ordering a certificate", "it took too long")))
    }

    fn issued(
        &self,
        wanted: &Wanted,
        choice: &Choice,
        chain: String,
        sha256: &str,
    ) -> Result<(), String> {
        let now = crate::now();
        let mut keys = self
            .desk
            .kept(&wanted.id)
            .ok_or("it is not wanted any more")?
            .keys;
        keys.used(sha256, now).map_err(|e| e.to_string())?;
        self.change(wanted, |kept| {
            // What dns said meanwhile stays said.
            for key in [&kept.keys.current, &kept.keys.next] {
                if let Some(published) = key.published {
                    keys.published(&key.sha256, published);
                }
            }
            kept.keys = keys;
            kept.chain = Some(chain);
            kept.directory = choice.directory.url().to_owned();
            kept.renewal.issued(now);
            (kept.order, kept.failure, kept.asked) = (None, None, false);
        })?;
        println!("certificates: {}: there is a new one", wanted.id);
        Ok(())
    }

    /// Does what is needed before an order is repeated.
    fn prepare(&self, fault: &Fault, choice: &Choice) -> Result<(), String> {
        let directory = choice.directory.url();
        let told = match (fault.remedy, self.desk.account(directory)) {
            (Remedy::SameAccount, Some(account)) => {
                println!("certificates: {}; another account is made", fault.why);
                let (uri, contact) = (None, None);
                let account = crate::store::Account {
                    uri,
                    contact,
                    ..account
                };
                self.desk.keep_account(account)
            }
            (Remedy::OtherAccount, _) => {
                println!("certificates: {}; another account is made", fault.why);
                self.desk.forget_account(directory)
            }
            _ => Ok(()),
        };
        told.map_err(|error| format!("the card: {error}"))
    }

    fn failed(
        &self,
        wanted: &Wanted,
        fault: &Fault,
        retry_after: Option<u64>,
    ) -> Result<(), String> {
        let now = crate::now();
        let of = fault.name.as_ref().unwrap_or(&wanted.id);
        println!(
            "certificates: {of}: {} failed: {}. {}",
            fault.what, fault.why, fault.hint
        );
        self.change(wanted, |kept| {
            kept.renewal.failed(now, retry_after);
            kept.failure = Some(Failure {
                at: now,
                times: kept.renewal.failures(),
                what: fault.what.into(),
                name: fault.name.clone(),
                why: fault.why.clone(),
                hint: fault.hint.clone(),
            });
        })
    }

    async fn clean(&self, wanted: &Wanted) -> Result<(), String> {
        let kept = self.desk.kept(&wanted.id);
        let challenges = kept.map(|kept| kept.challenges).unwrap_or_default();
        if challenges.is_empty() {
            return Ok(());
        }
        for challenge in &challenges {
            let told = self.servers.remove(challenge).await;
            told.map_err(|f| {
                format!(
                    "a challenge of {} stays in the zone: {}",
                    challenge.name, f.why
                )
            })?;
        }
        self.change(wanted, |kept| kept.challenges.clear())
    }

    async fn advice(&self, wanted: &Wanted, choice: &Choice, https: Https) -> Result<(), String> {
        let leaf = self
            .desk
            .kept(&wanted.id)
            .and_then(|kept| Some(kept.leaf()?.0));
        let leaf = leaf.ok_or("there is none to ask advice for")?;
        let advice = self.authority(choice, https).advice(&leaf).await;
        let now = crate::now();
        self.change(wanted, |kept| match advice {
            Ok((window, again)) => kept.renewal.advised(now, window, again),
            Err(fault) => {
                println!(
                    "certificates: {}: no advice when to renew: {}",
                    wanted.id, fault.why
                );
                kept.renewal.not_advised(now);
            }
        })
    }

    async fn revoke(&self, wanted: &Wanted, choice: &Choice, https: Https) -> Result<(), String> {
        let revoke = self.desk.kept(&wanted.id).and_then(|kept| kept.revoke);
        let revoke = revoke.ok_or("there is none to revoke")?;
        let leaf = crate::leaf::Leaf::parse(&revoke.chain)?;
        let authority = self.authority(choice, https);
        let told = authority.revoke(&leaf, revoke.key_compromised).await;
        told.map_err(|fault| format!("{} failed: {}", fault.what, fault.why))?;
        println!("certificates: {}: the one before is revoked", wanted.id);
        self.change(wanted, |kept| kept.revoke = None)
    }

    fn change(&self, wanted: &Wanted, change: impl FnOnce(&mut Kept)) -> Result<(), String> {
        let told = self.desk.change(&wanted.id, change);
        told.map_err(|error| format!("the card: {error}"))
    }
}
