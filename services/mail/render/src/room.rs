//! Whether the card has room for more mail.
//!
//! | Before | Room                              | After |
//! |--------|-----------------------------------|-------|
//! | taking | less than the floor               | full  |
//! | full   | the floor and [`AGAIN`] above it  | taking |
//!
//! The mail store is what grows on the box. It stops before the card is full, so that everything
//! else, deleting mail included, has room to work: an update needs 16 MiB. What the store has
//! freed inside of its file counts as room, because the file never gets shorter.

use std::net::IpAddr;

/// New mail is refused when less than this is left, in bytes: an update, every service's small
/// files, and one message of the largest size that is under way.
const FLOOR: u64 = 32 << 20;
/// On a small card the floor is this part of it.
const PART: u64 = 8;
/// So much above the floor it is taken again: one message more or less is no news.
const AGAIN: u64 = 4 << 20;
/// Of the floor this part must be free on the card itself: the store's log is written there first.
const LOG_PART: u64 = 4;
/// Bytes that are held back for the start of the mail service on a full card, see [`ballast`].
pub const BALLAST: u64 = 8 << 20;
/// Their file in the data folder.
pub const BALLAST_FILE: &str = "ballast";

/// What room there is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Size of the card's data file system.
    pub total: u64,
    /// Free in it.
    pub free: u64,
    /// Free inside of the mail store's file.
    pub reusable: u64,
}

impl Room {
    fn floor(self) -> u64 {
        FLOOR.min(self.total / PART)
    }

    /// Whether the free part of the file system alone decides, so that nobody needs to look into
    /// the store.
    pub fn is_plenty(self) -> bool {
        self.free >= self.floor() + AGAIN
    }

    /// Whether no new mail is taken, if that was so `before`.
    pub fn is_full(self, before: bool) -> bool {
        let more = if before { AGAIN } else { 0 };
        self.free < self.floor() / LOG_PART || self.free + self.reusable < self.floor() + more
    }

    /// For `roost status` and the portal.
    pub fn full_status(self) -> String {
        format!(
            "the card is full: no new mail is taken until there is room ({} MB left, {} MB are kept \
             for the box itself); deleted mail makes room within the hour",
            (self.free + self.reusable) / 1_000_000,
            self.floor() / 1_000_000
        )
    }
}

/// What to do about the file that holds room back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ballast {
    /// Nothing.
    Keep,
    /// Make it.
    Make,
    /// Remove it.
    Drop,
}

/// The mail service cannot open its store on a file system without a free block, whoever has
/// filled it. So it holds some back while there is plenty, and lets go of it at such a start.
pub fn ballast(room: Room, exists: bool, starting: bool) -> Ballast {
    if starting && exists && room.free < BALLAST {
        Ballast::Drop
    } else if !starting && !exists && room.free >= room.floor() + AGAIN + BALLAST {
        Ballast::Make
    } else {
        Ballast::Keep
    }
}

/// Whether a client at this address is refused while the card is full. Programs of the box are
/// not: what they send is small, and an update proves by a message that mail works.
pub fn refuses(full: bool, address: &str) -> bool {
    full && !address
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn room(free: u64, reusable: u64) -> Room {
        Room {
            total: 1000 * MIB,
            free: free * MIB,
            reusable: reusable * MIB,
        }
    }

    #[test]
    fn the_floor_is_for_the_box_itself() {
        assert!(!room(32, 0).is_full(false));
        assert!(room(31, 0).is_full(false));
        assert!(room(35, 0).is_full(true), "not by one message more");
        assert!(!room(36, 0).is_full(true));
        assert!(room(36, 0).is_plenty() && !room(35, 0).is_plenty());
    }

    #[test]
    fn what_was_deleted_is_room() {
        assert!(!room(10, 30).is_full(true));
        assert!(room(7, 900).is_full(false), "the log needs the card itself");
    }

    #[test]
    fn a_small_card_has_a_small_floor() {
        let small = |free| Room {
            total: 64 * MIB,
            free: free * MIB,
            reusable: 0,
        };
        assert!(!small(8).is_full(false) && small(7).is_full(false));
    }

    #[test]
    fn it_is_said_with_figures() {
        assert_eq!(
            room(20, 1).full_status(),
            "the card is full: no new mail is taken until there is room (22 MB left, 33 MB are \
             kept for the box itself); deleted mail makes room within the hour"
        );
        let longest = Room {
            total: u64::MAX,
            free: 31 << 20,
            reusable: 0,
        };
        assert!(longest.full_status().len() <= roost_service::notify::MAX_STATUS);
    }

    #[test]
    fn the_ballast_goes_only_at_a_start_without_room() {
        assert_eq!(ballast(room(7, 0), true, true), Ballast::Drop);
        assert_eq!(ballast(room(7, 0), false, true), Ballast::Keep);
        assert_eq!(ballast(room(7, 0), true, false), Ballast::Keep);
        assert_eq!(ballast(room(8, 0), true, true), Ballast::Keep);
        assert_eq!(ballast(room(44, 0), false, false), Ballast::Make);
        assert_eq!(ballast(room(43, 0), false, false), Ballast::Keep);
        assert_eq!(ballast(room(44, 0), true, false), Ballast::Keep);
    }

    #[test]
    fn the_box_itself_is_never_refused() {
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(!refuses(true, own), "{own}");
        }
        for other in ["192.168.1.5", "2001:db8::1", ""] {
            assert!(refuses(true, other) && !refuses(false, other), "{other}");
        }
    }
}
