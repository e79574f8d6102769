//! Where the image goes: what was named or is chosen, and whether the user wants just that.

use super::guard::{self, Verdict};
use super::image::Image;
use super::media::{Bus, Machine, Medium, Named, Use};
use super::show::{self, Listed};
use super::target::Disk;
use crate::ask::{can_ask, confirm, no_answer};
use crate::error::Failure;
use crate::store::disk_failure;
use crate::ui::{Mode, Ui, size};
use rustix::mount::{UnmountFlags, unmount};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every disk with what is decided about it.
pub fn judged(machine: &Machine, needed: Option<u64>) -> Vec<(Medium, Verdict)> {
    let media = machine.media().into_iter();
    media
        .map(|medium| {
            let verdict = guard::judge(&medium, needed);
            (medium, verdict)
        })
        .collect()
}

/// Where the image goes.
pub enum Destination {
    /// A disk.
    Disk(Box<Medium>),
    /// A file, which may not be there yet.
    File(PathBuf),
}

impl Destination {
    /// Its path.
    pub fn name(&self) -> String {
        match self {
            Self::Disk(medium) => medium.path.display().to_string(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Whether it is a file and not a disk.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// What messages call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Disk(_) => "card",
            Self::File(_) => "file",
        }
    }

    /// Opens it for writing; what is mounted of it no longer is then.
    pub fn open(&self, machine: &Machine, bytes: u64) -> Result<Disk, Failure> {
        let medium = match self {
            Self::File(path) => {
                return Disk::file(path, bytes).map_err(|e| disk_failure("write", path, e));
            }
            Self::Disk(medium) => medium,
        };
        // Somebody was asked, and the image was read: meanwhile another disk may have got this
        // name, or the reader another card.
        let another = || {
            Failure::new(format!(
                "{} is not what it was any more",
                medium.path.display()
            ))
            .because("another disk or card is there now, or something has begun to use it")
            .hint("nothing was written; run the same command again")
        };
        match machine.by_name(&medium.name) {
            Named::Disk(now) if now == *medium => {}
            _ => return Err(another()),
        }
        // A file system below another one comes later in the list.
        for what in medium.uses.iter().rev() {
            if let Use::Mounted { part, place } = what {
                unmount(place, UnmountFlags::empty()).map_err(|e| {
                    Failure::new(format!("cannot unmount {}", place.display()))
                        .because(std::io::Error::from(e))
                        .hint(format!(
                            "close what uses it, then:  udisksctl unmount -b /dev/{part}   (or umount, as root)"
                        ))
                })?;
            }
        }
        let path = &medium.path;
        let disk = Disk::device(path).map_err(|e| {
            let hint = match e.kind() {
                // sudo's own PATH does not lead to what cargo has installed.
                ErrorKind::PermissionDenied => format!(
                    "run it as root:  sudo {} flash {} …",
                    std::env::current_exe()
                        .unwrap_or_else(|_| "roost".into())
                        .display(),
                    path.display()
                ),
                ErrorKind::ResourceBusy => {
                    "something uses it: a file system that is mounted, or a program".to_owned()
                }
                _ => "put the card in again".to_owned(),
            };
            Failure::new(format!("cannot open {}", path.display()))
                .because(e)
                .hint(hint)
        })?;
        // While it is open, the name and the number stay with it.
        let same = disk.number().is_ok_and(|number| number == medium.number)
            && matches!(machine.by_name(&medium.name), Named::Disk(now) if now.sequence == medium.sequence);
        if same { Ok(disk) } else { Err(another()) }
    }

    /// Lets the card be taken out. Nothing here is a reason to fail: the card is complete.
    pub fn let_go(&self, disk: &Disk) -> bool {
        let Self::Disk(medium) = self else {
            return false;
        };
        if medium.bus == Bus::Usb && medium.removable && disk.eject().is_ok() {
            return true;
        }
        // For whoever goes on with it here.
        let _ = disk.reread_table();
        false
    }

    /// What the given path stands for.
    pub fn named(path: &Path, machine: &Machine, image: &Image, ui: &Ui) -> Result<Self, Failure> {
        let cannot = || Failure::usage(format!("cannot flash {}", path.display()));
        let named = machine.named(path).map_err(|e| cannot().because(e))?;
        match named {
            Named::Disk(medium) => Ok(Self::Disk(medium)),
            Named::File => {
                let same = path.metadata().is_ok_and(|to| {
                    let from = image.file().metadata();
                    from.is_ok_and(|from| (from.dev(), from.ino()) == (to.dev(), to.ino()))
                });
                if same {
                    return Err(cannot().because("it is the image itself"));
                }
                Ok(Self::File(path.to_owned()))
            }
            Named::PartOf(disk) => Err(cannot()
                .because(format!("it is a part of /dev/{disk}"))
                .hint(format!("name the whole disk:  roost flash /dev/{disk}"))),
            Named::Other(what) => {
                if ui.mode() != Mode::Json {
                    ui.info(show::list(&judged(machine, Some(image.bytes()))));
                }
                Err(cannot()
                    .because(what)
                    .hint("name a disk from `roost flash --list`, or a file"))
            }
        }
    }

    /// Asks which of the disks it shall be.
    pub fn choose(machine: &Machine, image: &Image, ui: &Ui) -> Result<Self, Failure> {
        let media = judged(machine, Some(image.bytes()));
        let list = Listed::new(&media);
        ui.event_line(&serde_json::json!({ "event": "disks", "disks": list.disks }));
        if ui.mode() != Mode::Json {
            ui.info(show::list(&media));
        }
        let mut fit: Vec<Medium> = media
            .into_iter()
            .filter(|(medium, verdict)| {
                show::is_listed(medium) && !matches!(verdict, Verdict::Never(..))
            })
            .map(|(medium, _)| medium)
            .collect();
        if !can_ask(ui) {
            return Err(Failure::usage(
                "nothing says which card, and there is no terminal to ask on",
            )
            .hint("name it, e.g.  roost flash /dev/sdb --yes"));
        }
        if fit.is_empty() {
            return Err(Failure::usage("there is no card to write to")
                .hint("put one in and run it again; or name a disk, or a file"));
        }
        let lines: Vec<String> = fit.iter().map(show::line).collect();
        let chosen = crate::ask::choose(&lines, "you chose none; nothing was written")?;
        Ok(Self::Disk(Box::new(fit.swap_remove(chosen))))
    }

    /// Makes sure that the user wants just this one to be written over.
    pub fn agree(&self, yes: bool, image: &Image, ui: &Ui) -> Result<(), Failure> {
        let name = self.name();
        let (verdict, question) = match self {
            Self::File(path) => match path.metadata() {
                Ok(meta) if meta.len() > 0 => (
                    Verdict::Fit,
                    format!("Replace {name} ({})?", size(meta.len())),
                ),
                // Nothing is lost.
                _ => return Ok(()),
            },
            Self::Disk(medium) => (
                guard::judge(medium, Some(image.bytes())),
                format!("Erase all of {name} and write the box?"),
            ),
        };
        let refused =
            |why: String| Failure::usage(format!("{name} is not written over")).because(why);
        match verdict {
            Verdict::Never(why, hint) => Err(match hint {
                Some(hint) => refused(why).hint(hint),
                None => refused(why),
            }),
            Verdict::Fit if yes => Ok(()),
            Verdict::Fit if !can_ask(ui) => Err(refused(
                "it would be asked first, and there is no terminal to ask on".to_owned(),
            )
            .hint("add --yes")),
            Verdict::Fit => {
                if let Self::Disk(medium) = self {
                    ui.info(format!("  {}", show::line(medium)));
                }
                match confirm(&question)? {
                    true => Ok(()),
                    false => Err(Failure::interrupted("you said no; nothing was written")),
                }
            }
            Verdict::TypeName(reasons) if !can_ask(ui) => Err(refused(reasons.join("; ")).hint(
                "on a terminal it is possible, by typing the disk's name; --yes is not enough",
            )),
            Verdict::TypeName(reasons) => {
                let Self::Disk(medium) = self else {
                    unreachable!("a file is fit")
                };
                for reason in &reasons {
                    ui.warn(format!("{name}: {reason}"));
                }
                ui.info(format!("  {}", show::line(medium)));
                let typed = dialoguer::Input::<String>::new()
                    .with_prompt(format!(
                        "Everything on it will be lost. Type {} to go on",
                        medium.name
                    ))
                    .allow_empty(true)
                    .interact_text()
                    .map_err(no_answer)?;
                if typed.trim() == medium.name || typed.trim() == name {
                    Ok(())
                } else {
                    Err(Failure::interrupted(
                        "that is not its name; nothing was written",
                    ))
                }
            }
        }
    }
}
