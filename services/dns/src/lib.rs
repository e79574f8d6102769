//! The box's name server.
//!
//! [`generate`] makes a zone's records from what the box knows of itself, [`sign`] signs them off the
//! request path, [`serve`] answers from the result and nothing else.

pub mod ask;
pub mod check;
pub mod extra;
pub mod facts;
pub mod generate;
pub mod keeper;
pub mod notify;
pub mod parent;
pub mod records;
pub mod run;
pub mod serve;
pub mod sign;
pub mod stages;
pub mod state;
pub mod tsig;
pub mod update;
pub mod zonefile;
