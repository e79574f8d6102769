//! Zone transfers: AXFR (RFC 5936) in as many messages as it takes, and IXFR (RFC 1995) answered with all of
//! the zone, which section 4 of that allows.

use super::Compiled;
use super::reply::{Code, Owner, Reply, Section};
use super::wire::{Malformed, Request};
use super::zone::TYPE_SOA;
use crate::tsig::{self, Signer, Verified};
use hickory_proto::op::Message;
use hickory_proto::rr::{RData, SerialNumber};
use std::sync::Arc;

/// A message is sent once it has this many bytes: few enough that neither side needs much memory.
const MESSAGE: usize = 16 * 1024;

/// A record within a zone: node, set, whether a signature, number.
type At = (u32, u32, bool, u32);

/// A transfer under way.
pub struct Transfer {
    zone: Arc<Compiled>,
    request: Vec<u8>,
    signer: Signer,
    reserve: usize,
    order: Vec<At>,
    next: usize,
}

/// A record that does not fit into the largest message.
#[derive(Debug, thiserror::Error)]
#[error("a record of zone {0} does not fit into a message")]
pub struct TooLarge(String);

impl Transfer {
    /// Of this zone as it is now, whatever is published meanwhile.
    pub fn new(zone: Arc<Compiled>, request: &Request<'_>, verified: &Verified) -> Self {
        let order = order(&zone);
        let request = request.bytes.to_vec();
        let reserve = tsig::length(verified.key.name());
        Self {
            zone,
            request,
            signer: Signer::answer(verified),
            reserve,
            order,
            next: 0,
        }
    }

    /// Writes the next message, signed; `false` once there is none.
    pub fn message(&mut self, out: &mut Vec<u8>) -> Result<bool, TooLarge> {
        if self.next == self.order.len() {
            return Ok(false);
        }
        let too_large = || TooLarge(self.zone.signed.origin.to_string());
        let request = Request::parse(&self.request).map_err(|_: Malformed| too_large())?;
        let mut reply = Reply::new(&request, usize::from(u16::MAX), self.reserve, out);
        reply.zone(&self.zone.origin);
        reply.authoritative();
        let first = self.next;
        while let Some(&(node, set, signature, at)) = self.order.get(self.next) {
            let node = &self.zone.nodes[node as usize];
            let set = &node.sets[set as usize];
            let list = if signature {
                &set.signatures
            } else {
                &set.records
            };
            let record = &list[at as usize];
            let over = reply.len() + node.relative.len() + record.len() > MESSAGE;
            if over && self.next > first {
                break;
            }
            if !reply.record(Section::Answer, Owner::Node(node), record) {
                return Err(too_large());
            }
            self.next += 1;
        }
        reply.finish(Code::NoError);
        self.signer.sign(out, tsig::now());
        Ok(true)
    }
}

/// All records, the SOA first and last (RFC 5936, section 2.2).
fn order(zone: &Compiled) -> Vec<At> {
    let mut order = Vec::new();
    let mut soa = (0, 0, false, 0);
    for (node, of_name) in (0..).zip(&zone.nodes) {
        for (set, of_type) in (0..).zip(&of_name.sets) {
            if node == 0 && of_type.kind == TYPE_SOA {
                soa = (node, set, false, 0);
            } else {
                order.extend(
                    (0..)
                        .zip(&of_type.records)
                        .map(|(at, _)| (node, set, false, at)),
                );
            }
            order.extend(
                (0..)
                    .zip(&of_type.signatures)
                    .map(|(at, _)| (node, set, true, at)),
            );
        }
    }
    order.insert(0, soa);
    order.push(soa);
    order
}

/// Answers with the SOA alone.
pub fn soa_only(zone: &Compiled, reply: &mut Reply<'_>) {
    reply.zone(&zone.origin);
    reply.authoritative();
    if let Some(soa) = zone.apex().set(TYPE_SOA) {
        reply.set(Section::Answer, Owner::Node(zone.apex()), soa, false);
    }
}

/// The serial number that an IXFR request says its sender has.
pub fn serial(request: &[u8]) -> Option<u32> {
    let message = Message::from_vec(request).ok()?;
    message
        .authorities
        .iter()
        .find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        })
}

/// Whether `one` comes after `other` (RFC 1982, section 3.2).
pub fn newer(one: u32, other: u32) -> bool {
    SerialNumber::new(one) > SerialNumber::new(other)
}
