//! The folder `relay` beside `roost.toml`: a Terraform project that is whole without us, and its state.

use crate::config::Config;
use crate::error::Failure;
use crate::keys;
use crate::store::{disk_failure, files_below, write_atomically};
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The project's one file of its own.
const MAIN: &str = "main.tf.json";
/// Where the relay's module lies in the project.
const MODULE: &str = "module";
/// Where it lies in the checkout.
const SOURCE: &str = "terraform/relay";
/// The module that makes the files of a relay, within that.
const USER_DATA: &str = "modules/userdata";
/// Name of the folder.
const FOLDER: &str = "relay";

/// What is wanted of a relay, and where it is kept.
pub struct Project {
    /// `roost.toml`.
    pub config: Config,
    /// The folder.
    pub folder: PathBuf,
}

/// What was found out or decided on the way and is not in `roost.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// The box's WireGuard key.
    pub box_public_key: String,
    /// Name to which the address leads back; none before the second phase.
    #[serde(default)]
    pub mail_host: Option<String>,
    /// The key from which AWS makes the DS record.
    #[serde(default)]
    pub dnssec_key: Option<DnssecKey>,
}

/// A key-signing key (RFC 4034 section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnssecKey {
    /// Algorithm, e.g. 13 (ECDSA P-256).
    pub algorithm: u8,
    /// 257: a key-signing key.
    pub flags: u16,
    /// The key in base64.
    pub public_key: String,
}

impl DnssecKey {
    /// Reads what follows `DNSKEY` in a record: flags, protocol, algorithm, key.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let bad = |why: &str| {
            Failure::usage("--dnssec-key: this is no key-signing key")
                .because(why.to_owned())
                .hint("write what follows DNSKEY in the record: 257 3 13 and the key in base64")
        };
        let mut words = text.split_whitespace();
        let mut number = |what| {
            let word = words.next().and_then(|word| word.parse::<u16>().ok());
            word.ok_or_else(|| bad(what))
        };
        let flags = number("the flags are no number")?;
        let protocol = number("the protocol is no number")?;
        let algorithm = number("the algorithm is no number")?;
        // The key may be broken into several words.
        let public_key: String = words.collect();
        if flags != 257 {
            return Err(bad("its flags are not 257"));
        }
        if protocol != 3 {
            return Err(bad("its protocol is not 3"));
        }
        let algorithm = [8, 13, 14, 15]
            .into_iter()
            .find(|known| u16::from(*known) == algorithm)
            .ok_or_else(|| bad("its algorithm is none of 8, 13, 14 and 15"))?;
        let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/=".contains(&b);
        if public_key.len() < 40 || !public_key.bytes().all(base64) {
            return Err(bad("the key itself is no base64, or too short"));
        }
        Ok(Self {
            algorithm,
            flags,
            public_key,
        })
    }
}

impl Project {
    /// That of the `roost.toml` at `config`.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that cannot be used.
    pub fn open(config: &Path) -> Result<Self, Failure> {
        let parent = config.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(parent.join(FOLDER))
            .map_err(|e| disk_failure("find", parent, e))?;
        Ok(Self {
            config: Config::load(config)?,
            folder,
        })
    }

    /// Where the relay's secrets are.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if nothing says where keys are kept.
    pub fn keys(&self) -> Result<PathBuf, Failure> {
        keys::folder(&self.config.owner())
    }

    /// The mail server's name, as far as `roost.toml` says it.
    pub fn mail_host(&self) -> Option<String> {
        if let Some(host) = &self.config.mail.host {
            return Some(host.to_string());
        }
        let domain = &self.config.mailbox.as_ref()?.domain;
        Some(format!("mail.{domain}"))
    }

