//! The UDP socket: one for both families, many datagrams a call (`quinn-udp`).
//!
//! [`Outbox`] collects datagrams of one length to one address, which the kernel takes as one and cuts
//! at the last moment. Fragments are forbidden; [`crate::probe`] finds what length passes.

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Buffers of one read. Each takes up to 64 datagrams of one sender.
const READS: usize = 8;
/// Bytes of each.
const READ: usize = 65535;
/// Bytes of the kernel's queues, both ways: a tenth of a second at 200 Mbit/s. The kernel may give less.
const QUEUE: usize = 2 << 20;
/// Longest that one call may send, in bytes: the kernel's limit, less headers.
const MAX_SEND: usize = 65000;
/// Batches that may wait for the socket. More are dropped: what waits longer is late anyway.
const MAX_WAITING: usize = 64;

/// The socket.
pub struct Udp {
    socket: UdpSocket,
    state: UdpSocketState,
    both: bool,
    buffers: Vec<Vec<u8>>,
}

impl Udp {
    /// Opens it on `port`, 0 for any. On a box without IPv6 it has IPv4 only.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn bind(port: u16) -> io::Result<Self> {
        let (socket, both) = match dual(port) {
            Ok(socket) => (socket, true),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(_) => {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
                socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
                (socket, false)
            }
        };
        socket.set_nonblocking(true)?;
        // With `CAP_NET_ADMIN` in the first namespace as much as asked for, else what is allowed.
        if set_socket_recv_buffer_size_force(&socket, QUEUE).is_err() {
            let _ = socket.set_recv_buffer_size(QUEUE);
        }
        let _ = socket.set_send_buffer_size(QUEUE);
        let socket = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket,
            state,
            both,
            buffers: vec![vec![0; READ]; READS],
        })
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// None that is known.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// Waits until something can be sent.
    ///
    /// # Errors
    /// None that is known.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// One read; calls `each` with every datagram and its sender. `false`: there was nothing.
    pub fn read(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) -> bool {
        let mut metas = [RecvMeta::default(); READS];
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; READS] = std::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().map_or(&mut [], |b| &mut b[..]))
        });
        let (socket, state) = (&self.socket, &self.state);
        let read = socket.try_io(Interest::READABLE, || {
            state.recv(UdpSockRef::from(socket), &mut slices, &mut metas)
        });
        match read {
            Ok(count) => {
                for (buffer, meta) in self.buffers.iter().zip(metas).take(count) {
                    let from = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
                    let stride = meta.stride.max(1);
                    buffer[..meta.len]
                        .chunks(stride)
                        .for_each(|datagram| each(from, datagram));
                }
                true
            }
            // Errors are those of datagrams sent earlier.
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Sends what waits, until the kernel takes no more.
    pub fn flush(&self, outbox: &mut Outbox) {
        while let Some(batch) = outbox.waiting.front() {
            let sent = self.send(batch, batch.segment);
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Some interfaces cannot cut datagrams apart.
                Err(_) if batch.bytes.len() > batch.segment => {
                    for datagram in batch.bytes.chunks(batch.segment) {
                        let one = Send {
                            to: batch.to,
                            segment: datagram.len(),
                            bytes: datagram,
                        };
                        outbox.fault = self.transmit(&one).err().map(|error| error.to_string());
                    }
                }
                result => outbox.fault = result.err().map(|error| error.to_string()),
            }
            outbox.recycle();
        }
    }

    fn send(&self, batch: &Bytes, segment: usize) -> io::Result<()> {
        self.transmit(&Send {
            to: batch.to,
            segment,
            bytes: &batch.bytes,
        })
    }

    fn transmit(&self, send: &Send<'_>) -> io::Result<()> {
        let destination = match send.to.ip() {
            IpAddr::V4(v4) if self.both => {
                SocketAddr::new(v4.to_ipv6_mapped().into(), send.to.port())
            }
            _ => send.to,
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: send.bytes,
            segment_size: (send.bytes.len() > send.segment).then_some(send.segment),
            src_ip: None,
        };
        let (socket, state) = (&self.socket, &self.state);
        socket.try_io(Interest::WRITABLE, || {
            state.try_send(UdpSockRef::from(socket), &transmit)
        })
    }

    /// Datagrams that one call may send.
    pub fn segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// The port.
    ///
    /// # Errors
    /// None that is known.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }
}

fn dual(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(false)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    Ok(socket)
}

