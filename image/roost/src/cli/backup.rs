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

The box can also back up by itself, once a day, to a bucket of an S3 server, a folder of an SFTP server, or a USB disk
that is plugged into it:
  roost backup target set s3://backups/attic --endpoint https://s3.example.net --key-id KEY
  roost backup target set sftp://roost@nas.local/backups/attic
  roost backup target set usb://
  roost backup status                     how that goes, and when a backup was last proven

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
    /// Choose where the box backs up to by itself
    Target(BackupTargetArgs),
    /// Have the box back up to its target now
    Now(BackupNowArgs),
    /// Have the box read the newest backup at its target back, and compare it
    ///
    /// It does so once a week by itself. Nothing is written to its card for that.
    Prove(BackupNowArgs),
    /// Show how the box's own backups stand: the newest, the next, what failed, what was proven
    Status(BackupStatusArgs),
}

/// What to do about the target.
#[derive(Debug, Clone, Args)]
pub struct BackupTargetArgs {
    /// What.
    #[command(subcommand)]
    pub command: BackupTargetCommand,
}

/// What to do about the target.
#[derive(Debug, Clone, Subcommand)]
pub enum BackupTargetCommand {
    /// Back up to this place from now on; the box tries it before it keeps it
    Set(BackupTargetSetArgs),
    /// Show the key by which the box signs in at SFTP servers, as a line for authorized_keys
    #[command(after_help = "\
Examples:
  roost backup target key
  roost backup target key --json | jq -r .key | ssh roost@nas.local 'cat >> .ssh/authorized_keys'")]
    Key(BackupStatusArgs),
    /// Show which USB disks are plugged into the box, and which of them it can back up to
    #[command(after_help = "\
Examples:
  roost backup target disks
  roost backup target disks --json | jq -r '.disks[] | select(.problem == null) | .mark.id'")]
    Disks(BackupStatusArgs),
    /// Show where the box backs up to
    #[command(after_help = "\
Examples:
  roost backup target show")]
    Show(BackupStatusArgs),
    /// Back up to no target any more; what lies there stays
    Remove(BackupTargetRemoveArgs),
}

/// How to get into a bucket, or a server.
#[derive(Debug, Clone, Default, Args)]
pub struct AccessArgs {
    /// S3: address of the server, e.g. https://s3.example.net [default: Amazon's, for the region]
    #[arg(long, value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub endpoint: Option<String>,
    /// S3: region of the bucket [default: the one in the server's name, or us-east-1]
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// S3: name of the access key
    #[arg(long, value_name = "KEY")]
    pub key_id: Option<String>,
    /// Read the secret key, or the password of an SFTP server, from this file (- for standard input) [default: asked for]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub secret_file: Option<PathBuf>,
    /// SFTP: fingerprint of the server's host key, e.g. SHA256:nThbg6kXUpJW… [default: shown, and asked for]
    #[arg(long, value_name = "FINGERPRINT")]
    pub host_key: Option<String>,
}

/// How this computer gets into a bucket, or a server.
#[derive(Debug, Clone, Default, Args)]
pub struct OwnAccessArgs {
    /// As the box does.
    #[command(flatten)]
    pub access: AccessArgs,
    /// SFTP: sign in with this private key of OpenSSH [default: with a password]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "secret_file")]
    pub key_file: Option<PathBuf>,
}

/// Options of `roost backup target set`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost backup target set s3://backups/attic --region eu-central-1 --key-id AKIAIOSFODNN7EXAMPLE
  roost backup target set s3://backups/attic --endpoint https://s3.example.net --key-id KEY --secret-file key.txt
  roost backup target key                       the line for authorized_keys, before the next one
  roost backup target set sftp://roost@nas.local/backups/attic
  roost backup target set sftp://roost@nas.local:2222/~/attic --password
  roost backup target disks                     which USB disks are plugged in, before the next two
  roost backup target set usb://                the one that there is, or that you choose from a list
  roost backup target set usb://1A2B-3C4D/attic

A folder of an SFTP server is named from the top, or with ~ from where the account begins. The box shows the
fingerprint of the server's host key, and talks to no other server from then on.

A USB disk has FAT, exFAT or ext4, and is named by the number or the name of its file system. The folder on it is
roost-backups if none is named. Only that disk is written to, and it is mounted only while the box is at work there.

The key of a bucket needs the rights to list the bucket, to read and to write. With the right to remove, the newest
of seven days, five weeks and twelve months are kept; without, all are, and the bucket grows. Whoever
breaks into the box has the key: a bucket that keeps versions, or a NAS that keeps snapshots, loses nothing
even then.")]
pub struct BackupTargetSetArgs {
    /// The place: s3://BUCKET/PREFIX, sftp://USER@HOST[:PORT]/FOLDER or usb://DISK/FOLDER; each box has a prefix or folder of its own
    #[arg(value_name = "PLACE")]
    pub place: String,
    /// How to get in.
    #[command(flatten)]
    pub access: AccessArgs,
    /// SFTP: sign in with a password in place of the box's key
    #[arg(long)]
    pub password: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost backup target remove`.
#[derive(Debug, Clone, Args)]
pub struct BackupTargetRemoveArgs {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost backup now` and `roost backup prove`.
#[derive(Debug, Clone, Args)]
pub struct BackupNowArgs {
    /// Do not wait until it has ended
    #[arg(long)]
    pub no_wait: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost backup status`, and of `roost backup target` with `show`, `disks` and `key`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost backup status
  roost backup status --json | jq -r .proof.at")]
pub struct BackupStatusArgs {
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
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
    /// The folder with the backups, or the box's target: s3://BUCKET/PREFIX or sftp://USER@HOST/FOLDER
    #[arg(value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
    /// How to get in.
    #[command(flatten)]
    pub access: OwnAccessArgs,
    /// The code.
    #[command(flatten)]
    pub code: CodeSource,
}

/// Options of `roost backup check`.
#[derive(Debug, Clone, Args)]
pub struct BackupCheckArgs {
    /// The folder with the backups, or the box's target: s3://BUCKET/PREFIX or sftp://USER@HOST/FOLDER
    #[arg(value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
    /// How to get in.
    #[command(flatten)]
    pub access: OwnAccessArgs,
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
  roost restore s3://backups/attic --endpoint https://s3.example.net --key-id KEY
  roost restore sftp://roost@nas.local/backups/attic --key-file ~/.ssh/id_ed25519
  roost restore /media/BACKUP/roost-backups             the box's USB disk, plugged into this computer

The new card is the same box: name, certificate, paired laptops, accounts, mail and keys. Two boxes with
the same keys must never serve at once. With a relay, the old card stands down for good as soon as the
new one has reached it (`roost relay takeover` is the way back); without one, keep the old card out.
A card from a bucket or a server backs up to it again by itself, with the key or password that it was restored
with. In place of a key of yours it makes one of its own (`roost backup target key`).")]
pub struct RestoreArgs {
    /// The folder with the backups, or the box's target: s3://BUCKET/PREFIX or sftp://USER@HOST/FOLDER
    #[arg(value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    pub folder: PathBuf,
    /// How to get in.
    #[command(flatten)]
    pub access: OwnAccessArgs,
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
