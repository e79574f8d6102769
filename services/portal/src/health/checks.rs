//! The checks, a file for each group or two. Nothing here asks anybody: all of it decides by [`super::facts`].

pub mod access;
pub mod backups;
pub mod card;
pub mod certificates;
pub mod clock;
pub mod dns;
pub mod machine;
pub mod mail;
pub mod network;
pub mod ports;
pub mod records;
pub mod relay;
pub mod reputation;
pub mod tunnel;
pub mod updates;

/// A day in seconds.
const DAY: u64 = 86_400;
/// No domain, so nothing of it can be looked at.
const NO_DOMAIN: &str = "the box has no domain yet";
/// No relay, so nothing of it can be looked at.
const NO_RELAY: &str = "no relay is set up";
/// Why nobody outside can know anything of the box's domains, if that is so: without a relay they have no
/// address to lead to.
fn nowhere(facts: &super::facts::Facts) -> Option<super::verdict::Verdict> {
    let nowhere = facts.has_relay() == Some(false) && facts.outside.is_empty();
    nowhere.then(|| super::verdict::unknown(NO_RELAY))
}

/// No public address is known.
const NO_ADDRESS: &str = "no public address of the box is known: it comes with the relay";
/// Nothing that has a date can be looked at.
const NO_CLOCK: &str = "the box's clock is not set";
