//! The command line, defined once: parser, help and shell completions come from these types.

mod backup;
mod certificates;
mod device;
mod dns;
mod flash;
mod moving;
#[cfg(test)]
mod page;
mod relay;

pub use backup::{
    AccessArgs, BackupArgs, BackupCheckArgs, BackupCodeArgs, BackupCommand, BackupListArgs,
    BackupNowArgs, BackupStatusArgs, BackupTargetCommand, BackupTargetRemoveArgs,
    BackupTargetSetArgs, CodeSource, OwnAccessArgs, RestoreArgs,
};
pub use certificates::{
    CertificatesAgreeArgs, CertificatesArgs, CertificatesCommand, CertificatesOneArgs,
    CertificatesRevokeArgs, CertificatesSetArgs, CertificatesShowArgs,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub use device::{
    BootChartArgs, BoxArgs, DoctorArgs, FindArgs, LogsArgs, PairArgs, RebootArgs, ResetArgs,
    RollbackArgs, ServeArgs, StatusArgs, UpdateArgs,
};
pub use dns::{
    DmarcStage, DnsArgs, DnsCheckArgs, DnsCommand, DnsDmarcArgs, DnsExportArgs, DnsImportArgs,
    DnsOwnArgs, DnsReplaceKeyArgs, DnsShowArgs, DnsZoneArgs,
};
pub use flash::FlashArgs;
pub use moving::{ExportArgs, Format, ImportArgs, MailPortArgs};
pub use relay::{
    BoxKeyArgs, ProjectArgs, RelayApplyArgs, RelayArgs, RelayCommand, RelayConnectArgs,
    RelayCostArgs, RelayDestroyArgs, RelayFinishArgs, RelayLookArgs, RelayPlanArgs,
    RelayScriptArgs, RelayTakeoverArgs,
};
use roost_bundle::{Hash, PublicKey};
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the work failed; the message says what, why and what to try
  2    wrong usage, or a roost.toml that cannot be used; nothing was done
  3    the network is needed, but --offline was given
  4    a version was tried on the box and rolled back; the one from before runs
  130  ended by Ctrl-C, or you said no";

const FIRST_STEPS: &str = "\
First steps:
  roost init --domain example.org     write roost.toml
  roost build                         if you like: make the image
  roost run                           and try it on this machine, in an emulator
  roost flash                         make it if need be, and write it to a card for the Raspberry Pi
  roost pair                          become its owner, once it is on, unless you did in a browser
  roost relay apply                   its public address; your domain leads there

Later:
  roost import imaps://USER@HOST      move your old mail in
  roost status                        see how the box is
  roost doctor                        check everything, and see what to do
  roost update --bundle FILE          give it a new version, without losing a mail
  roost export                        take everything with you, should you leave

";

/// Builds, runs and looks after a mail box for your home.
///
/// One file, roost.toml, says what your box is. From it `roost build` makes the
/// image for a Raspberry Pi's SD card, the same image that `roost run` starts in
/// an emulator.
#[derive(Debug, Parser)]
#[command(
    name = "roost",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(after_help = format!("{FIRST_STEPS}{EXIT_CODES}"))]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command understands.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Print JSON events for scripts, one object a line, on standard output
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Print only warnings, errors and results; has no effect on --json
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub quiet: bool,
    /// When to use colours: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a roost.toml for your box
    ///
    /// What you do not give as an option is asked for on a terminal. The file holds only a hash
    /// of the password (Argon2id). With --generate-password a password is made and shown once.
    ///
    /// Two keys are made in ~/.config/roost/DOMAIN, unless they are there already: update.key signs
    /// the updates of the box, laptop.key is how the box knows this computer. roost.toml gets
    /// their public halves. Keep a copy of both files.
    Init(InitArgs),
    /// Make a password's hash for roost.toml
    ///
    /// Prints the line to put under [account]. The hash is Argon2id, cheap enough for the
    /// smallest box. Without an option the password is asked for.
    Password(PasswordArgs),
    /// Make the image from roost.toml
    ///
    /// The first build fetches pinned Debian packages and crates, makes the SDK root and
    /// compiles the programs of the box: most of an hour on two cores. Later builds redo
    /// only what changed, and --offline then works.
    Build(BuildArgs),
    /// Pack the image into a signed update, or look into one
    ///
    /// An update bundle holds everything that a box needs to write the new image into its second
    /// slot, and nothing else: of a change in one program a box fetches about a hundred kilobytes.
    Bundle(BundleArgs),
    /// Start the image in an emulator (QEMU)
    ///
    /// The box's ports are forwarded to 127.0.0.1 at their number plus the offset: with the
    /// default of 10000, SMTP is at 10025, IMAPS at 10993 and HTTPS at 10443. The box keeps its
    /// data between runs unless you say --fresh. Ctrl-C shuts it down.
    Run(RunArgs),
    /// Write the image to a card, and make it one box's own
    ///
    /// Makes the image first if there is none. Finds cards and sticks and shows what is on them.
    /// Writes, reads everything back and compares. The card gets a name, a one-time pairing code and a
    /// certificate of its own, and a fixed address if you give one; all are shown at the end, the code
    /// never again. The box lets this computer in once it has an owner, as after `roost pair`.
    Flash(FlashArgs),
    /// Look after the SDK root, the pinned Debian system that images are built in
    ///
    /// `roost build` makes it by itself when it is missing; it takes about 2.5 GB.
    Sdk(SdkArgs),
    /// Refresh roost.lock from Debian's signed indexes
    ///
    /// roost.lock pins every Debian package of a build by version and SHA-256. The newest
    /// versions are read from indexes whose signatures Debian's keyring confirms, and every
    /// later build checks each download against the file.
    Lock(LockArgs),
    /// Find boxes on this network
    ///
    /// Asks by multicast DNS and lists who answers: name, addresses, version, and whether the box
    /// has an owner.
    Find(FindArgs),
    /// Make this computer one that the box knows
    ///
    /// The certificate of the box is compared with the one that `roost flash` put on its card, or
    /// you compare its words. Then the box gets its owner, or asks for the owner's password, and
    /// takes a key that was made for it here. From then on each knows the other.
    Pair(Box<PairArgs>),
    /// Give the box a new version
    ///
    /// Shows what would change and asks. Then the parts that the box lacks are sent into its
    /// unused slot, the box restarts into that on trial, checks itself, and keeps the new
    /// version or returns to the old one by itself. A transfer that is cut off continues where
    /// it ended.
    Update(UpdateArgs),
    /// Show how the box is
    Status(StatusArgs),
    /// Check everything about the box, and say what to do
    ///
    /// The box looks at its services, card, clock and network, at the tunnel and the relay, at what the DNS
    /// says of your domain, certificates, and how others see its mail. That takes up to half a minute.
    /// docs/doctor.md tells of each check. The box does the same once a day, and writes to you when
    /// something has become worse or better.
    Doctor(DoctorArgs),
    /// Show what a service of the box has logged
    Logs(LogsArgs),
    /// Draw how the box's last start went
    ///
    /// A picture (SVG): the kernel, the steps up to the services, each service from its start until
    /// it is ready, and when what became true.
    BootChart(BootChartArgs),
    /// Restart the box, and wait until its services are ready
    Reboot(RebootArgs),
    /// Return to the version in the box's other slot
    ///
    /// It is tried as an update is: the box restarts into it on trial, and keeps it only if its
    /// checks pass.
    Rollback(RollbackArgs),
    /// Make the box as new: forget owner, accounts and mail
    Reset(ResetArgs),
    /// Serve a bundle over HTTP to boxes that follow a URL
    ///
    /// The bundle is at /roost.bundle. Whoever reaches the port can read it: bundles are signed,
    /// not secret. Ctrl-C ends it.
    Serve(ServeArgs),
    /// Fetch a backup of the box: everything it keeps, encrypted, and only what is new
    ///
    /// Of every later backup only changes are sent and kept. Each is whole: it needs none of the
    /// others. What is there is never changed or removed, whatever the box says.
    Backup(Box<BackupArgs>),
    /// Make a new card from a backup: the same box, with all its mail
    ///
    /// Gets the backup back, compares it with what the box wrote down when it made it, puts it into
    /// the image of `roost build`, and writes that to a card as `roost flash` does.
    Restore(Box<RestoreArgs>),
    /// Look after the relay, the box's public end in your AWS account
    ///
    /// The box at home has no public address. A small machine at AWS lends it one, for about seven
    /// dollars a month: it passes mail, web and DNS through a tunnel and stores nothing.
    Relay(Box<RelayArgs>),
    /// Look after your domain's zone: the box is its name server
    Dns(DnsArgs),
    /// Look after the box's certificates: why others trust it
    Certificates(CertificatesArgs),
    /// Move mail into the box: from another server, from maildirs, from mbox files
    ///
    /// Every message keeps its folder, its marks and its date, and goes in once, however often you
    /// run the command. Nothing is changed in the old mailbox.
    Import(Box<ImportArgs>),
    /// Pack all that is yours into one file, for the day you leave
    ///
    /// Mail, contacts, calendars, the domain's zone and the relay's Terraform project, in forms that
    /// other servers read, with a README.txt that says how.
    Export(Box<ExportArgs>),
    /// Print a completion script for your shell
    Completions(CompletionsArgs),
}

