//! Addresses, routes and rules: what goes through the tunnel, and what goes nowhere.
//!
//! | Rule | What it does |
//! |---|---|
//! | TCP to port 25, IPv4: table T | mail leaves by the relay's address, whichever socket sends it |
//! | TCP to port 25, IPv6: unreachable | mail does not leave by IPv6: its addresses have no PTR at EC2 |
//! | from the tunnel's address: table T | answers go back where the question came from |
//!
//! | Route in T | What it does |
//! |---|---|
//! | the relay through the interface, with the tunnel's address as source | gone with the interface |
//! | default through the interface, with the tunnel's address as source | the same; there only while the box may serve ([`crate::holder`]) |
//! | default unreachable, with a worse metric | port 25 fails at once while there is no interface |
//!
//! The rules for port 25 and the unreachable routes are the **guard**. It is set before anything else
//! and outlives the interface, the process and, if so chosen, its end: [`Routing::start`] finds what an
//! earlier run left by the protocol number [`OURS`], adds what is missing first and takes away what
//! is too much after, so that there is no moment without it.
//!
//! The kernel looks at its own table of local addresses before our rules, so the box always reaches its
//! own port 25. Nothing of ours is in the main table.

use crate::config::{Addresses, Config};
use crate::netlink::Netlink;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use netlink_packet_route::{AddressFamily, IpProtocol, RouteNetlinkMessage};
use rustix::io::Errno;
use std::io;
use std::net::IpAddr;

/// Marks routes and rules as ours (`rtm_protocol`, `FRA_PROTOCOL`); nobody is known to use it.
pub const OURS: RouteProtocol = RouteProtocol::Other(82);
/// SMTP (RFC 5321).
const SMTP: u16 = 25;
/// Where our rules stand: behind the kernel's table of local addresses, before its main table.
const MAIL_PRIORITY: u32 = 1000;
const SOURCE_PRIORITY: u32 = 1001;
/// The way through the tunnel comes before the way to nowhere.
const THROUGH_METRIC: u32 = 100;
const NOWHERE_METRIC: u32 = 1000;

/// What failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Fault {
    /// What was tried.
    pub what: String,
    /// What the kernel said.
    pub why: io::Error,
}

fn during<T>(what: impl ToString, result: io::Result<T>) -> Result<T, Fault> {
    result.map_err(|why| Fault {
        what: what.to_string(),
        why,
    })
}

/// What makes a rule the same as another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RuleKey {
    family: AddressFamily,
    priority: Option<u32>,
    action: RuleAction,
    table: Option<u32>,
    source: Option<(IpAddr, u8)>,
    protocol: Option<IpProtocol>,
    port: Option<(u16, u16)>,
}

