//! The box's one wired interface: which it is and what address it has.
//! Decides; [`crate::pid1`] sends, opens and writes.
//!
//! The kernel announces changes, but drops announcements when many come at
//! once. What is there is therefore asked for at the start and after every
//! loss: first all interfaces, and when that list is complete, all addresses.
//!
//! Which address the box shall have may stand on the data partition, which is
//! still being checked when the interface appears. Until [`Network::configure`]
//! says it, the interface is switched on, because the cable's other end needs
//! seconds to answer, and nothing is sent.

use crate::dhcp::Grant;
use crate::lease::{self, Lease};
use crate::netlink::{self, Event, Link};
use roost_service::settings::Network as Settings;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Where the resolvers that the network has named are written; the box's own resolver reads it.
pub const RESOLV_CONF: &str = "/run/network/resolv.conf";
/// Addresses kept for the status; a home network gives a handful.
const MAX_ADDRESSES: usize = 16;

/// First wait before a refused request is made again; it doubles up to [`LAST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// Longest such wait: a driver may need its firmware, a person or another try.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send to the routing netlink socket.
    Netlink(Vec<u8>),
    /// Open the DHCP socket on the interface of this name.
    OpenDhcp(String),
    /// Close it.
    CloseDhcp,
    /// Send a DHCP message to this address.
    Dhcp(Ipv4Addr, Vec<u8>),
    /// Write [`RESOLV_CONF`].
    Resolvers(String),
    /// Tell the log.
    Log(String),
    /// The box can reach others now (or again).
    Online,
}

#[derive(Debug)]
struct Interface {
    link: Link,
    lease: Option<Lease>,
    /// Fixed addresses were given to it.
    configured: bool,
    /// [`Action::Online`] was told since the cable was last put in.
    online: bool,
    switch_on: Request,
}

/// A request to the kernel that is made again for as long as it is refused.
#[derive(Debug, Default)]
struct Request {
    sequence: u32,
    refusals: u32,
    /// When it is made again.
    again: Option<Duration>,
}

impl Request {
    /// The message for this request, which counts as made.
    fn make(&mut self, sequence: u32, message: impl FnOnce(u32) -> Vec<u8>) -> Action {
        (self.sequence, self.again) = (sequence, None);
        Action::Netlink(message(sequence))
    }

    /// Takes note of a refusal, if it is one of this request.
    fn refused(&mut self, now: Duration, sequence: u32) {
        if self.sequence == sequence {
            let wait = FIRST_RETRY.saturating_mul(1 << self.refusals.min(16));
            self.again = Some(now + wait.min(LAST_RETRY));
            self.refusals = self.refusals.saturating_add(1);
        }
    }

    fn is_due(&self, now: Duration) -> bool {
        self.again.is_some_and(|again| again <= now)
    }
}

/// Set-up of the network.
#[derive(Debug)]
pub struct Network {
    /// Not known until the data is mounted, or cannot be.
    settings: Option<Settings>,
    name: String,
    interface: Option<Interface>,
    addresses: BTreeSet<(IpAddr, u8)>,
    /// The list of all interfaces.
    links: Request,
    /// The interface has not been seen in the list that is under way.
    missing: bool,
    sequence: u32,
    random: u32,
}

impl Network {
    /// A network that gives nobody an address yet; `random` makes the DHCP transaction id.
    pub fn new(random: u32) -> Self {
        Self {
            settings: None,
            name: String::new(),
            interface: None,
            addresses: BTreeSet::new(),
            links: Request::default(),
            missing: false,
            sequence: 0,
            random,
        }
    }

    /// Says how the box gets its address, and its host name, which is told to the DHCP server.
    /// Counts once: later calls change nothing.
    pub fn configure(&mut self, now: Duration, settings: Settings, name: &str) -> Vec<Action> {
        if self.settings.is_some() {
            return Vec::new();
        }
        self.settings = Some(settings);
        name.clone_into(&mut self.name);
        self.give_address(now)
    }

    /// Asks the kernel what there is: at first, and when announcements were lost.
    pub fn start(&mut self) -> Vec<Action> {
        self.missing = true;
        let sequence = self.next();
        vec![self.links.make(sequence, netlink::get_links)]
    }

