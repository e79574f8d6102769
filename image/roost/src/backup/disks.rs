//! USB disks that are plugged into a box: which there are, and which one it is to back up to.

use crate::ask::can_ask;
use crate::cli::{BackupStatusArgs, BackupTargetSetArgs};
use crate::device::Device;
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::table::{Align, Table};
use crate::ui::{Ui, size};
use roost_service::backup::{PATH, USB, UsbPlace, UsbTarget};
use roost_service::disk::Disk;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::time::Duration;

/// Longest wait for a box: when it is first asked after a start, it loads drivers, and waits for disks to spin up.
pub const LOOKS_WITHIN: Duration = Duration::from_secs(90);

/// Which there are.
#[derive(Serialize, Deserialize)]
struct Plugged {
    disks: Vec<Disk>,
}

fn ask(device: &mut Device<'_>) -> Result<Vec<Disk>, Failure> {
    let cannot = "cannot ask for the USB disks of";
    let path = format!("{PATH}/disks");
    let answer = device
        .api_within("GET", &path, None, LOOKS_WITHIN)
        .map_err(|e| device.failure(cannot, e))?;
    let plugged: Plugged = serde_json::from_value(answer)
        .map_err(|e| device.failure(cannot, DeviceError::NotUnderstood(e.to_string())))?;
    Ok(plugged.disks)
}

/// `roost backup target disks`.
pub fn show(args: &BackupStatusArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = Device::of(&args.which, None, Stop::default(), ui)?;
    let disks = ask(&mut device)?;
    ui.result(told(&disks), &Plugged { disks });
    Ok(())
}

fn told(disks: &[Disk]) -> String {
    if disks.is_empty() {
        return "No USB disk is plugged into the box. One that was just plugged in needs some seconds."
            .to_owned();
    }
    let mut table = Table::new([
        ("place", Align::Left),
        ("name", Align::Left),
        ("holds", Align::Left),
        ("size", Align::Right),
        ("disk", Align::Left),
    ]);
    let mut troubles = String::new();
    for disk in disks {
        let model = plain(&format!("{} ({})", disk.model, disk.name));
        let (place, name, holds) = match &disk.mark {
            Some(mark) => (
                format!("{USB}{}", plain(&mark.id)),
                plain(&mark.label),
                mark.file_system.to_string(),
            ),
            None => ("-".to_owned(), String::new(), String::new()),
        };
        table.row([place, name, holds, size(disk.bytes), model.clone()]);
        if let Some(problem) = &disk.problem {
            // Writing to a string does not fail.
            let _ = write!(troubles, "\n{model} cannot be used: {}\n", plain(problem));
            if let Some(hint) = &disk.hint {
                let _ = writeln!(troubles, "  try: {}", plain(hint));
            }
        }
    }
    format!("{}{troubles}", table.render())
        .trim_end()
        .to_owned()
}

/// The disk that is named, or that is chosen among those that are plugged in.
pub fn choose(
    args: &BackupTargetSetArgs,
    device: &mut Device<'_>,
    ui: &Ui,
) -> Result<UsbTarget, Failure> {
    let place: UsbPlace = (args.place.parse())
        .map_err(|error: roost_service::backup::NoTarget| Failure::usage(error.to_string()))?;
    let disks = ask(device)?;
    let found = place.among(&disks);
    let marks: Vec<_> = found.iter().filter_map(|disk| disk.usable()).collect();
    match marks[..] {
        [mark] => Ok(place.on(mark)),
        [] => Err(none(&place, &disks)),
        _ if !can_ask(ui) => Err(Failure::usage("several disks may be meant")
            .because(
                marks
                    .iter()
                    .map(|mark| plain(&mark.to_string()))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
            .hint("name one by its number: roost backup target disks")),
        _ => {
            let line = |disk: &&Disk| {
                let mark = disk.usable().map(ToString::to_string).unwrap_or_default();
                plain(&format!("{mark}, {}, {}", size(disk.bytes), disk.model))
            };
            let lines: Vec<String> = found.iter().map(line).collect();
            let chosen = crate::ask::choose(&lines, "you chose none; nothing was changed")?;
            Ok(place.on(marks[chosen]))
        }
    }
}

/// Why there is none to choose.
fn none(place: &UsbPlace, disks: &[Disk]) -> Failure {
    let what = match place.disk.as_str() {
        "" => "there is no USB disk that the box can back up to".to_owned(),
        disk => format!("no USB disk with the number or name {disk:?} can be backed up to"),
    };
    let problems: Vec<String> = disks
        .iter()
        .map(|disk| {
            let name = match &disk.mark {
                Some(mark) => mark.to_string(),
                None => format!("{} ({})", disk.model, disk.name),
            };
            plain(&match &disk.problem {
                Some(problem) => format!("{name}: {problem}"),
                None => name,
            })
        })
        .collect();
    let because = match problems.is_empty() {
        true => "none is plugged in".to_owned(),
        false => format!("what is plugged in is {}", problems.join("; ")),
    };
    let meant = |disk: &&Disk| disk.mark.as_ref().is_some_and(|mark| place.means(mark));
    let hint = disks.iter().find(meant).or(disks.first());
    let hint = hint.and_then(|disk| disk.hint.as_deref());
    Failure::new(what).because(because).hint(plain(
        hint.unwrap_or("plug it into the box, and wait some seconds"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_service::disk::{DiskMark, FileSystem};

    fn plugged() -> Vec<Disk> {
        let disk = |name: &str, model: &str, bytes, mark, problem: Option<(&str, &str)>| Disk {
            name: name.into(),
            model: model.into(),
            bytes,
            mark,
            problem: problem.map(|(why, _)| why.to_owned()),
            hint: problem.map(|(_, hint)| hint.to_owned()),
        };
        let mark = |file_system, id: &str, label: &str| {
            Some(DiskMark {
                file_system,
                id: id.into(),
                label: label.into(),
            })
        };
        let ntfs = (
            "it has NTFS, which the box cannot write to",
            "choose another disk",
        );
        let locked = ("it can only be read", "look for a switch at its side");
        vec![
            disk(
                "sda1",
                "SanDisk Ultra",
                64_000_000_000,
                mark(FileSystem::Exfat, "1A2B-3C4D", "BACK\u{1b}UP"),
                None,
            ),
            disk("sdb1", "WD Elements", 2_000_000_000_000, None, Some(ntfs)),
            disk(
                "sdc",
                "a USB disk",
                8_000_000_000,
                mark(FileSystem::Vfat, "0000-0001", ""),
                Some(locked),
            ),
        ]
    }

    #[test]
    fn which_there_are_is_told() {
        let shown = |disks: &[Disk]| anstream::adapter::strip_str(&told(disks)).to_string();
        insta::assert_snapshot!("disks", shown(&plugged()));
        insta::assert_snapshot!("no_disks", shown(&[]));
    }

    #[test]
    fn why_there_is_none_is_told() {
        let place: UsbPlace = "usb://0000-0001".parse().unwrap();
        let failure = none(&place, &plugged()[1..]);
        insta::assert_snapshot!("none_of_disks", failure.in_a_line());
        let failure = none(&"usb://".parse().unwrap(), &[]);
        insta::assert_snapshot!("none_plugged", failure.in_a_line());
    }
}
