//! `roost run`: the image in an emulator, started as a board's firmware would.

use crate::cli::{self, RunArgs};
use crate::error::Failure;
use crate::lock::Lock;
use crate::sdk;
use crate::store::disk_failure;
use crate::ui::{Mode, Ui};
use crate::workspace::Workspace;
use roost_emulator::{
    CommandPrefix, Console, Emulator, Exit, Forward, Machine, Options, Protocol, Running, Waited,
};
use roost_service::control::{Request, Response};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
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
    (443, "calendars, contacts, files, JMAP (HTTPS)"),
];
/// A card of the smallest size that is still sold.
const CARD_BYTES: u64 = 4 << 30;
/// How often the console and the signals are looked at.
const TICK: Duration = Duration::from_millis(100);
/// What init needs at most to stop every service and unmount.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(60);

/// `roost run`.
pub fn run(args: &RunArgs, ui: &Ui) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    let lock = Lock::load(&workspace.lock())?;
    let sdk = sdk::ensure(&lock, &workspace, crate::debian::host_mirror, false, ui)?;
    let machine = match args.machine {
        cli::Machine::Virt => Machine::Virt,
        cli::Machine::Raspi3b => Machine::Raspi3b,
    };
    let state = state_folder(args)?;
    let card = state.join(format!("{}.card", machine.name()));
    prepare_card(args, machine, &card, ui)?;
    let console = match &args.console {
        Some(path) => std::path::absolute(path).map_err(|e| disk_failure("find", path, e))?,
        None => state.join("console.log"),
    };
    let to_stdout = args.console.as_deref() == Some(Path::new("-"));
    let control = (machine == Machine::Virt).then(|| state.join("control"));
    let qemu = sdk
        .sandbox()
        .network()
        .write(&state, &state.to_string_lossy())
        .command_line("qemu-system-aarch64");
    let mut options = Options::new(machine, &card, &state);
    options.memory_mb = args.memory;
    options.forwards = PORTS
        .iter()
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
    options.console = if to_stdout {
        Console::Stdio
    } else {
        Console::File(console.clone())
    };
    options.qemu = CommandPrefix(qemu);
    options.restart = !args.once;

    let signals = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM] {
        let signals = Arc::clone(&signals);
        // SAFETY is the crate's: `register_usize` only stores a number.
        signal_hook::flag::register_usize(signal, signals, signal as usize)
            .map_err(|e| Failure::new("cannot listen for Ctrl-C").because(e))?;
    }
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
    ui.event_line(&json!({ "event": "started", "forwards": forwards, "control": control, "lan": lan, "console": console, "machine": machine.name() }));
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
        console: (!to_stdout).then_some(console),
        at: console_start,
        forwards,
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

/// Makes the card that the machine runs from, unless an earlier run left one.
fn prepare_card(args: &RunArgs, machine: Machine, card: &Path, ui: &Ui) -> Result<(), Failure> {
    let image = &args.image;
    let mark = crate::report::mark(image).map_err(|e| {
        Failure::new(format!("cannot read the image {}", image.display()))
            .because(e)
            .hint("make it first:  roost build")
    })?;
    let mark_file = card.with_extension("image");
    if args.fresh && card.exists() {
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
    roost_emulator::prepare_disk(image, card, roost_emulator::card_size(machine, bytes))
        .map_err(|e| Failure::new(format!("cannot make the card {}", card.display())).because(e))?;
    std::fs::write(&mark_file, mark).map_err(|e| disk_failure("write", &mark_file, e))
}

/// Follows a machine until it is off.
struct Watch<'a> {
    ui: &'a Ui,
    console: Option<PathBuf>,
    at: u64,
    forwards: BTreeMap<u16, u16>,
    control: Option<PathBuf>,
    machine: Machine,
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
            for line in self.new_lines() {
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

    /// Whole lines that the console has gained since last time.
    fn new_lines(&mut self) -> Vec<String> {
        let Some(console) = &self.console else {
            return Vec::new();
        };
        let mut bytes = Vec::new();
        let read = std::fs::File::open(console).and_then(|mut f| {
            f.seek(SeekFrom::Start(self.at))
                .and_then(|_| f.read_to_end(&mut bytes))
        });
        let Some(end) = read
            .ok()
            .and_then(|_| bytes.iter().rposition(|b| *b == b'\n'))
        else {
            return Vec::new();
        };
        self.at += end as u64 + 1;
        String::from_utf8_lossy(&bytes[..end])
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn ask_to_power_off(&self) -> bool {
        let Some(control) = &self.control else {
            self.ui
                .info(format!("{} has no control port", self.machine));
            return false;
        };
        self.ui.info("asking the box to power off …");
        match request(control, &Request::PowerOff) {
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
        if self.ui.mode() == Mode::Json || self.forwards.values().any(|p| *p == 0) {
            return;
        }
        let mut text = String::from("\nThe box answers on this machine (127.0.0.1):\n");
        for (port, what) in PORTS {
            if let Some(host) = self.forwards.get(port) {
                text += &format!("  {host:>5}  {what}\n");
            }
        }
        let (smtp, submissions, imaps) =
            (self.forwards[&25], self.forwards[&465], self.forwards[&993]);
        text += &format!(
            "\nIts certificate is its own for now, so clients must be told to accept it (-k).\n\
             Send a mail as a stranger, then read it (put in the account's address and password):\n\
             \x20 printf 'Subject: hello\\n\\nIt works.\\n' | curl smtp://127.0.0.1:{smtp}/client.example.net \\\n\
             \x20     --mail-from me@example.net --mail-rcpt ADDRESS -T -\n\
             \x20 curl -k imaps://127.0.0.1:{imaps}/INBOX -u ADDRESS:PASSWORD -X 'FETCH 1:* (BODY[HEADER.FIELDS (FROM SUBJECT)])'\n\
             Any mail program works too: IMAP 127.0.0.1 port {imaps} and SMTP port {submissions}, both TLS.\n\n\
             Ctrl-C shuts the box down; its mail stays for the next run."
        );
        self.ui.info(text);
    }
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

/// Asks init for something through the machine's control port.
fn request(socket: &Path, request: &Request) -> std::io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    // The port is one stream: what an earlier, impatient asker left behind comes first.
    for line in BufReader::new(stream).lines() {
        let answer = serde_json::from_str(&line?)?;
        if matches!(answer, Response::Ok | Response::Error { .. }) {
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
}
