//! The SDK root: a pinned Debian file tree in which everything foreign runs.
//!
//! Packages are unpacked, not installed: no maintainer script runs, no root is
//! needed, and the same lock gives the same tree. The few symbolic links that
//! maintainer scripts would have made are listed in [`LINKS`]. Programs run
//! in it through bubblewrap: read-only, with private `/tmp`, without network.

use crate::cli::{SdkArgs, SdkCommand};
use crate::compile::cargo_home;
use crate::config::Config;
use crate::error::Failure;
use crate::fetch::Downloads;
use crate::lock::{Lock, Package, Purpose};
use crate::store::{Key, KeyBuilder, Making, disk_failure};
use crate::ui::{Step, Ui, size};
use crate::workspace::Workspace;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What update-alternatives would have linked.
const LINKS: &[(&str, &str)] = &[
    ("usr/bin/cc", "gcc"),
    ("usr/bin/c++", "g++"),
    ("usr/bin/awk", "mawk"),
];

/// Parts of packages that no build needs: half of the tree's size.
const LEFT_OUT: &[&str] = &[
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
];

/// An unpacked SDK root.
#[derive(Debug, Clone)]
pub struct Sdk {
    /// The root of the tree.
    pub root: PathBuf,
    /// Hash of the packages that it is made of; part of every key of a step that runs in it.
    pub key: Key,
}

/// The key and place of the root that `lock` describes, made or not.
pub fn locate(lock: &Lock, cache: &Path) -> Sdk {
    let mut key = KeyBuilder::new("sdk", 1);
    for p in lock.packages(Purpose::Sdk) {
        key = key.text(&p.sha256);
    }
    let key = key.finish();
    Sdk {
        root: cache.join("sdk").join(key.short()),
        key,
    }
}

impl Sdk {
    /// Whether the tree is there and complete.
    pub fn exists(&self) -> bool {
        self.root.is_dir()
    }

    /// Unpacks the tree from downloaded packages.
    pub fn make(&self, lock: &Lock, downloads: &Downloads, step: &Step<'_>) -> Result<(), Failure> {
        let parent = self.root.parent().expect("the root lies in the cache");
        let fresh = Making::start(parent)?;
        let root = fresh.path();
        let mut packages: Vec<&Package> = lock.packages(Purpose::Sdk).collect();
        step.total_bytes(packages.iter().map(|p| p.size).sum());
        // base-files holds the links /bin → usr/bin that other packages' paths rely on.
        packages.sort_by_key(|p| (p.name != "base-files", std::cmp::Reverse(p.size)));
        let (first, rest) = packages
            .split_first()
            .ok_or_else(|| Failure::new("roost.lock lists no SDK packages"))?;
        unpack(&downloads.verify(first)?, root, LEFT_OUT)?;
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let results: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        while let Some(p) = rest.get(next.fetch_add(1, Ordering::Relaxed)) {
                            unpack(&downloads.verify(p)?, root, LEFT_OUT)?;
                            step.advance(p.size);
                        }
                        Ok(())
                    })
                })
                .collect();
            handles
                .into_iter()
                .map(|h| h.join().expect("unpacking does not panic"))
                .collect()
        });
        results.into_iter().collect::<Result<(), _>>()?;
        for (link, target) in LINKS {
            let path = root.join(link);
            std::os::unix::fs::symlink(target, &path)
                .map_err(|e| disk_failure("link", &path, e))?;
        }
        fresh.finish(&self.root).map(drop)
    }

    /// A sandbox in this root in which nothing of the machine is visible yet.
    pub fn sandbox(&self) -> Sandbox {
        Sandbox {
            root: self.root.clone(),
            binds: Vec::new(),
            environment: Vec::new(),
            network: false,
            folder: None,
        }
    }
}

