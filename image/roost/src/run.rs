//! `roost run`: the image in an emulator, started as a board's firmware would.

use crate::cli::{self, RunArgs};
use crate::device::cards::{Card, Cards};
use crate::device::paired::Boxes;
use crate::disk;
use crate::error::Failure;
use crate::flash::emulated::{self, Own};
use crate::lock::Lock;
use crate::sdk::{self, Sdk};
use crate::store::disk_failure;
use crate::ui::{Mode, Ui};
use crate::workspace::Workspace;
use roost_board::fat::FileSystem;
use roost_board::layout::{Layout, Slot};
use roost_emulator::{
    CommandPrefix, Emulator, Exit, Forward, Machine, Options, Protocol, Running, Waited,
};
use roost_service::card::display_code;
use roost_service::control::{Request, Response};
use roost_service::fingerprint::Fingerprint;
use roost_service::settings::Settings;
use roost_service::update::PORT;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The box's TCP ports and what answers there.
const PORTS: &[(u16, &str)] = &[
    (25, "SMTP, from other mail servers"),
    (465, "sending mail (submission, TLS)"),
    (587, "sending mail (submission, STARTTLS)"),
    (993, "reading mail (IMAP, TLS)"),
    (143, "reading mail (IMAP, STARTTLS)"),
    (995, "fetching mail (POP3, TLS)"),
    (110, "fetching mail (POP3, STARTTLS)"),
    (4190, "filters (ManageSieve)"),
    (
        443,
        "pairing, the portal; calendars, contacts, files, JMAP (HTTPS)",
    ),
    (53, "the domain's name server (DNS over TCP)"),
    (PORT, "roost pair, update, status, logs"),
];
/// A card of the smallest size that is still sold.
const CARD_BYTES: u64 = 4 << 30;
/// How often the console and the signals are looked at.
const TICK: Duration = Duration::from_millis(100);
/// After this the power is cut. Longer than init takes at the very most: 90 s for the services
/// (`STOP_LIMIT`), 5 s for what is left (`KILL_LIMIT`), 180 s for the card (`RELEASE_LIMIT`).
/// Who cannot wait presses Ctrl-C again.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(300);

/// `roost run`.
pub fn run(args: &RunArgs, ui: &Ui) -> Result<(), Failure> {
    // First of all: without an image nothing else needs to be made.
    let mark = image_mark(&args.image)?;
    let workspace = Workspace::find()?;
    let lock = Lock::load(&workspace.lock())?;
    let sdk = sdk::ensure(&lock, &workspace, crate::debian::host_mirror, false, ui)?;
    let machine = match args.machine {
        cli::Machine::Virt => Machine::Virt,
        cli::Machine::Raspi3b => Machine::Raspi3b,
    };
    let state = state_folder(args)?;
    let card = state.join(format!("{}.card", machine.name()));
    prepare_card(args, &mark, machine, &card, ui)?;
    let own = own_file(&card)?;
    let to_stdout = args.console.as_deref() == Some(Path::new("-"));
    // The file is always there: it is what readiness is read from.
    let console = match &args.console {
        Some(path) if !to_stdout => {
            std::path::absolute(path).map_err(|e| disk_failure("find", path, e))?
        }
        _ => state.join("console.log"),
    };
    let control = (machine == Machine::Virt).then(|| state.join("control"));
    let qemu = sdk
        .sandbox()
        .network()
        .write(&state, &state.to_string_lossy())
        .command_line("qemu-system-aarch64");
    let mut options = Options::new(machine, &card, &state);
    options.memory_mb = args.memory;
    options.cpus = args.cpus;
    options.forwards = PORTS
        .iter()
        .filter(|_| !args.lan_only)
        .map(|(port, _)| Forward {
            host_addr: Ipv4Addr::LOCALHOST,
            host_port: if args.port_offset == 0 {
                0
            } else {
                args.port_offset + port
            },
            guest_port: *port,
            protocol: Protocol::Tcp,
        })
        .collect();
    options.control_socket = control.clone();
    let lan = args.lan.then(|| state.join("lan"));
    options.lan_socket = lan.clone();
    options.lan_only = args.lan_only;
    let monitor = args.monitor.then(|| state.join("monitor"));
    options.monitor_socket = monitor.clone();
    options.usb = args.usb;
    options.console = console.clone();
    options.qemu = CommandPrefix(qemu);
    options.restart = !args.once;

    let signals = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let signals = Arc::clone(&signals);
        // SAFETY is the crate's: `register_usize` only stores a number.
        signal_hook::flag::register_usize(signal, signals, signal as usize)
            .map_err(|e| Failure::new("cannot listen for Ctrl-C").because(e))?;
    }
    let account = match ui.mode() {
        Mode::Json | Mode::Quiet => None,
        Mode::Bars | Mode::Lines => account_of(&sdk, &card, &state),
    };
    let console_start = console.metadata().map_or(0, |m| m.len());
    let running = Emulator::start(options).map_err(|e| {
        let hint = e
            .hint()
            .unwrap_or_else(|| "--fresh starts from the image as it was built".to_owned());
        Failure::new(format!("cannot start {}", args.image.display()))
            .because(e)
            .hint(hint)
    })?;
    let forwards: BTreeMap<u16, u16> = running
        .forwards()
        .iter()
        .map(|f| (f.guest_port, f.host_port))
        .collect();
    let pairing = own.and_then(|own| leave_pairing(own, &forwards, ui));
    ui.event_line(&json!({ "event": "started", "code": pairing.as_ref().map(|p| &p.code), "fingerprint": pairing.as_ref().map(|p| &p.fingerprint), "forwards": forwards, "control": control, "lan": lan, "monitor": monitor, "console": console, "machine": machine.name() }));
    if ui.mode() != Mode::Json {
        ui.info(format!(
            "  machine  {}, card {}\n  console  {}",
            machine.name(),
            card.display(),
            console.display()
        ));
    }
    let watch = Watch {
        ui,
        console,
        at: console_start,
        to_stdout,
        forwards,
        account,
        pairing,
        control,
        machine,
    };
    watch.until_over(running, &signals)
}

