//! A machine that runs: QEMU, started anew for every boot.

use crate::command;
use crate::error::Error;
use crate::firmware::{self, Boot, Loaded, file_error};
use crate::options::{Forward, Machine, Options, Protocol, lan_peer};
use crate::qmp::{self, Ending};
use crate::trial;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest path of a Unix socket on Linux, without the ending zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// Times that other free ports are tried when another program was quicker.
const PORT_ATTEMPTS: u32 = 5;
/// Bytes of QEMU's error output that are kept for a message.
const KEPT_OUTPUT: usize = 2048;

/// How a machine came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The guest switched itself off.
    PowerOff,
    /// The guest or its watchdog reset the machine ([`Options::restart`] is off).
    Reset,
    /// The power was cut: [`Running::kill`], or a signal to QEMU.
    Killed,
}

/// Starts machines.
#[derive(Debug)]
pub struct Emulator;

impl Emulator {
    /// Starts a machine. When this returns, QEMU runs and the guest boots.
    ///
    /// # Errors
    /// When the image cannot be booted, the options do not suit the machine or
    /// QEMU does not start.
    pub fn start(options: Options) -> Result<Running, Error> {
        check(&options)?;
        let card = occupy(&options.image)?;
        std::fs::create_dir_all(&options.workdir)
            .map_err(file_error("create", &options.workdir))?;
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (up, is_up) = mpsc::channel();
        let (over, is_over) = mpsc::channel();
        // QEMU is started by a thread that outlives it: a sandbox that ends
        // with its parent means the thread that started it.
        let supervisor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let result = supervise(&options, &shared, &up);
                drop(card);
                // Nobody listens any more when the handle was dropped.
                let _ = over.send(result);
            }
        });
        let mut running = Running {
            forwards: Vec::new(),
            shared,
            is_over,
            supervisor: Some(supervisor),
        };
        match is_up.recv() {
            Ok(forwards) => {
                running.forwards = forwards;
                Ok(running)
            }
            // It ended before it was up: the result says why.
            Err(_) => match running.wait() {
                Err(error) => Err(error),
                Ok(exit) => Err(Error::Qemu {
                    status: format!("{exit:?}"),
                    output: String::new(),
                }),
            },
        }
    }
}

/// Handle of a machine. Dropping it cuts the power.
#[derive(Debug)]
pub struct Running {
    forwards: Vec<Forward>,
    shared: Arc<Mutex<Shared>>,
    is_over: Receiver<Result<Exit, Error>>,
    supervisor: Option<JoinHandle<()>>,
}

impl Running {
    /// The forwards of [`Options::forwards`], in that order, with the ports of
    /// the host that were chosen. They stay the same when the machine restarts.
    pub fn forwards(&self) -> &[Forward] {
        &self.forwards
    }

    /// The port of the host that leads to a TCP port of the guest.
    pub fn tcp_port(&self, guest_port: u16) -> Option<u16> {
        self.forwards
            .iter()
            .find(|f| f.protocol == Protocol::Tcp && f.guest_port == guest_port)
            .map(|f| f.host_port)
    }

    /// The boots so far, oldest first; one more after each reset.
    pub fn boots(&self) -> Vec<Boot> {
        lock(&self.shared).boots.clone()
    }

    /// Cuts the power: QEMU is killed with no chance to write anything.
    /// [`Running::wait`] then returns [`Exit::Killed`].
    pub fn kill(&self) {
        self.power_switch().cut();
    }

    /// A switch for other threads.
    pub fn power_switch(&self) -> PowerSwitch {
        PowerSwitch(Arc::clone(&self.shared))
    }

    /// Waits for the machine's end.
    ///
    /// # Errors
    /// When QEMU failed, or the machine restarted and could not boot again.
    pub fn wait(mut self) -> Result<Exit, Error> {
        let result = self.is_over.recv();
        self.join();
        result.expect("the supervisor always sends its result")
    }

