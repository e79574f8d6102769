//! The backup service's parts; its README tells the whole story.
//!
//! - [`code`]: the recovery code, kept in the data folder.
//! - [`collect`]: what the services hand over.
//! - [`door`]: the socket for laptops, and what is done for them.

pub mod code;
pub mod collect;
pub mod door;
