//! Runs terraform in the relay's folder, and shows what it does in our own way.
//!
//! It is asked for events, one JSON object a line (Terraform documentation, "Machine-Readable UI").
//! Secrets reach it by its environment, and nothing of what it says is shown unsearched for them.

use super::secrets::Secrets;
use super::trouble::{self, Diagnostic};
use super::words;
use crate::device::stop::Stop;
use crate::error::Failure;
use crate::ui::{Step, Ui};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Ephemeral variables and write-only arguments came with it.
const NEEDED: (u32, u32) = (1, 11);
/// Names another program than the `terraform` on the PATH.
const VARIABLE: &str = "ROOST_TERRAFORM";
/// File of a plan, in the folder.
const PLAN: &str = "plan";

/// Terraform, ready to work in one folder.
pub struct Terraform<'a> {
    program: PathBuf,
    folder: PathBuf,
    secrets: Option<&'a Secrets>,
    stop: Stop,
    ui: &'a Ui,
}

/// One thing that would be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `create`, `update`, `replace` or `delete`.
    pub action: String,
    /// Where it stands in the project, e.g. `module.relay.aws_eip.this[0]`.
    pub address: String,
    /// Its kind, e.g. `aws_eip`.
    pub kind: String,
}

/// What a plan is about.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Everything is to go.
    pub destroy: bool,
    /// Only these addresses and what they need.
    pub targets: Vec<String>,
    /// These are to be made anew.
    pub replace: Vec<String>,
}