/// Unpacks one package below `into`, leaving out the folders in `without`.
pub fn unpack(package: &Path, into: &Path, without: &[&str]) -> Result<(), Failure> {
    let failure = |e: std::io::Error| disk_failure("unpack", package, e);
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| {
            Failure::new("cannot run dpkg-deb")
                .because(e)
                .hint("Roost builds on Debian 12 or later")
        })?;
    let mut archive = tar::Archive::new(child.stdout.take().expect("stdout is piped"));
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    for entry in archive.entries().map_err(failure)? {
        let mut entry = entry.map_err(failure)?;
        let path = entry.path().map_err(failure)?.into_owned();
        let clean = path.strip_prefix("./").unwrap_or(&path);
        if clean.as_os_str().is_empty() || without.iter().any(|w| clean.starts_with(w)) {
            continue;
        }
        if !entry.unpack_in(into).map_err(failure)? {
            return Err(Failure::new(format!(
                "{} holds an unsafe path: {}",
                package.display(),
                path.display()
            )));
        }
    }
    let out = child.wait_with_output().map_err(failure)?;
    if out.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("cannot unpack {}", package.display()))
        .because(String::from_utf8_lossy(&out.stderr).trim().to_owned()))
}

/// One run of a program inside the SDK root.
pub struct Sandbox {
    root: PathBuf,
    binds: Vec<(OsString, PathBuf, PathBuf)>,
    environment: Vec<(String, String)>,
    network: bool,
    folder: Option<OsString>,
}

impl Sandbox {
    /// Shows `host` read-only at `inside`.
    pub fn read(mut self, host: &Path, inside: &str) -> Self {
        self.binds
            .push(("--ro-bind".into(), host.to_owned(), inside.into()));
        self
    }

    /// Shows `host` writable at `inside`.
    pub fn write(mut self, host: &Path, inside: &str) -> Self {
        self.binds
            .push(("--bind".into(), host.to_owned(), inside.into()));
        self
    }

    /// Sets an environment variable; nothing of the caller's environment comes in.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Cargo and rustc make static programs for the box, from crates that are there.
    pub fn for_the_box(self) -> Self {
        self.env("CARGO_HOME", "/cargo")
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER",
                "aarch64-linux-gnu-gcc",
            )
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS",
                "-C target-feature=+crt-static",
            )
    }

    /// Runs the program in this folder of the sandbox.
    pub fn inside(mut self, folder: &str) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Leaves the machine's network visible (for the emulator's forwards).
    pub fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// The words that start `program` in here; its own arguments follow.
    pub fn command_line(&self, program: &str) -> Vec<OsString> {
        // The sandbox's own root is empty and in memory, so that anything can be shown at any path.
        let mut words: Vec<OsString> = vec!["bwrap".into()];
        for dir in ["usr", "etc"] {
            words.extend([
                "--ro-bind".into(),
                self.root.join(dir).into(),
                format!("/{dir}").into(),
            ]);
        }
        for dir in ["bin", "lib", "lib64", "sbin"] {
            words.extend([
                "--symlink".into(),
                format!("usr/{dir}").into(),
                format!("/{dir}").into(),
            ]);
        }
        for w in [
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--tmpfs",
            "/tmp",
            "--tmpfs",
            "/cargo",
            "--unshare-pid",
            "--unshare-ipc",
        ] {
            words.push(w.into());
        }
        for w in [
            "--die-with-parent",
            "--clearenv",
            "--setenv",
            "PATH",
            "/usr/sbin:/usr/bin",
            "--setenv",
            "HOME",
            "/tmp",
        ] {
            words.push(w.into());
        }
        for w in ["--setenv", "LC_ALL", "C.UTF-8", "--setenv", "TZ", "UTC"] {
            words.push(w.into());
        }
        if !self.network {
            words.push("--unshare-net".into());
        }
        for (how, host, inside) in &self.binds {
            words.extend([how.clone(), host.into(), inside.into()]);
        }
        for (name, value) in &self.environment {
            words.extend(["--setenv".into(), name.into(), value.into()]);
        }
        if let Some(folder) = &self.folder {
            words.extend(["--chdir".into(), folder.clone()]);
        }
        words.push(program.into());
        words
    }

    /// The command that runs `program` in here.
    pub fn command(&self, program: &str) -> Command {
        let words = self.command_line(program);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    /// Runs `program` to its end and gives its output; failure carries its last words.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Result<Output, Failure> {
        let out = self
            .command(program)
            .args(arguments)
            .output()
            .map_err(no_bwrap)?;
        if out.status.success() {
            return Ok(out);
        }
        let words = String::from_utf8_lossy(&out.stderr);
        Err(explain(program, &out.status.to_string(), words.trim()))
    }
}

