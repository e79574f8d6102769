//! From a bundle to a committed slot. A wrong order does not compile:
//!
//! | step | gives | proves |
//! |---|---|---|
//! | [`roost_bundle::Unverified::verify`] | [`Verified`] | a trusted key has signed it |
//! | [`roost_bundle::admit()`] | [`Admitted`] | this box may install it |
//! | [`Planned::new`] | [`Planned`] | what must be sent and written; nothing was written |
//! | [`Planned::write`] | [`Staged`] | the slot was written, read back, and is right |
//! | [`Staged::request`] | [`Requested`] | the trial is on record; init may be asked for it |
//! | [`crate::reconcile()`] after the restart | [`Trial`] | this boot is the trial |
//! | [`Trial::commit`], with [`crate::gate::Passed`] | [`Committed`] | it is healthy, and the selector says so |
//!
//! Nothing is written before it is known that the slot to be written is not
//! the one that boots next:
//!
//! ```compile_fail
//! # use roost_updater::{disk::Disk, engine::{Admitted, Planned, Staged}, state::{DataFolder, Ledger}};
//! # use std::fs::File;
//! fn no_write_without_a_settled_box(
//!     planned: Planned, disk: &mut Disk<File>, ledger: &Ledger<DataFolder>,
//! ) -> Staged {
//!     planned.write(disk, ledger, &[][..], &mut |_, _| {}).unwrap()
//! }
//! ```
//!
//! What was not admitted cannot be planned, what was not written cannot be
//! tried, and what was not found healthy cannot be committed:
//!
//! ```compile_fail
//! # use roost_updater::{disk::Disk, engine::Planned, facts::Facts};
//! # use roost_bundle::{Tables, Verified};
//! # use std::fs::File;
//! fn no_plan_without_leave(verified: &Verified, tables: Tables, disk: &mut Disk<File>, facts: &Facts) {
//!     let _ = Planned::new(verified, tables, disk, facts, &mut |_, _| {});
//! }
//! ```
//!
//! ```compile_fail
//! # use roost_updater::{engine::{Planned, Requested}, state::{DataFolder, Ledger}};
//! fn no_trial_before_writing(planned: Planned, ledger: &Ledger<DataFolder>) -> Requested {
//!     planned.request(ledger, 0).unwrap()
//! }
//! ```
//!
//! ```compile_fail
//! # use roost_updater::{disk::Disk, engine::Trial, state::{DataFolder, Ledger}};
//! # use std::fs::File;
//! fn no_commit_without_a_passed_gate(
//!     trial: Trial, disk: &mut Disk<File>, ledger: &Ledger<DataFolder>,
//! ) {
//!     let _ = trial.commit(disk, ledger, 0);
//! }
//! ```
//!
//! The right order does:
//!
//! ```
//! # use roost_updater::{disk::Disk, engine::*, facts::Facts, gate::Passed, state::{DataFolder, Ledger}};
//! # use roost_bundle::Tables;
//! # use std::fs::File;
//! fn before_the_restart(
//!     admitted: &Admitted<'_>, tables: Tables, facts: &Facts,
//!     disk: &mut Disk<File>, ledger: &Ledger<DataFolder>, payloads: File,
//! ) -> Result<Requested, Box<dyn std::error::Error>> {
//!     let planned = Planned::new(admitted, tables, disk, facts, &mut |_, _| {})?;
//!     let settled = Settled::check(disk, &ledger.state(), facts)?;
//!     let staged = planned.write(settled, disk, ledger, payloads, &mut |_, _| {})?;
//!     Ok(staged.request(ledger, 1_790_000_000)?)
//! }
//! fn after_it(
//!     trial: Trial, passed: Passed, disk: &mut Disk<File>, ledger: &Ledger<DataFolder>,
//! ) -> Result<Committed, SelectorError> {
//!     trial.commit(passed, disk, ledger, 1_790_000_100)
//! }
//! ```

mod staged;

