//! Whose request it is that the portal hands on.

use std::net::IpAddr;

/// The client of a request, from its `X-Forwarded-For` headers in order. The portal writes one
/// address; what a client put there itself would stand before it, so the last one counts.
///
/// `None`: nobody was named, so it is a program of the box.
pub fn client<'v>(headers: impl IntoIterator<Item = &'v str>) -> Option<IpAddr> {
    let last = headers.into_iter().last()?;
    let address = last.rsplit(',').next()?.trim();
    address.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_address_counts() {
        for (headers, ip) in [
            (vec!["192.168.1.7"], Some("192.168.1.7")),
            (vec!["::ffff:192.168.1.7"], Some("192.168.1.7")),
            (vec!["2001:db8::1"], Some("2001:db8::1")),
            (vec!["1.2.3.4, 192.168.1.7"], Some("192.168.1.7")),
            (vec!["1.2.3.4", "192.168.1.7"], Some("192.168.1.7")),
            (vec![], None),
            (vec![""], None),
            (vec!["1.2.3.4,"], None),
            (vec!["192.168.1.7:80"], None),
            (vec!["localhost"], None),
        ] {
            assert_eq!(
                client(headers.clone()),
                ip.map(|ip| ip.parse().unwrap()),
                "{headers:?}"
            );
        }
    }
}
