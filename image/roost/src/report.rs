//! What a build says of itself at its end.

use crate::compile::{
    BACKUP, CERTIFICATES, DNS, INIT, MAIL, PORTAL, Program, RESOLVER, STAGE1, TUNNEL, UPDATER,
    crates_of,
};
use crate::config::Config;
use crate::disk;
use crate::error::Failure;
use crate::kernel;
use crate::lock::Lock;
use crate::release;
use crate::rights::{self, Rights};
use crate::rootfs::Tree;
use crate::sbom::purl;
use crate::sdk::Sdk;
use crate::store::disk_failure;
use crate::tryboot;
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
/// Component of the root file system: drivers that init loads.
pub const MODULES: &str = "linux modules";
/// The image as it is handed on.
pub const COMPRESSED: &str = "roost.img.zst";
/// The bill of materials.
pub const SBOM: &str = "roost.cdx.json";

/// What a component is, in the words of CycloneDX (`components[].type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A program.
    Application,
    /// Files that are read.
    Data,
    /// Drivers that the kernel loads.
    DeviceDriver,
    /// What a processor runs before the kernel.
    Firmware,
    /// The kernel.
    OperatingSystem,
}

/// One line of the component table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Version; none of a program that the owner gave.
    pub version: Option<String>,
    /// SPDX licence expression; none of a program that the owner gave.
    pub licence: Option<String>,
    /// Bytes that it takes in the (raw) image.
    pub bytes: u64,
    /// What it is, for the bill of materials (package URL), if it is somebody else's.
    pub purl: Option<String>,
    /// Hash of a program that the owner gave in place of ours (`[components]` of `roost.toml`).
    pub given: Option<String>,
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
    /// Number of the release.
    pub number: u64,
    /// Hash of all that the slot is made from but for the number.
    pub release_key: String,
    /// The image.
    pub image: PathBuf,
    /// Size and time of image, compressed image and bill of materials, to notice that somebody touched them.
    pub marks: Vec<Option<String>>,
    /// Bytes of the image.
    pub image_bytes: u64,
    /// Bytes of the slot in it up to the end of its last file.
    pub slot_bytes: u64,
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
    /// What each service may do.
    pub rights: Vec<Rights>,
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
        let unknown = || "unknown".to_owned();
        for c in &self.components {
            // The whole hash is in the bill of materials and in roost.toml.
            let (name, version) = match &c.given {
                Some(hash) => (
                    format!("{} (given in roost.toml)", c.name),
                    format!("sha256 {}…", &hash[..12]),
                ),
                None => (c.name.clone(), c.version.clone().unwrap_or_else(unknown)),
            };
            let licence = c.licence.clone().unwrap_or_else(unknown);
            components.row([name, version, licence, size(c.bytes)]);
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
        let mut text = format!(
            "{}\n{}\n{}\n",
            components.render(),
            rights::render(&self.rights),
            steps.render()
        );
        let mut line = |name: &str, value: String| {
            writeln!(text, "  {name:<12}{value}").expect("writing to a string")
        };
        line("release", release::name(self.number));
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
    // A higher level costs minutes and gains little.
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
    /// What the box was asked to be: the owner may have given programs in place of ours.
    pub config: &'a Config,
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
        config,
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
    let ours = |name: &str, kind, licence: &str, bytes| Component {
        name: name.to_owned(),
        kind,
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        licence: Some(licence.to_owned()),
        bytes,
        purl: None,
        given: None,
    };
    let debian = |name: &str, kind, package: &str, licence: &str, bytes| {
        let p = lock.image_package(package)?;
        Ok::<_, Failure>(Component {
            version: Some(p.version.clone()),
            purl: Some(purl(p)),
            ..ours(name, kind, licence, bytes)
        })
    };
    let program = |program: &Program, name: &str, bytes| {
        let component = ours(name, Kind::Application, program.licence, bytes);
        match config.component(program.name) {
            None => component,
            Some(given) => Component {
                name: program.name.to_owned(),
                version: None,
                licence: None,
                given: Some(given.sha256.clone()),
                ..component
            },
        }
    };
    let initramfs = part(&|n| n == disk::INITRAMFS)?;
    let stage1_bytes = bytes_of(stage1)?;
    let tryboot_bytes = bytes_of(&kernel.join("modules").join(tryboot::FILE))?;
    let modules = initramfs.saturating_sub(stage1_bytes + tryboot_bytes);
    let count = |folder: &str| {
        let entries = std::fs::read_dir(kernel.join(folder));
        entries
            .map(Iterator::count)
            .map_err(|e| disk_failure("read", kernel, e))
    };
    // Without ours.
    let module_count = count("modules")? - 1 + count(kernel::USB_DISKS)?;
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
    // The Pi 3's first program lies in the selector; it comes from where the slot's firmware does.
    let mut firmware = part(&is_firmware)?;
    if let Some((_, path)) = parts.iter().find(|(name, _)| is_firmware(name)) {
        firmware += bytes_of(&path.with_file_name("bootcode.bin"))?;
    }
    let linux_licence = "GPL-2.0-only WITH Linux-syscall-note";
    Ok(vec![
        debian(
            "linux kernel",
            Kind::OperatingSystem,
            &linux("linux-binary"),
            linux_licence,
            part(&|n| n == disk::KERNEL)?,
        )?,
        debian(
            &format!("linux modules ({module_count})"),
            Kind::DeviceDriver,
            &linux("linux-modules"),
            linux_licence,
            modules + of(MODULES),
        )?,
        debian(
            "linux device trees",
            Kind::Data,
            &linux("linux-base"),
            linux_licence,
            part(&|n| n.ends_with(".dtb"))?,
        )?,
        debian(
            "Raspberry Pi firmware",
            Kind::Firmware,
            "raspi-firmware",
            "LicenseRef-Broadcom-RPi",
            firmware,
        )?,
        ours(
            "tryboot module",
            Kind::DeviceDriver,
            tryboot::LICENCE,
            tryboot_bytes,
        ),
        program(&STAGE1, STAGE1.name, stage1_bytes),
        program(&INIT, INIT.name, of("init")),
        program(&MAIL, &mail_name, of("mail")),
        program(&UPDATER, UPDATER.name, of("updater")),
        program(&PORTAL, PORTAL.name, of("portal")),
        program(&TUNNEL, TUNNEL.name, of("tunnel")),
        program(&DNS, DNS.name, of("dns")),
        program(&CERTIFICATES, CERTIFICATES.name, of("certificates")),
        program(&RESOLVER, RESOLVER.name, of("resolver")),
        program(&BACKUP, BACKUP.name, of("backup")),
        debian(
            "e2fsck",
            Kind::Application,
            "e2fsck-static",
            "GPL-2.0-or-later",
            of("e2fsck"),
        )?,
        debian(
            "ca-certificates",
            Kind::Data,
            "ca-certificates",
            "MPL-2.0",
            of("ca-certificates"),
        )?,
        ours("settings", Kind::Data, "Apache-2.0 OR MIT", own_text),
        ours(
            "erofs and verity trees",
            Kind::Data,
            "Apache-2.0 OR MIT",
            rest,
        ),
    ])
}

