//! Commands that talk to a box.

use crate::device::address::Address;
use clap::Args;
use std::path::PathBuf;

/// Which box, and as whom.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which box")]
pub struct BoxArgs {
    /// Host name or address of the box, with a port if it is another than 7625
    ///
    /// Without it the environment variable ROOST_BOX is used, and else the box's name in roost.toml.
    #[arg(long = "box", value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub device: Option<Address>,
    /// The box's configuration: its domain says which of this laptop's keys is used
    #[arg(long, value_name = "FILE", default_value = "roost.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// Accept the key that the box shows in place of the known one, e.g. after its card was flashed anew
    #[arg(long)]
    pub accept_new_key: bool,
}

/// Options of `roost update`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost update                                           build what has changed, and send it
  roost update 192.168.1.5 --dry-run
  roost update --bundle build/roost.bundle --yes --json | jq 'select(.event == \"result\")'

Exit codes: 0 if the new version was kept, or runs already; 4 if it was tried and rolled back.
Ctrl-C is safe at any time, and says in what state the box is.")]
pub struct UpdateArgs {
    /// The same as --box
    #[arg(value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub argument: Option<Address>,
    /// The bundle to install [default: built from roost.toml if anything has changed]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub bundle: Option<PathBuf>,
    /// Folder where the image and its bundle are built
    #[arg(long, value_name = "DIR", default_value = "build", value_hint = clap::ValueHint::DirPath)]
    pub output: PathBuf,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Only show what would change; nothing is written
    #[arg(long)]
    pub dry_run: bool,
    /// Install a version that is older than the one that runs
    #[arg(long)]
    pub allow_downgrade: bool,
    /// Install a version from which there is no way back to the one that runs
    #[arg(long)]
    pub allow_irreversible: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost status`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost status
  roost status 192.168.1.5
  roost status --json | jq .machine.services")]
pub struct StatusArgs {
    /// The same as --box
    #[arg(value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub argument: Option<Address>,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost logs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost logs mail
  roost logs -f --lines 10 kernel
  roost logs --json updater | jq -r 'select(.event == \"log\") | .text'")]
pub struct LogsArgs {
    /// A service, or init or kernel
    #[arg(default_value = "init")]
    pub service: String,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// How many lines at most; the box keeps a bounded number of them
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub lines: u32,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost reboot`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost reboot
  roost reboot 192.168.1.5 --yes")]
pub struct RebootArgs {
    /// The same as --box
    #[arg(value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub argument: Option<Address>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost rollback`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost rollback
  roost rollback 192.168.1.5 --yes

Exit codes: 0 if the other version runs and was kept; 4 if it was tried and failed its checks.")]
pub struct RollbackArgs {
    /// The same as --box
    #[arg(value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub argument: Option<Address>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Return even if that version has an older mail store, without the mail that came since the update
    #[arg(long)]
    pub allow_older_mail: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost serve`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost serve build/roost.bundle
  roost serve build/roost.bundle --listen 192.168.1.10:8080")]
pub struct ServeArgs {
    /// The bundle; it may be replaced by a newer one while it is served
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:7626")]
    pub listen: std::net::SocketAddr,
}