/// Options of `roost init`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost init                                             ask for everything
  roost init mybox --domain example.org --account alice --generate-password
  roost init --domain example.org --account alice --password-file pw.txt")]
pub struct InitArgs {
    /// Folder to write roost.toml into; made if missing
    #[arg(default_value = ".", value_hint = clap::ValueHint::DirPath)]
    pub dir: PathBuf,
    /// Your mail domain; addresses will be ACCOUNT@DOMAIN
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Name of the box on the home network [default: roost]
    #[arg(long)]
    pub name: Option<String>,
    /// The first account, e.g. alice
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// That person's name as shown in mail, e.g. "Alice Example"
    #[arg(long, value_name = "NAME")]
    pub display_name: Option<String>,
    /// Where the account's password comes from.
    #[command(flatten)]
    pub password: PasswordSource,
    /// Replace a roost.toml that is there already
    #[arg(long)]
    pub force: bool,
}

/// Options of `roost password`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost password
  roost password --generate-password
  printf '%s' \"$secret\" | roost password --password-file -")]
pub struct PasswordArgs {
    /// Where the password comes from.
    #[command(flatten)]
    pub source: PasswordSource,
}

/// Where a new password comes from; asked for on a terminal if nothing is said.
#[derive(Debug, Clone, Args)]
pub struct PasswordSource {
    /// Read the password from the first line of this file (- for standard input)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "generate_password")]
    pub password_file: Option<PathBuf>,
    /// Make a password and show it once
    #[arg(long)]
    pub generate_password: bool,
}

