//! What a build says of itself at its end.

use crate::compile::{INIT, MAIL, STAGE1, crates_of};
use crate::disk;
use crate::error::Failure;
use crate::lock::Lock;
use crate::rootfs::Tree;
use crate::sdk::Sdk;
use crate::store::disk_failure;
use crate::ui::table::{Align, Table};
use crate::ui::{Step, seconds, size};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// The image, in the output folder.
pub const IMAGE: &str = "roost.img";
/// The image as it is handed on.
pub const COMPRESSED: &str = "roost.img.zst";
/// The bill of materials.
pub const SBOM: &str = "roost.cdx.json";

/// One line of the component table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX licence expression.
    pub licence: String,
    /// Bytes that it takes in the image, compressed as it is there.
    pub bytes: u64,
    /// What it is, for the bill of materials (package URL), if it is somebody else's.
    pub purl: Option<String>,
}

/// Time of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// Name as shown.
    pub name: String,
    /// Seconds that it took in this build.
    pub seconds: f64,
    /// Whether its result was there already.
    pub cached: bool,
}

/// The result of a build, as `--json` prints it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Hash of all inputs.
    pub key: String,
    /// Image version.
    pub version: String,
    /// The image.
    pub image: PathBuf,
    /// Size and time of image, compressed image and bill of materials, to notice that somebody touched them.
    pub marks: Vec<Option<String>>,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// The compressed image.
    pub compressed: PathBuf,
    /// Its bytes.
    pub compressed_bytes: u64,
    /// SHA-256 of the (raw) image.
    pub sha256: String,
    /// Root hash of the root file system's verity tree.
    pub root_hash: String,
    /// The bill of materials.
    pub sbom: PathBuf,
    /// What is in the image.
    pub components: Vec<Component>,
    /// What was done.
    pub steps: Vec<StepTime>,
}

impl Report {
    /// The tables for people.
    pub fn render(&self, took: Duration) -> String {
        let mut components = Table::new([
            ("component", Align::Left),
            ("version", Align::Left),
            ("licence", Align::Left),
            ("in the image", Align::Right),
        ]);
        for c in &self.components {
            components.row([
                c.name.clone(),
                c.version.clone(),
                c.licence.clone(),
                size(c.bytes),
            ]);
        }
        let mut steps = Table::new([("step", Align::Left), ("time", Align::Right)]);
        for s in &self.steps {
            let time = if s.cached {
                "cached".to_owned()
            } else {
                seconds(Duration::from_secs_f64(s.seconds))
            };
            steps.row([s.name.clone(), time]);
        }
        let mut text = format!("{}\n{}\n", components.render(), steps.render());
        let mut line = |name: &str, value: String| {
            writeln!(text, "  {name:<12}{value}").expect("writing to a string")
        };
        line(
            "image",
            format!("{} ({})", self.image.display(), size(self.image_bytes)),
        );
        line(
            "compressed",
            format!(
                "{} ({})",
                self.compressed.display(),
                size(self.compressed_bytes)
            ),
        );
        line("sha256", self.sha256.clone());
        line("root hash", self.root_hash.clone());
        line("materials", self.sbom.display().to_string());
        line("took", seconds(took));
        text
    }
}

/// Size and modification time of a file, as one word.
pub fn mark(path: &Path) -> std::io::Result<String> {
    let meta = path.metadata()?;
    let time = meta
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(format!("{}-{}", meta.len(), time.as_nanos()))
}

/// Compresses `from` to `to` (zstd, which Raspberry Pi Imager and `zstdcat` read); gives its size.
pub fn compress(from: &Path, to: &Path, step: &Step<'_>) -> Result<u64, Failure> {
    let read = |e| disk_failure("read", from, e);
    let write = |e| disk_failure("write", to, e);
    let mut source = File::open(from).map_err(read)?;
    step.total_bytes(source.metadata().map_err(read)?.len());
    // The parts are compressed already: a higher level costs minutes and gains nothing.
    let mut encoder = zstd::Encoder::new(File::create(to).map_err(write)?, 6).map_err(write)?;
    encoder.include_checksum(true).map_err(write)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = source.read(&mut buffer).map_err(read)?;
        if n == 0 {
            break;
        }
        encoder.write_all(&buffer[..n]).map_err(write)?;
        step.advance(n as u64);
    }
    let file = encoder.finish().map_err(write)?;
    Ok(file.metadata().map_err(write)?.len())
}

/// gzip without time or name, so that equal bytes stay equal.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Where the parts of a finished image are.
pub struct Made<'a> {
    /// The root file system's tree.
    pub tree: &'a Tree,
    /// The slot's files: name there, place here.
    pub parts: &'a [(String, PathBuf)],
    /// Output of the root step.
    pub root: &'a Path,
    /// Output of the kernel step.
    pub kernel: &'a Path,
    /// The stage1 program.
    pub stage1: &'a Path,
}

