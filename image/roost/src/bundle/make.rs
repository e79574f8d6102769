//! `roost bundle make`.

use super::base::{self, Base};
use super::part::Part;
use crate::build;
use crate::cli::MakeArgs;
use crate::config::Config;
use crate::error::Failure;
use crate::keys;
use crate::modules::Boards;
use crate::release::{self, Release};
use crate::report::{Report, mark};
use crate::services;
use crate::store::{Key, KeyBuilder, Store, disk_failure};
use crate::ui::table::{Align, Table};
use crate::ui::{Ui, seconds, size};
use crate::workspace::Workspace;
use roost_board::layout::{Layout, Slot};
use roost_bundle::{ActiveSlot, BuildError, Builder, Component, Hash, PublicKey, SigningKey, plan};
use roost_service::settings;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::BufWriter;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The bundle, in the output folder.
pub const BUNDLE: &str = "roost.bundle";
/// What it was made of, beside it.
const STAMP: &str = "roost.bundle.json";

/// A bundle that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// Hash of all that it was made from.
    key: String,
    /// Size and time of the file, to notice that somebody touched it.
    mark: Option<String>,
    /// The file.
    pub bundle: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// Number of the release in it.
    pub number: u64,
    /// The same for people.
    pub name: String,
    /// The keys that signed it.
    pub signed_by: Vec<String>,
    /// Rows of the chunk table.
    pub chunks: usize,
    /// Rows of the delta table.
    pub deltas: usize,
    /// Bytes that a box fetches that has nothing of it.
    pub send: u64,
    /// Bytes that boxes fetch that run one of the bases.
    pub from: Vec<From>,
    /// Whether it was there already.
    pub cached: bool,
}

/// What the update costs a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct From {
    /// What the box runs.
    pub base: String,
    /// Bytes that it fetches, head included.
    pub send: u64,
}

/// `roost bundle make`.
pub fn run(args: &MakeArgs, ui: &Ui) -> Result<(), Failure> {
    let began = Instant::now();
    let made = make(args, ui)?;
    ui.result(made.render(began.elapsed()), &made);
    Ok(())
}

impl Made {
    fn render(&self, took: Duration) -> String {
        let mut table = Table::new([("a box that runs", Align::Left), ("fetches", Align::Right)]);
        for from in &self.from {
            table.row([from.base.clone(), size(from.send)]);
        }
        table.row(["anything else".to_owned(), size(self.send)]);
        let mut text = table.render() + "\n";
        let mut line = |name: &str, value: &str| text += &format!("  {name:<12}{value}\n");
        line(
            "bundle",
            &format!("{} ({})", self.bundle.display(), size(self.bytes)),
        );
        line("release", &self.name);
        for key in &self.signed_by {
            line("signed by", key);
        }
        line("took", &seconds(took));
        text
    }
}

/// What goes into a bundle.
struct Contents {
    number: u64,
    root_hash: Hash,
    slot: Part,
    components: Vec<Component>,
    /// Stands for the bytes of the slot, if they come from a build.
    mark: Option<String>,
}

