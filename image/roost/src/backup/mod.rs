//! `roost backup`: what a box keeps, in a folder of the owner's own; `roost restore`: a new card from it.
//!
//! - [`pull`]: the laptop's end of a backup: it keeps what the box gives.
//! - [`access`]: how a box, or this computer, gets into a bucket or a server.
//! - [`disks`]: which USB disks are plugged into a box.
//! - [`target`]: where the box backs up to by itself, and how that goes.
//! - [`restore`]: a card from a backup; [`fill`]: files into the data file system of an image.
//!
//! Encryption happens on the box, before anything leaves it; the laptop needs the code only to list,
//! check and restore, and keeps it nowhere.

mod access;
mod disks;
mod fill;
mod pull;
pub mod restore;
mod target;

use crate::ask::{can_ask, no_answer};
use crate::cli::{
    BackupArgs, BackupCheckArgs, BackupCodeArgs, BackupCommand, BackupListArgs,
    BackupTargetCommand, CodeSource, OwnAccessArgs,
};
use crate::device::Device;
use crate::device::link::Link;
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::error::Failure;
use crate::store::disk_failure;
use crate::ui::{Ui, size};
use access::is_target;
use roost_backup_repository::ahead::Ahead;
use roost_backup_repository::code::{Code, WORDS};
use roost_backup_repository::folder::Folder;
use roost_backup_repository::place::{Opener, Place};
use roost_backup_repository::repository::{Backup, Error, Repository};
use roost_backup_repository::s3::Patience;
use roost_backup_repository::store::Store;
use roost_backup_repository::wire::{Call, Ended};
use roost_service::backup::{Target, Work};
use roost_service::stamp;
use serde::Serialize;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest file with a code.
const MAX_CODE: u64 = 4096;

/// `roost backup`.
pub fn run(args: &BackupArgs, ui: &Ui) -> Result<(), Failure> {
    match (&args.command, &args.folder) {
        (Some(BackupCommand::List(args)), _) => list(args, ui),
        (Some(BackupCommand::Check(args)), _) => check(args, ui),
        (Some(BackupCommand::Code(args)), _) => code(args, ui),
        (Some(BackupCommand::Target(args)), _) => match &args.command {
            BackupTargetCommand::Set(args) => target::set(args, ui),
            BackupTargetCommand::Disks(args) => disks::show(args, ui),
            BackupTargetCommand::Show(args) => target::show(args, ui),
            BackupTargetCommand::Key(args) => target::key(args, ui),
            BackupTargetCommand::Remove(args) => target::remove(args, ui),
        },
        (Some(BackupCommand::Now(args)), _) => target::now(args, Work::Backup, ui),
        (Some(BackupCommand::Prove(args)), _) => target::now(args, Work::Proof, ui),
        (Some(BackupCommand::Status(args)), _) => target::status(args, ui),
        (None, Some(folder)) if is_target(folder) => Err(Failure::usage(
            "a laptop fetches backups into a folder, not into a bucket, a server or a disk of the box's",
        )
        .hint("the box writes there by itself: roost backup target set")),
        (None, Some(folder)) => take(args, folder, ui),
        (None, None) => Err(Failure::usage("which folder?")
            .hint("name the folder for the backups: roost backup FOLDER")),
    }
}

/// What was made.
#[derive(Serialize)]
struct Taken<'a> {
    folder: &'a Path,
    backup: &'a Backup,
    sent: u64,
}

fn take(args: &BackupArgs, folder: &Path, ui: &Ui) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let mut device = Device::of(&args.which, None, stop, ui)?;
    let place = Folder::new(folder);
    let is_first = !place.is_begun();
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let step = ui.step("back up");
    let mut sent = 0;
    let ended = pull::talk(
        &mut device,
        &Call::BackUp { now_s },
        &place,
        |read, of, kept| {
            step.total_bytes(of);
            step.position(read);
            step.message(format!("{} sent", size(kept)));
            sent = kept;
        },
    );
    let cannot = "cannot back up";
    let (backup, contents) = match ended.map_err(|e| device.failure(cannot, e))? {
        Ended::Done(done) => *done,
        other => return Err(pull::no_success(cannot, &device.address, other)),
    };
    step.done(format!(
        "{}, of which {} are new",
        size(contents.bytes()),
        size(sent)
    ));
    let mut text = format!(
        "Backup {} of {}: {} files, {}. {} were sent.\n",
        short(&backup.id),
        plain(&backup.name),
        contents.files.len(),
        size(contents.bytes()),
        size(sent),
    );
    if is_first {
        text += "\nThe recovery code opens it, and nothing else does. Write it down, and keep it away\n\
                 from the box and from this folder:\n\n  roost backup code\n";
    }
    let done = Taken {
        folder,
        backup: &backup,
        sent,
    };
    ui.result(text.trim_end(), &done);
    Ok(())
}