    /// Waits for the machine's end, at most `limit`.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub fn wait_for(self, limit: Duration) -> Result<Waited, Error> {
        match self.is_over.recv_timeout(limit) {
            Ok(result) => result.map(Waited::Ended),
            Err(RecvTimeoutError::Timeout) => Ok(Waited::StillRunning(self)),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("the supervisor always sends its result")
            }
        }
    }

    fn join(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            // A panic there was printed already.
            let _ = supervisor.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        self.join();
    }
}

/// What became of a machine in a limited time.
#[derive(Debug)]
pub enum Waited {
    /// It came to its end.
    Ended(Exit),
    /// It still runs.
    StillRunning(Running),
}

/// Cuts the power of a machine from any thread.
#[derive(Debug, Clone)]
pub struct PowerSwitch(Arc<Mutex<Shared>>);

impl PowerSwitch {
    /// As [`Running::kill`]. Does nothing when the machine is off already.
    pub fn cut(&self) {
        let mut shared = lock(&self.0);
        shared.cut = true;
        if let Some(qemu) = shared.qemu {
            // It may have ended this moment; the group exists until it is reaped.
            let _ = kill_process_group(qemu, Signal::KILL);
        }
    }
}

/// What the handle and the supervisor share.
#[derive(Debug, Default)]
struct Shared {
    boots: Vec<Boot>,
    /// The power was cut; nothing may be started any more.
    cut: bool,
    /// QEMU's process and process group, from its start until it is reaped.
    qemu: Option<Pid>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // The data is consistent after every statement.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(options: &Options) -> Result<(), Error> {
    let machine = options.machine;
    if machine == Machine::Raspi3b {
        let image = &options.image;
        let bytes = std::fs::metadata(image)
            .map_err(file_error("open", image))?
            .len();
        if !bytes.is_power_of_two() {
            return Err(Error::CardSize {
                image: image.clone(),
                bytes,
                machine,
            });
        }
        if options.control_socket.is_some() {
            return Err(Error::Unsupported {
                machine,
                what: "control port",
            });
        }
        if options.lan_socket.is_some() {
            return Err(Error::Unsupported {
                machine,
                what: "second host on its network",
            });
        }
    }
    if let Some(socket) = &options.control_socket {
        check_socket(socket)?;
    }
    if let Some(socket) = &options.lan_socket {
        // The longer one of the two.
        check_socket(&lan_peer(socket))?;
    }
    if let Some(socket) = &options.monitor_socket {
        check_socket(socket)?;
    }
    check_socket(&options.workdir.join(QMP_SOCKET))
}

