//! The back end that lets the kernel's WireGuard encrypt. What is said to it over generic netlink is
//! made and read here; the interface itself is [`crate::routing`]'s to make.
//!
//! The kernel does not ask by itself whether a silent relay is there, and measures nothing, so there
//! are no round trips, losses and rejected datagrams in its [`Health`], and the MTU is the careful one
//! or the owner's.

use crate::backend::{Backend, Health};
use crate::config::Config;
use crate::keys::{PrivateKey, PublicKey};
use crate::netlink::Netlink;
use crate::routing::Routing;
use netlink_packet_core::{NLM_F_DUMP, NetlinkDeserializable, NetlinkSerializable};
use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute,
    WireguardCmd, WireguardDeviceFlags, WireguardMessage, WireguardPeer, WireguardPeerAttribute,
    WireguardPeerFlags,
};
use roost_service::tunnel::{Backend as Name, Traffic};
use rustix::io::Errno;
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Name of the generic netlink family (`linux/wireguard.h`).
const FAMILY: &str = "wireguard";
/// Keys older than this are not used (REJECT_AFTER_TIME): nobody was heard for as long.
const DOWN: Duration = Duration::from_secs(180);

/// The back end. The interface goes with this value; after a crash it stays, and the next start
/// removes it.
pub struct Kernel {
    netlink: Netlink,
    family: u16,
    interface: String,
    peer: PublicKey,
}

impl Kernel {
    /// Makes the interface and tells the kernel the keys.
    ///
    /// # Errors
    /// When the kernel has no WireGuard, or refuses.
    pub fn new(config: &Config, key: &PrivateKey) -> io::Result<Self> {
        let mut routing = Routing::new().map_err(io::Error::other)?;
        routing
            .add_wireguard(&config.interface)
            .map_err(|error| without_module(&config.interface, error))?;
        // From here on, dropping it removes the interface.
        let mut kernel = Self {
            netlink: Netlink::generic()?,
            family: 0,
            interface: config.interface.clone(),
            peer: config.peer,
        };
        kernel.family = family(&mut kernel.netlink)?;
        kernel.set(device(config, key))?;
        Ok(kernel)
    }

    fn set(&mut self, message: WireguardMessage) -> io::Result<()> {
        self.request(message, 0).map(|_| ())
    }

    fn request(
        &mut self,
        message: WireguardMessage,
        flags: u16,
    ) -> io::Result<Vec<GenlMessage<WireguardMessage>>> {
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        request(&mut self.netlink, message, flags)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let removed = Routing::new().and_then(|mut r| r.remove_wireguard(&self.interface));
        if let Err(fault) = removed {
            eprintln!("tunnel: {fault}");
        }
    }
}

fn request<T: NetlinkSerializable + NetlinkDeserializable>(
    netlink: &mut Netlink,
    message: T,
    flags: u16,
) -> io::Result<Vec<T>> {
    netlink.request(message, flags)
}

fn without_module(interface: &str, error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) {
        let why =
            "this kernel has no WireGuard: load its module, or set `backend` to \"userspace\"";
        return io::Error::new(io::ErrorKind::Unsupported, why);
    }
    io::Error::new(
        error.kind(),
        format!("make the interface {interface}: {error}"),
    )
}

/// Number of the family in this kernel.
fn family(netlink: &mut Netlink) -> io::Result<u16> {
    let question = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: vec![GenlCtrlAttrs::FamilyName(FAMILY.into())],
    });
    let answers = request(netlink, question, 0)?;
    let id = answers
        .iter()
        .flat_map(|answer| &answer.payload.nlas)
        .find_map(|attribute| match attribute {
            GenlCtrlAttrs::FamilyId(id) => Some(*id),
            _ => None,
        });
    id.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "the kernel has no WireGuard"))
}

/// What the kernel has to know at the start.
fn device(config: &Config, key: &PrivateKey) -> WireguardMessage {
    let everything = |address: IpAddr| {
        let family = match address {
            IpAddr::V4(_) => WireguardAddressFamily::Ipv4,
            IpAddr::V6(_) => WireguardAddressFamily::Ipv6,
        };
        WireguardAllowedIp(vec![
            WireguardAllowedIpAttr::Family(family),
            WireguardAllowedIpAttr::IpAddr(address),
            WireguardAllowedIpAttr::Cidr(0),
        ])
    };
    let peer = WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey(config.peer.bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
        WireguardPeerAttribute::PersistentKeepalive(config.keepalive_s),
        WireguardPeerAttribute::AllowedIps(vec![
            everything(Ipv4Addr::UNSPECIFIED.into()),
            everything(Ipv6Addr::UNSPECIFIED.into()),
        ]),
    ]);
    WireguardMessage {
        cmd: WireguardCmd::SetDevice,
        attributes: vec![
            WireguardAttribute::IfName(config.interface.clone()),
            WireguardAttribute::PrivateKey(*key.bytes()),
            WireguardAttribute::ListenPort(config.listen_port),
            WireguardAttribute::Flags(WireguardDeviceFlags::ReplacePeers),
            WireguardAttribute::Peers(vec![peer]),
        ],
    }
}