/// Error for a bubblewrap that does not start.
pub fn no_bwrap(error: std::io::Error) -> Failure {
    Failure::new("cannot run bubblewrap")
        .because(error)
        .hint("install it:  apt-get install bubblewrap")
}

/// What bubblewrap complains about where it may not make namespaces
/// (versions 0.8 to 0.11; the last comes from a kernel with AppArmor's restriction).
const NO_NAMESPACES: &[&str] = &[
    "new namespace",
    "uid map",
    "gid map",
    "loopback",
    "Can't mount proc",
];

/// Says at once, before anything is fetched, if nothing can be built here.
pub fn check_machine() -> Result<(), Failure> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(Failure::new("this machine cannot build an image")
            .because(format!(
                "the tools of the SDK root are for x86-64, this is {}",
                std::env::consts::ARCH
            ))
            .hint("build on an x86-64 machine; the image runs on the Pi"));
    }
    let out = Command::new("bwrap")
        .args(
            "--ro-bind / / --dev /dev --proc /proc --unshare-pid --unshare-ipc --unshare-net true"
                .split(' '),
        )
        .stdin(Stdio::null())
        .output()
        .map_err(no_bwrap)?;
    if out.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&out.stderr);
    Err(explain("a trial", &out.status.to_string(), words.trim()))
}

/// Error of a program in the sandbox.
pub fn explain(program: &str, status: &str, words: &str) -> Failure {
    let failure = Failure::new(format!("{program} failed in the SDK root ({status})"))
        .because(words.to_owned());
    if words.starts_with("bwrap:") && NO_NAMESPACES.iter().any(|w| words.contains(w)) {
        failure.hint(if rustix::process::geteuid().is_root() {
            "this machine lets not even root make namespaces (an unprivileged container?): \
             build on the machine itself"
        } else {
            "this kernel does not let ordinary users make namespaces: run as root, or allow it:  \
             sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 \
             kernel.apparmor_restrict_unprivileged_userns=0"
        })
    } else if words.contains("No space left") {
        failure.hint("free some space and run the same command again; finished steps are kept")
    } else {
        failure
    }
}

/// The Debian mirror that the file names, else the machine's own.
pub fn mirror(config: Option<&Path>) -> Result<String, Failure> {
    match config {
        Some(path) => mirror_of(&Config::load(path)?),
        None => crate::debian::host_mirror(),
    }
}

/// The Debian mirror that `config` names, else the machine's own.
pub fn mirror_of(config: &Config) -> Result<String, Failure> {
    match &config.mirror {
        Some(mirror) => Ok(mirror.trim_end_matches('/').to_owned()),
        None => crate::debian::host_mirror(),
    }
}

/// Fetches what is missing of the locked packages; `mirror` is asked for only then.
pub fn fetch(
    lock: &Lock,
    downloads: &Downloads,
    purpose: &[Purpose],
    mirror: impl FnOnce() -> Result<String, Failure>,
    offline: bool,
    ui: &Ui,
) -> Result<(), Failure> {
    let wanted = lock.package.iter().filter(|p| purpose.contains(&p.purpose));
    let missing = downloads.missing(wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let bytes: u64 = missing.iter().map(|p| p.size).sum();
    if offline {
        return Err(Failure::offline(format!(
            "{} Debian packages ({}) are not here yet",
            missing.len(),
            size(bytes)
        )));
    }
    let step = ui.step("fetch Debian packages");
    downloads.fetch(&mirror()?, &missing, &step)?;
    step.done(format!("{} packages, {}", missing.len(), size(bytes)));
    Ok(())
}

/// The SDK root that `lock` describes, made if it is missing.
pub fn ensure(
    lock: &Lock,
    workspace: &Workspace,
    mirror: impl FnOnce() -> Result<String, Failure>,
    offline: bool,
    ui: &Ui,
) -> Result<Sdk, Failure> {
    let sdk = locate(lock, &workspace.cache);
    if !sdk.exists() {
        check_machine()?;
        let downloads = Downloads::new(&workspace.cache);
        fetch(lock, &downloads, &[Purpose::Sdk], mirror, offline, ui)?;
        let step = ui.step("make the SDK root");
        sdk.make(lock, &downloads, &step)?;
        step.done(sdk.root.display().to_string());
    }
    Ok(sdk)
}

/// `roost sdk`.
pub fn run(args: &SdkArgs, ui: &Ui) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    let lock = Lock::load(&workspace.lock())?;
    match &args.command {
        SdkCommand::Make(make) => {
            let config = make.config.as_deref();
            let sdk = ensure(&lock, &workspace, || mirror(config), make.offline, ui)?;
            show(&sdk, &lock, ui)
        }
        SdkCommand::Run(run) => {
            let sdk = ensure(&lock, &workspace, || mirror(None), false, ui)?;
            run_command(&sdk, &run.command)
        }
        SdkCommand::Show => show(&locate(&lock, &workspace.cache), &lock, ui),
        SdkCommand::Remove => remove(&workspace, ui),
    }
}

