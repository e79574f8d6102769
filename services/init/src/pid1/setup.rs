//! The first second of PID 1: mounts, settings, descriptors, the data helper.

use super::*;
use roost_service::control::SOCKET;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Descriptors a process may open: a mail server with its stores and
/// connections needs more than the kernel's 1,024.
const MAX_FILES: u64 = 65_536;

/// Whether a source is the one that is looked for.
type IsOpen = fn(&Source) -> bool;

/// What the builder says about the image.
#[derive(Debug, Default, serde::Deserialize)]
struct Release {
    version: String,
}

impl Init {
    /// Sets everything up and starts the data helper.
    ///
    /// # Errors
    /// Only for what nothing works without; everything else is said and lived with.
    pub(super) fn set_up() -> Result<Self, String> {
        mounts::runtime_filesystems().map_err(|e| e.to_string())?;
        let now = clock::since_boot();
        let (settings, settings_problem) = split(read_json::<Settings>(settings::PATH));
        let (table, table_problem) = split(read_table());
        let (release, release_problem) = split(read_json::<Release>("/etc/roost/release.json"));
        let told = std::env::var(boot_times::STAGE1_ENV).ok();
        let version = release.as_ref().map_or("", |release| &release.version);
        let mut log = BootLog::new(version, told.as_deref());
        log.begin(now, SET_UP);
        let args = boot::args();
        let table = table.unwrap_or_default();
        let mut random = [0; 8];
        // Without entropy yet, a fixed number does as well: the Ethernet address tells clients apart.
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::NONBLOCK);
        let random = u64::from_ne_bytes(random);
        let signals = Signals::install().map_err(|e| format!("signals: {e}"))?;
        let mut init = Self {
            kmsg: Kmsg::open(),
            logs: Logs::default(),
            machine: Machine::new(
                table.clone(),
                args.as_ref().is_ok_and(boot::on_trial),
                Jitter::new(random),
            ),
            table,
            // Of chance, half is enough to tell clients apart.
            network: Network::new(random as u32),
            changes: Vec::new(),
            settings,
            name: String::new(),
            version: release.unwrap_or_default().version,
            slot: args
                .as_ref()
                .map_err(Clone::clone)
                .and_then(boot::slot)
                .unwrap_or(0),
            data_mounted: false,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| format!("epoll: {e}"))?,
            sources: BTreeMap::new(),
            unwatched: Vec::new(),
            undone: Vec::new(),
            unsent: Vec::new(),
            signals,
            next_token: 0,
            helpers: Vec::new(),
            lending: Lending::default(),
            clock: Clock {
                floors: Floors {
                    built: clock::kernel_floor().unwrap_or_default(),
                    saved: Duration::ZERO,
                },
                trust: Trust::Near,
                base: Duration::ZERO,
                synced: false,
                next_sync: None,
                retry: SYNC_RETRY,
                next_save: now + SAVE_CLOCK_EVERY,
            },
            next_spill: now + logs::SPILL_EVERY,
            limits: limits::Watch::default(),
            last_urgent: Duration::ZERO,
            boot_id: journal::boot_id(random),
            watchdog: None,
            next_feed: now,
            screen: Screen::default(),
            consoles: Consoles::default(),
            boot: log,
        };
        // Arguments that cannot be read say nothing against it.
        if args.as_ref().map_or(true, |args| args.watchdog) {
            init.watchdog = Watchdog::open();
            if init.watchdog.is_none() {
                init.say(
                    Level::Quiet,
                    "there is no watchdog: nothing restarts the box should it hang",
                );
            }
        }
        init.raise_clock();
        init.clock.base = clock::now().saturating_sub(clock::since_boot());
        init.open_what_is_closed(Level::Console);
        init.do_steps();
        if let Some(problem) = release_problem {
            init.say(Level::Console, &problem);
        }
        init.boot.end(clock::since_boot(), SET_UP);
        match settings_problem.or(table_problem) {
            Some(problem) => init.data_unusable(problem),
            None => {
                init.boot.begin(clock::since_boot(), DATA);
                init.check_data();
            }
        }
        Ok(init)
    }

    /// Once more if it cannot be started: without it nothing but a restart helps.
    fn check_data(&mut self) {
        for last in [false, true] {
            let Err(error) = self.start_helper(Task::Data, &["--data"], b"") else {
                return;
            };
            let problem = format!("cannot start the check of the data: {error}");
            if last {
                self.data_unusable(problem);
            } else {
                self.say(Level::Quiet, &problem);
            }
        }
    }

    /// The services stay away; the network shall be there all the same.
    pub(super) fn data_unusable(&mut self, reason: String) {
        self.follow_settings(card::of_image(self.settings.as_ref()));
        self.event(machine::Event::DataUnusable(reason));
    }

    /// Takes the name, and lets the network begin.
    pub(super) fn follow_settings(&mut self, chosen: card::Chosen) {
        if let Some(problem) = chosen.problem {
            self.say(Level::Console, &problem);
        }
        if let Err(error) = rustix::system::sethostname(chosen.name.as_bytes()) {
            let line = format!("cannot set the host name: {error}");
            self.say(Level::Console, &line);
        }
        self.name = chosen.name;
        let now = clock::since_boot();
        self.boot.begin(now, NETWORK);
        let actions = self.network.configure(now, chosen.network, &self.name);
        self.network_actions(actions);
        self.place();
    }

    /// Opens what init cannot be without for long, if it is not open. `level`: of what is said then.
    pub(super) fn open_what_is_closed(&mut self, level: Level) {
        let needed: [(IsOpen, Step); 3] = [
            (|s| matches!(s, Source::Signals(_)), Self::hear_signals),
            (|s| matches!(s, Source::Listener(_)), Self::open_control),
            (|s| matches!(s, Source::Netlink(_)), Self::open_network),
        ];
        for (is_open, open) in needed {
            if !self.sources.values().any(is_open)
                && let Err(problem) = open(self)
            {
                self.say(level, &problem);
            }
        }
    }

    /// Does the steps of the set-up. One that fails is done again at the next feedings of the
    /// watchdog.
    fn do_steps(&mut self) {
        for step in STEPS {
            if let Err(problem) = step(self) {
                self.say(Level::Console, &problem);
                self.undone.push(Undone {
                    step,
                    problem,
                    left: ATTEMPTS - 1,
                });
            }
        }
    }

    /// Does again what has failed.
    pub(super) fn do_undone(&mut self) {
        for mut undone in std::mem::take(&mut self.undone) {
            undone.left -= 1;
            match (undone.step)(self) {
                Ok(()) => {
                    let line = format!("done at another attempt: {}", undone.problem);
                    self.say(Level::Quiet, &line);
                }
                Err(_) if undone.left == 0 => {}
                Err(_) => self.undone.push(undone),
            }
        }
    }

    /// Until then signals are looked for at each feeding.
    fn hear_signals(&mut self) -> Result<(), String> {
        let fd = self.signals.as_fd().try_clone_to_owned();
        let fd = fd.map_err(|e| format!("cannot hear signals: {e}"))?;
        self.watch(Source::Signals(fd));
        Ok(())
    }

    fn open_control(&mut self) -> Result<(), String> {
        let path = Path::new(SOCKET);
        let folder = path.parent().unwrap_or(Path::new("/run"));
        fs::create_dir_all(folder)
            .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)))
            .and_then(|()| match fs::remove_file(path) {
                // Of an attempt before this one.
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => UnixListener::bind(path),
            })
            .and_then(|listener| {
                // Who may ask for what is decided by the peer's user, see `control::Peer`.
                fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
                listener.set_nonblocking(true)?;
                self.watch(Source::Listener(listener));
                Ok(())
            })
            .map_err(|e| format!("cannot open {SOCKET}: {e}"))
    }

    fn open_network(&mut self) -> Result<(), String> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Protocol 0 of netlink sockets is NETLINK_ROUTE.
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
            .and_then(|fd| {
                bind(&fd, &SocketAddrNetlink::new(0, netlink::GROUPS))?;
                Ok(fd)
            })
            .map_err(|e| format!("cannot talk to the kernel's network: {e}"))?;
        self.watch(Source::Netlink(fd));
        // The loopback interface always has number 1.
        let mut actions = vec![network::Action::Netlink(netlink::link_up(0, 1))];
        actions.extend(self.network.start());
        self.network_actions(actions);
        Ok(())
    }

    /// The emulator's control port, on machines that have virtio ports.
    fn open_ports(&mut self) -> Result<(), String> {
        let uevents = Uevents::open().map_err(|e| format!("cannot listen for devices: {e}"))?;
        self.watch(Source::Uevents(uevents));
        self.open_port();
        Ok(())
    }

    fn prepare_groups(&mut self) -> Result<(), String> {
        let missing =
            limits::prepare().map_err(|e| format!("cannot set up control groups: {e}"))?;
        if !missing.is_empty() {
            let missing = missing.join(", ");
            let line = format!("no limits of {missing}: the kernel has none");
            self.say(Level::Console, &line);
        }
        Ok(())
    }

    fn allow_recording(&mut self) -> Result<(), String> {
        if seccomp::recording().map_err(|e| format!("cannot record system calls: {e}"))? {
            let line = "this image records system calls: services may make all of them";
            self.say(Level::Console, line);
        }
        Ok(())
    }
}