use crate::disk::{Block, Disk, Target};
use crate::facts::Facts;
use crate::feed::{self, Feed};
use crate::selector;
use crate::state::{Folder, Installed, Ledger, SaveError, Stage, State};
use roost_board::Slot;
use roost_board::fat::FileSystem;
use roost_bundle::limits::BLOCK;
use roost_bundle::{
    ActiveSlot, Plan, Refusal, Tables, TrustedKeys, Unverified, already_right, apply, resume,
};
use roost_service::update::{Offer, Version};
use std::io::{self, Read};

pub use crate::selector::SelectorError;
pub use roost_bundle::{Admitted, Verified};
pub use staged::{Committed, LastLook, NothingStaged, Requested, Staged, Trial, told};

/// Why a bundle is not taken. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is damaged, forged, or signed by somebody else.
    #[error(transparent)]
    Bundle(#[from] roost_bundle::Error),
    /// It is genuine, but not for this box.
    #[error(transparent)]
    Box(#[from] Refusal),
    /// What was sent as its beginning is not just its beginning.
    #[error("{sent} bytes were sent as the bundle's beginning, which has {expected}")]
    Head {
        /// Bytes that came.
        sent: u64,
        /// Bytes before the first payload.
        expected: u64,
    },
    /// Its payloads lie in an order that no offer can tell.
    #[error("the bundle's payloads lie in too many pieces to ask for them")]
    Scattered,
    /// A slot cannot be read.
    #[error("cannot read the {what}")]
    Disk {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Refused {
    /// What the owner can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Bundle(error) => error.hint(),
            Self::Box(refusal) => refusal.hint(),
            Self::Head { .. } => Some("use a `roost` that fits the box's version"),
            Self::Scattered => Some("build the bundle again, with `roost bundle`"),
            Self::Disk { .. } => Some("look at the kernel's log: the card may be failing"),
        }
    }
}

/// What the owner allows in one update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowed {
    /// An older version.
    pub downgrade: bool,
    /// A version from which there is no way back.
    pub irreversible: bool,
}

