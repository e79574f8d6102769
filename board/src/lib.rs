//! What a board, a disk and a boot look like: pure logic, no privileges, no
//! other crate of ours.
//!
//! - [`layout`]: where the partitions lie and why; [`Slot`].
//! - [`mbr`]: the partition table in sector 0.
//! - [`autoboot`]: the selector, by which the firmware chooses a slot.
//! - [`boot_control`]: reading and changing that choice, asking for a trial.
//! - [`config_txt`]: a slot's `config.txt`, read as the firmware reads it.
//! - [`cmdline`]: what the builder tells stage1 through the kernel command line.
//! - [`fat`]: reads the files of a slot, and where on the disk they lie.
//! - [`machine`]: the boards that the one image boots on.
//!
//! The folder's data (`rpi/config.txt`, `modules.toml`) is read by the builder.

pub mod autoboot;
pub mod boot_control;
pub mod cmdline;
pub mod config_txt;
pub mod fat;
pub mod layout;
pub mod machine;
pub mod mbr;

pub use layout::Slot;
pub use machine::Board;
