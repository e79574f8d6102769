//! Where the box backs up to by itself, and how that goes.

use super::{access, disks, short};
use crate::cli::{BackupNowArgs, BackupStatusArgs, BackupTargetRemoveArgs, BackupTargetSetArgs};
use crate::device::Device;
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::device::words::{plain, span};
use crate::error::Failure;
use crate::ui::{Ui, size};
use roost_service::backup::{
    BackupFailure as Why, BackupStatus as Status, HostKey, Made, PATH, SftpPlace, Target, USB, Work,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often it is asked how far the box is.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait until the box begins what it was asked for.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);

/// Nothing to tell but that it is done.
#[derive(Serialize)]
struct Done {}

/// The target alone.
#[derive(Serialize)]
struct Shown<'a> {
    target: Option<&'a Target>,
}

fn ask(device: &mut Device<'_>) -> Result<Status, Failure> {
    let cannot = "cannot ask for the backups of";
    let answer = device
        .api("GET", PATH, None)
        .map_err(|e| device.failure(cannot, e))?;
    serde_json::from_value(answer)
        .map_err(|e| device.failure(cannot, DeviceError::NotUnderstood(e.to_string())))
}

/// The key by which a box signs in at SFTP servers.
#[derive(Serialize, Deserialize)]
struct OfBox {
    key: String,
}

/// What a box was shown by a server.
#[derive(Deserialize)]
struct Seen {
    host_key: HostKey,
}

/// Has the box ask an SFTP server for its host key.
fn host_key(device: &mut Device<'_>, place: &SftpPlace) -> Result<HostKey, Failure> {
    let cannot = "cannot have the server looked at by";
    let body = serde_json::json!({ "host": place.host, "port": place.port });
    let answer = device
        .api("POST", &format!("{PATH}/host-key"), Some(&body))
        .map_err(|e| device.failure(cannot, e))?;
    let seen: Seen = serde_json::from_value(answer)
        .map_err(|e| device.failure(cannot, DeviceError::NotUnderstood(e.to_string())))?;
    Ok(seen.host_key)
}

/// `roost backup target key`.
pub fn key(args: &BackupStatusArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = Device::of(&args.which, None, Stop::default(), ui)?;
    let cannot = "cannot ask for the key of";
    let answer = device
        .api("GET", &format!("{PATH}/key"), None)
        .map_err(|e| device.failure(cannot, e))?;
    let of_box: OfBox = serde_json::from_value(answer)
        .map_err(|e| device.failure(cannot, DeviceError::NotUnderstood(e.to_string())))?;
    ui.result(plain(&of_box.key), &of_box);
    Ok(())
}

/// `roost backup target set`.
pub fn set(args: &BackupTargetSetArgs, ui: &Ui) -> Result<(), Failure> {
    let connect = || Device::of(&args.which, None, Stop::default(), ui);
    let mut device = None;
    let (target, secret) = if args.place.starts_with(USB) {
        let target = disks::choose(args, device.insert(connect()?), ui)?;
        (target.into(), None)
    } else {
        let ask = |place: &SftpPlace| host_key(device.insert(connect()?), place);
        access::of_box(args, ask, ui)?
    };
    let mut device = device.map_or_else(connect, Ok)?;
    let mut body = serde_json::json!({ "target": target });
    if let Some(secret) = &secret {
        body["secret"] = secret.reveal().into();
    }
    let path = format!("{PATH}/target");
    device
        .api_within("PUT", &path, Some(&body), disks::LOOKS_WITHIN)
        .map_err(|e| device.failure("cannot choose where to back up", e))?;
    let needed = match &target {
        Target::S3(_) => "place, address and key of the bucket,\nand the recovery code",
        Target::Usb(_) => {
            "the disk, plugged into the computer that writes the card,\nand the recovery code"
        }
        Target::Sftp(_) => {
            "the place, its host key, a way\nof your own to sign in there, and the recovery code"
        }
    };
    let mut text = format!(
        "The box has tried {target}: it works. The first backup begins now, and from then on there is one\n\
         every day. `roost backup status` says how that goes.\n\n\
         Write down what a new card will need if this one is lost: {needed} (roost backup code)."
    );
    if target.is_open() {
        text += "\n\nThe way there is not encrypted. Backups are; but whoever listens can repeat a request of the box\n\
                 for some minutes, such as removing a file.";
    }
    if matches!(target, Target::Usb(_)) {
        text += "\n\nThe disk can be pulled out while nothing is at work, as `roost backup status` says. Then backups wait for it.";
    }
    ui.result(text, &target);
    Ok(())
}

