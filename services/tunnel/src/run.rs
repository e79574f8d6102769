//! The service from start to stop, whichever back end carries the packets.

use crate::backend::{Backend, Health};
use crate::config::{self, CAREFUL_MTU, Config};
use crate::endpoint::Choice;
use crate::keys::PublicKey;
use crate::routing::Routing;
use anyhow::{Context, Result};
use roost_service::door::{self, House};
use roost_service::files;
use roost_service::notifier::Notifier;
use roost_service::tunnel::{Answer, Call, MAX_LINE, Reached, Rejected, State, Status, Traffic};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// How often the state is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Between two look-ups of the relay's name while the relay answers. A name that moves is followed,
/// even while the old relay still answers.
const LOOK_UP: Duration = Duration::from_secs(5 * 60);
/// Between two look-ups while it does not answer, or there was no answer.
const LOOK_UP_DOWN: Duration = Duration::from_secs(10);
/// Time that one address of the relay gets before the next is tried: three handshakes.
const ADDRESS: Duration = Duration::from_secs(15);

/// The spec's name of the portal.
const PORTAL: &str = "portal";
/// The spec's name of the name server.
const DNS: &str = "dns";

/// The socket.
pub type Door = door::Door<Call, Answer>;
type Asked = door::Asked<Call, Answer>;

/// How the socket is kept.
pub const HOUSE: House<Answer> = House {
    service: "tunnel",
    guests: &[PORTAL, DNS],
    max_call: MAX_LINE,
    no_call: |why| Answer::Refused { why },
};

/// What the service says of itself, beyond what the back end knows.
struct Report<'a> {
    key: PublicKey,
    config: &'a Config,
    state: State,
    since: Instant,
    connected: u64,
    mtu: u16,
    /// Why the relay's name could not be looked up.
    resolver: Option<String>,
}

impl Report<'_> {
    /// Takes what the back end says; tells the log what has changed.
    fn note(&mut self, health: &Health, notifier: &Notifier) {
        let state = if health.up { State::Up } else { State::Down };
        if state == self.state {
            return;
        }
        self.state = state;
        self.since = Instant::now();
        if state == State::Up {
            self.connected += 1;
        }
        let summary = self.summary(health);
        println!("tunnel: {summary}");
        notifier.status(&summary);
    }

    fn summary(&self, health: &Health) -> String {
        let relay = &self.config.endpoint;
        match (health.up, health.endpoint, &self.resolver) {
            (true, Some(endpoint), _) => format!("connected to the relay {relay} at {endpoint}"),
            (true, None, _) => format!("connected to the relay {relay}"),
            (false, None, Some(why)) => why.clone(),
            (false, None, None) => format!("looking for the relay {relay}"),
            (false, Some(endpoint), _) => match &health.send_fault {
                Some(fault) => format!("nothing can be sent to the relay {endpoint}: {fault}"),
                None => format!("no answer from the relay {relay} at {endpoint}"),
            },
        }
    }

    fn status(&self, backend: roost_service::tunnel::Backend, health: &Health) -> Status {
        Status {
            public_key: self.key.to_string(),
            state: self.state,
            summary: self.summary(health),
            backend: Some(backend),
            addresses: self.config.addresses.iter().collect(),
            relay: Some(self.config.endpoint.to_string()),
            endpoint: health.endpoint.map(|endpoint| endpoint.to_string()),
            mtu: Some(self.mtu),
            handshake_age_s: health.handshake_age.map(|age| age.as_secs()),
            heard_s: health.heard.map(|heard| heard.as_secs()),
            since_s: self.since.elapsed().as_secs(),
            connected: self.connected,
            sent: health.sent,
            received: health.received,
            rtt_ms: health.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            probe_loss: health.probe_loss,
            receive_loss: health.receive_loss,
            rejected: health.rejected,
            send_fault: health.send_fault.clone(),
        }
    }
}

/// Why the service does not go on as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It was told to stop.
    Stop,
    /// Something else was chosen.
    Anew,
}

/// Everything around the packets that stays when another relay is chosen.
pub struct Frame<'a> {
    /// The box's key.
    pub key: PublicKey,
    /// The file with what was chosen.
    pub place: &'a Path,
    /// Who may ask, if there is somebody.
    pub door: Option<Door>,
    /// How init hears of it.
    pub notifier: &'a Notifier,
    /// The end.
    pub stop: Pin<Box<dyn Future<Output = ()>>>,
}

