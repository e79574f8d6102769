//! The service from start to stop: which addresses it answers on, what it asks the others, who is told.

mod check;
mod known;
mod partner;

use crate::facts::{Certificates, Sources};
use crate::keeper::{Keeper, Refused};
use crate::notify::{self, Notifier, Secondary};
use crate::parent::{self, Asking};
use crate::serve::{Access, Limits, Listener, Options, Zones, listen};
use crate::sign::serial;
use crate::state::States;
use crate::tsig::Key;
use crate::update::{Applier, Apply, ApplyError, Changes};
use anyhow::{Context, Result};
use hickory_proto::rr::Name;
use known::Known;
use partner::Partner;
use roost_service::certificates;
use roost_service::dns::{self, Answer, Call};
use roost_service::tunnel::Reached;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// How often addresses and facts are looked at. Sockets on the same box cost little.
const LOOK: Duration = Duration::from_secs(10);
/// The same until there is something to make zones of: after the start, others are still starting too.
const FIRST_LOOKS: Duration = Duration::from_secs(2);
/// Longest that another service is waited for. Whoever asks this one waits as long, and init wants it ready.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the secondary is asked which serial it has.
const ASK_SECONDARY: Duration = Duration::from_secs(15 * 60);
/// The port of the DNS, where the secondary listens.
const PORT: u16 = 53;

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Places {
    /// The service's data folder.
    pub data: PathBuf,
    /// The port to answer on.
    pub port: u16,
    /// The services that are asked.
    pub sources: Sources,
    /// How the world is asked what it sees.
    pub asking: Asking,
}

/// Applies updates by way of the keeper.
struct ByKeeper(Arc<Mutex<Keeper>>);

impl Apply for ByKeeper {
    async fn apply(&self, zone: &Name, changes: Changes) -> Result<(), ApplyError> {
        self.0.lock().await.apply(zone, &changes, now())
    }
}

/// The running service.
pub struct Service {
    places: Places,
    keeper: Arc<Mutex<Keeper>>,
    zones: Zones,
    listener: Listener,
    known: Known,
    secondaries: Vec<Secondary>,
    notifier: Notifier,
    partner: Partner,
    /// Whether mail and tunnel have said what zones are made of.
    begun: bool,
    next: Instant,
    ask_secondary: Instant,
    /// Addresses that could not be served, so that each is told once.
    failed: BTreeSet<IpAddr>,
    /// Which services do not answer, as it was told last.
    silent: String,
    /// Asks the zones' parents, until the service is dropped.
    _parents: JoinSet<()>,
}

