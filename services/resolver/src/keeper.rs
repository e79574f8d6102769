//! Finds out which way answers come, and does so again when something changes.

use crate::anchors::{Root, nobody};
use crate::clock::Clock;
use crate::engine::{Engine, Path};
use crate::network::{Network, Watched};
use crate::source::{Recursion, Resolvers, Source};
use crate::validate::{Validator, Verdict};
use crate::ways::{Tried, Ways};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use roost_service::resolver::Way;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How often it is looked whether the network or the clock has changed.
const LOOK: Duration = Duration::from_secs(1);
/// Longest that a way is tried.
const TRY: Duration = Duration::from_secs(5);
/// Shortest time between two tries that questions without answers have caused.
const REST: Duration = Duration::from_secs(5);

/// Keeps the way.
pub struct Keeper {
    engine: Arc<Engine>,
    root: Root,
    watched: Watched,
    clock: Clock,
    ways: Ways,
    began: Instant,
    /// Whether the present way knows that the clock is set.
    clocked: bool,
}

impl Keeper {
    /// For this engine.
    pub fn new(engine: Arc<Engine>, root: Root, watched: Watched, clock: Clock) -> Self {
        Self {
            engine,
            root,
            watched,
            clock,
            ways: Ways::default(),
            began: Instant::now(),
            clocked: false,
        }
    }

    /// Works without end.
    pub async fn run(mut self) {
        self.clock.look().await;
        loop {
            self.look().await;
            self.rest().await;
        }
    }

    /// Waits until a way has to be looked for again.
    async fn rest(&mut self) {
        let looked = Instant::now();
        let again = self.ways.again();
        let mut trouble = false;
        loop {
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.engine.trouble.notified() => trouble = true,
            }
            if self.watched.changed() {
                println!("resolver: the network has changed");
                self.ways.network_changed();
                self.ask_to_wait("the network has changed");
                return;
            }
            if self.watched.moved() && self.ways.now == Way::Offline {
                println!("resolver: this machine has other addresses");
                self.ask_to_wait("this machine has other addresses");
                return;
            }
            if self.clock.look().await {
                println!("resolver: the clock is set; signatures are checked from now on");
                return;
            }
            let since = looked.elapsed();
            if (trouble && since >= REST) || again.is_some_and(|again| since >= again) {
                return;
            }
        }
    }

    /// Questions wait until a way is known: `why` gives hope that there is one soon.
    fn ask_to_wait(&self, why: &str) {
        let summary = format!("{why}; it is being found out where answers come from");
        let network = self.watched.now.clone();
        self.engine.go(Path::new(Way::Unknown, network, summary));
    }

    /// Tries every way, and takes the best.
    async fn look(&mut self) {
        let network = self.watched.now.clone();
        let resolvers =
            (!network.servers.is_empty()).then(|| Arc::new(Resolvers::new(&network.servers)));
        let forward = resolvers.clone().map(Source::Resolvers);
        let recursion = match Recursion::new(&self.root) {
            Ok(recursion) => Some(Source::Recursion(Arc::new(recursion))),
            Err(error) => {
                println!("resolver: no recursion: {error}");
                None
            }
        };
        let checked = |source: &Option<Source>| {
            let source = source.clone().filter(|_| self.clock.set)?;
            match Validator::new(&self.root.anchors, source) {
                Ok(validator) => Some(Arc::new(validator)),
                Err(error) => {
                    println!("resolver: nothing can be checked: {error}");
                    None
                }
            }
        };
        let (by_roots, by_resolvers) = (checked(&recursion), checked(&forward));
        let (recursive, forwarded, unchecked) = tokio::join!(
            passes(&recursion, &by_roots),
            passes(&forward, &by_resolvers),
            answers(&forward),
        );
        let tried = Tried {
            recursive,
            forwarded,
            unchecked,
        };
        let before = self.ways.now;
        let way = self.ways.choose(tried, self.began.elapsed());
        let same = self.engine.path().way == way && before == way && self.clocked == self.clock.set;
        if same && way != Way::Offline {
            return;
        }
        self.clocked = self.clock.set;
        let summary = self.summary(way, &network);
        if !same {
            println!("resolver: {summary}");
        }
        let mut path = Path::new(way, network, summary);
        // A network that answered nothing is not asked for the home's names either, or whoever asks for several,
        // as mail does for each message, waits in vain for each.
        path.home = resolvers.filter(|_| way != Way::Offline || self.ways.held);
        (path.source, path.validator) = match way {
            Way::Recursive => (recursion, by_roots),
            Way::Forwarded => (forward, by_resolvers),
            Way::Unchecked => (forward, None),
            Way::Unknown | Way::Offline => (None, None),
        };
        self.engine.go(path);
    }

    fn summary(&self, way: Way, network: &Network) -> String {
        let text = match way {
            Way::Unknown => "it is being found out where answers come from",
            Way::Recursive => "answers come from the domains' own name servers, and are checked",
            Way::Forwarded => {
                "answers come from the network's resolver, and are checked; the root servers cannot be reached"
            }
            Way::Unchecked if !self.clock.set => {
                "answers come from the network's resolver, and are not checked until the clock is set"
            }
            Way::Unchecked => {
                "answers come from the network's resolver, which leaves out signatures: they cannot be checked"
            }
            Way::Offline if self.ways.held => {
                "the network's answers could be checked within the last hour and now cannot: none are given"
            }
            Way::Offline if network.servers.is_empty() => {
                "there are no answers: the network has named no resolver, and the root servers do not answer"
            }
            Way::Offline => {
                "there are no answers: neither the network's resolver nor the root servers answer"
            }
        };
        text.into()
    }
}

/// Whether answers of a source pass the check: the root's own keys, and that something is not there.
async fn passes(source: &Option<Source>, validator: &Option<Arc<Validator>>) -> bool {
    let (Some(source), Some(validator)) = (source, validator) else {
        return false;
    };
    let questions = [
        (Name::root(), RecordType::DNSKEY, ResponseCode::NoError),
        (nobody(), RecordType::A, ResponseCode::NXDomain),
    ];
    let all = async {
        for (name, kind, code) in questions {
            let Ok(mut found) = source.ask(&name, kind).await else {
                return false;
            };
            let verdict = validator.check(&mut found, &name, kind).await;
            if found.code != code || verdict != Verdict::Secure {
                return false;
            }
        }
        true
    };
    timeout(TRY, all).await.unwrap_or(false)
}

/// Whether a source answers at all.
async fn answers(source: &Option<Source>) -> bool {
    let Some(source) = source else {
        return false;
    };
    let any = async {
        source.ask(&Name::root(), RecordType::NS).await.is_ok()
            || source.ask(&nobody(), RecordType::A).await.is_ok()
    };
    timeout(TRY, any).await.unwrap_or(false)
}
