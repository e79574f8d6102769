//! `roost bundle`: makes update bundles and looks into them.

use crate::build;
use crate::cli::{BundleArgs, BundleCommand, BundleFileArgs, BundleMakeArgs, BundleVerifyArgs};
use crate::config::Config;
use crate::device::folder_of;
use crate::error::Failure;
use crate::keys;
use crate::release::History;
use crate::report::Report;
use crate::store::disk_failure;
use crate::ui::table::{Align, Table};
use crate::ui::{Ui, size};
use crate::workspace::Workspace;
use roost_board::Board;
use roost_board::layout::{Layout, Slot};
use roost_board::mbr::Mbr;
use roost_bundle::{
    BuildError, Builder, Component, Error, Hash, Manifest, PayloadsAt, PublicKey, ReadPayload,
    Release, SigningKey, Summary, Tables, TrustedKeys, Unverified, Verified, decode_chunk,
};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Name of the bundle, beside the image.
pub const FILE: &str = "roost.bundle";
/// The service whose data format the bundle names.
const MAIL: &str = "mail";

/// `roost bundle`.
pub fn run(args: &BundleArgs, ui: &Ui) -> Result<(), Failure> {
    match &args.command {
        BundleCommand::Make(args) => {
            let made = make(args, ui)?;
            ui.result(made.render(), &made);
            Ok(())
        }
        BundleCommand::Inspect(args) => inspect(args, ui),
        BundleCommand::Verify(args) => verify(args, ui),
    }
}

/// A bundle that was made.
#[derive(Debug, Serialize)]
pub struct Made {
    /// The file.
    pub bundle: PathBuf,
    /// The release.
    pub number: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Bytes of tables and manifest, which every update sends.
    pub head_bytes: u64,
    /// Bytes of differences to earlier releases.
    pub delta_bytes: u64,
    /// Earlier releases that it has differences to.
    pub bases: usize,
}

impl Made {
    fn render(&self) -> String {
        let against = match self.bases {
            0 => "none".to_owned(),
            n => format!("{n} earlier releases, {}", size(self.delta_bytes)),
        };
        format!(
            "  bundle       {}\n  release      {}\n  size         {}\n  differences  {against}\n",
            self.bundle.display(),
            self.number,
            size(self.bytes),
        )
    }
}

/// Builds the image if needed, and makes its bundle.
///
/// # Errors
///
/// A [`Failure`] of the build, a missing key, or a slot that cannot be packed.
pub fn make(args: &BundleMakeArgs, ui: &Ui) -> Result<Made, Failure> {
    let config = Config::load(&args.build.config)?;
    // Before the build: it may take long.
    let key = signing_key(&folder_of(&config.domain.to_string())?)?;
    if !config.update.keys.contains(&key.public().to_string()) {
        return Err(Failure::new("no box would take the bundle")
            .because("the update key on this machine is none of those under [update] of roost.toml")
            .hint(format!(
                "add {} to `keys`, or restore the right update.key",
                key.public()
            )));
    }
    let new_key = args.new_key.as_deref().map(signing_key).transpose()?;
    let report = build::image(&args.build, ui)?;
    let release = release(args, &report)?;
    let root_hash = hash(&report.root_hash)?;

    let mut slot = Part::whole(&report.slot)?;
    let mut bases = Vec::new();
    if args.build.release.is_none() {
        for earlier in History::load(&args.build.config)?.earlier(report.number) {
            bases.push(Part::whole(&earlier)?);
        }
    }
    for image in &args.bases {
        bases.push(Part::slot_of(image)?);
    }
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let mut builder = Builder::new(release, root_hash, &key).threads(threads);
    if let Some(new) = &new_key {
        builder = builder.new_key(new);
    }
    let path = args.build.output.join(FILE);
    let fail = |e| disk_failure("write", &path, e);
    let step = ui.step("pack the bundle");
    let mut file = tempfile::NamedTempFile::new_in(&args.build.output).map_err(fail)?;
    let count = bases.len();
    let summary = builder
        .write(&mut slot, &mut bases, &mut file)
        .map_err(|e| failed(&path, e))?;
    file.as_file().sync_all().map_err(fail)?;
    let bytes = file.as_file().metadata().map_err(fail)?.len();
    // A temporary file is its maker's alone, a bundle is for everybody.
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(fail)?;
    file.persist(&path).map_err(|e| fail(e.error))?;
    step.done(size(bytes));
    let Summary { head, delta, .. } = summary;
    Ok(Made {
        bundle: path,
        number: report.number,
        bytes,
        head_bytes: head,
        delta_bytes: delta,
        bases: count,
    })
}