/// Options of `roost build`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost build
  roost build --config mybox/roost.toml --output mybox/build
  roost build --offline --json | jq 'select(.event == \"result\")'")]
pub struct BuildArgs {
    /// The box's configuration
    #[arg(long, value_name = "FILE", default_value = "roost.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// Folder for the image and the reports about it
    #[arg(long, value_name = "DIR", default_value = "build", value_hint = clap::ValueHint::DirPath)]
    pub output: PathBuf,
    /// Use no network; fail with exit code 3 if something is not there yet
    #[arg(long)]
    pub offline: bool,
    /// Give the image this number, which a box compares to tell what is newer
    ///
    /// Without it the number is that of the last build, plus one if anything has changed.
    /// It is kept in roost.release.json beside the configuration.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=crate::release::MAX_NUMBER))]
    pub release: Option<u64>,
    /// Let services make every system call, and log those that are on no list (test images only)
    #[arg(long, hide = true)]
    pub record_syscalls: bool,
}

/// Options of `roost bundle`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost bundle make --notes \"Faster, and a leak less.\"
  roost bundle inspect build/roost.bundle
  roost bundle verify build/roost.bundle")]
pub struct BundleArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BundleCommand,
}

/// What to do with bundles.
#[derive(Debug, Clone, Subcommand)]
pub enum BundleCommand {
    /// Build what has changed, and pack it into roost.bundle beside the image
    ///
    /// The bundle is signed with update.key, which `roost init` made. It has deltas against the
    /// last three releases: a box that runs one of them fetches only what differs.
    Make(Box<MakeArgs>),
    /// Show what is in a bundle
    Inspect(InspectArgs),
    /// Check the signature of a bundle and every byte in it
    Verify(VerifyArgs),
}

