//! `roost completions`: the shells' completion scripts, from the same definition as the parser.

use crate::cli::{Cli, CompletionsArgs};
use crate::error::Failure;
use crate::ui::Ui;
use clap::CommandFactory;
use std::io::Write;

/// Prints the script.
pub fn run(args: &CompletionsArgs, _ui: &Ui) -> Result<(), Failure> {
    // Into memory first: clap_complete panics when a pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "roost", &mut script);
    match std::io::stdout().write_all(&script) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot print the completion script").because(e))
        }
        _ => Ok(()),
    }
}
