//! What is done with a request.

use super::lookup::{self, Ask, Kind};
use super::rates::Rates;
use super::reply::{Code, PAYLOAD, Reply, header_only};
use super::transfer::{self, Transfer};
use super::wire::{Malformed, Request};
use super::{Access, Compiled, Options};
use crate::tsig::{self, Bad, Key, Signer, Verified};
use hickory_proto::rr::rdata::tsig::TsigError;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{Mutex, Semaphore};

const CLASS_IN: u16 = 1;
const TYPE_IXFR: u16 = 251;
const TYPE_AXFR: u16 = 252;

/// Without EDNS (RFC 1035, section 2.3.4).
const PLAIN: u16 = 512;

/// Serves all addresses.
pub struct Shared {
    pub options: Options,
    pub rates: Rates,
    access: RwLock<Arc<Access>>,
    pub transfers: Semaphore,
    pub updates: Arc<Semaphore>,
    /// Held from an update's prerequisites until it is applied: one sees what the one before it did.
    pub updating: Mutex<()>,
}

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// As a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// What is to be done next.
pub enum Next {
    /// Nothing.
    Silent,
    /// Send what was written.
    Send(Kind, u64),
    /// A transfer: many messages.
    Transfer(Transfer),
    /// An update, by whoever has the key.
    Update(Option<Verified>),
}

impl Shared {
    pub fn new(options: Options) -> Self {
        let limits = &options.limits;
        Self {
            rates: Rates::new(limits),
            access: RwLock::new(Arc::new(options.access.clone())),
            transfers: Semaphore::new(limits.transfers),
            updates: Arc::new(Semaphore::new(limits.updates)),
            updating: Mutex::new(()),
            options,
        }
    }

    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.access.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_access(&self, access: Access) {
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(access);
    }

    /// Answers a request into `out`, or says what else is to be done.
    pub fn handle(&self, bytes: &[u8], transport: Transport, out: &mut Vec<u8>) -> Next {
        let fault = Next::Send(Kind::Error, 0);
        let request = match Request::parse(bytes) {
            Ok(request) => request,
            Err(Malformed::Silent) => return Next::Silent,
            Err(Malformed::Format) => {
                header_only(bytes, Code::Format, out);
                return fault;
            }
            Err(Malformed::Opcode) => {
                header_only(bytes, Code::NotImplemented, out);
                return fault;
            }
        };
        let verified = match self.verify(&request, out) {
            Ok(verified) => verified,
            Err(()) => return fault,
        };
        if request.edns.is_some_and(|edns| edns.version != 0) {
            plain(&request, Code::BadVersion, verified.as_ref(), out);
            return fault;
        }
        match (request.opcode, request.question.kind) {
            (0, TYPE_AXFR | TYPE_IXFR) => self.transfer(&request, transport, verified, out),
            (0, _) => self.query(&request, transport, verified.as_ref(), out),
            _ if verified.is_some() => Next::Update(verified),
            _ => {
                plain(&request, Code::Refused, None, out);
                fault
            }
        }
    }

    fn query(
        &self,
        request: &Request<'_>,
        transport: Transport,
        verified: Option<&Verified>,
        out: &mut Vec<u8>,
    ) -> Next {
        let question = &request.question;
        // OPT, TKEY, TSIG, MAILB and MAILA are no types of records that a zone has.
        let code = match question.kind {
            41 | 250 => Some(Code::Format),
            249 | 253 | 254 => Some(Code::NotImplemented),
            _ if question.class != CLASS_IN => Some(Code::Refused),
            _ => None,
        };
        let zone = find(&self.options.zones.table(), question.name, question.kind);
        let (None, Some(zone)) = (code, zone) else {
            plain(request, code.unwrap_or(Code::Refused), verified, out);
            return Next::Send(Kind::Error, 0);
        };
        let dnssec = request.edns.is_some_and(|edns| edns.dnssec);
        let ask = Ask {
            name: question.name,
            kind: question.kind,
            dnssec,
        };
        let mut reply = Reply::new(request, limit(request, transport), reserve(verified), out);
        let (code, kind) = lookup::answer(&zone, &ask, &mut reply);
        reply.finish(code);
        sign(verified, out);
        Next::Send(kind, zone.id)
    }