fn signing_key(folder: &Path) -> Result<SigningKey, Failure> {
    Ok(SigningKey::from_seed(&keys::read(folder, &keys::UPDATE)?))
}

fn release(args: &BundleMakeArgs, report: &Report) -> Result<Release, Failure> {
    let specs = build::specs(&Workspace::find()?)?;
    let mail = specs.iter().find(|spec| spec.name == MAIL);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let version = |c: &crate::report::Component| match (&c.version, &c.given) {
        (Some(version), _) => version.clone(),
        (None, Some(hash)) => format!("sha256 {}", &hash[..12]),
        (None, None) => "unknown".to_owned(),
    };
    Ok(Release {
        boards: Board::ALL
            .iter()
            .map(|board| board.name().to_owned())
            .collect(),
        version: report.number,
        name: format!("{}+{}", report.version, report.number),
        min_version: args.min_release,
        created: now.map_or(0, |now| now.as_secs()),
        reversible: !args.irreversible,
        mail_store: mail.map_or(0, |spec| spec.data_format),
        settings_format: build::SETTINGS_FORMAT,
        components: report
            .components
            .iter()
            .map(|c| Component {
                name: c.name.clone(),
                version: version(c),
            })
            .collect(),
        notes: args.notes.clone(),
    })
}

fn hash(text: &str) -> Result<Hash, Failure> {
    serde_json::from_value(serde_json::Value::String(text.to_owned()))
        .map_err(|e| Failure::new("the build's root hash cannot be read").because(e))
}

fn failed(path: &Path, error: BuildError) -> Failure {
    Failure::new(format!("cannot make {}", path.display())).because(error)
}

/// A part of a file, read as if it were one of its own.
struct Part {
    file: File,
    start: u64,
    bytes: u64,
    at: u64,
}

impl Part {
    fn whole(path: &Path) -> Result<Self, Failure> {
        let fail = |e| disk_failure("read", path, e);
        let file = File::open(path).map_err(fail)?;
        let bytes = file.metadata().map_err(fail)?.len();
        Ok(Self {
            file,
            start: 0,
            bytes,
            at: 0,
        })
    }

