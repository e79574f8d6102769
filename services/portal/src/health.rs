//! How the box is: some sixty checks, each with what was found and what to do.
//!
//! ```text
//! gather ──▶ Facts ──▶ table::decide ──▶ Health ──▶ API, page, `roost doctor`
//!                                          └──▶ kept: what the owner was told ──▶ letter
//! ```
//!
//! - [`gather`] asks everybody and decides nothing; [`facts`] is what comes of it.
//! - [`table`] has the checks, [`checks`] decides each by the facts alone: so each has a test for well and
//!   for not. To add one, see there.
//! - [`kept`] is what outlives a restart: the last look, and what the owner was told.
//! - [`watch`] looks once a day, and writes to the owner ([`letter`]) when something has become worse or
//!   better since the last message. What only flickers is looked at twice.
//! - [`page`] is `docs/doctor.md`, made from the table.

pub mod checks;
pub mod facts;
pub mod gather;
pub mod kept;
pub mod letter;
pub mod page;
pub mod table;
pub mod verdict;
pub mod watch;

use crate::app::App;
use kept::{Kept, Looked};
use roost_service::health::Health;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the program keeps of the box's health while it runs.
#[derive(Debug)]
pub struct Care {
    /// Held while somebody looks, with when that began and what came of it: one look at a time.
    turn: tokio::sync::Mutex<Option<(Instant, Health)>>,
    kept: Mutex<Kept>,
}

impl Care {
    /// With what an earlier start has kept in this folder.
    pub fn load(data: &Path) -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            kept: Mutex::new(Kept::load(data)),
        }
    }

    /// The last look, if there was one.
    pub fn last(&self) -> Option<Looked> {
        self.kept().last.clone()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing is half done in it when a thread panics.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at everything, now. Whoever asks while somebody looks waits for a look that begins after they asked,
/// all of them for the same.
pub async fn look(app: &Arc<App>) -> Health {
    let asked = Instant::now();
    let app = app.clone();
    // Not the visitor's task: a look that somebody hangs up on is not half kept.
    let done = tokio::spawn(async move {
        let mut turn = app.health.turn.lock().await;
        if let Some((began, health)) = &*turn
            && *began >= asked
        {
            return health.clone();
        }
        let began = Instant::now();
        let health = table::decide(&gather::gather(&app).await);
        let looked = Looked {
            at: app.now(),
            health: health.clone(),
        };
        keep(&app, |kept| kept.last = Some(looked)).await;
        *turn = Some((began, health.clone()));
        health
    });
    match done.await {
        Ok(health) => health,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Changes what is kept, and writes it down. A card that cannot be written is told in the log: the checks say
/// the same.
async fn keep(app: &Arc<App>, change: impl FnOnce(&mut Kept)) {
    let kept = {
        let mut kept = app.health.kept();
        change(&mut kept);
        kept.clone()
    };
    let data = app.places.data.clone();
    let saved = tokio::task::spawn_blocking(move || kept.save(&data)).await;
    if let Ok(Err(error)) = saved {
        eprintln!("portal: how the box is cannot be kept: {error}");
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
