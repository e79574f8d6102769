//! The bill of materials in CycloneDX 1.6 (ECMA-424).

use crate::compile::{self, PROGRAMS, Program};
use crate::error::Failure;
use crate::lock::{Lock, Package, Purpose};
use crate::report::Component;
use crate::store::disk_failure;
use crate::workspace::Workspace;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Packages that are linked statically into every program of ours.
const LINKED: &[&str] = &["libc6-dev-arm64-cross", "libstd-rust-dev"];

/// Writes the bill of materials: packages, programs, and every crate linked into ours.
pub fn write(
    workspace: &Workspace,
    lock: &Lock,
    components: &[Component],
    seed: &str,
    to: &Path,
) -> Result<(), Failure> {
    // Nobody here knows what a program that the owner gave is made of.
    let compiled: Vec<&Program> = PROGRAMS
        .into_iter()
        .filter(|p| {
            let given = |c: &Component| c.name == p.name && c.given.is_some();
            !components.iter().any(given)
        })
        .collect();
    let crates = match compiled.as_slice() {
        [] => Vec::new(),
        compiled => crates(&workspace.source, compiled)?,
    };
    let bom = bom(lock, components, !compiled.is_empty(), crates, seed);
    let text = serde_json::to_string_pretty(&bom).expect("plain data");
    std::fs::write(to, text + "\n").map_err(|e| disk_failure("write", to, e))
}

fn bom(
    lock: &Lock,
    components: &[Component],
    linked: bool,
    crates: Vec<Value>,
    seed: &str,
) -> Value {
    let mut list: Vec<Value> = components
        .iter()
        .filter(|c| c.purl.is_none())
        .map(own)
        .collect();
    for p in lock.packages(Purpose::Image) {
        let shown = components
            .iter()
            .find(|c| c.purl.as_ref() == Some(&purl(p)));
        let mut value = package(p, shown.map_or(json!("application"), |c| json!(c.kind)));
        if let Some(licence) = shown.and_then(|c| c.licence.as_ref()) {
            value["licenses"] = json!([{ "expression": licence }]);
        }
        list.push(value);
    }
    let sdk = lock.packages(Purpose::Sdk);
    list.extend(
        sdk.filter(|p| linked && LINKED.contains(&p.name.as_str()))
            .map(|p| package(p, json!("library"))),
    );
    list.extend(crates);
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", crate::rootfs::uuid(seed)),
        "version": 1,
        "metadata": { "component": { "type": "operating-system", "name": "roost image", "version": env!("CARGO_PKG_VERSION") } },
        "components": list,
    })
}

