//! PID 1: one thread, one loop. Waits for descriptors and deadlines, hands
//! what came to the deciding parts and carries out what they say.
//!
//! It never exits, never waits for anything but the loop's own epoll, and
//! holds bounded memory. Only the last steps of going down have a second
//! thread, because writing to a slow card waits and the watchdog does not. A
//! panic ends it, which panics the kernel, which restarts the machine.

use crate::block::Uevents;
use crate::boot_times::{self, BootLog};
use crate::card_errors::{self, Errors};
use crate::clock::{Floors, Trust, Verdict};
use crate::control::{self, Client};
use crate::keep::What;
use crate::kmsg::{Kmsg, Level};
use crate::lending::Lending;
use crate::lines::Splitter;
use crate::logs::{self, Logs};
use crate::machine::{self, Halt, Machine};
use crate::network::{self, Network};
use crate::processes::{self, Child};
use crate::screen::{Consoles, Screen};
use crate::signals::Signals;
use crate::sntp::Vote;
use crate::supervisor::{self, Exit, Jitter};
use crate::watchdog::{self, Watchdog};
use crate::{
    boot, card, clock, devices, disks, halt, limits, mounts, netlink, ring, seccomp, spill, trial,
};
use journal::Recall;
use roost_service::notify::{self, Message};
use roost_service::settings::{self, Settings};
use roost_service::spec::{self, Change, ServiceSpec};
use rustix::event::{Timespec, epoll};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

mod disk;
mod journal;
mod requests;
mod setup;
mod wire;

/// The clock floor is saved this often: what a power cut can set the clock
/// back by, against one small write.
const SAVE_CLOCK_EVERY: Duration = Duration::from_secs(15 * 60);
/// Time servers are asked again after this long once one has answered.
const SYNC_EVERY: Duration = Duration::from_secs(3600);
/// First wait after a failed round; it doubles up to [`SYNC_EVERY`], or
/// [`SYNC_RETRY_UNSET`] as long as the clock was never set.
const SYNC_RETRY: Duration = Duration::from_secs(8);
/// Certificates cannot be checked with a wrong clock: somebody may be waiting.
const SYNC_RETRY_UNSET: Duration = Duration::from_secs(120);
/// A round of asking is ended after this long.
const SYNC_LIMIT: Duration = Duration::from_secs(60);

/// Why the box may have started without having gone down.
const NO_ORDER: &str = "the box did not go down in order the last time: its power was cut, the kernel \
                        gave up, or init hung and the watchdog restarted the machine";

/// Refusals in a row after which waiting for events is given up, which restarts the machine.
const MAX_REFUSED: u32 = 100;
/// Between two of them: the loop shall not take the whole processor.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// Steps of the boot chart: settings, mounts, descriptors; the data partition's check; the wait
/// for an address; the wait for the clock.
const SET_UP: &str = "set up";
const DATA: &str = "data";
const NETWORK: &str = "network";
const CLOCK: &str = "clock";

/// What a descriptor is for.
#[derive(Debug)]
enum Source {
    /// What it says is in [`Init::signals`].
    Signals(OwnedFd),
    Netlink(OwnedFd),
    Uevents(Uevents),
    Dhcp(UdpSocket),
    CardErrors(Errors),
    Listener(UnixListener),
    Client(Client),
    /// The emulator's virtio port: a client that comes and goes without closing.
    Port(Client),
    Output {
        service: supervisor::Index,
        fd: OwnedFd,
        lines: Splitter,
    },
    Notify {
        service: supervisor::Index,
        fd: OwnedFd,
        lines: Splitter,
    },
    Helper {
        fd: OwnedFd,
        lines: Splitter,
    },
    /// What a child found on the card or on disks, as it is.
    Recalled {
        fd: OwnedFd,
    },
    Kernel(OwnedFd),
}

impl Source {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Signals(fd) | Self::Netlink(fd) | Self::Kernel(fd) | Self::Recalled { fd } => {
                fd.as_fd()
            }
            Self::Uevents(uevents) => uevents.as_fd(),
            Self::Dhcp(socket) => socket.as_fd(),
            Self::CardErrors(errors) => errors.as_fd(),
            Self::Listener(listener) => listener.as_fd(),
            Self::Client(client) | Self::Port(client) => client.fd.as_fd(),
            Self::Output { fd, .. } | Self::Notify { fd, .. } | Self::Helper { fd, .. } => {
                fd.as_fd()
            }
        }
    }
}

