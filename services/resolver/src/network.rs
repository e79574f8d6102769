//! What the network says of itself: its resolvers and its search domain, as init writes them down.

use hickory_proto::rr::Name;
use roost_service::resolver::ADDRESS;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where init writes it (resolv.conf(5)).
pub const PATH: &str = "/run/network/resolv.conf";
/// Resolvers that are used, as resolv.conf(5) has it.
const MAX_SERVERS: usize = 3;
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 << 10;
/// This machine's addresses of IPv6, a line each (proc_pid_net(5)). `/proc/net` is not there in a container.
const ADDRESSES: &str = "/proc/self/net/if_inet6";
/// The flag of one that may not be used yet (`IFA_F_TENTATIVE`, linux/if_addr.h).
const TENTATIVE: u32 = 0x40;
/// The routes of IPv4, which come with its addresses.
const ROUTES: &str = "/proc/self/net/route";

/// The home network's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Its resolvers.
    pub servers: Vec<IpAddr>,
    /// The domain of its machines.
    pub search: Option<Name>,
}

impl Network {
    /// Reads the lines; what cannot be understood is passed over, as every resolver does.
    pub fn parse(text: &str) -> Self {
        let mut network = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("nameserver"), Some(address)) => {
                    // An address with a zone (`fe80::1%eth0`) needs the interface, which only init knows.
                    let Ok(address) = address.parse::<IpAddr>() else {
                        continue;
                    };
                    let usable = !address.is_unspecified()
                        && !address.is_multicast()
                        && address != IpAddr::from(ADDRESS);
                    if usable
                        && network.servers.len() < MAX_SERVERS
                        && !network.servers.contains(&address)
                    {
                        network.servers.push(address);
                    }
                }
                (Some("search" | "domain"), Some(domain)) => {
                    let name = Name::from_ascii(domain)
                        .ok()
                        .map(|name| name.to_lowercase());
                    network.search = name.filter(|name| name.num_labels() > 0).map(|mut name| {
                        name.set_fqdn(true);
                        name
                    });
                }
                _ => {}
            }
        }
        network
    }
}

/// The file, and this machine's addresses, with what they said last.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
    /// What it said last; nothing as long as there is none.
    pub now: Network,
    /// The kernel's own words.
    addresses: String,
}

impl Watched {
    /// Of this file, which need not be there.
    pub fn new(path: PathBuf) -> Self {
        let mut watched = Self {
            path,
            seen: None,
            now: Network::default(),
            addresses: String::new(),
        };
        watched.changed();
        watched.moved();
        watched
    }

    /// Reads it again if it is another than before. Whether it says something else now.
    pub fn changed(&mut self) -> bool {
        let mark = std::fs::metadata(&self.path)
            .and_then(|meta| Ok((meta.modified()?, meta.len())))
            .ok();
        if mark == self.seen {
            return false;
        }
        self.seen = mark;
        let now = match read(&self.path) {
            Ok(text) => Network::parse(&text),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    println!("resolver: cannot read {}: {error}", self.path.display());
                }
                Network::default()
            }
        };
        let changed = now != self.now;
        self.now = now;
        changed
    }

    /// Looks at this machine's addresses. Whether they are others than before: one that has just been given
    /// makes servers reachable that the file has named for long.
    pub fn moved(&mut self) -> bool {
        let [addresses, routes] =
            [ADDRESSES, ROUTES].map(|path| read(Path::new(path)).unwrap_or_default());
        let addresses = usable(&addresses) + &routes;
        let moved = addresses != self.addresses;
        self.addresses = addresses;
        moved
    }
}

/// The lines of [`ADDRESSES`] whose addresses may be used.
fn usable(lines: &str) -> String {
    let tentative = |line: &str| {
        let flags = line.split_whitespace().nth(4);
        flags
            .and_then(|flags| u32::from_str_radix(flags, 16).ok())
            .is_some_and(|flags| flags & TENTATIVE != 0)
    };
    lines
        .split_inclusive('\n')
        .filter(|line| !tentative(line))
        .collect()
}

fn read(path: &Path) -> io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(MAX_FILE)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_read() {
        let text = "nameserver 192.168.1.1\nnameserver fe80::1%eth0\nnameserver ::1\nnameserver 127.0.0.53\n\
                    nameserver 192.168.1.1\nsearch Fritz.Box\noptions timeout:2 attempts:2 edns0\n# x\n;\n";
        let network = Network::parse(text);
        assert_eq!(
            network.servers,
            ["192.168.1.1", "::1"].map(|a| a.parse::<IpAddr>().unwrap())
        );
        assert_eq!(network.search.unwrap().to_string(), "fritz.box.");
        assert_eq!(
            Network::parse("nameserver\nsearch .\n\u{0}"),
            Network::default()
        );
    }

    #[test]
    fn addresses_count_once_they_may_be_used() {
        let line = |flags| format!("fe80000000000000505400fffe123456 02 40 20 {flags}     eth0\n");
        assert_eq!(usable(&(line("80") + &line("c0"))), line("80"));
        assert_eq!(usable("x\n\ny"), "x\n\ny");
    }

    #[test]
    fn a_file_that_comes_changes_and_goes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let mut watched = Watched::new(path.clone());
        assert!(!watched.changed());
        std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert!(watched.changed());
        assert!(!watched.changed());
        std::fs::write(&path, "nameserver 192.0.2.1\n# the same\n").unwrap();
        assert!(!watched.changed(), "it says nothing new");
        std::fs::remove_file(&path).unwrap();
        assert!(watched.changed());
        assert_eq!(watched.now, Network::default());
    }
}
