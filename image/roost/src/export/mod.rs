//! `roost export`: everything that is the owner's, in one file, for the day they leave.
//!
//! - [`archive`]: the file. [`maildir`], [`mbox`]: mail in it. [`dav`]: contacts and calendars. [`keys`]: what signs
//!   in the owner's name. [`readme`]: what is what, for a person.
//!
//! Mail goes from the server into the archive message by message; memory does not grow with the mailbox. An
//! archive that lacks something has no name: the command says what is missing and leaves no file.

mod archive;
mod dav;
mod keys;
mod maildir;
pub mod mbox;
mod readme;

use crate::cli::{ExportArgs, Format};
use crate::device::error::DeviceError;
use crate::device::mailbox::{self, Mailbox};
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::error::{Exit, Failure};
use crate::import::maildir::{KEYWORDS, NAMES};
use crate::import::source::{Folder, Got, Listing, Source};
use crate::mail::account::{self, Account, ImapUrl};
use crate::mail::date::Date;
use crate::mail::message::Message;
use crate::store::disk_failure;
use crate::ui::table::{Align, Table};
use crate::ui::{Step, Ui, size};
use archive::Archive;
use dav::{Dav, Kind, Merged};
use maildir::{Folders, Words};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Environment variable with a password.
const PASSWORD: &str = "ROOST_EXPORT_PASSWORD";
/// What Terraform fetches again by itself.
const FETCHED: &str = ".terraform";
/// Collections in collections; deeper ones are somebody's loop.
const MAX_DEPTH: usize = 5;

/// What was packed.
#[derive(Debug, Clone, Default, Serialize)]
struct Summary {
    file: PathBuf,
    /// Of the file.
    bytes: u64,
    accounts: Vec<Packed>,
    /// Domains whose zones are in it.
    zones: Vec<String>,
    /// Files of the relay's project.
    relay_files: u64,
    /// Files with private keys.
    keys: Vec<String>,
    /// Messages that could not be read.
    unreadable: Vec<String>,
}

/// What was packed of an account.
#[derive(Debug, Clone, Default, Serialize)]
struct Packed {
    account: String,
    folders: u64,
    messages: u64,
    message_bytes: u64,
    contacts: u64,
    appointments: u64,
    /// Marks for which the format had no letter left.
    lost_marks: u64,
}

#[derive(Debug, Deserialize)]
struct Zones {
    zones: Vec<Zone>,
}

#[derive(Debug, Deserialize)]
struct Zone {
    domain: String,
    /// None: it is not served.
    serial: Option<u32>,
    /// Why not.
    fault: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ZoneText {
    text: String,
}

/// `roost export`.
pub fn run(args: &ExportArgs, ui: &Ui) -> Result<(), Failure> {
    match pack(args, ui) {
        // Whatever it was doing just then.
        Err(failure) if failure.exit() == Exit::Interrupted => {
            Err(Failure::interrupted("interrupted; no file was written"))
        }
        other => other,
    }
}

fn pack(args: &ExportArgs, ui: &Ui) -> Result<(), Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    match &args.from {
        Some(url) => {
            let password = account::password(
                url,
                ("--password-file", args.password_file.as_deref()),
                PASSWORD,
                ui,
            )?;
            let account = Account::new(url, args.fingerprint, password);
            let mut export = Export::begin(args, url.address.host(), stop, ui)?;
            export.mail(&account, &account_folder(url), url)?;
            export.finish(readme::Leaving {
                domain: None,
                ..readme::Leaving::default()
            })
        }
        None => whole_box(args, stop, ui),
    }
}

fn account_folder(url: &ImapUrl) -> String {
    file_part(&url.user)
}