impl Frame<'_> {
    /// Waits for the end, or for a question. Loses neither when it is dropped.
    async fn next(&mut self) -> Option<Asked> {
        let asked = async {
            match &mut self.door {
                Some(door) => door.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut self.stop => None,
            asked = asked => Some(asked),
        }
    }

    /// Answers; says whether something else was chosen.
    fn answer(&self, asked: Asked, status: impl FnOnce() -> Status) -> bool {
        let done = match &asked.call {
            Call::Outside => {
                let config = config::load(self.place).ok().flatten();
                asked.answer(Answer::Outside {
                    reached: config.and_then(reached),
                });
                return false;
            }
            _ if asked.by != PORTAL => Err("only the portal may ask for that".into()),
            Call::Status => {
                asked.answer(Answer::Status(Box::new(status())));
                return false;
            }
            Call::Set { tunnel } => config::save(self.place, tunnel),
            Call::Clear => files::remove(self.place).map_err(|e| format!("it stays: {e}")),
        };
        let chosen = done.is_ok();
        asked.answer(match done {
            Ok(()) => Answer::Done,
            Err(why) => Answer::Refused { why },
        });
        chosen
    }
}

fn reached(config: Config) -> Option<Box<Reached>> {
    Some(Box::new(Reached {
        outside: config.outside?,
        within: config.addresses.iter().collect(),
    }))
}

/// While there is no relay that can be used: shows the key, and `summary`.
pub async fn without_relay(frame: &mut Frame<'_>, summary: &str) -> Then {
    let since = Instant::now();
    let key = frame.key.to_string();
    while let Some(asked) = frame.next().await {
        let status = || Status {
            public_key: key.clone(),
            state: State::Unconfigured,
            summary: summary.into(),
            backend: None,
            addresses: Vec::new(),
            relay: None,
            endpoint: None,
            mtu: None,
            handshake_age_s: None,
            heard_s: None,
            since_s: since.elapsed().as_secs(),
            connected: 0,
            sent: Traffic::default(),
            received: Traffic::default(),
            rtt_ms: None,
            probe_loss: None,
            receive_loss: None,
            rejected: Rejected::default(),
            send_fault: None,
        };
        if frame.answer(asked, status) {
            return Then::Anew;
        }
    }
    Then::Stop
}

/// Which address of the relay is used, and when its name is looked up next.
struct Finder {
    choice: Choice,
    next: Instant,
    running: Option<JoinHandle<Result<Vec<SocketAddr>, String>>>,
    /// Since when the address that is used has not answered.
    waiting: Instant,
}

impl Finder {
    fn new() -> Self {
        Self {
            choice: Choice::default(),
            next: Instant::now(),
            running: None,
            waiting: Instant::now(),
        }
    }

    /// Begins a look-up when it is time, or waits for the end of the one that runs.
    async fn answer(&mut self, config: &Config) -> Result<Vec<SocketAddr>, String> {
        if self.running.is_none() {
            sleep_until(self.next).await;
        }
        let endpoint = config.endpoint.clone();
        let running = self
            .running
            .get_or_insert_with(|| tokio::spawn(async move { endpoint.resolve().await }));
        let answer = running
            .await
            .unwrap_or_else(|error| Err(format!("the look-up ended early: {error}")));
        self.running = None;
        answer
    }

    /// The relay's address to go to now, if it changes.
    fn answered(&mut self, answer: Vec<SocketAddr>, up: bool) -> Option<SocketAddr> {
        self.next = Instant::now() + if up { LOOK_UP } else { LOOK_UP_DOWN };
        let endpoint = self.choice.answered(answer)?;
        self.waiting = Instant::now();
        Some(endpoint)
    }

    /// The same, for an address that has not answered for long.
    fn look(&mut self, up: bool) -> Option<SocketAddr> {
        let now = Instant::now();
        if up {
            self.waiting = now;
            return None;
        }
        self.next = self.next.min(now + LOOK_UP_DOWN);
        if now < self.waiting + ADDRESS {
            return None;
        }
        self.waiting = now;
        self.choice.failed()
    }
}

