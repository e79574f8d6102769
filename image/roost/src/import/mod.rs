//! `roost import`: mail moves in.
//!
//! - [`source`]: the old mailbox, on a server or in files; [`maildir`], [`mbox`]: the files.
//! - [`roles`]: which folder goes where. [`target`]: the new mailbox.
//! - [`journal`]: what was moved before an interruption.
//!
//! Every message is read once, compared with those that are in its folder already, and put there. Nothing is
//! counted as moved before the new server has said so, and nothing is changed on the old one.

mod journal;
pub mod maildir;
mod mbox;
pub mod roles;
mod shown;
pub mod source;
mod target;

use crate::cli::ImportArgs;
use crate::device::mailbox::Mailbox;
use crate::device::stop::Stop;
use crate::error::{Exit, Failure};
use crate::mail::account::{self, ImapUrl};
use crate::mail::message::Key;
use crate::ui::{Step, Ui, size};
use journal::{Journal, Line};
use roles::Role;
use serde::Serialize;
use source::{Folder, Got, Item, Listing, Source};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use target::{Outcome, Target};

/// Messages that wait to be put into the new mailbox while the next ones come.
const AHEAD: usize = 4;
/// Environment variables with passwords.
const PASSWORD: &str = "ROOST_IMPORT_PASSWORD";
const TO_PASSWORD: &str = "ROOST_IMPORT_TO_PASSWORD";

/// What became of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Report {
    /// Its name in the old mailbox.
    folder: String,
    /// Its name in the new one.
    into: String,
    /// Whether it is new there.
    new: bool,
    /// Messages in it, and their bytes.
    messages: u64,
    bytes: u64,
    /// Moved now; in a dry run, to be moved.
    moved: u64,
    moved_bytes: u64,
    /// Moved before, or there for another reason.
    there: u64,
    /// Neither, see [`Trouble`].
    refused: u64,
    /// Nobody wanted to know before the end came.
    untried: u64,
    /// Left out: deleted in Thunderbird, or in another folder as well.
    left_out: u64,
}

/// Why a message is not in the new mailbox, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Trouble {
    /// Its folder in the old mailbox.
    folder: String,
    /// Where in it.
    which: String,
    bytes: u64,
    /// Why.
    why: String,
    /// It is there, but lacks some of its marks, or has another date.
    changed: bool,
}

/// What became of all.
#[derive(Debug, Clone, Default, Serialize)]
struct Summary {
    source: String,
    target: String,
    dry_run: bool,
    folders: Vec<Report>,
    troubles: Vec<Trouble>,
    /// Folders that were passed over, and why.
    passed_over: Vec<(String, String)>,
    /// Bytes that the new mailbox has room for, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<u64>,
}

/// A folder, what is in it, and where it goes.
struct Plan {
    folder: Folder,
    listing: Listing,
    to: Vec<String>,
}

impl Report {
    /// Of a folder that nothing was tried of.
    fn of(plan: &Plan) -> Self {
        let items = &plan.listing.items;
        Self {
            folder: plan.folder.name(),
            into: plan.to.join("/"),
            messages: (items.len() + plan.listing.unreadable.len()) as u64,
            bytes: items.iter().map(|item| item.key.size()).sum(),
            left_out: plan.listing.gone,
            untried: items.len() as u64,
            ..Self::default()
        }
    }
}