struct Send<'a> {
    to: SocketAddr,
    segment: usize,
    bytes: &'a [u8],
}

/// Datagrams to one address: all of `segment` bytes, but for a shorter last one.
struct Bytes {
    to: SocketAddr,
    segment: usize,
    bytes: Vec<u8>,
    closed: bool,
}

/// Datagrams that wait for the socket.
#[derive(Default)]
pub struct Outbox {
    waiting: VecDeque<Bytes>,
    free: Vec<Vec<u8>>,
    /// Why the last datagram could not be sent, if it could not.
    pub fault: Option<String>,
    /// Datagrams that found no place.
    pub dropped: u64,
}

impl Outbox {
    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a datagram; at most `segments` go out with one call.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8], segments: usize) {
        if let Some(last) = self.waiting.back_mut()
            && last.takes(to, datagram.len(), segments)
        {
            last.closed = datagram.len() < last.segment;
            last.bytes.extend_from_slice(datagram);
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.dropped += 1;
            return;
        }
        let mut bytes = self.free.pop().unwrap_or_default();
        bytes.extend_from_slice(datagram);
        self.waiting.push_back(Bytes {
            to,
            segment: datagram.len(),
            bytes,
            closed: false,
        });
    }

    fn recycle(&mut self) {
        if let Some(batch) = self.waiting.pop_front() {
            let mut bytes = batch.bytes;
            bytes.clear();
            self.free.push(bytes);
        }
    }
}

impl Bytes {
    fn takes(&self, to: SocketAddr, length: usize, segments: usize) -> bool {
        !self.closed
            && self.to == to
            && length <= self.segment
            && self.bytes.len() + length <= MAX_SEND
            && self.bytes.len() / self.segment.max(1) < segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    proptest! {
        /// Cut where the kernel would cut, the batches give what was put in, in order.
        #[test]
        fn batches_are_cut_into_what_they_were_made_of(
            datagrams in proptest::collection::vec((1u16..3, prop_oneof![Just(1452usize), 1..1500usize]), 0..200),
            segments in 1usize..65,
        ) {
            let mut outbox = Outbox::default();
            let put: Vec<_> = datagrams
                .iter()
                .enumerate()
                .map(|(n, (port, length))| (to(*port), vec![n as u8; *length]))
                .collect();
            for (to, bytes) in &put {
                outbox.push(*to, bytes, segments);
            }
            let mut came = Vec::new();
            for batch in &outbox.waiting {
                prop_assert!(batch.bytes.len() <= MAX_SEND);
                let cut: Vec<_> = batch.bytes.chunks(batch.segment).collect();
                prop_assert!(cut.len() <= segments);
                came.extend(cut.into_iter().map(|bytes| (batch.to, bytes.to_vec())));
            }
            let kept = put.len() - outbox.dropped as usize;
            prop_assert!(outbox.waiting.len() <= MAX_WAITING);
            prop_assert_eq!(came.len(), kept);
            if outbox.dropped == 0 {
                prop_assert_eq!(came, put);
            }
        }
    }

    #[tokio::test]
    async fn a_batch_arrives_as_datagrams_over_both_families() {
        let mut receiver = Udp::bind(0).unwrap();
        let sender = Udp::bind(0).unwrap();
        let port = receiver.port().unwrap();
        let loopbacks = [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
        for loopback in loopbacks
            .into_iter()
            .take(if receiver.both { 2 } else { 1 })
        {
            let mut outbox = Outbox::default();
            let put: Vec<Vec<u8>> = [100, 100, 100, 60, 100]
                .iter()
                .enumerate()
                .map(|(n, length)| vec![n as u8; *length])
                .collect();
            for datagram in &put {
                outbox.push(SocketAddr::new(loopback, port), datagram, sender.segments());
            }
            while !outbox.is_empty() {
                sender.writable().await.unwrap();
                sender.flush(&mut outbox);
            }
            assert_eq!(outbox.fault, None);
            let mut came = Vec::new();
            while came.len() < put.len() {
                receiver.readable().await.unwrap();
                receiver.read(|from, datagram| {
                    assert_eq!(from, SocketAddr::new(loopback, sender.port().unwrap()));
                    came.push(datagram.to_vec());
                });
            }
            assert_eq!(came, put);
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_said() {
        let one = Udp::bind(0).unwrap();
        let error = Udp::bind(one.port().unwrap()).err().expect("a fault");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
