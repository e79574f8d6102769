//! What a service may use up: control groups (kernel document admin-guide/cgroup-v2.rst), open
//! files, and who is ended when memory runs out.
//!
//! The parent of all services' groups leaves [`RESERVED`] of the machine's memory to the kernel
//! and init, so memory runs out inside of a service's group, or of the parent; then the kernel
//! ends a whole service and never init.

use crate::supervisor::Exit;
use roost_service::spec::{Limits, ServiceSpec};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Parent of the services' control groups.
pub const GROUPS: &str = "/sys/fs/cgroup/services";
/// Bytes that services never get together: the kernel's own tables, init, the check of the data
/// partition, and the caches without which everything crawls.
const RESERVED: u64 = 96 << 20;
/// What is handed down.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "io"];
const MIB: u64 = 1 << 20;

/// init is never ended for want of memory (proc_pid_oom_score_adj(5)).
const INIT_SCORE: i32 = -1000;
/// A service without which the box does not count as up.
const REQUIRED_SCORE: i32 = 0;
/// All others go before: the score counts as a third of the memory.
const OPTIONAL_SCORE: i32 = 333;

/// The files of a service's group and what is written into them.
pub fn files(limits: &Limits) -> Vec<(&'static str, String)> {
    let most = u64::from(limits.memory_max_mib) * MIB;
    vec![
        ("memory.max", most.to_string()),
        // The box has no swap; should it ever have some, the limit stays one of memory.
        ("memory.swap.max", "0".to_owned()),
        // A service without one of its processes is no service: all go, and it starts again.
        ("memory.oom.group", "1".to_owned()),
        ("pids.max", limits.tasks.to_string()),
        ("cpu.weight", limits.cpu_weight.to_string()),
        ("io.bfq.weight", limits.io_weight.to_string()),
    ]
}

/// What a process sets of itself before it becomes a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfProcess {
    /// `RLIMIT_NOFILE`, for good.
    pub open_files: u32,
    /// Who is ended first for want of memory: the highest, from -1000 to 1000.
    pub oom_score: i32,
}

impl OfProcess {
    /// Those of a service.
    pub fn of(spec: &ServiceSpec) -> Self {
        Self {
            open_files: spec.limits.open_files,
            oom_score: if spec.required {
                REQUIRED_SCORE
            } else {
                OPTIONAL_SCORE
            },
        }
    }

    /// Those of a helper of init without rights.
    pub const HELPER: Self = Self {
        open_files: 64,
        oom_score: OPTIONAL_SCORE,
    };

    /// Sets them for the calling process, which still has `/proc` and is root.
    ///
    /// # Errors
    /// Those of the two settings.
    pub fn apply(self) -> io::Result<()> {
        let most = Some(u64::from(self.open_files));
        let files = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(Resource::Nofile, files)?;
        set_oom_score(self.oom_score)
    }
}

fn set_oom_score(score: i32) -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", score.to_string())
}

/// Keeps init from being ended for want of memory.
///
/// # Errors
/// Those of the setting, which needs `CAP_SYS_RESOURCE`.
pub fn protect_init() -> io::Result<()> {
    set_oom_score(INIT_SCORE)
}

/// Makes the parent of the services' groups and hands controllers down. Returns
/// those that this kernel does not have: services run without what these would limit.
///
/// # Errors
/// Those of the control group file system.
pub fn prepare() -> io::Result<Vec<&'static str>> {
    let root = Path::new("/sys/fs/cgroup");
    let known = fs::read_to_string(root.join("cgroup.controllers"))?;
    let (known, missing): (Vec<_>, Vec<_>) = CONTROLLERS
        .into_iter()
        .partition(|name| known.split_whitespace().any(|known| known == *name));
    let parent = Path::new(GROUPS);
    fs::create_dir_all(parent)?;
    let words: Vec<String> = known.iter().map(|name| format!("+{name}")).collect();
    for folder in [root, parent] {
        fs::write(folder.join("cgroup.subtree_control"), words.join(" "))?;
    }
    if known.contains(&"memory") {
        let total = rustix::system::sysinfo();
        let total = total.totalram as u64 * u64::from(total.mem_unit);
        let most = total.saturating_sub(RESERVED).max(total / 2);
        fs::write(parent.join("memory.max"), most.to_string())?;
    }
    Ok(missing)
}

