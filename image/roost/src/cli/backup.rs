//! Backups of a box, and a new card from one.

use super::BoxArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of `roost backup`.
#[derive(Debug, Clone, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  roost backup ~/roost-backups            fetch what is new since the last one
  roost backup code                       show the recovery code, to be kept on paper
  roost backup check ~/roost-backups      prove that the newest one comes back whole
  roost restore ~/roost-backups           a new card from the newest one

A backup has everything: mail, accounts, passwords' hashes, keys and settings. It is encrypted with
the recovery code, which the box has made. WITHOUT THE CODE A BACKUP IS LOST, and nobody can help.
The folder has the format of restic; restic opens it with the code's twelve words as the password."
)]
pub struct BackupArgs {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    /// The folder with the backups; it is made if it is not there
    #[arg(value_name = "FOLDER", value_hint = clap::ValueHint::DirPath, required = true)]
    pub folder: Option<PathBuf>,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// What else to do about backups.
#[derive(Debug, Clone, Subcommand)]
pub enum BackupCommand {
    /// Show which backups there are
    List(BackupListArgs),
    /// Prove that backups are whole: read all of them, get one back, compare counts and hashes
    Check(BackupCheckArgs),
    /// Show the recovery code of a box
    Code(BackupCodeArgs),
}

/// Whence the recovery code comes.
#[derive(Debug, Clone, Args)]
pub struct CodeSource {
    /// Read the recovery code from this file (- for standard input) [default: asked for]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub code_file: Option<PathBuf>,
}

/// Options of `roost backup list`.
#[derive(Debug, Clone, Args)]
pub struct BackupListArgs {
    /// The folder with the backups
    #[arg(value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The code.
    #[command(flatten)]
    pub code: CodeSource,
}

/// Options of `roost backup check`.
#[derive(Debug, Clone, Args)]
pub struct BackupCheckArgs {
    /// The folder with the backups
    #[arg(value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The backup that is got back, by the begin of its name [default: the newest]
    #[arg(long, value_name = "NAME")]
    pub backup: Option<String>,
    /// Where it is put for that, for a moment; it takes as much room as the box's data [default: the system's folder for such things]
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub scratch: Option<PathBuf>,
    /// The code.
    #[command(flatten)]
    pub code: CodeSource,
}

/// Options of `roost backup code`.
#[derive(Debug, Clone, Args)]
pub struct BackupCodeArgs {
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost restore`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost restore ~/roost-backups                         choose a card, and write it
  roost restore ~/roost-backups /dev/sdb --backup 3f2a
  roost restore ~/roost-backups card.img --yes --code-file code.txt

The new card is the same box: name, certificate, paired laptops, accounts, mail and keys. Two boxes with
the same keys must never run at once: the old card stays out for good.")]
pub struct RestoreArgs {
    /// The folder with the backups
    #[arg(value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
    /// The card, e.g. /dev/sdb; or a file, which is made [default: chosen from a list]
    #[arg(value_name = "DEVICE", value_hint = clap::ValueHint::AnyPath)]
    pub device: Option<PathBuf>,
    /// The backup, by the begin of its name [default: the newest]
    #[arg(long, value_name = "NAME")]
    pub backup: Option<String>,
    /// The image, packed by zstd or not [default: build/roost.img, else build/roost.img.zst]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub image: Option<PathBuf>,
    /// Where data is put on the way; three times as much as the box has [default: the folder of the image]
    #[arg(long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub scratch: Option<PathBuf>,
    /// Do not ask; only for a card or stick that nothing uses, or a file
    #[arg(long, short)]
    pub yes: bool,
    /// The code.
    #[command(flatten)]
    pub code: CodeSource,
}