fn rule_key(rule: &RuleMessage) -> RuleKey {
    let find = |pick: fn(&RuleAttribute) -> Option<u32>| rule.attributes.iter().find_map(pick);
    let goes = rule.header.action == RuleAction::ToTable;
    RuleKey {
        family: rule.header.family,
        priority: find(|a| match a {
            RuleAttribute::Priority(priority) => Some(*priority),
            _ => None,
        }),
        action: rule.header.action,
        table: find(|a| match a {
            RuleAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .filter(|_| goes),
        source: rule.attributes.iter().find_map(|a| match a {
            RuleAttribute::Source(address) => Some((*address, rule.header.src_len)),
            _ => None,
        }),
        protocol: rule.attributes.iter().find_map(|a| match a {
            RuleAttribute::IpProtocol(protocol) => Some(*protocol),
            _ => None,
        }),
        port: rule.attributes.iter().find_map(|a| match a {
            RuleAttribute::DestinationPortRange(range) => Some((range.start, range.end)),
            _ => None,
        }),
    }
}

/// What makes a route the same as another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RouteKey {
    family: AddressFamily,
    table: u32,
    kind: RouteType,
    bits: u8,
    interface: Option<u32>,
    metric: Option<u32>,
}

fn route_key(route: &RouteMessage) -> RouteKey {
    let find = |pick: fn(&RouteAttribute) -> Option<u32>| route.attributes.iter().find_map(pick);
    let through = route.header.kind == RouteType::Unicast;
    RouteKey {
        family: route.header.address_family,
        table: find(|a| match a {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        })
        .unwrap_or(u32::from(route.header.table)),
        kind: route.header.kind,
        bits: route.header.destination_prefix_length,
        // The kernel says that IPv6 routes to nowhere go through the loopback.
        interface: find(|a| match a {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
        .filter(|_| through),
        metric: find(|a| match a {
            RouteAttribute::Priority(metric) => Some(*metric),
            _ => None,
        }),
    }
}

fn is_ours_rule(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Protocol(OURS))
}

const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn rule(family: AddressFamily, action: RuleAction, more: Vec<RuleAttribute>) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = family;
    rule.header.action = action;
    rule.attributes = more;
    rule.attributes.push(RuleAttribute::Protocol(OURS));
    rule
}

/// TCP to port 25.
fn mail_rules(table: u32) -> [RuleMessage; 2] {
    let mail = || {
        vec![
            RuleAttribute::Priority(MAIL_PRIORITY),
            RuleAttribute::IpProtocol(IpProtocol::Tcp),
            RuleAttribute::DestinationPortRange(RulePortRange {
                start: SMTP,
                end: SMTP,
            }),
        ]
    };
    let mut v4 = mail();
    v4.push(RuleAttribute::Table(table));
    [
        rule(AddressFamily::Inet, RuleAction::ToTable, v4),
        rule(AddressFamily::Inet6, RuleAction::Unreachable, mail()),
    ]
}

/// From the tunnel's addresses.
fn source_rules(addresses: &Addresses, table: u32) -> Vec<RuleMessage> {
    addresses
        .iter()
        .map(|address| {
            let attributes = vec![
                RuleAttribute::Priority(SOURCE_PRIORITY),
                RuleAttribute::Source(address),
                RuleAttribute::Table(table),
            ];
            let mut rule = rule(family(address), RuleAction::ToTable, attributes);
            rule.header.src_len = bits(address);
            rule
        })
        .collect()
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn route(family: AddressFamily, table: u32, kind: RouteType, metric: u32) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header = RouteHeader {
        address_family: family,
        table: RouteHeader::RT_TABLE_UNSPEC,
        protocol: OURS,
        scope: RouteScope::Universe,
        kind,
        ..RouteHeader::default()
    };
    route.attributes = vec![
        RouteAttribute::Table(table),
        RouteAttribute::Priority(metric),
    ];
    route
}

/// To nowhere.
fn nowhere_routes(table: u32) -> [RouteMessage; 2] {
    FAMILIES.map(|family| route(family, table, RouteType::Unreachable, NOWHERE_METRIC))
}

/// To the relay through the interface with `index`.
fn relay_route(config: &Config, index: u32) -> Option<RouteMessage> {
    let relay = config.peer_address?;
    let through = through_routes(&config.addresses, config.table, index);
    let mut route = through.into_iter().next()?;
    route.header.destination_prefix_length = 32;
    route
        .attributes
        .push(RouteAttribute::Destination(RouteAddress::Inet(relay)));
    Some(route)
}

/// Through the interface with `index`; IPv4 comes first.
fn through_routes(addresses: &Addresses, table: u32, index: u32) -> Vec<RouteMessage> {
    addresses
        .iter()
        .map(|address| {
            let mut route = route(family(address), table, RouteType::Unicast, THROUGH_METRIC);
            if address.is_ipv4() {
                route.header.scope = RouteScope::Link;
            }
            route.attributes.push(RouteAttribute::Oif(index));
            let source = RouteAddress::from(address);
            route.attributes.push(RouteAttribute::PrefSource(source));
            route
        })
        .collect()
}

/// Sets and removes what is ours.
pub struct Routing {
    netlink: Netlink,
}

impl Routing {
    /// Opens the door to the kernel.
    ///
    /// # Errors
    /// When there is none.
    pub fn new() -> Result<Self, Fault> {
        let netlink = during("open a netlink socket", Netlink::route())?;
        Ok(Self { netlink })
    }

    /// Sets the guard and the rules of the addresses, and removes whatever else an earlier run left,
    /// an interface of the kernel's WireGuard included.
    ///
    /// # Errors
    /// With what the kernel refused; the guard may be incomplete then.
    pub fn start(&mut self, config: &Config) -> Result<(), Fault> {
        self.guard(config.table)?;
        let mut rules = source_rules(&config.addresses, config.table);
        for rule in &rules {
            self.add_rule(rule)?;
        }
        rules.extend(mail_rules(config.table));
        self.sweep(&rules, &nowhere_routes(config.table))?;
        self.remove_wireguard(&config.interface)
    }

    /// Sets the guard alone: no mail leaves, and nothing else changes.
    ///
    /// # Errors
    /// With what the kernel refused; the guard may be incomplete then.
    pub fn guard(&mut self, table: u32) -> Result<(), Fault> {
        for route in &nowhere_routes(table) {
            self.add_route(route)?;
        }
        for rule in &mail_rules(table) {
            self.add_rule(rule)?;
        }
        Ok(())
    }

    /// Gives the interface its addresses, switches it on and leads the way to the relay through it, which
    /// is no way to the internet yet ([`Routing::open`]).
    ///
    /// # Errors
    /// With what the kernel refused.
    pub fn connect(&mut self, config: &Config, mtu: u16) -> Result<u32, Fault> {
        let index = self.index(&config.interface)?;
        for address in config.addresses.iter() {
            self.add_address(index, address)?;
        }
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        link.attributes.push(LinkAttribute::Mtu(u32::from(mtu)));
        let set = self.netlink.request(RouteNetlinkMessage::SetLink(link), 0);
        during(format!("switch {} on", config.interface), set)?;
        if let Some(route) = relay_route(config, index) {
            self.add_route(&route)?;
        }
        Ok(index)
    }

    /// Leads the way to the internet through the interface.
    ///
    /// # Errors
    /// With what the kernel refused.
    pub fn open(&mut self, config: &Config, index: u32) -> Result<(), Fault> {
        for route in through_routes(&config.addresses, config.table, index) {
            self.add_route(&route)?;
        }
        Ok(())
    }

    /// Takes it away again: nothing leaves by the relay, and nothing that came in is answered.
    ///
    /// # Errors
    /// With what the kernel refused.
    pub fn close(&mut self, config: &Config, index: u32) -> Result<(), Fault> {
        for route in through_routes(&config.addresses, config.table, index) {
            let v6 = route.header.address_family == AddressFamily::Inet6;
            let gone = self
                .netlink
                .request(RouteNetlinkMessage::DelRoute(route), 0);
            match gone {
                Err(error) if v6 && no_ipv6(&error) => {}
                gone => self.gone("remove a route", gone)?,
            }
        }
        Ok(())
    }

    /// Changes how long a packet may be.
    ///
    /// # Errors
    /// With what the kernel refused.
    pub fn set_mtu(&mut self, index: u32, mtu: u16) -> Result<(), Fault> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes.push(LinkAttribute::Mtu(u32::from(mtu)));
        let set = self.netlink.request(RouteNetlinkMessage::SetLink(link), 0);
        during(format!("set the MTU to {mtu}"), set)?;
        Ok(())
    }

    /// Removes everything of ours; the guard of `keep`'s table stays. To be called when the
    /// interface is gone.
    ///
    /// # Errors
    /// With what the kernel refused.
    pub fn stop(&mut self, keep: Option<u32>) -> Result<(), Fault> {
        match keep {
            Some(table) => self.sweep(&mail_rules(table), &nowhere_routes(table)),
            None => self.sweep(&[], &[]),
        }
    }

    /// Number of the interface `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn index(&mut self, name: &str) -> Result<u32, Fault> {
        let found = self.link(name)?;
        let gone = || Err(Errno::NODEV.into());
        let index = found.map_or_else(gone, |link| Ok(link.header.index));
        during(format!("find {name}"), index)
    }

    /// Makes an interface of the kernel's WireGuard.
    ///
    /// # Errors
    /// When the kernel has none.
    pub(crate) fn add_wireguard(&mut self, name: &str) -> io::Result<()> {
        let link = wireguard_link(name);
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.netlink
            .request(RouteNetlinkMessage::NewLink(link), flags)?;
        Ok(())
    }

    /// Removes such an interface, if there is one of this name.
    ///
    /// # Errors
    /// With what the kernel refused.
    pub(crate) fn remove_wireguard(&mut self, name: &str) -> Result<(), Fault> {
        let Some(link) = self.link(name)? else {
            return Ok(());
        };
        let kind = LinkInfo::Kind(InfoKind::Wireguard);
        let wireguard = link
            .attributes
            .iter()
            .any(|a| matches!(a, LinkAttribute::LinkInfo(infos) if infos.contains(&kind)));
        if !wireguard {
            return Ok(());
        }
        let mut gone = LinkMessage::default();
        gone.header.index = link.header.index;
        let removed = self.netlink.request(RouteNetlinkMessage::DelLink(gone), 0);
        during(format!("remove {name}"), removed)?;
        Ok(())
    }

    fn link(&mut self, name: &str) -> Result<Option<LinkMessage>, Fault> {
        let mut wanted = LinkMessage::default();
        wanted.attributes.push(LinkAttribute::IfName(name.into()));
        let found = self
            .netlink
            .request(RouteNetlinkMessage::GetLink(wanted), 0);
        let found = match found {
            Err(error) if is(&error, Errno::NODEV) => return Ok(None),
            found => during(format!("look for {name}"), found)?,
        };
        Ok(found.into_iter().find_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        }))
    }

    fn add_address(&mut self, index: u32, address: IpAddr) -> Result<(), Fault> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = bits(address);
        message.header.index = index;
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
            // Nobody else is on this link to ask; and no route into the main table.
            AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute),
        ];
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        let added = self
            .netlink
            .request(RouteNetlinkMessage::NewAddress(message), flags);
        self.there(format!("add the address {address}"), family(address), added)
    }

    fn add_rule(&mut self, rule: &RuleMessage) -> Result<(), Fault> {
        let message = RouteNetlinkMessage::NewRule(rule.clone());
        let added = self.netlink.request(message, NLM_F_CREATE | NLM_F_EXCL);
        self.there("add a rule", rule.header.family, added)
    }

    fn add_route(&mut self, route: &RouteMessage) -> Result<(), Fault> {
        let message = RouteNetlinkMessage::NewRoute(route.clone());
        let added = self.netlink.request(message, NLM_F_CREATE | NLM_F_EXCL);
        self.there("add a route", route.header.address_family, added)
    }

    /// Being there already is as good; and a kernel without IPv6 has nothing to guard there.
    fn there(
        &mut self,
        what: impl ToString,
        family: AddressFamily,
        added: io::Result<Vec<RouteNetlinkMessage>>,
    ) -> Result<(), Fault> {
        match added {
            Err(error) if is(&error, Errno::EXIST) => Ok(()),
            Err(error) if family == AddressFamily::Inet6 && no_ipv6(&error) => Ok(()),
            added => during(format!("{} ({family:?})", what.to_string()), added).map(|_| ()),
        }
    }

    fn sweep(&mut self, rules: &[RuleMessage], routes: &[RouteMessage]) -> Result<(), Fault> {
        let keep: Vec<RuleKey> = rules.iter().map(rule_key).collect();
        let mut kept: Vec<RuleKey> = Vec::new();
        for rule in self.our_rules()? {
            let key = rule_key(&rule);
            if keep.contains(&key) && !kept.contains(&key) {
                kept.push(key);
                continue;
            }
            let gone = self.netlink.request(RouteNetlinkMessage::DelRule(rule), 0);
            self.gone("remove a rule", gone)?;
        }
        let keep: Vec<RouteKey> = routes.iter().map(route_key).collect();
        for route in self.our_routes()? {
            if keep.contains(&route_key(&route)) {
                continue;
            }
            let gone = self
                .netlink
                .request(RouteNetlinkMessage::DelRoute(route), 0);
            self.gone("remove a route", gone)?;
        }
        Ok(())
    }

    /// Being gone already is as good.
    fn gone(
        &mut self,
        what: &str,
        gone: io::Result<Vec<RouteNetlinkMessage>>,
    ) -> Result<(), Fault> {
        match gone {
            Err(error) if is(&error, Errno::NOENT) || is(&error, Errno::SRCH) => Ok(()),
            gone => during(what, gone).map(|_| ()),
        }
    }

    fn our_rules(&mut self) -> Result<Vec<RuleMessage>, Fault> {
        let mut ours = Vec::new();
        for family in FAMILIES {
            let mut all = RuleMessage::default();
            all.header.family = family;
            for message in self.dump("list the rules", RouteNetlinkMessage::GetRule(all))? {
                if let RouteNetlinkMessage::NewRule(rule) = message
                    && rule.header.family == family
                    && is_ours_rule(&rule)
                {
                    ours.push(rule);
                }
            }
        }
        Ok(ours)
    }

    fn our_routes(&mut self) -> Result<Vec<RouteMessage>, Fault> {
        let mut ours = Vec::new();
        for family in FAMILIES {
            let mut all = RouteMessage::default();
            all.header.address_family = family;
            for message in self.dump("list the routes", RouteNetlinkMessage::GetRoute(all))? {
                if let RouteNetlinkMessage::NewRoute(route) = message
                    && route.header.address_family == family
                    && route.header.protocol == OURS
                {
                    ours.push(route);
                }
            }
        }
        Ok(ours)
    }

    fn dump(
        &mut self,
        what: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, Fault> {
        match self.netlink.request(message, NLM_F_DUMP) {
            Err(error) if no_ipv6(&error) => Ok(Vec::new()),
            found => during(what, found),
        }
    }
}

/// An interface of the kernel's WireGuard.
fn wireguard_link(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]),
    ];
    link
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// Not compiled in, or switched off.
fn no_ipv6(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::OPNOTSUPP, Errno::ACCESS]
        .into_iter()
        .any(|errno| is(error, errno))
}
