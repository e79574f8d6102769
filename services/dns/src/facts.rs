//! What the other services of the box say, put together as [`Facts`] of each domain.

pub(crate) mod certified;

pub use certified::Certificates;

use crate::generate::{Dmarc, Facts, NameServer, Offer, Service, Stage};
use roost_service::certificates;
use roost_service::door::ask;
use roost_service::mail::{self, Published, ports};
use roost_service::tunnel::{self, Outside, Reached};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// What is reachable from outside: the ports that the relay passes on, and what is spoken there.
const OFFERS: [(Service, u16); 8] = [
    (Service::Submissions, ports::SUBMISSIONS),
    (Service::Submission, ports::SUBMISSION),
    (Service::Imaps, ports::IMAPS),
    (Service::Pop3s, ports::POP3S),
    (Service::Sieve, ports::SIEVE),
    (Service::Jmap, ports::HTTPS),
    (Service::Caldavs, ports::HTTPS),
    (Service::Carddavs, ports::HTTPS),
];

/// Where the other services listen.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The mail service.
    pub mail: PathBuf,
    /// The tunnel.
    pub tunnel: PathBuf,
    /// The service that gets certificates.
    pub certificates: PathBuf,
}

impl Sources {
    /// What the mail server publishes. `None`: the box waits to be paired.
    ///
    /// # Errors
    /// The mail service cannot be asked.
    pub async fn published(&self) -> io::Result<Option<Published>> {
        match ask(&self.mail, &mail::Call::Published, mail::MAX_ANSWER).await? {
            mail::Answer::Published(published) => Ok(Some(published)),
            _ => Ok(None),
        }
    }

    /// Where the internet reaches the box. `None`: nowhere, there is no relay.
    ///
    /// # Errors
    /// The tunnel service cannot be asked.
    pub async fn reached(&self) -> io::Result<Option<Reached>> {
        match ask(&self.tunnel, &tunnel::Call::Outside, tunnel::MAX_LINE).await? {
            tunnel::Answer::Outside { reached } => Ok(reached.map(|reached| *reached)),
            _ => Err(io::Error::other("the tunnel service answers in riddles")),
        }
    }

    /// How certificates stand.
    ///
    /// # Errors
    /// The certificate service cannot be asked, or has no answer.
    pub async fn certificates(&self) -> io::Result<Box<certificates::Status>> {
        let call = certificates::Call::Status;
        match ask(&self.certificates, &call, certificates::MAX_LINE).await? {
            certificates::Answer::Status(status) => Ok(status),
            certificates::Answer::Refused { why } => Err(io::Error::other(why)),
            _ => Err(io::Error::other(
                "the certificate service answers in riddles",
            )),
        }
    }
}

/// The facts of each domain, the box's own first. [`Certificates::add_to`] adds what needs certificates, and
/// [`crate::stages`] what becomes stricter with time.
pub fn facts(published: &Published, outside: Option<&Outside>) -> Vec<Facts> {
    let of = |domain: &String| of_domain(domain, published, outside);
    published.domains.iter().map(of).collect()
}

fn of_domain(domain: &str, published: &Published, outside: Option<&Outside>) -> Facts {
    let (ipv4, ipv6) = outside.map_or_else(Default::default, |outside| split(&outside.addresses));
    let dkim = |key: &mail::Dkim| crate::generate::DkimKey {
        selector: key.selector.clone(),
        text: key.record.clone(),
    };
    Facts {
        domain: domain.to_owned(),
        mail_host: published.host.clone(),
        name_servers: name_servers(domain, outside),
        autoconfig: !ipv4.is_empty() || !ipv6.is_empty(),
        ipv4,
        ipv6,
        offers: OFFERS
            .map(|(service, port)| Offer { service, port })
            .to_vec(),
        dkim: published.dkim.iter().map(dkim).collect(),
        dmarc: Some(Dmarc {
            stage: Stage::None,
            reports: Some(format!("postmaster@{domain}")),
        }),
        portal: None,
        web: Vec::new(),
        certified: Vec::new(),
        tls_keys: Vec::new(),
        mta_sts: None,
        tls_reports: Some(format!("postmaster@{domain}")),
        acme: None,
        reports_of: Vec::new(),
    }
}

/// `ns1` is the box by way of the relay, `ns2` the relay's copies, at addresses of their own where it has
/// such, else at ns1's.
fn name_servers(domain: &str, outside: Option<&Outside>) -> Vec<NameServer> {
    let Some(outside) = outside else {
        return NameServer::of_the_relay(domain, &[], &[]);
    };
    let (ipv4, ipv6) = split(&outside.addresses);
    let (second4, second6) = split(&outside.second_name_server);
    let server = |label: &str, ipv4: &[Ipv4Addr], ipv6: &[Ipv6Addr]| NameServer {
        name: format!("{label}.{domain}"),
        ipv4: ipv4.first().copied().into_iter().collect(),
        ipv6: ipv6.first().copied().into_iter().collect(),
    };
    let (mut ns2_v4, mut ns2_v6) = (&second4, &second6);
    if ns2_v4.is_empty() {
        ns2_v4 = &ipv4;
    }
    if ns2_v6.is_empty() {
        ns2_v6 = &ipv6;
    }
    vec![server("ns1", &ipv4, &ipv6), server("ns2", ns2_v4, ns2_v6)]
}

fn split(addresses: &[IpAddr]) -> (Vec<Ipv4Addr>, Vec<Ipv6Addr>) {
    let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
    for address in addresses {
        match address {
            IpAddr::V4(address) => ipv4.push(*address),
            IpAddr::V6(address) => ipv6.push(*address),
        }
    }
    (ipv4, ipv6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::mail::Dkim;

    fn published() -> Published {
        Published {
            host: "mail.example.org".into(),
            domains: vec!["example.org".into(), "example.net".into()],
            dkim: vec![Dkim {
                selector: "e1".into(),
                record: "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".into(),
            }],
        }
    }

    fn outside(addresses: &[&str], second: &[&str]) -> Outside {
        let parse = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Outside {
            addresses: parse(addresses),
            second_name_server: parse(second),
            secondary: None,
        }
    }

    #[test]
    fn each_domain_gets_a_zone_that_can_be_made() {
        let outside = outside(&["192.0.2.1", "2001:db8::1"], &["192.0.2.1", "2001:db8::2"]);
        let all = facts(&published(), Some(&outside));
        let names: Vec<&str> = all.iter().map(|facts| facts.domain.as_str()).collect();
        assert_eq!(names, ["example.org", "example.net"]);
        for facts in &all {
            assert!(!crate::generate::zone(facts).unwrap().entries.is_empty());
        }
        let servers: Vec<_> = all[0]
            .name_servers
            .iter()
            .map(|s| (&s.ipv4, &s.ipv6))
            .collect();
        assert_eq!(
            format!("{servers:?}"),
            "[([192.0.2.1], [2001:db8::1]), ([192.0.2.1], [2001:db8::2])]"
        );
    }

    #[test]
    fn without_a_second_address_both_name_servers_share_one() {
        let all = facts(&published(), Some(&outside(&["192.0.2.1"], &[])));
        let [one, two] = &all[0].name_servers[..] else {
            panic!("two name servers");
        };
        assert_eq!((&one.ipv4, &one.ipv6), (&two.ipv4, &two.ipv6));
    }

    #[test]
    fn without_a_relay_there_is_a_zone_without_addresses() {
        let all = facts(&published(), None);
        assert!(all[0].ipv4.is_empty() && !all[0].autoconfig);
        assert!(crate::generate::zone(&all[0]).is_ok());
    }
}