/// Keeps other machines off the image while the result lives, also between
/// two boots. QEMU's own lock does not do: its SD card shares its image.
fn occupy(image: &Path) -> Result<File, Error> {
    let card = File::open(image).map_err(file_error("open", image))?;
    match card.try_lock() {
        Ok(()) => Ok(card),
        Err(TryLockError::WouldBlock) => Err(Error::InUse {
            image: image.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(file_error("lock", image)(e)),
    }
}

fn check_socket(path: &Path) -> Result<(), Error> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > MAX_SOCKET_PATH {
        return Err(Error::SocketPath {
            path: path.to_owned(),
            bytes,
            limit: MAX_SOCKET_PATH,
        });
    }
    Ok(())
}

const QMP_SOCKET: &str = "qmp";

/// Boots the machine until it stays off.
fn supervise(
    options: &Options,
    shared: &Mutex<Shared>,
    up: &Sender<Vec<Forward>>,
) -> Result<Exit, Error> {
    let mut ports = choose_ports(&options.forwards)?;
    let mut attempts = 1;
    // The firmware's one-shot flag.
    let mut tryboot = false;
    let noted = options.workdir.join(trial::FILE);
    loop {
        let loaded = load(options, std::mem::take(&mut tryboot))?;
        trial::forget(&noted).map_err(file_error("remove", &noted))?;
        let end = boot_once(options, &loaded, &ports.forwards, shared, || {
            // The caller may have gone already.
            let _ = up.send(ports.forwards.clone());
        });
        match end {
            Err(Error::Qemu { output, .. })
                if lock(shared).boots.is_empty()
                    && attempts < PORT_ATTEMPTS
                    && options.forwards.iter().any(|f| f.host_port == 0)
                    && output.contains("Could not set up host forwarding rule") =>
            {
                attempts += 1;
                ports = choose_ports(&options.forwards)?;
            }
            Err(error) => return Err(error),
            Ok(Ending::Reset) if options.restart => {
                tryboot = trial::requested(&noted, options.machine)
                    .map_err(file_error("read", &noted))?;
            }
            Ok(Ending::Reset) => return Ok(Exit::Reset),
            Ok(Ending::PowerOff) => return Ok(Exit::PowerOff),
            Ok(Ending::Host | Ending::Unsaid) => return Ok(Exit::Killed),
        }
    }
}

/// What the firmware starts; a trial that it cannot start is followed by an ordinary boot.
fn load(options: &Options, tryboot: bool) -> Result<Loaded, Error> {
    let load = |tryboot| firmware::load(&options.image, options.machine, tryboot, &options.workdir);
    if !tryboot {
        return load(false);
    }
    load(true).or_else(|error| {
        let mut console = open_console(&options.console)?;
        let mut cause = error.to_string();
        let mut next = std::error::Error::source(&error);
        while let Some(error) = next {
            cause += &format!(": {error}");
            next = error.source();
        }
        writeln!(console, "firmware: the trial cannot be started: {cause}")
            .map_err(file_error("write", &options.console))?;
        load(false)
    })
}

/// Runs QEMU from power-on to reset or power-off. `started` is called when the
/// guest is about to run.
fn boot_once(
    options: &Options,
    loaded: &Loaded,
    forwards: &[Forward],
    shared: &Mutex<Shared>,
    started: impl FnOnce(),
) -> Result<Ending, Error> {
    let socket = options.workdir.join(QMP_SOCKET);
    // Left by a machine whose power was cut.
    let sockets = [
        Some(&socket),
        options.control_socket.as_ref(),
        options.lan_socket.as_ref(),
        options.monitor_socket.as_ref(),
    ];
    for old in sockets.into_iter().flatten() {
        match std::fs::remove_file(old) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", old)(e));
            }
            _ => {}
        }
    }
    let listener = UnixListener::bind(&socket).map_err(file_error("create", &socket))?;
    let console = open_console(&options.console)?;

    let (program, first) = options.qemu.0.split_first().map_or_else(
        || ("qemu-system-aarch64".into(), &[][..]),
        |(program, first)| (program.clone(), first),
    );
    let mut command = Command::new(&program);
    command
        .args(first)
        .args(command::arguments(options, loaded, forwards, &socket))
        // Never written to, but held open as long as QEMU runs: at the end of its
        // input QEMU takes the whole console for closed and drops the output.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal is for the program that owns the machine.
        .process_group(0);
    let mut qemu = {
        let mut shared = lock(shared);
        if shared.cut {
            return Ok(Ending::Unsaid);
        }
        let child = command.spawn().map_err(|source| Error::Start {
            program: program.to_string_lossy().into_owned(),
            source,
        })?;
        shared.qemu = Some(Pid::from_child(&child));
        child
    };
    let output = qemu.stdout.take().expect("it is piped");
    let errors = qemu.stderr.take().expect("it is piped");
    let relay = thread::spawn(move || copy(output, console));
    let errors = thread::spawn(move || last_words(errors));

    let followed = follow(&listener, &qemu, || {
        lock(shared).boots.push(loaded.boot);
        started();
    });
    if followed.is_err() {
        // Whatever is wrong with the channel, nothing may be left running.
        let _ = kill_process_group(Pid::from_child(&qemu), Signal::KILL);
    }
    let status = reap(&mut qemu, shared).map_err(Error::Qmp)?;
    // Both threads end with the last process that holds the pipes.
    let relayed = relay.join().expect("the relay does not panic");
    let said = errors.join().expect("reading does not panic");
    if lock(shared).cut {
        return Ok(Ending::Unsaid);
    }
    match followed {
        Ok(Some(Ending::Unsaid)) | Ok(None) => Err(Error::Qemu {
            status: status.to_string(),
            output: said,
        }),
        Ok(Some(ending)) => {
            relayed.map_err(file_error("write", &options.console))?;
            Ok(ending)
        }
        Err(e) => Err(Error::Qmp(e)),
    }
}

