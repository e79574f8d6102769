//! Which system calls a service may make: lists kept as data, compiled here for the kernel.
//!
//! `services/syscalls/allowed` is for every service, `services/NAME/syscalls` for one more. What
//! is on neither list is refused with EPERM. `services/syscalls/absent` is refused with ENOSYS, as
//! by a kernel that does not know it, so that libraries take their older way; whoever calls what
//! `services/syscalls/hostile` has is ended. init loads the programs (services/init/src/seccomp.rs).

mod arguments;
mod list;

use list::List;

use crate::error::Failure;
use crate::store::disk_failure;
use crate::workspace::Workspace;
use roost_service::spec::ServiceSpec;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;
use std::path::Path;
use syscalls::aarch64::Sysno;

/// Folder of the programs in the image.
const FOLDER: &str = "etc/roost/seccomp";
/// Folder of the lists for all services, below the checkout.
const SHARED: &str = "services/syscalls";

/// What the kernel does with calls that are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuse them.
    Enforce,
    /// Let them pass, and log them: for test images from which lists are recorded.
    Record,
}

/// The lists of all services.
#[derive(Debug)]
pub struct Lists {
    allowed: List,
    absent: List,
    hostile: List,
    services: BTreeMap<String, List>,
}

impl Lists {
    /// Reads the lists of the checkout: those for all, and one for each of `specs`.
    pub fn load(workspace: &Workspace, specs: &[ServiceSpec]) -> Result<Self, Failure> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path).map_err(|e| disk_failure("read", path, e))?;
            List::parse(&text)
                .map_err(|e| Failure::new(format!("{} cannot be used", path.display())).because(e))
        };
        let shared = workspace.source.join(SHARED);
        let services = workspace.source.join("services");
        let lists = Self {
            allowed: read(&shared.join("allowed"))?,
            absent: read(&shared.join("absent"))?,
            hostile: read(&shared.join("hostile"))?,
            services: specs
                .iter()
                .map(|spec| {
                    let path = services.join(&spec.name).join("syscalls");
                    // Some need nothing beyond what all may call.
                    let list = match path.exists() {
                        true => read(&path)?,
                        false => List::default(),
                    };
                    Ok((spec.name.clone(), list))
                })
                .collect::<Result<_, Failure>>()?,
        };
        lists.check().map_err(Failure::new)?;
        Ok(lists)
    }

    /// A call on two lists would mean one thing to whoever reads the one, another to the kernel.
    fn check(&self) -> Result<(), String> {
        let shared = [
            ("allowed", &self.allowed),
            ("absent", &self.absent),
            ("hostile", &self.hostile),
        ];
        let more = self
            .services
            .iter()
            .map(|(name, list)| (name.as_str(), list));
        for (name, list) in shared.into_iter().skip(1).chain(more) {
            for (other, before) in shared.iter().filter(|(other, _)| *other != name) {
                // A service may add words to a call that all may make with others.
                if let Some(call) = list.common(before, *other == "allowed") {
                    return Err(format!(
                        "system call {call} is on the lists of {name} and of {other} in {SHARED}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Number of system calls that a service may make.
    pub fn calls_of(&self, service: &str) -> usize {
        self.of(service).names().count()
    }

    /// What a service may call beyond what all may, as its list says it.
    pub fn own_calls_of(&self, service: &str) -> Vec<String> {
        let calls = self.services.get(service).into_iter().flat_map(List::calls);
        calls
            .map(|(name, words)| match words.is_empty() {
                true => name.to_owned(),
                false => {
                    let words: Vec<&str> = words.iter().copied().collect();
                    format!("{name} ({})", words.join(" "))
                }
            })
            .collect()
    }

    /// The programs by path in the image.
    pub fn programs(&self, mode: Mode) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let refused = |how: SeccompAction| match mode {
            Mode::Enforce => how,
            Mode::Record => SeccompAction::Log,
        };
        let mut programs = BTreeMap::new();
        let mut add = |path: String, list: &List, listed, others| -> Result<(), Failure> {
            let program = compile(list, listed, others, TargetArch::aarch64)
                .map_err(|e| Failure::new(format!("cannot compile {path}")).because(e))?;
            programs.insert(format!("{FOLDER}/{path}"), bytes(&program));
            Ok(())
        };
        // One program has one answer for what is on its list and one for what is not: with three
        // of them the kernel takes the strictest answer (seccomp(2)).
        let end = refused(SeccompAction::KillProcess);
        add("hostile".into(), &self.hostile, end, SeccompAction::Allow)?;
        // ENOSYS also while recording: that is how the libraries will find it.
        let absent = SeccompAction::Errno(ENOSYS);
        add("absent".into(), &self.absent, absent, SeccompAction::Allow)?;
        for service in self.services.keys() {
            let refuse = refused(SeccompAction::Errno(EPERM));
            // Decided by the other two programs; refused here too, their answers would be one too many.
            let mut list = self.of(service);
            list.add(&self.absent);
            list.add(&self.hostile);
            let path = format!("services/{service}");
            add(path, &list, SeccompAction::Allow, refuse)?;
        }
        if mode == Mode::Record {
            programs.insert(format!("{FOLDER}/record"), Vec::new());
        }
        Ok(programs)
    }

    fn of(&self, service: &str) -> List {
        let mut list = self.allowed.clone();
        if let Some(more) = self.services.get(service) {
            list.add(more);
        }
        list
    }
}

/// Operation not permitted (`asm-generic/errno-base.h`).
const EPERM: u32 = 1;
/// No such system call (`asm-generic/errno.h`).
const ENOSYS: u32 = 38;

/// Number of a system call; x86-64 is for the tests, which run their programs here.
fn number(name: &str, arch: TargetArch) -> Option<i64> {
    match arch {
        TargetArch::x86_64 => Some(name.parse::<syscalls::x86_64::Sysno>().ok()?.id().into()),
        _ => Some(name.parse::<Sysno>().ok()?.id().into()),
    }
}

/// The program that answers `listed` to calls on the list, and `others` to all others. Calls that
/// the architecture does not have are left out.
fn compile(
    list: &List,
    listed: SeccompAction,
    others: SeccompAction,
    arch: TargetArch,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = BTreeMap::new();
    for (name, words) in list.calls() {
        let Some(number) = number(name, arch) else {
            continue;
        };
        let alternatives = words
            .iter()
            .map(|word| SeccompRule::new(vec![arguments::condition(name, word)?]))
            .collect::<Result<Vec<_>, _>>()?;
        rules.insert(number, alternatives);
    }
    SeccompFilter::new(rules, others, listed, arch)?.try_into()
}

/// A program as seccomp(2) takes it (`struct sock_filter`), in the byte order of the box.
fn bytes(program: &BpfProgram) -> Vec<u8> {
    let one = |step: &seccompiler::sock_filter| {
        let [c0, c1] = step.code.to_le_bytes();
        let [k0, k1, k2, k3] = step.k.to_le_bytes();
        [c0, c1, step.jt, step.jf, k0, k1, k2, k3]
    };
    program.iter().flat_map(one).collect()
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
