//! The service from start to stop, whichever back end carries the packets.

use crate::ask;
use crate::backend::{Backend, Health};
use crate::config::{self, CAREFUL_MTU, Config};
use crate::endpoint::Choice;
use crate::generation::{self, Kept};
use crate::holder::{Outcome, Said, Stand};
use crate::keys::PublicKey;
use crate::routing::Routing;
use anyhow::{Context, Result};
use roost_service::door::{self, House};
use roost_service::files;
use roost_service::notifier::Notifier;
use roost_service::stamp;
use roost_service::tunnel::{
    Answer, Call, Generation, Guard, MAX_LINE, Reached, Rejected, Replaced, State, Status, Traffic,
};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
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
    guard: Guard,
}

impl Report<'_> {
    /// Takes what the back end says; tells the log what has changed.
    fn note(&mut self, health: &Health, guard: Guard, notifier: &Notifier) {
        let serves = matches!(guard, Guard::Held | Guard::Absent);
        let state = match health.up && serves {
            true => State::Up,
            false => State::Down,
        };
        let news = self.guard != guard;
        self.guard = guard;
        if news && self.guard == Guard::Absent {
            println!(
                "tunnel: the relay does not see to it that no other card with this box's keys serves"
            );
        }
        if state == self.state {
            // Of a relay that does not answer, nothing new is said.
            if news && health.up && !serves {
                let summary = self.summary(health);
                println!("tunnel: {summary}");
                notifier.status(&summary);
            }
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
            (true, _, _) if self.guard == Guard::Asking => format!(
                "connected to the relay {relay}, which has not said yet that no other card with this box's keys serves"
            ),
            (true, _, _) if self.guard == Guard::Waiting => format!(
                "connected to the relay {relay}; this card serves as soon as the one before it has surely stopped, in about a minute"
            ),
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
            guard: Some(self.guard.clone()),
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
    /// Which of the cards with the box's keys this is.
    pub kept: Kept,
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
    fn answer(&mut self, asked: Asked, status: impl FnOnce() -> Status) -> bool {
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
            Call::TakeOver => match self.kept.now() {
                Ok(Generation { replaced: None, .. }) => {
                    Err("no other card has taken this one's place".into())
                }
                _ => (self.kept.take_over(now_s()))
                    .map_err(|e| format!("it cannot be kept on the card: {e}")),
            },
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

/// Seconds since 1970 by the box's clock.
fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Why there is no tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// In one sentence for people.
    pub summary: String,
    /// Whether the box has stood down, and before what; there is a relay then.
    pub guard: Option<Guard>,
}

impl Idle {
    /// A card that another one has replaced, or that cannot say which it is.
    pub fn stood_down(kept: &Kept) -> Option<Self> {
        let (summary, guard) = match kept.now() {
            Ok(Generation { replaced: None, .. }) => return None,
            Ok(Generation {
                number,
                replaced: Some(replaced),
                ..
            }) => (
                in_words(*number, replaced),
                Guard::Replaced(replaced.clone()),
            ),
            Err(why) => (
                format!("this card cannot say which of the box's cards it is: {why}"),
                Guard::Unreadable,
            ),
        };
        Some(Self {
            summary,
            guard: Some(guard),
        })
    }
}

/// Before this nobody restored a card: such a number only counts.
const FIRST_TIME: u64 = 1_600_000_000;

/// What has happened to a card with this number.
fn in_words(number: u64, replaced: &Replaced) -> String {
    let time = |s| {
        let text = stamp::utc(Duration::from_secs(s));
        let (day, clock) = (text.get(..10).unwrap_or(""), text.get(11..16).unwrap_or(""));
        format!("{day} {clock} UTC")
    };
    let at = time(replaced.at_s);
    let which = match replaced.by {
        by if by == number => "a copy of this card".to_owned(),
        by if by >= FIRST_TIME => {
            format!("another card with this box's keys, made on {},", time(by))
        }
        _ => "another card with this box's keys".to_owned(),
    };
    format!("{which} serves in place of this one since {at}; this one has stood down")
}

/// While there is no tunnel: shows the key, and why.
pub async fn without_tunnel(frame: &mut Frame<'_>, idle: &Idle) -> Then {
    let since = Instant::now();
    let key = frame.key.to_string();
    let config = config::load(frame.place).ok().flatten();
    let relay = config.filter(|_| idle.guard.is_some());
    while let Some(asked) = frame.next().await {
        let status = || Status {
            public_key: key.clone(),
            state: match idle.guard {
                None => State::Unconfigured,
                Some(_) => State::Replaced,
            },
            summary: idle.summary.clone(),
            backend: None,
            addresses: Vec::new(),
            relay: (relay.as_ref()).map(|config| config.endpoint.to_string()),
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
            guard: idle.guard.clone(),
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

/// The question to the relay whether this box may serve.
struct Turn {
    stand: Stand,
    /// The box's key, in hexadecimal digits.
    key: String,
    asking: Option<(Instant, JoinHandle<Said>)>,
}

impl Turn {
    fn new(generation: &Generation, config: &Config, key: PublicKey) -> std::io::Result<Self> {
        let now = Instant::now().into_std();
        let relay = config.peer.to_string();
        let mut stand = Stand::new(generation, &relay, generation::run()?, now);
        if config.peer_address.is_none() {
            stand.alone();
        }
        Ok(Self {
            stand,
            key: key.bytes().iter().map(|b| format!("{b:02x}")).collect(),
            asking: None,
        })
    }

    /// Asks when it is time.
    fn look(&mut self, config: &Config) {
        let Some(relay) = config.peer_address else {
            return;
        };
        let now = Instant::now();
        if self.asking.is_none() && self.stand.next() <= now.into_std() {
            let (from, path) = (config.addresses.v4, self.stand.question(&self.key));
            let said = tokio::spawn(async move { ask::ask(from, relay, &path).await });
            self.asking = Some((now, said));
        }
    }

    /// Waits for the answer to the question that is under way. Loses none when it is dropped.
    async fn answer(&mut self) -> Outcome {
        let Some((asked, said)) = &mut self.asking else {
            return std::future::pending().await;
        };
        let (asked, said) = (*asked, said.await.unwrap_or(Said::Nothing));
        self.asking = None;
        (self.stand).hear(asked.into_std(), Instant::now().into_std(), &said)
    }

    fn guard(&self) -> Guard {
        self.stand.guard(Instant::now().into_std())
    }

    fn serves(&self) -> bool {
        self.stand.serves(Instant::now().into_std())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((_, asking)) = &self.asking {
            asking.abort();
        }
    }
}

/// The way to the internet, which is open while the box may serve.
struct Way {
    index: u32,
    open: bool,
}

impl Way {
    fn set(&mut self, open: bool, config: &Config, routing: &mut Routing) -> Result<()> {
        match (self.open, open) {
            (false, true) => routing.open(config, self.index)?,
            (true, false) => routing.close(config, self.index)?,
            _ => {}
        }
        self.open = open;
        Ok(())
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
        guard: Guard::Asking,
    };
    let Ok(generation) = frame.kept.now() else {
        return Ok(Then::Anew);
    };
    let mut turn = Turn::new(generation, config, frame.key).context("make a random number")?;
    let mut way = Way {
        index: routing.connect(config, report.mtu)?,
        open: false,
    };
    // Ready is not connected: mail must come up without the internet.
    frame.notifier.ready();
    println!("tunnel: ready");
    let mut finder = Finder::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_up = false;
    loop {
        tokio::select! {
            error = backend.drive() => return Err(error).context("carry packets"),
            asked = frame.next() => {
                let Some(asked) = asked else {
                    return Ok(Then::Stop);
                };
                let health = backend.health()?;
                way.set(turn.serves(), config, routing)?;
                report.note(&health, turn.guard(), frame.notifier);
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
            outcome = turn.answer() => {
                match outcome {
                    Outcome::Nothing => {}
                    Outcome::Remembers => {
                        println!("tunnel: the relay sees to it that no other card with this box's keys serves");
                        if let Err(error) = frame.kept.remembers(config.peer.to_string()) {
                            println!("tunnel: this cannot be kept on the card: {error}");
                        }
                    }
                    Outcome::Replaced(by) => {
                        way.set(false, config, routing)?;
                        if let Err(error) = frame.kept.replaced(by, now_s()) {
                            println!("tunnel: that this card was replaced cannot be kept on it: {error}");
                        }
                        return Ok(Then::Anew);
                    }
                }
                way.set(turn.serves(), config, routing)?;
                report.note(&backend.health()?, turn.guard(), frame.notifier);
            }
            _ = looks.tick() => {
                let health = backend.health()?;
                if health.up && !was_up {
                    turn.stand.came_up(Instant::now().into_std());
                }
                was_up = health.up;
                if health.up {
                    turn.look(config);
                }
                way.set(turn.serves(), config, routing)?;
                report.note(&health, turn.guard(), frame.notifier);
                if let Some(endpoint) = finder.look(health.up) {
                    backend.set_endpoint(endpoint)?;
                }
                if let Some(mtu) = health.mtu.filter(|mtu| *mtu != report.mtu) {
                    routing.set_mtu(way.index, mtu)?;
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
            guard: Guard::Held,
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
        for guard in [Guard::Asking, Guard::Waiting] {
            report.guard = guard;
            said.push(report.summary(&health));
        }
        for (number, by) in [(1, 1_777_777_777), (7, 8), (7, 7)] {
            let at_s = 1_780_000_000;
            said.push(in_words(number, &Replaced { by, at_s }));
        }
        insta::assert_snapshot!(said.join("\n"), @r"
        looking for the relay relay.example.org:51820
        relay.example.org cannot be looked up: no answer
        no answer from the relay relay.example.org:51820 at 192.0.2.1:51820
        nothing can be sent to the relay 192.0.2.1:51820: Network is unreachable (os error 101)
        connected to the relay relay.example.org:51820 at 192.0.2.1:51820
        connected to the relay relay.example.org:51820, which has not said yet that no other card with this box's keys serves
        connected to the relay relay.example.org:51820; this card serves as soon as the one before it has surely stopped, in about a minute
        another card with this box's keys, made on 2026-05-03 03:09 UTC, serves in place of this one since 2026-05-28 20:26 UTC; this one has stood down
        another card with this box's keys serves in place of this one since 2026-05-28 20:26 UTC; this one has stood down
        a copy of this card serves in place of this one since 2026-05-28 20:26 UTC; this one has stood down
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
            report.note(&health, Guard::Held, &notifier);
        }
        for guard in [Guard::Asking, Guard::Waiting, Guard::Asking] {
            report.note(&health, guard, &notifier);
            assert_eq!(report.state, State::Down);
        }
        report.connected = 1;
        report.note(&health, Guard::Absent, &notifier);
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
