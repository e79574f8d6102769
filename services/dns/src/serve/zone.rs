//! A zone, laid out for answering: never changed once made, so that nobody waits for anybody.

use super::wire::{key, parent};
use crate::records::Signed;
use hickory_proto::ProtoError;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

pub const TYPE_NS: u16 = 2;
pub const TYPE_CNAME: u16 = 5;
pub const TYPE_SOA: u16 = 6;
pub const TYPE_A: u16 = 1;
pub const TYPE_AAAA: u16 = 28;
pub const TYPE_DS: u16 = 43;
pub const TYPE_RRSIG: u16 = 46;
pub const TYPE_NSEC: u16 = 47;

/// Where a record's data begin, behind type, class, TTL and length.
pub const DATA: usize = 10;

/// Records of one name and type, as they are sent behind their owner's name.
#[derive(Debug, Default)]
pub struct Set {
    pub kind: u16,
    pub records: Vec<Box<[u8]>>,
    pub signatures: Vec<Box<[u8]>>,
}

/// A name.
#[derive(Debug)]
pub struct Node {
    /// Where it is in the zone's list.
    pub at: u32,
    pub key: Box<[u8]>,
    /// Its labels before the zone's name, as sent, without an end.
    pub relative: Box<[u8]>,
    /// Its records. Empty: the name is there only because others are below it.
    pub sets: Vec<Set>,
    /// The delegation at this name or above it.
    pub cut: Option<u32>,
    /// The node whose NSEC covers what is not there behind this node.
    pub nsec: u32,
}

impl Node {
    pub fn set(&self, kind: u16) -> Option<&Set> {
        self.sets.iter().find(|set| set.kind == kind)
    }
}

/// A zone ready to answer from.
#[derive(Debug)]
pub struct Compiled {
    /// Tells it from others.
    pub id: u64,
    /// What it was made of.
    pub signed: Arc<Signed>,
    /// The zone's name as sent.
    pub origin: Box<[u8]>,
    /// Sorted by key, the zone's own name first.
    pub nodes: Vec<Node>,
    /// The SOA with the TTL of answers that say no (RFC 2308, section 3).
    pub negative: Set,
    /// It has NSEC records.
    pub proves: bool,
}

/// Why a zone cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A record's owner is not in the zone.
    #[error("{0} is not in zone {1}")]
    Outside(String, String),
    /// No SOA at the zone's name, or several.
    #[error("zone {0} has {1} SOA records; it needs one")]
    Soa(String, usize),
    /// A record does not fit into a message.
    #[error("record {1} of {0} cannot be sent: {2}")]
    Record(String, RecordType, Box<ProtoError>),
    /// NSEC3 is not served.
    #[error("zone {0} has NSEC3 records; only NSEC is served")]
    Nsec3(String),
}

/// A name as sent, without compression.
pub fn wire(name: &Name) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    wire
}