/// Carries packets with `backend`, whose interface is there, until the end or another choice.
///
/// # Errors
/// What makes it impossible to go on. The interface is gone then, and what is left of routes and
/// rules is the caller's to remove.
pub async fn with_relay<B: Backend>(
    config: &Config,
    mut backend: B,
    routing: &mut Routing,
    frame: &mut Frame<'_>,
) -> Result<Then> {
    let mut report = Report {
        key: frame.key,
        config,
        state: State::Down,
        since: Instant::now(),
        connected: 0,
        mtu: config.mtu.unwrap_or(CAREFUL_MTU),
        resolver: None,
    };
    let index = routing.connect(config, report.mtu)?;
    // Ready is not connected: mail must come up without the internet.
    frame.notifier.ready();
    println!("tunnel: ready");
    let mut finder = Finder::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            error = backend.drive() => return Err(error).context("carry packets"),
            asked = frame.next() => {
                let Some(asked) = asked else {
                    return Ok(Then::Stop);
                };
                let health = backend.health()?;
                report.note(&health, frame.notifier);
                if frame.answer(asked, || report.status(B::NAME, &health)) {
                    return Ok(Then::Anew);
                }
            }
            answer = finder.answer(config) => {
                let fault = answer.as_ref().err().cloned();
                if let Some(why) = fault.as_ref().filter(|_| fault != report.resolver) {
                    println!("tunnel: {why}");
                }
                report.resolver = fault;
                let up = report.state == State::Up;
                if let Some(endpoint) = finder.answered(answer.unwrap_or_default(), up) {
                    backend.set_endpoint(endpoint)?;
                }
            }
            _ = looks.tick() => {
                let health = backend.health()?;
                report.note(&health, frame.notifier);
                if let Some(endpoint) = finder.look(health.up) {
                    backend.set_endpoint(endpoint)?;
                }
                if let Some(mtu) = health.mtu.filter(|mtu| *mtu != report.mtu) {
                    routing.set_mtu(index, mtu)?;
                    report.mtu = mtu;
                    println!("tunnel: packets of up to {mtu} bytes pass");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use roost_service::tunnel::{Backend as Name, MAX_LINE};

    const CONFIG: &str = r#"{
        "relay": {
            "public_key": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
            "endpoint": "relay.example.org:51820"
        },
        "address4": "10.82.0.2", "address6": "fd82::2"
    }"#;

    fn report(config: &Config) -> Report<'_> {
        Report {
            key: config.peer,
            config,
            state: State::Down,
            since: Instant::now(),
            connected: 0,
            mtu: 1380,
            resolver: None,
        }
    }

    #[test]
    fn what_people_read() {
        let config = config::parse(CONFIG.as_bytes()).unwrap();
        let mut report = report(&config);
        let mut said = vec![report.summary(&Health::default())];
        report.resolver = Some("relay.example.org cannot be looked up: no answer".into());
        said.push(report.summary(&Health::default()));
        let mut health = Health {
            endpoint: "192.0.2.1:51820".parse().ok(),
            ..Health::default()
        };
        said.push(report.summary(&health));
        health.send_fault = Some("Network is unreachable (os error 101)".into());
        said.push(report.summary(&health));
        health.up = true;
        said.push(report.summary(&health));
        insta::assert_snapshot!(said.join("\n"), @r"
        looking for the relay relay.example.org:51820
        relay.example.org cannot be looked up: no answer
        no answer from the relay relay.example.org:51820 at 192.0.2.1:51820
        nothing can be sent to the relay 192.0.2.1:51820: Network is unreachable (os error 101)
        connected to the relay relay.example.org:51820 at 192.0.2.1:51820
        ");
    }

    #[test]
    fn coming_up_is_counted_and_the_longest_status_fits() {
        let config = config::parse(CONFIG.as_bytes()).unwrap();
        let mut report = report(&config);
        let notifier = Notifier::from_env();
        let mut health = Health::default();
        for up in [true, true, false, true] {
            health.up = up;
            report.note(&health, &notifier);
        }
        assert_eq!((report.connected, report.state), (2, State::Up));
        health.sent.bytes = u64::MAX;
        health.received.bytes = u64::MAX;
        health.send_fault = Some("x".repeat(500));
        let status = report.status(Name::Userspace, &health);
        let answer = Answer::Status(Box::new(status));
        let line = serde_json::to_vec(&answer).unwrap();
        assert!(line.len() < MAX_LINE, "{}", line.len());
        assert_eq!(serde_json::from_slice::<Answer>(&line).unwrap(), answer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_gets_fifteen_seconds() {
        let [a, b] = ["192.0.2.1:1", "[2001:db8::1]:1"].map(|a| a.parse().unwrap());
        let mut finder = Finder::new();
        assert_eq!(finder.answered(vec![a, b], false), Some(a));
        let mut tried = Vec::new();
        for _ in 0..60 {
            tokio::time::advance(LOOK).await;
            tried.extend(finder.look(false));
        }
        assert_eq!(tried, [b, a, b, a]);
        // One that answers is left alone, and gets its time anew afterwards.
        for _ in 0..100 {
            tokio::time::advance(LOOK).await;
            assert_eq!(finder.look(true), None);
        }
        for _ in 0..14 {
            tokio::time::advance(LOOK).await;
            assert_eq!(finder.look(false), None);
        }
        tokio::time::advance(LOOK).await;
        assert_eq!(finder.look(false), Some(b));
        assert!(finder.next <= Instant::now() + LOOK_UP_DOWN);
    }
}