/// `roost import`.
pub fn run(args: &ImportArgs, ui: &Ui) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    let mut source = source(args, &stop, ui)?;
    // Lives until the end: it takes its password back then.
    let mut mailbox = None;
    let target = match &args.to {
        Some(url) => {
            let password = account::password(
                url,
                ("--to-password-file", args.to_password_file.as_deref()),
                TO_PASSWORD,
                ui,
            )?;
            let account = account::Account::new(url, args.to_fingerprint, password);
            Target::open(account, url.to_string(), Some("--to-fingerprint"), &stop)?
        }
        None => {
            let of = mailbox.insert(Mailbox::open(
                (&args.which, &args.mail),
                "import",
                &stop,
                ui,
            )?);
            let known = of.find(args.account.as_deref())?;
            Target::open(of.sign_in(&known)?, of.whose(&known), None, &stop)?
        }
    };
    let mut import = Import {
        args,
        ui,
        stop,
        summary: Summary {
            source: source.id(),
            target: target.whose().to_owned(),
            dry_run: args.dry_run,
            ..Summary::default()
        },
        target,
        elsewhere: HashSet::new(),
    };
    let done = import.all(&mut source);
    let Import {
        summary, target, ..
    } = import;
    target.close();
    source.close();
    if let Some(Err(failure)) = mailbox.as_mut().map(Mailbox::close) {
        ui.warn(failure.in_a_line());
    }
    // What was done before an end that nobody wanted is worth knowing too.
    if !summary.folders.is_empty() {
        ui.result(shown::told(&summary), &summary);
    }
    match done {
        // Whatever it was doing just then.
        Err(failure) if failure.exit() == Exit::Interrupted => {
            return Err(Failure::interrupted("interrupted; what was moved stays")
                .hint("run the same command again: it goes on where it ended"));
        }
        other => other?,
    }
    shown::verdict(&summary)
}

fn source(args: &ImportArgs, stop: &Stop, ui: &Ui) -> Result<Source, Failure> {
    if ImapUrl::is_meant(&args.source) {
        let url: ImapUrl = (args.source.parse()).map_err(|why: String| {
            Failure::usage(format!(
                "cannot import from {}",
                shown::without_secret(&args.source)
            ))
            .because(why)
        })?;
        let password = account::password(
            &url,
            ("--password-file", args.password_file.as_deref()),
            PASSWORD,
            ui,
        )?;
        let account = account::Account::new(&url, args.fingerprint, password);
        return Source::server(account, url.to_string(), stop);
    }
    Source::files(Path::new(&args.source))
}

struct Import<'a> {
    args: &'a ImportArgs,
    ui: &'a Ui,
    stop: Stop,
    target: Target,
    summary: Summary,
    /// Messages of all folders but those that have everything once more.
    elsewhere: HashSet<Key>,
}

