//! Commands that talk to a box.

use crate::device::address::{Address, WebAddress};
use clap::Args;
use std::path::PathBuf;

/// Which box.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which box")]
pub struct BoxArgs {
    /// Name or address of a paired box, with a port if it is another than 7625
    ///
    /// Without it the environment variable ROOST_BOX is used, and else the only box that this
    /// computer is paired with.
    #[arg(long = "box", value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub device: Option<Address>,
}

/// Options of `roost pair`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost pair                                  the box whose card was flashed here
  roost pair attic.local
  roost pair 127.0.0.1:10443 --code A0B1-C2D3 --password-file pw.txt
  roost pair --list                           which computers the box knows
  roost pair --revoke \"old laptop\"

A box without an owner wants the code of its card, and gets its admin password here. A box that
has an owner wants that password instead.")]
pub struct PairArgs {
    /// Name or address of the box, with a port if its pages are not at 443 [default: the one card that was flashed here]
    #[arg(value_name = "ADDRESS", value_hint = clap::ValueHint::Hostname)]
    pub address: Option<WebAddress>,
    /// The pairing code of a new box [default: what `roost flash` left here; else asked for]
    #[arg(long, value_name = "CODE", conflicts_with_all = ["list", "revoke"])]
    pub code: Option<String>,
    /// The words of its certificate, as `roost flash` or the box's screen shows them, or its SHA-256
    ///
    /// Not needed for a box whose card was flashed on this computer.
    #[arg(long, value_name = "WORDS", conflicts_with_all = ["list", "revoke"])]
    pub fingerprint: Option<String>,
    /// Read the admin password from the first line of this file (- for standard input); a new box takes it as its own
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with_all = ["list", "revoke"])]
    pub password_file: Option<PathBuf>,
    /// Second factor of a box that has an owner: six digits, or a recovery code
    #[arg(long, value_name = "DIGITS", conflicts_with_all = ["list", "revoke"])]
    pub second: Option<String>,
    /// Mail domain of a new box whose image names none
    #[arg(long, value_name = "DOMAIN", conflicts_with_all = ["list", "revoke"])]
    pub domain: Option<String>,
    /// First account of a new box whose image names none
    #[arg(long, value_name = "NAME", conflicts_with_all = ["list", "revoke"])]
    pub account: Option<String>,
    /// What the box shall call this computer [default: its host name]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["list", "revoke"])]
    pub laptop: Option<String>,
    /// Port of the device API, if it is another than 7625
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), conflicts_with_all = ["list", "revoke"])]
    pub api_port: Option<u16>,
    /// Show which computers the box knows
    #[arg(long, conflicts_with = "revoke")]
    pub list: bool,
    /// Make the box forget a computer, at once; its name, or the beginning of its key
    #[arg(long, value_name = "NAME")]
    pub revoke: Option<String>,
    /// Do not ask before revoking
    #[arg(long, short)]
    pub yes: bool,
    /// Which box, for --list and --revoke.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost reset`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost reset
  roost reset attic --confirm attic
  roost reset --card /dev/sdb           at the box's next start, by its card

The box forgets its owner, its paired computers, all accounts and all mail. Its name, network and
certificate stay. It gets a new pairing code, which is shown here.")]
pub struct ResetArgs {
    /// The same as --box
    #[arg(value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub argument: Option<Address>,
    /// The box's name, instead of typing it when asked
    #[arg(long, value_name = "NAME")]
    pub confirm: Option<String>,
    /// Put the wish for a reset onto this card, or the file of an emulated box that is off
    #[arg(long, value_name = "DEVICE|FILE", value_hint = clap::ValueHint::AnyPath, conflicts_with_all = ["argument", "confirm"])]
    pub card: Option<PathBuf>,
    /// Do not ask; with --card only
    #[arg(long, short, requires = "card")]
    pub yes: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost find`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost find
  roost find --json | jq 'select(.event == \"result\").boxes[].addresses'")]
pub struct FindArgs {
    /// How long to listen
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,
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
    /// The box's configuration, for a bundle that is built
    #[arg(long, value_name = "FILE", default_value = "roost.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
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

/// Options of `roost doctor`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost doctor
  roost doctor attic.local
  roost doctor --json | jq '.checks[]? | select(.level == \"failed\" or .level == \"warning\")'

Exit codes: 0 if nothing has failed (there may be warnings); 1 if something has; 2 if the box could not be reached.")]
pub struct DoctorArgs {
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
  roost logs --boot 1 mail
  roost logs --json updater | jq -r 'select(.event == \"log\") | .text'")]
pub struct LogsArgs {
    /// A service, or init or kernel
    #[arg(default_value = "init")]
    pub service: String,
    /// Go on with what comes, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// How many lines at most, those of earlier starts included; the box keeps a bounded number of them
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub lines: u32,
    /// Only of one start of the box: 0 is the running one, 1 the one before
    #[arg(long, short, value_name = "N", conflicts_with = "follow")]
    pub boot: Option<u32>,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost boot-chart`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost boot-chart
  roost boot-chart attic.local --output attic.svg
  roost boot-chart --control build/roost.state/control     a box in the emulator, not paired
  roost boot-chart --json | jq '.steps[] | select(.stage == \"service\")'")]
pub struct BootChartArgs {
    /// The same as --box
    #[arg(value_name = "BOX", value_hint = clap::ValueHint::Hostname)]
    pub argument: Option<Address>,
    /// Where the picture is written; not with --json, which gives the figures
    #[arg(long, value_name = "FILE", default_value = "boot.svg", value_hint = clap::ValueHint::FilePath)]
    pub output: PathBuf,
    /// Ask the emulated box behind this control socket of `roost run`
    #[arg(long, value_name = "SOCKET", value_hint = clap::ValueHint::FilePath, conflicts_with_all = ["argument", "device"])]
    pub control: Option<PathBuf>,
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
