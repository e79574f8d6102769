//! The backup service's parts; its README tells the whole story.
//!
//! - [`code`]: the recovery code, kept in the data folder.
//! - [`key`]: the key for SFTP servers, kept there too.
//! - [`collect`]: what the services hand over.
//! - [`house`]: what the service knows and does: backups for laptops, and at the target by itself.
//! - [`usb`]: a USB disk at the box, which init lends.
//! - [`schedule`]: what of that is due when; [`clock`]: whether it can be told.
//! - [`door`]: the sockets for laptops and for the portal.

pub mod clock;
pub mod code;
pub mod collect;
pub mod door;
pub mod house;
pub mod key;
pub mod schedule;
pub mod usb;