impl<'a> Terraform<'a> {
    /// Finds the program and looks whether it is new enough.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it is not there or too old.
    pub fn new(
        folder: &Path,
        secrets: Option<&'a Secrets>,
        stop: Stop,
        ui: &'a Ui,
    ) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Version {
            terraform_version: String,
        }
        let program = std::env::var_os(VARIABLE)
            .filter(|path| !path.is_empty())
            .map_or_else(|| PathBuf::from("terraform"), PathBuf::from);
        let this = Self {
            program,
            folder: folder.to_owned(),
            secrets,
            stop,
            ui,
        };
        let out = (this.command(["version", "-json"]).output()).map_err(|e| {
            Failure::new("cannot run terraform").because(e).hint(format!(
                "install Terraform {}.{} or later (https://developer.hashicorp.com/terraform/install), or name it with {VARIABLE}",
                NEEDED.0, NEEDED.1
            ))
        })?;
        let found = serde_json::from_slice::<Version>(&out.stdout)
            .map(|version| version.terraform_version)
            .unwrap_or_default();
        let mut numbers = found.split('.').map_while(|part| part.parse::<u32>().ok());
        let number = (
            numbers.next().unwrap_or_default(),
            numbers.next().unwrap_or_default(),
        );
        if number < NEEDED {
            let found = if found.is_empty() { "unknown" } else { &found };
            return Err(Failure::new(format!("terraform is version {found}"))
                .because(format!(
                    "older ones than {}.{} would keep the relay's private key in their state",
                    NEEDED.0, NEEDED.1
                ))
                .hint("install a later one (https://developer.hashicorp.com/terraform/install)"));
        }
        Ok(this)
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("TF_IN_AUTOMATION", "1")
            .env("TF_INPUT", "0")
            .env("CHECKPOINT_DISABLE", "1")
            // Words of the user's for every call would change what the calls here mean.
            .env_remove("TF_CLI_ARGS")
            .env_remove("TF_WORKSPACE")
            .env_remove("TF_DATA_DIR")
            .stdin(Stdio::null());
        if let Some(secrets) = self.secrets {
            command
                .env("TF_VAR_relay_private_key", secrets.private_key.as_str())
                .env("TF_VAR_tsig_secret", secrets.tsig.as_str());
        }
        command
    }

    fn hide(&self, text: &str) -> String {
        match self.secrets {
            Some(secrets) => secrets.hide(text),
            None => text.to_owned(),
        }
    }

    /// Fetches the AWS provider, if it is not there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if that does not work.
    pub fn init(&self) -> Result<(), Failure> {
        let step = self.ui.step("prepare Terraform");
        let out = self
            .command(["init", "-no-color"])
            .output()
            .map_err(|e| Failure::new("cannot run terraform").because(e))?;
        if out.status.success() {
            step.done("");
            return Ok(());
        }
        let said = self.hide(String::from_utf8_lossy(&out.stderr).trim());
        Err(trouble::of_words("cannot prepare Terraform", &said))
    }

    /// Finds out what would change, and keeps that for [`Self::apply`].
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what AWS or Terraform has against it.
    pub fn plan(&self, scope: &Scope) -> Result<Vec<Change>, Failure> {
        let step = self.ui.step("look at AWS");
        let mut arguments = vec![
            "plan".to_owned(),
            "-json".to_owned(),
            format!("-out={PLAN}"),
        ];
        arguments.extend(scope.destroy.then(|| "-destroy".to_owned()));
        arguments.extend(scope.targets.iter().map(|t| format!("-target={t}")));
        arguments.extend(scope.replace.iter().map(|r| format!("-replace={r}")));
        let mut changes = Vec::new();
        self.run("cannot plan the relay", &arguments, |event| match event {
            Event::PlannedChange { change } if change.action != "read" => changes.push(Change {
                action: change.action,
                address: change.resource.addr,
                kind: change.resource.resource_type,
            }),
            Event::RefreshStart { hook } => {
                step.message(words::thing(&hook.resource.resource_type))
            }
            _ => {}
        })?;
        step.done(match changes.len() {
            0 => "nothing would change".to_owned(),
            1 => "1 change".to_owned(),
            n => format!("{n} changes"),
        });
        Ok(changes)
    }

    /// Does what the last plan says; `count` is how much that is.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what AWS or Terraform has against it. What was made is in the state.
    pub fn apply(&self, title: &str, count: usize) -> Result<(), Failure> {
        let step = self.ui.step(title);
        step.total_items(count as u64);
        let result = self.run(
            &format!("cannot {title}"),
            &["apply".to_owned(), "-json".to_owned(), PLAN.to_owned()],
            |event| watch(&event, &step),
        );
        // It holds nothing that is secret, but is of no use any more.
        let _ = std::fs::remove_file(self.folder.join(PLAN));
        result?;
        step.done("");
        Ok(())
    }

    /// Throws the last plan away.
    pub fn forget_plan(&self) {
        let _ = std::fs::remove_file(self.folder.join(PLAN));
    }

    fn run(
        &self,
        what: &str,
        arguments: &[String],
        mut heard: impl FnMut(Event),
    ) -> Result<(), Failure> {
        let cannot = |e| Failure::new("cannot run terraform").because(e);
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        let mut stderr = child.stderr.take().expect("stderr is piped");
        // Both pipes are emptied, or a full one would stop it.
        let errors = std::thread::spawn(move || {
            let mut words = Vec::new();
            let _ = stderr.read_to_end(&mut words);
            String::from_utf8_lossy(&words).into_owned()
        });
        let mut diagnostics = Vec::new();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        for line in stdout.split(b'\n').map_while(Result::ok) {
            match serde_json::from_slice(&line) {
                Ok(Event::Diagnostic { diagnostic }) => diagnostics.push(diagnostic),
                Ok(event) => heard(event),
                // Words that are not for programs: its log says nothing that is needed here.
                Err(_) => {}
            }
        }
        let status = child.wait().map_err(cannot)?;
        let words = errors.join().unwrap_or_default();
        let (errors, warnings): (Vec<Diagnostic>, Vec<_>) = (diagnostics
            .into_iter()
            .map(|d| d.map(|text| self.hide(text))))
        .partition(Diagnostic::is_error);
        if self.stop.is_set() {
            return Err(Failure::interrupted("stopped")
                .because("terraform has ended in good order; what it had made is in its state")
                .hint("run the same command again: it goes on from there"));
        }
        if status.success() {
            for warning in warnings.iter().filter(|warning| !warning.is_expected()) {
                self.ui.warn(warning.text());
            }
            return Ok(());
        }
        Err(match errors.as_slice() {
            [] => trouble::of_words(what, &self.hide(words.trim())),
            errors => trouble::of(what, errors),
        })
    }

    /// The project's output `name`, if it has been made.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the state cannot be read, or the output is another than `T`.
    pub fn output<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Failure> {
        #[derive(Deserialize)]
        struct Output {
            value: serde_json::Value,
        }
        let mut outputs: BTreeMap<String, Output> = self.answer(["output", "-json"])?;
        let Some(output) = outputs.remove(name) else {
            return Ok(None);
        };
        serde_json::from_value(output.value).map(Some).map_err(|e| {
            Failure::new("what terraform knows of the relay is not complete")
                .because(e)
                .hint("run `roost relay apply` again")
        })
    }

    /// A value of a resource in the state, if it is there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the state cannot be read.
    pub fn value(&self, address: &str, name: &str) -> Result<Option<String>, Failure> {
        let state: serde_json::Value = self.answer(["show", "-json"])?;
        let mut modules = vec![&state["values"]["root_module"]];
        while let Some(module) = modules.pop() {
            modules.extend(module["child_modules"].as_array().into_iter().flatten());
            for resource in module["resources"].as_array().into_iter().flatten() {
                if resource["address"] == address {
                    return Ok(resource["values"][name].as_str().map(str::to_owned));
                }
            }
        }
        Ok(None)
    }

    fn answer<T: DeserializeOwned>(&self, arguments: [&str; 2]) -> Result<T, Failure> {
        let what = "cannot read the relay's state";
        let out = self
            .command(arguments)
            .output()
            .map_err(|e| Failure::new("cannot run terraform").because(e))?;
        if !out.status.success() {
            let words = self.hide(String::from_utf8_lossy(&out.stderr).trim());
            return Err(trouble::of_words(what, &words));
        }
        serde_json::from_slice(&out.stdout).map_err(|e| Failure::new(what).because(e))
    }

    /// Makes everything of a project without providers, and gives a text that it puts out.
    ///
    /// # Errors
    ///
    /// A [`Failure`] that says what Terraform has against it.
    pub fn text(&self, output: &str) -> Result<String, Failure> {
        self.init()?;
        self.plan(&Scope::default())?;
        self.apply("write the script", 0)?;
        self.output(output)?
            .ok_or_else(|| Failure::new("terraform made no script"))
    }
}