/// Has the card's time shared by the services' weights: BFQ does that (kernel document
/// block/bfq-iosched.rst), and suits cards, where one writer can keep all others waiting for seconds.
///
/// # Errors
/// When the kernel has no BFQ, or the disk is not there.
pub fn share_disk(disk: &str) -> io::Result<()> {
    fs::write(format!("/sys/block/{disk}/queue/scheduler"), "bfq")
}

/// Makes a service's group with its limits in `parent`; gives its `cgroup.procs`.
///
/// # Errors
/// A sentence that says which limit could not be set: the service must not start without.
pub fn group(parent: &Path, spec: &ServiceSpec) -> Result<File, String> {
    let folder = parent.join(&spec.name);
    let why = |what: &str, e: io::Error| format!("its control group: {what}: {e}");
    fs::create_dir_all(&folder).map_err(|e| why("cannot be made", e))?;
    for (name, value) in files(&spec.limits) {
        let path = folder.join(name);
        // Not there: a kernel without the controller, which `prepare` has told.
        if path.try_exists().map_err(|e| why(name, e))? {
            fs::write(&path, &value).map_err(|e| why(&format!("{name} {value}"), e))?;
        }
    }
    OpenOptions::new()
        .write(true)
        .open(folder.join("cgroup.procs"))
        .map_err(|e| why("cgroup.procs", e))
}

/// What the kernel has counted in a service's group since the box started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    /// Processes ended for want of memory (`oom_kill`).
    ended: u64,
    /// Times that the group's own limit was the reason (`oom`).
    own_limit: u64,
    /// Tasks refused (`max` of `pids.events`).
    refused: u64,
}

impl Counts {
    /// What cannot be read is as it was `before`: taken for nothing, it would look like news next time.
    fn read(folder: &Path, before: Self) -> Self {
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let (memory, pids) = (read("memory.events.local"), read("pids.events"));
        Self {
            ended: field(&memory, "oom_kill").unwrap_or(before.ended),
            own_limit: field(&memory, "oom").unwrap_or(before.own_limit),
            refused: field(&pids, "max").unwrap_or(before.refused),
        }
    }
}

/// A number in a file of lines `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|number| number.trim().parse().ok())
}

/// What was already known of each service's counts, to tell what is new.
#[derive(Debug, Default)]
pub struct Watch(BTreeMap<String, Counts>);

impl Watch {
    /// Why a service ended, if it was for want of memory; else what its process says. To be asked
    /// once for each end, before its group is swept.
    pub fn exit(&mut self, spec: &ServiceSpec, exit: Exit) -> Exit {
        self.exit_in(Path::new(GROUPS), spec, exit)
    }

    fn exit_in(&mut self, parent: &Path, spec: &ServiceSpec, exit: Exit) -> Exit {
        let known = self.0.entry(spec.name.clone()).or_default();
        let now = Counts::read(&parent.join(&spec.name), *known);
        let before = Counts {
            refused: known.refused,
            ..std::mem::replace(
                known,
                Counts {
                    refused: known.refused,
                    ..now
                },
            )
        };
        match exit {
            _ if now.ended <= before.ended => exit,
            _ if now.own_limit > before.own_limit => Exit::MemoryLimit(spec.limits.memory_max_mib),
            _ => Exit::NoMemory,
        }
    }

    /// A line for the log if the service was refused tasks since this was last asked.
    pub fn refused_tasks(&mut self, spec: &ServiceSpec) -> Option<String> {
        self.refused_in(Path::new(GROUPS), spec)
    }

    fn refused_in(&mut self, parent: &Path, spec: &ServiceSpec) -> Option<String> {
        let known = self.0.entry(spec.name.clone()).or_default();
        let now = Counts::read(&parent.join(&spec.name), *known).refused;
        let before = std::mem::replace(&mut known.refused, now);
        let (name, tasks) = (&spec.name, spec.limits.tasks);
        (now > before).then(|| {
            let times = now - before;
            format!("{name} wanted more than {tasks} processes and threads, {times} times in vain")
        })
    }
}

/// The most memory that a service's group ever had, in bytes (`memory.peak`).
pub fn peak(service: &str) -> Option<u64> {
    let path = Path::new(GROUPS).join(service).join("memory.peak");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
