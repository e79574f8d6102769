//! `roost build`: from `roost.toml` to an image, step by step.

use crate::cli::BuildArgs;
use crate::compile::{self, PROGRAMS, Place, Program, Running};
use crate::config::Config;
use crate::disk;
use crate::error::Failure;
use crate::extras;
use crate::fetch::Downloads;
use crate::initramfs;
use crate::kernel;
use crate::lock::{Lock, Purpose};
use crate::modules::Boards;
use crate::release::{self, Release};
use crate::report::{self, Report, StepTime};
use crate::rights::{self, Rights};
use crate::rootfs::{Tree, Verity};
use crate::sbom;
use crate::sdk::{self, Sdk};
use crate::seccomp::{self, Lists};
use crate::services;
use crate::store::{Key, KeyBuilder, Output, Store, disk_failure, sha256_file};
use crate::tryboot;
use crate::ui::{Mode, Step, Ui, size};
use crate::workspace::Workspace;
use roost_service::settings::{self, Settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// `roost build`.
pub fn run(args: &BuildArgs, ui: &Ui) -> Result<(), Failure> {
    let began = Instant::now();
    let report = image(args, Config::load(&args.config)?, ui)?;
    ui.result(report.render(began.elapsed()), &report);
    Ok(())
}

/// Makes the image on the way to something else, whose result is not this one: people see the table
/// among the progress, scripts get it as the event `built`.
pub fn on_the_way(args: &BuildArgs, ui: &Ui) -> Result<(), Failure> {
    let began = Instant::now();
    let report = image(args, Config::load(&args.config)?, ui)?;
    let mut event = serde_json::to_value(&report).expect("a report is plain data");
    event["event"] = BUILT.into();
    match ui.mode() {
        Mode::Json => ui.event_line(&event),
        _ => ui.info(report.render(began.elapsed())),
    }
    Ok(())
}

/// Whether `config` was changed since this image was made, or was seen to be what it describes.
pub fn is_stale(image: &Path, config: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    let stamp = image.with_file_name(STAMP);
    match (time(config), time(image).max(time(&stamp))) {
        (Some(changed), Some(made)) => changed > made,
        _ => false,
    }
}

/// Makes the image, or finds that the last one is what would be made.
pub fn image(args: &BuildArgs, config: Config, ui: &Ui) -> Result<Report, Failure> {
    if config.update.keys.is_empty() {
        ui.info("roost.toml has no keys in [update]: this box will take no updates");
    }
    let build = Build::new(args, config, ui)?;
    match build.unchanged()? {
        Some(report) => {
            build.seen();
            Ok(report)
        }
        None => build.make(),
    }
}

/// Everything that a build is made from, and what it did so far.
struct Build<'a> {
    args: &'a BuildArgs,
    ui: &'a Ui,
    config: Config,
    workspace: Workspace,
    lock: Lock,
    sdk: Sdk,
    downloads: Downloads,
    store: Store,
    boards: Boards,
    /// What the build before was.
    before: Option<Release>,
    /// MBR id of the box's disk: the same in every build, so that an updated slot finds the disk that was flashed once.
    disk_id: u32,
    /// Hash of everything outside of this program that decides the image's bytes.
    key: Key,
    /// The same and this program's own code: while it stays, nothing needs to be looked at again.
    stamp: Key,
    programs: Vec<(&'static Program, Key)>,
    /// What each service may do.
    rights: Vec<Rights>,
    /// The filters of the services' system calls, by path in the image.
    filters: BTreeMap<String, Vec<u8>>,
    /// Key of our own kernel module.
    tryboot: Key,
    steps: Mutex<Vec<StepTime>>,
}

/// Bytes that finished steps may take in the cache; a whole build's take half a gigabyte.
const ROOM: u64 = 8 << 30;
/// Steps that were used in this time stay while other builds run: one that began then may still read them.
const IDLE: Duration = Duration::from_secs(3 * 3600);

/// The event by which scripts hear of an image that was made on the way.
pub const BUILT: &str = "built";

/// What the build left of itself beside the image, to know it again.
const STAMP: &str = "roost.build.json";

/// A hash that stays the same for all builds with one domain and name.
fn hash_for_box(settings: &Settings, purpose: &str) -> Key {
    KeyBuilder::new("identity", 1)
        .text(purpose)
        .text(
            settings
                .mailbox
                .as_ref()
                .map_or("", |mailbox| &mailbox.domain),
        )
        .text(&settings.name)
        .finish()
}

/// MBR id of a box's first cards.
fn disk_id(settings: &Settings) -> u32 {
    let key = hash_for_box(settings, "disk");
    u32::from_str_radix(&key.full()[..8], 16)
        .expect("a key is hex")
        .max(1)
}

impl<'a> Build<'a> {
    fn new(args: &'a BuildArgs, config: Config, ui: &'a Ui) -> Result<Self, Failure> {
        let workspace = Workspace::find()?;
        let lock = Lock::load(&workspace.lock())?;
        let sdk = sdk::locate(&lock, &workspace.cache);
        let boards = Boards::load(&workspace.source)?;
        let mut programs = Vec::new();
        for program in PROGRAMS {
            let key = match config.component(program.name) {
                Some(o) => KeyBuilder::new("override", 1).text(&o.sha256).finish(),
                None => compile::key(program, &workspace.source, &sdk)?,
            };
            programs.push((program, key));
        }
        let tryboot = tryboot::key(&workspace.source, &lock, &sdk)?;
        let exe = std::env::current_exe()
            .map_err(|e| Failure::new("cannot find the roost program").because(e))?;
        let before = Release::load(&args.config)?;
        let known = before.as_ref().and_then(|before| before.disk_id);
        let disk_id = known.unwrap_or_else(|| disk_id(&config.settings()));
        let specs = services::specs(&workspace)?;
        let lists = Lists::load(&workspace, &specs)?;
        let rights = rights::of(&specs, &lists);
        let mode = if args.record_syscalls {
            seccomp::Mode::Record
        } else {
            seccomp::Mode::Enforce
        };
        let filters = lists.programs(mode)?;
        let mut key = KeyBuilder::new("build", 2)
            .text(&format!("{disk_id:08x}"))
            .text(&lock.render())
            .text(&config.settings_json())
            .text(&boards.fingerprint())
            .text(&services::json(&specs))
            .tree(&workspace.source.join("services/mail/share"))?
            .key(&tryboot);
        for (path, filter) in &filters {
            key = key.text(path).bytes(filter);
        }
        for (_, k) in &programs {
            key = key.key(k);
        }
        let key = key.finish();
        let stamp = KeyBuilder::new("stamp", 1)
            .key(&key)
            .text(&sha256_file(&exe)?)
            .finish();
        Ok(Self {
            args,
            ui,
            before,
            disk_id,
            config,
            downloads: Downloads::new(&workspace.cache),
            store: Store::new(&workspace.cache),
            workspace,
            lock,
            sdk,
            boards,
            key,
            stamp,
            programs,
            rights,
            filters,
            tryboot,
            steps: Mutex::default(),
        })
    }

    fn output(&self, name: &str) -> PathBuf {
        self.args.output.join(name)
    }

    /// The report of the last build, if nothing has changed since and its image is still as it was.
    fn unchanged(&self) -> Result<Option<Report>, Failure> {
        let Ok(text) = std::fs::read_to_string(self.output(STAMP)) else {
            return Ok(None);
        };
        let Ok(mut report) = serde_json::from_str::<Report>(&text) else {
            return Ok(None);
        };
        let same = report.key == self.stamp.full() && report.marks == self.marks();
        let numbered = self.before.as_ref().is_some_and(|before| {
            (before.number, &before.key) == (report.number, &report.release_key)
                && self
                    .args
                    .release
                    .is_none_or(|wanted| wanted == report.number)
        });
        if !same || !numbered {
            return Ok(None);
        }
        // The folder may have another name from here.
        report.image = self.output(report::IMAGE);
        report.compressed = self.output(report::COMPRESSED);
        report.sbom = self.output(report::SBOM);
        for step in &mut report.steps {
            step.cached = true;
            step.seconds = 0.0;
        }
        Ok(Some(report))
    }

    /// Notes that the image is what the configuration says, whatever was changed in that: see [`is_stale`].
    fn seen(&self) {
        let now = std::fs::FileTimes::new().set_modified(std::time::SystemTime::now());
        let stamp = std::fs::File::options()
            .write(true)
            .open(self.output(STAMP));
        // Without it there is a warning that is not needed.
        let _ = stamp.and_then(|stamp| stamp.set_times(now));
    }

    /// Marks by which the three finished files are known again.
    fn marks(&self) -> Vec<Option<String>> {
        [report::IMAGE, report::COMPRESSED, report::SBOM]
            .map(|name| report::mark(&self.output(name)).ok())
            .into()
    }

    fn note(&self, step: StepTime) {
        self.steps.lock().expect("no step panics").push(step);
    }

    /// Runs one step through the store, showing it and noting its time.
    fn step(
        &self,
        title: &str,
        name: &str,
        key: &Key,
        make: impl FnOnce(&Path, &Step<'_>) -> Result<(), Failure>,
    ) -> Result<PathBuf, Failure> {
        let began = Instant::now();
        let step = self.ui.step(title);
        let Output { dir, cached } = self.store.get(name, key, |dir| make(dir, &step))?;
        if cached {
            step.cached("")
        } else {
            step.done("")
        }
        self.note(StepTime {
            name: title.into(),
            seconds: began.elapsed().as_secs_f64(),
            cached,
        });
        Ok(dir)
    }

    /// Runs a step whose result is not kept in the store.
    fn timed<T>(
        &self,
        title: &str,
        cached: bool,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let result = work()?;
        self.note(StepTime {
            name: title.into(),
            seconds: began.elapsed().as_secs_f64(),
            cached,
        });
        Ok(result)
    }

    fn make(&self) -> Result<Report, Failure> {
        sdk::check_machine()?;
        std::fs::create_dir_all(&self.args.output)
            .map_err(|e| disk_failure("create", &self.args.output, e))?;
        let mirror = || sdk::mirror_of(&self.config);
        let offline = self.args.offline;
        let needed = [Purpose::Image, Purpose::Module];
        let missing = needed
            .iter()
            .flat_map(|purpose| self.downloads.missing(self.lock.packages(*purpose)))
            .count();
        self.timed("fetch Debian packages", missing == 0, || {
            sdk::fetch(
                &self.lock,
                &self.downloads,
                &needed,
                mirror,
                offline,
                self.ui,
            )
        })?;
        self.timed("SDK root", self.sdk.exists(), || {
            sdk::ensure(&self.lock, &self.workspace, mirror, offline, self.ui).map(drop)
        })?;
        self.timed("fetch Rust crates", false, || {
            let step = self.ui.step("fetch Rust crates");
            compile::fetch_crates(&self.workspace, offline)?;
            step.done("");
            Ok(())
        })?;
        let programs = self.programs()?;
        let program = |name: &str| {
            programs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, p)| p.as_path())
                .expect("built above")
        };

        let tryboot = self.step("compile tryboot", "tryboot", &self.tryboot, |dir, _| {
            let source = &self.workspace.source;
            tryboot::compile(source, &self.lock, &self.downloads, &self.sdk, dir)
        })?;
        let kernel_key = KeyBuilder::new("kernel", 2)
            .key(&self.sdk.key)
            .key(&self.tryboot)
            .text(&self.image_packages("linux-"))
            .text(&self.boards.fingerprint())
            .finish();
        let kernel = self.step("unpack the kernel", "kernel", &kernel_key, |dir, _| {
            kernel::prepare(
                &self.lock,
                &self.downloads,
                &self.sdk,
                &self.boards,
                &tryboot.join(tryboot::FILE),
                dir,
            )
        })?;
        let extras_key = KeyBuilder::new("extras", 1)
            .text(&self.image_packages("e2fsck"))
            .text(&self.image_packages("ca-cert"))
            .text(&self.image_packages("raspi"))
            .finish();
        let extras = self.step(
            "unpack firmware and tools",
            "extras",
            &extras_key,
            |dir, _| extras::unpack(&self.lock, &self.downloads, dir),
        )?;

        let initrd_key = KeyBuilder::new("initramfs", 2)
            .key(&kernel_key)
            .file(program("stage1"))?
            .finish();
        let initrd = self.step("make the initramfs", "initramfs", &initrd_key, |dir, _| {
            initramfs::make(&kernel, program("stage1"), dir)
        })?;

        let mut tree = self.tree(&program, &extras, &kernel)?;
        let identity = hash_for_box(&self.config.settings(), "root");
        let disk_id = self.disk_id;
        // All but the number decides whether the number grows.
        let unnumbered = tree
            .fingerprint(KeyBuilder::new("root", 3).key(&self.sdk.key).key(&identity))?
            .finish();
        let slot_key = |root: &Key| {
            KeyBuilder::new("slot", 3)
                .text(&disk::inputs(disk_id))
                .key(root)
                .key(&initrd_key)
                .key(&kernel_key)
                .key(&extras_key)
                .text(&self.boards.fingerprint())
                .finish()
        };
        let release_key = slot_key(&unnumbered);
        let number = release::number(self.before.as_ref(), release_key.full(), self.args.release);
        let release = serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "number": number,
            "settings_format": settings::FORMAT,
            "build": self.key.short(),
        });
        tree.bytes("settings", "etc/roost/release.json", release.to_string());
        let root_key = KeyBuilder::new("root, numbered", 1)
            .key(&unnumbered)
            .text(&release.to_string())
            .finish();
        let root = self.step("make the root file system", "root", &root_key, |dir, _| {
            let verity = tree.build(&self.sdk, identity.full(), dir)?;
            let path = dir.join("verity.json");
            std::fs::write(&path, serde_json::to_string(&verity).expect("plain data"))
                .map_err(|e| disk_failure("write", &path, e))
        })?;
        let verity = Verity::load(&root)?;

        let slot_key = slot_key(&root_key);
        let parts = self.slot_parts(&root, &initrd, &kernel, &extras)?;
        let slot = self.step("make the slot", "slot", &slot_key, |dir, _| {
            let gathered = disk::gather(&parts, dir)?;
            let names: Vec<String> = parts.iter().map(|(name, _)| name.clone()).collect();
            disk::slot(&self.sdk, gathered.path(), &names, disk_id, &verity, dir)
        })?;
        let selector_key = KeyBuilder::new("selector", 2)
            .key(&self.sdk.key)
            .key(&extras_key)
            .text(&disk::inputs(disk_id))
            .finish();
        let selector = self.step("make the selector", "selector", &selector_key, |dir, _| {
            disk::selector(
                &self.sdk,
                &extras.join("firmware/bootcode.bin"),
                dir,
                disk_id,
            )
        })?;
        let data_seed = hash_for_box(&self.config.settings(), "data");
        let data_key = KeyBuilder::new("data", 4)
            .key(&self.sdk.key)
            .key(&data_seed)
            .bytes(&roost_service::card::placeholder())
            .text(&disk::inputs(disk_id))
            .finish();
        let data = self.step("make the data file system", "data", &data_key, |dir, _| {
            disk::data(&self.sdk, &crate::rootfs::uuid(data_seed.full()), dir)
        })?;

        let slot_image = slot.join(disk::SLOT_IMAGE);
        let image = self.output(report::IMAGE);
        let sha256 = self.timed("write the image", false, || {
            let step = self.ui.step("write the image");
            disk::assemble(
                &selector.join(disk::SELECTOR_IMAGE),
                &slot_image,
                &data.join(disk::DATA_IMAGE),
                disk_id,
                &image,
            )?;
            let sha256 = sha256_file(&image)?;
            step.done(image.display().to_string());
            Ok(sha256)
        })?;
        let compressed = self.timed("compress the image", false, || {
            let step = self.ui.step("compress the image");
            let bytes = report::compress(&image, &self.output(report::COMPRESSED), &step)?;
            step.done(size(bytes));
            Ok(bytes)
        })?;
        let made = report::Made {
            tree: &tree,
            parts: &parts,
            root: &root,
            kernel: &kernel,
            stage1: program("stage1"),
            config: &self.config,
        };
        let cargo_lock = compile::MAIL.cargo_lock(&self.workspace.source);
        let components = report::components(&self.sdk, &self.lock, &cargo_lock, &made)?;
        self.timed("write the bill of materials", false, || {
            sbom::write(
                &self.workspace,
                &self.lock,
                &components,
                hash_for_box(&self.config.settings(), "sbom").full(),
                &self.output(report::SBOM),
            )
        })?;
        let report = Report {
            key: self.stamp.full().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            number,
            release_key: release_key.full().to_owned(),
            image: image.clone(),
            marks: self.marks(),
            image_bytes: image
                .metadata()
                .map_err(|e| disk_failure("read", &image, e))?
                .len(),
            slot_bytes: slot_image
                .metadata()
                .map_err(|e| disk_failure("read", &slot_image, e))?
                .len(),
            compressed: self.output(report::COMPRESSED),
            compressed_bytes: compressed,
            sha256,
            root_hash: verity.root_hash,
            sbom: self.output(report::SBOM),
            components,
            rights: self.rights.clone(),
            steps: std::mem::take(&mut *self.steps.lock().expect("no step panics")),
        };
        let stamp = self.output(STAMP);
        std::fs::write(
            &stamp,
            serde_json::to_string_pretty(&report).expect("plain data"),
        )
        .map_err(|e| disk_failure("write", &stamp, e))?;
        // Last: a build that failed has no number.
        let release = release::record(
            self.before.clone(),
            number,
            &report.release_key,
            self.disk_id,
            slot_key.short(),
        );
        if self.before.as_ref() != Some(&release) {
            release.save(&self.args.config)?;
        }
        match self.store.prune(ROOM, IDLE) {
            Ok(0) => {}
            Ok(freed) => self.ui.info(format!(
                "removed {} of earlier builds' results",
                size(freed)
            )),
            // The image is made all the same.
            Err(failure) => self.ui.warn(failure.in_a_line()),
        }
        Ok(report)
    }

    /// The programs of ours, each compiled, taken from the store, or given by the owner.
    ///
    /// Most of the mail server is one crate, which keeps one processor busy for long:
    /// the others are compiled beside it.
    fn programs(&self) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
        let (mail, others): (Vec<_>, Vec<_>) = self
            .programs
            .iter()
            .partition(|(program, _)| program.name == compile::MAIL.name);
        let running = Running::default();
        let all = |programs: Vec<&(&'static Program, Key)>| {
            programs
                .into_iter()
                .map(|(program, key)| self.program(program, key, &running))
                .collect::<Result<Vec<_>, Failure>>()
        };
        std::thread::scope(|scope| {
            let mail = scope.spawn(|| all(mail));
            let others = all(others).inspect_err(|_| running.stop());
            let mail = mail.join().expect("a build step does not panic");
            // In this order: if the others failed, mail was stopped for that.
            let mut built = others?;
            built.extend(mail?);
            Ok(built)
        })
    }

    fn program(
        &self,
        program: &'static Program,
        key: &Key,
        running: &Running,
    ) -> Result<(&'static str, PathBuf), Failure> {
        if let Some(given) = self.config.component(program.name) {
            let got = sha256_file(&given.path)?;
            if got != given.sha256 {
                return Err(Failure::new(format!(
                    "[components.{}]: {} is not the file that was named",
                    program.name,
                    given.path.display()
                ))
                .because(format!(
                    "its sha256 is {got}, roost.toml says {}",
                    given.sha256
                ))
                .hint("correct sha256 in roost.toml if the new file is the one you want"));
            }
            return Ok((program.name, given.path.clone()));
        }
        let title = format!("compile {}", program.name);
        let dir = self.step(&title, "compile", key, |dir, step| {
            let log = self.log(&format!("compile-{}", program.name))?;
            let place = Place {
                workspace: &self.workspace,
                sdk: &self.sdk,
                running,
            };
            compile::compile(program, key, &place, dir, &log, step)
        })?;
        Ok((program.name, dir.join(program.name)))
    }

    fn log(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.workspace.cache.join("logs");
        std::fs::create_dir_all(&dir).map_err(|e| disk_failure("create", &dir, e))?;
        Ok(dir.join(format!("{name}.log")))
    }

    /// Hashes of the image packages whose name starts with `prefix`.
    fn image_packages(&self, prefix: &str) -> String {
        let of = self
            .lock
            .packages(Purpose::Image)
            .filter(|p| p.name.starts_with(prefix));
        of.map(|p| p.sha256.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// Everything in the root file system but the release's number.
    fn tree<'p>(
        &self,
        program: &impl Fn(&str) -> &'p Path,
        extras: &Path,
        kernel: &Path,
    ) -> Result<Tree, Failure> {
        let mut tree = Tree::default();
        tree.program("init", "bin/init", program("init"));
        tree.program("mail", "bin/mail", program("mail"));
        tree.program("updater", "bin/updater", program("updater"));
        tree.program("portal", "bin/portal", program("portal"));
        tree.program("tunnel", "bin/tunnel", program("tunnel"));
        tree.program("dns", "bin/dns", program("dns"));
        tree.program("certificates", "bin/certificates", program("certificates"));
        tree.program("resolver", "bin/resolver", program("resolver"));
        tree.program("backup", "bin/backup", program("backup"));
        tree.program("e2fsck", "bin/e2fsck", &extras.join("e2fsck"));
        tree.bytes(
            "settings",
            "etc/roost/settings.json",
            self.config.settings_json(),
        );
        tree.bytes(
            "settings",
            "etc/roost/services.json",
            services::json(&services::specs(&self.workspace)?),
        );
        for (path, filter) in &self.filters {
            tree.bytes("settings", path, filter.clone());
        }
        let name = self.config.settings().name;
        tree.bytes(
            "settings",
            "etc/hosts",
            format!("127.0.0.1 localhost {name}\n::1 localhost {name}\n"),
        );
        tree.bytes("settings", "etc/resolv.conf", resolv_conf());
        tree.file(
            "ca-certificates",
            "etc/ssl/certs/ca-certificates.crt",
            &extras.join("ca-certificates.crt"),
        );
        for (board, names) in kernel::load_order(&kernel.join(kernel::USB_DISKS_ORDER))? {
            let list = names.join("\n") + "\n";
            tree.bytes(report::MODULES, &format!("lib/modules/{board}.list"), list);
        }
        for path in crate::store::files_below(&kernel.join(kernel::USB_DISKS))? {
            let name = path
                .file_name()
                .expect("a file has a name")
                .to_string_lossy();
            tree.file(report::MODULES, &format!("lib/modules/{name}"), &path);
        }
        let share = self.workspace.source.join("services/mail/share");
        for path in crate::store::files_below(&share)? {
            let name = path.strip_prefix(&share).unwrap_or(&path).to_string_lossy();
            tree.file("mail", &format!("share/mail/{name}"), &path);
        }
        for mount_point in ["data", "dev", "proc", "run", "sys", "tmp"] {
            tree.folder(mount_point);
        }
        Ok(tree)
    }

    /// Every file of the slot but `cmdline.txt`: its name there and where it is now. What changes
    /// often comes last, so that little else moves with it.
    fn slot_parts(
        &self,
        root: &Path,
        initrd: &Path,
        kernel: &Path,
        extras: &Path,
    ) -> Result<Vec<(String, PathBuf)>, Failure> {
        let mut parts = vec![(
            "config.txt".to_owned(),
            self.workspace.source.join("board/rpi/config.txt"),
        )];
        for dtb in self.boards.device_trees() {
            parts.push((dtb.clone(), kernel.join(&dtb)));
        }
        for name in self.boards.firmware() {
            parts.push((name.clone(), extras.join("firmware").join(&name)));
        }
        for (name, dir) in [
            (disk::KERNEL, kernel),
            (disk::INITRAMFS, initrd),
            (disk::ROOT, root),
        ] {
            parts.push((name.to_owned(), dir.join(name)));
        }
        for (name, path) in &parts {
            if !path.is_file() {
                return Err(Failure::new(format!(
                    "{name}, which the slot needs, is in no package"
                ))
                .hint("correct the lists under board/"));
            }
        }
        Ok(parts)
    }
}

/// The box's programs ask its own resolver, and may believe what it says of signatures (`trust-ad`). The
/// network's resolvers are in `/run/network/resolv.conf`, which init writes.
fn resolv_conf() -> String {
    let own = roost_service::resolver::ADDRESS;
    format!("nameserver {own}\noptions edns0 trust-ad\n")
}
