//! One look at a zone: two questions, by UDP with TCP behind it, and what their answers are worth.

use super::{SOON, Wrong};
use crate::resolver::{broken, signed_answer};
use crate::time::Wall;
use domain::base::iana::{Rcode, Rtype};
use domain::base::name::ToName;
use domain::base::{Message, Name, RecordData};
use domain::rdata::ZoneRecordData;
use domain::rdata::dnssec::Timestamp;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// Longest wait for one answer, by UDP and then by TCP.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is asked for. The SOA is signed anew with every change, the keys only when it is time.
const KINDS: [Rtype; 2] = [Rtype::SOA, Rtype::DNSKEY];

/// Whether the answers of this server for a zone are signed, and will be for a while.
pub(super) async fn look_at(server: SocketAddr, domain: &str, now: Wall) -> Result<(), Wrong> {
    let no = |why: String| Wrong::NoAnswer { why };
    let apex: Name<Vec<u8>> = (domain.parse()).map_err(|_| no("it is no name".to_owned()))?;
    for kind in KINDS {
        let answer = timeout(PATIENCE, signed_answer(server, &apex, kind)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer came in time".to_owned()));
        signed(&answer.map_err(no)?, &apex, kind, now)?;
    }
    Ok(())
}

/// Whether `answer` has records of this type, signed, with signatures that hold now and for a while.
pub(super) fn signed(
    answer: &[u8],
    apex: &Name<Vec<u8>>,
    kind: Rtype,
    now: Wall,
) -> Result<(), Wrong> {
    let no = |why: String| Wrong::NoAnswer { why };
    let answer = Message::from_slice(answer).map_err(|error| no(broken(error)))?;
    match answer.header().rcode() {
        Rcode::NOERROR => {}
        other => return Err(no(format!("it says {other}"))),
    }
    let (mut there, mut begin, mut end) = (false, None, None);
    let records = answer.answer().map_err(|error| no(broken(error)))?;
    for record in records.limit_to_in::<ZoneRecordData<_, _>>() {
        let record = record.map_err(|error| no(broken(error)))?;
        if !record.owner().name_eq(apex) {
            continue;
        }
        match record.data() {
            ZoneRecordData::Rrsig(signature) if signature.type_covered() == kind => {
                // Which of several a validator needs depends on the key that the parent names.
                begin = begin.max(Some(moment(signature.inception(), now)));
                let ends = moment(signature.expiration(), now);
                end = Some(end.map_or(ends, |end: Wall| end.min(ends)));
            }
            data if data.rtype() == kind => there = true,
            _ => {}
        }
    }
    let (Some(begin), Some(end)) = (begin, end) else {
        return Err(match there {
            true => Wrong::Unsigned {
                kind: kind.to_string(),
            },
            false => no(format!("its answer has no {kind} record")),
        });
    };
    if begin > now {
        return Err(Wrong::Begins { at: begin });
    }
    if end.0.saturating_sub(now.0) < SOON.as_secs() {
        return Err(Wrong::Ends { at: end });
    }
    Ok(())
}

/// When this is: the number has 32 bits, and stands for the moment nearest to now (RFC 4034, section 3.1.5).
fn moment(stamp: Timestamp, now: Wall) -> Wall {
    let reference = SystemTime::UNIX_EPOCH + Duration::from_secs(now.0);
    let moment = stamp.to_system_time(reference);
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    Wall(since.unwrap_or_default().as_secs())
}
