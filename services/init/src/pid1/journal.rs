//! Logs: to the card and back from it, to those who follow them, and from the kernel.

use super::*;
use crate::control::Following;
use crate::logs::KernelLine;
use crate::spill::{Boot, Wanted};
use roost_service::control::Response;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The kernel's log among the others.
pub(super) const KERNEL: &str = "kernel";
/// Records of the kernel's log before others have their turn.
const RECORDS: usize = 64;
/// Old lines that are looked up at a time; each may take half a megabyte.
const RECALLS: usize = 4;
/// Bytes of old lines that are taken: what `spill` gives, and a little.
const RECALLED: usize = 640 * 1024;

/// A question whose answer begins with lines from the card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recall {
    pub client: u64,
    service: String,
    lines: usize,
    boot: Option<u32>,
    follow: bool,
}

impl Init {
    /// The running boot, by what is known of the time just now.
    pub(super) fn boot(&self) -> Boot {
        let began = clock::now().saturating_sub(clock::since_boot());
        Boot {
            id: self.boot_id.clone(),
            began_ms: began.as_millis().try_into().unwrap_or(u64::MAX),
            set: self.clock.synced,
        }
    }

    /// Keeps a line that came just now.
    pub(super) fn log(&mut self, name: &str, line: String) {
        let now = clock::since_boot();
        self.logs.push(now, now, true, name, line);
    }

    /// Has the lines that are new written to the card.
    pub(super) fn spill(&mut self) {
        let now = clock::since_boot();
        self.next_spill = now + logs::SPILL_EVERY;
        if !self.data_mounted {
            return;
        }
        let boot = self.boot();
        let Some(batch) = self.logs.batch(boot) else {
            return;
        };
        let input = serde_json::to_vec(&batch).unwrap_or_default();
        if let Err(error) = self.start_helper(Task::Spill, &["--spill"], &input) {
            self.not_spilled(&format!("cannot start what writes logs: {error}"));
        }
    }

    fn not_spilled(&mut self, reason: &str) {
        if self.logs.spilled(false) {
            self.say(Level::Quiet, reason);
        }
    }

    /// The child that writes logs has ended.
    pub(super) fn spill_ended(&mut self, exit: Exit, last_line: &str) {
        if exit != Exit::Code(0) {
            self.not_spilled(&format!("logs are not on the card ({exit}): {last_line}"));
            return;
        }
        self.logs.spilled(true);
        if self.logs.is_behind() {
            self.next_spill = clock::since_boot();
        }
    }

    /// The last lines of a log, as they are shown. `None`: a child looks for older ones on the
    /// card, and [`Init::recalled`] answers.
    pub(super) fn recent(
        &mut self,
        service: &str,
        lines: usize,
        boot: Option<u32>,
        follow: bool,
        client: u64,
    ) -> Option<Response> {
        let refuse = |message: String| Some(Response::Error { message });
        let known = [KERNEL, "init"].contains(&service);
        if !known && self.machine.supervisor().index(service).is_none() {
            return refuse(format!("there is no service {service:?}"));
        }
        let following = |source: &Source| match source {
            Source::Client(client) | Source::Port(client) => client.following.is_some(),
            _ => false,
        };
        let followers = self.sources.values().filter(|s| following(s)).count();
        if follow && followers >= control::MAX_FOLLOWERS {
            return refuse("too many follow logs already".into());
        }
        let enough = match boot {
            Some(ago) => ago == 0,
            None => self.logs.last(service, lines).len() >= lines,
        };
        if enough || !self.data_mounted {
            let lines = if boot.is_none_or(|ago| ago == 0) {
                self.shown(service, lines)
            } else {
                Vec::new()
            };
            return Some(Response::Logs { lines });
        }
        let recall = |helper: &&Helper| matches!(helper.task, Task::Recall(_));
        if self.helpers.iter().filter(recall).count() >= RECALLS {
            return refuse("too many look for old lines just now: try again".into());
        }
        let wanted = Wanted {
            name: service.into(),
            running: self.boot(),
            boot,
            lines,
        };
        let task = Task::Recall(Recall {
            client,
            service: service.into(),
            lines,
            boot,
            follow,
        });
        let input = serde_json::to_vec(&wanted).unwrap_or_default();
        match self.start_helper(task, &["--recall"], &input) {
            Ok(()) => None,
            Err(error) => refuse(format!("cannot start what reads old logs: {error}")),
        }
    }

    fn shown(&self, service: &str, count: usize) -> Vec<String> {
        let boot = self.boot();
        let lines = self.logs.last(service, count).into_iter();
        lines.map(|line| boot.show(line.at, &line.text)).collect()
    }