/// A helper of init's own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Data,
    Sntp,
    /// Log lines go to the card.
    Spill,
    /// Log lines come from there.
    Recall(Recall),
    /// USB disks are looked for; somebody waits for the answer.
    Disks {
        client: u64,
    },
    /// One is mounted, for who is in [`Init::lending`].
    Lend,
    /// It is unmounted.
    TakeBack,
    /// Somebody waits for the answer.
    Keep {
        what: What,
        client: u64,
    },
}

impl Task {
    /// Whether what it says is no line for the log.
    fn is_answer(&self) -> bool {
        match self {
            Self::Recall(_) | Self::Disks { .. } | Self::Lend | Self::TakeBack => true,
            Self::Data | Self::Sntp | Self::Spill | Self::Keep { .. } => false,
        }
    }
}

#[derive(Debug)]
struct Helper {
    task: Task,
    pid: u32,
    tokens: Vec<u64>,
    last_line: String,
    /// All that it said, if that is an answer as a whole ([`Task::is_answer`]).
    text: Vec<u8>,
}

/// When the clock's own work is due.
#[derive(Debug)]
struct Clock {
    floors: Floors,
    synced: bool,
    trust: Trust,
    /// What the clock must have shown at kernel start by the last time trusted in full.
    base: Duration,
    /// `None` until the network is there.
    next_sync: Option<Duration>,
    retry: Duration,
    next_save: Duration,
}

/// A step of the set-up; says what has failed.
type Step = fn(&mut Init) -> Result<(), String>;

/// A step of the set-up that has failed.
struct Undone {
    step: Step,
    problem: String,
    /// How often it is still tried.
    left: u32,
}

/// Everything PID 1 holds.
struct Init {
    kmsg: Kmsg,
    logs: Logs,
    machine: Machine,
    network: Network,
    /// What the builder said about the services; empty if that cannot be read.
    table: Vec<ServiceSpec>,
    settings: Option<Settings>,
    /// Host name, once it is known: the card's, or that of the settings.
    name: String,
    version: String,
    slot: u8,
    data_mounted: bool,
    epoll: OwnedFd,
    sources: BTreeMap<u64, Source>,
    /// Sources that epoll has refused so far, or that could not be read.
    unwatched: Vec<u64>,
    /// Steps of the set-up that have failed.
    undone: Vec<Undone>,
    /// Messages that the kernel's network did not take, in their order.
    unsent: Vec<Vec<u8>>,
    signals: Signals,
    next_token: u64,
    helpers: Vec<Helper>,
    /// Who has the USB disk.
    lending: Lending,
    /// What the choice that is being kept changes.
    changes: Vec<Change>,
    clock: Clock,
    next_spill: Duration,
    limits: limits::Watch,
    /// When an error of the kernel had, or will have, logs written out of turn.
    last_urgent: Duration,
    boot_id: String,
    watchdog: Option<Watchdog>,
    next_feed: Duration,
    screen: Screen,
    consoles: Consoles,
    boot: BootLog,
}

/// Runs the box. Returns only when the machine could not even be set up; PID 1
/// returning is a kernel panic and thereby a restart.
pub fn main() -> i32 {
    std::panic::set_hook(Box::new(|info| {
        // A record of the kernel's log is one line.
        let info = info.to_string().replace('\n', " ");
        Kmsg::open().line(Level::Console, &format!("init: {info}; restarting"));
        // Not abort(3): the kernel keeps SIGABRT from PID 1.
        std::process::exit(1);
    }));
    let mut kmsg = Kmsg::open();
    match Init::set_up() {
        Ok(init) => init.run(),
        Err(error) => {
            kmsg.line(Level::Console, &format!("init: {error}; restarting"));
            1
        }
    }
}