/// Where the relay is.
fn endpoint(interface: &str, peer: PublicKey, endpoint: SocketAddr) -> WireguardMessage {
    WireguardMessage {
        cmd: WireguardCmd::SetDevice,
        attributes: vec![
            WireguardAttribute::IfName(interface.into()),
            WireguardAttribute::Peers(vec![WireguardPeer(vec![
                WireguardPeerAttribute::PublicKey(peer.bytes()),
                WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
                WireguardPeerAttribute::Endpoint(endpoint),
            ])]),
        ],
    }
}

/// What the kernel says of the peer, at the time `now`.
fn health(messages: &[WireguardMessage], peer: PublicKey, now: Duration) -> Option<Health> {
    let attributes = messages
        .iter()
        .flat_map(|message| &message.attributes)
        .filter_map(|attribute| match attribute {
            WireguardAttribute::Peers(peers) => Some(peers),
            _ => None,
        })
        .flatten()
        .find(|p| p.contains(&WireguardPeerAttribute::PublicKey(peer.bytes())))?;
    let mut health = Health::default();
    for attribute in attributes.iter() {
        match attribute {
            WireguardPeerAttribute::Endpoint(endpoint) => health.endpoint = Some(*endpoint),
            WireguardPeerAttribute::RxBytes(bytes) => health.received = traffic(*bytes),
            WireguardPeerAttribute::TxBytes(bytes) => health.sent = traffic(*bytes),
            WireguardPeerAttribute::LastHandshake(time) => {
                // Zero: never.
                let at = u64::try_from(time.seconds).ok().filter(|s| *s > 0);
                let age = at.map(|s| now.saturating_sub(Duration::from_secs(s)));
                health.handshake_age = age;
                health.up = age.is_some_and(|age| age < DOWN);
            }
            _ => {}
        }
    }
    Some(health)
}

fn traffic(bytes: u64) -> Traffic {
    Traffic {
        bytes,
        packets: None,
    }
}

impl Backend for Kernel {
    const NAME: Name = Name::Kernel;

    async fn drive(&mut self) -> io::Error {
        pending().await
    }

    fn set_endpoint(&mut self, to: SocketAddr) -> io::Result<()> {
        self.set(endpoint(&self.interface, self.peer, to))
    }

    fn health(&mut self) -> io::Result<Health> {
        let question = WireguardMessage {
            cmd: WireguardCmd::GetDevice,
            attributes: vec![WireguardAttribute::IfName(self.interface.clone())],
        };
        let answers = self.request(question, NLM_F_DUMP)?;
        let messages: Vec<_> = answers.into_iter().map(|answer| answer.payload).collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the kernel has lost the relay");
        health(&messages, self.peer, now).ok_or_else(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use netlink_packet_core::{Emitable, ParseableParametrized};
    use netlink_packet_generic::GenlHeader;
    use netlink_packet_wireguard::WireguardTimeSpec;

    fn config() -> Config {
        let json = r#"{
            "relay": {
                "public_key": "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=",
                "endpoint": "192.0.2.1:51820"
            },
            "address4": "10.82.0.2", "backend": "kernel", "listen_port": 7
        }"#;
        config::parse(json.as_bytes()).unwrap()
    }

    /// As the kernel would read it.
    fn read(message: &WireguardMessage) -> WireguardMessage {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let header = GenlHeader {
            cmd: message.cmd.into(),
            version: 1,
        };
        WireguardMessage::parse_with_param(&bytes, header).unwrap()
    }

    #[test]
    fn the_kernel_reads_what_is_meant() {
        let key = PrivateKey::make().unwrap();
        let set = device(&config(), &key);
        assert_eq!(read(&set), set);
        assert!(
            set.attributes
                .contains(&WireguardAttribute::PrivateKey(*key.bytes()))
        );
        let to = "[2001:db8::1]:51820".parse().unwrap();
        let moved = endpoint("relay", config().peer, to);
        assert_eq!(read(&moved), moved);
    }

    #[test]
    fn the_kernels_figures_are_read() {
        let peer = config().peer;
        let seen = "192.0.2.9:51820".parse().unwrap();
        let other = PrivateKey::make().unwrap().public();
        let says = |seconds, key: PublicKey| WireguardMessage {
            cmd: WireguardCmd::GetDevice,
            attributes: vec![WireguardAttribute::Peers(vec![WireguardPeer(vec![
                WireguardPeerAttribute::PublicKey(key.bytes()),
                WireguardPeerAttribute::Endpoint(seen),
                WireguardPeerAttribute::LastHandshake(WireguardTimeSpec {
                    seconds,
                    nano_seconds: 5,
                }),
                WireguardPeerAttribute::RxBytes(10),
                WireguardPeerAttribute::TxBytes(20),
            ])])],
        };
        let now = Duration::from_secs(1000);
        let up = health(&[says(1, other), says(900, peer)], peer, now).unwrap();
        assert_eq!((up.up, up.endpoint), (true, Some(seen)));
        assert_eq!(up.handshake_age, Some(Duration::from_secs(100)));
        assert_eq!((up.received.bytes, up.sent.bytes), (10, 20));
        assert!(!health(&[says(800, peer)], peer, now).unwrap().up);
        let never = health(&[says(0, peer)], peer, now).unwrap();
        assert_eq!((never.up, never.handshake_age), (false, None));
        assert_eq!(health(&[says(900, other)], peer, now), None);
    }
}
