//! Debian's archive seen through apt: which mirror, which versions, which hashes.
//!
//! apt runs with a root of its own, so that neither the machine's sources nor
//! its pins matter; only its keyring and the address of its mirror are used.

use crate::error::Failure;
use crate::lock::{Package, Purpose};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's archive keyring, shipped by the package of the same name.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// `image/components/debian.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Suite that packages come from unless pinned.
    pub base: String,
    /// All suites read.
    pub suites: Vec<String>,
    /// Suite → package patterns taken from it.
    pub pins: BTreeMap<String, Vec<String>>,
    /// The kernel's packages.
    pub kernel: KernelRecipe,
    /// What our own kernel module is compiled against.
    pub module: ModuleRecipe,
    /// Packages unpacked for the image.
    pub image: ImageRecipe,
    /// Packages of the SDK root.
    pub sdk: SdkRecipe,
}

/// How to find the kernel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelRecipe {
    /// Meta package whose dependency names the kernel.
    pub meta: String,
    /// Suite to read the meta package from.
    pub suite: String,
    /// Package names with `{abi}` for the kernel's exact name.
    pub packages: Vec<String>,
}

/// Packages that our own kernel module is compiled against.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModuleRecipe {
    /// Names as apt takes them, with `{abi}` for the kernel's exact name and
    /// `{version}` for the same without its flavour.
    pub packages: Vec<String>,
}

/// Packages for the image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecipe {
    /// Names without architecture.
    pub packages: Vec<String>,
}

/// Packages for the SDK root.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SdkRecipe {
    /// Native packages, taken with all dependencies.
    pub packages: Vec<String>,
    /// arm64 packages, taken alone.
    pub foreign: Vec<String>,
}

impl Recipe {
    /// Reads the recipe.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::new(format!("cannot read {}", path.display())).because(e))?;
        toml::from_str(&text)
            .map_err(|e| Failure::new(format!("{} is damaged", path.display())).because(e))
    }
}

/// The mirror that this machine's own apt uses for Debian, else Debian's own address.
///
/// Which one it is does not matter for safety: `roost lock` checks signatures,
/// everything else checks hashes.
pub fn host_mirror() -> Result<String, Failure> {
    // Reads the sources as apt does, whether or not their indexes were ever fetched; fetches nothing.
    let out = run(Command::new("apt-get").args(["update", "--print-uris"])).map_err(|f| {
        f.hint("name a Debian mirror in roost.toml:  [build]  mirror = \"https://…/debian\"")
    })?;
    Ok(debian_mirror(&out).unwrap_or_else(|| "https://deb.debian.org/debian".to_owned()))
}

/// The likeliest address of Debian's archive in what `apt-get update --print-uris` printed.
///
/// Others serve packages from a path that ends in `/debian` as well. Debian has
/// a component `main` (Docker has not), suites with updates (third parties have
/// not), and mostly the shorter path.
fn debian_mirror(uris: &str) -> Option<String> {
    let places: Vec<(&str, &str)> = uris
        .lines()
        .filter_map(|line| line.strip_prefix('\'')?.split_once("/dists/"))
        .collect();
    let has = |uri: &str, what: &str| places.iter().any(|(u, p)| *u == uri && p.contains(what));
    places
        .iter()
        .filter(|(uri, _)| has(uri, "/main/"))
        .filter_map(|(uri, _)| {
            let mirror = match uri.strip_prefix("mirror+file:") {
                Some(list) => first_mirror(list)?,
                None => (*uri).to_owned(),
            };
            let path = mirror.trim_end_matches('/');
            let usable = path.starts_with("http") && path.ends_with("/debian");
            let rank = (!has(uri, "-updates/"), path.matches('/').count());
            usable.then(|| (rank, path.to_owned()))
        })
        // The first of equals, as apt would ask it first.
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, mirror)| mirror)
}

/// The first address of a mirror list (apt-transport-mirror(1)), as Debian's cloud images have one.
fn first_mirror(list: &str) -> Option<String> {
    let text = std::fs::read_to_string(list).ok()?;
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .find(|word| word.starts_with("http"))
        .map(str::to_owned)
}

