//! Who has the USB disk: pure. [`crate::pid1`] acts, [`crate::disks`] does what takes long.
//!
//! # State table
//!
//! A *holder* is a connection to init's socket; whatever ends the service at its other end ends that, too.
//!
//! | State | Event | Next | Action |
//! |---|---|---|---|
//! | free | somebody wants the disk | lending | start lending |
//! | lending | it is lent | lent | tell the holder |
//! | lending | it cannot be lent | free | tell the holder why |
//! | lent | the holder gives it back | taking back, somebody waits | start taking back |
//! | lent | the holder is gone | taking back | start taking back |
//! | taking back | it is done | free | tell who waits |
//! | lending, lent, taking back | somebody wants the disk | unchanged | refuse: it is in use |
//! | all but lent by this holder | somebody gives it back | unchanged | refuse: he does not have it |
//! | lending, taking back | the holder is gone | unchanged | |
//!
//! A holder that is gone while the disk is being lent is noticed afterwards: init does not read from a connection
//! whose request is being carried out, and looks at it again then.

/// A connection's number.
pub type Holder = u64;

/// Who has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lending {
    /// Nobody: nothing is mounted.
    #[default]
    Free,
    /// It is being mounted for this one.
    Lending(Holder),
    /// This one has it.
    Lent(Holder),
    /// It is being unmounted; this one waits for that, if somebody does.
    TakingBack(Option<Holder>),
}

/// Why somebody is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody has it.
    #[error("the disk is in use")]
    InUse,
    /// Somebody gives back what he does not have.
    #[error("no disk was lent over this connection")]
    NotLent,
}

impl Lending {
    /// Somebody wants the disk. If this is `Ok`, lending begins.
    ///
    /// # Errors
    /// [`Refused::InUse`].
    pub fn want(&mut self, holder: Holder) -> Result<(), Refused> {
        match self {
            Self::Free => {
                *self = Self::Lending(holder);
                Ok(())
            }
            _ => Err(Refused::InUse),
        }
    }

    /// Lending has ended, well or not: tells who waits for that.
    pub fn lent(&mut self, well: bool) -> Option<Holder> {
        let Self::Lending(holder) = *self else {
            return None;
        };
        *self = match well {
            true => Self::Lent(holder),
            false => Self::Free,
        };
        Some(holder)
    }

    /// Somebody gives it back, and waits. If this is `Ok`, taking back begins.
    ///
    /// # Errors
    /// [`Refused::NotLent`].
    pub fn give_back(&mut self, holder: Holder) -> Result<(), Refused> {
        match *self {
            Self::Lent(own) if own == holder => {
                *self = Self::TakingBack(Some(holder));
                Ok(())
            }
            _ => Err(Refused::NotLent),
        }
    }

    /// A connection has ended. Tells whether taking back begins.
    pub fn gone(&mut self, holder: Holder) -> bool {
        let has_it = *self == Self::Lent(holder);
        if has_it {
            *self = Self::TakingBack(None);
        }
        has_it
    }

    /// It was taken back: tells who waits for that.
    pub fn taken_back(&mut self) -> Option<Holder> {
        match std::mem::take(self) {
            Self::TakingBack(waits) => waits,
            other => {
                *self = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_has_it_until_it_is_back() {
        let mut lending = Lending::default();
        assert_eq!(lending.want(1), Ok(()));
        assert_eq!(lending.want(2), Err(Refused::InUse));
        assert_eq!(lending.give_back(1), Err(Refused::NotLent), "not yet");
        assert_eq!(lending.lent(true), Some(1));
        assert_eq!(lending.give_back(2), Err(Refused::NotLent));
        assert_eq!(lending.give_back(1), Ok(()));
        assert_eq!(lending.want(2), Err(Refused::InUse), "it is still mounted");
        assert_eq!(lending.taken_back(), Some(1));
        assert_eq!(lending, Lending::Free);
        // Not lent: free again.
        assert_eq!(lending.want(2), Ok(()));
        assert_eq!(lending.lent(false), Some(2));
        assert_eq!(lending, Lending::Free);
        // A holder that crashes gives it back as well.
        assert_eq!(lending.want(3), Ok(()));
        assert!(!lending.gone(3), "noticed afterwards");
        assert_eq!(lending.lent(true), Some(3));
        assert!(!lending.gone(2) && lending.gone(3) && !lending.gone(3));
        assert_eq!(lending.taken_back(), None);
        assert_eq!(lending, Lending::Free);
    }

    proptest! {
        /// Whatever comes: what begins is one thing at a time, and after a mount comes an unmount.
        #[test]
        fn each_mount_has_its_unmount(events in proptest::collection::vec((0..5, 1_u64..4), 0..60)) {
            let mut lending = Lending::default();
            let (mut mounts, mut unmounts, mut busy) = (0, 0, false);
            for (event, who) in events {
                match event {
                    0 => if lending.want(who).is_ok() {
                        prop_assert!(!busy && mounts == unmounts);
                        busy = true;
                    },
                    // What was begun ends.
                    1 => if lending.lent(who != 3).is_some() {
                        mounts += u32::from(who != 3);
                        busy = false;
                    },
                    2 => if lending.give_back(who).is_ok() {
                        prop_assert!(!busy && mounts == unmounts + 1);
                        busy = true;
                    },
                    3 => if lending.gone(who) {
                        prop_assert!(!busy && mounts == unmounts + 1);
                        busy = true;
                    },
                    _ => if matches!(lending, Lending::TakingBack(_)) {
                        lending.taken_back();
                        unmounts += 1;
                        busy = false;
                        prop_assert_eq!(lending, Lending::Free);
                    },
                }
            }
        }
    }
}