/// Options of `roost bundle make`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost bundle make
  roost bundle make --from 12 --base old/roost.bundle
  roost bundle make --signing-key old.key --new-key ~/.config/roost/example.org/update.key")]
pub struct MakeArgs {
    /// Options of the build that comes first.
    #[command(flatten)]
    pub build: BuildArgs,
    /// What has changed, for the people who see the update
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,
    /// Say that the release before cannot run again after this one; updates then ask first
    #[arg(long)]
    pub irreversible: bool,
    /// Make deltas also for boxes that run release N, if its slot is still in the cache
    #[arg(long, value_name = "N")]
    pub from: Vec<u64>,
    /// Make deltas also against the slot in this bundle or slot image
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub base: Vec<PathBuf>,
    /// File of the key that signs [default: update.key in ~/.config/roost/DOMAIN]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub signing_key: Option<PathBuf>,
    /// File of the key that the box shall trust from now on instead; signs as well
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub new_key: Option<PathBuf>,
    /// Build nothing; pack this slot image (for tests of damaged slots)
    #[arg(
        long,
        value_name = "FILE",
        hide = true,
        requires = "root_hash",
        requires = "release"
    )]
    pub slot: Option<PathBuf>,
    /// Root hash of dm-verity in that slot
    #[arg(long, value_name = "HEX", hide = true, value_parser = hash)]
    pub root_hash: Option<Hash>,
    /// zstd level of the payloads instead of 19, for tests that do not look at the size
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(i32).range(1..=22))]
    pub level: Option<i32>,
    /// Say that the bundle is for this board only
    #[arg(long, value_name = "NAME", hide = true)]
    pub board: Vec<String>,
}

/// Options of `roost bundle inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The bundle
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
}

/// Options of `roost bundle verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The bundle
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// A key to trust, 64 hexadecimal digits [default: those in [update] of the configuration]
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    pub key: Vec<PublicKey>,
    /// The box's configuration; only its keys matter here
    #[arg(long, value_name = "FILE", default_value = "roost.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::parse(text)
        .ok_or_else(|| "expected an Ed25519 public key of 64 hexadecimal digits".to_owned())
}

fn hash(text: &str) -> Result<Hash, String> {
    text.parse()
        .map_err(|_| "expected 64 hexadecimal digits".to_owned())
}

/// Options of `roost run`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost run
  roost run --port-offset 20000 --fresh
  roost run --machine raspi3b --image build/roost.img")]
pub struct RunArgs {
    /// Which machine to emulate
    #[arg(long, value_enum, default_value = "virt")]
    pub machine: Machine,
    /// The image to start
    #[arg(long, value_name = "FILE", default_value = "build/roost.img", value_hint = clap::ValueHint::FilePath)]
    pub image: PathBuf,
    /// Added to each of the box's port numbers to make this machine's; 0 picks free ports
    // The box's highest port is 7625: the sum must stay below 65536, and above the privileged ports.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = port_offset)]
    pub port_offset: u16,
    /// Folder that keeps the box's card between runs [default: beside the image, with .state for .img]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub state: Option<PathBuf>,
    /// Size of a new card, e.g. 2GiB; a power of two for raspi3b [default: 4GiB]
    #[arg(long, value_name = "SIZE", value_parser = card_size)]
    pub disk_size: Option<u64>,
    /// Memory of the virt machine in MB
    #[arg(long, value_name = "MB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..=16_384))]
    pub memory: u32,
    /// Processors of the virt machine
    ///
    /// More than this machine has make it slower, not faster.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub cpus: u32,
    /// Let one more host join the box's network through the Unix socket `lan` in the state folder (virt only)
    ///
    /// The socket takes Ethernet frames, a datagram each, and sends the box's to the socket
    /// `lan-peer` beside it. The emulator then does no IPv6 of its own: the other host may be the
    /// network's IPv6 router.
    #[arg(long)]
    pub lan: bool,
    /// Nobody but that host is on the box's network: no DHCP, no way out, no forwarded ports
    #[arg(long, requires = "lan", hide = true)]
    pub lan_only: bool,
    /// Have QEMU open a second control channel (QMP) at the Unix socket `monitor` in the state folder
    #[arg(long, hide = true)]
    pub monitor: bool,
    /// Give the box sockets for USB disks, which are plugged in through that channel (virt only)
    #[arg(long, requires = "monitor", hide = true)]
    pub usb: bool,
    /// Write the serial console to this file [default: console.log in the state folder]
    ///
    /// With - it goes to console.log and is shown on standard output as well, a line at a time;
    /// with --json as events ("event": "console").
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub console: Option<PathBuf>,
    /// End when the box restarts instead of going on
    #[arg(long)]
    pub once: bool,
    /// Forget the data of earlier runs and start from the image as it was built
    #[arg(long)]
    pub fresh: bool,
}