/// All checks and the plan, from the beginning of a bundle: everything before
/// its payloads. Reads once what both slots have in use; writes nothing. `progress` is told the
/// bytes that were read, and all bytes that will be.
///
/// # Errors
/// Why the bundle is not taken.
pub fn examine<B: Block>(
    head: &[u8],
    keys: &TrustedKeys,
    facts: &Facts,
    allowed: Allowed,
    disk: &mut Disk<B>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Planned, Refused> {
    let mut from = head;
    let verified = Unverified::read(&mut from)?.verify(keys)?;
    let slot_bytes = disk.inactive.length().map_err(|source| Refused::Disk {
        what: "other slot",
        source,
    })?;
    let admitted = roost_bundle::admit(&verified, &facts.box_state(slot_bytes, allowed))?;
    let tables = admitted.read_tables(&mut from)?;
    if !from.is_empty() {
        return Err(Refused::Head {
            sent: head.len() as u64,
            expected: verified.payload_start(),
        });
    }
    Planned::new(&admitted, tables, disk, facts, progress)
}

/// An update that is worked out. Nothing was written for it.
#[derive(Debug)]
pub struct Planned {
    to: Installed,
    tables: Tables,
    plan: Plan,
    offer: Offer,
    payload_start: u64,
    migrates: bool,
}

impl Planned {
    /// Finds out what the two slots have already: of the running one what its
    /// files take up, of the other one nothing if nobody has written there yet.
    /// Reading the rest would take a slow card half a minute, for nothing.
    ///
    /// # Errors
    /// [`Refused::Disk`], [`Refused::Scattered`].
    pub fn new<B: Block>(
        bundle: &Admitted<'_>,
        tables: Tables,
        disk: &mut Disk<B>,
        facts: &Facts,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Self, Refused> {
        let failed = |what| move |source| Refused::Disk { what, source };
        let running = used(&mut disk.active).map_err(failed("running slot"))?;
        let other = match begins_with_zeros(&mut disk.inactive).map_err(failed("other slot"))? {
            true => 0,
            false => tables.slot_bytes(),
        };
        let mut told = Told {
            from: &mut disk.inactive,
            done: 0,
            total: other + running,
            progress,
        };
        let right = match other {
            0 => vec![false; tables.chunks().len()],
            _ => already_right(&tables, &mut told).map_err(failed("other slot"))?,
        };
        let told = Told {
            from: &mut disk.active,
            done: other,
            total: other + running,
            progress: told.progress,
        };
        let mut local = ActiveSlot::read_first(told, running).map_err(failed("running slot"))?;
        let mut plan = resume(&tables, &mut local, &right);
        let ranges = match feed::ranges(&plan) {
            Some(ranges) => ranges,
            None => {
                // Deltas make a plan jump; without them payloads come as they lie.
                plan = resume(&tables, &mut NoBases(local), &right);
                feed::ranges(&plan).ok_or(Refused::Scattered)?
            }
        };
        let manifest = bundle.manifest();
        let to = Installed {
            version: Version {
                number: manifest.release.version,
                name: manifest.release.name.clone(),
            },
            root_hash: Some(manifest.slot.root_hash),
            mail_store: manifest.release.mail_store,
        };
        let offer = Offer {
            from: facts.running.version.clone(),
            to: to.version.clone(),
            send: ranges.iter().map(|(from, to)| to - from).sum(),
            ranges,
            write: plan.write,
            copied: plan.copied,
        };
        Ok(Self {
            to,
            tables,
            plan,
            offer,
            payload_start: bundle.verified().payload_start(),
            migrates: manifest.release.mail_store > facts.running.mail_store,
        })
    }

    /// What to tell the owner. Its ranges are to be sent in their order.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether the mail store is changed for it, which takes a copy of the store first.
    pub fn migrates(&self) -> bool {
        self.migrates
    }

    /// Where in the bundle the ranges count from.
    pub fn payload_start(&self) -> u64 {
        self.payload_start
    }

    /// Writes the slot and reads it back. `payloads` gives the offer's ranges,
    /// one behind the other. `progress` is told the bytes of the slot that are
    /// right, and all bytes of it.
    ///
    /// # Errors
    /// When anything fails. The slot is then neither the old nor the new
    /// version, and the state says so; the running one is untouched, and a new
    /// offer goes on from what was written.
    pub fn write<B: Block, F: Folder>(
        self,
        settled: Settled,
        disk: &mut Disk<B>,
        ledger: &Ledger<F>,
        payloads: impl Read,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Staged, WriteError> {
        let other = settled.running.other();
        ledger.change(|state| {
            state.set_slot(other, None);
            state.stage = Stage::Writing {
                version: self.to.version.clone(),
            };
        })?;
        let written = self.take_all_steps(disk, payloads, progress);
        ledger.change(|state| match &written {
            Ok(()) => {
                state.set_slot(other, Some(self.to.clone()));
                state.stage = Stage::Staged;
            }
            Err(_) => state.stage = Stage::Idle,
        })?;
        written.map(|()| Staged {
            slot: other,
            to: self.to,
        })
    }

    fn take_all_steps<B: Block>(
        &self,
        disk: &mut Disk<B>,
        payloads: impl Read,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), WriteError> {
        let total = self.tables.slot_bytes();
        let right = total - self.plan.write;
        progress(right, total);
        let mut count = |written: u64| progress((right + written).min(total), total);
        let mut feed = Feed::new(payloads, &self.offer.ranges);
        let mut target = Target::new(&mut disk.inactive, &mut count);
        for action in &self.plan.actions {
            apply(
                action,
                &self.tables,
                &mut disk.active,
                &mut feed,
                &mut target,
            )?;
        }
        let failed = |what| move |source| WriteError::Disk { what, source };
        disk.inactive.sync().map_err(failed("write"))?;
        disk.inactive.forget().map_err(failed("read back"))?;
        let right = already_right(&self.tables, &mut disk.inactive).map_err(failed("read back"))?;
        let wrong = right.iter().filter(|right| !**right).count();
        if wrong > 0 {
            return Err(WriteError::ReadBack {
                wrong,
                of: right.len(),
            });
        }
        Ok(())
    }
}

/// Bytes of a slot up to the end of its last file; all of it if it is no file system that we know.
fn used<B: Block>(slot: &mut B) -> io::Result<u64> {
    let length = slot.length()?;
    let files = FileSystem::open(slot).and_then(|mut files| files.end_of_files());
    Ok(files.map_or(length, |end| end.next_multiple_of(BLOCK as u64).min(length)))
}

/// Whether nobody has written a version there, not even the beginning of one: each begins with the first sector
/// of a file system.
fn begins_with_zeros<B: Block>(slot: &mut B) -> io::Result<bool> {
    let mut sector = [0; 512];
    slot.seek(io::SeekFrom::Start(0))?;
    slot.read_exact(&mut sector)?;
    Ok(sector == [0; 512])
}

/// A slot that tells how much of it was read.
struct Told<'a, B> {
    from: &'a mut B,
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl<B: Block> Read for Told<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.done += read as u64;
        (self.progress)(self.done.min(self.total), self.total);
        Ok(read)
    }
}

impl<B: Block> io::Seek for Told<'_, B> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.from.seek(to)
    }
}

