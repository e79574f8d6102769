//! Commands about the box's zones.

use super::BoxArgs;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Options of `roost dns`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
The box is the name server of your domain. From another one you come like this:
  roost dns import old.zone      keep your own records of BIND's zone file
  roost dns show                 see what the box will say, and why
  roost dns ds                   what your registrar has to be given
  roost dns check                see whether all of it is in force
and leave with `roost dns export > new.zone`.")]
pub struct DnsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DnsCommand,
}

/// What to do with a zone.
#[derive(Debug, Clone, Subcommand)]
pub enum DnsCommand {
    /// Show the zone: every record, what it is for, and how keys and copies stand
    Show(DnsShowArgs),
    /// Print the zone as a file that other name servers read (RFC 1035)
    Export(DnsExportArgs),
    /// Print what the registrar needs: name servers with their addresses, and DS records
    Ds(DnsZoneArgs),
    /// Print your own records, or put others in their place
    ///
    /// The box makes the records of mail and of itself. Yours stand beside them, one a line as in a
    /// zone file. Nothing is changed unless every line can be taken.
    Own(DnsOwnArgs),
    /// Keep your own records of another name server's zone file
    ///
    /// Shows which records are kept and which are not, and asks. The kept ones are added to those of
    /// `roost dns own`.
    Import(DnsImportArgs),
    /// Compare what is answered with what should be, at each name server and at the registry
    ///
    /// The box asks itself, the relay's copy, the name servers at their public addresses and the
    /// registry. That takes some seconds.
    Check(DnsCheckArgs),
    /// Choose what receivers do with mail that is forged in the domain's name (DMARC)
    ///
    /// Without a choice of yours the box begins with reports and makes it stricter as time goes by.
    Dmarc(DnsDmarcArgs),
    /// Replace the DNSSEC key that the registrar knows
    ///
    /// Only if it may have become known to others: the key that signs the zone is replaced by itself.
    /// The old key stays until the registry names the new one.
    ReplaceKey(DnsReplaceKeyArgs),
}

/// Which zone.
#[derive(Debug, Clone, Args)]
pub struct DnsZoneArgs {
    /// The domain [default: the box's own]
    #[arg(value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost dns show`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost dns show
  roost dns show example.net --type MX
  roost dns show --json | jq -r '.records[] | select(.source == \"owner\").name'")]
pub struct DnsShowArgs {
    /// Only records of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Which zone.
    #[command(flatten)]
    pub zone: DnsZoneArgs,
}

/// Options of `roost dns export`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost dns export > example.org.zone
  roost dns export --signed | named-checkzone example.org /dev/stdin")]
pub struct DnsExportArgs {
    /// With keys and signatures, as it is served
    #[arg(long)]
    pub signed: bool,
    /// Which zone.
    #[command(flatten)]
    pub zone: DnsZoneArgs,
}

/// Options of `roost dns own`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost dns own > own.zone
  roost dns own --set own.zone
  echo 'www 3600 IN A 192.0.2.80' | roost dns own --set -")]
pub struct DnsOwnArgs {
    /// A file with the records from now on; `-`: standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub set: Option<PathBuf>,
    /// Which zone.
    #[command(flatten)]
    pub zone: DnsZoneArgs,
}

/// Options of `roost dns import`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost dns import /etc/bind/db.example.org --dry-run
  roost dns import db.example.org --yes")]
pub struct DnsImportArgs {
    /// The zone file
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: PathBuf,
    /// Only show what would be kept
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which zone.
    #[command(flatten)]
    pub zone: DnsZoneArgs,
}

/// Options of `roost dns replace-key`.
#[derive(Debug, Clone, Args)]
pub struct DnsReplaceKeyArgs {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which zone.
    #[command(flatten)]
    pub zone: DnsZoneArgs,
}

/// Options of `roost dns check`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Ends with exit code 0 if all is as it should be, with 1 if something is not.

Examples:
  roost dns check
  roost dns check example.net --all
  roost dns check --json | jq '.rows[]? | select(.right | not)'")]
pub struct DnsCheckArgs {
    /// Show what is right as well
    #[arg(long)]
    pub all: bool,
    /// Which zone.
    #[command(flatten)]
    pub zone: DnsZoneArgs,
}

/// Options of `roost dns dmarc`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost dns dmarc example.org                see what holds now
  roost dns dmarc example.org quarantine
  roost dns dmarc example.org automatic")]
pub struct DnsDmarcArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    pub domain: String,
    /// What receivers shall do; without it, shows what holds now
    #[arg(value_name = "STAGE")]
    pub stage: Option<DmarcStage>,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// What receivers shall do with forged mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DmarcStage {
    /// Only report it
    None,
    /// Put it into the junk folder
    Quarantine,
    /// Refuse it; mailing lists that change messages then lose yours
    Reject,
    /// As the box thinks fit, more strictly as time goes by
    Automatic,
}