    /// Addresses of the box as `address/prefix`.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses
            .iter()
            .map(|(address, prefix)| format!("{address}/{prefix}"))
            .collect()
    }

    /// The interface that needs a DHCP socket.
    pub fn dhcp_interface(&self) -> Option<&str> {
        let interface = self.interface.as_ref()?;
        interface.lease.as_ref()?;
        Some(&interface.link.name)
    }

    /// When [`Network::tick`] is due next.
    pub fn deadline(&self) -> Option<Duration> {
        let interface = self.interface.as_ref();
        let lease = interface.and_then(|i| i.lease.as_ref());
        let dates = [
            lease.map(Lease::deadline),
            interface.and_then(|i| i.switch_on.again),
            self.links.again,
        ];
        dates.into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let actions = self
            .lease()
            .map(|lease| lease.tick(now))
            .unwrap_or_default();
        let mut actions = self.after_lease(actions);
        if self
            .interface
            .as_ref()
            .is_some_and(|i| i.switch_on.is_due(now))
        {
            actions.extend(self.switch_on());
        }
        if self.links.is_due(now) {
            actions.extend(self.start());
        }
        actions
    }

    /// Takes a datagram from the DHCP socket.
    pub fn receive(&mut self, now: Duration, bytes: &[u8]) -> Vec<Action> {
        let actions = self
            .lease()
            .map(|lease| lease.receive(now, bytes))
            .unwrap_or_default();
        self.after_lease(actions)
    }

    /// Takes what the kernel says. `wired` tells whether the interface of
    /// that name is a real wired one.
    pub fn handle(
        &mut self,
        now: Duration,
        event: Event,
        wired: impl Fn(&str) -> bool,
    ) -> Vec<Action> {
        match event {
            Event::Link(link) => self.link(now, link, wired),
            Event::LinkGone(index) if self.is_ours(index) => self.gone(),
            Event::LinkGone(_) => Vec::new(),
            Event::Listed(sequence) if sequence == self.links.sequence => {
                self.links.refusals = 0;
                if self.missing && self.interface.is_some() {
                    return self.gone();
                }
                // What was lost may have been the end of an address.
                self.addresses.clear();
                let addresses = netlink::get_addresses(self.next());
                vec![Action::Netlink(addresses)]
            }
            Event::Listed(_) => Vec::new(),
            Event::Address(index, address, prefix) => {
                if self.is_ours(index) && self.addresses.len() < MAX_ADDRESSES {
                    self.addresses.insert((address, prefix));
                }
                Vec::new()
            }
            Event::AddressGone(index, address, prefix) => {
                if self.is_ours(index) {
                    self.addresses.remove(&(address, prefix));
                }
                Vec::new()
            }
            Event::Refused(sequence, errno) => {
                self.links.refused(now, sequence);
                if let Some(interface) = &mut self.interface {
                    interface.switch_on.refused(now, sequence);
                }
                vec![Action::Log(format!(
                    "the kernel refuses a network setting (error {errno})"
                ))]
            }
        }
    }

    fn gone(&mut self) -> Vec<Action> {
        self.addresses.clear();
        let gone = self.interface.take();
        let name = gone.map(|i| i.link.name).unwrap_or_default();
        let mut actions = vec![
            Action::CloseDhcp,
            Action::Log(format!("network interface {name} is gone")),
        ];
        // Another interface may take over: look at all again.
        actions.extend(self.start());
        actions
    }

    fn switch_on(&mut self) -> Option<Action> {
        let sequence = self.next();
        let interface = self.interface.as_mut()?;
        let index = interface.link.index;
        let message = |sequence| netlink::link_up(sequence, index);
        Some(interface.switch_on.make(sequence, message))
    }

    fn link(&mut self, now: Duration, link: Link, wired: impl Fn(&str) -> bool) -> Vec<Action> {
        if link.mac.is_none() {
            return Vec::new();
        }
        match &mut self.interface {
            None if wired(&link.name) => {
                let mut actions = vec![Action::Log(format!("network interface {}", link.name))];
                self.interface = Some(Interface {
                    link,
                    lease: None,
                    configured: false,
                    online: false,
                    switch_on: Request::default(),
                });
                self.missing = false;
                actions.extend(self.switch_on());
                actions.extend(self.give_address(now));
                actions
            }
            Some(interface) if interface.link.index == link.index => {
                let came_back = link.carrier && !interface.link.carrier;
                self.missing = false;
                interface.link = link;
                if interface.link.up {
                    (interface.switch_on.again, interface.switch_on.refusals) = (None, 0);
                }
                if !came_back {
                    return Vec::new();
                }
                interface.online = false;
                if let Some(lease) = &mut interface.lease {
                    lease.link_is_back(now);
                }
                let mut actions = self.tick(now);
                // The kernel drops IPv4 routes of a link that went down administratively only,
                // but asking again costs nothing.
                actions.extend(self.fixed_addresses());
                actions
            }
            _ => Vec::new(),
        }
    }

    /// Begins with what the settings say, once both they and the interface are known.
    fn give_address(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(interface) = &mut self.interface
            && self.settings == Some(Settings::Dhcp)
            && let Some(mac) = interface.link.mac
        {
            actions.push(Action::OpenDhcp(interface.link.name.clone()));
            interface.lease = Some(Lease::new(mac, &self.name, self.random, now));
        }
        actions.extend(self.fixed_addresses());
        actions
    }

    /// Fixed addresses, once the interface is known.
    fn fixed_addresses(&mut self) -> Vec<Action> {
        let Some(Settings::Static {
            address,
            prefix,
            gateway,
            dns,
            address6,
        }) = self.settings.clone()
        else {
            return Vec::new();
        };
        let Some(interface) = &mut self.interface else {
            return Vec::new();
        };
        let index = interface.link.index;
        let first = !std::mem::replace(&mut interface.configured, true);
        let online = interface.link.carrier && !std::mem::replace(&mut interface.online, true);
        let mut actions = vec![Action::Netlink(netlink::add_address(
            self.next(),
            index,
            address.into(),
            prefix,
            None,
        ))];
        if let Some((address6, prefix6)) = address6 {
            let message = netlink::add_address(self.next(), index, address6.into(), prefix6, None);
            actions.push(Action::Netlink(message));
        }
        actions.push(Action::Netlink(netlink::default_route(
            self.next(),
            index,
            gateway,
        )));
        if first {
            actions.push(Action::Resolvers(resolv_conf(&dns, None)));
            actions.push(Action::Log(format!("address {address}/{prefix} (fixed)")));
        }
        if online {
            actions.push(Action::Online);
        }
        actions
    }

    fn after_lease(&mut self, actions: Vec<lease::Action>) -> Vec<Action> {
        let Some(interface) = &self.interface else {
            return Vec::new();
        };
        let index = interface.link.index;
        let mut out = Vec::new();
        for action in actions {
            match action {
                lease::Action::Send(to, bytes) => out.push(Action::Dhcp(to, bytes)),
                lease::Action::Bind(grant) => self.bind(index, &grant, &mut out),
                lease::Action::Unbind(grant) => {
                    let address = grant.address.into();
                    let message =
                        netlink::delete_address(self.next(), index, address, grant.prefix);
                    out.push(Action::Netlink(message));
                    out.push(Action::Log(format!("address {} is lost", grant.address)));
                }
            }
        }
        out
    }

    fn bind(&mut self, index: u32, grant: &Grant, out: &mut Vec<Action>) {
        let address = IpAddr::V4(grant.address);
        let lifetime = (grant.lease_s != u32::MAX).then_some(grant.lease_s);
        let known = self.addresses.contains(&(address, grant.prefix));
        let message = netlink::add_address(self.next(), index, address, grant.prefix, lifetime);
        out.push(Action::Netlink(message));
        if let Some(router) = grant.router {
            out.push(Action::Netlink(netlink::default_route(
                self.next(),
                index,
                router,
            )));
        }
        let dns: Vec<IpAddr> = grant.dns.iter().copied().map(IpAddr::V4).collect();
        out.push(Action::Resolvers(resolv_conf(
            &dns,
            grant.domain.as_deref(),
        )));
        if !known {
            out.push(Action::Log(format!(
                "address {address}/{} from {}",
                grant.prefix, grant.server
            )));
        }
        let told = self
            .interface
            .as_mut()
            .map(|i| std::mem::replace(&mut i.online, true));
        if !known || told == Some(false) {
            out.push(Action::Online);
        }
    }

    fn is_ours(&self, index: u32) -> bool {
        self.interface
            .as_ref()
            .is_some_and(|interface| interface.link.index == index)
    }

    fn lease(&mut self) -> Option<&mut Lease> {
        self.interface.as_mut()?.lease.as_mut()
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// Text of [`RESOLV_CONF`] (resolv.conf(5)).
fn resolv_conf(dns: &[IpAddr], domain: Option<&str>) -> String {
    let mut text = String::new();
    for address in dns {
        let _ = writeln!(text, "nameserver {address}");
    }
    if let Some(domain) = domain {
        let _ = writeln!(text, "search {domain}");
    }
    // Two tries of two seconds: a dead resolver must not hold a mail session long.
    text.push_str("options timeout:2 attempts:2 edns0\n");
    text
}

#[cfg(test)]
#[path = "network_tests.rs"]
mod tests;