fn watch(event: &Event, step: &Step<'_>) {
    match event {
        Event::ApplyStart { hook } => step.message(words::thing(&hook.resource.resource_type)),
        Event::ApplyComplete { .. } => step.advance(1),
        _ => {}
    }
}

/// What terraform says while it works.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    PlannedChange {
        change: Planned,
    },
    RefreshStart {
        hook: Hook,
    },
    ApplyStart {
        hook: Hook,
    },
    ApplyComplete {},
    Diagnostic {
        diagnostic: Diagnostic,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Planned {
    resource: Resource,
    action: String,
}

#[derive(Debug, Deserialize)]
struct Hook {
    resource: Resource,
}

#[derive(Debug, Deserialize)]
struct Resource {
    addr: String,
    resource_type: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_understood_and_unknown_ones_passed_over() {
        let event = |text: &str| serde_json::from_str::<Event>(text).unwrap();
        let planned = event(
            r#"{"@level":"info","@message":"Plan to create","type":"planned_change","change":{
                "resource":{"addr":"module.relay.aws_eip.this[0]","module":"module.relay","resource_type":"aws_eip","resource_name":"this","resource_key":0},
                "action":"create"}}"#,
        );
        assert!(
            matches!(planned, Event::PlannedChange { change } if change.resource.resource_type == "aws_eip")
        );
        assert!(matches!(
            event(r#"{"@level":"info","type":"version","terraform":"1.11.4","ui":"1.2"}"#),
            Event::Other
        ));
    }
}
