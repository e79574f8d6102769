//! Looks at the box once a day, and sees to it that the owner is told.
//!
//! | What is so | What happens |
//! |---|---|
//! | a day has passed since the last look, or there was none | a look; if it differs from what the owner was told, another one a quarter of an hour later, and what both say is due |
//! | something is due, and the mail service takes it | the owner was told |
//! | something is due, and the mail service does not take it | again in ten minutes; after a day a new look says what is due then |
//! | the clock is not set | nothing is sent: a message has a date |

use super::kept::{Due, sure};
use super::{keep, letter, look};
use crate::actions::mail;
use crate::app::App;
use crate::time::PoweredOn;
use roost_service::mail::ports::SMTP;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often what is done.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From the start of the program to the first look, should one be due: services start side by side, and
    /// a line may take its time.
    pub first: Duration,
    /// Between two looks.
    pub every: Duration,
    /// Both are longer by up to this, by chance: not all boxes ask others at the same time.
    pub jitter: Duration,
    /// From a look that has found something new to the one that makes sure of it.
    pub doubt: Duration,
    /// Between two tries to send a message.
    pub again: Duration,
}

impl Pace {
    /// That of the box.
    pub const STANDARD: Self = Self {
        first: Duration::from_secs(10 * 60),
        every: Duration::from_secs(86_400),
        jitter: Duration::from_secs(30 * 60),
        doubt: Duration::from_secs(15 * 60),
        again: Duration::from_secs(10 * 60),
    };

    fn by_chance(self, time: Duration) -> Duration {
        let share = f64::from(u32::from_le_bytes(App::random())) / f64::from(u32::MAX);
        time + self.jitter.mul_f64(share)
    }
}

/// Looks and tells, until the program ends.
pub async fn watch(app: Arc<App>, pace: Pace) {
    sleep(pace.by_chance(pace.first)).await;
    loop {
        let wait = match until_next(&app, pace.every) {
            Some(wait) => wait,
            None => {
                look_twice(&app, pace).await;
                pace.by_chance(pace.every)
            }
        };
        match deliver(&app).await {
            Ok(()) => sleep(wait).await,
            Err(why) => {
                println!(
                    "portal: the message to the owner about the box's health waits {} s: {why}",
                    pace.again.as_secs()
                );
                sleep(wait.min(pace.again)).await;
            }
        }
    }
}

/// How long it is until a look is due; `None`: it is.
fn until_next(app: &App, every: Duration) -> Option<Duration> {
    let last = app.health.last()?.at.powered_on;
    let PoweredOn(now) = app.now().powered_on;
    let PoweredOn(next) = last.after(every);
    (next > now).then(|| Duration::from_secs(next - now))
}

/// Looks, and once more if there is something new.
async fn look_twice(app: &Arc<App>, pace: Pace) {
    let first = look(app).await;
    let changes = app.health.kept().changes(&first);
    if changes.is_empty() {
        // What was due is as it was before.
        return keep(app, |kept| kept.due = None).await;
    }
    sleep(pace.doubt).await;
    let second = look(app).await;
    let PoweredOn(number) = app.now().powered_on;
    keep(app, |kept| {
        let changes = sure(&changes, kept.changes(&second));
        kept.due = (!changes.is_empty()).then(|| Due {
            number,
            changes,
            summary: second.summary(),
        });
    })
    .await;
}

/// Sends what is due, if anything is.
async fn deliver(app: &Arc<App>) -> Result<(), String> {
    let Some(due) = app.health.kept().due.clone() else {
        return Ok(());
    };
    let now = app.now().wall.ok_or("the clock is not set")?;
    let mail = mail::overview(app).await.map_err(|why| why.to_string())?;
    let letter = letter::letter(&due, &app.settings.name, now, &mail);
    let letter = letter.ok_or("the box has no account yet")?;
    let smtp = (app.places.doors)(SMTP);
    let sent = tokio::task::spawn_blocking(move || letter.send(smtp)).await;
    sent.map_err(|_| "writing it failed".to_owned())??;
    println!("portal: the owner has been told by mail what has changed");
    keep(app, |kept| {
        kept.take(&due);
        kept.due = None;
    })
    .await;
    Ok(())
}
