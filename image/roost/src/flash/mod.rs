//! `roost flash`: the image onto a card, made one box's own.
//!
//! - [`media`] and [`superblock`]: which disks there are; [`guard`]: which may be written over.
//! - [`image`]: what is written; [`card`] and [`fingerprint`]: what makes the card one box's own.
//! - [`target`]: what it is written to; [`write`](mod@write): in which order, and how it is checked.
//! - [`show`]: lists and the last screen.

pub mod card;
pub mod fingerprint;
mod guard;
pub mod image;
mod media;
mod show;
mod superblock;
mod target;
mod write;

use crate::cli::FlashArgs;
use crate::config::Config;
use crate::config::names::BoxName;
use crate::config::{network, values};
use crate::device::stop::Stop;
use crate::error::Failure;
use crate::password::{can_ask, no_answer};
use crate::report;
use crate::store::disk_failure;
use crate::ui::{Mode, Step, Ui, size};
use card::Personal;
use guard::Verdict;
use image::Image;
use media::{Bus, Machine, Medium, Named, Use};
use roost_service::settings::Network;
use rustix::mount::{UnmountFlags, unmount};
use show::{Done, Listed};
use std::io::{ErrorKind, IsTerminal};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use target::Disk;
use write::{Stage, Watch, WriteError};

/// Where `roost build` puts its images unless it is told otherwise.
const OUTPUT: &str = "build";

/// `roost flash`.
pub fn run(args: &FlashArgs, ui: &Ui) -> Result<(), Failure> {
    let machine = Machine::new("/");
    if args.list {
        let media = judged(&machine, None);
        ui.result(show::list(&media), &Listed::new(&media));
        return Ok(());
    }
    // Whatever may be wrong is found before anybody is asked, and long before anything is written.
    let name = box_name(args)?;
    let network = fixed_network(args)?;
    let image = Image::open(&image_path(args))?;
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let destination = match &args.device {
        Some(path) => destination(path, &machine, &image, ui)?,
        None => choose(&machine, &image, ui)?,
    };
    agree(&destination, args.yes, &image, ui)?;
    let scan = {
        let step = ui.step("check the image");
        step.total_bytes(image.bytes());
        let scan = image.scan(|at| {
            step.position(at);
            match stop.is_set() {
                true => Err(Failure::interrupted("stopped; nothing was written")),
                false => Ok(()),
            }
        })?;
        step.done(size(image.bytes()));
        scan
    };
    let personal = Personal::new(&name, network.clone())?;
    let mut disk = destination.open(image.bytes())?;
    let mut progress = Progress::new(ui, &stop, image.bytes());
    let written = write::write(&mut disk, &image, &scan, &personal.file, &mut progress);
    let written = match written {
        Ok(written) => {
            progress.finish();
            written
        }
        Err(error) => {
            drop(progress);
            return Err(unwritten(&destination, error));
        }
    };
    let ejected = destination.let_go(&disk);
    let done = Done::new(
        destination.name(),
        matches!(destination, Destination::File(_)),
        &personal,
        network,
        written,
        ejected,
    );
    ui.result(done.render(columns()), &done);
    Ok(())
}

/// Every disk with what is decided about it.
fn judged(machine: &Machine, needed: Option<u64>) -> Vec<(Medium, Verdict)> {
    let media = machine.media().into_iter();
    media
        .map(|medium| {
            let verdict = guard::judge(&medium, needed);
            (medium, verdict)
        })
        .collect()
}

fn image_path(args: &FlashArgs) -> PathBuf {
    let plain = Path::new(OUTPUT).join(report::IMAGE);
    match &args.image {
        Some(path) => path.clone(),
        None if plain.exists() => plain,
        None => Some(Path::new(OUTPUT).join(report::COMPRESSED))
            .filter(|packed| packed.exists())
            .unwrap_or(plain),
    }
}