/// A component that is no package: ours, or given by the owner in place of ours.
fn own(c: &Component) -> Value {
    let mut value = json!({ "type": c.kind, "name": format!("roost {}", c.name) });
    if let Some(version) = &c.version {
        value["version"] = json!(version);
    }
    if let Some(licence) = &c.licence {
        value["licenses"] = json!([{ "expression": licence }]);
    }
    if let Some(hash) = &c.given {
        value["name"] = json!(c.name);
        value["description"] = json!("given by the owner of the box in roost.toml");
        value["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
    }
    value
}

fn package(p: &Package, kind: Value) -> Value {
    json!({
        "type": kind, "name": p.name, "version": p.version, "purl": purl(p),
        "hashes": [{ "alg": "SHA-256", "content": p.sha256 }],
    })
}

/// The package URL of a Debian package.
pub fn purl(p: &Package) -> String {
    let version = encoded(&p.version);
    format!("pkg:deb/debian/{}@{version}?arch={}", p.name, p.arch)
}

/// A version as a package URL wants it: `+` and `:` mean something else there.
fn encoded(version: &str) -> String {
    version.replace('+', "%2B").replace(':', "%3A")
}

/// Every crate that is linked into `programs`.
fn crates(source: &Path, programs: &[&Program]) -> Result<Vec<Value>, Failure> {
    let mut found = BTreeMap::new();
    let mut by_workspace: BTreeMap<&str, Vec<&Program>> = BTreeMap::new();
    for program in programs {
        by_workspace
            .entry(program.workspace)
            .or_default()
            .push(program);
    }
    for (workspace, programs) in by_workspace {
        found.extend(crates_in(source, workspace, &programs)?);
    }
    Ok(found.into_values().collect())
}

/// A crate's name and version.
type Named = (String, String);

/// [`crates`] of programs in one workspace.
fn crates_in(
    source: &Path,
    workspace: &str,
    programs: &[&Program],
) -> Result<BTreeMap<Named, Value>, Failure> {
    let mut cargo = Command::new("cargo");
    // Macros and build scripts run on the build machine: neither they nor the crates of tests
    // are in a program. All of it was fetched before.
    cargo
        .args(["tree", "--locked", "--offline", "--target", compile::TARGET])
        .args(["--edges", "normal,no-proc-macro", "--no-dedupe"])
        .args(["--prefix", "none", "--format", "{p}\t{l}"])
        .current_dir(source.join(workspace));
    let mut checksums = BTreeMap::new();
    for program in programs {
        cargo.args(["--package", program.package]);
        for c in compile::crates_of(&program.cargo_lock(source), program.package)? {
            // Our own crates have none: they are listed as programs.
            if let Some(checksum) = c.checksum {
                checksums.insert((c.name, c.version), checksum);
            }
        }
    }
    let out = cargo
        .output()
        .map_err(|e| Failure::new("cannot run cargo").because(e))?;
    if !out.status.success() {
        return Err(Failure::new("cargo cannot list the crates")
            .because(String::from_utf8_lossy(&out.stderr).trim().to_owned())
            .hint("`cargo fetch --locked` in the checkout fetches what it may miss"));
    }
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        // "serde v1.0.219<tab>MIT OR Apache-2.0"
        let Some((name, version, licence)) = parts(line) else {
            continue;
        };
        let key = (name.to_owned(), version.to_owned());
        let Some(checksum) = checksums.get(&key) else {
            continue;
        };
        let mut value = json!({
            "type": "library", "name": name, "version": version,
            "purl": format!("pkg:cargo/{name}@{}", encoded(version)),
            "hashes": [{ "alg": "SHA-256", "content": checksum }],
        });
        if !licence.is_empty() {
            // "MIT/Apache-2.0" is an old way of writing OR (cargo reference, `license`).
            let words: Vec<&str> = licence.split('/').map(str::trim).collect();
            value["licenses"] = json!([{ "expression": words.join(" OR ") }]);
        }
        found.insert(key, value);
    }
    Ok(found)
}

fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (package, licence) = line.split_once('\t')?;
    let mut words = package.split(' ');
    let name = words.next()?;
    let version = words.next()?.strip_prefix('v')?;
    Some((name, version, licence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Kind;

    fn checkout() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
    }

    #[test]
    fn only_what_is_linked_is_listed() {
        let crates = crates(checkout(), &[&compile::INIT]).unwrap();
        let names: Vec<&str> = crates.iter().filter_map(|c| c["name"].as_str()).collect();
        // Used at run time; through a macro crate; by tests; ours.
        for (name, linked) in [
            ("rustix", true),
            ("serde_core", true),
            ("serde_derive", false),
            ("syn", false),
            ("proptest", false),
            ("roost-board", false),
        ] {
            assert_eq!(names.contains(&name), linked, "{name}: {names:?}");
        }
    }

    #[test]
    fn a_given_program_is_named_as_such() {
        let p = |purpose, name: &str, version: &str| Package {
            purpose,
            name: name.into(),
            arch: "arm64".into(),
            version: version.into(),
            path: String::new(),
            size: 1,
            sha256: "ab".repeat(32),
        };
        let firmware = p(Purpose::Image, "raspi-firmware", "1:1.20+ds-1");
        let component = |name: &str, kind| Component {
            name: name.into(),
            kind,
            version: Some("0.1".into()),
            licence: Some("MIT".into()),
            bytes: 1,
            purl: None,
            given: None,
        };
        let components = [
            Component {
                purl: Some(purl(&firmware)),
                ..component("Raspberry Pi firmware", Kind::Firmware)
            },
            component("init", Kind::Application),
            Component {
                version: None,
                licence: None,
                given: Some("cd".repeat(32)),
                ..component("mail", Kind::Application)
            },
        ];
        let lock = Lock {
            kernel: String::new(),
            package: vec![firmware, p(Purpose::Sdk, "libstd-rust-dev", "1.95")],
        };
        let bom = bom(&lock, &components, true, Vec::new(), &"0".repeat(64));
        insta::assert_snapshot!(serde_json::to_string_pretty(&bom["components"]).unwrap());
    }
}
