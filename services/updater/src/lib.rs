//! Updates of the box: what is tested without one.
//!
//! - [`engine`]: from a bundle to a committed slot, as types whose order the compiler checks.
//! - [`mod@reconcile`]: what a start makes of what it finds.
//! - [`gate`], [`trial`]: whether a trial may be committed.
//! - [`state`]: what is remembered. [`disk`], [`selector`]: what is written.
//! - [`api`]: what the portal may ask for the owner's laptop. [`pull`]: what the box looks for itself.
//!
//! The story from end to end is in the crate's README.

pub mod api;
pub mod control;
pub mod disk;
pub mod engine;
pub mod facts;
pub mod feed;
pub mod gate;
pub mod letter;
mod logs;
pub mod pull;
pub mod reconcile;
pub mod selector;
mod session;
pub mod start;
pub mod state;
pub mod trial;
pub mod updater;
mod wire;

pub use reconcile::reconcile;
