//! The box's own resolver. See the crate's README for the whole story.

pub mod anchors;
pub mod cache;
pub mod clock;
pub mod engine;
pub mod found;
pub mod keeper;
pub mod names;
pub mod network;
pub mod reply;
pub mod serve;
pub mod source;
pub mod validate;
pub mod ways;
pub mod wire;
