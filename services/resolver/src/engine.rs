//! Answers questions: by whoever they belong to, checked if that can be, from the cache if they are there.

use crate::cache::{Cache, Entry};
use crate::found::{Failure, Found};
use crate::names::{Whose, whose};
use crate::network::Network;
use crate::reply::Told;
use crate::source::{Resolvers, Source};
use crate::validate::{Validator, Verdict};
use crate::wire::Question;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use roost_service::resolver::{Status, Way};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Longest that a question may take. A client that has given up by then finds the answer when it asks again.
const LIMIT: Duration = Duration::from_secs(8);
/// Questions in a row that nobody answered, after which another way is looked for. One domain may have servers
/// that are all away; mail asks it for several kinds of records.
const TROUBLE: u32 = 6;
/// Time to live of what is answered for this machine.
const OWN_TTL: u32 = 3600;

/// The way that answers come, with all that is known by it.
pub struct Path {
    /// Which it is.
    pub way: Way,
    /// Where answers are fetched; `None`: there is nobody to ask.
    pub source: Option<Source>,
    /// Who checks them, if anybody.
    pub validator: Option<Arc<Validator>>,
    /// The network's resolvers, for the home's own names.
    pub home: Option<Arc<Resolvers>>,
    /// The network.
    pub network: Network,
    /// In one sentence for people.
    pub summary: String,
    /// Another way has other answers.
    cache: Cache,
}

impl Path {
    /// A way of which nothing is known yet.
    pub fn new(way: Way, network: Network, summary: String) -> Self {
        Self {
            way,
            source: None,
            validator: None,
            home: None,
            network,
            summary,
            cache: Cache::default(),
        }
    }
}

/// Answers questions.
pub struct Engine {
    path: watch::Sender<Arc<Path>>,
    /// Whether the root is the internet's.
    public: bool,
    /// Something is wrong with the way.
    pub trouble: Notify,
    silent: AtomicU32,
    asked: AtomicU64,
    bogus: AtomicU64,
}

impl Engine {
    /// As long as no way is known, questions wait.
    pub fn new(public: bool) -> Self {
        let path = Path::new(
            Way::Unknown,
            Network::default(),
            "it is being found out where answers come from".into(),
        );
        Self {
            path: watch::Sender::new(Arc::new(path)),
            public,
            trouble: Notify::new(),
            silent: AtomicU32::new(0),
            asked: AtomicU64::new(0),
            bogus: AtomicU64::new(0),
        }
    }

    /// From now on answers come this way.
    pub fn go(&self, path: Path) {
        self.silent.store(0, Ordering::Relaxed);
        self.path.send_replace(Arc::new(path));
    }

    /// The way at present.
    pub fn path(&self) -> Arc<Path> {
        self.path.borrow().clone()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        let path = self.path();
        Status {
            summary: path.summary.clone(),
            way: path.way,
            network: path.network.servers.clone(),
            asked: self.asked.load(Ordering::Relaxed),
            bogus: self.bogus.load(Ordering::Relaxed),
        }
    }

    /// Answers a client.
    pub async fn answer(&self, question: &Question) -> Told {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (name, kind) = (&question.name, question.kind);
        if !question.recursion {
            return match self.path().cache.get(name, kind) {
                Some(entry) => Told::of(entry.now(), entry.verdict.as_ref(), question.cd),
                None => Told::Refused,
            };
        }
        match timeout(LIMIT, self.find(name, kind)).await {
            Ok(entry) => Told::of(entry.now(), entry.verdict.as_ref(), question.cd),
            Err(_) => {
                self.count(&Err(Failure::Silent));
                Told::Failed(Failure::Silent)
            }
        }
    }

    async fn find(&self, name: &Name, kind: RecordType) -> Arc<Entry> {
        let mut paths = self.path.subscribe();
        let known = paths.wait_for(|path| path.way != Way::Unknown).await;
        let Ok(path) = known.map(|path| path.clone()) else {
            return Arc::new(Entry::new(Err(Failure::Silent), None));
        };
        if let Some(entry) = path.cache.get(name, kind) {
            return entry;
        }
        let entry = match whose(name, kind, &path.network, self.public) {
            Whose::Ours => Entry::new(Ok(own(name, kind)), None),
            Whose::Nobody => Entry::new(Ok(Found::empty(ResponseCode::NXDomain)), None),
            Whose::Home => home(&path, name, kind).await,
            Whose::Public => self.public(&path, name, kind).await,
            Whose::PublicThenHome => {
                let public = self.public(&path, name, kind).await;
                let there = public
                    .found
                    .as_ref()
                    .is_ok_and(|found| found.code == ResponseCode::NoError);
                if there {
                    public
                } else {
                    home(&path, name, kind).await
                }
            }
        };
        let entry = Arc::new(entry);
        if path.way != Way::Offline {
            path.cache.keep(name, kind, entry.clone());
        }
        entry
    }

    async fn public(&self, path: &Path, name: &Name, kind: RecordType) -> Entry {
        let Some(source) = &path.source else {
            // Somebody wants to know: it is looked whether there is a way by now.
            self.trouble.notify_one();
            return Entry::new(Err(Failure::Silent), None);
        };
        let mut found = source.ask(name, kind).await;
        self.count(&found);
        let mut verdict = None;
        if let (Ok(found), Some(validator)) = (&mut found, &path.validator) {
            let told = validator.check(found, name, kind).await;
            if told.is_bogus() {
                self.bogus.fetch_add(1, Ordering::Relaxed);
                println!("resolver: {name} {kind} does not pass the check: {told}");
            }
            verdict = Some(told);
        }
        Entry::new(found, verdict)
    }

    /// Notes whether anybody answers at all.
    fn count(&self, found: &Result<Found, Failure>) {
        if *found != Err(Failure::Silent) {
            self.silent.store(0, Ordering::Relaxed);
        } else if self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= TROUBLE {
            self.silent.store(0, Ordering::Relaxed);
            self.trouble.notify_one();
        }
    }
}

/// Answers of the home's own resolvers; nobody signs its names.
async fn home(path: &Path, name: &Name, kind: RecordType) -> Entry {
    let found = match &path.home {
        Some(home) => home.ask(name, kind).await,
        None if path.way == Way::Offline => Err(Failure::Silent),
        None => Err(Failure::Useless("the network has named no resolver".into())),
    };
    Entry::new(found, None::<Verdict>)
}

/// What this machine is (RFC 6761, section 6.3).
fn own(name: &Name, kind: RecordType) -> Found {
    let mut found = Found::empty(ResponseCode::NoError);
    let data = match kind {
        RecordType::A => Some(RData::A(A(Ipv4Addr::LOCALHOST))),
        RecordType::AAAA => Some(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
        _ => None,
    };
    let record = data.map(|data| Record::from_rdata(name.clone(), OWN_TTL, data));
    found.answers.extend(record);
    found
}