/// Waits for QEMU's connection and follows the guest; `None` when QEMU ended
/// without connecting.
fn follow(
    listener: &UnixListener,
    qemu: &Child,
    started: impl FnOnce(),
) -> io::Result<Option<Ending>> {
    let process = pidfd_open(Pid::from_child(qemu), PidfdFlags::empty())?;
    let mut ready = [
        PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN),
    ];
    while let Err(e) = poll(&mut ready, None) {
        if e != rustix::io::Errno::INTR {
            return Err(e.into());
        }
    }
    if ready[0].revents().is_empty() {
        return Ok(None);
    }
    let (stream, _) = listener.accept()?;
    let writer = stream.try_clone()?;
    qmp::follow(BufReader::new(stream), writer, started).map(Some)
}

/// Reaps QEMU; from then on its number may belong to another process.
fn reap(qemu: &mut Child, shared: &Mutex<Shared>) -> io::Result<std::process::ExitStatus> {
    let process = pidfd_open(Pid::from_child(qemu), PidfdFlags::empty())?;
    let mut ready = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    while let Err(e) = poll(&mut ready, None) {
        if e != rustix::io::Errno::INTR {
            return Err(e.into());
        }
    }
    let mut shared = lock(shared);
    shared.qemu = None;
    qemu.wait()
}

fn open_console(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(file_error("open", path))
}

/// Copies as it comes. QEMU's end must be read even if it cannot be written,
/// or the guest would wait for its console.
fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut result = Ok(());
    let mut piece = [0; 4096];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return result,
            Ok(read) if result.is_ok() => {
                result = to.write_all(&piece[..read]).and_then(|()| to.flush());
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn last_words(mut from: impl Read) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        kept.extend_from_slice(&piece[..read]);
        let excess = kept.len().saturating_sub(KEPT_OUTPUT);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// Forwards whose host ports are chosen.
struct Ports {
    forwards: Vec<Forward>,
    /// Sockets that own the TCP ports for as long as the machine exists, also while
    /// it restarts and QEMU does not listen: the kernel then gives the port to no other
    /// program that asks for any. They do not listen themselves, so that QEMU may: both
    /// set `SO_REUSEADDR` (socket(7)).
    _held: Vec<OwnedFd>,
}

/// Fills in free ports of the host.
///
/// UDP ports are free now; QEMU takes them a moment later, and another program may be
/// quicker: QEMU's UDP sockets share with nobody.
fn choose_ports(forwards: &[Forward]) -> Result<Ports, Error> {
    // Held together until all are chosen, so that none is chosen twice.
    let mut udp = Vec::new();
    let mut held = Vec::new();
    let forwards = forwards
        .iter()
        .map(|forward| {
            let mut forward = *forward;
            if forward.host_port == 0 {
                let any = SocketAddrV4::new(forward.host_addr, 0);
                let chosen = match forward.protocol {
                    Protocol::Tcp => hold(any).map(|(socket, port)| {
                        held.push(socket);
                        port
                    }),
                    Protocol::Udp => UdpSocket::bind(any).and_then(|socket| {
                        let port = socket.local_addr()?.port();
                        udp.push(socket);
                        Ok(port)
                    }),
                };
                forward.host_port = chosen.map_err(|source| Error::NoPort {
                    address: forward.host_addr,
                    source,
                })?;
            }
            Ok(forward)
        })
        .collect::<Result<_, _>>()?;
    Ok(Ports {
        forwards,
        _held: held,
    })
}

/// A socket that owns a TCP port without listening, and the port.
fn hold(address: SocketAddrV4) -> io::Result<(OwnedFd, u16)> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    let port = SocketAddrV4::try_from(getsockname(&socket)?)?.port();
    Ok((socket, port))
}

#[cfg(test)]
mod tests;
