//! `roost flash`: the image onto a card, made one box's own.
//!
//! - [`media`] and [`superblock`]: which disks there are; [`guard`]: which may be written over.
//! - [`destination`]: asking which it shall be, and whether.
//! - [`emulated`]: the same for the card of `roost run`.
//! - [`image`]: what is written; [`make`]: where it comes from if nobody has made it yet; [`card`]: what
//!   makes the card one box's own.
//! - [`target`]: what it is written to; [`write`](mod@write): in which order, and how it is checked.
//! - [`show`]: lists and the last screen.
//! - [`reset`]: a factory reset by the card (`roost reset --card`).

pub mod card;
mod destination;
pub mod emulated;
mod guard;
pub mod image;
mod make;
mod media;
pub mod reset;
mod show;
mod superblock;
mod target;
mod write;

use crate::build::is_stale;
use crate::cli::FlashArgs;
use crate::config::Config;
use crate::config::names::BoxName;
use crate::config::{network, values};
use crate::device::cards::{Card, Cards, LetsIn};
use crate::device::identity::{Identity, Seed, computer_name};
use crate::device::stop::Stop;
use crate::error::Failure;
use crate::report;
use crate::ui::{Step, Ui, size};
use card::Personal;
use destination::{Destination, judged};
use image::Image;
use media::Machine;
use roost_service::card::{Computer, FORMAT_ALONE};
use roost_service::settings::Network;
use show::{Done, Listed};
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;
use write::{Stage, Watch, WriteError};

/// Where `roost build` puts its images unless it is told otherwise.
const OUTPUT: &str = "build";
/// What a box calls a computer without a usable host name.
const NAMELESS: &str = "laptop";

/// `roost flash`.
pub fn run(args: &FlashArgs, ui: &Ui) -> Result<(), Failure> {
    if args.list {
        let machine = Machine::new("/");
        let media = judged(&machine, None);
        ui.result(show::list(&media), &Listed::new(&media));
        return Ok(());
    }
    // Whatever may be wrong is found before anybody is asked, and long before anything is written.
    let name = box_name(args)?;
    let network = fixed_network(args)?;
    let key = Seed::make()?;
    let computer = this_computer(args, &key)?;
    let path = match &args.image {
        Some(image) => image.clone(),
        None => built(args, ui)?,
    };
    let personal = |format| {
        let computer = computer.filter(|_| {
            let fits = format > FORMAT_ALONE;
            if !fits {
                ui.warn(
                    "the image is of an older roost, whose boxes learn of no computer by their card: \
                     `roost pair` introduces this one. `roost build` makes a new image",
                );
            }
            fits
        });
        Personal::new(&name, network.clone(), computer)
    };
    let card = onto(&path, args.device.as_deref(), args.yes, personal, ui)?;
    leave(&card.personal, key, network.as_ref(), ui);
    let done = Done::new(
        card.destination.name(),
        card.destination.is_file(),
        &card.personal,
        network,
        card.written,
        card.ejected,
    );
    ui.result(done.render(columns()), &done);
    Ok(())
}

/// A card that is done.
pub struct Written {
    /// What makes it one box's own.
    pub personal: Personal,
    destination: Destination,
    written: write::Written,
    ejected: bool,
}

impl Written {
    /// Where it is, e.g. `/dev/sdb`.
    pub fn name(&self) -> String {
        self.destination.name()
    }
}

/// Writes an image to `device`, or to the card that is chosen from a list, with what `personal` makes
/// once everybody agrees; it is told the newest format of a card that the image's boxes read.
///
/// # Errors
///
/// A [`Failure`] that says what is on the card then.
pub fn onto(
    image: &Path,
    device: Option<&Path>,
    yes: bool,
    personal: impl FnOnce(u32) -> Result<Personal, Failure>,
    ui: &Ui,
) -> Result<Written, Failure> {
    let machine = Machine::new("/");
    let image = Image::open(image)?;
    let destination = match device {
        Some(path) => Destination::named(path, &machine, &image, ui)?,
        None => Destination::choose(&machine, &image, ui)?,
    };
    destination.agree(yes, &image, ui)?;
    // Not before the questions: there Ctrl-C shall end it at once.
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
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
    let personal = personal(scan.card.format)?;
    let mut disk = destination.open(&machine, image.bytes())?;
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
    Ok(Written {
        personal,
        destination,
        written,
        ejected,
    })
}

