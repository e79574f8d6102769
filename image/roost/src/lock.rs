//! `roost.lock`: every Debian package of a build by version and SHA-256.
//!
//! Trust runs from Debian's archive keyring through apt's signed indexes
//! (`roost lock`) into this file; a build then needs only the hashes.

use crate::debian::{Apt, Recipe};
use crate::error::Failure;
use crate::store::write_atomically;
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The whole lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Name of the kernel as in its module folder, e.g. `7.3.4+deb13-arm64`.
    pub kernel: String,
    /// All packages, sorted by use, name and architecture.
    pub package: Vec<Package>,
}

/// One pinned Debian package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// What it is fetched for.
    #[serde(rename = "use")]
    pub purpose: Purpose,
    /// Debian package name.
    pub name: String,
    /// `amd64`, `arm64` or `all`.
    pub arch: String,
    /// Debian version.
    pub version: String,
    /// Path below the mirror, as in the index's `Filename` field.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the file in lower-case hex.
    pub sha256: String,
}

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Files of it land in the image.
    Image,
    /// It is part of the SDK root.
    Sdk,
    /// Our own kernel module is compiled against it.
    Module,
}

const HEADER: &str = "# Written by `roost lock` from image/components/debian.toml through Debian's\n\
                      # signed indexes. Every build checks each download against it.\n\n";

impl Lock {
    /// Reads and checks a lock file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Failure::new(format!("cannot read {}", path.display()))
                .because(e)
                .hint("run `roost lock` to make it, or run from a Roost checkout")
        })?;
        let lock: Self = toml::from_str(&text).map_err(|e| {
            Failure::new(format!("{} is damaged", path.display()))
                .because(e)
                .hint("restore it from version control, or run `roost lock`")
        })?;
        for p in &lock.package {
            if p.sha256.len() != 64 || !p.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(Failure::new(format!(
                    "{}: {} has no valid sha256",
                    path.display(),
                    p.name
                ))
                .hint("restore it from version control, or run `roost lock`"));
            }
        }
        Ok(lock)
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let body = toml::to_string(self).expect("a lock has nothing that TOML cannot hold");
        format!("{HEADER}{body}")
    }

    /// The packages of one purpose.
    pub fn packages(&self, purpose: Purpose) -> impl Iterator<Item = &Package> {
        self.package.iter().filter(move |p| p.purpose == purpose)
    }

    /// The image package whose name is `name`.
    pub fn image_package(&self, name: &str) -> Result<&Package, Failure> {
        self.packages(Purpose::Image)
            .find(|p| p.name == name)
            .ok_or_else(|| {
                Failure::new(format!("roost.lock has no package {name}"))
                    .hint("run `roost lock` after changing image/components/debian.toml")
            })
    }
}

/// Resolves the recipe anew through Debian's signed indexes.
pub fn resolve(recipe: &Recipe, apt: &Apt) -> Result<Lock, Failure> {
    let kernel = apt.kernel_abi(&recipe.kernel)?;
    let image: Vec<String> = recipe
        .kernel
        .packages
        .iter()
        .map(|p| format!("{}:arm64", p.replace("{abi}", &kernel)))
        .chain(recipe.image.packages.iter().map(|p| apt.arm64_or_all(p)))
        .collect();
    let version = kernel.rsplit_once('-').map_or(&*kernel, |(v, _)| v);
    let module: Vec<String> = recipe
        .module
        .packages
        .iter()
        .map(|p| p.replace("{abi}", &kernel).replace("{version}", version))
        .collect();
    let mut package = apt.records(&image, Purpose::Image)?;
    package.extend(apt.records(&module, Purpose::Module)?);
    package.extend(apt.records(&apt.closure(&recipe.sdk.packages)?, Purpose::Sdk)?);
    let foreign: Vec<String> = recipe
        .sdk
        .foreign
        .iter()
        .map(|p| format!("{p}:arm64"))
        .collect();
    package.extend(apt.records(&foreign, Purpose::Sdk)?);
    package.sort();
    package.dedup();
    Ok(Lock { kernel, package })
}

/// `roost lock`.
pub fn run(args: &crate::cli::LockArgs, ui: &crate::ui::Ui) -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    let mirror = crate::sdk::mirror(args.config.as_deref())?;
    let recipe = Recipe::load(&workspace.recipe())?;
    let step = ui.step("read Debian's signed indexes");
    let apt = Apt::update(&workspace.cache.join("apt"), &mirror, &recipe)?;
    step.done("signatures confirmed by Debian's keyring");
    let step = ui.step("resolve packages");
    let lock = resolve(&recipe, &apt)?;
    step.done(format!(
        "{} packages, kernel {}",
        lock.package.len(),
        lock.kernel
    ));
    let path = workspace.lock();
    let before = Lock::load(&path).ok();
    let changed = before.as_ref() != Some(&lock);
    if changed {
        write_atomically(&path, &lock.render())?;
    }
    let newer = lock
        .package
        .iter()
        .filter(|p| before.as_ref().is_none_or(|b| !b.package.contains(p)))
        .count();
    let text = if changed {
        format!("roost.lock: {newer} packages are new or newer")
    } else {
        "roost.lock is up to date".into()
    };
    ui.result(
        text,
        &serde_json::json!({ "changed": changed, "new": newer, "kernel": lock.kernel }),
    );
    Ok(())
}
