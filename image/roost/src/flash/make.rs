//! The image, made on the way to the card.
//!
//! Under sudo it is made by a `roost build` of whoever called it: an image, a cache and compilers that belong
//! to root would be in the way of every later build.

use crate::build::{self, BUILT};
use crate::cli::{BuildArgs, FlashArgs};
use crate::error::{Exit, Failure};
use crate::sudo::{self, User};
use crate::ui::{Mode, Ui};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Makes it, in the folder `output`.
pub fn image(args: &FlashArgs, output: &str, ui: &Ui) -> Result<(), Failure> {
    match sudo::caller() {
        Some(user) => image_as(&user, args, output, ui),
        None => {
            let args = BuildArgs {
                config: args.config.clone(),
                output: output.into(),
                offline: args.offline,
                release: None,
                record_syscalls: false,
            };
            build::on_the_way(&args, ui)
        }
    }
}

fn image_as(user: &User, args: &FlashArgs, output: &str, ui: &Ui) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::new("cannot run `roost build`").because(e);
    let exe = std::env::current_exe().map_err(cannot)?;
    let mut command = Command::new(exe);
    command
        .args(["build", "--output", output, "--config"])
        .arg(&args.config)
        .args(args.offline.then_some("--offline"))
        .args(match ui.mode() {
            Mode::Json => Some("--json"),
            Mode::Quiet => Some("--quiet"),
            Mode::Bars | Mode::Lines => None,
        })
        .env("HOME", &user.home)
        .env(
            "PATH",
            with_cargo(user, std::env::var_os("PATH").as_deref()),
        )
        .stdin(Stdio::null())
        // What it shows is no result here.
        .stdout(match ui.mode() {
            Mode::Json => Stdio::piped(),
            _ => Stdio::from(
                std::io::stderr()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(cannot)?,
            ),
        })
        .uid(user.uid)
        .gid(user.gid);
    for variable in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"] {
        command.env_remove(variable);
    }
    let mut child = command.spawn().map_err(cannot)?;
    if let Some(events) = child.stdout.take() {
        for line in BufReader::new(events).lines() {
            pass_on(&line.map_err(cannot)?, ui);
        }
    }
    let ended = child.wait().map_err(cannot)?;
    let what = "there is no image to write";
    let failure = match ended.code() {
        Some(0) => return Ok(()),
        Some(code) if code == Exit::Usage as i32 => Failure::usage(what),
        Some(code) if code == Exit::Offline as i32 => Failure::offline(what),
        Some(code) if code == Exit::Interrupted as i32 => Failure::interrupted(what),
        _ => Failure::new(what),
    };
    Err(failure.because("`roost build` could not make it, and has said why"))
}

/// Where programs are: sudo has a list of its own (`secure_path`), without the folder in the user's home where rustup
/// puts cargo.
fn with_cargo(user: &User, path: Option<&OsStr>) -> OsString {
    let cargo = user.home.join(".cargo/bin");
    let others = path.into_iter().flat_map(std::env::split_paths);
    let all = std::iter::once(cargo).chain(others);
    // A home with a colon in its name is in no such list.
    std::env::join_paths(all).unwrap_or_else(|_| path.unwrap_or_default().to_owned())
}

/// An event of the build; its result is none of this command's.
fn pass_on(line: &str, ui: &Ui) {
    let Ok(mut event) = serde_json::from_str::<Value>(line) else {
        return;
    };
    if event["event"] == "result" {
        event["event"] = BUILT.into();
    }
    ui.event_line(&event);
}

#[cfg(test)]
mod tests {
    use super::{OsStr, User, with_cargo};
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn sudo_does_not_hide_the_users_cargo() {
        let user = |home: &str| User {
            uid: 1000,
            gid: 1000,
            home: home.into(),
        };
        let path = Some(OsStr::new("/usr/sbin:/usr/bin"));
        let alice = user("/home/alice");
        assert_eq!(
            with_cargo(&alice, path),
            "/home/alice/.cargo/bin:/usr/sbin:/usr/bin"
        );
        assert_eq!(with_cargo(&alice, None), "/home/alice/.cargo/bin");
        assert_eq!(with_cargo(&user("/home/a:b"), path), "/usr/sbin:/usr/bin");
    }

    /// The child must understand what it is called with.
    #[test]
    fn a_build_takes_these_options() {
        let line = [
            "roost",
            "build",
            "--output",
            "build",
            "--config",
            "roost.toml",
            "--offline",
            "--json",
        ];
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Build(args) = cli.command else {
            panic!("{line:?}");
        };
        assert_eq!(
            (args.output.as_path(), args.offline),
            (std::path::Path::new("build"), true)
        );
    }
}