/// Builds what has changed and makes the bundle, or finds that it is there already.
pub fn make(args: &MakeArgs, ui: &Ui) -> Result<Made, Failure> {
    let config = Config::load(&args.build.config)?;
    let (key, new_key) = signers(args, &config, ui)?;
    let workspace = Workspace::find()?;
    let boards = match &args.board[..] {
        [] => Boards::load(&workspace.source)?
            .modules()
            .into_keys()
            .collect(),
        given => given.iter().cloned().collect::<BTreeSet<_>>(),
    };
    let output = &args.build.output;
    let contents = match &args.slot {
        Some(slot) => {
            std::fs::create_dir_all(output).map_err(|e| disk_failure("create", output, e))?;
            given_contents(args, slot)?
        }
        None => built_contents(&build::image(&args.build, config, ui)?)?,
    };
    let mut bases = Vec::new();
    for path in &args.base {
        bases.push(base::given(path, output)?);
    }
    if args.slot.is_none()
        && let Some(release) = Release::load(&args.build.config)?
    {
        let store = Store::new(&workspace.cache);
        bases.extend(base::recent(&release, &args.from, &store, ui)?);
    }

    let signed_by: Vec<PublicKey> = [Some(&key), new_key.as_ref()]
        .into_iter()
        .flatten()
        .map(SigningKey::public)
        .collect();
    let stamp = stamp(args, &contents, &bases, &signed_by);
    if let Some(made) = stamp.as_ref().and_then(|stamp| unchanged(output, stamp)) {
        ui.step("pack the bundle").cached("");
        return Ok(made);
    }

    let release = roost_bundle::Release {
        boards,
        version: contents.number,
        name: release::name(contents.number),
        min_version: 1,
        created: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        reversible: !args.irreversible,
        mail_store: mail_store(&workspace)?,
        settings_format: settings::FORMAT,
        components: contents.components,
        notes: args.notes.clone().unwrap_or_default(),
    };
    let name = release.name.clone();
    let mut builder = Builder::new(release, contents.root_hash, &key);
    if let Some(new_key) = &new_key {
        builder = builder.new_key(new_key);
    }
    if let Some(level) = args.level {
        builder = builder.level(level);
    }
    let summary = pack(builder, contents.slot, &mut bases, output, ui)?;

    let bundle = output.join(BUNDLE);
    let opened = super::open(&bundle, None)?;
    let head = opened.verified.payload_start();
    let mut from = Vec::new();
    for base in bases {
        let mut active = ActiveSlot::read(base.slot)
            .map_err(|e| Failure::new(format!("cannot read {}", base.name)).because(e))?;
        from.push(From {
            send: head + plan(&opened.tables, &mut active).send,
            base: base.name,
        });
    }
    let made = Made {
        key: stamp.as_ref().map_or("", Key::full).to_owned(),
        mark: mark(&bundle).ok(),
        bytes: opened.verified.total_bytes(),
        bundle,
        number: contents.number,
        name,
        signed_by: signed_by.iter().map(PublicKey::to_string).collect(),
        chunks: summary.chunks,
        deltas: summary.deltas,
        send: head + plan(&opened.tables, &mut ()).send,
        from,
        cached: false,
    };
    let path = output.join(STAMP);
    std::fs::write(&path, serde_json::to_string(&made).expect("plain data"))
        .map_err(|e| disk_failure("write", &path, e))?;
    Ok(made)
}