/// `roost backup target show`.
pub fn show(args: &BackupStatusArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = Device::of(&args.which, None, Stop::default(), ui)?;
    let status = ask(&mut device)?;
    let target = status.target.as_ref();
    ui.result(told_target(target), &Shown { target });
    Ok(())
}

fn told_target(target: Option<&Target>) -> String {
    let Some(target) = target else {
        return "The box backs up to no target: `roost backup target set` chooses one.".to_owned();
    };
    let place = plain(&target.to_string());
    match target {
        Target::S3(bucket) => format!(
            "place     {place}\nserver    {}\nregion    {}\nkey       {}",
            plain(&bucket.endpoint),
            plain(&bucket.region),
            plain(&bucket.key_id)
        ),
        Target::Sftp(server) => format!(
            "place     {place}\nserver    {}\nhost key  {}",
            plain(&server.address()),
            server.host_key
        ),
        Target::Usb(usb) => format!(
            "place     {place}\ndisk      {}",
            plain(&usb.disk.to_string())
        ),
    }
}

/// `roost backup target remove`.
pub fn remove(args: &BackupTargetRemoveArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = Device::of(&args.which, None, Stop::default(), ui)?;
    let question = "Make no more backups by itself? What lies at the target stays.";
    device.confirm(question, args.yes, "forgetting the target")?;
    device
        .api("DELETE", &format!("{PATH}/target"), None)
        .map_err(|e| device.failure("cannot forget the target of", e))?;
    ui.result("The box makes no backups by itself any more.", &Done {});
    Ok(())
}

/// `roost backup now`, `roost backup prove`.
pub fn now(args: &BackupNowArgs, work: Work, ui: &Ui) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let mut device = Device::of(&args.which, None, stop, ui)?;
    let before = ask(&mut device)?;
    let (path, what, cannot) = match work {
        Work::Proof => ("prove", "read it back", "cannot have a backup proven by"),
        _ => ("now", "back up", "cannot have a backup made by"),
    };
    device
        .api_within("POST", &format!("{PATH}/{path}"), None, disks::LOOKS_WITHIN)
        .map_err(|e| device.failure(cannot, e))?;
    if args.no_wait {
        ui.result(
            "It begins. `roost backup status` says how that goes.",
            &Done {},
        );
        return Ok(());
    }
    let step = ui.step(what);
    let begun = SystemTime::now();
    let status = loop {
        std::thread::sleep(LOOK_EVERY);
        let status = ask(&mut device)?;
        match &status.running {
            Some(running) if running.what == work => {
                step.total_bytes(running.of);
                step.position(running.read);
            }
            // Something else may come before it.
            Some(_) => {}
            None if came_of(&before, work) != came_of(&status, work) => break status,
            None if begun.elapsed().is_ok_and(|time| time > BEGINS_WITHIN) => {
                return Err(
                    Failure::new("the box did not begin").hint("`roost logs backup` says more")
                );
            }
            None => {}
        }
    };
    let failed = |why: &str, hint: Option<&str>| {
        let failure = Failure::new(match work {
            Work::Proof => "the newest backup is not proven",
            _ => "no backup was made",
        });
        failure
            .because(plain(why))
            .hint(plain(hint.unwrap_or("`roost backup status` says more")))
    };
    let fault = status
        .proof
        .as_ref()
        .and_then(|proof| proof.fault.as_deref());
    match (work, &status.failure, &status.proof_failure, fault) {
        (Work::Backup, Some(why), ..) | (Work::Proof, _, Some(why), _) => {
            return Err(failed(&why.why, why.hint.as_deref()));
        }
        (Work::Proof, _, None, Some(fault)) => {
            return Err(failed(
                fault,
                Some(
                    "have the box back up to another prefix or folder; what is damaged would be used again at this one",
                ),
            ));
        }
        _ => {}
    }
    step.done("done");
    ui.result(told(&status, SystemTime::now()), &status);
    Ok(())
}