impl Import<'_> {
    fn all(&mut self, source: &mut Source) -> Result<(), Failure> {
        let plans = self.look(source)?;
        let mut journal =
            Journal::open(&self.summary.source, &self.target.id(), !self.args.dry_run)?;
        let all: u64 = plans
            .iter()
            .flat_map(|plan| &plan.listing.items)
            .map(|item| item.key.size())
            .sum();
        self.summary.room = self
            .target
            .room()?
            .map(|(used, limit)| limit.saturating_sub(used));
        if let Some(room) = self.summary.room
            && room < all
            && !self.args.dry_run
        {
            self.ui.warn(format!(
                "the old mailbox has {}, and there is room for {} in {}",
                size(all),
                size(room),
                self.summary.target
            ));
        }
        let step = self.ui.step(if self.args.dry_run {
            "compare"
        } else {
            "import"
        });
        step.total_bytes(all);
        let mut before = 0;
        for plan in &plans {
            step.message(plan.folder.name());
            self.summary.folders.push(Report {
                untried: 0,
                ..Report::of(plan)
            });
            let done = self.folder(source, plan, &mut journal, (&step, before));
            before += self.report().bytes;
            if done.is_err() {
                let rest = plans.iter().skip(self.summary.folders.len());
                let rest: Vec<Report> = rest.map(Report::of).collect();
                self.summary.folders.extend(rest);
                return done;
            }
        }
        let moved: u64 = self.summary.folders.iter().map(|report| report.moved).sum();
        step.done(format!("{moved} messages"));
        Ok(())
    }

    fn report(&mut self) -> &mut Report {
        let last = self.summary.folders.len() - 1;
        &mut self.summary.folders[last]
    }

    /// Looks at everything that is to be moved.
    fn look(&mut self, source: &mut Source) -> Result<Vec<Plan>, Failure> {
        let step = self.ui.step("look");
        let folders = source.folders()?;
        let roles: Vec<(Vec<String>, Option<Role>)> = folders
            .iter()
            .map(|folder| (folder.path.clone(), folder.role))
            .collect();
        self.check_names(&folders)?;
        let below: Vec<String> = match &self.args.into {
            Some(into) => into
                .split('/')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            None => Vec::new(),
        };
        let mut plans = Vec::new();
        let (mut messages, mut bytes) = (0, 0);
        step.total_items(folders.len() as u64);
        for folder in folders {
            if self.stop.is_set() {
                return Err(Failure::interrupted("interrupted"));
            }
            step.advance(1);
            if let Some(why) = self.why_not(&folder) {
                self.summary
                    .passed_over
                    .push((folder.name(), why.to_owned()));
                continue;
            }
            step.message(folder.name());
            let listing = source.list(&folder)?;
            messages += listing.items.len();
            bytes += listing
                .items
                .iter()
                .map(|item| item.key.size())
                .sum::<u64>();
            if folder.role != Some(Role::All) {
                self.elsewhere
                    .extend(listing.items.iter().map(|item| item.key));
            }
            let to = self.target.layout().place(&folder.path, &roles, &below);
            plans.push(Plan {
                folder,
                listing,
                to,
            });
        }
        step.done(format!(
            "{} folders, {messages} messages, {}",
            plans.len(),
            size(bytes)
        ));
        Ok(plans)
    }

    /// Names on the command line that are no folder's.
    fn check_names(&self, folders: &[Folder]) -> Result<(), Failure> {
        for name in self.args.folder.iter().chain(&self.args.exclude) {
            if !folders.iter().any(|folder| is_in(folder, name)) {
                let known: Vec<String> = folders.iter().map(Folder::name).collect();
                return Err(Failure::usage(format!("there is no folder {name}"))
                    .hint(format!("there are: {}", known.join(", "))));
            }
        }
        Ok(())
    }

    fn why_not(&self, folder: &Folder) -> Option<&'static str> {
        let asked = self.args.folder.iter().any(|name| is_in(folder, name));
        if self.args.exclude.iter().any(|name| is_in(folder, name)) {
            Some("excluded")
        } else if !asked && !self.args.folder.is_empty() {
            Some("not asked for")
        } else if folder.role == Some(Role::View) && !asked {
            Some("it only shows messages of other folders once more")
        } else {
            None
        }
    }

    fn folder(
        &mut self,
        source: &mut Source,
        plan: &Plan,
        journal: &mut Journal,
        (step, before): (&Step<'_>, u64),
    ) -> Result<(), Failure> {
        let Plan {
            folder,
            listing,
            to,
        } = plan;
        for (which, why) in &listing.unreadable {
            self.trouble(folder, which.clone(), 0, why.clone());
        }
        self.report().refused += listing.unreadable.len() as u64;
        let (raw, there) = self.target.layout().spelling(to);
        self.report().new = !there;
        let mut validity = 0;
        if there || !self.args.dry_run {
            let entered = if there {
                Ok(())
            } else {
                self.target.create(&raw)?
            };
            let entered = match entered {
                Ok(()) => self.target.enter(&raw)?,
                Err(why) => Err(why),
            };
            match entered {
                Ok(own) => validity = own,
                Err(why) => {
                    self.trouble(
                        folder,
                        "the whole folder".to_owned(),
                        self.summary_bytes(),
                        why,
                    );
                    self.report().refused += listing.items.len() as u64;
                    return Ok(());
                }
            }
        }
        let folders = format!(
            "{}\0{}\0{}\0{validity}",
            folder.name(),
            listing.validity,
            to.join("/")
        );
        let line = |mark: &[u8]| Line::new(folders.as_bytes(), mark);
        let mut todo = Vec::new();
        for item in &listing.items {
            let known =
                Source::mark(folder, listing, item).is_some_and(|mark| journal.has(line(&mark)));
            if known && !self.args.again {
                self.report().there += 1;
            } else if folder.role == Some(Role::All) && self.elsewhere.contains(&item.key) {
                self.report().left_out += 1;
            } else {
                todo.push(*item);
            }
        }
        if self.args.dry_run {
            for item in &todo {
                if there && self.target.may_have(item.key) {
                    self.report().there += 1;
                } else {
                    self.report().moved += 1;
                    self.report().moved_bytes += item.key.size();
                }
            }
            step.position(before + self.report().bytes);
            return Ok(());
        }
        let rest: u64 = todo.iter().map(|item| item.key.size()).sum();
        let mut position = before + self.report().bytes - rest;
        step.position(position);
        let mut open = todo.len() as u64;
        let done = std::thread::scope(|scope| {
            // What was read waits here while the new server is slow; what it refuses stops nothing.
            let (give, take) = sync_channel(AHEAD);
            let reader = scope.spawn(|| {
                let give = give;
                source.read((folder, listing), &todo, &mut |got| match give.send(got) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                })
            });
            let put = self.take(
                plan,
                &take,
                &line,
                journal,
                (step, &mut position, &mut open),
            );
            // It stops at the next message.
            drop(take);
            let read = reader
                .join()
                .unwrap_or_else(|_| Err(Failure::new("reading the old mailbox has crashed")));
            put.and(read)
        });
        self.report().untried = open;
        done
    }

    fn summary_bytes(&self) -> u64 {
        self.summary.folders.last().map_or(0, |report| report.bytes)
    }

    /// Puts what is read into the new mailbox.
    fn take(
        &mut self,
        plan: &Plan,
        from: &Receiver<Got>,
        line: &dyn Fn(&[u8]) -> Line,
        journal: &mut Journal,
        (step, position, open): (&Step<'_>, &mut u64, &mut u64),
    ) -> Result<(), Failure> {
        let Plan {
            folder, listing, ..
        } = plan;
        let which = |item: &Item| Source::which(folder, listing, item);
        while let Ok(got) = from.recv() {
            if self.stop.is_set() {
                return Err(Failure::interrupted("interrupted"));
            }
            let (item, mut message) = match got {
                Got::Message(item, message) => (item, message),
                Got::Unreadable(item, why) => {
                    *open -= 1;
                    self.report().refused += 1;
                    self.trouble(folder, which(&item), item.key.size(), why);
                    continue;
                }
            };
            let print = message.content.print();
            let mark =
                Source::mark(folder, listing, &item).unwrap_or_else(|| print.short().into_bytes());
            let bytes = message.content.len();
            let outcome = if journal.has(line(&mark)) && !self.args.again {
                Outcome::There
            } else {
                let mut sent = *position;
                self.target.put(&mut message, &mut |n| {
                    sent += n;
                    step.position(sent);
                })?
            };
            *position += item.key.size();
            *open -= 1;
            step.position(*position);
            match outcome {
                Outcome::Refused(why) => {
                    self.report().refused += 1;
                    self.trouble(folder, which(&item), bytes, why);
                    if self.target.is_full() {
                        return Err(Failure::new(format!("{} is full", self.summary.target))
                            .because(format!("the last {} messages were refused for want of room", target::FULL_AFTER))
                            .hint("give it more room (the portal's page Accounts, if it is yours), then run the same command again: it goes on where it ended"));
                    }
                    continue;
                }
                Outcome::There => self.report().there += 1,
                Outcome::Moved(changed) => {
                    self.report().moved += 1;
                    self.report().moved_bytes += bytes;
                    if let Some(why) = changed {
                        let trouble = Trouble {
                            folder: folder.name(),
                            which: which(&item),
                            bytes,
                            why,
                            changed: true,
                        };
                        self.summary.troubles.push(trouble);
                    }
                }
            }
            journal.add(line(&mark))?;
        }
        Ok(())
    }

    fn trouble(&mut self, folder: &Folder, which: String, bytes: u64, why: String) {
        self.summary.troubles.push(Trouble {
            folder: folder.name(),
            which,
            bytes,
            why,
            changed: false,
        });
    }
}

/// Whether a folder is this one, or in it.
fn is_in(folder: &Folder, name: &str) -> bool {
    let wanted = name.trim_matches('/').to_lowercase();
    let own = folder.name().to_lowercase();
    own == wanted
        || own
            .strip_prefix(&wanted)
            .is_some_and(|rest| rest.starts_with('/'))
}