    /// Old lines were read, or not: answers who asked for them.
    pub(super) fn recalled(&mut self, recall: &Recall, exit: Exit, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let response = if exit == Exit::Code(0) {
            let mut lines: Vec<String> = text
                .lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
            if recall.boot.is_none() {
                let own = self.shown(&recall.service, recall.lines);
                if !lines.is_empty() && !own.is_empty() {
                    lines.push(self.boot().heading());
                }
                lines.extend(own);
                lines.drain(..lines.len().saturating_sub(recall.lines));
            }
            Response::Logs { lines }
        } else {
            let reason = text.lines().last().unwrap_or_default();
            Response::Error {
                message: format!("old lines cannot be read ({exit}): {reason}"),
            }
        };
        let following = (recall.follow && matches!(response, Response::Logs { .. }))
            .then(|| self.following(&recall.service));
        self.answer_late(recall.client, &response, following);
        // What came behind it.
        self.readable(recall.client);
    }

    /// Where somebody begins who follows a log from now on.
    pub(super) fn following(&self, service: &str) -> Following {
        Following {
            service: service.to_owned(),
            next: self.logs.next(service),
        }
    }

    /// Hands new lines to those who follow and have taken the ones before.
    pub(super) fn tell_followers(&mut self) {
        let mut tokens = Vec::new();
        for (token, source) in &self.sources {
            if let Source::Client(client) | Source::Port(client) = source
                && let Some(following) = &client.following
                && !client.wants_to_write()
                && !client.waiting
                && self.logs.next(&following.service) > following.next
            {
                tokens.push(*token);
            }
        }
        if tokens.is_empty() {
            return;
        }
        let boot = self.boot();
        for token in tokens {
            let mut lost = false;
            if let Some(source) = self.sources.get_mut(&token) {
                let is_port = matches!(source, Source::Port(_));
                if let Source::Client(client) | Source::Port(client) = source {
                    lost = !client.follow(&self.logs, &boot) && !is_port;
                    if !is_port && client.wants_to_write() {
                        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
                        let data = epoll::EventData::new_u64(token);
                        let _ = epoll::modify(&self.epoll, &client.fd, data, flags);
                    }
                }
            }
            if lost {
                self.forget(token);
            }
        }
    }

    /// Begins to read the kernel's log, from its first line on.
    pub(super) fn open_kernel_log(&mut self) -> Result<(), String> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/kmsg", flags, Mode::empty())
            .map_err(|e| format!("cannot read the kernel's log: {e}"))?;
        self.watch(Source::Kernel(fd));
        Ok(())
    }

    /// Takes what the kernel has said. Returns whether there may be more one day.
    pub(super) fn kernel_readable(&mut self, fd: &OwnedFd, token: u64) -> bool {
        // Longest record (kernel document ABI/testing/dev-kmsg: one read is one record).
        let mut buffer = [0; 8192];
        for _ in 0..RECORDS {
            let line = match rustix::io::read(fd, &mut buffer[..]) {
                Ok(length) => KernelLine::parse(&buffer[..length]),
                // Overwritten before we came: it goes on with the oldest that is left.
                Err(Errno::PIPE) => Some(KernelLine {
                    level: 4,
                    own: true,
                    at: clock::since_boot(),
                    text: "[lines were lost: the kernel had no room for them]".into(),
                }),
                Err(Errno::INTR) => None,
                Err(Errno::AGAIN) => return true,
                Err(error) => {
                    self.set_aside(fd.as_fd(), token, "the kernel's log", error);
                    return true;
                }
            };
            let Some(line) = line else {
                continue;
            };
            let now = clock::since_boot();
            if line.is_urgent() {
                let soon = (now + logs::URGENT_AFTER).max(self.last_urgent + logs::URGENT_EVERY);
                self.last_urgent = soon;
                self.next_spill = self.next_spill.min(soon);
            }
            let spills = line.spills();
            self.logs.push(now, line.at, spills, KERNEL, line.text);
        }
        true
    }

    /// What is not on the card yet, for the last writes of a box that goes down.
    pub(super) fn last_batches(&mut self) -> Vec<crate::spill::Batch> {
        // A child that was at it is dead: what it did write is known by its numbers.
        self.logs.spilled(false);
        let mut batches = Vec::new();
        while let Some(batch) = self.logs.batch(self.boot()) {
            self.logs.spilled(true);
            batches.push(batch);
        }
        batches
    }
}

/// Adds what a child says, up to what an answer may have.
pub(super) fn collect(text: &mut Vec<u8>, bytes: &[u8]) {
    let room = RECALLED.saturating_sub(text.len());
    text.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// The kernel's number for this boot, without dashes; `random` if it does not tell.
pub(super) fn boot_id(random: u64) -> String {
    let told = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let text = told.unwrap_or_else(|_| format!("{random:032x}"));
    text.chars().filter(char::is_ascii_hexdigit).collect()
}
