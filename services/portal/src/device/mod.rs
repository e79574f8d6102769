//! The device API.