fn whole_box(args: &ExportArgs, stop: Stop, ui: &Ui) -> Result<(), Failure> {
    // What may be missing is found before the long part.
    let keys = keys::of_backup(args, ui)?;
    let mut home = Mailbox::open((&args.which, &args.mail), "export", &stop, ui)?;
    let accounts = match args.account.as_slice() {
        [] => home.accounts.clone(),
        names => names
            .iter()
            .map(|name| home.find(Some(name)))
            .collect::<Result<_, _>>()?,
    };
    let own = home.find(None)?;
    let domain = own
        .addresses
        .first()
        .and_then(|address| address.rsplit_once('@'))
        .map(|(_, domain)| domain.to_owned());
    let domain = domain.unwrap_or_else(|| home.host.clone());
    let mut export = Export::begin(args, &domain, stop, ui)?;
    for known in &accounts {
        let account = home.sign_in(known)?;
        let whose = home.whose(known);
        export.mail(&account, &file_part(&known.name), &whose)?;
        let mut dav = Dav::new(
            home.web(),
            home.web_certificate()?,
            &account.user,
            &account.password,
            &export.stop,
        );
        export.collections(&mut dav, known)?;
    }
    export.zones(&mut home)?;
    export.relay()?;
    for file in keys {
        let name = format!("keys/{}", file.name);
        export.archive.add_bytes(&name, &file.bytes)?;
        export.summary.keys.push(name);
    }
    let leaving = readme::Leaving {
        domain: Some(domain),
        host: home.host.clone(),
        addresses: accounts
            .iter()
            .map(|known| (known.name.clone(), known.addresses.clone()))
            .collect(),
    };
    if let Err(failure) = home.close() {
        ui.warn(failure.in_a_line());
    }
    export.finish(leaving)
}

/// An export under way.
struct Export<'a> {
    args: &'a ExportArgs,
    ui: &'a Ui,
    stop: Stop,
    archive: Archive,
    summary: Summary,
}