/// Runs the command where the caller is, and ends as it ends.
fn run_command(sdk: &Sdk, words: &[OsString]) -> Result<(), Failure> {
    let here = std::env::current_dir()
        .map_err(|e| Failure::new("cannot tell the current folder").because(e))?;
    let [program, arguments @ ..] = words else {
        return Err(Failure::new("there is no command to run"));
    };
    let mut sandbox = sdk.sandbox().for_the_box().write(&here, "/work");
    let registry = cargo_home()?.join("registry");
    if registry.is_dir() {
        sandbox = sandbox.read(&registry, "/cargo/registry");
    }
    let status = sandbox
        .inside("/work")
        .command(&program.to_string_lossy())
        .args(arguments)
        .stdin(Stdio::inherit())
        .status()
        .map_err(no_bwrap)?;
    // 128 and the signal's number, as a shell says it.
    let code = (status.code())
        .or_else(|| std::os::unix::process::ExitStatusExt::signal(&status).map(|s| 128 + s));
    match code {
        Some(0) => Ok(()),
        code => std::process::exit(code.unwrap_or(1)),
    }
}

fn show(sdk: &Sdk, lock: &Lock, ui: &Ui) -> Result<(), Failure> {
    let packages = lock.packages(Purpose::Sdk).count();
    let bytes = if sdk.exists() {
        disk_usage(&sdk.root)?
    } else {
        0
    };
    let state = if sdk.exists() {
        size(bytes)
    } else {
        "not made yet; `roost sdk make` makes it".to_owned()
    };
    let tool = |name: &str| {
        lock.packages(Purpose::Sdk)
            .find(|p| p.name == name)
            .map_or_else(|| "none".to_owned(), |p| p.version.clone())
    };
    let text = format!(
        "SDK root  {}\nsize      {state}\npackages  {packages}, pinned by roost.lock\nRust      {}\nGCC       {}\nQEMU      {}\n",
        sdk.root.display(),
        tool("rustc"),
        tool("gcc-aarch64-linux-gnu"),
        tool("qemu-system-arm"),
    );
    let value = serde_json::json!({
        "path": sdk.root, "exists": sdk.exists(), "bytes": bytes, "packages": packages, "key": sdk.key.full(),
        "rust": tool("rustc"), "gcc": tool("gcc-aarch64-linux-gnu"), "qemu": tool("qemu-system-arm"),
    });
    ui.result(text, &value);
    Ok(())
}

fn disk_usage(root: &Path) -> Result<u64, Failure> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for file in crate::store::files_below(root)? {
        bytes += file
            .symlink_metadata()
            .map_err(|e| disk_failure("read", &file, e))?
            .blocks()
            * 512;
    }
    Ok(bytes)
}

fn remove(workspace: &Workspace, ui: &Ui) -> Result<(), Failure> {
    let step = ui.step("remove SDK roots");
    let path = workspace.cache.join("sdk");
    let removed = path.exists();
    if removed {
        std::fs::remove_dir_all(&path).map_err(|e| disk_failure("remove", &path, e))?;
    }
    let text = if removed {
        format!("removed {}", path.display())
    } else {
        "there was none".to_owned()
    };
    step.done("");
    ui.result(text, &serde_json::json!({ "removed": removed }));
    Ok(())
}
