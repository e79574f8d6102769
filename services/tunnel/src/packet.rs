//! The little that has to be known of IP packets: whose they are, and pings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an IPv4 header without options (RFC 791, section 3.1).
const V4_HEADER: usize = 20;
/// Bytes of an IPv6 header (RFC 8200, section 3).
const V6_HEADER: usize = 40;
/// Bytes of an echo message before its data (RFC 792).
const ECHO_HEADER: usize = 8;
/// Shortest packet that [`echo`] can make, in bytes.
pub const MIN_ECHO: usize = V4_HEADER + ECHO_HEADER;
const ICMP: u8 = 1;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// Who a packet is from, and to whom; `None` for what is no IP packet.
pub fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 if packet.len() >= V4_HEADER => {
            let at = |from: usize| <[u8; 4]>::try_from(packet.get(from..from + 4)?).ok();
            Some((
                Ipv4Addr::from(at(12)?).into(),
                Ipv4Addr::from(at(16)?).into(),
            ))
        }
        6 if packet.len() >= V6_HEADER => {
            let at = |from: usize| <[u8; 16]>::try_from(packet.get(from..from + 16)?).ok();
            Some((
                Ipv6Addr::from(at(8)?).into(),
                Ipv6Addr::from(at(24)?).into(),
            ))
        }
        _ => None,
    }
}

/// An answer to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Who answered.
    pub from: Ipv4Addr,
    /// Whose ping it was.
    pub id: u16,
    /// Which of them.
    pub sequence: u16,
    /// Bytes of the whole packet.
    pub length: usize,
}

/// A ping of exactly `length` bytes (at least [`MIN_ECHO`]) that must not be cut on its way.
pub fn echo(from: Ipv4Addr, to: Ipv4Addr, id: u16, sequence: u16, length: u16) -> Vec<u8> {
    let length = length.max(MIN_ECHO as u16);
    let mut packet = vec![0; usize::from(length)];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[6] = 0x40; // don't fragment
    packet[8] = 64;
    packet[9] = ICMP;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&packet[..V4_HEADER]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let message = &mut packet[V4_HEADER..];
    message[0] = ECHO_REQUEST;
    message[4..6].copy_from_slice(&id.to_be_bytes());
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum = checksum(message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// Reads an answer to a ping; `None` for everything else. It came through the tunnel, which is
/// authenticated to the last byte, so its checksums are not looked at.
pub fn reply(packet: &[u8]) -> Option<Reply> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let (IpAddr::V4(from), _) = addresses(packet)? else {
        return None;
    };
    let fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff;
    if header < V4_HEADER || packet[9] != ICMP || fragment != 0 {
        return None;
    }
    let message = packet.get(header..header + ECHO_HEADER)?;
    if message[..2] != [ECHO_REPLY, 0] {
        return None;
    }
    Some(Reply {
        from,
        id: u16::from_be_bytes([message[4], message[5]]),
        sequence: u16::from_be_bytes([message[6], message[7]]),
        length: packet.len(),
    })
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
    }
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the other side's kernel makes of a ping.
    pub(crate) fn answered(mut ping: Vec<u8>) -> Vec<u8> {
        let (from, to) = (ping[12..16].to_vec(), ping[16..20].to_vec());
        ping[12..16].copy_from_slice(&to);
        ping[16..20].copy_from_slice(&from);
        ping[20] = ECHO_REPLY;
        ping
    }

    #[test]
    fn a_ping_has_its_length_and_right_sums() {
        let [from, to] = [Ipv4Addr::new(10, 82, 0, 2), Ipv4Addr::new(10, 82, 0, 1)];
        for length in [28, 29, 1280, 1420] {
            let ping = echo(from, to, 0xbeef, 7, length);
            assert_eq!(ping.len(), usize::from(length));
            assert_eq!(addresses(&ping), Some((from.into(), to.into())));
            // A sum over what has its sum in it is zero (RFC 1071).
            assert_eq!(checksum(&ping[..20]), 0);
            assert_eq!(checksum(&ping[20..]), 0);
            assert_eq!(reply(&ping), None, "a request is no answer");
            let expected = Reply {
                from: to,
                id: 0xbeef,
                sequence: 7,
                length: usize::from(length),
            };
            assert_eq!(reply(&answered(ping)), Some(expected));
        }
    }

    #[test]
    fn both_families_are_read() {
        let mut v6 = vec![0; 40];
        v6[0] = 0x60;
        v6[8] = 0xfd;
        v6[39] = 1;
        let expected = ("fd00::".parse().unwrap(), "::1".parse().unwrap());
        assert_eq!(addresses(&v6), Some(expected));
        assert_eq!(addresses(&v6[..39]), None);
        assert_eq!(addresses(&[0x45; 19]), None);
        assert_eq!(addresses(&[0x55; 40]), None);
        assert_eq!(addresses(&[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = (addresses(&bytes), reply(&bytes));
        }
    }
}