fn box_name(args: &FlashArgs) -> Result<String, Failure> {
    if let Some(name) = &args.name {
        return BoxName::parse(name)
            .map(|name| name.as_str().to_owned())
            .map_err(|reason| reason.of_option("--name"));
    }
    if !args.config.exists() {
        return Err(Failure::usage("nothing says what the box is called")
            .because(format!("{} does not exist", args.config.display()))
            .hint("go to the folder of your roost.toml, or name the box with --name"));
    }
    Ok(Config::load(&args.config)?.name.as_str().to_owned())
}

/// The network that the options give, checked as in `roost.toml`.
fn fixed_network(args: &FlashArgs) -> Result<Option<Network>, Failure> {
    let (Some(fixed), Some(gateway)) = (&args.fixed, &args.gateway) else {
        return Ok(None);
    };
    let (address, prefix) =
        values::parse_address4(fixed).map_err(|reason| reason.of_option("--static"))?;
    let gateway =
        values::parse_machine4(gateway).map_err(|reason| reason.of_option("--gateway"))?;
    network::fits(address, prefix, gateway).map_err(|reason| reason.of_option("--gateway"))?;
    let mut dns = Vec::new();
    for resolver in &args.dns {
        dns.push(values::parse_resolver(resolver).map_err(|reason| reason.of_option("--dns"))?);
    }
    if dns.is_empty() {
        dns.push(IpAddr::V4(gateway));
    }
    Ok(Some(Network::Static {
        address,
        prefix,
        gateway,
        dns,
        address6: None,
    }))
}

/// Where the image goes.
enum Destination {
    Disk(Box<Medium>),
    File(PathBuf),
}

