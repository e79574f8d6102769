//! Saying on the home network where the box is: multicast DNS (RFC 6762) and DNS service
//! discovery (RFC 6763), over IPv4 and IPv6.
//!
//! | Record | Says |
//! |---|---|
//! | `NAME.local` A, AAAA | the box's addresses, kept up to date as they change |
//! | `NAME._https._tcp.local` SRV, TXT | the portal, for browsers that list web pages |
//! | `NAME._roost._tcp.local` SRV, TXT | that it is a box, for `roost find`; [`txt`] says what else |
//!
//! The crate `mdns-sd` does the protocol in a thread of its own: probing and giving way (section 8),
//! announcing, answering, goodbye. When another machine has the name it takes `NAME-2`, and the
//! instance `NAME (2)`. It probes when it begins and when an address appears, so a machine that takes
//! the same name later has to give way to us; it does, if it probes.
//!
//! What comes in is anybody's. The crate keeps records that nobody has asked for when they come in
//! a message of a certain shape, for as long as their sender wants, and reads for as long as something
//! comes: a flood of seven seconds left 1.9 million records and 330 MB (`tests/mdns.rs`). So it runs in
//! a process of its own, [`child`], which may have [`MAX_MEMORY`] and gives way to everything else.
//! Beyond that it ends, and begins anew after [`AGAIN`].

use mdns_sd::{DaemonEvent, IfKind, RRType, ServiceDaemon, ServiceInfo};
use rustix::process::{Resource, Rlimit, Signal};
use serde::{Deserialize, Serialize};
use std::io;
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Web pages over TLS.
pub const HTTPS: &str = "_https._tcp.local.";
/// Boxes.
pub const ROOST: &str = "_roost._tcp.local.";

/// Keys of the TXT record of [`ROOST`].
pub mod txt {
    /// Version of the box, e.g. `0.4.0+13`.
    pub const VERSION: &str = "v";
    /// The name that the owner gave the box; its host name may be another one.
    pub const NAME: &str = "name";
    /// The first eight bytes of the certificate's SHA-256 fingerprint, in hexadecimal.
    pub const FINGERPRINT: &str = "fp";
    /// `yes`, or `no` while the box waits for its owner.
    pub const PAIRED: &str = "paired";
}

/// Digits of the fingerprint that are told.
const FINGERPRINT_DIGITS: usize = 16;
/// Bytes of memory that the child may write to: ten times what it needs.
const MAX_MEMORY: u64 = 64 << 20;
/// How far the child stands back when others want the processor (nice(2)).
const STANDS_BACK: i32 = 10;
/// Longest line between the two, in bytes.
const MAX_LINE: u64 = 1024;
/// Pause before it begins anew, so that a flood does not make the box do nothing else.
const AGAIN: Duration = Duration::from_secs(10);
/// For each goodbye, at the end.
const GOODBYE: Duration = Duration::from_millis(500);
/// For the child's end, once it was told.
const END: Duration = Duration::from_secs(2);

/// What is said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Announcement {
    /// The box's name, a label in lower case.
    pub name: String,
    /// Where the portal listens.
    pub https_port: u16,
    /// The certificate's SHA-256 fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// Version of the box.
    pub version: String,
}

/// Answers until `stop` becomes true; then says goodbye. `paired` is told as it changes. `host`
/// gets the name on the network, without `.local`, whenever it is another one: the portal must
/// take requests for it, and the screen must not show another machine's. `command` makes the command
/// that runs [`child`].
///
/// Nothing that goes wrong here keeps the portal from working, so there is no error: it is logged,
/// and tried again.
pub async fn announce(
    what: Announcement,
    command: impl Fn() -> Command,
    mut paired: watch::Receiver<bool>,
    host: watch::Sender<String>,
    mut stop: watch::Receiver<bool>,
) {
    let mut told = String::new();
    loop {
        take_name(&host, &what.name);
        let why = match watch_child(&what, command(), &mut paired, &host, &mut stop).await {
            Ok(None) => return,
            Ok(Some(why)) => why,
            Err(error) => error.to_string(),
        };
        if why != told {
            println!("portal: the box cannot be found by name for a while: {why}");
            told = why;
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// Starts the child and follows it to its end; `None`: that was wanted.
async fn watch_child(
    what: &Announcement,
    mut command: Command,
    paired: &mut watch::Receiver<bool>,
    host: &watch::Sender<String>,
    stop: &mut watch::Receiver<bool>,
) -> io::Result<Option<String>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let mut said = lines(output);
    let mut first = serde_json::to_string(what)?;
    first.push('\n');
    input.write_all(first.as_bytes()).await?;
    let is_paired = *paired.borrow_and_update();
    tell(&mut input, is_paired).await?;
    let mut paired_is_told = true;
    loop {
        tokio::select! {
            () = stopped(stop) => {
                // The end of its input is its sign to say goodbye.
                drop(input);
                let _ = timeout(END, child.wait()).await;
                return Ok(None);
            }
            changed = paired.changed(), if paired_is_told => {
                // Whoever told it is gone: what was said last stays.
                paired_is_told = changed.is_ok();
                let is_paired = *paired.borrow_and_update();
                tell(&mut input, is_paired).await?;
            }
            line = said.recv() => match line {
                Some(line) => match line.split_once(' ') {
                    Some(("host", name)) => take_name(host, name),
                    _ => println!("portal: mDNS: {line}"),
                },
                None => {
                    let status = child.wait().await?;
                    return Ok(Some(format!("what answers for it ended ({status})")));
                }
            },
        }
    }
}

async fn tell(input: &mut ChildStdin, is_paired: bool) -> io::Result<()> {
    let line: &[u8] = if is_paired {
        b"paired\n"
    } else {
        b"unpaired\n"
    };
    input.write_all(line).await
}

/// The lines that come, to the end. Reading one must not be broken off, so that has a task of its own.
fn lines(from: impl AsyncRead + Unpin + Send + 'static) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            let mut rest = (&mut from).take(MAX_LINE);
            if !matches!(rest.read_until(b'\n', &mut line).await, Ok(1..)) {
                return;
            }
            let line = String::from_utf8_lossy(line.trim_ascii()).into_owned();
            if send.send(line).await.is_err() {
                return;
            }
        }
    });
    lines
}