/// Steps of the set-up, each useful without the others.
const STEPS: [Step; 13] = [
    |init| processes::prepare_folders(&init.table),
    |_| disks::prepare(),
    |init| devices::make(&init.table, boot::args()?.disk_id, init.slot),
    Init::open_kernel_log,
    |_| hear_ctrl_alt_del(),
    |_| raise_open_files(),
    |_| limits::protect_init().map_err(|e| format!("init may be ended for want of memory: {e}")),
    Init::prepare_groups,
    Init::allow_recording,
    |_| set_kernel("/proc/sys/net/ipv6/conf/all/forwarding", "0"),
    |_| set_kernel("/proc/sys/net/ipv6/conf/default/accept_ra", "1"),
    // Of both families. Who may bind which is up to each service's Landlock rules: a
    // capability in its user namespace would count for nothing here (capabilities(7)).
    |_| set_kernel("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    Init::open_ports,
];
/// What fails that often is not to be had on this machine.
const ATTEMPTS: u32 = 4;

/// It shall be a signal to us.
fn hear_ctrl_alt_del() -> Result<(), String> {
    rustix::system::reboot(rustix::system::RebootCommand::CadOff)
        .map_err(|e| format!("ctrl-alt-del restarts at once, without an orderly end: {e}"))
}

fn raise_open_files() -> Result<(), String> {
    let limit = Rlimit {
        current: Some(MAX_FILES),
        maximum: Some(MAX_FILES),
    };
    setrlimit(Resource::Nofile, limit)
        .map_err(|e| format!("cannot raise the limit of open files: {e}"))
}

fn set_kernel(key: &str, value: &str) -> Result<(), String> {
    fs::write(key, value).map_err(|e| format!("cannot set {key}: {e}"))
}

fn read_json<T: serde::de::DeserializeOwned>(path: &str) -> Result<T, String> {
    // Once more: without some of them nothing but a restart leads out of the rescue state.
    let text = fs::read(path).or_else(|_| fs::read(path));
    let text = text.map_err(|e| format!("cannot read {path}: {e}"))?;
    serde_json::from_slice(&text).map_err(|e| format!("{path}: {e}"))
}

fn read_table() -> Result<Vec<ServiceSpec>, String> {
    let table: Vec<ServiceSpec> = read_json(spec::PATH)?;
    spec::validate(&table).map_err(|e| format!("{}: {e}", spec::PATH))?;
    Ok(table)
}

fn split<T>(result: Result<T, String>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    }
}
