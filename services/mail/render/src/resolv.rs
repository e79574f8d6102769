//! Name servers from `resolv.conf` (resolv.conf(5)).

use std::net::IpAddr;

/// The system's resolver configuration.
pub const PATH: &str = "/etc/resolv.conf";

/// As many as the C library uses (`MAXNS`).
const MAX_SERVERS: usize = 3;

/// Addresses of the `nameserver` lines, in order; unreadable lines are skipped.
pub fn name_servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            if words.next()? != "nameserver" {
                return None;
            }
            // A link-local address may carry its interface (`fe80::1%eth0`),
            // which a plain address cannot express.
            words.next()?.parse().ok()
        })
        .take(MAX_SERVERS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_in_order_and_skips_the_rest() {
        let text = "# comment\nsearch home.arpa\nnameserver 10.0.2.3\nnameserver fe80::1%eth0\n\
                    nameserver nonsense\nnameserver\n  nameserver 2001:db8::53 # home\noptions edns0\n";
        assert_eq!(
            name_servers(text),
            [
                "10.0.2.3".parse::<IpAddr>().unwrap(),
                "2001:db8::53".parse().unwrap()
            ]
        );
    }

    #[test]
    fn an_empty_file_means_no_servers() {
        assert!(name_servers("").is_empty());
    }

    #[test]
    fn more_than_three_are_not_used() {
        let text = (1..=5)
            .map(|n| format!("nameserver 192.0.2.{n}\n"))
            .collect::<String>();
        assert_eq!(name_servers(&text).len(), 3);
    }
}