/// Which backups there are.
#[derive(Serialize)]
struct Listed {
    backups: Vec<Backup>,
}

fn list(args: &BackupListArgs, ui: &Ui) -> Result<(), Failure> {
    let (repository, ..) = open(&args.folder, &args.access, &args.code, ui)?;
    let backups = repository.list().map_err(told(&args.folder))?;
    let mut text = String::new();
    for backup in &backups {
        text += &format!(
            "{}  {}  {:<16}  {:>9}  {:>9} new\n",
            short(&backup.id),
            time(backup),
            plain(&backup.name),
            size(backup.bytes),
            size(backup.added),
        );
    }
    if backups.is_empty() {
        text += "No backup was made here yet.";
    }
    ui.result(text.trim_end(), &Listed { backups });
    Ok(())
}

/// When it was made, for people.
fn time(backup: &Backup) -> String {
    let made = Duration::from_secs(u64::try_from(backup.made_s).unwrap_or_default());
    let text = stamp::utc(made);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// What was proven.
#[derive(Serialize)]
struct Proven {
    backup: Backup,
    files: usize,
    bytes: u64,
}

fn check(args: &BackupCheckArgs, ui: &Ui) -> Result<(), Failure> {
    let (repository, ..) = open(&args.folder, &args.access, &args.code, ui)?;
    let told = || told(&args.folder);
    let step = ui.step("read every byte");
    repository.check().map_err(told())?;
    step.done("all that backups name is there, and is what was written");
    let scratch = scratch(args.scratch.as_deref().unwrap_or(&std::env::temp_dir()))?;
    let step = ui.step("get it back");
    let (backup, contents) = repository
        .restore(args.backup.as_deref(), scratch.path(), |at, of| {
            step.total_bytes(of);
            step.position(at);
        })
        .map_err(told())?;
    step.done(size(contents.bytes()));
    let text = format!(
        "Backup {} of {} comes back whole: {} files, {}, all as the box had them on {}.",
        short(&backup.id),
        plain(&backup.name),
        contents.files.len(),
        size(contents.bytes()),
        time(&backup),
    );
    let (files, bytes) = (contents.files.len(), contents.bytes());
    let done = Proven {
        backup,
        files,
        bytes,
    };
    ui.result(text, &done);
    Ok(())
}

/// A folder for what is in clear for a moment, for this user alone.
fn scratch(folder: &Path) -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("roost-restored-")
        .tempdir_in(folder)
        .map_err(|e| disk_failure("create a folder in", folder, e))
}

/// The code.
#[derive(Serialize)]
struct Shown<'a> {
    recovery_code: &'a str,
}

fn code(args: &BackupCodeArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = Device::of(&args.which, None, Stop::default(), ui)?;
    let code = ask_for_code(&mut device)?;
    let done = Shown {
        recovery_code: code.as_str(),
    };
    ui.result(page(&code), &done);
    Ok(())
}

/// The recovery code of a paired box.
fn ask_for_code(device: &mut Device<'_>) -> Result<Code, Failure> {
    let cannot = "cannot get the recovery code of";
    // Nothing is kept by this call.
    let nowhere = Folder::new("");
    let ended = pull::talk(device, &Call::Code, &nowhere, |_, _, _| {});
    match ended.map_err(|e| device.failure(cannot, e))? {
        Ended::Code(words) => Code::parse(&words)
            .map_err(|e| Failure::new(format!("{cannot} {}", device.address)).because(e)),
        other => Err(pull::no_success(cannot, &device.address, other)),
    }
}

/// The recovery code of a box that is connected; `None` if it has none to give, as an image without a
/// backup service.
pub fn code_over(link: Link, host: &str) -> Option<Code> {
    match pull::over(link, host, &Call::Code, &Folder::new(""), |_, _, _| {}) {
        Ok(Ended::Code(words)) => Code::parse(&words).ok(),
        _ => None,
    }
}

/// The code as it is to be written down.
pub fn page(code: &Code) -> String {
    let words: Vec<&str> = code.words().collect();
    let mut text = String::from("Recovery code\n\n");
    let rows = WORDS.div_ceil(3);
    for row in 0..rows {
        let line: Vec<String> = (row..WORDS)
            .step_by(rows)
            .map(|n| format!("{:>2}. {:<10}", n + 1, words.get(n).unwrap_or(&"")))
            .collect();
        text += &format!("  {}\n", line.join(" ").trim_end());
    }
    text += "\nIt opens every backup of this box. Write it on paper, and keep it away from the box and from the\n\
             backups. Without it they are lost: nobody else has it, and it cannot be guessed.";
    text
}

