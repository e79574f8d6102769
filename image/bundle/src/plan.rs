//! What to do to get from the running slot to the new one.

use crate::hash::Hash;
use crate::local::Local;
use crate::tables::Tables;
use std::collections::HashMap;
use std::ops::Range;

/// Which slot bytes are copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The one that runs.
    Active,
    /// The one that is being written: the chunk occurs twice.
    Target,
}

/// A step. Steps are to be taken in order, because a copy within the target
/// reads what an earlier step wrote. `chunks` are the rows that it makes right;
/// they lie one behind the other in the slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write zeros.
    Zero {
        /// Rows of the chunk table.
        chunks: Range<usize>,
    },
    /// Copy bytes that are on the box.
    Copy {
        /// Rows of the chunk table.
        chunks: Range<usize>,
        /// The slot to copy from.
        source: Source,
        /// Where in it, in bytes.
        from: u64,
    },
    /// Fetch a delta and unpack it over its base range.
    Delta {
        /// Row of the chunk table.
        chunk: usize,
        /// Row of the delta table.
        delta: usize,
        /// Bytes of the payloads to fetch.
        payload: Range<u64>,
    },
    /// Fetch payloads and unpack them one after the other.
    Fetch {
        /// Rows of the chunk table.
        chunks: Range<usize>,
        /// Bytes of the payloads to fetch.
        payload: Range<u64>,
    },
}

impl Action {
    /// The rows of the chunk table that it makes right.
    pub fn chunks(&self) -> Range<usize> {
        match self {
            Self::Zero { chunks } | Self::Copy { chunks, .. } | Self::Fetch { chunks, .. } => {
                chunks.clone()
            }
            Self::Delta { chunk, .. } => *chunk..chunk + 1,
        }
    }

    /// The bytes of the payloads that it needs.
    pub fn payload(&self) -> Option<Range<u64>> {
        match self {
            Self::Delta { payload, .. } | Self::Fetch { payload, .. } => Some(payload.clone()),
            Self::Zero { .. } | Self::Copy { .. } => None,
        }
    }

    /// Adds `next` to this step if the two are one.
    fn absorb(&mut self, next: &Self, tables: &Tables) -> bool {
        let bytes = |chunks: &Range<usize>| -> u64 {
            let rows = tables.chunks().get(chunks.clone()).unwrap_or(&[]);
            rows.iter().map(|c| u64::from(c.len)).sum()
        };
        match (self, next) {
            (Self::Zero { chunks }, Self::Zero { chunks: more }) if chunks.end == more.start => {
                chunks.end = more.end;
                true
            }
            (
                Self::Copy {
                    chunks,
                    source,
                    from,
                },
                Self::Copy {
                    chunks: more,
                    source: same,
                    from: then,
                },
            ) if chunks.end == more.start && source == same && *from + bytes(chunks) == *then => {
                chunks.end = more.end;
                true
            }
            (
                Self::Fetch { chunks, payload },
                Self::Fetch {
                    chunks: more,
                    payload: then,
                },
            ) if chunks.end == more.start && payload.end == then.start => {
                chunks.end = more.end;
                payload.end = then.end;
                true
            }
            _ => false,
        }
    }
}

/// All steps, and what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are to be taken.
    pub actions: Vec<Action>,
    /// Bytes of payloads to send to the box, without the envelope and the tables.
    pub send: u64,
    /// Bytes written to the slot.
    pub write: u64,
    /// Bytes of them that are copied on the box.
    pub copied: u64,
}

impl Plan {
    /// Whether the slot is right already.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// What to do if nothing of the target is right.
pub fn plan(tables: &Tables, local: &mut impl Local) -> Plan {
    resume(tables, local, &[])
}

/// What remains if some of the target is right already: `done[row]` for the
/// rows of the chunk table; rows beyond its end count as not done. The caller
/// finds out with [`crate::already_right`] or from a journal of its own.
pub fn resume(tables: &Tables, local: &mut impl Local, done: &[bool]) -> Plan {
    let is_done = |row: usize| done.get(row).copied().unwrap_or(false);
    let mut plan = Plan::default();
    // Where in the target a chunk is, as soon as the steps so far are taken.
    let mut present: HashMap<Hash, u64> = HashMap::new();
    for (row, chunk) in tables.chunks().iter().enumerate() {
        if is_done(row) {
            present.entry(chunk.hash).or_insert(chunk.at);
        }
    }
    for (row, chunk) in tables.chunks().iter().enumerate() {
        if is_done(row) {
            continue;
        }
        let (chunks, len) = (row..row + 1, u64::from(chunk.len));
        let action = if chunk.is_zero() {
            Action::Zero { chunks }
        } else if let Some(from) = local.find(&chunk.hash, chunk.len) {
            plan.copied += len;
            Action::Copy {
                chunks,
                source: Source::Active,
                from,
            }
        } else if let Some(from) = present.get(&chunk.hash).copied() {
            plan.copied += len;
            Action::Copy {
                chunks,
                source: Source::Target,
                from,
            }
        } else {
            let action = cheapest(tables, row, local);
            if let Some(payload) = action.payload() {
                plan.send += payload.end - payload.start;
            }
            action
        };
        present.entry(chunk.hash).or_insert(chunk.at);
        plan.write += len;
        let merged = plan
            .actions
            .last_mut()
            .is_some_and(|last| last.absorb(&action, tables));
        if !merged {
            plan.actions.push(action);
        }
    }
    plan
}

/// The smallest payload that can be used here. Bases are looked at from the
/// smallest payload on, because looking means reading the card.
fn cheapest(tables: &Tables, row: usize, local: &mut impl Local) -> Action {
    let chunk = &tables.chunks()[row];
    let mut deltas: Vec<_> = tables
        .deltas_of(row)
        .filter(|(_, delta)| delta.stored < chunk.stored)
        .collect();
    deltas.sort_by_key(|(index, delta)| (delta.stored, *index));
    for (index, delta) in deltas {
        if local.has_base(delta.base, delta.base_len, &delta.base_hash) {
            return Action::Delta {
                chunk: row,
                delta: index,
                payload: delta.payload..delta.payload + u64::from(delta.stored),
            };
        }
    }
    Action::Fetch {
        chunks: row..row + 1,
        payload: chunk.payload..chunk.payload + u64::from(chunk.stored),
    }
}