/// Writes the bundle, whole or not at all.
fn pack(
    builder: Builder<'_>,
    mut slot: Part,
    bases: &mut [Base],
    output: &Path,
    ui: &Ui,
) -> Result<roost_bundle::Summary, Failure> {
    let bundle = output.join(BUNDLE);
    let fail = |e| disk_failure("write", &bundle, e);
    let step = ui.step("pack the bundle");
    let mut file = tempfile::Builder::new()
        .prefix(".bundle-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(output)
        .map_err(fail)?;
    let mut images: Vec<Part> = Vec::new();
    for base in bases.iter() {
        images.push(base.slot.again().map_err(fail)?);
    }
    let total = std::sync::Once::new();
    let progress = |done: u64, all: u64| {
        total.call_once(|| step.total_bytes(all));
        step.position(done);
    };
    // What the bundle before has packed already.
    let before = super::open(&bundle, None).ok();
    let packed: HashMap<Hash, (u64, u32)> = before
        .iter()
        .flat_map(|opened| opened.tables.chunks())
        .filter(|chunk| !chunk.is_zero())
        .map(|chunk| (chunk.hash, (chunk.payload, chunk.stored)))
        .collect();
    let known = |hash: &Hash| {
        let (opened, (at, len)) = (before.as_ref()?, packed.get(hash)?);
        let mut stored = vec![0; *len as usize];
        let at = opened.verified.payload_start() + at;
        let file = opened.from.get_ref();
        file.read_exact_at(&mut stored, at).ok().map(|()| stored)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = builder
        .threads(threads)
        .progress(&progress)
        .known(&known)
        .write(
            &mut slot,
            &mut images,
            &mut BufWriter::with_capacity(1 << 20, file.as_file_mut()),
        )
        .map_err(|e| not_made(e, &bundle))?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(&bundle).map_err(|e| fail(e.error))?;
    let bytes = summary.head + summary.plain + summary.delta;
    step.done(format!("{}  {}", bundle.display(), size(bytes)));
    Ok(summary)
}

fn not_made(error: BuildError, bundle: &Path) -> Failure {
    match error {
        BuildError::Io {
            what: "bundle",
            source,
        } => disk_failure("write", bundle, source),
        BuildError::SameKey => Failure::usage("--new-key names the key that signs already")
            .hint("give the file of the key that shall be used from now on"),
        BuildError::Manifest { why } => {
            Failure::usage("the bundle cannot be described").because(why)
        }
        other => Failure::new("cannot make the bundle").because(other),
    }
}

/// The key that signs, and the one that shall be used from now on.
fn signers(
    args: &MakeArgs,
    config: &Config,
    ui: &Ui,
) -> Result<(SigningKey, Option<SigningKey>), Failure> {
    let path = match &args.signing_key {
        Some(path) => path.clone(),
        None => keys::folder(&config.owner())?.join(keys::UPDATE_KEY),
    };
    if !path.exists() {
        return Err(Failure::new("there is no key to sign the bundle with")
            .because(format!("{} does not exist", path.display()))
            .hint("`roost init` makes one; if it is on another computer, copy it from there or name its file with --signing-key"));
    }
    let key = SigningKey::from_seed(&*keys::seed(&path, ui)?);
    let new_key = match &args.new_key {
        Some(path) => Some(SigningKey::from_seed(&*keys::seed(path, ui)?)),
        None => None,
    };
    let trusted = |key: &SigningKey| config.update.keys.contains(&key.public());
    // A slot that was given is somebody's experiment: whatever it is signed with is meant so.
    if args.slot.is_none() && !trusted(&key) && !new_key.as_ref().is_some_and(trusted) {
        return Err(Failure::usage(format!(
            "{} does not trust the key in {}",
            args.build.config.display(),
            path.display()
        ))
        .because(format!(
            "its public half {} is not in `keys` of [update], so the box could take no update after this one",
            key.public()
        ))
        .hint("add it there, or name the right key's file with --signing-key"));
    }
    Ok((key, new_key))
}

/// The slot of the image that was built.
fn built_contents(report: &Report) -> Result<Contents, Failure> {
    let fail = |e| disk_failure("read", &report.image, e);
    let components = report.components.iter().map(|c| Component {
        name: c.name.clone(),
        version: match (&c.version, &c.given) {
            (Some(version), _) => version.clone(),
            (None, Some(hash)) => format!("sha256 {hash}"),
            (None, None) => "unknown".to_owned(),
        },
    });
    Ok(Contents {
        number: report.number,
        root_hash: report
            .root_hash
            .parse()
            .map_err(|e| Failure::new("the build's report is damaged").because(e))?,
        slot: Part::new(
            File::open(&report.image).map_err(fail)?,
            Layout::STANDARD.slot(Slot::A).offset(),
            report.slot_bytes,
        ),
        components: components.collect(),
        mark: Some(report.sha256.clone()),
    })
}

/// Schema of the mail store that the mail service of this checkout has.
fn mail_store(workspace: &Workspace) -> Result<u32, Failure> {
    let specs = services::specs(workspace)?;
    let mail = specs.iter().find(|spec| spec.name == "mail");
    mail.map(|spec| spec.data_format)
        .ok_or_else(|| Failure::new("the checkout has no service named mail"))
}

/// A slot that was not built but given.
fn given_contents(args: &MakeArgs, slot: &Path) -> Result<Contents, Failure> {
    let (Some(number), Some(root_hash)) = (args.build.release, args.root_hash) else {
        return Err(Failure::usage(
            "--slot needs --root-hash and --release: neither can be told from the slot",
        ));
    };
    Ok(Contents {
        number,
        root_hash,
        slot: File::open(slot)
            .and_then(Part::whole)
            .map_err(|e| disk_failure("read", slot, e))?,
        components: Vec::new(),
        mark: None,
    })
}

/// Hash of all that the bundle is made from; `None` of a slot that was given.
fn stamp(
    args: &MakeArgs,
    contents: &Contents,
    bases: &[Base],
    signed_by: &[PublicKey],
) -> Option<Key> {
    let mut key = KeyBuilder::new("bundle", 1)
        .text(contents.mark.as_ref()?)
        .text(&contents.number.to_string())
        .text(&contents.root_hash.to_string())
        .text(args.notes.as_deref().unwrap_or_default())
        .text(if args.irreversible {
            "irreversible"
        } else {
            ""
        })
        .text(&args.board.join(" "))
        .text(
            &args
                .level
                .map(|level| level.to_string())
                .unwrap_or_default(),
        );
    for component in &contents.components {
        key = key.text(&component.name).text(&component.version);
    }
    for base in bases {
        key = key.text("base").text(&base.mark).text(&base.name);
    }
    for signer in signed_by {
        key = key.text("key").text(&signer.to_string());
    }
    Some(key.finish())
}

/// The bundle that is there, if it is what would be made.
fn unchanged(output: &Path, stamp: &Key) -> Option<Made> {
    let text = std::fs::read_to_string(output.join(STAMP)).ok()?;
    let made: Made = serde_json::from_str(&text).ok()?;
    let bundle = output.join(BUNDLE);
    let same = made.key == stamp.full() && made.mark.is_some() && made.mark == mark(&bundle).ok();
    same.then_some(Made {
        bundle,
        cached: true,
        ..made
    })
}