/// Where a name is, or why it is not.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// It is there.
    Exact(&'a Node),
    /// At or below a delegation.
    Cut(&'a Node),
    /// Not there; the closest name above it has a wildcard. The second node is the one whose NSEC covers it.
    Wildcard(&'a Node, &'a Node),
    /// Not there: the nodes whose NSEC cover the name and the wildcard that could have matched.
    Nowhere(&'a Node, &'a Node),
}

impl Compiled {
    /// Lays a zone out.
    ///
    /// # Errors
    /// It cannot be served.
    pub fn new(signed: Arc<Signed>) -> Result<Self, Unfit> {
        let origin = wire(&signed.origin);
        let top = key(&origin);
        let mut nodes = collect(&signed, &origin)?;
        nodes.sort_by(|one, other| one.key.cmp(&other.key));
        add_empty(&mut nodes, &origin, &top);
        link(&mut nodes);
        let soa = nodes.first().filter(|node| *node.key == *top);
        let soa = soa.and_then(|node| node.set(TYPE_SOA));
        let count = soa.map_or(0, |soa| soa.records.len());
        let Some(soa) = soa.filter(|_| count == 1) else {
            return Err(Unfit::Soa(signed.origin.to_string(), count));
        };
        let negative = negative(soa);
        let proves = nodes[0].set(TYPE_NSEC).is_some();
        let id = BuildHasherDefault::<DefaultHasher>::default().hash_one(&top);
        Ok(Self {
            id,
            signed,
            origin: origin.into(),
            negative,
            proves,
            nodes,
        })
    }

    /// The zone's own name.
    pub fn apex(&self) -> &Node {
        &self.nodes[0]
    }

    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.nodes.binary_search_by(|node| (*node.key).cmp(key))
    }

    /// The node whose NSEC covers `key`, which is not there.
    fn covering(&self, key: &[u8]) -> &Node {
        let behind = match self.find(key) {
            Ok(at) => at,
            Err(at) => at.saturating_sub(1),
        };
        self.covers(&self.nodes[behind])
    }

    /// The node whose NSEC covers what comes right behind `node`.
    pub fn covers(&self, node: &Node) -> &Node {
        &self.nodes[node.nsec as usize]
    }

    /// Finds the place of a key that lies within the zone (RFC 1034, section 4.3.2; RFC 4592). DS is
    /// the parent's at a delegation (RFC 4035, section 3.1.4.1), and so is its own NSEC.
    pub fn place(&self, wanted: &[u8], kind: u16) -> Place<'_> {
        let missing = match self.find(wanted) {
            Ok(at) => {
                let node = &self.nodes[at];
                let parents = kind == TYPE_DS || (kind == TYPE_NSEC && node.set(kind).is_some());
                return match node.cut {
                    Some(cut) if !(parents && cut as usize == at) => {
                        Place::Cut(&self.nodes[cut as usize])
                    }
                    _ => Place::Exact(node),
                };
            }
            Err(at) => at,
        };
        // The zone's name is there, so this ends.
        let mut above = parent(wanted);
        let encloser = loop {
            match self.find(above) {
                Ok(at) => break &self.nodes[at],
                Err(_) => above = parent(above),
            }
        };
        if let Some(cut) = encloser.cut {
            return Place::Cut(&self.nodes[cut as usize]);
        }
        let covering = self.covers(&self.nodes[missing.saturating_sub(1)]);
        let mut wildcard = Vec::with_capacity(encloser.key.len() + 2);
        wildcard.extend_from_slice(&encloser.key);
        wildcard.extend_from_slice(b"*\0");
        match self.find(&wildcard) {
            Ok(at) => Place::Wildcard(&self.nodes[at], covering),
            Err(_) => Place::Nowhere(covering, self.covering(&wildcard)),
        }
    }

    /// A name within the zone by its name as sent.
    pub fn node(&self, name: &[u8]) -> Option<&Node> {
        self.find(&key(name)).ok().map(|at| &self.nodes[at])
    }
}

fn collect(signed: &Signed, origin: &[u8]) -> Result<Vec<Node>, Unfit> {
    let top = key(origin);
    let mut nodes: Vec<Node> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for record in &signed.records {
        let name = wire(&record.name);
        let own = key(&name);
        if !own.starts_with(&top) {
            return Err(Unfit::Outside(
                record.name.to_string(),
                signed.origin.to_string(),
            ));
        }
        let at = *index.entry(own.clone()).or_insert(nodes.len());
        if at == nodes.len() {
            let relative = &name[..name.len() - origin.len()];
            nodes.push(new_node(own.into(), relative.into()));
        }
        add(&mut nodes[at], record, signed)?;
    }
    Ok(nodes)
}

fn new_node(key: Box<[u8]>, relative: Box<[u8]>) -> Node {
    Node {
        at: 0,
        key,
        relative,
        sets: Vec::new(),
        cut: None,
        nsec: 0,
    }
}

