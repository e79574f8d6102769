//! What is answered to a question, from one zone (RFC 1034, section 4.3.2, RFC 4035, section 3.1).

use super::reply::{Code, Owner, Reply, Section};
use super::wire::key;
use super::zone::*;

/// How often an alias is followed within the zone. Resolvers follow the rest by themselves.
const MAX_ALIASES: usize = 8;

const TYPE_ANY: u16 = 255;

/// What kind of answer it was, for the limit on rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that is there. The number tells it from others: a wildcard's matches have the wildcard's.
    There(u32),
    /// NXDOMAIN.
    NotThere,
    /// REFUSED, FORMERR and the like.
    Error,
}

/// The question, as this module needs it.
pub struct Ask<'a> {
    pub name: &'a [u8],
    pub kind: u16,
    pub dnssec: bool,
}

/// Writes the answer. The name must lie within the zone.
pub fn answer(zone: &Compiled, ask: &Ask<'_>, reply: &mut Reply<'_>) -> (Code, Kind) {
    reply.zone(&zone.origin);
    let mut name = ask.name;
    let mut proofs: Vec<&Node> = Vec::new();
    let mut first = None;
    // Aliases that were followed: one that leads back is not followed again.
    let mut seen: Vec<Vec<u8>> = Vec::new();
    while seen.len() <= MAX_ALIASES {
        let relative = &name[..name.len() - zone.origin.len()];
        let asked = seen.is_empty();
        let wanted = key(name);
        if seen.contains(&wanted) {
            break;
        }
        let owner = if asked {
            Owner::Question
        } else {
            Owner::Relative(relative)
        };
        let place = zone.place(&wanted, ask.kind);
        let (node, wildcard) = match place {
            Place::Cut(cut) => {
                if !asked {
                    reply.authoritative();
                }
                proof_of(zone, &proofs, ask.dnssec, reply);
                refer(zone, cut, ask.dnssec, reply);
                return (Code::NoError, first.unwrap_or(Kind::There(cut.at)));
            }
            Place::Nowhere(covering, no_wildcard) => {
                reply.authoritative();
                add(&mut proofs, covering);
                add(&mut proofs, no_wildcard);
                deny(zone, &proofs, ask.dnssec, reply);
                return (Code::NxDomain, first.unwrap_or(Kind::NotThere));
            }
            Place::Exact(node) => (node, None),
            Place::Wildcard(node, covering) => (node, Some(covering)),
        };
        reply.authoritative();
        let kind = *first.get_or_insert(Kind::There(node.at));
        if let Some(covering) = wildcard {
            add(&mut proofs, covering);
        }
        if let Some(set) = choose(node, ask.kind) {
            match ask.kind {
                TYPE_RRSIG => reply.records(Section::Answer, owner, &set.signatures),
                _ => reply.set(Section::Answer, owner, set, ask.dnssec),
            }
            proof_of(zone, &proofs, ask.dnssec, reply);
            return (Code::NoError, kind);
        }
        let Some(set) = node.set(TYPE_CNAME) else {
            // An empty name is proved by the NSEC before it, which leads below it.
            add(&mut proofs, zone.covers(node));
            deny(zone, &proofs, ask.dnssec, reply);
            return (Code::NoError, kind);
        };
        reply.set(Section::Answer, owner, set, ask.dnssec);
        name = &set.records[0][DATA..];
        seen.push(wanted);
        if !key(name).starts_with(&zone.apex().key) {
            proof_of(zone, &proofs, ask.dnssec, reply);
            return (Code::NoError, kind);
        }
    }
    proof_of(zone, &proofs, ask.dnssec, reply);
    (Code::NoError, first.unwrap_or(Kind::Error))
}

/// The set that answers. ANY, and RRSIG, which is ANY by another name, get one set (RFC 8482, section 4.1).
fn choose(node: &Node, kind: u16) -> Option<&Set> {
    match kind {
        TYPE_ANY => node
            .set(TYPE_CNAME)
            .or_else(|| node.sets.iter().min_by_key(|set| set.kind)),
        TYPE_RRSIG => node.sets.iter().find(|set| !set.signatures.is_empty()),
        _ => node.set(kind),
    }
}

fn add<'a>(proofs: &mut Vec<&'a Node>, node: &'a Node) {
    if !proofs.iter().any(|proof| std::ptr::eq(*proof, node)) {
        proofs.push(node);
    }
}

fn proof_of(zone: &Compiled, proofs: &[&Node], dnssec: bool, reply: &mut Reply<'_>) {
    if dnssec && zone.proves {
        for node in proofs {
            if let Some(set) = node.set(TYPE_NSEC) {
                reply.set(Section::Authority, Owner::Node(node), set, true);
            }
        }
    }
}

fn deny(zone: &Compiled, proofs: &[&Node], dnssec: bool, reply: &mut Reply<'_>) {
    reply.set(
        Section::Authority,
        Owner::Node(zone.apex()),
        &zone.negative,
        dnssec,
    );
    proof_of(zone, proofs, dnssec, reply);
}

/// A referral: name servers, whether they sign, and their addresses. An address that does not fit sets TC
/// (RFC 9471).
fn refer(zone: &Compiled, cut: &Node, dnssec: bool, reply: &mut Reply<'_>) {
    let Some(servers) = cut.set(TYPE_NS) else {
        return;
    };
    reply.set(Section::Authority, Owner::Node(cut), servers, false);
    if dnssec {
        let proof = cut.set(TYPE_DS).or_else(|| cut.set(TYPE_NSEC));
        if let Some(set) = proof {
            reply.set(Section::Authority, Owner::Node(cut), set, true);
        }
    }
    for server in &servers.records {
        let Some(node) = zone.node(&server[DATA..]) else {
            continue;
        };
        for kind in [TYPE_A, TYPE_AAAA] {
            if let Some(set) = node.set(kind) {
                let signed = dnssec && node.cut.is_none();
                reply.set(Section::Additional, Owner::Node(node), set, signed);
            }
        }
    }
}