impl Service {
    /// Begins to answer, from what was known before.
    ///
    /// # Errors
    /// When loopback cannot be served: something else is there.
    pub async fn start(places: Places) -> Result<Self> {
        let zones = Zones::new();
        let keeper = Keeper::new(States::new(&places.data), zones.clone());
        let keeper = Arc::new(Mutex::new(keeper));
        let options = Options {
            zones: zones.clone(),
            access: Access::default(),
            limits: Limits::default(),
            updates: Some(Applier::new(ByKeeper(keeper.clone()))),
        };
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, places.port));
        let listener = listen(&[loopback], options)
            .await
            .map_err(|(address, error)| anyhow::anyhow!("answer on {address}: {error}"))?;
        let known = Known::load(&places.data);
        let mut parents = JoinSet::new();
        parents.spawn(parent::watch(keeper.clone(), places.asking.clone(), now));
        let mut service = Self {
            notifier: Notifier::start(&zones, Vec::new()),
            partner: Partner::new(&places.sources.certificates),
            begun: false,
            places,
            keeper,
            zones,
            listener,
            known,
            secondaries: Vec::new(),
            next: Instant::now(),
            ask_secondary: Instant::now(),
            failed: BTreeSet::new(),
            silent: String::new(),
            _parents: parents,
        };
        service.use_known().await;
        service.look().await;
        Ok(service)
    }

    /// In one sentence.
    pub fn summary(&self) -> String {
        let zones = self.zones.serials().len();
        let addresses = self.listener.addresses().len();
        match zones {
            0 => "no zone is served yet".into(),
            1 => format!("one zone is served on {addresses} addresses"),
            _ => format!("{zones} zones are served on {addresses} addresses"),
        }
    }

    /// Waits until [`Service::look`] is due.
    pub async fn due(&self) {
        sleep_until(self.next).await;
    }

    /// Looks at everything that may have changed.
    pub async fn look(&mut self) {
        self.follow_addresses().await;
        let mut known = self.known.clone();
        // A service that does not answer has not changed its mind.
        let (published, reached, status) = tokio::join!(
            soon(self.places.sources.published()),
            soon(self.places.sources.reached()),
            soon(self.places.sources.certificates()),
        );
        self.begun |= matches!(published, Ok(Some(_))) && reached.is_ok();
        self.next = Instant::now() + if self.begun { LOOK } else { FIRST_LOOKS };
        let silent = [
            ("mail", published.as_ref().err()),
            ("tunnel", reached.as_ref().err()),
            (certificates::SERVICE, status.as_ref().err()),
        ]
        .into_iter()
        .filter_map(|(who, why)| Some(format!("{who} does not answer: {}", why?)))
        .collect::<Vec<_>>()
        .join("; ");
        if silent != self.silent {
            match silent.as_str() {
                "" => println!("dns: all services answer again"),
                silent => eprintln!("dns: {silent}"),
            }
            self.silent = silent;
        }
        if let Ok(published) = published {
            known.published = published;
        }
        if let Ok(reached) = reached {
            known.reached = reached;
        }
        if let Ok(status) = &status {
            known.certificates = Certificates::from(&**status);
        }
        if known != self.known {
            let elsewhere = known.reached != self.known.reached;
            self.known = known;
            if let Err(error) = self.known.save(&self.places.data) {
                eprintln!("dns: what the box knows of itself is not on the card: {error:#}");
            }
            if elsewhere {
                self.use_known().await;
            }
        }
        self.ask_secondaries().await;
        let mut keeper = self.keeper.lock().await;
        keeper.set_facts(self.known.facts(now()), now());
        let pinned = keeper.pinned(now());
        let zones = self.known.zones(keeper.served());
        drop(keeper);
        if let Ok(status) = status {
            // The key first: once the service knows of zones, it writes into them.
            if self.partner.ask_key().await {
                self.set_access();
            }
            self.partner.tell(&status, zones, &pinned).await;
        }
    }

    /// Secondaries and their key, as the relay has them.
    async fn use_known(&mut self) {
        self.secondaries = match self.known.reached.as_ref().map(secondaries) {
            None => Vec::new(),
            Some(Ok(secondaries)) => secondaries,
            Some(Err(error)) => {
                eprintln!("dns: the relay cannot copy zones: {error:#}");
                Vec::new()
            }
        };
        self.set_access();
        self.notifier = Notifier::start(&self.zones, self.secondaries.clone());
        let there = !self.secondaries.is_empty();
        self.keeper.lock().await.set_secondary(there);
        self.ask_secondary = Instant::now();
    }

    /// Who may do more than ask.
    fn set_access(&self) {
        let mut keys: Vec<Arc<Key>> = self.secondaries.iter().map(|s| s.key.clone()).collect();
        keys.dedup_by(|a, b| a.name() == b.name());
        self.listener.set_access(Access {
            secondaries: keys,
            writers: self.partner.writer().cloned().into_iter().collect(),
        });
    }

    /// A secondary that has a higher serial number than ours would ignore every change. One that was told of a
    /// key's hash will have it soon, and the key waits for that.
    async fn ask_secondaries(&mut self) {
        let Some(secondary) = self.secondaries.first() else {
            return;
        };
        let keeper = self.keeper.lock().await;
        let zones: Vec<Name> = if self.ask_secondary <= Instant::now() {
            self.ask_secondary = Instant::now() + ASK_SECONDARY;
            keeper.origins()
        } else {
            let progress = self.notifier.states();
            let told = |(zone, serial): (Name, u32)| {
                let known = progress
                    .get(&(secondary.address, zone.clone()))?
                    .acknowledged?;
                (!serial::is_newer(serial, known)).then_some(zone)
            };
            keeper.awaited().into_iter().filter_map(told).collect()
        };
        drop(keeper);
        for zone in zones {
            if let Ok(serial) = notify::secondary_serial(secondary, &zone).await {
                self.keeper.lock().await.seen(&zone, serial, now());
            }
        }
    }

    /// Addresses come and go with networks and the tunnel.
    async fn follow_addresses(&mut self) {
        let Ok(interfaces) = if_addrs::get_if_addrs() else {
            return;
        };
        let there: BTreeSet<IpAddr> = interfaces
            .iter()
            .map(|interface| interface.ip())
            .filter(is_served)
            .collect();
        for address in self.listener.addresses() {
            if !there.contains(&address.ip()) && !address.ip().is_loopback() {
                self.listener.remove(address).await;
                println!("dns: {} is gone", address.ip());
            }
        }
        let served: BTreeSet<IpAddr> = (self.listener.addresses().iter())
            .map(|address| address.ip())
            .collect();
        self.failed.retain(|address| there.contains(address));
        for address in there.difference(&served) {
            match self
                .listener
                .add(SocketAddr::new(*address, self.places.port))
                .await
            {
                Ok(_) => {
                    self.failed.remove(address);
                    println!("dns: answers on {address}");
                    // Attempts before the tunnel was there have made the pauses between them long.
                    if self.secondaries.iter().any(|s| s.from == Some(*address)) {
                        let secondaries = self.secondaries.clone();
                        self.notifier = Notifier::start(&self.zones, secondaries);
                        self.ask_secondary = Instant::now();
                    }
                }
                // An IPv6 address cannot be bound in its first second (RFC 4862, section 5.4).
                Err(error) => {
                    if !self.failed.insert(*address) {
                        eprintln!("dns: {address} cannot be served: {error}");
                    }
                }
            }
        }
    }

    /// Answers the portal. [`Service::check`] does the same for [`Call::Check`] without waiting for the network.
    pub async fn answer(&mut self, call: &Call) -> Answer {
        let mut keeper = self.keeper.lock().await;
        let text = |text: &str| Answer::Text { text: text.into() };
        let done = match call {
            Call::Status => {
                let zones = keeper.status();
                drop(keeper);
                return Answer::Status(self.status(zones));
            }
            Call::Records { domain } => keeper
                .records(domain)
                .map(|records| Answer::Records { records }),
            Call::Export { domain, signed } => keeper
                .export(domain, *signed)
                .map(|text| Answer::Text { text }),
            Call::OwnRecords { domain } => keeper.own(domain).map(text),
            Call::SetOwnRecords { domain, text } => {
                keeper.set_own(domain, text, now()).map(|()| Answer::Done)
            }
            Call::Import { domain, text } => keeper.import(domain, text),
            Call::ReplaceKey { domain } => keeper.replace_key(domain, now()).map(|()| Answer::Done),
            Call::Check { domain } => {
                drop(keeper);
                return match self.check(domain).await {
                    Ok(answer) => answer.await,
                    Err(Refused(why)) => Answer::Refused { why },
                };
            }
            Call::SetDmarc { domain, stage } => keeper
                .set_dmarc(domain, *stage, now())
                .map(|()| Answer::Done),
            Call::Policies => Ok(Answer::Policies {
                policies: keeper.policies(),
            }),
        };
        done.unwrap_or_else(|Refused(why)| Answer::Refused { why })
    }

    fn status(&self, mut zones: Vec<dns::Zone>) -> dns::Status {
        let progress = self.notifier.states();
        for zone in &mut zones {
            let Ok(name) = Name::from_ascii(format!("{}.", zone.domain)) else {
                continue;
            };
            zone.secondary = self.secondaries.first().map(|secondary| {
                let progress = progress.get(&(secondary.address, name)).cloned();
                let progress = progress.unwrap_or_default();
                dns::Secondary {
                    address: secondary.address.ip().to_string(),
                    told: progress.acknowledged,
                    fault: progress
                        .failing
                        .map(|(tries, why)| format!("{why} ({tries} attempts)")),
                }
            });
        }
        dns::Status {
            summary: self.summary(),
            addresses: (self.listener.addresses().iter())
                .map(|address| address.ip())
                .collect(),
            zones,
        }
    }
}

/// An answer that comes soon or not at all.
async fn soon<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let answer = timeout(PATIENCE, answer).await;
    answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether somebody may ask at this address: not at those of one link, which have a scope besides.
fn is_served(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

/// Those who copy the zones, asked from the tunnel's address: any other would not lead there.
fn secondaries(reached: &Reached) -> Result<Vec<Secondary>> {
    let Some(secondary) = &reached.outside.secondary else {
        return Ok(Vec::new());
    };
    let name = Name::from_ascii(&secondary.key).context("the key's name")?;
    let key = Key::from_base64(name, &secondary.secret.0).context("the key")?;
    let key = Arc::new(key);
    // One machine with two addresses needs to be told once.
    let address = secondary.addresses.first().into_iter();
    Ok(address
        .map(|address| Secondary {
            address: SocketAddr::new(*address, PORT),
            from: (reached.within.iter())
                .find(|within| within.is_ipv4() == address.is_ipv4())
                .copied(),
            key: key.clone(),
        })
        .collect())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