fn state_folder(args: &RunArgs) -> Result<PathBuf, Failure> {
    let dir = args
        .state
        .clone()
        .unwrap_or_else(|| args.image.with_extension("state"));
    std::fs::create_dir_all(&dir).map_err(|e| disk_failure("create", &dir, e))?;
    dir.canonicalize()
        .map_err(|e| disk_failure("find", &dir, e))
}

/// Mark of the image, by which a card knows what it was made from.
fn image_mark(image: &Path) -> Result<String, Failure> {
    let cannot_read = || Failure::new(format!("cannot read the image {}", image.display()));
    if image.is_dir() {
        return Err(cannot_read()
            .because("it is a folder")
            .hint("name the disk image that `roost build` made there, roost.img"));
    }
    crate::report::mark(image).map_err(|e| {
        cannot_read()
            .because(e)
            .hint("run `roost build` first, or name its image with --image")
    })
}

/// Makes the card that the machine runs from, unless an earlier run left one.
fn prepare_card(
    args: &RunArgs,
    mark: &str,
    machine: Machine,
    card: &Path,
    ui: &Ui,
) -> Result<(), Failure> {
    let mark_file = card.with_extension("image");
    // Held until the new card is there: nobody starts from the old one in between.
    let old = if args.fresh { lock_card(card)? } else { None };
    if old.is_some() {
        std::fs::remove_file(card).map_err(|e| disk_failure("remove", card, e))?;
    }
    if card.exists() {
        if std::fs::read_to_string(&mark_file).is_ok_and(|m| m != mark) {
            ui.warn(format!(
                "{} was made from an earlier image and goes on with that one; \
                 --fresh starts from the new image and forgets the mail on the card",
                card.display()
            ));
        }
        return Ok(());
    }
    let bytes = args.disk_size.unwrap_or(CARD_BYTES);
    roost_emulator::prepare_disk(&args.image, card, roost_emulator::card_size(machine, bytes))
        .map_err(|e| {
            let hint = e.hint().unwrap_or_else(|| {
                "free some space, or keep the card elsewhere with --state".to_owned()
            });
            Failure::new(format!("cannot make the card {}", card.display()))
                .because(e)
                .hint(hint)
        })?;
    make_own(card)?;
    std::fs::write(&mark_file, mark).map_err(|e| disk_failure("write", &mark_file, e))
}

/// Where it is noted what makes the card its box's own.
fn own_note(card: &Path) -> PathBuf {
    card.with_extension("own.json")
}

/// What makes the card its box's own, as it was noted when the card was made.
fn own_file(card: &Path) -> Result<Option<Own>, Failure> {
    let note = own_note(card);
    match std::fs::read(&note) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(disk_failure("read", &note, e)),
    }
}