impl Destination {
    fn name(&self) -> String {
        match self {
            Self::Disk(medium) => medium.path.display().to_string(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// What messages call it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Disk(_) => "card",
            Self::File(_) => "file",
        }
    }

    /// Opens it for writing; what is mounted of it no longer is then.
    fn open(&self, bytes: u64) -> Result<Disk, Failure> {
        let medium = match self {
            Self::File(path) => {
                return Disk::file(path, bytes).map_err(|e| disk_failure("write", path, e));
            }
            Self::Disk(medium) => medium,
        };
        for what in &medium.uses {
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
        Disk::device(path).map_err(|e| {
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
        })
    }

    /// Lets the card be taken out. Nothing here is a reason to fail: the card is complete.
    fn let_go(&self, disk: &Disk) -> bool {
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
}

/// What the given path stands for.
fn destination(
    path: &Path,
    machine: &Machine,
    image: &Image,
    ui: &Ui,
) -> Result<Destination, Failure> {
    let cannot = || Failure::usage(format!("cannot flash {}", path.display()));
    let named = machine.named(path).map_err(|e| cannot().because(e))?;
    match named {
        Named::Disk(medium) => Ok(Destination::Disk(medium)),
        Named::File => {
            let same = path.metadata().is_ok_and(|to| {
                let from = image.file().metadata();
                from.is_ok_and(|from| (from.dev(), from.ino()) == (to.dev(), to.ino()))
            });
            if same {
                return Err(cannot().because("it is the image itself"));
            }
            Ok(Destination::File(path.to_owned()))
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
fn choose(machine: &Machine, image: &Image, ui: &Ui) -> Result<Destination, Failure> {
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
        return Err(
            Failure::usage("nothing says which card, and there is no terminal to ask on")
                .hint("name it, e.g.  roost flash /dev/sdb --yes"),
        );
    }
    if fit.is_empty() {
        return Err(Failure::usage("there is no card to write to")
            .hint("put one in and run it again; or name a disk, or a file"));
    }
    let lines: Vec<String> = fit.iter().map(show::line).collect();
    let chosen = dialoguer::Select::new()
        .with_prompt("Which one?  (arrow keys, Enter; Esc ends it)")
        .items(&lines)
        .default(0)
        .interact_opt()
        .map_err(no_answer)?
        .ok_or_else(|| Failure::interrupted("you chose none; nothing was written"))?;
    Ok(Destination::Disk(Box::new(fit.swap_remove(chosen))))
}

/// Makes sure that the user wants just this one to be written over.
fn agree(to: &Destination, yes: bool, image: &Image, ui: &Ui) -> Result<(), Failure> {
    let name = to.name();
    let (verdict, question) = match to {
        Destination::File(path) => match path.metadata() {
            Ok(meta) if meta.len() > 0 => (
                Verdict::Fit,
                format!("Replace {name} ({})?", size(meta.len())),
            ),
            // Nothing is lost.
            _ => return Ok(()),
        },
        Destination::Disk(medium) => (
            guard::judge(medium, Some(image.bytes())),
            format!("Erase {} and write the box?", show::line(medium)),
        ),
    };
    let refused = |why: String| Failure::usage(format!("{name} is not written over")).because(why);
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
            let answer = dialoguer::Confirm::new()
                .with_prompt(question)
                .default(false)
                .show_default(true)
                .interact()
                .map_err(no_answer)?;
            match answer {
                true => Ok(()),
                false => Err(Failure::interrupted("you said no; nothing was written")),
            }
        }
        Verdict::TypeName(reasons) if !can_ask(ui) => Err(refused(reasons.join("; "))
            .hint("on a terminal it is possible, by typing the disk's name; --yes is not enough")),
        Verdict::TypeName(reasons) => {
            let Destination::Disk(medium) = to else {
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

/// Why the card is not complete, and what holds now.
fn unwritten(to: &Destination, error: WriteError) -> Failure {
    let (kind, name) = (to.kind(), to.name());
    let state = format!("the {kind} is not complete, and does not boot");
    match error {
        WriteError::Image(failure) => Failure::new(state).because(failure),
        WriteError::Stopped => {
            Failure::interrupted(format!("stopped; {state}")).hint("run the same command again")
        }
        WriteError::Refused(_) => Failure::new(format!("{name} takes no writes"))
            .because(error)
            .hint(
                "it still holds what it held; look for a write protection, or try another reader",
            ),
        WriteError::Differs { .. } => Failure::new(format!("{name} does not keep what is written"))
            .because(Failure::new(state).because(error))
            .hint("use another card: this one is worn out, or smaller than it says"),
        WriteError::ImageChanged => Failure::new(state)
            .because(error)
            .hint("let `roost build` end, then run the same command again"),
        WriteError::Io { .. } => Failure::new(state).because(error).hint(
            "put the card in again and run the same command; else try another reader or card",
        ),
    }
}

/// Shows the writer's stages as steps.
struct Progress<'a> {
    ui: &'a Ui,
    stop: &'a Stop,
    total: u64,
    began: Instant,
    now: Option<(Stage, Step<'a>)>,
}

impl<'a> Progress<'a> {
    fn new(ui: &'a Ui, stop: &'a Stop, total: u64) -> Self {
        Self {
            ui,
            stop,
            total,
            began: Instant::now(),
            now: None,
        }
    }

    fn finish(&mut self) {
        let Some((stage, step)) = self.now.take() else {
            return;
        };
        let took = self.began.elapsed();
        match stage {
            Stage::Settle => step.done(""),
            Stage::Write => {
                let rate = self.total as f64 / took.as_secs_f64().max(0.001);
                step.done(format!("{}, {}/s", size(self.total), size(rate as u64)));
            }
            Stage::Verify => step.done("every byte as in the image"),
            Stage::Boot => step.done("it boots from now on"),
        }
    }
}

impl Watch for Progress<'_> {
    fn at(&mut self, stage: Stage, done: u64) {
        match &self.now {
            Some((now, step)) if *now == stage => return step.position(done),
            _ => self.finish(),
        }
        let step = self.ui.step(match stage {
            Stage::Write => "write",
            Stage::Settle => "wait until it is kept",
            Stage::Verify => "read back and compare",
            Stage::Boot => "write the boot sector",
        });
        if matches!(stage, Stage::Write | Stage::Verify) {
            step.total_bytes(self.total);
            step.position(done);
        }
        self.began = Instant::now();
        self.now = Some((stage, step));
    }

    fn stop(&self) -> bool {
        self.stop.is_set()
    }
}

/// Width of the terminal that results are shown on, if it is one.
fn columns() -> Option<usize> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(&out).ok()?;
    Some(usize::from(size.ws_col))
}