/// apt with a private root.
pub struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Prepares the private root under `root` and reads the signed indexes.
    ///
    /// apt itself refuses an index whose signature Debian's keyring does not confirm.
    pub fn update(root: &Path, mirror: &str, recipe: &Recipe) -> Result<Self, Failure> {
        if !Path::new(KEYRING).exists() {
            return Err(Failure::new(format!("{KEYRING} is missing"))
                .hint("install it:  apt-get install debian-archive-keyring"));
        }
        let io =
            |e: std::io::Error| Failure::new(format!("cannot write {}", root.display())).because(e);
        for dir in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(root.join(dir)).map_err(io)?;
        }
        std::fs::write(root.join("status"), "").map_err(io)?;
        let sources = format!(
            "Types: deb\nURIs: {mirror}/\nSuites: {}\nComponents: main non-free-firmware\n\
             Architectures: amd64 arm64\nSigned-By: {KEYRING}\n",
            recipe.suites.join(" ")
        );
        std::fs::write(root.join("debian.sources"), sources).map_err(io)?;
        std::fs::write(root.join("preferences"), preferences(recipe)).map_err(io)?;
        let apt = Self {
            root: root.to_owned(),
        };
        // By itself apt takes an index that it could not fetch for a passing trouble, and ends well.
        let mut update = apt.command("apt-get");
        update.args(["-q", "update", "-o", "APT::Update::Error-Mode=any"]);
        run(&mut update).map_err(|f| {
            f.hint("check the network and the mirror; a signature error means that the index is not Debian's")
        })?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut c = Command::new(program);
        c.env("LC_ALL", "C");
        let root = self.root.display();
        for option in [
            format!("Dir::State={root}"),
            format!("Dir::State::lists={root}/lists"),
            format!("Dir::State::status={root}/status"),
            format!("Dir::Cache={root}/cache"),
            format!("Dir::Etc::sourcelist={root}/debian.sources"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::Etc::preferences={root}/preferences"),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            "APT::Architecture=amd64".into(),
            "APT::Architectures::=amd64".into(),
            "APT::Architectures::=arm64".into(),
            "APT::Install-Recommends=false".into(),
            // Whatever this machine's own configuration allows.
            "APT::Get::AllowUnauthenticated=false".into(),
            "Acquire::AllowInsecureRepositories=false".into(),
            "Acquire::AllowDowngradeToInsecureRepositories=false".into(),
            "Acquire::AllowWeakRepositories=false".into(),
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false".into(),
        ] {
            c.arg("-o").arg(option);
        }
        c
    }

    /// Exact name of the kernel that the flavour's meta package stands for.
    pub fn kernel_abi(&self, kernel: &KernelRecipe) -> Result<String, Failure> {
        let out =
            run(self
                .command("apt-cache")
                .args(["show", "-a", &format!("{}:arm64", kernel.meta)]))?;
        stanzas(&out)
            .filter(|s| {
                s.get("Version").is_some_and(|v| v.contains("bpo"))
                    == kernel.suite.ends_with("-backports")
            })
            .filter_map(|s| s.get("Depends").copied())
            .flat_map(|d| d.split(','))
            .filter_map(|d| d.split_whitespace().next())
            .find_map(|d| d.strip_prefix("linux-image-"))
            .map(str::to_owned)
            .ok_or_else(|| {
                Failure::new(format!(
                    "{} of {} names no kernel",
                    kernel.meta, kernel.suite
                ))
            })
    }

    /// `name:arm64` where the package is built for arm64, `name` where it is for all.
    pub fn arm64_or_all(&self, name: &str) -> String {
        let arm64 = format!("{name}:arm64");
        let known = run(self.command("apt-cache").args(["show", &arm64]))
            .is_ok_and(|o| o.contains("Filename:"));
        if known { arm64 } else { name.to_owned() }
    }

    /// Everything that installing `names` on an empty system would install, as `name:arch=version`.
    pub fn closure(&self, names: &[String]) -> Result<Vec<String>, Failure> {
        let out = run(self
            .command("apt-get")
            .args(["-q", "--print-uris", "-y", "install"])
            .args(names))
        .map_err(|f| f.hint("a package of image/components/debian.toml is gone or in conflict"))?;
        out.lines()
            .filter(|l| l.starts_with('\''))
            .map(|line| {
                let file = line.split_whitespace().nth(1).unwrap_or_default();
                let mut parts = file.trim_end_matches(".deb").split('_');
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(n), Some(v), Some("all")) => Ok(format!("{n}={}", v.replace("%3a", ":"))),
                    (Some(n), Some(v), Some(a)) => Ok(format!("{n}:{a}={}", v.replace("%3a", ":"))),
                    _ => Err(Failure::new(format!(
                        "apt-get printed a line that is no package: {line}"
                    ))),
                }
            })
            .collect()
    }

    /// The index records of the packages in `names` (`name[:arch][=version]`).
    pub fn records(&self, names: &[String], purpose: Purpose) -> Result<Vec<Package>, Failure> {
        let out = run(self
            .command("apt-cache")
            .args(["show", "--no-all-versions"])
            .args(names))
        .map_err(|f| f.hint("a package of image/components/debian.toml is gone"))?;
        let packages: Vec<Package> = stanzas(&out)
            .map(|s| {
                let field = |k: &str| {
                    s.get(k)
                        .map(|v| (*v).to_owned())
                        .ok_or_else(|| Failure::new(format!("an index record lacks {k}")))
                };
                Ok(Package {
                    purpose,
                    name: field("Package")?,
                    arch: field("Architecture")?,
                    version: field("Version")?,
                    path: field("Filename")?,
                    size: field("Size")?.parse().map_err(|e| {
                        Failure::new("an index record's Size is no number").because(e)
                    })?,
                    sha256: field("SHA256")?,
                })
            })
            .collect::<Result<_, Failure>>()?;
        if packages.len() != names.len() {
            return Err(Failure::new(format!(
                "{} packages wanted, {} found",
                names.len(),
                packages.len()
            ))
            .hint("a package of image/components/debian.toml is gone from the mirror"));
        }
        Ok(packages)
    }
}