/// Gives a new card a code and an identity, and notes them for later runs.
fn make_own(card: &Path) -> Result<(), Failure> {
    let note = own_note(card);
    let fail = |e: std::io::Error| disk_failure("write", &note, e);
    let Some(own) = emulated::personalise(card)? else {
        return match std::fs::remove_file(&note) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(fail(e)),
            _ => Ok(()),
        };
    };
    let folder = card.parent().unwrap_or(Path::new("."));
    // Readable by its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    serde_json::to_writer(&mut file, &own).map_err(|e| fail(e.into()))?;
    file.persist(&note).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Leaves code and fingerprint for `roost pair`, as `roost flash` does. `None` if this computer is
/// paired with the box already.
fn leave_pairing(own: Own, forwards: &BTreeMap<u16, u16>, ui: &Ui) -> Option<Pairing> {
    let fingerprint = Fingerprint::from_hex(&own.fingerprint)?;
    let leave = || -> Result<bool, Failure> {
        if Boxes::of_user()?.with(fingerprint)?.is_some() {
            return Ok(false);
        }
        let mut card = Card::new("roost", &own.code, fingerprint);
        card.web = forwards.get(&443).map(|port| format!("127.0.0.1:{port}"));
        card.api_port = forwards.get(&PORT).copied();
        Cards::of_user()?.keep(&card)?;
        Ok(true)
    };
    match leave() {
        Ok(false) => return None,
        Ok(true) => {}
        // The box runs all the same.
        Err(failure) => ui.warn(format!("`roost pair` will ask for the code: {failure}")),
    }
    Some(Pairing {
        code: display_code(&own.code),
        fingerprint: own.fingerprint,
        words: fingerprint.words().join(" "),
    })
}

/// The lock that a running machine holds on its card, if there is a card: nobody runs from it then.
fn lock_card(card: &Path) -> Result<Option<File>, Failure> {
    let file = match File::open(card) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(disk_failure("open", card, e)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::new(format!("cannot remove {}", card.display()))
                .because("a box runs from this card")
                .hint("end that `roost run` with Ctrl-C first, or run beside it with --state and another --port-offset"))
        }
        Err(TryLockError::Error(e)) => Err(disk_failure("lock", card, e)),
    }
}

/// The account's name and its address, as the settings on the card say.
///
/// Only the welcome needs them: whatever is wrong with the card, booting shows it better.
fn account_of(sdk: &Sdk, card: &Path, state: &Path) -> Option<(String, String)> {
    let slot = Layout::STANDARD.slot(Slot::A);
    let card = File::open(card).ok()?;
    let mut files = FileSystem::open_at(card, slot.offset(), slot.bytes()).ok()?;
    let mut root = tempfile::NamedTempFile::new_in(state).ok()?;
    files.copy(disk::ROOT, &mut root).ok()?;
    let settings = ["--cat", "--path=/etc/roost/settings.json", "/work/root.img"];
    let sandbox = sdk.sandbox().read(root.path(), "/work/root.img");
    let out = sandbox.run("dump.erofs", &settings).ok()?;
    let settings: Settings = serde_json::from_slice(&out.stdout).ok()?;
    let mailbox = settings.mailbox?;
    let name = mailbox.account.name;
    let address = format!("{name}@{}", mailbox.domain);
    Some((name, address))
}

/// Follows a machine until it is off.
struct Watch<'a> {
    ui: &'a Ui,
    console: PathBuf,
    at: u64,
    /// Whether the console is shown as well.
    to_stdout: bool,
    forwards: BTreeMap<u16, u16>,
    account: Option<(String, String)>,
    pairing: Option<Pairing>,
    control: Option<PathBuf>,
    machine: Machine,
}

/// How to pair with a box that nobody on this computer has paired with.
struct Pairing {
    /// The code as people type it.
    code: String,
    /// Of its certificate, in hexadecimal digits.
    fingerprint: String,
    /// The same in words, as far as they go.
    words: String,
}

