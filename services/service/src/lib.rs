//! The contract of a service: what init, the builder and the services agree on.
//!
//! - [`settings`]: what the owner chose, rendered by the builder, read by init and services.
//! - [`spec`]: what a service is and may do, rendered by the builder from `service.toml`, read by init.
//! - [`notify`]: how a service says that it is ready.
//! - [`control`]: how a program asks init for something.

pub mod control;
pub mod notify;
pub mod settings;
pub mod spec;
