//! A service in the hands of a stranger: the lab puts this program where a service's own should
//! be, and it tries from inside that service's container what no service may do.
//!
//! Each try is a line on standard output, which init keeps as the service's log:
//!
//! ```text
//! hostile: mount: refused, error 1
//! hostile: read_others: WORKED
//! ```
//!
//! Tries run in children where the container allows a child, so that a try that ends its process
//! is one line more (`ended by signal 31`). Elsewhere it is the end of the service, and init waits
//! longer before each start: there it tries what is not a bare call, some of the bare calls, others
//! in each service, and no more of them when [`ENOUGH_ENDS`] have been its end. What uses something up
//! comes last. How far it came is in its data folder.
//!
//! Built with a feature `keep-…` it uses up one thing, and keeps it for as long as it lives.

mod system;
mod tries;
mod usage;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, process, thread, time::Duration};

/// How often a service without children is ended by a bare call. Each start comes later than the one
/// before, up to half a minute.
const ENOUGH_ENDS: usize = 5;

fn main() {
    say_ready();
    if let Some(usage) = usage::KEPT {
        usage::keep(usage);
    }
    let folder = PathBuf::from(env::var_os("ROOST_DATA").unwrap_or_else(|| "/tmp".into()));
    let progress = folder.join("hostile-progress");
    let tries = tries::all();
    let stages = tries.len() + usage::ALL.len();
    let (begun, mut ends) = came_to(&progress);
    if begun > 0 && begun <= stages {
        // Only what ended this process is the last that was begun.
        say(&format!("{}: ended the service", name(&tries, begun - 1)));
        ends += 1;
    }
    for stage in begun..stages {
        let bare = tries
            .get(stage)
            .is_some_and(|(name, _)| name.starts_with(tries::BARE));
        if bare && ends >= ENOUGH_ENDS {
            continue;
        }
        // Before the try: one that ends the process is not repeated.
        if let Err(error) = fs::write(&progress, format!("{} {ends}", stage + 1)) {
            say(&format!("cannot note how far it came: {error}"));
        }
        match tries.get(stage) {
            Some((name, attempt)) => tries::run(name, *attempt),
            None => usage::run(usage::ALL[stage - tries.len()], &folder),
        }
    }
    let _ = fs::write(&progress, format!("{} {ends}", stages + 1));
    say("done");
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// The try that was begun last, from 1 on, and how many have ended the service before.
fn came_to(progress: &Path) -> (usize, usize) {
    let text = fs::read_to_string(progress).unwrap_or_default();
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn name(tries: &[(String, tries::Attempt)], stage: usize) -> String {
    tries.get(stage).map_or_else(
        || usage::ALL[stage - tries.len()].name().to_owned(),
        |(name, _)| name.clone(),
    )
}

/// Tells the log, in one write.
pub fn say(line: &str) {
    let _ = std::io::stdout().write_all(format!("hostile: {line}\n").as_bytes());
}

/// Tells init that the service is ready, which it is not.
fn say_ready() {
    let Some(number) = env::var("ROOST_NOTIFY_FD")
        .ok()
        .and_then(|n| n.parse().ok())
    else {
        say("there is no notification pipe");
        process::exit(2);
    };
    if let Err(error) = system::write(number, b"READY\n") {
        say(&format!("cannot write to the notification pipe: {error}"));
    }
}
