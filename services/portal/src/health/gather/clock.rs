//! How far the box's clock is from the time servers' (SNTP, RFC 4330). init sets the clock; this is a second
//! look, for the day on which that goes wrong.

use super::names;
use crate::app::App;
use crate::resolver;
use domain::base::iana::Rtype;
use futures_util::future::join_all;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Where time servers answer.
const PORT: u16 = 123;
/// Time servers that are asked: enough for a middle.
const MOST: usize = 4;
/// Longest wait for one of them.
const PATIENCE: Duration = Duration::from_secs(4);
/// Bytes of a packet without extensions (RFC 5905, section 7.3).
const PACKET: usize = 48;
/// Seconds from 1900 (NTP) to 1970 (Unix).
const EPOCH: u64 = 2_208_988_800;

/// Milliseconds by which the middle of the time servers is ahead of the box.
///
/// # Errors
/// Why none has answered, for people.
pub async fn offset(app: &App) -> Result<i64, String> {
    let servers = app.settings.time_servers.iter().take(MOST);
    let asked = join_all(servers.map(|server| async move {
        let address = find(app, server)
            .await
            .map_err(|why| format!("{server}: {why}"))?;
        let told = timeout(PATIENCE, ask(SocketAddr::new(address, PORT))).await;
        told.unwrap_or_else(|_| Err("no answer came in time".to_owned()))
            .map_err(|why| format!("{server}: {why}"))
    }));
    let mut offsets = Vec::new();
    let mut why = "no time server is known".to_owned();
    for told in asked.await {
        match told {
            Ok(offset) => offsets.push(offset),
            Err(error) => why = error,
        }
    }
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).copied().ok_or(why)
}

async fn find(app: &App, server: &str) -> Result<IpAddr, String> {
    if let Ok(address) = server.parse() {
        return Ok(address);
    }
    let resolver = resolver::address(&app.places.resolv_conf, app.places.dns_port)
        .ok_or("the box has no resolver")?;
    let answer = timeout(PATIENCE, names::ask(resolver, server, Rtype::A)).await;
    let answer = answer.map_err(|_| "no answer came in time".to_owned())??;
    let first = answer
        .values
        .first()
        .and_then(|text| text.parse::<Ipv4Addr>().ok());
    first
        .map(IpAddr::V4)
        .ok_or_else(|| "it has no IPv4 address".to_owned())
}

/// Milliseconds by which one time server is ahead.
async fn ask(server: SocketAddr) -> Result<i64, String> {
    let plain = |error: std::io::Error| error.to_string();
    let any = match server {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any).await.map_err(plain)?;
    socket.connect(server).await.map_err(plain)?;
    let cookie = App::random::<8>();
    let mut packet = [0; PACKET];
    // No leap warning, version 4, mode 3 (client); a cookie in place of our time, which stays ours.
    packet[0] = 4 << 3 | 3;
    packet[40..].copy_from_slice(&cookie);
    let (sent, begun) = (since_1970(), tokio::time::Instant::now());
    socket.send(&packet).await.map_err(plain)?;
    let mut answer = [0; PACKET];
    let read = socket.recv(&mut answer).await.map_err(plain)?;
    let received = sent + i128::try_from(begun.elapsed().as_micros()).unwrap_or(0);
    answer
        .get(..read)
        .and_then(|answer| judge(answer, cookie, sent, received))
        .ok_or_else(|| "what it answers cannot be used".to_owned())
}

/// Microseconds since 1970 by the box's clock.
fn since_1970() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i128::try_from(since.unwrap_or_default().as_micros()).unwrap_or(0)
}

/// Milliseconds by which the sender of this answer is ahead, with the times at which the question left and the
/// answer came, in microseconds (RFC 4330, section 5); `None`: it is no answer that can be used.
fn judge(answer: &[u8], cookie: [u8; 8], sent: i128, received: i128) -> Option<i64> {
    let packet: &[u8; PACKET] = answer.first_chunk()?;
    let at = |at: usize| -> [u8; 8] { std::array::from_fn(|i| packet[at + i]) };
    // Mode 4 (server), and our cookie as originate time; stratum 1 to 15; its clock is set.
    if packet[0] & 7 != 4
        || at(24) != cookie
        || !(1..=15).contains(&packet[1])
        || packet[0] >> 6 == 3
    {
        return None;
    }
    let micros = |stamp: [u8; 8]| {
        let stamp = u64::from_be_bytes(stamp);
        let (seconds, fraction) = (stamp >> 32, stamp & 0xffff_ffff);
        // Seconds begin anew in 2036; what is before 1970 is after that.
        let seconds = match seconds.checked_sub(EPOCH) {
            Some(seconds) => seconds,
            None => seconds + (1 << 32) - EPOCH,
        };
        i128::from(seconds) * 1_000_000 + i128::from((fraction * 1_000_000) >> 32)
    };
    let (heard, answered) = (micros(at(32)), micros(at(40)));
    let offset = ((heard - sent) + (answered - received)) / 2;
    i64::try_from(offset / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: [u8; 8] = *b"biscuits";
    const NOW: i128 = 1_800_000_000 * 1_000_000;

    fn stamp(micros: i128) -> [u8; 8] {
        let seconds = (micros / 1_000_000) as u64 + EPOCH;
        let fraction = ((micros % 1_000_000) as u64) << 32;
        ((seconds << 32) | (fraction / 1_000_000)).to_be_bytes()
    }

    fn packet(ahead_ms: i128) -> [u8; PACKET] {
        let mut packet = [0; PACKET];
        (packet[0], packet[1]) = (4 << 3 | 4, 2);
        packet[24..32].copy_from_slice(&COOKIE);
        packet[32..40].copy_from_slice(&stamp(NOW + ahead_ms * 1000 + 20_000));
        packet[40..48].copy_from_slice(&stamp(NOW + ahead_ms * 1000 + 30_000));
        packet
    }

    #[test]
    fn the_way_there_and_back_counts_for_nothing() {
        for ahead in [0, 5, -3000, 86_400_000] {
            let told = judge(&packet(ahead), COOKIE, NOW, NOW + 50_000).unwrap();
            assert!((i128::from(told) - ahead).abs() <= 1, "{told} {ahead}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_not() {
        let good = packet(0);
        assert!(judge(&good[..47], COOKIE, NOW, NOW).is_none());
        assert!(judge(&good, *b"nonsense", NOW, NOW).is_none());
        for (at, byte) in [(0, 4 << 3 | 3), (0, 0xc0 | 4 << 3 | 4), (1, 0), (1, 16)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(judge(&bad, COOKIE, NOW, NOW).is_none(), "{at} {byte}");
        }
    }
}