fn add(node: &mut Node, record: &Record, signed: &Signed) -> Result<(), Unfit> {
    let kind = record.record_type();
    if matches!(kind, RecordType::NSEC3 | RecordType::NSEC3PARAM) {
        return Err(Unfit::Nsec3(signed.origin.to_string()));
    }
    let bytes = tail(record)
        .map_err(|error| Unfit::Record(record.name.to_string(), kind, Box::new(error)))?;
    let own = u16::from(kind);
    // A signature says which type it covers in its first two bytes.
    let kind = if own == TYPE_RRSIG {
        u16::from_be_bytes([bytes[DATA], bytes[DATA + 1]])
    } else {
        own
    };
    let at = node
        .sets
        .iter()
        .position(|set| set.kind == kind)
        .unwrap_or_else(|| {
            node.sets.push(Set {
                kind,
                ..Set::default()
            });
            node.sets.len() - 1
        });
    let set = &mut node.sets[at];
    let list = if own == TYPE_RRSIG {
        &mut set.signatures
    } else {
        &mut set.records
    };
    if !list.contains(&bytes) {
        list.push(bytes);
    }
    Ok(())
}

/// A record behind its owner's name, names in its data not compressed: in SOA, NS, MX and CNAME they could
/// be, but then their bytes would differ from answer to answer.
fn tail(record: &Record<RData>) -> Result<Box<[u8]>, ProtoError> {
    let mut data = Vec::with_capacity(64);
    let mut encoder = BinEncoder::new(&mut data);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    record.data.emit(&mut encoder)?;
    let length =
        u16::try_from(data.len()).map_err(|_| ProtoError::from("longer than 65535 bytes"))?;
    let mut tail = Vec::with_capacity(DATA + data.len());
    tail.extend_from_slice(&u16::from(record.record_type()).to_be_bytes());
    tail.extend_from_slice(&u16::from(record.dns_class).to_be_bytes());
    tail.extend_from_slice(&record.ttl.to_be_bytes());
    tail.extend_from_slice(&length.to_be_bytes());
    tail.extend_from_slice(&data);
    Ok(tail.into())
}

/// Adds the names that exist only because others are below them (RFC 4592, section 2.2.2).
fn add_empty(nodes: &mut Vec<Node>, origin: &[u8], top: &[u8]) {
    let known: std::collections::HashSet<_> = nodes.iter().map(|node| node.key.clone()).collect();
    let mut new = std::collections::BTreeMap::new();
    for node in nodes.iter() {
        let (mut own, mut relative) = (parent(&node.key), &*node.relative);
        while own.len() > top.len() {
            relative = &relative[1 + usize::from(relative[0])..];
            if !known.contains(own) {
                new.insert(Box::<[u8]>::from(own), Box::<[u8]>::from(relative));
            }
            own = parent(own);
        }
    }
    debug_assert!(!origin.is_empty());
    nodes.extend(
        new.into_iter()
            .map(|(key, relative)| new_node(key, relative)),
    );
    nodes.sort_by(|one, other| one.key.cmp(&other.key));
}

/// Notes at each node which delegation it is under and whose NSEC covers what comes behind it.
fn link(nodes: &mut [Node]) {
    let (mut cut, mut nsec) = (None::<usize>, 0);
    for at in 0..nodes.len() {
        if cut.is_some_and(|cut| !nodes[at].key.starts_with(&nodes[cut].key)) {
            cut = None;
        }
        if cut.is_none() && at != 0 && nodes[at].set(TYPE_NS).is_some() {
            cut = Some(at);
        }
        if nodes[at].set(TYPE_NSEC).is_some() {
            nsec = at;
        }
        nodes[at].at = at as u32;
        nodes[at].cut = cut.map(|cut| cut as u32);
        nodes[at].nsec = nsec as u32;
    }
}

fn negative(soa: &Set) -> Set {
    let record = &soa.records[0];
    let number = |at: usize| u32::from_be_bytes(record[at..at + 4].try_into().expect("four bytes"));
    let ttl = number(4).min(number(record.len() - 4)).to_be_bytes();
    let change = |records: &[Box<[u8]>]| {
        let mut records = records.to_vec();
        records
            .iter_mut()
            .for_each(|record| record[4..8].copy_from_slice(&ttl));
        records
    };
    Set {
        kind: TYPE_SOA,
        records: change(&soa.records),
        signatures: change(&soa.signatures),
    }
}

#[cfg(test)]
mod tests;