impl Init {
    fn run(mut self) -> ! {
        let mut refused = 0;
        loop {
            let wait = self.deadline().saturating_sub(clock::since_boot());
            let timeout = Timespec {
                tv_sec: wait.as_secs().min(60) as i64,
                tv_nsec: wait.subsec_nanos().into(),
            };
            let mut events = [epoll::Event {
                flags: epoll::EventFlags::empty(),
                data: epoll::EventData::new_u64(0),
            }; 32];
            let count = match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
                Ok(count) => {
                    refused = 0;
                    count
                }
                Err(rustix::io::Errno::INTR) => 0,
                Err(error) => {
                    refused += 1;
                    assert!(refused < MAX_REFUSED, "cannot wait for events: {error}");
                    let line = format!("cannot wait for events, trying again: {error}");
                    self.say(Level::Quiet, &line);
                    std::thread::sleep(REFUSED_PAUSE);
                    0
                }
            };
            for event in &events[..count] {
                self.readable(event.data.u64());
            }
            self.pass_time();
            self.tell_followers();
        }
    }

    /// When the loop has to turn next, whatever comes.
    fn deadline(&self) -> Duration {
        let dates = [
            self.machine.deadline(),
            self.network.deadline(),
            self.clock.next_sync,
            self.screen.deadline(),
        ];
        dates
            .into_iter()
            .flatten()
            .chain([self.next_feed, self.clock.next_save, self.next_spill])
            .min()
            .unwrap_or_default()
    }

    fn pass_time(&mut self) {
        let now = clock::since_boot();
        if now >= self.next_feed {
            self.next_feed = now + watchdog::EVERY;
            if let Some(watchdog) = &mut self.watchdog {
                watchdog.feed();
            }
            self.make_up();
        }
        if self.network.deadline().is_some_and(|due| due <= now) {
            let actions = self.network.tick(now);
            self.network_actions(actions);
        }
        if self.machine.deadline().is_some_and(|due| due <= now) {
            self.event(machine::Event::Service(supervisor::Event::Tick));
        }
        if self.clock.next_sync.is_some_and(|due| due <= now) {
            self.ask_time_servers(now);
        }
        if now >= self.clock.next_save {
            self.clock.next_save = now + SAVE_CLOCK_EVERY;
            self.save_clock();
        }
        if let Some(block) = self.screen.take(now) {
            self.consoles.show(&block);
        }
        if now >= self.next_spill {
            self.say_refused_tasks();
            self.spill();
            // A kernel that wakes nobody would otherwise go unnoticed.
            let failed = self.sources.values().any(|source| match source {
                Source::CardErrors(errors) => errors.found(),
                _ => false,
            });
            if failed {
                self.card_failed();
            }
        }
    }

    /// Does what a refused system call has left undone. Each of these is told by the kernel once,
    /// so without a second look a single failure would last until the next restart.
    fn make_up(&mut self) {
        self.signalled(true);
        self.watch_again();
        self.open_what_is_closed(Level::Quiet);
        self.make_up_network();
        self.do_undone();
    }

    /// Hands an event to the machine and does what it says.
    fn event(&mut self, event: machine::Event) {
        let mut queue = std::collections::VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            for action in self.machine.handle(clock::since_boot(), event) {
                match action {
                    machine::Action::RestoreClock => self.restore_clock(),
                    machine::Action::Announce(line) => self.say(Level::Console, &line),
                    machine::Action::Halt(how) => self.halt(how),
                    machine::Action::Service(action) => {
                        queue.extend(self.service_action(action).map(machine::Event::Service));
                    }
                }
            }
            self.boot.follow(self.machine.supervisor().services());
        }
        if let Some(ready) = self.machine.ready_after() {
            self.boot.mark(ready, boot_times::READY);
        }
    }

    fn service_action(&mut self, action: supervisor::Action) -> Option<supervisor::Event> {
        match action {
            supervisor::Action::Start(index) => {
                let spec = self
                    .machine
                    .supervisor()
                    .services()
                    .get(index)?
                    .spec
                    .clone();
                self.boot.launch(clock::since_boot(), &spec.name);
                return Some(
                    match processes::start_service(&spec, &self.table, &self.name) {
                        Ok(child) => {
                            let pid = child.pid;
                            self.watch_service(index, child);
                            supervisor::Event::Started(index, pid)
                        }
                        Err(reason) => supervisor::Event::NotStarted(index, reason),
                    },
                );
            }
            supervisor::Action::Terminate(pid) => processes::signal(pid, Signal::TERM),
            supervisor::Action::Kill(index, pid) => {
                processes::signal(pid, Signal::KILL);
                self.sweep(index);
            }
            supervisor::Action::Sweep(index) => {
                self.sweep(index);
                // What it still said before its end belongs to it, and nothing it left may speak for the next one.
                let tokens: Vec<u64> = self
                    .sources
                    .iter()
                    .filter(|(_, source)| matches!(source, Source::Notify { service, .. } if *service == index))
                    .map(|(token, _)| *token)
                    .collect();
                tokens.into_iter().for_each(|token| self.forget(token));
            }
            supervisor::Action::Log(line) => self.say(Level::Quiet, &line),
        }
        None
    }

    fn sweep(&self, index: supervisor::Index) {
        if let Some(service) = self.machine.supervisor().services().get(index) {
            processes::sweep(&service.spec.name);
        }
    }

    fn watch_service(&mut self, service: supervisor::Index, child: Child) {
        for fd in child.output {
            self.watch(Source::Output {
                service,
                fd,
                lines: Splitter::new(ring::MAX_LINE),
            });
        }
        if let Some(fd) = child.notify {
            self.watch(Source::Notify {
                service,
                fd,
                lines: Splitter::new(notify::MAX_LINE),
            });
        }
    }

    fn start_helper(&mut self, task: Task, args: &[&str], input: &[u8]) -> io::Result<()> {
        let child = processes::start_helper(args, input, task == Task::Sntp)?;
        let tokens = child
            .output
            .into_iter()
            .map(|fd| match task.is_answer() {
                true => self.watch(Source::Recalled { fd }),
                false => self.watch(Source::Helper {
                    fd,
                    lines: Splitter::new(ring::MAX_LINE),
                }),
            })
            .collect();
        self.helpers.push(Helper {
            task,
            pid: child.pid,
            tokens,
            last_line: String::new(),
            text: Vec::new(),
        });
        Ok(())
    }

    /// Follows the signals that have come; `look`: looks for ended children in any case.
    fn signalled(&mut self, look: bool) {
        let arrived = self.signals.take();
        if let Some(how) = arrived.halt {
            self.event(machine::Event::GoDown(how));
        }
        if arrived.child || look {
            self.reap();
        }
    }

    fn reap(&mut self) {
        while let Some((pid, exit)) = processes::reap() {
            if let Some(place) = self.helpers.iter().position(|helper| helper.pid == pid) {
                for token in self.helpers[place].tokens.clone() {
                    self.readable(token);
                    self.forget(token);
                }
                let helper = self.helpers.swap_remove(place);
                self.helper_ended(&helper, exit);
            } else {
                let exit = self.reason(pid, exit);
                self.event(machine::Event::Service(supervisor::Event::Dead(pid, exit)));
            }
        }
    }

    /// Why a child ended, where the kernel knows more than the process's status says.
    fn reason(&mut self, pid: u32, exit: Exit) -> Exit {
        let services = self.machine.supervisor().services();
        let Some(service) = services.iter().find(|s| s.state.pid() == Some(pid)) else {
            return exit;
        };
        let peak = limits::peak(&service.spec.name).map(|bytes| bytes.div_ceil(1 << 20));
        let exit = self.limits.exit(&service.spec, exit);
        if let Some(mib) = peak {
            // What a limit is chosen by.
            let line = format!("{} had at most {mib} MiB of memory", service.spec.name);
            self.say(Level::Quiet, &line);
        }
        exit
    }

    fn say_refused_tasks(&mut self) {
        let limits = &mut self.limits;
        let lines: Vec<String> = (self.table.iter())
            .filter_map(|spec| limits.refused_tasks(spec))
            .collect();
        for line in lines {
            self.say(Level::Quiet, &line);
        }
    }

    fn helper_ended(&mut self, helper: &Helper, exit: Exit) {
        match &helper.task {
            Task::Data if exit == Exit::Code(0) => {
                self.data_mounted = true;
                self.boot.end(clock::since_boot(), DATA);
                self.watch_card();
                match halt::note_running() {
                    Ok(false) => {}
                    Ok(true) => self.say(Level::Quiet, NO_ORDER),
                    Err(error) => {
                        let line = format!("cannot note that the box runs: {error}");
                        self.say(Level::Quiet, &line);
                    }
                }
                // A boot that ends early shall have left something.
                self.next_spill = clock::since_boot() + logs::URGENT_AFTER;
                // Before the services start: they may ask for the host name.
                self.follow_settings(card::on_box(self.settings.as_ref()));
                self.event(machine::Event::DataMounted);
            }
            Task::Data => {
                let reason = if helper.last_line.is_empty() {
                    format!("the check of the data partition {exit}")
                } else {
                    helper.last_line.clone()
                };
                self.data_unusable(reason);
            }
            Task::Sntp => self.time_servers_answered(helper, exit),
            Task::Spill => self.spill_ended(exit, &helper.last_line),
            Task::Recall(recall) => self.recalled(recall, exit, &helper.text),
            &Task::Disks { client } => self.disks_found(client, &helper.text),
            Task::Lend => self.lent(&helper.text),
            Task::TakeBack => self.taken_back(&helper.text),
            &Task::Keep { what, client } => {
                let result = match (exit, helper.last_line.as_str()) {
                    (Exit::Code(0), _) => Ok(()),
                    (_, "") => Err(format!("keeping it {exit}")),
                    (_, reason) => Err(reason.to_owned()),
                };
                self.kept(what, client, result);
            }
        }
    }

    fn watch_card(&mut self) {
        match Errors::open() {
            Ok(errors) => {
                self.watch(Source::CardErrors(errors));
            }
            Err(error) => {
                let line = format!("errors of the card will not be noticed: {error}");
                self.say(Level::Quiet, &line);
            }
        }
    }

    fn card_failed(&mut self) {
        let reason = card_errors::FAILING.to_owned();
        self.event(machine::Event::DataFailing(reason));
    }

    fn ask_time_servers(&mut self, now: Duration) {
        if let Some(slow) = self.helpers.iter().find(|helper| helper.task == Task::Sntp) {
            // Its end sets the next date.
            processes::signal(slow.pid, Signal::KILL);
            self.clock.next_sync = Some(now + SYNC_LIMIT);
            return;
        }
        self.clock.next_sync = Some(now + SYNC_LIMIT);
        self.boot.begin(now, CLOCK);
        let servers = self
            .settings
            .as_ref()
            .map(|s| s.time_servers.clone())
            .unwrap_or_default();
        let args: Vec<&str> = std::iter::once("--sntp")
            .chain(servers.iter().map(String::as_str))
            .collect();
        if let Err(error) = self.start_helper(Task::Sntp, &args, b"") {
            self.say(Level::Quiet, &format!("cannot ask time servers: {error}"));
        }
    }

    fn time_servers_answered(&mut self, helper: &Helper, exit: Exit) {
        let vote = Vote::parse(&helper.last_line).filter(|_| exit == Exit::Code(0));
        self.clock.next_sync = Some(clock::since_boot() + SYNC_EVERY);
        if !vote.is_some_and(|vote| self.follow(vote)) {
            self.clock.next_sync = Some(clock::since_boot() + self.clock.retry);
            let longest = if self.clock.synced {
                SYNC_EVERY
            } else {
                SYNC_RETRY_UNSET
            };
            self.clock.retry = (self.clock.retry * 2).min(longest);
        }
    }

    /// Sets the clock by the time servers' vote; says whether it could be followed.
    fn follow(&mut self, vote: Vote) -> bool {
        let now = clock::now();
        let expected = self.clock.base + clock::since_boot();
        let configured = self.settings.as_ref().map_or(0, |s| s.time_servers.len());
        let (to, trust) = match clock::judge(now, expected, self.clock.floors, configured, vote) {
            Verdict::Set(to, trust) => (to, trust),
            Verdict::TooEarly => {
                let line = "a time before the earliest possible one is not followed";
                self.say(Level::Quiet, line);
                return false;
            }
        };
        let before = self.clock.synced.then_some(self.clock.trust);
        if !clock::is_followed(before, trust) {
            let line = "one time server alone says quite another time: it is not followed";
            self.say(Level::Quiet, line);
            return false;
        }
        if to != now
            && let Err(error) = clock::set(to)
        {
            self.say(Level::Quiet, &format!("cannot set the clock: {error}"));
            return false;
        }
        if to != now || !self.clock.synced {
            let by = if to == now { 0 } else { vote.offset };
            let by = by as f64 / 1e9;
            self.say(Level::Quiet, &format!("clock set, moved by {by:.3} s"));
        }
        if trust == Trust::Doubtful && self.clock.trust != trust {
            let line = "one time server alone says so: the time is used, but not saved";
            self.say(Level::Quiet, line);
        }
        if trust == Trust::Full {
            self.clock.base = to.saturating_sub(clock::since_boot());
            // Otherwise a wrong floor would be the answer to the next server that is alone.
            self.clock.floors.saved = self.clock.floors.saved.min(to);
        }
        if !self.clock.synced {
            // From then on the lines on the card have their right time.
            self.next_spill = clock::since_boot();
        }
        self.clock.synced = true;
        self.boot.end(clock::since_boot(), CLOCK);
        self.clock.trust = trust;
        self.clock.retry = SYNC_RETRY;
        self.save_clock();
        true
    }

    fn restore_clock(&mut self) {
        // Once more: going down saves the clock, and must not set the floor back.
        match clock::saved_floor().or_else(|_| clock::saved_floor()) {
            Ok(saved) => self.clock.floors.saved = saved.unwrap_or_default(),
            Err(error) => self.say(
                Level::Quiet,
                &format!("cannot read the saved time: {error}"),
            ),
        }
        if !self.raise_clock() {
            return;
        }
        self.clock.base = clock::now().saturating_sub(clock::since_boot());
        if self.clock.synced {
            // Time servers were faster than the data and say otherwise: judge them
            // again, now that there is a floor.
            self.clock.synced = false;
            self.clock.next_sync = Some(clock::since_boot());
        }
    }

    /// Sets the clock to the floor if it is behind; says whether it was.
    fn raise_clock(&mut self) -> bool {
        let raised = clock::raise_to(self.clock.floors.highest());
        match &raised {
            Ok(false) => {}
            Ok(true) => self.say(
                Level::Quiet,
                "the clock was behind the earliest possible time and was set to it",
            ),
            Err(error) => self.say(Level::Quiet, &format!("cannot set the clock: {error}")),
        }
        raised.unwrap_or(false)
    }

    fn save_clock(&mut self) {
        if !self.data_mounted || self.clock.trust == Trust::Doubtful {
            return;
        }
        if let Err(error) = clock::save_floor() {
            self.say(Level::Quiet, &format!("cannot save the time: {error}"));
        }
    }

    fn halt(&mut self, how: Halt) {
        self.save_clock();
        if self.data_mounted
            && let Err(error) = halt::note_end()
        {
            let line = format!("cannot note that the box goes down in order: {error}");
            self.kmsg.line(Level::Console, &line);
        }
        // Nothing of ours may hold a file on the data partition open.
        self.sources.clear();
        let last_lines = self.last_batches();
        let watchdog = &mut self.watchdog;
        let mut feed = || {
            if let Some(watchdog) = watchdog {
                watchdog.feed();
            }
        };
        feed();
        halt::kill_everything();
        if self.data_mounted {
            let write = move || {
                let mut disk = spill::Disk::default();
                last_lines
                    .iter()
                    .try_for_each(|batch| spill::write(&mut disk, batch))
            };
            let written = halt::patiently(write, halt::LOGS_LIMIT, watchdog::EVERY, &mut feed);
            let problem = match written {
                Some(Ok(())) => None,
                Some(Err(error)) => Some(error.to_string()),
                None => Some("it does not take them".to_owned()),
            };
            if let Some(problem) = problem {
                let line = format!("the last lines of the logs are not on the card: {problem}");
                self.kmsg.line(Level::Console, &line);
            }
        }
        let releases: [(fn() -> _, _, _); 2] = [
            (halt::release_data, halt::RELEASE_LIMIT, "the card"),
            (disks::take_back, halt::DISK_LIMIT, "a USB disk"),
        ];
        for (release, limit, what) in releases {
            let released = halt::patiently(release, limit, watchdog::EVERY, &mut feed);
            let problem = released
                .unwrap_or_else(|| Some(format!("{what} does not take what is to be saved")));
            if let Some(problem) = problem {
                self.kmsg.line(Level::Console, &problem);
            }
        }
        let word = match how {
            Halt::Reboot => "reboot",
            Halt::Trial => "reboot into the other slot, on trial",
            Halt::PowerOff => "power off",
        };
        self.kmsg.line(Level::Console, word);
        if how == Halt::Trial {
            let asked = halt::patiently(trial::ask, trial::LIMIT, watchdog::EVERY, feed)
                .unwrap_or_else(|| Err("the firmware does not answer".into()));
            if let Err(problem) = asked {
                let line = format!("no trial: {problem}; restarting as usual");
                self.kmsg.line(Level::Console, &line);
            }
        }
        let error = halt::halt(how);
        panic!("cannot {word}: {error}");
    }

    /// Tells the kernel's log and init's own.
    fn say(&mut self, level: Level, line: &str) {
        self.kmsg.line(level, line);
        self.log("init", line.to_owned());
    }
}
