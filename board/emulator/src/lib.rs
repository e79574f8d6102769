//! Runs an image in QEMU as a board's firmware would start it.
//!
//! The disk image is all there is: its partition table, `autoboot.txt` and
//! `config.txt` say which kernel, initramfs, device tree and command line a
//! boot uses ([`firmware`]). They are taken out of the image anew for every
//! boot, so a guest that restarts itself goes through the same choice as on
//! hardware. A kernel from beside the image is never used.
//!
//! - [`Emulator::start`] starts a machine, [`Running`] is its handle.
//! - [`prepare_disk`] makes the "card" that the machine runs from.
//!
//! A guest may ask for a trial boot of the other slot, as it would ask the
//! board's firmware; a reset obeys it once, a power cut forgets it. A trial that
//! cannot be started falls back to the committed slot.
//!
//! What QEMU cannot do: `raspi3b` resets at once when its watchdog is opened,
//! so `roost.watchdog=off` is added there. Everything else is started with
//! the very bytes that a board would use.

mod command;
mod device_tree;
mod disk;
mod error;
pub mod firmware;
mod options;
mod qmp;
mod running;
#[cfg(test)]
mod testing;
mod trial;

pub use disk::{card_size, prepare_disk};
pub use error::Error;
pub use firmware::Boot;
pub use options::{CommandPrefix, Forward, Machine, Options, Protocol, lan_peer};
pub use running::{Emulator, Exit, PowerSwitch, Running, Waited};