impl Watch<'_> {
    fn until_over(mut self, mut running: Running, signals: &AtomicUsize) -> Result<(), Failure> {
        let mut step = Some(self.ui.step("boot the box"));
        let mut boots = running.boots().len();
        let mut asked: Option<Instant> = None;
        let exit = loop {
            running = match running.wait_for(TICK) {
                Ok(Waited::Ended(exit)) => break exit,
                Ok(Waited::StillRunning(still)) => still,
                Err(e) => return Err(Failure::new("the emulator failed").because(e)),
            };
            for line in self.new_lines(false) {
                if let Some(after) = ready_after(&line) {
                    self.ui
                        .event_line(&json!({ "event": "ready", "after_s": after }));
                    if let Some(step) = step.take() {
                        step.done(format!("services ready {after} s after the kernel started"));
                        self.welcome();
                    }
                } else if line.contains("roost: rescue:") {
                    self.ui.warn(&line);
                }
            }
            let now = running.boots().len();
            if now > boots {
                boots = now;
                self.ui.event_line(&json!({ "event": "reset" }));
                step = Some(self.ui.step("boot the box again"));
            }
            if signals.swap(0, Ordering::Relaxed) != 0
                || asked.is_some_and(|t| t.elapsed() > POWER_OFF_LIMIT)
            {
                if asked.is_some() || !self.ask_to_power_off() {
                    self.ui.warn("cutting the power");
                    running.kill();
                }
                asked.get_or_insert_with(Instant::now);
            }
        };
        self.new_lines(true);
        let reason = match exit {
            Exit::PowerOff => "power-off",
            Exit::Reset => "reset",
            Exit::Killed => "power-cut",
        };
        if let Some(step) = step {
            step.done("");
        }
        self.ui
            .event_line(&json!({ "event": "exit", "reason": reason }));
        self.ui.info(format!("the box is off ({reason})"));
        if exit == Exit::Killed && asked.is_none() {
            return Err(Failure::new("the emulator was killed"));
        }
        Ok(())
    }

    /// Lines that the console has gained since last time; an unfinished one only at the `end`.
    fn new_lines(&mut self, end: bool) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = File::open(&self.console).and_then(|mut f| {
            f.seek(SeekFrom::Start(self.at))
                .and_then(|_| f.read_to_end(&mut bytes))
        });
        let whole = if end {
            bytes.len()
        } else {
            bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1)
        };
        if read.is_err() || whole == 0 {
            return Vec::new();
        }
        self.at += whole as u64;
        let text = String::from_utf8_lossy(&bytes[..whole]);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if self.to_stdout {
            self.show(&lines);
        }
        lines
    }

    /// Shows the console. With --json standard output holds nothing but events.
    fn show(&self, lines: &[String]) {
        if self.ui.mode() == Mode::Json {
            for line in lines {
                self.ui
                    .event_line(&json!({ "event": "console", "text": line }));
            }
        } else {
            self.ui.result(lines.join("\n"), &());
        }
    }

    fn ask_to_power_off(&self) -> bool {
        let Some(control) = &self.control else {
            self.ui
                .info(format!("{} has no control port", self.machine));
            return false;
        };
        self.ui
            .info("asking the box to power off; Ctrl-C again cuts the power …");
        match request(control, &Request::PowerOff, |answer| {
            *answer == Response::Ok
        }) {
            Ok(Response::Ok) => true,
            Ok(answer) => {
                self.ui.warn(format!("the box refused: {answer:?}"));
                false
            }
            Err(e) => {
                self.ui.warn(format!("the box does not answer: {e}"));
                false
            }
        }
    }

    fn welcome(&self) {
        if self.ui.mode() != Mode::Json {
            self.ui.info(welcome(
                &self.forwards,
                self.account.as_ref(),
                self.pairing.as_ref(),
            ));
        }
    }
}

/// What somebody who has just started a box wants to know.
fn welcome(
    forwards: &BTreeMap<u16, u16>,
    account: Option<&(String, String)>,
    pairing: Option<&Pairing>,
) -> String {
    let (name, address) = match account {
        Some((name, address)) => (name.as_str(), address.as_str()),
        None => ("NAME", "NAME@DOMAIN"),
    };
    if forwards.is_empty() {
        return "\nThe box answers on its own network alone. Ctrl-C shuts it down.".to_owned();
    }
    let mut text = String::from("\nThe box answers on this machine (127.0.0.1):\n");
    for (port, what) in PORTS {
        if let Some(host) = forwards.get(port) {
            text += &format!("  {host:>5}  {what}\n");
        }
    }
    if let Some(Pairing { code, words, .. }) = pairing {
        let https = forwards[&443];
        text += &format!(
            "\nBecome its owner: roost pair 127.0.0.1:{https}, or open https://127.0.0.1:{https}/pair\n\
             \x20 pairing code  {code}   (works once)\n\
             \x20 certificate   {words}\n"
        );
    }
    let (smtp, submissions, imaps) = (forwards[&25], forwards[&465], forwards[&993]);
    // A stranger's domain must exist and must not say that it sends no mail, as example.net does.
    text += &format!(
        "\nSend a mail as a stranger would, and read the newest (curl asks for the password):\n\
         \x20 printf 'From: stranger@friends.home.arpa\\nSubject: hello\\n\\nIt works.\\n' |\n\
         \x20   curl --crlf smtp://127.0.0.1:{smtp}/client.friends.home.arpa \\\n\
         \x20     --mail-from stranger@friends.home.arpa --mail-rcpt {address} -T -\n\
         \x20 curl -k 'imaps://127.0.0.1:{imaps}/INBOX;MAILINDEX=*' -u {name}\n\
         Mail programs: name {name}, IMAP 127.0.0.1 port {imaps}, SMTP port {submissions}, both TLS. The certificate is\n\
         the box's own for now: clients must be told to accept it (-k).\n\n\
         Ctrl-C shuts the box down; its mail stays for the next run."
    );
    text
}

