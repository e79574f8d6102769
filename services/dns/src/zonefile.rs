//! Zone files (RFC 1035, section 5): what BIND and most others read and write.
//!
//! [`export`] writes one, with the reason of each record as a comment; [`import`] reads one and says of every
//! line what becomes of it.
//!
//! Cutting the text into entries is our own: of the libraries at hand, one stops at the first bad line and
//! opens whatever file `$INCLUDE` names, the other cannot go on after an error and does not know `1h`. What
//! an entry says is for the `domain` crate to read and to write.

mod convert;
mod entry;
mod export;
mod import;
mod split;

#[cfg(test)]
mod tests;

pub use export::{Commented, export, line, value};
pub use import::{ImportError, Imported, Left, MAX_IMPORT, import, records};

pub(crate) use convert::wire;
pub(crate) use entry::{Reader, Step};
pub(crate) use split::split;