/// What tells one end of it from the one before.
fn came_of(status: &Status, work: Work) -> (Option<&str>, Option<u64>, Option<u32>) {
    let failed = |why: &Option<Why>| why.as_ref().map(|why| why.times);
    match work {
        Work::Proof => (
            None,
            status.proof.as_ref().map(|proof| proof.at),
            failed(&status.proof_failure),
        ),
        _ => (
            status.made.as_ref().map(|made| made.id.as_str()),
            None,
            failed(&status.failure),
        ),
    }
}

/// `roost backup status`.
pub fn status(args: &BackupStatusArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = Device::of(&args.which, None, Stop::default(), ui)?;
    let status = ask(&mut device)?;
    ui.result(told(&status, SystemTime::now()), &status);
    Ok(())
}

/// How backups stand, for people, as of `now` by this machine's clock.
fn told(status: &Status, now: SystemTime) -> String {
    let now = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let ago = |at: u64| format!("{} ago", span(now.saturating_sub(at) as f64));
    let of = |made: &Made| {
        format!(
            "{}, {}: {} files, {}, {} new",
            ago(made.at),
            short(&made.id),
            made.files,
            size(made.bytes),
            size(made.added)
        )
    };
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<10}{}", plain(&value));
    };
    match &status.target {
        Some(Target::S3(bucket)) => line("target", format!("{bucket} at {}", bucket.endpoint)),
        // Its server is in its name.
        Some(Target::Sftp(server)) => line("target", server.to_string()),
        Some(Target::Usb(usb)) => line("target", format!("{usb}, the disk {}", usb.disk)),
        None => line(
            "target",
            "none: `roost backup target set` chooses one".into(),
        ),
    }
    if status.target.is_some() {
        line("newest", status.made.as_ref().map_or("none yet".into(), of));
        if let Some(since) = status.waits_since {
            let waits = format!(
                "as soon as its disk is plugged in; due for {}",
                span(now.saturating_sub(since) as f64)
            );
            line("next", waits);
        } else if let Some(next) = status.next_at {
            line(
                "next",
                match next > now {
                    true => format!("in {}", span((next - now) as f64)),
                    false => "as soon as the box comes to it".to_owned(),
                },
            );
        }
        line(
            "proven",
            match &status.proof {
                None => "not yet".to_owned(),
                Some(proof) => match &proof.fault {
                    None => format!(
                        "{}, {}: {} files came back as they went in",
                        ago(proof.at),
                        short(&proof.id),
                        proof.files
                    ),
                    Some(fault) => format!("NOT, {}, {}: {fault}", ago(proof.at), short(&proof.id)),
                },
            },
        );
        line(
            "old ones",
            match (status.forgets, status.forgotten_at) {
                (false, _) => "all are kept: none may be removed there".to_owned(),
                (true, None) => "7 days, 5 weeks and 12 months are kept".to_owned(),
                (true, Some(at)) => format!(
                    "7 days, 5 weeks and 12 months are kept; looked through {}",
                    ago(at)
                ),
            },
        );
    }
    if let Some(running) = &status.running {
        let what = match running.what {
            Work::Backup => "a backup",
            Work::Proof => "reading the newest back",
            Work::Forgetting => "removing old ones",
        };
        line(
            "at work",
            match running.of {
                0 => what.to_owned(),
                of => format!("{what}, {} of {}", size(running.read), size(of)),
            },
        );
    }
    if let Some(fetched) = &status.fetched {
        line("laptop", of(fetched));
    }
    for (what, why) in [
        ("The last backup", &status.failure),
        ("Reading one back", &status.proof_failure),
        ("Removing old ones", &status.forget_failure),
    ] {
        if let Some(why) = why {
            text += &failed(what, why, &ago(why.at));
        }
    }
    text.trim_end().to_owned()
}

