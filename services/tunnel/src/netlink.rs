//! Asking the kernel over netlink: one request, and all of its answers (RFC 3549).
//!
//! Requests are rare and the kernel answers while it takes them, so this waits in place. The messages
//! themselves are `netlink-packet-*`'s.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr, protocols};
use std::io;

/// Netlink messages begin at multiples of this, in bytes.
const ALIGN: usize = 4;

/// A netlink socket.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// For links, addresses, routes and rules.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn route() -> io::Result<Self> {
        Self::open(protocols::NETLINK_ROUTE)
    }

    /// For WireGuard, among others.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn generic() -> io::Result<Self> {
        Self::open(protocols::NETLINK_GENERIC)
    }

    fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends `message` with `flags` besides those that every request has, and waits for the end of
    /// what the kernel says to it.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn request<T>(&mut self, message: T, flags: u16) -> io::Result<Vec<T>>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let payload = NetlinkPayload::InnerMessage(message);
        let mut request = NetlinkMessage::new(NetlinkHeader::default(), payload);
        // A dump ends with a message of its own.
        let dump = flags & NLM_F_DUMP == NLM_F_DUMP;
        let end = if dump { 0 } else { NLM_F_ACK };
        request.header.flags = NLM_F_REQUEST | flags | end;
        request.header.sequence_number = self.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            if read(&bytes, self.sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Reads the messages of one datagram that belong to `sequence`. `true`: there are no more.
fn read<T: NetlinkDeserializable>(
    mut bytes: &[u8],
    sequence: u32,
    answers: &mut Vec<T>,
) -> io::Result<bool> {
    let other = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    while !bytes.is_empty() {
        let message = NetlinkMessage::<T>::deserialize(bytes).map_err(other)?;
        let length = message.header.length as usize;
        let next = length.next_multiple_of(ALIGN).min(bytes.len());
        if length == 0 {
            return Err(other(netlink_packet_core::DecodeError::from(
                "a message of no length",
            )));
        }
        bytes = &bytes[next..];
        // Left from a request that failed half way.
        if message.header.sequence_number != sequence {
            continue;
        }
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => {
                return match error.code {
                    None => Ok(true),
                    Some(_) => Err(error.to_io()),
                };
            }
            NetlinkPayload::InnerMessage(answer) => answers.push(answer),
            _ => {}
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::link::LinkMessage;
    use proptest::prelude::*;

    #[test]
    fn links_are_listed_and_a_fault_is_an_error() {
        let mut netlink = Netlink::route().unwrap();
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        assert!(!netlink.request(all, NLM_F_DUMP).unwrap().is_empty());
        let mut none = LinkMessage::default();
        none.header.index = 0x7fff_fff0;
        let error = netlink
            .request(RouteNetlinkMessage::GetLink(none), 0)
            .unwrap_err();
        let code = rustix::io::Errno::NODEV.raw_os_error();
        assert_eq!(error.raw_os_error(), Some(code));
        // The socket is of use after a fault.
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        assert!(!netlink.request(all, NLM_F_DUMP).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<RouteNetlinkMessage>(&bytes, 1, &mut Vec::new());
        }
    }
}