    /// Slot A of an image.
    fn slot_of(image: &Path) -> Result<Self, Failure> {
        let mut part = Self::whole(image)?;
        let mut sector = [0; 512];
        part.read_exact(&mut sector)
            .map_err(|e| disk_failure("read", image, e))?;
        let slot = Layout::STANDARD.slot(Slot::A);
        let mbr = Mbr::from_bytes(&sector).ok();
        let found = mbr.and_then(|mbr| mbr.partition(Slot::A.partition()).copied());
        if found
            .is_none_or(|found| (found.offset(), found.bytes()) != (slot.offset(), slot.bytes()))
        {
            return Err(
                Failure::new(format!("{} is no image of a box", image.display()))
                    .hint("give the roost.img of an earlier build"),
            );
        }
        Ok(Self {
            start: slot.offset(),
            bytes: slot.bytes(),
            at: 0,
            ..part
        })
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = std::os::unix::fs::FileExt::read_at(
            &self.file,
            &mut buffer[..wanted],
            self.start + self.at,
        )?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// A bundle whose beginning is right by its own signers.
struct Opened {
    file: BufReader<File>,
    verified: Verified,
    tables: Tables,
    bytes: u64,
}

impl Opened {
    /// `trusted` gives the keys from those that claim to have signed it.
    fn open(
        path: &Path,
        trusted: impl FnOnce(Vec<PublicKey>) -> TrustedKeys,
    ) -> Result<Self, Failure> {
        let bad = |e: Error| damaged(path, e);
        let file = File::open(path).map_err(|e| disk_failure("read", path, e))?;
        let bytes = file
            .metadata()
            .map_err(|e| disk_failure("read", path, e))?
            .len();
        let mut file = BufReader::new(file);
        let unverified = Unverified::read(&mut file).map_err(bad)?;
        let trusted = trusted(unverified.claimed_signers().collect());
        let verified = unverified.verify(&trusted).map_err(bad)?;
        verified.check_length(bytes).map_err(bad)?;
        let tables = verified.read_tables(&mut file).map_err(bad)?;
        Ok(Self {
            file,
            verified,
            tables,
            bytes,
        })
    }
}

fn damaged(path: &Path, error: Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::new(format!("{} cannot be used", path.display())).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What a bundle is, for scripts.
#[derive(Debug, Serialize)]
struct Inspected<'a> {
    #[serde(flatten)]
    manifest: &'a Manifest,
    signed_by: PublicKey,
    bytes: u64,
    head_bytes: u64,
}

fn inspect(args: &BundleFileArgs, ui: &Ui) -> Result<(), Failure> {
    let opened = Opened::open(&args.file, TrustedKeys::new)?;
    let manifest = opened.verified.manifest();
    let result = Inspected {
        manifest,
        signed_by: opened.verified.signed_by(),
        bytes: opened.bytes,
        head_bytes: opened.verified.payload_start(),
    };
    ui.result(render(&result), &result);
    Ok(())
}

fn render(found: &Inspected<'_>) -> String {
    let release = &found.manifest.release;
    let boards: Vec<&str> = release.boards.iter().map(String::as_str).collect();
    let mut components = Table::new([("component", Align::Left), ("version", Align::Left)]);
    for component in &release.components {
        components.row([component.name.clone(), component.version.clone()]);
    }
    let way_back = if release.reversible { "yes" } else { "no" };
    let mut text = format!(
        "{}\n  version      {}, release {}\n  updates      boxes from release {} on\n  boards       {}\n  way back     {way_back}\n  signed by    {}\n",
        components.render(),
        release.name,
        release.version,
        release.min_version,
        boards.join(", "),
        found.signed_by,
    );
    if let Some(key) = &found.manifest.new_key {
        text += &format!("  new key      {key}\n");
    }
    text += &format!(
        "  chunks       {}, differences {}\n  size         {}, of which tables {}\n",
        found.manifest.chunks.rows,
        found.manifest.deltas.rows,
        size(found.bytes),
        size(found.head_bytes),
    );
    if !release.notes.is_empty() {
        text += &format!("\n{}\n", release.notes.trim_end());
    }
    text
}

fn verify(args: &BundleVerifyArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Right {
        number: u64,
        chunks: usize,
        signed_by: PublicKey,
    }
    let named = if args.keys.is_empty() {
        Config::load(&args.config)?.update.keys
    } else {
        args.keys.clone()
    };
    let mut trusted = Vec::new();
    for key in &named {
        let mut bytes = [0; 32];
        hex::decode_to_slice(key, &mut bytes).map_err(|_| {
            Failure::usage(format!("{key} is no public key"))
                .hint("a key has 64 hexadecimal digits")
        })?;
        trusted.push(PublicKey(bytes));
    }
    let opened = Opened::open(&args.file, |_| TrustedKeys::new(trusted))?;
    let step = ui.step("check the chunks");
    step.total_items(opened.tables.chunks().len() as u64);
    let mut payloads = PayloadsAt::new(opened.file, opened.verified.payload_start());
    for (row, chunk) in opened.tables.chunks().iter().enumerate() {
        let mut stored = vec![0; chunk.stored as usize];
        payloads
            .read_payload(chunk.payload, &mut stored)
            .map_err(|e| disk_failure("read", &args.file, e))?;
        decode_chunk(row, chunk, &stored).map_err(|e| damaged(&args.file, e))?;
        step.advance(1);
    }
    step.done("");
    let right = Right {
        number: opened.verified.manifest().release.version,
        chunks: opened.tables.chunks().len(),
        signed_by: opened.verified.signed_by(),
    };
    let text = format!(
        "{} is whole: release {}, {} chunks, signed by {}\n",
        args.file.display(),
        right.number,
        right.chunks,
        right.signed_by
    );
    ui.result(text, &right);
    Ok(())
}
