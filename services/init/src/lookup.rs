//! Addresses of time servers, from the network's own resolvers (RFC 1035, sections 4 and 7).
//!
//! The C library would ask the box's resolver, which `/etc/resolv.conf` names. That one checks nothing before
//! the clock is set, and is a service: the clock must not wait for one.

use crate::network::RESOLV_CONF;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const PORT: u16 = 53;
/// How long a resolver may take. With two of them, two families and two tries a name takes eight seconds at
/// most; all time servers together have a minute.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often each question is put to each resolver.
const TRIES: usize = 2;
/// Bytes of a header.
const HEADER: usize = 12;
/// Largest answer without extensions.
const MAX_ANSWER: usize = 512;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    V4 = 1,
    V6 = 28,
}

/// The addresses behind a name, or the one that is written there.
///
/// # Errors
/// When no resolver knows any.
pub fn addresses(name: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let servers = resolvers(&text);
    if servers.is_empty() {
        return Err(io::Error::other("the network has named no resolver"));
    }
    let mut found = Vec::new();
    for kind in [Kind::V4, Kind::V6] {
        found.extend(find(name, kind, &servers).unwrap_or_default());
    }
    if found.is_empty() {
        return Err(io::Error::other("has no address, or no resolver answers"));
    }
    Ok(found)
}

/// The resolvers that the file names.
fn resolvers(text: &str) -> Vec<IpAddr> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver "));
    lines
        .filter_map(|address| address.trim().parse().ok())
        .collect()
}

fn find(name: &str, kind: Kind, servers: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let mut failed = io::ErrorKind::TimedOut.into();
    for server in servers.iter().cycle().take(servers.len() * TRIES) {
        match ask(name, kind, SocketAddr::new(*server, PORT)) {
            Ok(found) => return Ok(found),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn ask(name: &str, kind: Kind, server: SocketAddr) -> io::Result<Vec<IpAddr>> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut id = [0; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    let question =
        question(id, name, kind).ok_or_else(|| io::Error::other(format!("{name} is no name")))?;
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&question)?;
    let mut answer = [0; MAX_ANSWER];
    let length = socket.recv(&mut answer)?;
    read(&answer[..length], &question, kind)
        .ok_or_else(|| io::Error::other("the resolver's answer makes no sense"))
}

/// A question; `None` when the name is none.
fn question(id: [u8; 2], name: &str, kind: Kind) -> Option<Vec<u8>> {
    // RD, one question.
    let mut question = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let name = name.strip_suffix('.').unwrap_or(name);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok();
        question.push(length.filter(|length| (1..=63).contains(length))?);
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    (question.len() <= HEADER + 255 + 4).then_some(question)
}

/// The addresses in an answer to `question`; `None` when it is none.
fn read(answer: &[u8], question: &[u8], kind: Kind) -> Option<Vec<IpAddr>> {
    let header = answer.get(..HEADER)?;
    let is_answer = header[..2] == question[..2] && header[2] & 0x80 != 0;
    // Resolvers may spell the name their own way.
    let asked = answer.get(HEADER..question.len())?;
    if !is_answer || !asked.eq_ignore_ascii_case(question.get(HEADER..)?) || header[3] & 15 != 0 {
        return None;
    }
    let count = u16::from_be_bytes([header[6], header[7]]);
    let mut rest = answer.get(question.len()..)?;
    let mut found = Vec::new();
    for _ in 0..count {
        let record = after_name(rest)?;
        let (head, data) = record.split_at_checked(10)?;
        let length = usize::from(u16::from_be_bytes([head[8], head[9]]));
        let (data, after) = data.split_at_checked(length)?;
        rest = after;
        if head[..4] != [0, kind as u8, 0, 1] {
            continue;
        }
        found.push(match kind {
            Kind::V4 => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into(),
            Kind::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into(),
        });
    }
    Some(found)
}

/// What follows a name, which may end in a reference to an earlier one.
fn after_name(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, rest) = bytes.split_first()?;
        match length {
            0 => return Some(rest),
            1..=63 => bytes = rest.get(usize::from(length)..)?,
            192.. => return rest.get(1..),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALIAS: &[u8] = &[0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'x', 0xC0, 12];
    const V4: &[u8] = &[
        1, b'x', 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7,
    ];

    fn answer(question: &[u8], code: u8, count: u8, records: &[&[u8]]) -> Vec<u8> {
        let mut answer = question.to_vec();
        answer[2] = 0x81;
        answer[3] = 0x80 | code;
        answer[7] = count;
        answer.extend(records.concat());
        answer
    }

    #[test]
    fn addresses_are_found_behind_aliases() {
        let asked = question([1, 2], "Time.example.net.", Kind::V4).unwrap();
        assert_eq!(
            &asked[HEADER..],
            b"\x04Time\x07example\x03net\0\0\x01\0\x01"
        );
        let whole = answer(&asked, 0, 2, &[ALIAS, V4]);
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        assert_eq!(read(&whole, &asked, Kind::V4), Some(vec![address]));
        assert_eq!(
            read(&whole.to_ascii_lowercase(), &asked, Kind::V4),
            Some(vec![address])
        );
        assert_eq!(
            read(&answer(&asked, 0, 0, &[]), &asked, Kind::V4),
            Some(vec![])
        );
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let asked = question([1, 2], "time.example.net", Kind::V4).unwrap();
        assert_eq!(read(&asked, &asked, Kind::V4), None, "it is the question");
        assert_eq!(read(&answer(&asked, 3, 0, &[]), &asked, Kind::V4), None);
        assert_eq!(
            read(&answer(&asked, 0, 2, &[V4]), &asked, Kind::V4),
            None,
            "a record is missing"
        );
        let other = question([3, 4], "time.example.net", Kind::V4).unwrap();
        assert_eq!(read(&answer(&other, 0, 1, &[V4]), &asked, Kind::V4), None);
        let other = question([1, 2], "time.example.org", Kind::V4).unwrap();
        assert_eq!(read(&answer(&other, 0, 1, &[V4]), &asked, Kind::V4), None);
        for name in ["", "a..b", &"x".repeat(64), &"x.".repeat(130)] {
            assert_eq!(question([1, 2], name, Kind::V6), None, "{name}");
        }
    }

    #[test]
    fn resolvers_are_those_that_init_wrote() {
        let text = "nameserver 192.168.1.1\nnameserver ::1\nsearch home\noptions edns0\n";
        let expected = ["192.168.1.1", "::1"].map(|a| a.parse::<IpAddr>().unwrap());
        assert_eq!(resolvers(text), expected);
        assert_eq!(
            addresses("192.0.2.1").unwrap(),
            ["192.0.2.1".parse::<IpAddr>().unwrap()]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let asked = question([1, 2], "a.b", Kind::V6).unwrap();
            let mut answer = answer(&asked, 0, 9, &[]);
            answer.extend(&bytes);
            let found = read(&answer, &asked, Kind::V6).unwrap_or_default();
            prop_assert!(found.len() * 27 <= bytes.len());
            prop_assert_eq!(read(&bytes, &asked, Kind::V6), None);
        }
    }
}