/// Whether a file of the slot is the Pi's own firmware.
fn is_firmware(name: &str) -> bool {
    name.ends_with(".elf") || name.ends_with(".dat")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_what_is_ours_and_what_was_given() {
        let component = |name: &str| Component {
            name: name.into(),
            kind: Kind::Application,
            version: Some("0.1.0".into()),
            licence: Some("Apache-2.0 OR MIT".into()),
            bytes: 1_234_567,
            purl: None,
            given: None,
        };
        let given = Component {
            version: None,
            licence: None,
            given: Some("0123456789abcdef".repeat(4)),
            ..component("mail")
        };
        let report = Report {
            key: String::new(),
            version: "0.1.0".into(),
            number: 14,
            release_key: String::new(),
            image: "build/roost.img".into(),
            marks: Vec::new(),
            image_bytes: 640 << 20,
            slot_bytes: 130_000_000,
            compressed: "build/roost.img.zst".into(),
            compressed_bytes: 70_000_000,
            sha256: "ab".repeat(32),
            root_hash: "cd".repeat(32),
            sbom: "build/roost.cdx.json".into(),
            components: vec![component("init"), given],
            rights: vec![Rights {
                service: "mail".into(),
                user: 800,
                settings: true,
                card: false,
                capabilities: vec!["net_bind_service".into()],
                ports: vec!["tcp/25".into(), "tcp/993".into()],
                control: Vec::new(),
                devices: Vec::new(),
                files: vec!["/share/mail".into()],
                sockets: vec!["dns".into()],
                shared: vec!["network".into()],
                limits: roost_service::spec::Limits::default(),
                system_calls: 158,
                own_system_calls: vec!["socket (inet inet6)".into()],
            }],
            steps: vec![
                StepTime {
                    name: "SDK root".into(),
                    seconds: 0.0,
                    cached: true,
                },
                StepTime {
                    name: "compile init".into(),
                    seconds: 75.0,
                    cached: false,
                },
            ],
        };
        let text = report.render(Duration::from_secs(80));
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
