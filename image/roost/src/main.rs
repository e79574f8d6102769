//! `roost`: builds, runs and looks after a mail box.

mod ask;
mod backup;
mod boot_chart;
mod build;
mod bundle;
mod certificates;
mod cli;
mod compile;
mod completions;
mod config;
mod cpio;
mod debian;
mod device;
mod disk;
mod dns;
mod doctor;
mod error;
mod export;
mod extras;
mod fat;
mod fetch;
mod find;
mod flash;
mod import;
mod init;
mod initramfs;
mod kernel;
mod keys;
mod lock;
mod logs;
mod mail;
mod modules;
mod pair;
mod password;
mod reboot;
mod relay;
mod release;
mod report;
mod reset;
mod rights;
mod rollback;
mod rootfs;
mod run;
mod sbom;
mod sdk;
mod seccomp;
mod serve;
mod services;
mod status;
mod store;
mod sudo;
mod tryboot;
mod ui;
mod update;
mod workspace;

use clap::Parser;
use error::{Exit, Failure};
use std::process::ExitCode;
use ui::{Mode, Ui};

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.global.color {
        cli::Color::Auto => anstream::ColorChoice::Auto,
        cli::Color::Always => anstream::ColorChoice::Always,
        cli::Color::Never => anstream::ColorChoice::Never,
    }
    .write_global();
    let ui = Ui::new(Mode::choose(cli.global.json, cli.global.quiet));
    match dispatch(&cli.command, &ui) {
        Ok(()) => ExitCode::from(Exit::Ok as u8),
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(failure.exit() as u8)
        }
    }
}

fn dispatch(command: &cli::Command, ui: &Ui) -> Result<(), Failure> {
    match command {
        cli::Command::Init(args) => init::run(args, ui),
        cli::Command::Password(args) => password::run(args, ui),
        cli::Command::Build(args) => build::run(args, ui),
        cli::Command::Bundle(args) => bundle::run(args, ui),
        cli::Command::Run(args) => run::run(args, ui),
        cli::Command::Find(args) => find::run(args, ui),
        cli::Command::Backup(args) => backup::run(args, ui),
        cli::Command::Restore(args) => backup::restore::run(args, ui),
        cli::Command::Flash(args) => flash::run(args, ui),
        cli::Command::Sdk(args) => sdk::run(args, ui),
        cli::Command::Lock(args) => lock::run(args, ui),
        cli::Command::Pair(args) => pair::run(args, ui),
        cli::Command::Update(args) => update::run(args, ui),
        cli::Command::Status(args) => status::run(args, ui),
        cli::Command::Doctor(args) => doctor::run(args, ui),
        cli::Command::Logs(args) => logs::run(args, ui),
        cli::Command::BootChart(args) => boot_chart::run(args, ui),
        cli::Command::Reboot(args) => reboot::run(args, ui),
        cli::Command::Rollback(args) => rollback::run(args, ui),
        cli::Command::Reset(args) => reset::run(args, ui),
        cli::Command::Serve(args) => serve::run(args, ui),
        cli::Command::Relay(args) => relay::run(args, ui),
        cli::Command::Dns(args) => dns::run(args, ui),
        cli::Command::Certificates(args) => certificates::run(args, ui),
        cli::Command::Import(args) => import::run(args, ui),
        cli::Command::Export(args) => export::run(args, ui),
        cli::Command::Completions(args) => completions::run(args, ui),
    }
}