    /// What was written last, if anything was.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be read.
    pub fn choices(&self) -> Result<Option<Choices>, Failure> {
        let path = self.folder.join(MAIN);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(disk_failure("read", &path, e)),
        };
        serde_json::from_str::<Value>(&text)
            .and_then(|main| serde_json::from_value(main["module"]["relay"].clone()))
            .map(Some)
            .map_err(|e| {
                Failure::new(format!("{} is damaged", path.display()))
                    .because(e)
                    .hint("restore it from a copy; its state is in the file terraform.tfstate beside it")
            })
    }

    /// What was written last.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is none, or if it cannot be read.
    pub fn made(&self) -> Result<Choices, Failure> {
        self.choices()?.ok_or_else(|| {
            Failure::usage(format!("there is no relay in {}", self.folder.display()))
                .hint("`roost relay apply` makes one; --config names a roost.toml elsewhere")
        })
    }

    /// Has the reverse name wait for the second phase again: AWS sets none for an address to which the name
    /// does not lead yet, and no name leads to a new address, or to one whose name server is gone.
    ///
    /// # Errors
    ///
    /// As [`Self::choices`] and [`Self::write`].
    pub fn forget_second_phase(&self) -> Result<(), Failure> {
        match self.choices()? {
            Some(choices) if choices.mail_host.is_some() => self.write(&Choices {
                mail_host: None,
                ..choices
            }),
            _ => Ok(()),
        }
    }

    /// Writes the project as `roost.toml` and `choices` want it. The state in it stays.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it cannot be written, or if `roost.toml` lacks something.
    pub fn write(&self, choices: &Choices) -> Result<(), Failure> {
        let main = self.main(choices)?;
        put_module(
            &self.folder,
            &Workspace::find()?.source.join(SOURCE),
            MODULE,
        )?;
        // The state says what stands where; it is nobody else's business, and belongs into no repository.
        write_atomically(&self.folder.join(".gitignore"), "*\n")?;
        write_atomically(&self.folder.join(MAIN), &pretty(&main))
    }

    fn main(&self, choices: &Choices) -> Result<Value, Failure> {
        let relay = &self.config.relay;
        let domain = self.config.mailbox.as_ref().map(|m| m.domain.to_string());
        if relay.registered_domain && domain.is_none() {
            return Err(Failure::usage(
                "`registered_domain` is set, but roost.toml names no domain",
            )
            .hint("add `domain` under [box] and an account, or remove `registered_domain`"));
        }
        // A domain at another registrar is answered for as well, once it is delegated.
        let zones: Vec<String> = domain.into_iter().collect();
        let secret = json!({"type": "string", "ephemeral": true, "sensitive": true});
        let mut tsig = secret.clone();
        tsig["default"] = Value::Null;
        let mut module = json!({
            "source": format!("./{MODULE}"),
            "name": relay.name,
            "box_public_key": choices.box_public_key,
            "relay_private_key": "${var.relay_private_key}",
            "zones": zones,
            "registered_domain": zones.first().filter(|_| relay.registered_domain),
            "instance_type": relay.instance_type,
            "ami_id": relay.ami,
            "elastic_ip_allocation_id": relay.elastic_ip,
            "second_elastic_ip": relay.second_elastic_ip,
            "budget_email": relay.budget_email,
            "budget_usd": relay.budget_usd,
            "mail_host": choices.mail_host,
            "dnssec_key": choices.dnssec_key,
        });
        if !zones.is_empty() {
            module["tsig_secret"] = json!("${var.tsig_secret}");
        }
        let mut main = json!({
            "//": "Written by `roost relay`, which overwrites changes. Secrets come from the environment: TF_VAR_relay_private_key.",
            "terraform": {"required_version": ">= 1.11"},
            "variable": {"relay_private_key": secret, "tsig_secret": tsig},
            "module": {"relay": module},
            "output": {"relay": {"value": "${module.relay}"}},
        });
        if let Some(region) = &relay.region {
            main["provider"] = json!({"aws": {"region": region}});
        }
        Ok(main)
    }
}