/// The code that opens the backups in a folder.
fn code_from(source: &CodeSource, ui: &Ui) -> Result<Code, Failure> {
    let text = match &source.code_file {
        Some(path) => read_code(path)?,
        None if can_ask(ui) => dialoguer::Password::new()
            .with_prompt("Recovery code (twelve words)")
            .interact()
            .map_err(no_answer)?,
        None => {
            return Err(Failure::usage("the recovery code is needed")
                .hint("put its words into a file, and name that: --code-file FILE"));
        }
    };
    Code::parse(&text).map_err(|e| Failure::usage("this is no recovery code").because(e))
}

/// A short text of a file.
fn read_short(path: &Path, what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(MAX_CODE).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_CODE).read_to_string(&mut text))
    };
    read.map_err(|e| {
        Failure::usage(format!("cannot read {what} from {}", path.display())).because(e)
    })?;
    Ok(text)
}

/// The words of a file; the page of `roost backup code` will do.
fn read_code(path: &Path) -> Result<String, Failure> {
    let text = read_short(path, "the recovery code")?;
    // A page has numbered words, and sentences around them.
    let numbered: Vec<&str> = text
        .split_whitespace()
        .zip(text.split_whitespace().skip(1))
        .filter(|(number, _)| {
            number
                .strip_suffix('.')
                .is_some_and(|n| n.parse::<u8>().is_ok())
        })
        .map(|(_, word)| word)
        .collect();
    if numbered.len() != WORDS {
        return Ok(text);
    }
    // Columns are read from top to bottom.
    let mut words = [""; WORDS];
    for (number, word) in text.split_whitespace().zip(text.split_whitespace().skip(1)) {
        let number = number
            .strip_suffix('.')
            .and_then(|n| n.parse::<usize>().ok());
        if let Some(place) = number.and_then(|n| words.get_mut(n.wrapping_sub(1))) {
            *place = word;
        }
    }
    Ok(words.join(" "))
}

/// A bucket or a server, and how to get into it.
type Access = (Target, Opener);

/// Opens the backups in a folder, a bucket or a server; of the latter two, tells which and by what.
fn open(
    place: &Path,
    args: &OwnAccessArgs,
    source: &CodeSource,
    ui: &Ui,
) -> Result<(Repository, Code, Option<Access>), Failure> {
    let (store, of): (Arc<dyn Store>, _) = if is_target(place) {
        let (target, opener) = access::own(place, args, ui)?;
        let store = Place::new(&target, opener.clone(), Patience::Long)
            .map_err(|e| Failure::usage(e.to_string()))?
            .into_store();
        (Arc::new(Ahead::new(store)), Some((target, opener)))
    } else {
        let folder = Folder::new(place);
        if !folder.is_begun() {
            return Err(told(place)(Error::Nothing(place.display().to_string())));
        }
        (Arc::new(folder), None)
    };
    let code = code_from(source, ui)?;
    let repository = Repository::open(store, &code).map_err(told(place))?;
    Ok((repository, code, of))
}

/// Some files of a backup, by their paths in it.
///
/// # Errors
///
/// A [`Failure`] if the place cannot be opened, or does not have them whole.
pub fn read(
    place: &Path,
    (access, code): (&OwnAccessArgs, &CodeSource),
    id: Option<&str>,
    wanted: impl Fn(&str) -> bool,
    ui: &Ui,
) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let (repository, _, _) = open(place, access, code, ui)?;
    repository.read(id, wanted).map_err(told(place))
}

/// An error of a repository as a command's.
fn told(folder: &Path) -> impl FnOnce(Error) -> Failure {
    let is_away = is_target(folder);
    let folder = folder.display().to_string();
    move |error| {
        let failure = Failure::new(format!("cannot use the backups in {folder}"));
        let hint = match &error {
            Error::Nothing(_) if is_away => {
                "is the prefix or folder the one that the box has? `roost backup target show`, or its page Backups, says"
            }
            Error::Nothing(_) => "make one first: roost backup FOLDER",
            Error::WrongCode(_) => {
                "use the code of the box that made them; one from before a factory reset opens only what is from before"
            }
            Error::Unknown(_) => "see which there are: roost backup list FOLDER",
            Error::Library(_) if is_away => {
                "look at address and key of the bucket or server; `restic check` looks at it too"
            }
            Error::Differs(_) | Error::Library(_) => {
                "the disk may have lost something: make a new backup in another folder while the box runs; `restic check` looks at this one too"
            }
            Error::NotWhole(_) | Error::Io { .. } => return failure.because(error),
        };
        failure.because(error).hint(hint)
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str =
        "legal winner thank year wave sausage worth useful legal winner thank yellow";

    #[test]
    fn the_page_is_read_back() {
        let code = Code::parse(WORDS).unwrap();
        let page = page(&code);
        insta::assert_snapshot!(page);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("code.txt");
        for text in [
            page.as_str(),
            WORDS,
            "LEGAL winn than year\nwave saus wort usef\nlega winn than yell\n",
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(
                Code::parse(&read_code(&path).unwrap()),
                Ok(code.clone()),
                "{text}"
            );
        }
    }
}
