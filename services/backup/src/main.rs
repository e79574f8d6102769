//! The backup service: see the crate's README for the whole story.

use anyhow::{Context, Result};
use roost_backup::collect::Box_;
use roost_backup::house::House;
use roost_backup::{code, door};
use roost_service::notifier::Notifier;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";

fn main() -> std::process::ExitCode {
    let notifier = Notifier::from_env();
    match run(&notifier) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backup: {error:#}");
            notifier.status(&format!("failed: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs the service until SIGTERM or SIGINT. What is under way then ends with the process: nothing
/// that it has written so far is a backup yet.
fn run(notifier: &Notifier) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("catch SIGTERM")?;
    let data = std::env::var_os(DATA_ENV).map(PathBuf::from);
    let data = data.with_context(|| {
        format!("{DATA_ENV} is not set (init gives the service its data folder)")
    })?;
    let code = code::load_or_make(&data)?;
    let house = House::open(Box_::look()?, code, data);
    door::open(&house)?;
    house.keep()?;
    notifier.ready();
    println!("backup: ready");
    signals.forever().next();
    println!("backup: stopping");
    Ok(())
}
