//! Routing netlink messages (rtnetlink(7)): writing the few that set up one
//! interface, reading the few that tell about it.
//!
//! Integers are in the machine's own byte order, addresses in network order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Multicast groups to join: links, IPv4 addresses, IPv6 addresses.
pub const GROUPS: u32 = 0x1 | 0x10 | 0x100;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFF_UP: u32 = 0x1;
/// `IFF_LOWER_UP`: the cable is in and the other side answers.
const IFF_LOWER_UP: u32 = 0x1_0000;
const ARPHRD_ETHER: u16 = 1;
/// `RT_SCOPE_LINK`.
const SCOPE_LINK: u8 = 253;
const HEADER: usize = 16;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Ethernet address, if it is an Ethernet interface.
    pub mac: Option<[u8; 6]>,
    /// Whether it was switched on.
    pub up: bool,
    /// Whether the cable carries anything.
    pub carrier: bool,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An interface is there or has changed.
    Link(Link),
    /// An interface is gone.
    LinkGone(u32),
    /// An interface has this address (and prefix length), final and global.
    Address(u32, IpAddr, u8),
    /// It has lost it.
    AddressGone(u32, IpAddr, u8),
    /// The request with this sequence number failed with this errno.
    Refused(u32, i32),
    /// The list that was asked for with this sequence number is complete.
    Listed(u32),
}

/// Asks for all links; answers come as [`Event::Link`], then [`Event::Listed`].
/// The kernel refuses it while another list is under way.
pub fn get_links(sequence: u32) -> Vec<u8> {
    finish(RTM_GETLINK, REQUEST | DUMP, sequence, &[0; 16])
}

/// Asks for all addresses; answers come as [`Event::Address`], then [`Event::Listed`].
pub fn get_addresses(sequence: u32) -> Vec<u8> {
    finish(RTM_GETADDR, REQUEST | DUMP, sequence, &[0; 8])
}

/// Switches an interface on.
pub fn link_up(sequence: u32, index: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend_from_slice(&index.to_ne_bytes());
    body.extend_from_slice(&IFF_UP.to_ne_bytes());
    body.extend_from_slice(&IFF_UP.to_ne_bytes());
    finish(RTM_NEWLINK, REQUEST | ACK, sequence, &body)
}

/// Gives an interface an address, or changes one that it has. `lifetime_s` is
/// how long the kernel keeps it unless told again; `None` is for ever.
pub fn add_address(
    sequence: u32,
    index: u32,
    address: IpAddr,
    prefix: u8,
    lifetime_s: Option<u32>,
) -> Vec<u8> {
    let mut body = address_body(index, address, prefix);
    if let Some(seconds) = lifetime_s {
        // struct ifa_cacheinfo: preferred, valid, created, updated.
        let mut info = [seconds.to_ne_bytes(), seconds.to_ne_bytes()].concat();
        info.extend_from_slice(&[0; 8]);
        attribute(&mut body, 6, &info);
    }
    finish(
        RTM_NEWADDR,
        REQUEST | ACK | CREATE | REPLACE,
        sequence,
        &body,
    )
}

/// Takes an address away.
pub fn delete_address(sequence: u32, index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    finish(
        RTM_DELADDR,
        REQUEST | ACK,
        sequence,
        &address_body(index, address, prefix),
    )
}

