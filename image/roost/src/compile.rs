//! Cross-compiles the box's own programs in the SDK root.
//!
//! The sources stand at `/src`, crates at `/cargo`, results at `/target`
//! whatever the machine's paths are, so that the bytes do not depend on them.
//! Cargo's target folder is kept between builds: one changed service does
//! not compile Stalwart again. Cargo takes a file for unchanged when its time
//! is old, but all checkouts of a user share that folder, so it compiles a
//! copy of the sources in which a file is as old as its contents.

use crate::error::Failure;
use crate::sdk::{Sdk, explain, no_bwrap};
use crate::store::{Key, KeyBuilder, disk_failure, files_below};
use crate::ui::Step;
use crate::workspace::Workspace;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rust target of every program on the box.
pub const TARGET: &str = "aarch64-unknown-linux-gnu";

/// A program of ours that goes into the image.
#[derive(Debug)]
pub struct Program {
    /// Component name, also the file's name in the image.
    pub name: &'static str,
    /// Folder of its cargo workspace, relative to the checkout.
    pub workspace: &'static str,
    /// Cargo package.
    pub package: &'static str,
    /// Cargo binary.
    pub binary: &'static str,
    /// Folders and files with its sources, relative to the checkout.
    pub sources: &'static [&'static str],
    /// Licence of the linked result (SPDX).
    pub licence: &'static str,
    /// Program that cargo calls in place of rustc, and the files that it reads, relative to the checkout.
    pub rustc_wrapper: &'static [&'static str],
}

impl Program {
    /// What cargo has locked its crates to.
    pub fn cargo_lock(&self, source: &Path) -> PathBuf {
        source.join(self.workspace).join("Cargo.lock")
    }
}

