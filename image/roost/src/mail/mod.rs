//! Mail as it moves: what `roost import` and `roost export` have in common.
//!
//! - [`message`]: a message, its marks and how two are told to be the same; [`date`]: when it arrived.
//! - [`imap`]: a client of other people's servers and of the box's.
//! - [`names`]: how folder names are written there (RFC 3501, section 5.1.3).
//! - [`account`]: which server, which user, where the password comes from.

pub mod account;
pub mod date;
pub mod imap;
pub mod message;
pub mod names;