/// All components with the bytes that they take in the image.
pub fn components(
    sdk: &Sdk,
    lock: &Lock,
    cargo_lock: &Path,
    made: &Made<'_>,
) -> Result<Vec<Component>, Failure> {
    let Made {
        tree,
        parts,
        root,
        kernel,
        stage1,
    } = *made;
    let bytes_of = |path: &Path| {
        path.metadata()
            .map(|m| m.len())
            .map_err(|e| disk_failure("read", path, e))
    };
    let part = |wanted: &dyn Fn(&str) -> bool| -> Result<u64, Failure> {
        parts
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(_, path)| bytes_of(path))
            .sum()
    };
    let ours = |name: &str, licence: &str, bytes| Component {
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        licence: licence.to_owned(),
        bytes,
        purl: None,
    };
    let debian = |name: &str, package: &str, licence: &str, bytes| -> Result<Component, Failure> {
        let p = lock.image_package(package)?;
        Ok(Component {
            name: name.to_owned(),
            version: p.version.clone(),
            licence: licence.to_owned(),
            bytes,
            purl: Some(format!(
                "pkg:deb/debian/{}@{}?arch={}",
                p.name, p.version, p.arch
            )),
        })
    };
    let initramfs = part(&|n| n == disk::INITRAMFS)?;
    let stage1_bytes =
        gzip(&std::fs::read(stage1).map_err(|e| disk_failure("read", stage1, e))?).len() as u64;
    let modules = initramfs.saturating_sub(stage1_bytes);
    let module_count = std::fs::read_dir(kernel.join("modules"))
        .map_err(|e| disk_failure("read", kernel, e))?
        .count();
    let linux = |part: &str| format!("{part}-{}", lock.kernel);
    let in_root = root_usage(sdk, tree, root)?;
    let of = |component: &str| {
        in_root
            .iter()
            .filter(|(c, _)| c == component)
            .map(|(_, b)| b)
            .sum::<u64>()
    };
    let files: u64 = in_root.iter().map(|(_, b)| b).sum();
    let rest = bytes_of(&root.join(disk::ROOT))?.saturating_sub(files);
    let own_text = part(&|n| n == "config.txt")? + of("settings") + of("base");
    let crates = crates_of(cargo_lock, MAIL.package)?;
    let stalwart = crates.iter().find(|c| c.name == "stalwart-lite");
    let mail_name = match stalwart {
        Some(c) => format!("{} (Stalwart: {} {})", MAIL.name, c.name, c.version),
        None => MAIL.name.to_owned(),
    };
    let linux_licence = "GPL-2.0-only WITH Linux-syscall-note";
    Ok(vec![
        debian(
            "linux kernel",
            &linux("linux-binary"),
            linux_licence,
            part(&|n| n == disk::KERNEL)?,
        )?,
        debian(
            &format!("linux modules ({module_count})"),
            &linux("linux-modules"),
            linux_licence,
            modules,
        )?,
        debian(
            "linux device trees",
            &linux("linux-base"),
            linux_licence,
            part(&|n| n.ends_with(".dtb"))?,
        )?,
        debian(
            "Raspberry Pi firmware",
            "raspi-firmware",
            "LicenseRef-Broadcom-RPi",
            part(&|n| n.ends_with(".elf") || n.ends_with(".dat") || n.ends_with(".bin"))?,
        )?,
        ours(STAGE1.name, STAGE1.licence, stage1_bytes),
        ours(INIT.name, INIT.licence, of("init")),
        ours(&mail_name, MAIL.licence, of("mail")),
        debian("e2fsck", "e2fsck-static", "GPL-2.0-or-later", of("e2fsck"))?,
        debian(
            "ca-certificates",
            "ca-certificates",
            "MPL-2.0",
            of("ca-certificates"),
        )?,
        ours("settings", "Apache-2.0 OR MIT", own_text),
        ours("erofs and verity trees", "Apache-2.0 OR MIT", rest),
    ])
}

/// Bytes on disk of every file of the root file system, by component.
fn root_usage(sdk: &Sdk, tree: &Tree, root: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let sandbox = sdk.sandbox().read(root, "/work");
    let mut usage = Vec::new();
    for (path, entry) in tree.entries() {
        let out = sandbox.run(
            "dump.erofs",
            &[&format!("--path=/{path}"), "/work/root.img"],
        )?;
        let text = String::from_utf8_lossy(&out.stdout);
        // "Size: 1204  On-disk size: 655  regular file"
        let bytes = text
            .split_once("On-disk size:")
            .and_then(|(_, rest)| rest.split_whitespace().next())
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| {
                Failure::new(format!("dump.erofs does not tell the size of /{path}"))
                    .because(text.clone().into_owned())
            })?;
        usage.push((entry.component.clone(), bytes));
    }
    Ok(usage)
}