/// The running slot without its base ranges.
struct NoBases<R>(ActiveSlot<R>);

impl<R: Read + io::Seek> roost_bundle::Local for NoBases<R> {
    fn find(&mut self, hash: &roost_bundle::Hash, len: u32) -> Option<u64> {
        self.0.find(hash, len)
    }

    fn has_base(&mut self, _: u64, _: u32, _: &roost_bundle::Hash) -> bool {
        false
    }
}

/// Why a slot was not written to its end.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A payload is damaged or missing, or a slot cannot be read or written.
    #[error(transparent)]
    Step(#[from] roost_bundle::Error),
    /// The other slot failed.
    #[error("cannot {what} the other slot")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The medium does not keep what is written to it.
    #[error("{wrong} of {of} chunks of the other slot are wrong when they are read back")]
    ReadBack {
        /// Chunks that are wrong.
        wrong: usize,
        /// All chunks.
        of: usize,
    },
    /// The state could not be kept.
    #[error(transparent)]
    State(#[from] SaveError),
}

impl WriteError {
    /// What the owner can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Step(error) => error.hint(),
            Self::Disk { .. } | Self::ReadBack { .. } => {
                Some("the card may be failing: copy your mail, and flash a new card")
            }
            Self::State(_) => Some("look whether the data partition is full (`roost status`)"),
        }
    }
}

/// The box runs the committed slot, and the selector says so: the other slot
/// is not the one that boots next, whatever happens.
#[derive(Debug)]
pub struct Settled {
    running: Slot,
}

/// Why the other slot must not be touched.
#[derive(Debug, thiserror::Error)]
pub enum NotSettled {
    /// It is the way back, or it is about to be tried.
    #[error("the trial of version {} has not ended", .0.name)]
    OnTrial(Version),
    /// It is the one that boots next.
    #[error("slot {0} runs, but the selector does not name it")]
    Otherwise(Slot),
    /// It is unknown which one boots next.
    #[error(transparent)]
    Selector(#[from] SelectorError),
}

impl NotSettled {
    /// What the owner can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::OnTrial(_) => Some("wait until the trial has ended (`roost status` tells)"),
            Self::Otherwise(_) | Self::Selector(_) => {
                Some("restart the box: it repairs the selector when it starts")
            }
        }
    }
}

impl Settled {
    /// Looks at the selector and at the state.
    ///
    /// # Errors
    /// Why the other slot must not be touched.
    pub fn check<B: Block>(
        disk: &mut Disk<B>,
        state: &State,
        facts: &Facts,
    ) -> Result<Self, NotSettled> {
        if let Stage::Trial(trial) = &state.stage {
            return Err(NotSettled::OnTrial(trial.to.version.clone()));
        }
        let selected = selector::selected(&mut disk.selector)?;
        if selected != facts.slot || state.committed != facts.slot {
            return Err(NotSettled::Otherwise(facts.slot));
        }
        Ok(Self {
            running: facts.slot,
        })
    }
}