/// Writes a project in `folder` that makes the script for a machine which is not at AWS.
///
/// # Errors
///
/// A [`Failure`] if it cannot be written.
pub fn write_script(
    folder: &Path,
    box_key: &str,
    ssh_port: u16,
    public_ip: Option<std::net::Ipv4Addr>,
) -> Result<(), Failure> {
    let source = Workspace::find()?.source.join(SOURCE).join(USER_DATA);
    put_module(folder, &source, MODULE)?;
    let main = json!({
        "module": {"relay": {
            "source": format!("./{MODULE}"),
            "box_public_key": box_key,
            "ssh_port": (ssh_port != 0).then_some(ssh_port),
            "public_ipv4": public_ip.into_iter().map(|ip| ip.to_string()).collect::<Vec<_>>(),
            "session_manager": false,
        }},
        "output": {"script": {"value": "${module.relay.script}"}},
    });
    write_atomically(&folder.join(MAIN), &pretty(&main))
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a value is plain data");
    text.push('\n');
    text
}

/// Makes `folder/name` equal to the Terraform module in `source`.
fn put_module(folder: &Path, source: &Path, name: &str) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|e| disk_failure("create", folder, e))?;
    let copy = folder.join(name);
    let mut wanted = Vec::new();
    for path in files_below(source)? {
        let inside = path.strip_prefix(source).unwrap_or(&path).to_owned();
        // Neither examples and tests, nor what terraform has left where the module was tried.
        let other = inside.iter().any(|part| {
            let part = part.to_string_lossy();
            part == "examples" || part == "tests" || part.starts_with('.')
        });
        if !other && !inside.to_string_lossy().contains(".tfstate") {
            wanted.push((path, copy.join(inside)));
        }
    }
    if copy.is_dir() {
        for old in files_below(&copy)? {
            if !wanted.iter().any(|(_, to)| *to == old) {
                std::fs::remove_file(&old).map_err(|e| disk_failure("remove", &old, e))?;
            }
        }
    }
    for (from, to) in wanted {
        let parent = to.parent().expect("below the copy");
        std::fs::create_dir_all(parent).map_err(|e| disk_failure("create", parent, e))?;
        std::fs::copy(&from, &to).map_err(|e| disk_failure("copy", &from, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str, folder: &Path) -> Project {
        std::fs::write(folder.join("roost.toml"), text).unwrap();
        Project::open(&folder.join("roost.toml")).unwrap()
    }

    const KEY: &str = "mDuTCUJBfoQ7Vi3MLsmFhS9VJcW8M1EtGcnJbSoYDxw=";

    #[test]
    fn the_project_is_whole_and_remembers_its_choices() {
        let dir = tempfile::tempdir().unwrap();
        let project = project("[relay]\nregion = \"eu-central-1\"\n", dir.path());
        assert_eq!(project.choices().unwrap(), None);
        assert!(project.made().is_err());
        let mut choices = Choices {
            box_public_key: KEY.into(),
            ..Choices::default()
        };
        project.write(&choices).unwrap();
        let stale = project.folder.join("module/stale.tf");
        std::fs::write(&stale, "").unwrap();
        choices.mail_host = Some("mail.example.org".into());
        project.write(&choices).unwrap();
        assert_eq!(project.made().unwrap(), choices);
        assert!(!stale.exists());
        let names = |path: &str| project.folder.join(path).exists();
        assert!(names("module/variables.tf") && names("module/modules/userdata/files/setup"));
        assert!(!names("module/examples") && !names("module/modules/userdata/tests"));
        insta::assert_snapshot!(std::fs::read_to_string(project.folder.join(MAIN)).unwrap());
    }

    #[test]
    fn a_damaged_project_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let project = project("", dir.path());
        std::fs::create_dir(&project.folder).unwrap();
        std::fs::write(project.folder.join(MAIN), "{}").unwrap();
        let failure = project.made().unwrap_err().render();
        assert!(failure.contains("is damaged"), "{failure}");
    }

    #[test]
    fn a_dnskey_is_read_as_its_record_has_it() {
        // RFC 6605 section 6.1.
        let text = "257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==";
        let key = DnssecKey::parse(text).unwrap();
        assert_eq!((key.algorithm, key.flags), (13, 257));
        for bad in [
            "",
            "256 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64c",
            "257 3 5 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64c",
            "257 3 13 short",
            "257 3 13 \"; DROP TABLE; GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeex\"",
        ] {
            assert!(DnssecKey::parse(bad).is_err(), "{bad}");
        }
    }
}