fn failed(what: &str, why: &Why, ago: &str) -> String {
    let times = match why.times {
        1 => String::new(),
        times => format!(", {times} times in a row"),
    };
    let mut text = format!(
        "\n{what} failed {ago}{times}\n  because: {}\n",
        plain(&why.why)
    );
    if let Some(hint) = &why.hint {
        text += &format!("  try: {}\n", plain(hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::backup::{Proof, Running, SftpTarget, UsbTarget};
    use roost_service::disk::{DiskMark, FileSystem};

    const NOW: u64 = 1_800_000_000;

    fn made(at: u64) -> Made {
        Made {
            at,
            id: "3f2a".repeat(16),
            files: 42,
            bytes: 1_234_567_890,
            added: 1_200_000,
            manifest: String::new(),
        }
    }

    fn at(status: &Status) -> String {
        let text = told(status, UNIX_EPOCH + Duration::from_secs(NOW));
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn how_backups_stand_is_told() {
        let well = Status {
            target: Target::of(
                "s3://backups/attic",
                Some("https://s3.example.net"),
                None,
                "K",
            )
            .ok(),
            forgets: true,
            made: Some(made(NOW - 7200)),
            proof: Some(Proof {
                at: NOW - 200_000,
                id: "3f2a".repeat(16),
                files: 42,
                bytes: 1,
                fault: None,
            }),
            forgotten_at: Some(NOW - 190_000),
            next_at: Some(NOW + 79_200),
            ..Status::default()
        };
        insta::assert_snapshot!("well", at(&well));
        let mut ill = well.clone();
        ill.forgets = false;
        ill.proof.as_mut().unwrap().fault = Some("it is not there any more".into());
        ill.failure = Some(Why {
            at: NOW - 60,
            times: 3,
            why: "the server takes no \u{1b}[31mconnection".into(),
            hint: Some("wait".into()),
        });
        ill.running = Some(Running {
            what: Work::Backup,
            read: 1_000_000,
            of: 1_234_567_890,
        });
        insta::assert_snapshot!("ill", at(&ill));
        insta::assert_snapshot!(
            "none",
            at(&Status {
                fetched: Some(made(NOW - 86_400 * 3)),
                ..Status::default()
            })
        );
        insta::assert_snapshot!("target", told_target(well.target.as_ref()));
        let key = "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8";
        let nas = SftpTarget::of("sftp://roost@nas.local/backups/attic", key.parse().unwrap());
        let nas = Status {
            target: nas.ok().map(Target::Sftp),
            ..Status::default()
        };
        insta::assert_snapshot!("server", told_target(nas.target.as_ref()));
        insta::assert_snapshot!(at(&nas), @"
        target    sftp://roost@nas.local/backups/attic
        newest    none yet
        proven    not yet
        old ones  all are kept: none may be removed there
        ");
        let disk = UsbTarget {
            disk: DiskMark {
                file_system: FileSystem::Exfat,
                id: "1A2B-3C4D".into(),
                label: "BACKUP".into(),
            },
            folder: "roost-backups".into(),
        };
        let mut waits = well.clone();
        waits.target = Some(disk.into());
        waits.waits_since = Some(NOW - 7200);
        insta::assert_snapshot!("waits", at(&waits));
        insta::assert_snapshot!("disk", told_target(waits.target.as_ref()));
    }
}