/// The process that answers. Its input is an [`Announcement`] as JSON in a line, then `paired` or
/// `unpaired` whenever that changes; at the input's end it says goodbye. It prints `host NAME` when
/// it has another name.
pub fn child() -> ExitCode {
    let runtime = confine().and_then(|()| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    });
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run()),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn confine() -> io::Result<()> {
    let limit = Rlimit {
        current: Some(MAX_MEMORY),
        maximum: Some(MAX_MEMORY),
    };
    rustix::process::setrlimit(Resource::Data, limit)?;
    rustix::process::nice(STANDS_BACK)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

type Failure = Box<dyn std::error::Error>;

async fn run() -> Result<(), Failure> {
    let mut input = lines(tokio::io::stdin());
    let first = input.recv().await.ok_or("nothing to announce")?;
    let what: Announcement = serde_json::from_str(&first)?;
    let daemon = Daemon(ServiceDaemon::new()?);
    // Who is on this machine needs no multicast to find it.
    daemon
        .0
        .disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    // What it says itself must not come back: while it probes for a new address, it takes an answer of its
    // own that is still under way for another machine's, and gives way to it.
    daemon.0.set_multicast_loop_v4(false)?;
    daemon.0.set_multicast_loop_v6(false)?;
    let events = daemon.0.monitor()?;
    let mut is_registered = false;
    loop {
        tokio::select! {
            line = input.recv() => match line {
                Some(line) => {
                    if !is_registered {
                        daemon.0.register(https(&what)?)?;
                        is_registered = true;
                    }
                    daemon.0.register(roost(&what, line == "paired")?)?;
                }
                None => break,
            },
            event = events.recv_async() => match event? {
                DaemonEvent::NameChange(change)
                    if matches!(change.rr_type, RRType::A | RRType::AAAA) =>
                {
                    if let Some(name) = change.new_name.strip_suffix(".local.") {
                        println!("host {name}");
                    }
                }
                DaemonEvent::Error(error) => println!("{error}"),
                _ => {}
            },
        }
    }
    for kind in [HTTPS, ROOST] {
        if let Ok(done) = daemon.0.unregister(&format!("{}.{kind}", what.name)) {
            let _ = timeout(GOODBYE, done.recv_async()).await;
        }
    }
    Ok(())
}

/// Ends its thread with it.
struct Daemon(ServiceDaemon);

impl Drop for Daemon {
    fn drop(&mut self) {
        // Nobody waits: the thread ends by itself.
        let _ = self.0.shutdown();
    }
}

fn take_name(host: &watch::Sender<String>, name: &str) {
    host.send_if_modified(|known| {
        let is_new = known != name;
        if is_new {
            name.clone_into(known);
        }
        is_new
    });
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Without its sender nobody could stop it later either.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn https(what: &Announcement) -> Result<ServiceInfo, mdns_sd::Error> {
    let path: [(&str, &str); 1] = [("path", "/")];
    info(HTTPS, what, &path)
}

fn roost(what: &Announcement, is_paired: bool) -> Result<ServiceInfo, mdns_sd::Error> {
    let end = what.fingerprint.len().min(FINGERPRINT_DIGITS);
    info(
        ROOST,
        what,
        &[
            (txt::VERSION, what.version.as_str()),
            (txt::NAME, what.name.as_str()),
            (txt::FINGERPRINT, what.fingerprint.get(..end).unwrap_or("")),
            (txt::PAIRED, if is_paired { "yes" } else { "no" }),
        ],
    )
}

fn info(
    kind: &str,
    what: &Announcement,
    properties: &[(&str, &str)],
) -> Result<ServiceInfo, mdns_sd::Error> {
    let host = format!("{}.local.", what.name);
    let port = what.https_port;
    let info = ServiceInfo::new(kind, &what.name, &host, "", port, properties)?;
    Ok(info.enable_addr_auto())
}
