//! The web portal of the box.
//!
//! # The core: decides
//!
//! No network, no clock, no source of random bytes and, but for [`store`], no storage in it: times
//! and random bytes come in as arguments, state goes out as `serde` values. An
//! answer that depends on state having been kept is a [`decided::Decided`], which gives
//! it away only after a save. Whoever keeps the state reads, decides and saves in one go:
//! two decisions about the same state, and one of them is lost.
//!
//! - [`pairing`]: the one-time code of a new box, from the first try to an owner.
//! - [`setup`]: the form behind the code.
//! - [`owner`]: the admin password, second factors, sign-in; [`passkey`]: sign-in without either.
//! - [`session`], [`csrf`]: browsers that are signed in, and requests that are theirs.
//! - [`throttle`]: how often somebody may try.
//! - [`audit`]: what happened, in plain words.
//! - [`guide`]: how mail programs are set up.
//! - [`store`]: what is remembered, in one file that a power cut leaves whole.
//!
//! # The shell: listens, asks and shows
//!
//! - [`app`]: what all pages and the API share; [`identity`]: key and certificate.
//! - [`tls`]: which certificate is shown to whom.
//! - [`listen`]: doors and their limits; [`unread`]: bodies that nobody wants; [`mdns`]: being found by name.
//! - [`web`]: the pages; [`actions`]: what pages and API do alike.
//! - [`device`]: the API for the owner's laptops and pages, and their door on 7625.
//! - [`init`]: talking to init.
//! - [`resolver`]: asking the DNS; [`outside`]: what others say of the box's mail.
//! - [`watchdog`]: whether the name server's answers are signed; [`health`]: everything that can be checked;
//!   [`any_certificate`]: looking at what a port shows.

pub mod actions;
pub mod any_certificate;
pub mod app;
pub mod audit;
#[cfg(test)]
#[path = "../tests/web/authenticator.rs"]
mod authenticator;
pub mod code;
pub mod cookie;
pub mod csrf;
pub mod decided;
pub mod device;
pub mod guide;
pub mod health;
pub mod identity;
pub mod init;
pub mod listen;
pub mod mdns;
pub mod outside;
pub mod owner;
pub mod pairing;
pub mod passkey;
pub mod password;
pub mod resolver;
pub mod second;
pub mod session;
pub mod setup;
pub mod sockets;
pub mod store;
pub mod throttle;
pub mod time;
pub mod tls;
pub mod token;
pub mod unread;
pub mod visitor;
pub mod watchdog;
pub mod web;
