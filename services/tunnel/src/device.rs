//! The TUN interface: packets of the box in, packets of the tunnel out.
//!
//! With the kernel's offloads one read gives up to 64 KiB of one TCP stream, which is cut into packets
//! here, and packets that follow each other in a stream are written as one (`tun-rs`). Nothing of the
//! interface's addresses and routes is here: see [`crate::routing`].

use std::io;
use tun_rs::{
    AsyncDevice, DeviceBuilder, DeviceImpl, GROTable, IDEAL_BATCH_SIZE, Layer, VIRTIO_NET_HDR_LEN,
};

/// Longest thing that one read gives, in bytes.
const MAX_READ: usize = VIRTIO_NET_HDR_LEN + 65535;
/// Longest packet that the interface may hand out, in bytes.
const MAX_PACKET: usize = 2048;
/// Packets that are collected for one write.
const BATCH: usize = 64;

/// The interface. It vanishes with this value, and with the process.
pub struct Device {
    tun: AsyncDevice,
    raw: Vec<u8>,
    packets: Vec<Vec<u8>>,
    sizes: Vec<usize>,
}

impl Device {
    /// Makes the interface `name`, switched off and without addresses.
    ///
    /// # Errors
    /// When `/dev/net/tun` cannot be opened, the right to make interfaces (`CAP_NET_ADMIN`) is
    /// missing, or there is one of this name.
    pub fn new(name: &str) -> io::Result<Self> {
        let tun = DeviceBuilder::new()
            .name(name)
            .layer(Layer::L3)
            .enable(false)
            .with(|builder| {
                builder.offload(true);
            })
            .build_async()?;
        Ok(Self {
            tun,
            raw: vec![0; MAX_READ],
            packets: vec![vec![0; MAX_PACKET]; IDEAL_BATCH_SIZE],
            sizes: vec![0; IDEAL_BATCH_SIZE],
        })
    }

    /// Waits until there is something to read.
    ///
    /// # Errors
    /// When the interface is gone.
    pub async fn readable(&self) -> io::Result<()> {
        self.tun.readable().await
    }

    /// One read; calls `each` with every packet in it. `false`: there was nothing.
    ///
    /// # Errors
    /// When the interface is gone.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let read = self
            .tun
            .try_recv_multiple(&mut self.raw, &mut self.packets, &mut self.sizes, 0);
        match read {
            Ok(count) => {
                for (packet, size) in self.packets.iter().zip(&self.sizes).take(count) {
                    each(&packet[..*size]);
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            // Something that cannot be cut into packets.
            Err(error) if error.raw_os_error().is_none() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes what was collected. A packet that the kernel does not take is lost, as on any line.
    pub fn write(&self, batch: &mut Batch) {
        if batch.used > 0 {
            let device: &DeviceImpl = &self.tun;
            let packets = &mut batch.packets[..batch.used];
            let _ = device.send_multiple(&mut batch.table, packets, VIRTIO_NET_HDR_LEN);
            batch.used = 0;
        }
    }
}

/// Packets for one write.
pub struct Batch {
    packets: Vec<Vec<u8>>,
    used: usize,
    table: GROTable,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            // Packets of one stream are joined in the first one's buffer. What is never written
            // to takes no memory.
            packets: (0..BATCH).map(|_| Vec::with_capacity(MAX_READ)).collect(),
            used: 0,
            table: GROTable::default(),
        }
    }
}

impl Batch {
    /// No more fits.
    pub fn is_full(&self) -> bool {
        self.used == self.packets.len()
    }

    /// Lets `fill` write the next packet into `room` bytes; it returns the packet's length, or `None`
    /// when there is none. To be called while it is not full.
    pub fn push(&mut self, room: usize, fill: impl FnOnce(&mut [u8]) -> Option<usize>) {
        let packet = &mut self.packets[self.used];
        packet.resize(VIRTIO_NET_HDR_LEN + room, 0);
        if let Some(length) = fill(&mut packet[VIRTIO_NET_HDR_LEN..]) {
            packet.truncate(VIRTIO_NET_HDR_LEN + length);
            self.used += 1;
        }
    }
}