/// This computer as the box will know it, unless it shall not.
fn this_computer(args: &FlashArgs, key: &Seed) -> Result<Option<Computer>, Failure> {
    if args.no_laptop {
        return Ok(None);
    }
    let name = match (&args.laptop, computer_name(args.laptop.as_deref())) {
        (_, Ok(name)) => name,
        // Nobody asked for the host name.
        (None, Err(_)) => NAMELESS.to_owned(),
        (Some(_), Err(failure)) => return Err(failure),
    };
    let key = Identity::of(key)?.public;
    Ok(Some(Computer { name, key }))
}

/// Leaves code and fingerprint for `roost pair`, and by what the box will know this computer. The card is
/// complete without it.
fn leave(personal: &Personal, key: Seed, network: Option<&Network>, ui: &Ui) {
    let mut card = Card::new(&personal.name, &personal.code, personal.fingerprint);
    card.lets_in = personal.lets_in.clone().map(|laptop| LetsIn {
        laptop,
        key,
        certificate: personal.certificate.clone(),
    });
    if let Some(Network::Static { address, .. }) = network {
        card.web = Some(address.to_string());
    }
    let kept = Cards::of_user().and_then(|cards| cards.keep(&card));
    if let Err(failure) = kept {
        ui.warn(format!(
            "this computer does not remember the card, so it needs `roost pair`, which will ask for the code: {}",
            failure
                .causes()
                .first()
                .map_or(failure.to_string(), Clone::clone)
        ));
    }
}

/// What `roost build` has made; if there is none yet, it is made now from `roost.toml`.
fn built(args: &FlashArgs, ui: &Ui) -> Result<PathBuf, Failure> {
    let path = image_path(None);
    if path.exists() {
        if is_stale(&path, &args.config) {
            ui.warn(format!(
                "{} was changed after {} was made: end this by Ctrl-C and run `roost build` first if the card shall have that",
                args.config.display(),
                path.display()
            ));
        }
        return Ok(path);
    }
    // Without a configuration nothing can be made, and opening the image tells what is missing.
    if args.config.exists() {
        ui.info(format!(
            "There is no {} yet: it is made first, as by `roost build`.",
            path.display()
        ));
        make::image(args, OUTPUT, ui)?;
    }
    Ok(image_path(None))
}

/// The image that was named, or what `roost build` has made.
pub fn image_path(named: Option<&Path>) -> PathBuf {
    let plain = Path::new(OUTPUT).join(report::IMAGE);
    match named {
        Some(path) => path.to_owned(),
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
            .map_err(Failure::of_option("--name"));
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
        values::parse_address4(fixed).map_err(Failure::of_option("--static"))?;
    let gateway = values::parse_machine4(gateway).map_err(Failure::of_option("--gateway"))?;
    network::fits(address, prefix, gateway).map_err(Failure::of_option("--gateway"))?;
    let mut dns = Vec::new();
    for resolver in &args.dns {
        dns.push(values::parse_resolver(resolver).map_err(Failure::of_option("--dns"))?);
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
    match rustix::termios::tcgetwinsize(&out).ok()?.ws_col {
        // A serial line, or a terminal that does not say.
        0 => Some(80),
        columns => Some(columns.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said when it ends before the card is complete.
    #[test]
    fn a_card_that_is_not_complete_says_what_to_do() {
        let to = Destination::File("card.img".into());
        let lost = || std::io::Error::other("Input/output error (os error 5)");
        let errors = [
            WriteError::Stopped,
            WriteError::Refused(lost()),
            WriteError::Io {
                doing: "writing",
                at: 5 << 20,
                source: lost(),
            },
            WriteError::Differs {
                from: 5 << 20,
                to: 6 << 20,
            },
            WriteError::ImageChanged,
            WriteError::Image(Failure::new("cannot read build/roost.img").because(lost())),
        ];
        let text: String = errors
            .into_iter()
            .map(|error| unwritten(&to, error).render())
            .collect();
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