/// The initramfs program.
pub const STAGE1: Program = Program {
    name: "stage1",
    workspace: "",
    package: "roost-init",
    binary: "stage1",
    sources: &[
        "services/init/Cargo.toml",
        "services/init/src",
        "services/service",
        "board/Cargo.toml",
        "board/src",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// PID 1.
pub const INIT: Program = Program {
    name: "init",
    binary: "init",
    ..STAGE1
};

/// The mail server.
pub const MAIL: Program = Program {
    name: "mail",
    workspace: "services/mail",
    package: "roost-mail",
    binary: "roost-mail",
    // Neither its spec nor the data that it ships are compiled into it.
    sources: &[
        "services/mail/Cargo.toml",
        "services/mail/src",
        "services/mail/render",
        "services/mail/server",
        "services/mail/fixed_random.c",
        "services/mail/rustc",
        "services/service",
    ],
    licence: "AGPL-3.0-only",
    rustc_wrapper: &["services/mail/rustc", "services/mail/fixed_random.c"],
};

/// The update service.
pub const UPDATER: Program = Program {
    name: "updater",
    workspace: "",
    package: "roost-updater",
    binary: "updater",
    sources: &[
        "services/updater/Cargo.toml",
        "services/updater/src",
        "services/service",
        "board/Cargo.toml",
        "board/src",
        "image/bundle/Cargo.toml",
        "image/bundle/src",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// The web portal.
pub const PORTAL: Program = Program {
    name: "portal",
    workspace: "",
    package: "roost-portal",
    binary: "portal",
    sources: &[
        "services/portal/Cargo.toml",
        "services/portal/src",
        "services/service",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// The way to the relay.
pub const TUNNEL: Program = Program {
    name: "tunnel",
    workspace: "",
    package: "roost-tunnel",
    binary: "tunnel",
    sources: &[
        "services/tunnel/Cargo.toml",
        "services/tunnel/src",
        "services/service",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// The name server.
pub const DNS: Program = Program {
    name: "dns",
    workspace: "",
    package: "roost-dns",
    binary: "dns",
    sources: &[
        "services/dns/Cargo.toml",
        "services/dns/src",
        "services/service",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// The certificate service.
pub const CERTIFICATES: Program = Program {
    name: "certificates",
    workspace: "",
    package: "roost-certificates",
    binary: "certificates",
    sources: &[
        "services/certificates/Cargo.toml",
        "services/certificates/src",
        "services/service",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// The box's own resolver.
pub const RESOLVER: Program = Program {
    name: "resolver",
    workspace: "",
    package: "roost-resolver",
    binary: "resolver",
    sources: &[
        "services/resolver/Cargo.toml",
        "services/resolver/src",
        "services/service",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// The backup service.
pub const BACKUP: Program = Program {
    name: "backup",
    workspace: "",
    package: "roost-backup",
    binary: "backup",
    sources: &[
        "services/backup/Cargo.toml",
        "services/backup/src",
        "services/backup/repository",
        "services/service",
    ],
    licence: "Apache-2.0 OR MIT",
    rustc_wrapper: &[],
};

/// Every program that a build compiles, in the order in which it is listed.
pub const PROGRAMS: [&Program; 10] = [
    &STAGE1,
    &INIT,
    &UPDATER,
    &PORTAL,
    &TUNNEL,
    &DNS,
    &CERTIFICATES,
    &RESOLVER,
    &BACKUP,
    &MAIL,
];

/// What C code takes for the time of its compilation, in seconds since 1970
/// (reproducible-builds.org/specs/source-date-epoch): mimalloc has it in a text.
const SOURCE_DATE_EPOCH: &str = "315532800";

/// Hash of everything that a program is compiled from.
pub fn key(program: &Program, source: &Path, sdk: &Sdk) -> Result<Key, Failure> {
    let mut key = KeyBuilder::new("compile", 3)
        .key(&sdk.key)
        .text(program.name)
        .file(&source.join("Cargo.toml"))?
        .text(&locked_crates(&program.cargo_lock(source), program.package)?.join("\n"));
    for path in program.sources {
        let path = source.join(path);
        key = if path.is_dir() {
            key.tree(&path)?
        } else {
            key.file(&path)?
        };
    }
    Ok(key.finish())
}

/// Makes `copy` equal to the parts of the checkout that cargo reads: the files of the checkout's
/// workspace and of `workspace` below it, and the folders of their members. Files that are equal
/// already keep their time.
fn copy_sources(source: &Path, workspace: &str, copy: &Path) -> Result<(), Failure> {
    let mut wanted = BTreeSet::new();
    for workspace in BTreeSet::from([Path::new(""), Path::new(workspace)]) {
        wanted.extend(["Cargo.toml", "Cargo.lock"].map(|name| workspace.join(name)));
        for folder in members(&source.join(workspace))? {
            for path in files_below(&folder)? {
                wanted.insert(path.strip_prefix(source).unwrap_or(&path).to_owned());
            }
        }
    }
    std::fs::create_dir_all(copy).map_err(|e| disk_failure("create", copy, e))?;
    for old in files_below(copy)? {
        if !wanted.contains(old.strip_prefix(copy).unwrap_or(&old)) {
            std::fs::remove_file(&old).map_err(|e| disk_failure("remove", &old, e))?;
        }
    }
    for name in wanted {
        let (from, to) = (source.join(&name), copy.join(&name));
        let bytes = std::fs::read(&from).map_err(|e| disk_failure("read", &from, e))?;
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let parent = to.parent().expect("below the copy");
        std::fs::create_dir_all(parent).map_err(|e| disk_failure("create", parent, e))?;
        // Not `fs::copy`: the time must be now. The mode matters for `rustc_wrapper`.
        std::fs::write(&to, bytes)
            .and_then(|()| from.metadata())
            .and_then(|found| std::fs::set_permissions(&to, found.permissions()))
            .map_err(|e| disk_failure("write", &to, e))?;
    }
    Ok(())
}

/// Folders of the packages of the workspace in `folder`.
fn members(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        workspace: Members,
        package: Option<toml::Table>,
    }
    #[derive(serde::Deserialize)]
    struct Members {
        members: Vec<String>,
    }
    let manifest = folder.join("Cargo.toml");
    let text =
        std::fs::read_to_string(&manifest).map_err(|e| disk_failure("read", &manifest, e))?;
    let manifest: Manifest = toml::from_str(&text)
        .map_err(|e| Failure::new(format!("{} is not valid", manifest.display())).because(e))?;
    let own = manifest.package.map(|_| folder.to_owned());
    let others = manifest.workspace.members.iter().map(|m| folder.join(m));
    Ok(own.into_iter().chain(others).collect())
}

/// Fetches the crates of each `Cargo.lock` with the machine's own cargo, the only part that uses the network.
pub fn fetch_crates(workspace: &Workspace, offline: bool) -> Result<(), Failure> {
    let workspaces: BTreeSet<&str> = PROGRAMS.iter().map(|p| p.workspace).collect();
    workspaces
        .into_iter()
        .try_for_each(|folder| fetch(&workspace.source.join(folder), offline))
}

fn fetch(folder: &Path, offline: bool) -> Result<(), Failure> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["fetch", "--quiet", "--locked", "--target", TARGET])
        .current_dir(folder);
    if offline {
        cargo.arg("--offline");
    }
    let out = cargo.output().map_err(|e| {
        Failure::new("cannot run cargo")
            .because(e)
            .hint("install Rust 1.95 or later; `cargo` must be on the PATH")
    })?;
    if out.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    let lock = folder.join("Cargo.lock");
    let what = format!("cannot fetch the Rust crates of {}", lock.display());
    Err(
        if words.contains("lock file") && words.contains("--locked") {
            Failure::new(format!("{} does not fit the Cargo.toml files", lock.display()))
            .because(words)
            .hint("restore both from version control, or run `cargo metadata > /dev/null` beside it after a change of dependencies")
        } else if offline {
            Failure::offline(what).because(words)
        } else {
            Failure::new(what)
                .because(words)
                .hint("check the network and run the same command again")
        },
    )
}

/// Where programs are compiled.
pub struct Place<'a> {
    /// The checkout and the cache.
    pub workspace: &'a Workspace,
    /// Compilers and libraries.
    pub sdk: &'a Sdk,
    /// What is being compiled there now.
    pub running: &'a Running,
}

/// The compilations that go on at the same time, so that one's failure ends the others.
#[derive(Debug, Default)]
pub struct Running(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    children: BTreeMap<&'static str, Child>,
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, name: &'static str, child: Child) {
        let mut state = self.state();
        state.children.insert(name, child);
        if state.stopped {
            drop(state);
            self.stop();
        }
    }

    /// Waits for a child that has closed its output.
    fn end(&self, name: &'static str) -> std::io::Result<ExitStatus> {
        let child = self.state().children.remove(name);
        child.expect("it was started").wait()
    }

    /// Ends all of them, also those that start later.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for child in state.children.values_mut() {
            // One that has just ended needs no end.
            let _ = child.kill();
        }
    }
}

/// Compiles `program` and copies it to `into/<name>`; cargo's words go to `log`.
///
/// `key` is the program's [`key`], and an error if the sources have changed since.
pub fn compile(
    program: &'static Program,
    key: &Key,
    place: &Place<'_>,
    into: &Path,
    log: &Path,
    step: &Step<'_>,
) -> Result<(), Failure> {
    let Place {
        workspace,
        sdk,
        running,
    } = place;
    // A target folder for each workspace: what its programs share is compiled once, and the mail server, which is
    // compiled beside the others, does not wait for cargo's lock. Cargo does not notice another wrapper or date, so
    // each has a folder of its own too.
    let whose = match program.workspace {
        "" => "box",
        _ => program.package,
    };
    let mut folder = KeyBuilder::new("target", 2)
        .text(whose)
        .text(SOURCE_DATE_EPOCH);
    for part in program.rustc_wrapper {
        folder = folder.file(&workspace.source.join(part))?;
    }
    let name = format!("{whose}-{}", &folder.finish().short()[..8]);
    let parent = workspace.cache.join("target").join(sdk.key.short());
    let target = parent.join(&name);
    std::fs::create_dir_all(&target).map_err(|e| disk_failure("create", &target, e))?;
    let lock_path = parent.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(|e| disk_failure("create", &lock_path, e))?;
    if lock.try_lock().is_err() {
        step.message("waiting for another build");
        lock.lock()
            .map_err(|e| disk_failure("lock", &lock_path, e))?;
    }
    let source = parent.join(format!("{name}.src"));
    copy_sources(&workspace.source, program.workspace, &source)?;
    if self::key(program, &source, sdk)? != *key {
        return Err(
            Failure::new(format!("the sources of {} have changed", program.name))
                .because("a file was saved after the build had looked at it")
                .hint("run the same command again"),
        );
    }
    let registry = cargo_home()?.join("registry");
    let mut sandbox = sdk
        .sandbox()
        .read(&source, "/src")
        .read(&registry, "/cargo/registry")
        .write(&target, "/target")
        .for_the_box()
        .env("CARGO_TARGET_DIR", "/target")
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
    if let Some(wrapper) = program.rustc_wrapper.first() {
        sandbox = sandbox.env("RUSTC_WRAPPER", &format!("/src/{wrapper}"));
    }
    // Some of the locked crates are for other targets: the count is an upper bound.
    step.total_items(
        locked_crates(&program.cargo_lock(&workspace.source), program.package)?.len() as u64,
    );
    // The mail server takes longest: what is compiled beside it gives way.
    let mut command = if program.name == MAIL.name {
        sandbox.command("cargo")
    } else {
        let mut command = sandbox.command("nice");
        command.args(["-n", "5", "cargo"]);
        command
    };
    let mut child = command
        .args([
            "build",
            "--release",
            "--locked",
            "--offline",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .args([
            "--manifest-path",
            &format!("/src/{}/Cargo.toml", program.workspace),
            "-p",
            program.package,
            "--bin",
            program.binary,
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_bwrap)?;
    let stderr = child.stderr.take().expect("stderr is piped");
    let stdout = child.stdout.take().expect("stdout is piped");
    running.started(program.name, child);
    let log_path = log.to_owned();
    let reader = std::thread::spawn(move || keep_log(stderr, &log_path));
    // A crate may be compiled several times: its build script, for this machine, for the box.
    let mut done = BTreeSet::new();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Ok(Message::CompilerArtifact { package_id }) = serde_json::from_str(&line) {
            done.insert(package_id);
            step.position(done.len() as u64);
        }
    }
    let status = running.end(program.name).map_err(no_bwrap)?;
    let words = reader.join().expect("the log reader does not panic");
    if !status.success() {
        return Err(explain(
            "cargo",
            &status.to_string(),
            &format!("{words}\n(all of it: {})", log.display()),
        ));
    }
    let built = target.join(TARGET).join("release").join(program.binary);
    let copy = into.join(program.name);
    std::fs::copy(&built, &copy).map_err(|e| disk_failure("copy", &built, e))?;
    Ok(())
}

/// What cargo says while it works (cargo reference, "External tools", JSON messages).
#[derive(serde::Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    /// Something was compiled, or was already.
    CompilerArtifact {
        /// Names a crate by version and source.
        package_id: String,
    },
    #[serde(other)]
    Other,
}

/// Copies `stream` to the file and gives its last 20 lines.
fn keep_log(stream: impl std::io::Read, path: &Path) -> String {
    let mut file = File::create(path).ok();
    let mut last = std::collections::VecDeque::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Some(f) = &mut file {
            // The log is a courtesy: a full disk shows itself where it matters.
            if writeln!(f, "{line}").is_err() {
                file = None;
            }
        }
        if last.len() == 20 {
            last.pop_front();
        }
        last.push_back(line);
    }
    Vec::from(last).join("\n")
}

/// `$CARGO_HOME`, else `~/.cargo`.
pub fn cargo_home() -> Result<PathBuf, Failure> {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| Path::new(&h).join(".cargo")))
        .ok_or_else(|| Failure::new("cannot find cargo's folder").hint("set HOME or CARGO_HOME"))
}

#[derive(serde::Deserialize)]
struct CargoLock {
    package: Vec<LockedCrate>,
}

/// A crate of `Cargo.lock`.
#[derive(serde::Deserialize, Clone, Debug)]
pub struct LockedCrate {
    /// Crate name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the crate file; none for our own crates.
    pub checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Everything in `Cargo.lock` that `package` may be built from, itself included.
///
/// A crate for another target may be among them: the list serves as a cache
/// key and as an upper bound, not as the list of what was linked.
pub fn crates_of(cargo_lock: &Path, package: &str) -> Result<Vec<LockedCrate>, Failure> {
    let text =
        std::fs::read_to_string(cargo_lock).map_err(|e| disk_failure("read", cargo_lock, e))?;
    let lock: CargoLock = toml::from_str(&text)
        .map_err(|e| Failure::new(format!("{} is damaged", cargo_lock.display())).because(e))?;
    let mut by_name: BTreeMap<&str, Vec<&LockedCrate>> = BTreeMap::new();
    for c in &lock.package {
        by_name.entry(&c.name).or_default().push(c);
    }
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut open: Vec<&LockedCrate> = by_name
        .get(package)
        .into_iter()
        .flatten()
        .copied()
        .collect();
    while let Some(c) = open.pop() {
        if !seen.insert((&c.name, &c.version)) {
            continue;
        }
        found.push(c.clone());
        for dependency in &c.dependencies {
            // "name", or "name version" where several versions are locked.
            let mut words = dependency.split(' ');
            let (name, version) = (words.next().unwrap_or_default(), words.next());
            open.extend(
                by_name
                    .get(name)
                    .into_iter()
                    .flatten()
                    .filter(|c| version.is_none_or(|v| c.version == v)),
            );
        }
    }
    found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(found)
}

fn locked_crates(cargo_lock: &Path, package: &str) -> Result<Vec<String>, Failure> {
    Ok(crates_of(cargo_lock, package)?
        .iter()
        .map(|c| {
            format!(
                "{} {} {}",
                c.name,
                c.version,
                c.checksum.as_deref().unwrap_or("own")
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_what_runs_and_what_starts_later() {
        let running = Running::default();
        let sleep = || Command::new("sleep").arg("600").spawn().unwrap();
        running.started("before", sleep());
        running.stop();
        running.started("after", sleep());
        for name in ["before", "after"] {
            assert!(!running.end(name).unwrap().success());
        }
    }

    #[test]
    fn a_copied_file_is_as_old_as_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two, copy) = (
            dir.path().join("1"),
            dir.path().join("2"),
            dir.path().join("c"),
        );
        for (checkout, text) in [(&one, "fn a() {}"), (&two, "fn b() {}")] {
            std::fs::create_dir_all(checkout.join("m/src")).unwrap();
            let write = |name: &str, text: &str| std::fs::write(checkout.join(name), text).unwrap();
            write("Cargo.toml", "[workspace]\nmembers = [\"m\"]\n");
            write("Cargo.lock", "version = 4\n");
            write("m/src/lib.rs", text);
            std::fs::create_dir_all(checkout.join("own/n")).unwrap();
            write(
                "own/Cargo.toml",
                "package = {}\nworkspace.members = [\"n\"]\n",
            );
            write("own/Cargo.lock", "version = 4\n");
            write("own/n/lib.rs", text);
            // A checkout may be older than what was compiled from another one.
            File::open(checkout.join("m/src/lib.rs"))
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap();
        }
        std::fs::write(one.join("m/gone.rs"), "").unwrap();
        std::fs::write(one.join("not-a-member"), "").unwrap();
        let time = |name: &str| copy.join(name).metadata().unwrap().modified().unwrap();

        copy_sources(&one, "", &copy).unwrap();
        assert!(copy.join("m/gone.rs").exists() && !copy.join("not-a-member").exists());
        assert!(!copy.join("own").exists());
        let (first, unchanged) = (time("m/src/lib.rs"), time("Cargo.toml"));
        assert!(first > std::time::UNIX_EPOCH);
        copy_sources(&one, "", &copy).unwrap();
        assert_eq!(time("m/src/lib.rs"), first);

        copy_sources(&two, "own", &copy).unwrap();
        assert!(time("m/src/lib.rs") >= first && !copy.join("m/gone.rs").exists());
        assert_eq!(
            std::fs::read_to_string(copy.join("m/src/lib.rs")).unwrap(),
            "fn b() {}"
        );
        assert_eq!(time("Cargo.toml"), unchanged);
        assert!(copy.join("own/Cargo.lock").exists() && copy.join("own/n/lib.rs").exists());
    }
}
