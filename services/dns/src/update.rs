//! Dynamic updates (RFC 2136) by programs on the box: signed, from loopback only, each key for the names and
//! types that its program writes.
//!
//! A request is checked and worked out here against the zone as it is served; what comes of it is handed to
//! an [`Apply`] that stores and publishes it, and only then is there an answer.

mod pattern;
mod work;

pub use pattern::{BadPattern, Pattern};

use crate::serve::{Code, Reply, Request, Shared};
use crate::tsig::{self, Key, Signer, Verified};
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

/// What a key may write: these types, at names that fit.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The names.
    pub names: Pattern,
    /// The types.
    pub types: Vec<RecordType>,
}

/// A program that may change records.
#[derive(Debug, Clone)]
pub struct Writer {
    /// Its key.
    pub key: Arc<Key>,
    /// What it may write. A request that touches anything else is refused as a whole.
    pub rules: Vec<Rule>,
}

impl Writer {
    fn may(&self, name: &Name, kind: RecordType) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.types.contains(&kind) && rule.names.matches(name))
    }
}

/// All records that a name has of a type once an update is applied. None: it has no more of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The name, in lower case.
    pub name: Name,
    /// The type.
    pub kind: RecordType,
    /// The records.
    pub records: Vec<Record>,
}

/// What an update changes: the sets that are not afterwards what they were before. Applied twice it does the
/// same as once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The key that signed it.
    pub by: Name,
    /// The sets.
    pub sets: Vec<Replaced>,
}

/// Why changes were not applied. The asker gets SERVFAIL and may ask again.
#[derive(Debug, thiserror::Error)]
#[error("the update of zone {zone} was not applied: {why}")]
pub struct ApplyError {
    /// The zone.
    pub zone: Name,
    /// The reason.
    pub why: String,
}

/// Stores changes and publishes the zone with them.
pub trait Apply: Send + Sync + 'static {
    /// Returns once the changes would survive a power cut and [`crate::serve::Zones`] has the zone with
    /// them: the next update is worked out from what is published. Never called twice at a time.
    ///
    /// # Errors
    /// Nothing of it was applied.
    fn apply(
        &self,
        zone: &Name,
        changes: Changes,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send;
}

type Pending<'a> = Pin<Box<dyn Future<Output = Result<(), ApplyError>> + Send + 'a>>;

/// `Apply` as something of which there can be a pointer.
trait Boxed: Send + Sync {
    fn apply<'a>(&'a self, zone: &'a Name, changes: Changes) -> Pending<'a>;
}

impl<A: Apply> Boxed for A {
    fn apply<'a>(&'a self, zone: &'a Name, changes: Changes) -> Pending<'a> {
        Box::pin(Apply::apply(self, zone, changes))
    }
}

/// Whoever applies updates.
#[derive(Clone)]
pub struct Applier(Arc<dyn Boxed>);

impl Applier {
    /// Hands updates to `to`.
    pub fn new(to: impl Apply) -> Self {
        Self(Arc::new(to))
    }
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Applier")
    }
}

/// Answers an update.
pub(crate) async fn handle(
    shared: &Shared,
    bytes: &[u8],
    from: SocketAddr,
    verified: Option<Verified>,
) -> Vec<u8> {
    let mut out = Vec::new();
    let Ok(request) = Request::parse(bytes) else {
        return out;
    };
    let code = match perform(shared, bytes, from, verified.as_ref()).await {
        Ok(()) => Code::NoError,
        Err(code) => code,
    };
    Reply::new(&request, usize::MAX, 0, &mut out).finish(code);
    if let Some(verified) = &verified {
        Signer::answer(verified).sign(&mut out, tsig::now());
    }
    out
}

async fn perform(
    shared: &Shared,
    bytes: &[u8],
    from: SocketAddr,
    verified: Option<&Verified>,
) -> Result<(), Code> {
    let access = shared.access();
    let key = verified
        .map(|verified| &verified.key)
        .ok_or(Code::Refused)?;
    let writer = access
        .writers
        .iter()
        .find(|writer| Arc::ptr_eq(&writer.key, key));
    let applier = shared.options.updates.as_ref();
    let (true, Some(writer), Some(applier)) =
        (from.ip().to_canonical().is_loopback(), writer, applier)
    else {
        return Err(Code::Refused);
    };
    let message = Message::from_vec(bytes).map_err(|_| Code::Format)?;
    let [zone] = message.queries.as_slice() else {
        return Err(Code::Format);
    };
    if zone.query_type() != RecordType::SOA || zone.query_class() != DNSClass::IN {
        return Err(Code::Format);
    }
    let _turn = shared.updating.lock().await;
    let current = shared
        .options
        .zones
        .current(zone.name())
        .ok_or(Code::NotAuth)?;
    let sets = work::work_out(&current, &message, |name, kind| writer.may(name, kind))?;
    if sets.is_empty() {
        return Ok(());
    }
    let changes = Changes {
        by: key.name().clone(),
        sets,
    };
    let applied = applier.0.apply(&current.origin, changes).await;
    applied.map_err(|_| Code::ServFail)
}
