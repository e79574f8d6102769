//! Commands that move mail in and out.

use super::{BoxArgs, CodeSource, OwnAccessArgs};
use crate::mail::account::{ImapUrl, fingerprint};
use clap::{Args, ValueEnum};
use roost_service::fingerprint::Fingerprint;
use std::path::PathBuf;

/// Options of `roost import`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost import imaps://alice@old.example@mail.old.example --dry-run
                                             see what there is
  roost import imaps://alice@old.example@mail.old.example
  roost import imaps://bob@mail.old.example --account bob --exclude Junk
  roost import ~/Maildir --into \"Old laptop\"
  roost import ~/Mail                         mbox files, and folders of them
  roost import unpacked/mail/alice            what `roost export` has packed

You move like this:
  1. Import while mail still arrives at the old server. That may take hours; stop it
     whenever you like.
  2. Let your domain's mail come to the box (roost dns check).
  3. Import again. It takes only what is new, and goes quickly.

The password of the old account is asked for, or comes from --password-file or the environment
variable ROOST_IMPORT_PASSWORD. Large providers want a password for this program alone (\"app
password\"). On the box a password is made for this command, and taken back at its end.

Sent, Drafts, Trash, Junk and Archive go to the box's own folders for these, whatever they are
called. A message counts as the same if it has the same Message-ID, the same size and the same
content; it is moved once, even if you delete it in the box later (--again brings it back).

Ends with exit code 0 if every message is in the box, with 1 if some were refused: they are
listed, with the reason, and the others are moved all the same.")]
pub struct ImportArgs {
    /// An account of a server (imaps://USER@HOST, or imap:// for STARTTLS), a maildir, an mbox file, or a folder of these
    #[arg(value_name = "FROM", value_hint = clap::ValueHint::AnyPath)]
    pub source: String,
    /// The account of the box that gets the mail [default: the first one]
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// Only show what would be moved
    #[arg(long)]
    pub dry_run: bool,
    /// Only this folder, and those in it; may be given more than once
    #[arg(long, value_name = "FOLDER")]
    pub folder: Vec<String>,
    /// Not this folder, nor those in it; may be given more than once
    #[arg(long, value_name = "FOLDER")]
    pub exclude: Vec<String>,
    /// Put all folders into this one
    #[arg(long, value_name = "FOLDER")]
    pub into: Option<String>,
    /// Move also what was moved before and is not there any more
    #[arg(long)]
    pub again: bool,
    /// Read the old account's password from the first line of this file (- for standard input)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
    /// Believe an old server that shows the certificate with this SHA-256, whoever vouches for it
    #[arg(long, value_name = "SHA256", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
    /// Move into this account of any server, instead of a box
    #[arg(long, value_name = "URL", help_heading = "Another server", conflicts_with_all = ["account", "device"])]
    pub to: Option<ImapUrl>,
    /// Read its password from the first line of this file [default: ROOST_IMPORT_TO_PASSWORD, or asked for]
    #[arg(long, value_name = "FILE", help_heading = "Another server", requires = "to", value_hint = clap::ValueHint::FilePath)]
    pub to_password_file: Option<PathBuf>,
    /// Believe it if it shows the certificate with this SHA-256
    #[arg(long, value_name = "SHA256", help_heading = "Another server", requires = "to", value_parser = fingerprint)]
    pub to_fingerprint: Option<Fingerprint>,
    /// Which box, and where its mail is.
    #[command(flatten)]
    pub mail: MailPortArgs,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Ports of a box that is behind forwarded ones.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which box")]
pub struct MailPortArgs {
    /// Port of its IMAP over TLS, if it is another than 993
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub imap_port: Option<u16>,
    /// Port of its pages, calendars and contacts, if it is another than 443
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub web_port: Option<u16>,
}

/// How mail is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A file for each message (Maildir++), with its marks and its date: Dovecot, Courier, mutt
    Maildir,
    /// A file for each folder (mboxrd): Thunderbird, Apple's Mail, and most others
    Mbox,
}

/// Options of `roost export`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost export                                    all accounts, into roost-DOMAIN-DATE.tar.zst
  roost export --account alice --format mbox --output alice.tar
  roost export --output /media/stick/mail.tar.zst
  roost export --keys-from ~/backups              what signs in your name too, out of a backup

In the file: README.txt (what is what, and how to move it into Dovecot, BIND, another host), mail,
contacts (vCard), calendars (iCalendar), the domain's zone, the relay's Terraform project, and
SHA256SUMS. Unpack it with `tar xf`. The private keys for DKIM and DNSSEC are in it if you ask for
them: no box hands them out, so they come from a backup, which needs the recovery code.

The file appears when it is complete, or not at all. Whoever has it can read your mail: keep it
safe.")]
pub struct ExportArgs {
    /// The file; its name ends with .tar, or with .tar.zst if it shall be compressed
    #[arg(long, short, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Only this account; may be given more than once [default: all]
    #[arg(long, value_name = "NAME")]
    pub account: Vec<String>,
    /// How mail is packed
    #[arg(long, value_name = "FORMAT", default_value = "maildir")]
    pub format: Format,
    /// Leave out messages that the box cannot read any more, instead of giving up
    ///
    /// They are listed in the file.
    #[arg(long)]
    pub without_unreadable: bool,
    /// The roost.toml beside which the relay's Terraform project is, if there is one
    #[arg(long, value_name = "FILE", default_value = "roost.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
    /// Put the private keys in too: of this folder with backups, or the box's target (s3:// or sftp://)
    ///
    /// Those of DKIM, and those of DNSSEC as BIND has them. Whoever gets them can sign in your name.
    #[arg(long, value_name = "FOLDER", help_heading = "Private keys", conflicts_with = "from", value_hint = clap::ValueHint::DirPath)]
    pub keys_from: Option<PathBuf>,
    /// Of this backup, by the begin of its name [default: the newest]
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "Private keys",
        requires = "keys_from"
    )]
    pub backup: Option<String>,
    /// How to get in.
    #[command(flatten, next_help_heading = "Private keys")]
    pub access: OwnAccessArgs,
    /// The code.
    #[command(flatten, next_help_heading = "Private keys")]
    pub code: CodeSource,
    /// Pack the mail of this account of any server, instead of a box
    #[arg(long, value_name = "URL", help_heading = "Another server", conflicts_with_all = ["account", "device"])]
    pub from: Option<ImapUrl>,
    /// Read its password from the first line of this file [default: ROOST_EXPORT_PASSWORD, or asked for]
    #[arg(long, value_name = "FILE", help_heading = "Another server", requires = "from", value_hint = clap::ValueHint::FilePath)]
    pub password_file: Option<PathBuf>,
    /// Believe it if it shows the certificate with this SHA-256
    #[arg(long, value_name = "SHA256", help_heading = "Another server", requires = "from", value_parser = fingerprint)]
    pub fingerprint: Option<Fingerprint>,
    /// Which box, and where its mail is.
    #[command(flatten)]
    pub mail: MailPortArgs,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}
