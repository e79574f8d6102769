//! DHCP messages (RFC 2131, options of RFC 2132) as far as a client needs them.

use std::net::Ipv4Addr;

/// Port of servers.
pub const SERVER_PORT: u16 = 67;
/// Port of clients.
pub const CLIENT_PORT: u16 = 68;
/// Largest answer we read; we announce no larger one, so servers stay below 576.
pub const MAX_MESSAGE: usize = 1500;

/// Fixed part of a message up to the options (RFC 2131 section 2).
const FIXED: usize = 236;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Smallest message that old relays accept (BOOTP, RFC 1542 section 2.1).
const MIN_LENGTH: usize = 300;
/// Resolvers and routers kept from an answer.
const MAX_ADDRESSES: usize = 3;

/// What a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Who offers an address?
    Discover,
    /// Take up an offer (RFC 2131 section 4.3.2, SELECTING).
    Select {
        /// The address offered.
        address: Ipv4Addr,
        /// Who offered it.
        server: Ipv4Addr,
    },
    /// May the address be kept on this network (INIT-REBOOT)?
    Verify {
        /// The address we have.
        address: Ipv4Addr,
    },
    /// Make the lease longer (RENEWING, REBINDING).
    Extend {
        /// The address we have.
        address: Ipv4Addr,
    },
}

/// Identity of a client in one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Transaction id.
    pub id: u32,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Host name to show in the router's list.
    pub name: String,
    /// Seconds since the exchange began.
    pub seconds: u16,
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// DHCPOFFER.
    Offer(Grant),
    /// DHCPACK.
    Ack(Grant),
    /// DHCPNAK: the address may not be used (any longer).
    Nak,
}

/// An address and what comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Our address.
    pub address: Ipv4Addr,
    /// Prefix length of the network in bits.
    pub prefix: u8,
    /// Default gateway.
    pub router: Option<Ipv4Addr>,
    /// Resolvers, at most three.
    pub dns: Vec<Ipv4Addr>,
    /// Domain name of the home network.
    pub domain: Option<String>,
    /// The server's identifier.
    pub server: Ipv4Addr,
    /// Seconds that the address is ours; `u32::MAX` is for ever.
    pub lease_s: u32,
    /// Seconds until it should be renewed (T1), if the server says so.
    pub renew_s: Option<u32>,
    /// Seconds until any server is asked (T2), if the server says so.
    pub rebind_s: Option<u32>,
}

/// The bytes of a question.
pub fn write(client: &Client, ask: Ask) -> Vec<u8> {
    let mut out = vec![0; FIXED];
    // op 1 = request, htype 1 = Ethernet, hlen 6.
    out[..3].copy_from_slice(&[1, 1, 6]);
    out[4..8].copy_from_slice(&client.id.to_be_bytes());
    out[8..10].copy_from_slice(&client.seconds.to_be_bytes());
    if let Ask::Extend { address } = ask {
        out[12..16].copy_from_slice(&address.octets());
    } else {
        // The broadcast flag: without an address of ours (or one that is
        // right here) the kernel would drop an answer sent to it.
        out[10] = 0x80;
    }
    out[28..34].copy_from_slice(&client.mac);
    out.extend_from_slice(&MAGIC);
    let mut option = |code: u8, value: &[u8]| {
        let value = &value[..value.len().min(255)];
        out.push(code);
        out.push(value.len() as u8);
        out.extend_from_slice(value);
    };
    option(53, &[if ask == Ask::Discover { 1 } else { 3 }]);
    option(61, &[&[1], &client.mac[..]].concat());
    if let Ask::Select { address, .. } | Ask::Verify { address } = ask {
        option(50, &address.octets());
    }
    if let Ask::Select { server, .. } = ask {
        option(54, &server.octets());
    }
    if !client.name.is_empty() {
        option(12, client.name.as_bytes());
    }
    // Mask, router, resolvers, domain, lease, T1, T2.
    option(55, &[1, 3, 6, 15, 51, 58, 59]);
    out.push(255);
    out.resize(out.len().max(MIN_LENGTH), 0);
    out
}

/// Reads an answer to `client`; `None` for anything else, which is to be ignored.
pub fn read(client: &Client, bytes: &[u8]) -> Option<Answer> {
    let fixed = bytes.get(..FIXED)?;
    let ours =
        fixed[0] == 2 && fixed[4..8] == client.id.to_be_bytes() && fixed[28..34] == client.mac;
    let options = bytes.get(FIXED..)?.strip_prefix(&MAGIC)?;
    if !ours {
        return None;
    }
    let kind = Options(options).find(|(code, _)| *code == 53)?.1;
    if kind == [6] {
        return Some(Answer::Nak);
    }
    let address = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);
    let grant = read_grant(address, options)?;
    match kind {
        [2] => Some(Answer::Offer(grant)),
        [5] => Some(Answer::Ack(grant)),
        _ => None,
    }
}

fn read_grant(address: Ipv4Addr, options: &[u8]) -> Option<Grant> {
    let mut prefix = None;
    let mut server = None;
    let mut lease_s = None;
    let mut grant = Grant {
        address,
        prefix: 0,
        router: None,
        dns: Vec::new(),
        domain: None,
        server: Ipv4Addr::UNSPECIFIED,
        lease_s: 0,
        renew_s: None,
        rebind_s: None,
    };
    for (code, value) in Options(options) {
        match code {
            1 => prefix = prefix_of(value),
            3 => grant.router = addresses(value).next().filter(usable),
            6 => {
                grant.dns = addresses(value)
                    .filter(usable)
                    .take(MAX_ADDRESSES)
                    .collect()
            }
            15 => grant.domain = domain(value),
            51 => lease_s = seconds(value),
            54 => server = addresses(value).next(),
            58 => grant.renew_s = seconds(value),
            59 => grant.rebind_s = seconds(value),
            _ => {}
        }
    }
    grant.prefix = prefix.unwrap_or_else(|| natural_prefix(address));
    grant.server = server?;
    grant.lease_s = lease_s?;
    let usable = usable(&address) && grant.lease_s > 0;
    usable.then_some(grant)
}

/// The options of a message: code and value. Ends at the end mark or at the
/// first option that does not fit.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&code, rest) = self.0.split_first()?;
            match code {
                0 => self.0 = rest,
                255 => return None,
                _ => {
                    let (&length, rest) = rest.split_first()?;
                    let (value, rest) = rest.split_at_checked(usize::from(length))?;
                    self.0 = rest;
                    return Some((code, value));
                }
            }
        }
    }
}

fn addresses(value: &[u8]) -> impl Iterator<Item = Ipv4Addr> {
    value
        .chunks_exact(4)
        .map(|a| Ipv4Addr::new(a[0], a[1], a[2], a[3]))
}

fn usable(address: &Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_loopback())
}

fn seconds(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// Prefix length of a mask; `None` when its ones are not in front.
fn prefix_of(value: &[u8]) -> Option<u8> {
    let mask = u32::from_be_bytes(value.try_into().ok()?);
    (mask != 0 && mask.leading_ones() == mask.count_ones()).then(|| mask.leading_ones() as u8)
}

/// The prefix before there were masks (RFC 791), for servers that send none.
fn natural_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    }
}

/// The domain as it may stand in `resolv.conf`: nothing but host name characters.
fn domain(value: &[u8]) -> Option<String> {
    let value = value.strip_suffix(&[0]).unwrap_or(value);
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let fits = !value.is_empty() && value.iter().all(plain);
    fits.then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
#[path = "dhcp_tests.rs"]
pub(crate) mod tests;