fn port_offset(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(n @ (0 | 1024..=57_910)) => Ok(n),
        _ => Err("expected 0 or a number from 1024 to 57910".to_owned()),
    }
}

fn card_size(text: &str) -> Result<u64, String> {
    let expected = || "expected a number and MiB or GiB, e.g. 2GiB".to_owned();
    let (number, shift) = match (text.strip_suffix("GiB"), text.strip_suffix("MiB")) {
        (Some(n), _) => (n, 30),
        (_, Some(n)) => (n, 20),
        _ => return Err(expected()),
    };
    match number.trim().parse::<u64>() {
        Ok(n) if (1..=4096).contains(&n) => Ok(n << shift),
        _ => Err(expected()),
    }
}

/// A machine that `roost run` can emulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// QEMU's generic ARM64 machine: quick, with network
    Virt,
    /// A Raspberry Pi 3B: slow, started as the Pi's firmware would
    Raspi3b,
}

/// Options of `roost sdk`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost sdk show
  roost sdk run cargo build --release --offline --target aarch64-unknown-linux-gnu
  roost sdk remove        frees the space; the next build makes it again")]
pub struct SdkArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: SdkCommand,
}

/// What to do with the SDK root.
#[derive(Debug, Clone, Subcommand)]
pub enum SdkCommand {
    /// Make it now, as roost.lock pins it
    Make(SdkMakeArgs),
    /// Show where it is, how big it is and what is in it
    Show,
    /// Run a command in it, as a build does: with its compilers, without the network
    ///
    /// The current folder is at /work and the only one that can be written. Cargo and rustc
    /// make static programs for the box with --target aarch64-unknown-linux-gnu; what they make
    /// can stand for a program of Roost's by a table [components.NAME] of roost.toml. Ends with
    /// the command's exit code.
    Run(SdkRunArgs),
    /// Remove it
    Remove,
}

/// Options of `roost sdk run`.
#[derive(Debug, Clone, Args)]
pub struct SdkRunArgs {
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<std::ffi::OsString>,
}

/// Options of `roost sdk make`.
#[derive(Debug, Clone, Args)]
pub struct SdkMakeArgs {
    /// The box's configuration; only its Debian mirror matters here
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Use no network; fail with exit code 3 if a package is not there yet
    #[arg(long)]
    pub offline: bool,
}

/// Options of `roost lock`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  roost lock && git diff roost.lock        see what a refresh changes")]
pub struct LockArgs {
    /// The box's configuration; only its Debian mirror matters here
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// Options of `roost completions`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost completions bash > ~/.local/share/bash-completion/completions/roost
  roost completions zsh  > ~/.zfunc/_roost
  roost completions fish > ~/.config/fish/completions/roost.fish")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    /// One snapshot of `--help` for `roost` and each of its commands.
    #[test]
    fn help_texts() {
        let mut commands = vec![(String::from("roost"), Cli::command().term_width(100))];
        while let Some((name, mut command)) = commands.pop() {
            // Global options reach the subcommands only now.
            command.build();
            insta::assert_snapshot!(
                name.replace(' ', "_"),
                command.render_long_help().to_string()
            );
            commands.extend(
                command
                    .get_subcommands()
                    .filter(|c| c.get_name() != "help")
                    .map(|c| (format!("{name} {}", c.get_name()), c.clone())),
            );
        }
    }

    #[test]
    fn every_documented_exit_code_exists() {
        use crate::error::Exit;
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Offline,
            Exit::RolledBack,
            Exit::Interrupted,
        ] {
            let code = exit as u8;
            assert!(EXIT_CODES.contains(&format!("\n  {code:<5}")), "{code}");
        }
    }
}