/// `roost: services ready after 12.3 s` → `12.3`.
fn ready_after(line: &str) -> Option<f64> {
    line.split_once("roost: services ready after ")?
        .1
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Asks init for something through the machine's control port; waits for a refusal, or for what
/// `fits`.
pub fn request(
    socket: &Path,
    request: &Request,
    fits: impl Fn(&Response) -> bool,
) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    // The port is one stream: what an earlier, impatient asker left behind comes first.
    for line in BufReader::new(stream).lines() {
        let answer = serde_json::from_str(&line?)?;
        if fits(&answer) || matches!(answer, Response::Error { .. }) {
            return Ok(answer);
        }
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_found_behind_the_kernels_time_stamp() {
        assert_eq!(
            ready_after("[   11.20] roost: services ready after 11.2 s"),
            Some(11.2)
        );
        assert_eq!(ready_after("roost: services ready"), None);
    }

    #[test]
    fn the_welcome_can_be_copied_into_a_terminal() {
        let forwards = PORTS.iter().map(|(p, _)| (*p, 10_000 + p)).collect();
        let account = ("alice".to_owned(), "alice@example.org".to_owned());
        let pairing = Pairing {
            code: "A0B1-C2D3".into(),
            fingerprint: String::new(),
            words: "legal winner thank year wave sausage".into(),
        };
        insta::assert_snapshot!(welcome(&forwards, Some(&account), Some(&pairing)));
        assert!(welcome(&forwards, None, None).contains("--mail-rcpt NAME@DOMAIN "));
    }

    #[test]
    fn console_lines_come_whole_and_the_last_one_at_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ui = Ui::new(Mode::Quiet);
        let mut watch = Watch {
            ui: &ui,
            console: file.path().to_owned(),
            at: 0,
            to_stdout: false,
            forwards: BTreeMap::new(),
            account: None,
            pairing: None,
            control: None,
            machine: Machine::Virt,
        };
        let say = |text: &str| file.as_file().write_all(text.as_bytes()).unwrap();
        say("one\r\ntwo\nthr");
        assert_eq!(watch.new_lines(false), ["one", "two"]);
        assert!(watch.new_lines(false).is_empty());
        say("ee\nKernel pan");
        assert_eq!(watch.new_lines(false), ["three"]);
        assert_eq!(watch.new_lines(true), ["Kernel pan"]);
        assert!(watch.new_lines(true).is_empty());
    }

    #[test]
    fn a_fresh_start_takes_no_card_that_a_box_runs_from() {
        use clap::Parser;
        use std::ffi::OsString;
        let dir = tempfile::tempdir().unwrap();
        let (image, card) = (dir.path().join("image"), dir.path().join("virt.card"));
        std::fs::write(&image, "new").unwrap();
        std::fs::write(&card, "a box with mail").unwrap();
        let line = ["roost", "run", "--fresh", "--disk-size", "1MiB", "--image"];
        let line = line.map(OsString::from).into_iter();
        let cli = cli::Cli::parse_from(line.chain([image.into()]));
        let cli::Command::Run(args) = cli.command else {
            panic!("it is a run")
        };
        let ui = Ui::new(Mode::Quiet);
        let prepare = || prepare_card(&args, "mark", Machine::Virt, &card, &ui);

        let running = File::open(&card).unwrap();
        running.try_lock().unwrap();
        let text = anstream::adapter::strip_str(&prepare().unwrap_err().render()).to_string();
        insta::assert_snapshot!(text.replace(&dir.path().display().to_string(), "state"));
        assert_eq!(std::fs::read(&card).unwrap(), b"a box with mail");

        drop(running);
        prepare().unwrap();
        assert!(std::fs::read(&card).unwrap().starts_with(b"new\0"));
    }
}