impl<'a> Export<'a> {
    fn begin(args: &'a ExportArgs, of: &str, stop: Stop, ui: &'a Ui) -> Result<Self, Failure> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let now = i64::try_from(now).unwrap_or_default();
        let root = format!("roost-{}-{}", file_part(of), day(now));
        let path = args
            .output
            .clone()
            .unwrap_or_else(|| PathBuf::from(format!("{root}.tar.zst")));
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !archive::is_compressed(&path) && path.extension().is_none_or(|end| end != "tar") {
            return Err(Failure::usage(format!("{name} is no name for an archive"))
                .hint("let it end with .tar, or .tar.zst to have it compressed"));
        }
        Ok(Self {
            args,
            ui,
            stop,
            archive: Archive::begin(&path, &root, now)?,
            summary: Summary {
                file: path,
                ..Summary::default()
            },
        })
    }

    fn check_stop(&self) -> Result<(), Failure> {
        match self.stop.is_set() {
            true => Err(Failure::interrupted("interrupted")),
            false => Ok(()),
        }
    }

    /// All mail of an account.
    fn mail(
        &mut self,
        account: &Account,
        name: &str,
        whose: &impl std::fmt::Display,
    ) -> Result<(), Failure> {
        let step = self.ui.step(format!("mail of {name}"));
        let mut source = Source::server(account.clone(), whose.to_string(), &self.stop)?;
        let folders = source.folders()?;
        let mut all = Vec::new();
        for folder in folders {
            self.check_stop()?;
            let listing = source.list(&folder)?;
            all.push((folder, listing));
        }
        let sum = |listing: &Listing| {
            listing
                .items
                .iter()
                .map(|item| item.key.size())
                .sum::<u64>()
        };
        step.total_bytes(all.iter().map(|(_, listing)| sum(listing)).sum());
        self.summary.accounts.push(Packed {
            account: name.to_owned(),
            folders: all.len() as u64,
            ..Packed::default()
        });
        let base = format!("mail/{name}");
        self.archive.add_folder(&base)?;
        let mut names = Folders::default();
        let mut files = HashSet::new();
        for (folder, listing) in &all {
            step.message(folder.name());
            match self.args.format {
                Format::Maildir => {
                    let directory =
                        names.directory(&folder.path, folder.role.map(|role| role.name()));
                    let place = if directory.is_empty() {
                        base.clone()
                    } else {
                        format!("{base}/{directory}")
                    };
                    self.maildir(&mut source, (folder, listing), &place, &step)?;
                }
                Format::Mbox => {
                    let place = mbox_name(&base, folder, &mut files);
                    self.mbox(&mut source, (folder, listing), &place, &step)?;
                }
            }
        }
        if self.args.format == Format::Maildir {
            let text = serde_json::to_string_pretty(&names.names).unwrap_or_default();
            self.archive
                .add_bytes(&format!("{base}/{NAMES}"), text.as_bytes())?;
        }
        source.close();
        let packed = self.packed();
        let told = format!(
            "{} folders, {} messages, {}",
            packed.folders,
            packed.messages,
            size(packed.message_bytes)
        );
        step.done(told);
        Ok(())
    }

    fn packed(&mut self) -> &mut Packed {
        let last = self.summary.accounts.len() - 1;
        &mut self.summary.accounts[last]
    }

    fn maildir(
        &mut self,
        source: &mut Source,
        of: (&Folder, &Listing),
        place: &str,
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        for part in ["", "/cur", "/new", "/tmp"] {
            self.archive.add_folder(&format!("{place}{part}"))?;
        }
        let mut words = Words::default();
        let mut number = 0;
        self.each(source, of, step, &mut |archive, message| {
            number += 1;
            let date = message.date.map(|date| date.seconds);
            let letters = words.letters(&message.flags);
            let content = &mut message.content;
            // A file has lines as files have them; a message with both kinds stays as it is.
            let as_it_is = content.has_bare_lf();
            let (length, whole) = match as_it_is {
                true => (content.len(), None),
                false => (content.len() - content.crlf(), Some(content.len())),
            };
            let name =
                maildir::file_name(date.unwrap_or_default(), number, length, whole, &letters);
            let reader = content
                .reader()
                .map_err(|e| Failure::new("cannot read a temporary file").because(e))?;
            let name = format!("{place}/cur/{name}");
            match as_it_is {
                true => archive.add(&name, date, length, reader),
                false => archive.add(&name, date, length, &mut WithoutCr::new(reader)),
            }
        })?;
        if let Some(text) = words.file() {
            self.archive
                .add_bytes(&format!("{place}/{KEYWORDS}"), text.as_bytes())?;
        }
        self.packed().lost_marks += words.lost;
        Ok(())
    }

    fn mbox(
        &mut self,
        source: &mut Source,
        of: (&Folder, &Listing),
        place: &str,
        step: &Step<'_>,
    ) -> Result<(), Failure> {
        // Tar wants to know how long a file is before it begins.
        let folder = self.archive.folder().to_owned();
        let failed = |e| disk_failure("write", &folder, e);
        let mut file = BufWriter::new(tempfile::tempfile_in(&folder).map_err(failed)?);
        self.each(source, of, step, &mut |_, message| {
            let (date, flags) = (message.date, message.flags.clone());
            let reader = message
                .content
                .reader()
                .map_err(|e| Failure::new("cannot read a temporary file").because(e))?;
            mbox::write(&mut file, date, &flags, reader).map_err(failed)
        })?;
        let mut file = file.into_inner().map_err(|e| failed(e.into_error()))?;
        let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.rewind().map_err(failed)?;
        self.archive.add(place, None, length, &mut file)
    }

    /// Reads every message of a folder and gives it to `pack`.
    fn each(
        &mut self,
        source: &mut Source,
        (folder, listing): (&Folder, &Listing),
        step: &Step<'_>,
        pack: &mut dyn FnMut(&mut Archive, &mut Message) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut failed = Ok(());
        let (mut messages, mut bytes) = (0, 0);
        let (archive, stop, unreadable) =
            (&mut self.archive, &self.stop, &mut self.summary.unreadable);
        let strict = !self.args.without_unreadable;
        source.read((folder, listing), &listing.items, &mut |got| {
            let one = match got {
                _ if stop.is_set() => Err(Failure::interrupted("interrupted")),
                Got::Message(item, mut message) => {
                    step.advance(item.key.size());
                    messages += 1;
                    bytes += message.content.len();
                    pack(archive, &mut message)
                }
                Got::Unreadable(item, why) => {
                    let which = format!("{}, {} ({}): {why}", folder.name(), Source::which(folder, listing, &item), size(item.key.size()));
                    unreadable.push(which.clone());
                    match strict {
                        true => Err(Failure::new("a message cannot be read; no file was written").because(which)
                            .hint("try again; if it stays so, --without-unreadable leaves such messages out, and lists them")),
                        false => Ok(()),
                    }
                }
            };
            match one {
                Ok(()) => ControlFlow::Continue(()),
                Err(failure) => {
                    failed = Err(failure);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed?;
        let packed = self.packed();
        packed.messages += messages;
        packed.message_bytes += bytes;
        Ok(())
    }

    /// Contacts and calendars of an account.
    fn collections(&mut self, dav: &mut Dav, known: &mailbox::Known) -> Result<(), Failure> {
        let name = file_part(&known.name);
        for (kind, path) in [(Kind::AddressBook, "card"), (Kind::Calendar, "cal")] {
            let what = if kind == Kind::AddressBook {
                "contacts"
            } else {
                "calendars"
            };
            let step = self.ui.step(format!("{what} of {name}"));
            let address = dav.address().clone();
            let failed = |e: DeviceError| {
                e.failure(&format!("cannot read the {what} of {name} on"), &address)
            };
            let mut found = Vec::new();
            list(
                dav,
                &format!("/dav/{path}/{}/", known.name),
                kind,
                0,
                &mut found,
            )
            .map_err(failed)?;
            let mut taken = HashSet::new();
            let mut number = 0;
            for collection in found {
                let title = if collection.name.is_empty() {
                    last_part(&collection.path)
                } else {
                    collection.name.clone()
                };
                let things = dav.list(&collection.path).map_err(failed)?;
                let things: Vec<_> = things
                    .into_iter()
                    .filter(|thing| thing.kind == Kind::Thing)
                    .collect();
                step.total_items(number + things.len() as u64);
                let mut contacts = Vec::new();
                let mut calendar = Merged::new();
                for thing in things {
                    self.check_stop()?;
                    let bytes = dav.get(&thing.path).map_err(failed)?;
                    number += 1;
                    step.position(number);
                    match kind {
                        Kind::AddressBook => with_line_end(&mut contacts, &bytes),
                        _ => calendar.add(&bytes).map_err(|why| {
                            Failure::new(format!("cannot pack {}", plain(&thing.path))).because(why)
                        })?,
                    }
                }
                let file = unique(&format!("{what}/{name}"), &file_part(&title), &mut taken);
                match kind {
                    Kind::AddressBook => {
                        self.archive.add_bytes(&format!("{file}.vcf"), &contacts)?
                    }
                    _ => self
                        .archive
                        .add_bytes(&format!("{file}.ics"), &calendar.finish())?,
                }
            }
            match kind {
                Kind::AddressBook => self.packed().contacts = number,
                _ => self.packed().appointments = number,
            }
            step.done(number.to_string());
        }
        Ok(())
    }

    /// The zones that the box answers for.
    fn zones(&mut self, home: &mut Mailbox<'_>) -> Result<(), Failure> {
        let Zones { zones } = mailbox::get(home.device(), "dns", "cannot ask for the zones of")?;
        for zone in zones {
            let domain = zone.domain;
            if zone.serial.is_none() {
                let why = zone.fault.unwrap_or_else(|| "it is not ready yet".into());
                self.ui.warn(format!(
                    "the box does not answer for {domain}, so its zone is not in the archive: {}",
                    plain(&why)
                ));
                continue;
            }
            let path = format!("dns/{domain}/zone?signed=false");
            let ZoneText { text } =
                mailbox::get(home.device(), &path, "cannot take the zone from")?;
            self.archive
                .add_bytes(&format!("dns/{}.zone", file_part(&domain)), text.as_bytes())?;
            self.summary.zones.push(domain);
        }
        Ok(())
    }

    /// The relay's Terraform project, with its state.
    fn relay(&mut self) -> Result<(), Failure> {
        let parent = self.args.config.parent().unwrap_or(Path::new(""));
        let project = parent.join("relay");
        if !project.join("main.tf.json").is_file() {
            return Ok(());
        }
        self.tree(&project, "relay", 0)
    }

    fn tree(&mut self, place: &Path, name: &str, depth: usize) -> Result<(), Failure> {
        let failed = |e| disk_failure("read", place, e);
        let mut entries: Vec<_> = std::fs::read_dir(place)
            .map_err(failed)?
            .collect::<Result<_, _>>()
            .map_err(failed)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let inner = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() && inner != FETCHED && depth < MAX_DEPTH {
                self.tree(&entry.path(), &format!("{name}/{inner}"), depth + 1)?;
            } else if kind.is_file() {
                let path = entry.path();
                let failed = |e| disk_failure("read", &path, e);
                let file = File::open(&path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                self.archive.add(
                    &format!("{name}/{inner}"),
                    None,
                    length,
                    &mut BufReader::new(file),
                )?;
                self.summary.relay_files += 1;
            }
        }
        Ok(())
    }

    fn finish(mut self, leaving: readme::Leaving) -> Result<(), Failure> {
        self.check_stop()?;
        let step = self.ui.step("finish");
        let text = readme::text(&self.summary, self.args.format, &leaving);
        self.archive.add_bytes("README.txt", text.as_bytes())?;
        self.summary.bytes = self.archive.finish()?;
        step.done(size(self.summary.bytes));
        let mut out = String::new();
        let mut table = Table::new([
            ("account", Align::Left),
            ("folders", Align::Right),
            ("messages", Align::Right),
            ("size", Align::Right),
            ("contacts", Align::Right),
            ("appointments", Align::Right),
        ]);
        for packed in &self.summary.accounts {
            table.row([
                packed.account.clone(),
                packed.folders.to_string(),
                packed.messages.to_string(),
                size(packed.message_bytes),
                packed.contacts.to_string(),
                packed.appointments.to_string(),
            ]);
        }
        out += &table.render();
        if !self.summary.zones.is_empty() {
            let _ = writeln!(out, "Zones: {}", self.summary.zones.join(", "));
        }
        if self.summary.relay_files > 0 {
            let _ = writeln!(
                out,
                "The relay's Terraform project: {} files",
                self.summary.relay_files
            );
        }
        if !self.summary.keys.is_empty() {
            let _ = writeln!(out, "Private keys: {} files", self.summary.keys.len());
        }
        if !self.summary.unreadable.is_empty() {
            let _ = writeln!(out, "Left out, because they cannot be read:");
            for which in &self.summary.unreadable {
                let _ = writeln!(out, "  {}", plain(which));
            }
        }
        let file = self.summary.file.display();
        let danger = match self.summary.keys.is_empty() {
            true => "read your mail",
            false => "read your mail, and sign in your domain's name",
        };
        let _ = writeln!(
            out,
            "All of it is in {file} ({}). README.txt in it says what is what.\nWhoever has this file can {danger}: keep it safe.",
            size(self.summary.bytes)
        );
        self.ui.result(out, &self.summary);
        Ok(())
    }
}

/// Address books or calendars, also those that are in folders.
fn list(
    dav: &mut Dav,
    path: &str,
    kind: Kind,
    depth: usize,
    all: &mut Vec<dav::Found>,
) -> Result<(), DeviceError> {
    for found in dav.list(path)? {
        if found.kind == kind {
            all.push(found);
        } else if found.kind == Kind::Folder && depth < MAX_DEPTH {
            list(dav, &found.path, kind, depth + 1, all)?;
        }
    }
    Ok(())
}

fn last_part(path: &str) -> String {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Contacts stand one behind the other.
fn with_line_end(all: &mut Vec<u8>, one: &[u8]) {
    all.extend(one);
    if !one.ends_with(b"\n") {
        all.extend(b"\r\n");
    }
}

/// A name as it can stand in every file system: no letter that one of them has a use for.
fn file_part(name: &str) -> String {
    let odd = |c: char| {
        c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|')
    };
    let text: String = name.chars().map(|c| if odd(c) { '_' } else { c }).collect();
    let text = text.trim().trim_start_matches('.');
    if text.is_empty() {
        "_".to_owned()
    } else {
        text.to_owned()
    }
}

fn unique(folder: &str, name: &str, taken: &mut HashSet<String>) -> String {
    let wanted = format!("{folder}/{name}");
    let mut path = wanted.clone();
    let mut number = 2;
    // Some file systems do not tell large letters from small ones.
    while !taken.insert(path.to_lowercase()) {
        path = format!("{wanted} ({number})");
        number += 1;
    }
    path
}

fn mbox_name(base: &str, folder: &Folder, taken: &mut HashSet<String>) -> String {
    let parts: Vec<String> = folder.path.iter().map(|part| file_part(part)).collect();
    let (last, outer) = parts
        .split_last()
        .map_or((String::new(), String::new()), |(last, outer)| {
            (last.clone(), outer.join("/"))
        });
    let folder = if outer.is_empty() {
        base.to_owned()
    } else {
        format!("{base}/{outer}")
    };
    unique(&folder, &format!("{last}.mbox"), taken)
}

/// `2026-11-27`.
fn day(seconds: i64) -> String {
    let text = Date::utc(seconds).to_imap().unwrap_or_default();
    let mut parts = text
        .split_ascii_whitespace()
        .next()
        .unwrap_or_default()
        .split('-');
    let (day, month, year) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(month).map_or(0, |at| at / 3 + 1);
    format!("{year}-{month:02}-{day:0>2}")
}

/// Leaves out every carriage return that stands before a line feed.
struct WithoutCr<R> {
    from: BufReader<R>,
    /// A carriage return was read, and not what is behind it.
    held: bool,
}

impl<R: Read> WithoutCr<R> {
    fn new(from: R) -> Self {
        Self {
            from: BufReader::with_capacity(64 << 10, from),
            held: false,
        }
    }
}

impl<R: Read> Read for WithoutCr<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut out = 0;
        while out < to.len() {
            let ready = self.from.fill_buf()?;
            let mut used = 0;
            if ready.is_empty() && !self.held {
                break;
            }
            while out < to.len() {
                let next = ready.get(used).copied();
                match (std::mem::take(&mut self.held), next) {
                    (true, Some(b'\n')) | (false, None) => {}
                    (true, _) => {
                        to[out] = b'\r';
                        out += 1;
                        continue;
                    }
                    (false, Some(b'\r')) => {
                        self.held = true;
                        used += 1;
                        // What is behind it may not be here yet.
                        if used == ready.len() {
                            break;
                        }
                        continue;
                    }
                    (false, Some(_)) => {}
                }
                let Some(byte) = next else { break };
                to[out] = byte;
                out += 1;
                used += 1;
            }
            self.from.consume(used);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn days_are_written_so_that_they_sort() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(1_795_766_400), "2026-11-27");
    }

    #[test]
    fn names_fit_every_file_system() {
        assert_eq!(file_part("a/b\\c:d\n"), "a_b_c_d_");
        assert_eq!(file_part(".."), "_");
        let mut taken = HashSet::new();
        let names: Vec<String> = ["Work", "work", "Work"]
            .iter()
            .map(|name| unique("x", name, &mut taken))
            .collect();
        assert_eq!(names, ["x/Work", "x/work (2)", "x/Work (3)"]);
    }

    proptest! {
        /// As many bytes as were announced, in whatever pieces they are read.
        #[test]
        fn line_ends_become_those_of_files(
            parts in prop::collection::vec(prop_oneof![Just("\r\n"), Just("\r"), Just("ab"), Just("\r\r\n")], 0..20),
            piece in 1usize..9,
        ) {
            let text = parts.concat();
            let crlf = text.matches("\r\n").count();
            let mut reader = WithoutCr::new(text.as_bytes());
            let mut out = Vec::new();
            let mut buffer = vec![0; piece];
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => break,
                    n => out.extend_from_slice(&buffer[..n]),
                }
            }
            prop_assert_eq!(out.len(), text.len() - crlf);
            prop_assert_eq!(String::from_utf8(out).unwrap(), text.replace("\r\n", "\n"));
        }
    }
}
