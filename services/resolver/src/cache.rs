//! Answers that are kept, checked, until their time is over.

use crate::found::{Failure, Found};
use crate::validate::Verdict;
use hickory_proto::rr::{Name, RecordType};
use moka::Expiry;
use moka::sync::Cache as Kept;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What may be kept, in bytes, roughly.
const CAPACITY: u64 = 4 << 20;
/// Longest that anything is kept: the day of RFC 8767, section 4, and of most resolvers.
const LONGEST: Duration = Duration::from_secs(86_400);
/// Longest that it is kept that something is not there (RFC 2308, section 5).
const LONGEST_NEGATIVE: Duration = Duration::from_secs(3 * 3600);
/// How long a forged answer is kept (RFC 9520, section 3.2: 1 second to 5 minutes).
const BOGUS: Duration = Duration::from_secs(30);
/// How long it is kept that there is no answer (the same).
const FAILED: Duration = Duration::from_secs(5);
/// Bytes of a record in memory beside its data, roughly.
const RECORD: usize = 300;

/// An answer with what is known of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The answer.
    pub found: Result<Found, Failure>,
    /// What its check says; `None`: it was not checked.
    pub verdict: Option<Verdict>,
    at: Instant,
    lifetime: Duration,
}

impl Entry {
    /// An answer that came in now.
    pub fn new(found: Result<Found, Failure>, verdict: Option<Verdict>) -> Self {
        let lifetime = match (&found, &verdict) {
            (Err(_), _) => FAILED,
            (Ok(_), Some(Verdict::Bogus(..))) => BOGUS,
            (Ok(found), _) => {
                let longest = if found.answers.is_empty() {
                    LONGEST_NEGATIVE
                } else {
                    LONGEST
                };
                Duration::from_secs(found.lifetime().into()).min(longest)
            }
        };
        Self {
            found,
            verdict,
            at: Instant::now(),
            lifetime,
        }
    }

    /// The answer as it is now: with less time to live.
    ///
    /// # Errors
    /// When there was none.
    pub fn now(&self) -> Result<Found, Failure> {
        let mut found = self.found.clone()?;
        let age = u32::try_from(self.at.elapsed().as_secs()).unwrap_or(u32::MAX);
        let longest = u32::try_from(LONGEST.as_secs()).unwrap_or(u32::MAX);
        for record in found.answers.iter_mut().chain(&mut found.authorities) {
            record.ttl = record.ttl.min(longest).saturating_sub(age);
        }
        Ok(found)
    }

    fn weight(&self) -> u32 {
        let records = self.found.as_ref().map_or(0, |found| {
            let all = found.answers.iter().chain(&found.authorities);
            all.map(|record| RECORD + record.name.len() + data_length(record))
                .sum()
        });
        u32::try_from(RECORD + records).unwrap_or(u32::MAX)
    }
}

/// How long a record's data are; not to the byte.
fn data_length(record: &hickory_proto::rr::Record) -> usize {
    use hickory_proto::serialize::binary::BinEncodable;
    record.data.to_bytes().map_or(0, |bytes| bytes.len())
}

type Key = (Name, RecordType);

/// The answers.
#[derive(Clone)]
pub struct Cache(Kept<Key, Arc<Entry>>);

struct Lifetime;

impl Expiry<Key, Arc<Entry>> for Lifetime {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(entry.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Arc<Entry>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.lifetime)
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self(
            Kept::builder()
                .max_capacity(CAPACITY)
                .weigher(|_: &Key, entry: &Arc<Entry>| entry.weight())
                .expire_after(Lifetime)
                .build(),
        )
    }
}

impl Cache {
    /// What is known.
    pub fn get(&self, name: &Name, kind: RecordType) -> Option<Arc<Entry>> {
        self.0.get(&(name.to_lowercase(), kind))
    }

    /// Keeps an answer, if it may be kept at all.
    pub fn keep(&self, name: &Name, kind: RecordType, entry: Arc<Entry>) {
        if !entry.lifetime.is_zero() {
            self.0.insert((name.to_lowercase(), kind), entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::ResponseCode;
    use hickory_proto::rr::rdata::{A, SOA};
    use hickory_proto::rr::{RData, Record};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn entry(ttl: u32) -> Entry {
        let mut found = Found::empty(ResponseCode::NoError);
        let data = RData::A(A::new(192, 0, 2, 1));
        found
            .answers
            .push(Record::from_rdata(name("example.org."), ttl, data));
        Entry::new(Ok(found), Some(Verdict::Secure))
    }

    #[test]
    fn lifetimes() {
        assert_eq!(entry(300).lifetime, Duration::from_secs(300));
        assert_eq!(entry(u32::MAX).lifetime, LONGEST);
        assert_eq!(entry(u32::MAX).now().unwrap().answers[0].ttl, 86_400);
        let mut nothing = Found::empty(ResponseCode::NXDomain);
        let soa = SOA::new(name("a."), name("b."), 1, 2, 3, 4, 60);
        nothing
            .authorities
            .push(Record::from_rdata(name("org."), 900, RData::SOA(soa)));
        assert_eq!(
            Entry::new(Ok(nothing), None).lifetime,
            Duration::from_secs(60)
        );
        assert_eq!(Entry::new(Err(Failure::Silent), None).lifetime, FAILED);
        let bogus = Verdict::Bogus(6, String::new());
        assert_eq!(Entry::new(entry(300).found, Some(bogus)).lifetime, BOGUS);
    }

    #[test]
    fn what_is_kept_is_found_under_any_spelling_and_is_bounded() {
        let cache = Cache::default();
        cache.keep(&name("Example.org."), RecordType::A, Arc::new(entry(300)));
        assert!(cache.get(&name("eXample.org."), RecordType::A).is_some());
        assert!(cache.get(&name("example.org."), RecordType::AAAA).is_none());
        cache.keep(&name("zero.org."), RecordType::A, Arc::new(entry(0)));
        assert!(cache.get(&name("zero.org."), RecordType::A).is_none());
        for number in 0..20_000 {
            cache.keep(
                &name(&format!("{number}.org.")),
                RecordType::A,
                Arc::new(entry(300)),
            );
        }
        cache.0.run_pending_tasks();
        assert!(cache.0.weighted_size() <= CAPACITY);
        assert!(cache.0.entry_count() > 1000);
    }
}
