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
//! is one line more (`ended by signal 31`) and not the end of all. What uses something up comes
//! last, one thing for each start of the service: how far it came is in its data folder.

mod system;
mod tries;
mod usage;

use std::io::Write;
use std::path::PathBuf;
use std::{env, fs, process, thread, time::Duration};

fn main() {
    say_ready();
    let folder = PathBuf::from(env::var_os("ROOST_DATA").unwrap_or_else(|| "/tmp".into()));
    let progress = folder.join("hostile-progress");
    let begun: usize = fs::read_to_string(&progress)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    let tries = tries::all();
    let stages = tries.len() + usage::ALL.len();
    if begun > 0 && begun <= stages {
        // Only what ended this process is the last that was begun.
        say(&format!("{}: ended the service", name(&tries, begun - 1)));
    }
    for stage in begun..stages {
        // Before the try: one that ends the process is not repeated.
        if let Err(error) = fs::write(&progress, (stage + 1).to_string()) {
            say(&format!("cannot note how far it came: {error}"));
        }
        match tries.get(stage) {
            Some((name, attempt)) => tries::run(name, *attempt),
            None => usage::run(usage::ALL[stage - tries.len()], &folder),
        }
    }
    let _ = fs::write(&progress, (stages + 1).to_string());
    say("done");
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
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
