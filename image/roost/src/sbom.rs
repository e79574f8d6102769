//! The bill of materials in CycloneDX 1.6 (ECMA-424).

use crate::compile::{self, MAIL, Program, STAGE1};
use crate::error::Failure;
use crate::lock::{Lock, Purpose};
use crate::report::Component;
use crate::store::disk_failure;
use crate::workspace::Workspace;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<CratePackage>,
}

#[derive(Deserialize)]
struct CratePackage {
    name: String,
    version: String,
    license: Option<String>,
}

/// Writes the bill of materials: packages, our programs, and every crate linked into them.
pub fn write(
    workspace: &Workspace,
    lock: &Lock,
    components: &[Component],
    seed: &str,
    to: &Path,
) -> Result<(), Failure> {
    let licences = crate_licences(workspace)?;
    let mut list: Vec<Value> = components
        .iter()
        .filter(|c| c.purl.is_none())
        .map(|c| {
            json!({
                "type": "application", "name": format!("roost {}", c.name), "version": c.version,
                "licenses": [{ "expression": c.licence }],
            })
        })
        .collect();
    for p in lock.packages(Purpose::Image) {
        let licence = components
            .iter()
            .find(|c| {
                c.purl
                    .as_ref()
                    .is_some_and(|u| u.contains(&format!("/{}@", p.name)))
            })
            .map(|c| json!([{ "expression": c.licence }]));
        list.push(json!({
            "type": "operating-system", "name": p.name, "version": p.version, "licenses": licence.unwrap_or_else(|| json!([])),
            "purl": format!("pkg:deb/debian/{}@{}?arch={}", p.name, p.version, p.arch),
            "hashes": [{ "alg": "SHA-256", "content": p.sha256 }],
        }));
    }
    // Linked statically into every program of ours.
    for p in lock
        .packages(Purpose::Sdk)
        .filter(|p| p.name == "libc6-dev-arm64-cross" || p.name == "libstd-rust-dev")
    {
        list.push(json!({
            "type": "library", "name": p.name, "version": p.version,
            "purl": format!("pkg:deb/debian/{}@{}?arch={}", p.name, p.version, p.arch),
            "hashes": [{ "alg": "SHA-256", "content": p.sha256 }],
        }));
    }
    list.extend(crates(workspace, &[&STAGE1, &MAIL], &licences)?);
    let bom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", crate::rootfs::uuid(seed)),
        "version": 1,
        "metadata": { "component": { "type": "operating-system", "name": "roost image", "version": env!("CARGO_PKG_VERSION") } },
        "components": list,
    });
    let text = serde_json::to_string_pretty(&bom).expect("plain data");
    std::fs::write(to, text + "\n").map_err(|e| disk_failure("write", to, e))
}

fn crates(
    workspace: &Workspace,
    programs: &[&Program],
    licences: &BTreeMap<(String, String), String>,
) -> Result<Vec<Value>, Failure> {
    let mut found = BTreeMap::new();
    for program in programs {
        for c in compile::crates_of(&workspace.source.join("Cargo.lock"), program.package)? {
            // A crate that cargo's resolver leaves out for the box's target is not linked.
            let Some(licence) = licences.get(&(c.name.clone(), c.version.clone())) else {
                continue;
            };
            let Some(checksum) = c.checksum.clone() else {
                continue;
            };
            let value = json!({
                "type": "library", "name": c.name, "version": c.version,
                "licenses": [{ "expression": licence }],
                "purl": format!("pkg:cargo/{}@{}", c.name, c.version),
                "hashes": [{ "alg": "SHA-256", "content": checksum }],
            });
            found.insert((c.name, c.version), value);
        }
    }
    Ok(found.into_values().collect())
}

/// Licences of all crates that the box's target can use.
fn crate_licences(workspace: &Workspace) -> Result<BTreeMap<(String, String), String>, Failure> {
    let out = Command::new("cargo")
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            compile::TARGET,
        ])
        .current_dir(&workspace.source)
        .output()
        .map_err(|e| Failure::new("cannot run cargo").because(e))?;
    if !out.status.success() {
        return Err(Failure::new("cargo cannot list the crates")
            .because(String::from_utf8_lossy(&out.stderr).trim().to_owned()));
    }
    let metadata: Metadata = serde_json::from_slice(&out.stdout)
        .map_err(|e| Failure::new("cargo's list of crates cannot be read").because(e))?;
    Ok(metadata
        .packages
        .into_iter()
        .map(|p| {
            // "MIT/Apache-2.0" is an old way of writing OR (cargo reference, `license`).
            let licence = p
                .license
                .unwrap_or_else(|| "NOASSERTION".into())
                .replace('/', " OR ");
            ((p.name, p.version), licence)
        })
        .collect())
}
