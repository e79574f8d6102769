//! How a box, or this computer, gets into a bucket or a server.

use super::read_short;
use crate::ask::{agreed, can_ask, no_answer};
use crate::cli::{AccessArgs, BackupTargetSetArgs, OwnAccessArgs};
use crate::error::Failure;
use crate::ui::Ui;
use roost_backup_repository::place::Opener;
use roost_backup_repository::sftp::{self, Key, NoKey};
use roost_service::backup::{
    BucketTarget, HostKey, S3, SFTP, Secret, SftpPlace, SftpTarget, Target, USB,
};
use std::path::Path;

/// Whether it is a place of the box's own that is named, and no folder.
pub fn is_target(place: &Path) -> bool {
    place
        .to_str()
        .is_some_and(|text| [S3, SFTP, USB].iter().any(|kind| text.starts_with(kind)))
}

/// Where a box is to back up to, and its secret if it is to have one. `ask` has the box ask a server for its host key.
pub fn of_box(
    args: &BackupTargetSetArgs,
    ask: impl FnOnce(&SftpPlace) -> Result<HostKey, Failure>,
    ui: &Ui,
) -> Result<(Target, Option<Secret>), Failure> {
    let access = &args.access;
    if !args.place.starts_with(SFTP) {
        let (bucket, secret) = bucket(&args.place, access, ui)?;
        return Ok((bucket.into(), Some(secret)));
    }
    let target = server(&args.place, access, ask, ui)?;
    let secret = match args.password || access.secret_file.is_some() {
        true => Some(password(&target, access, ui)?),
        false => None,
    };
    Ok((target.into(), secret))
}

/// What this computer opens a place with.
pub fn own(place: &Path, args: &OwnAccessArgs, ui: &Ui) -> Result<(Target, Opener), Failure> {
    let (place, access) = (place.to_string_lossy(), &args.access);
    if place.starts_with(USB) {
        return Err(Failure::usage("a USB disk is a folder here")
            .hint("plug it into this computer, and name the folder on it, e.g. /media/BACKUP/roost-backups"));
    }
    if !place.starts_with(SFTP) {
        let (bucket, secret) = bucket(&place, access, ui)?;
        return Ok((bucket.into(), Opener::Secret(secret)));
    }
    let key = args.key_file.as_deref().map(|path| key(path, ui));
    let key = key.transpose()?;
    let ask = |place: &SftpPlace| {
        sftp::host_key(&place.host, place.port).map_err(|error| {
            Failure::new(format!("cannot reach {}", place.address())).because(error)
        })
    };
    let target = server(&place, access, ask, ui)?;
    let opener = match key {
        Some(key) => Opener::Key(key),
        None => Opener::Secret(password(&target, access, ui)?),
    };
    Ok((target.into(), opener))
}

fn bucket(place: &str, args: &AccessArgs, ui: &Ui) -> Result<(BucketTarget, Secret), Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    if !place.starts_with(S3) {
        return Err(usage(&roost_service::backup::NoTarget::Scheme));
    }
    let Some(key_id) = &args.key_id else {
        return Err(Failure::usage("the name of the access key is needed")
            .hint("the server's page for the bucket has it: --key-id KEY"));
    };
    let (endpoint, region) = (args.endpoint.as_deref(), args.region.as_deref());
    let target =
        BucketTarget::of(place, endpoint, region, key_id).map_err(|error| usage(&error))?;
    let text = secret(
        args,
        "the secret key",
        format!("Secret key of {key_id}"),
        ui,
    )?;
    let secret = text
        .parse()
        .map_err(|why: &str| Failure::usage("this is no secret key").because(why))?;
    Ok((target, secret))
}

fn secret(args: &AccessArgs, what: &str, prompt: String, ui: &Ui) -> Result<String, Failure> {
    match &args.secret_file {
        Some(path) => read_short(path, what),
        None if can_ask(ui) => dialoguer::Password::new()
            .with_prompt(prompt)
            .interact()
            .map_err(no_answer),
        None => Err(Failure::usage(format!("{what} is needed"))
            .hint("put it into a file, and name that: --secret-file FILE")),
    }
}

fn password(target: &SftpTarget, args: &AccessArgs, ui: &Ui) -> Result<Secret, Failure> {
    let prompt = format!("Password of {} at {}", target.user, target.address());
    let text = secret(args, "the password", prompt, ui)?;
    Secret::password(&text).map_err(|why| Failure::usage("this is no password").because(why))
}

fn key(path: &Path, ui: &Ui) -> Result<Key, Failure> {
    let text = read_short(path, "the private key")?;
    let mut parsed = Key::parse(&text, None);
    if parsed.as_ref().err() == Some(&NoKey::Passphrase) && can_ask(ui) {
        let passphrase = dialoguer::Password::new()
            .with_prompt(format!("Passphrase of {}", path.display()))
            .interact()
            .map_err(no_answer)?;
        parsed = Key::parse(&text, Some(&passphrase));
    }
    parsed.map_err(|error| {
        Failure::usage(format!("cannot use the key in {}", path.display()))
            .because(error)
            .hint("make one without a passphrase: ssh-keygen -t ed25519 -N '' -f FILE")
    })
}

/// A server with the host key that is named, or that is shown and agreed to.
fn server(
    place: &str,
    args: &AccessArgs,
    ask: impl FnOnce(&SftpPlace) -> Result<HostKey, Failure>,
    ui: &Ui,
) -> Result<SftpTarget, Failure> {
    let named: SftpPlace = place
        .parse()
        .map_err(|error: roost_service::backup::NoTarget| Failure::usage(error.to_string()))?;
    let host_key = match &args.host_key {
        Some(text) => text
            .parse()
            .map_err(|error: roost_service::backup::NoTarget| Failure::usage(error.to_string()))?,
        None => {
            let shown = ask(&named)?;
            if !can_ask(ui) {
                return Err(Failure::usage("the server's host key has to be confirmed")
                    .because(format!("{} shows {shown}", named.address()))
                    .hint("compare that with what the server says of itself (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), and name it: --host-key SHA256:…"));
            }
            let question = format!(
                "{} shows the host key {shown}. Is that its own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there)?",
                named.address()
            );
            let no = "you said no; nothing was said to the server, and nothing was changed";
            agreed(ui, &question, false, "trusting a server", no)?;
            shown
        }
    };
    SftpTarget::of(place, host_key).map_err(|error| Failure::usage(error.to_string()))
}