/// Sets the default route.
pub fn default_route(sequence: u32, index: u32, gateway: Ipv4Addr) -> Vec<u8> {
    // struct rtmsg: family, dst_len, src_len, tos, table main, protocol static,
    // scope universe, type unicast, flags.
    let mut body = vec![AF_INET, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    attribute(&mut body, 5, &gateway.octets());
    attribute(&mut body, 4, &index.to_ne_bytes());
    finish(
        RTM_NEWROUTE,
        REQUEST | ACK | CREATE | REPLACE,
        sequence,
        &body,
    )
}

fn address_body(index: u32, address: IpAddr, prefix: u8) -> Vec<u8> {
    let (family, octets) = match address {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    // struct ifaddrmsg: family, prefixlen, flags, scope, index.
    let mut body = vec![family, prefix, 0, 0];
    body.extend_from_slice(&index.to_ne_bytes());
    attribute(&mut body, 2, &octets);
    attribute(&mut body, 1, &octets);
    if let IpAddr::V4(v4) = address
        && prefix < 31
    {
        let broadcast = u32::from(v4) | u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        attribute(&mut body, 4, &broadcast.to_be_bytes());
    }
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // The values written here are at most 16 bytes long.
    let length = (4 + value.len()) as u16;
    body.extend_from_slice(&length.to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn finish(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut out = length.to_ne_bytes().to_vec();
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&flags.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(body);
    out
}

/// Reads one datagram, which may hold many messages.
pub fn read(mut datagram: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(header) = datagram.get(..HEADER) {
        let length = u32_at(header, 0) as usize;
        let Some(body) = datagram.get(HEADER..length) else {
            break;
        };
        events.extend(read_one(u16_at(header, 4), u32_at(header, 8), body));
        let next = length.next_multiple_of(4);
        datagram = datagram.get(next..).unwrap_or_default();
    }
    events
}

fn read_one(kind: u16, sequence: u32, body: &[u8]) -> Option<Event> {
    match kind {
        RTM_NEWLINK => read_link(body).map(Event::Link),
        RTM_DELLINK => Some(Event::LinkGone(u32_at(body.get(4..8)?, 0))),
        RTM_NEWADDR | RTM_DELADDR => {
            let (index, address, prefix) = read_address(body)?;
            Some(if kind == RTM_NEWADDR {
                Event::Address(index, address, prefix)
            } else {
                Event::AddressGone(index, address, prefix)
            })
        }
        // A list may end with an error, like any other request.
        NLMSG_ERROR | NLMSG_DONE => {
            let errno = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
            match errno {
                // Lists and nothing else end with DONE.
                0 => (kind == NLMSG_DONE).then_some(Event::Listed(sequence)),
                _ => Some(Event::Refused(sequence, errno.saturating_neg())),
            }
        }
        _ => None,
    }
}

fn read_link(body: &[u8]) -> Option<Link> {
    // struct ifinfomsg: family, pad, type, index, flags, change.
    let fixed = body.get(..16)?;
    let flags = u32_at(fixed, 8);
    let mut link = Link {
        index: u32_at(fixed, 4),
        name: String::new(),
        mac: None,
        up: flags & IFF_UP != 0,
        carrier: flags & IFF_LOWER_UP != 0,
    };
    for (kind, value) in Attributes(&body[16..]) {
        match kind {
            1 if u16_at(fixed, 2) == ARPHRD_ETHER => link.mac = value.try_into().ok(),
            3 => {
                let name = value.split(|&b| b == 0).next()?;
                link.name = std::str::from_utf8(name).ok()?.to_owned();
            }
            _ => {}
        }
    }
    Some(link)
}

fn read_address(body: &[u8]) -> Option<(u32, IpAddr, u8)> {
    let fixed = body.get(..8)?;
    // Scopes from link (253) on say nothing about reachability; a tentative
    // address (IFA_F_TENTATIVE, 0x40) may still turn out to be taken.
    if fixed[3] >= SCOPE_LINK || fixed[2] & 0x40 != 0 {
        return None;
    }
    let mut address = None;
    for (kind, value) in Attributes(&body[8..]) {
        let read = match fixed[0] {
            AF_INET => <[u8; 4]>::try_from(value)
                .ok()
                .map(|a| IpAddr::V4(Ipv4Addr::from(a))),
            AF_INET6 => <[u8; 16]>::try_from(value)
                .ok()
                .map(|a| IpAddr::V6(Ipv6Addr::from(a))),
            _ => None,
        };
        // IFA_LOCAL is the own address on any link; IPv6 has IFA_ADDRESS only.
        if kind == 2 || (kind == 1 && address.is_none()) {
            address = read.or(address);
        }
    }
    Some((u32_at(fixed, 4), address?, fixed[1]))
}

struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.get(..4)?;
        let length = usize::from(u16_at(header, 0));
        let value = self.0.get(4..length)?;
        // The two upper bits of the type are flags.
        let kind = u16_at(header, 2) & 0x3fff;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
#[path = "netlink_tests.rs"]
mod tests;