    fn transfer(
        &self,
        request: &Request<'_>,
        transport: Transport,
        verified: Option<Verified>,
        out: &mut Vec<u8>,
    ) -> Next {
        let table = self.options.zones.table();
        let zone = find(&table, request.question.name, request.question.kind);
        let zone = zone.filter(|zone| zone.origin.len() == request.question.name.len());
        let access = self.access();
        let may = |verified: &Verified| has(&access.secondaries, &verified.key);
        let code = match (&verified, &zone) {
            (Some(verified), Some(_)) if may(verified) => None,
            (Some(verified), None) if may(verified) => Some(Code::NotAuth),
            _ => Some(Code::Refused),
        };
        let incremental = request.question.kind == TYPE_IXFR;
        let refused = transport == Transport::Udp && !incremental;
        let code = if refused { Some(Code::Refused) } else { code };
        let (None, Some(zone), Some(verified)) = (code, zone, &verified) else {
            plain(
                request,
                code.unwrap_or(Code::Refused),
                verified.as_ref(),
                out,
            );
            return Next::Send(Kind::Error, 0);
        };
        if !incremental {
            return Next::Transfer(Transfer::new(zone, request, verified));
        }
        let Some(serial) = transfer::serial(request.bytes) else {
            plain(request, Code::Format, Some(verified), out);
            return Next::Send(Kind::Error, 0);
        };
        let current = !transfer::newer(zone.signed.serial, serial);
        if transport == Transport::Tcp && !current {
            return Next::Transfer(Transfer::new(zone, request, verified));
        }
        // The SOA alone says "you have it", or over UDP "come by TCP" (RFC 1995, section 4).
        let mut reply = Reply::new(
            request,
            limit(request, transport),
            reserve(Some(verified)),
            out,
        );
        transfer::soa_only(&zone, &mut reply);
        reply.finish(Code::NoError);
        sign(Some(verified), out);
        Next::Send(Kind::There(0), zone.id)
    }

    /// Who signed; nobody if there is no signature. A bad one is answered here.
    fn verify(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Result<Option<Verified>, ()> {
        let Some(at) = request.tsig else {
            return Ok(None);
        };
        let access = self.access();
        let writers = access.writers.iter().map(|writer| &writer.key);
        let keys: Vec<_> = access.secondaries.iter().chain(writers).cloned().collect();
        let now = tsig::now();
        let (name, error) = match tsig::verify(request.bytes, at, &keys, None, now) {
            Ok(verified) => return Ok(Some(verified)),
            Err(Bad::Format) => {
                header_only(request.bytes, Code::Format, out);
                return Err(());
            }
            Err(Bad::Time(verified)) => {
                plain(request, Code::NotAuth, None, out);
                Signer::answer(&verified).sign_bad_time(out, verified.time, now);
                return Err(());
            }
            Err(Bad::Key(name)) => (name, TsigError::BadKey),
            Err(Bad::Signature(name)) => (name, TsigError::BadSig),
            Err(Bad::Truncated(name)) => (name, TsigError::BadTrunc),
        };
        plain(request, Code::NotAuth, None, out);
        tsig::append_error(out, &name, error, now);
        Err(())
    }
}

pub fn has(keys: &[Arc<Key>], key: &Arc<Key>) -> bool {
    keys.iter().any(|own| Arc::ptr_eq(own, key))
}

/// An answer without records.
pub fn plain(request: &Request<'_>, code: Code, verified: Option<&Verified>, out: &mut Vec<u8>) {
    Reply::new(request, usize::MAX, 0, out).finish(code);
    sign(verified, out);
}

fn sign(verified: Option<&Verified>, out: &mut Vec<u8>) {
    if let Some(verified) = verified {
        Signer::answer(verified).sign(out, tsig::now());
    }
}

fn reserve(verified: Option<&Verified>) -> usize {
    verified.map_or(0, |verified| tsig::length(verified.key.name()))
}

fn limit(request: &Request<'_>, transport: Transport) -> usize {
    let payload = request
        .edns
        .map_or(PLAIN, |edns| edns.payload.clamp(PLAIN, PAYLOAD));
    match transport {
        Transport::Udp => usize::from(payload),
        Transport::Tcp => usize::from(u16::MAX),
    }
}

/// The zone with the longest name that ends `name`. For DS it is the zone above, if that is here too: the
/// zone itself does not have them (RFC 4035, section 3.1.4.1).
fn find(table: &[Arc<Compiled>], name: &[u8], kind: u16) -> Option<Arc<Compiled>> {
    let key = super::wire::key(name);
    let fits = |zone: &&Arc<Compiled>| key.starts_with(&zone.apex().key);
    let best = |zones: &mut dyn Iterator<Item = &Arc<Compiled>>| {
        zones.max_by_key(|zone| zone.origin.len()).cloned()
    };
    let zone = best(&mut table.iter().filter(fits))?;
    if kind == super::zone::TYPE_DS && zone.origin.len() == name.len() {
        let above = |zone: &&Arc<Compiled>| fits(zone) && zone.origin.len() < name.len();
        return Some(best(&mut table.iter().filter(above)).unwrap_or(zone));
    }
    Some(zone)
}
