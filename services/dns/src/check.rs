//! What should be answered for a zone, beside what each name server answers and what the parent says.
//!
//! [`Expected`] is what the keeper knows, so that nobody has to wait for him while the network is asked;
//! [`Plan::run`] asks all places at the same time, [`table`] makes rows of what they say.

mod table;

pub use table::table;

use crate::ask::{Question, Server, many};
use crate::keeper::Keeper;
use crate::parent::{self, Asking};
use crate::records::{Entry, Signed};
use crate::zonefile;
use hickory_proto::dnssec::rdata::DS;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use roost_service::dns::Check;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// The port of the DNS.
pub const PORT: u16 = 53;
/// How long a place may take to answer all questions.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to ask the parent: who it is has to be found out first.
const PARENT: Duration = Duration::from_secs(7);

/// Records of one name and type that there should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Their name.
    pub name: Name,
    /// Their type.
    pub kind: RecordType,
    /// What they contain, as in a zone file, sorted.
    pub values: Vec<String>,
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `box`, `secondary`, `ns1`, …
    pub name: String,
    /// Where, and from which address to ask: the first that answers. None: its address is not known.
    pub servers: Vec<(IpAddr, Option<IpAddr>)>,
    /// The port there.
    pub port: u16,
    /// Whether it may not be reachable from the box's own network without being wrong.
    pub outside: bool,
}

/// What a zone should be like.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The zone, as it is served.
    pub zone: Arc<Signed>,
    /// What it should have, in the order to show.
    pub wanted: Vec<Wanted>,
    /// Its name servers at their public addresses.
    pub places: Vec<Place>,
    /// DS records that the parent may have.
    pub ds: Vec<DS>,
}

/// What one place has answered.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// The address that was asked last.
    pub address: Option<IpAddr>,
    /// Serial number of the zone there.
    pub serial: Option<u32>,
    /// Whether somebody is there.
    pub reached: bool,
    /// Why there is no answer, if so.
    pub fault: Option<String>,
    /// An answer to each question, in the order of [`Expected::wanted`].
    pub answers: Vec<Option<Message>>,
}

/// What is looked at, and how.
pub struct Plan {
    /// What there should be.
    pub expected: Expected,
    /// Who should have it.
    pub places: Vec<Place>,
    /// How the parent is asked.
    pub asking: Asking,
    /// Hears what the parent says.
    pub keeper: Arc<Mutex<Keeper>>,
}

/// What the zone should answer: as it is served, the most needed first, as in `entries`. DNSSEC's own records
/// are left out, but for the keys.
pub fn wanted(zone: &Signed, entries: &[Entry]) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for record in &zone.records {
        let kind = record.record_type();
        // A DS record in the zone is the owner's, of a delegation of his.
        let own = matches!(kind, RecordType::DNSKEY | RecordType::DS) || !kind.is_dnssec();
        if !own || kind == RecordType::SOA {
            continue;
        }
        let value = zonefile::value(record);
        match all
            .iter_mut()
            .find(|set| set.name == record.name && set.kind == kind)
        {
            Some(set) => set.values.push(value),
            None => all.push(Wanted {
                name: record.name.clone(),
                kind,
                values: vec![value],
            }),
        }
    }
    for set in &mut all {
        set.values.sort();
    }
    let place = |set: &Wanted| {
        let there =
            |entry: &Entry| entry.record.name == set.name && entry.record.record_type() == set.kind;
        entries.iter().position(there).unwrap_or(usize::MAX)
    };
    all.sort_by_key(place);
    all
}

/// The zone's name servers at their public addresses.
pub fn name_servers(zone: &Signed, entries: &[Entry]) -> Vec<Place> {
    // In the order in which they were made: ns1 first.
    let made = entries.iter().map(|entry| &entry.record);
    let mut seen = BTreeSet::new();
    let names = made.filter_map(|record| match &record.data {
        RData::NS(ns) if record.name == zone.origin && seen.insert(ns.0.to_lowercase()) => {
            Some(ns.0.to_lowercase())
        }
        _ => None,
    });
    let address = |record: &Record| match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    };
    names
        .zip(1..)
        .map(|(name, number)| {
            let own = zone.records.iter().filter(|record| record.name == name);
            let addresses = own.filter_map(address);
            Place {
                name: format!("ns{number}"),
                servers: addresses.map(|address| (address, None)).collect(),
                port: PORT,
                outside: true,
            }
        })
        .collect()
}

impl Plan {
    /// Asks everybody, at `now` (seconds since 1970). Takes eight seconds at most.
    pub async fn run(self, now: u64) -> Check {
        let expected = &self.expected;
        let origin = &expected.zone.origin;
        let mut questions = vec![Question::of(origin, RecordType::SOA)];
        let wanted = expected.wanted.iter();
        questions.extend(wanted.map(|set| Question::of(&set.name, set.kind)));
        let questions: Arc<[Question]> = questions.into();
        let mut tasks = JoinSet::new();
        for (at, place) in self.places.iter().enumerate() {
            let (place, questions) = (place.clone(), Arc::clone(&questions));
            let origin = origin.clone();
            tasks.spawn(async move { (at, ask(&place, &questions, &origin).await) });
        }
        let above = parent::ask(&self.asking, origin, PARENT);
        let (heard, all) = tokio::join!(above, tasks.join_all());
        let mut told = vec![Told::default(); self.places.len()];
        for (at, one) in all {
            told[at] = one;
        }
        let judged = self.keeper.lock().await.parent_says(origin, &heard, now);
        table(expected, &self.places, &told, &heard, judged.as_ref(), now)
    }
}

/// Asks one place everything, the zone's SOA first.
async fn ask(place: &Place, questions: &[Question], origin: &Name) -> Told {
    let mut told = Told {
        fault: Some("its address is not in the zone".to_owned()),
        ..Told::default()
    };
    let share = PATIENCE / u32::try_from(place.servers.len().max(1)).unwrap_or(1);
    for (address, from) in &place.servers {
        let server = Server {
            address: SocketAddr::new(*address, place.port),
            from: *from,
        };
        told.address = Some(*address);
        match many(server, questions, share).await {
            Ok(answers) => {
                told.take(answers, origin);
                return told;
            }
            // Many routers let nobody out and in again.
            Err(error) if place.outside => {
                told.fault = Some(format!("it cannot be asked from here: {error}"));
            }
            Err(error) => told.fault = Some(error.to_string()),
        }
    }
    told
}

impl Told {
    /// Takes answers in, that to the SOA first.
    fn take(&mut self, answers: Vec<Option<Message>>, zone: &Name) {
        let mut answers = answers.into_iter();
        self.reached = true;
        self.fault = None;
        match answers.next().flatten() {
            None => self.fault = Some("it does not say which serial number it has".into()),
            Some(soa) => {
                let serial = soa.answers.iter().find_map(|record| match &record.data {
                    RData::SOA(soa) if record.name == *zone => Some(soa.serial),
                    _ => None,
                });
                self.serial = serial.filter(|_| soa.metadata.authoritative);
                if self.serial.is_none() {
                    let code = soa.metadata.response_code;
                    self.fault = Some(match code {
                        ResponseCode::NoError => "it does not serve the zone".into(),
                        code => format!("it does not serve the zone, and answers: {code}"),
                    });
                }
            }
        }
        self.answers = answers.collect();
    }
}

#[cfg(test)]
mod tests;