/// Pins (apt_preferences(5)): the base suite and its updates; others only for the packages named.
fn preferences(recipe: &Recipe) -> String {
    let mut text = String::new();
    for suite in &recipe.suites {
        let priority = if suite.starts_with(&recipe.base) && !suite.ends_with("-backports") {
            900
        } else {
            -1
        };
        let _ = write!(
            text,
            "Package: *\nPin: release n={suite}\nPin-Priority: {priority}\n\n"
        );
    }
    for (suite, names) in &recipe.pins {
        let any: Vec<String> = names.iter().map(|n| format!("{n}:any")).collect();
        let _ = write!(
            text,
            "Package: {}\nPin: release n={suite}\nPin-Priority: 950\n\n",
            any.join(" ")
        );
    }
    text
}

/// Control paragraphs (deb822) as maps of their one-line fields.
fn stanzas(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    text.split("\n\n")
        .filter(|s| !s.trim().is_empty())
        .map(|s| {
            s.lines()
                .filter(|l| !l.starts_with(' '))
                .filter_map(|l| l.split_once(": "))
                .collect()
        })
}

/// Runs a tool and gives its standard output; its last words go into the error.
fn run(command: &mut Command) -> Result<String, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|e| {
        Failure::new(format!("cannot run {program}"))
            .because(e)
            .hint("Roost builds on Debian 12 or later")
    })?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&out.stderr);
    let last: Vec<&str> = words
        .lines()
        .filter(|l| l.starts_with("E:") || l.starts_with("W:"))
        .take(4)
        .collect();
    let reason = if last.is_empty() {
        words.trim().to_owned()
    } else {
        last.join("; ")
    };
    Err(Failure::new(format!("{program} failed ({})", out.status)).because(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What apt prints for `uri`, as far as it matters here.
    fn printed(uri: &str, suites: &[&str], component: &str) -> String {
        let of = |suite: &&str| {
            format!(
                "'{uri}/dists/{suite}/InRelease' a_InRelease 0 \n\
                 '{uri}/dists/{suite}/{component}/binary-amd64/Packages.xz' a_Packages 0 \n"
            )
        };
        suites.iter().map(of).collect()
    }

    #[test]
    fn only_debians_own_archive_is_taken_for_the_mirror() {
        let docker = printed(
            "https://download.docker.com/linux/debian",
            &["bookworm"],
            "stable",
        );
        let zabbix = printed("https://repo.zabbix.com/7.0/debian", &["bookworm"], "main");
        let security = printed(
            "http://deb.debian.org/debian-security",
            &["bookworm-security"],
            "main",
        );
        let none = format!("{docker}{security}");
        assert_eq!(debian_mirror(&none), None);
        assert_eq!(debian_mirror(""), None);
        for (mirror, suites) in [
            ("http://ftp.example.net/debian", &["bookworm"][..]),
            (
                "http://ftp.example.net/pub/mirrors/debian",
                &["trixie", "trixie-updates"],
            ),
        ] {
            let text = format!("{none}{zabbix}{}", printed(mirror, suites, "main"));
            assert_eq!(debian_mirror(&text).as_deref(), Some(mirror));
        }
    }

    #[test]
    fn a_mirror_list_names_the_mirror() {
        let dir = tempfile::tempdir().unwrap();
        let list = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let uri = format!("mirror+file:{}", path.display());
            printed(&uri, &["bookworm", "bookworm-updates"], "main")
        };
        let security = list("security.list", "https://deb.debian.org/debian-security\n");
        let debian = list(
            "debian.list",
            "# ours\n\nhttps://cdn.example.net/debian/\tpriority:1\nhttps://b.example.net/debian\n",
        );
        let missing = printed("mirror+file:/nowhere/list", &["bookworm"], "main");
        assert_eq!(
            debian_mirror(&format!("{missing}{security}{debian}")).as_deref(),
            Some("https://cdn.example.net/debian")
        );
        assert_eq!(debian_mirror(&format!("{missing}{security}")), None);
    }

    #[test]
    fn an_index_without_a_signature_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        // apt reads it as a user of its own.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let suite = dir.path().join("debian/dists/trixie");
        std::fs::create_dir_all(&suite).unwrap();
        std::fs::write(suite.join("Release"), "Suite: trixie\nCodename: trixie\n").unwrap();
        let recipe = Recipe {
            base: "trixie".into(),
            suites: vec!["trixie".into()],
            pins: BTreeMap::new(),
            kernel: KernelRecipe {
                meta: String::new(),
                suite: String::new(),
                packages: Vec::new(),
            },
            module: ModuleRecipe {
                packages: Vec::new(),
            },
            image: ImageRecipe {
                packages: Vec::new(),
            },
            sdk: SdkRecipe {
                packages: Vec::new(),
                foreign: Vec::new(),
            },
        };
        let mirror = format!("file:{}/debian", dir.path().display());
        let failure = Apt::update(&dir.path().join("apt"), &mirror, &recipe)
            .err()
            .expect("nothing is signed");
        assert!(
            failure.causes()[0].contains("is not signed"),
            "{}",
            failure.render()
        );
    }
}
