//! The program as a whole, as scripts and people call it.

mod bundle;
mod flash;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn roost(dir: &Path, args: &[&str]) -> Output {
    roost_with_input(dir, args, "")
}

/// Keys go to a folder beside `dir`, never to the user's own.
fn roost_with_input(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_roost"))
        .args(args)
        .current_dir(dir)
        .env_remove("USER")
        .env("XDG_CONFIG_HOME", config_home(dir))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("roost starts");
    // A command that reads no input may be gone already.
    let _ = child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(input.as_bytes());
    child.wait_with_output().expect("roost ends")
}

/// Where the commands that run in `dir` keep keys.
fn config_home(dir: &Path) -> PathBuf {
    dir.with_file_name("config")
}

/// A folder to run in.
struct Place {
    work: PathBuf,
    _outside: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let work = outside.path().join("work");
        std::fs::create_dir(&work).unwrap();
        Self {
            work,
            _outside: outside,
        }
    }

    fn path(&self) -> &Path {
        &self.work
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

fn json(out: &Output) -> serde_json::Value {
    let last = text(&out.stdout).lines().last().expect("there is an event");
    serde_json::from_str(last).expect("an event is JSON")
}

const INIT: [&str; 5] = ["init", "--domain", "Example.org", "--account", "alice"];

#[test]
fn init_writes_a_file_that_build_accepts_and_never_overwrites_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Place::new();
    let args = [&INIT[..], &["--password-file", "-"]].concat();
    let out = roost_with_input(dir.path(), &args, "correct horse\r\nsecond line\n");
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(!text(&out.stdout).contains("correct horse"));
    let file = dir.path().join("roost.toml");
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.contains("domain = \"example.org\"") && !first.contains("correct horse"));
    assert_eq!(
        std::fs::metadata(&file).unwrap().permissions().mode() & 0o133,
        0
    );

    let out = roost_with_input(dir.path(), &args, "battery staple\n");
    assert_eq!(out.status.code(), Some(2));
    insta::assert_snapshot!(text(&out.stderr));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);

    let out = roost_with_input(
        dir.path(),
        &[&args[..], &["--force"]].concat(),
        "battery staple\n",
    );
    assert!(out.status.success());
    assert_ne!(std::fs::read_to_string(&file).unwrap(), first);
    // Nothing but the file is left behind.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn init_makes_a_password_and_shows_it_once() {
    let dir = Place::new();
    let out = roost(
        dir.path(),
        &[&INIT[..], &["new/box", "--generate-password", "--json"]].concat(),
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    let event = json(&out);
    assert_eq!(
        (&event["event"], &event["address"]),
        (&"result".into(), &"alice@example.org".into())
    );
    let password = event["password"].as_str().expect("it was made here");
    let file = std::fs::read_to_string(dir.path().join("new/box/roost.toml")).unwrap();
    assert!(!file.contains(password));

    let out = roost(
        dir.path(),
        &[&INIT[..], &["plain", "--generate-password"]].concat(),
    );
    let shown: Vec<&str> = text(&out.stdout)
        .lines()
        .map(|l| l.split("  password").next().unwrap())
        .collect();
    let config = config_home(dir.path()).display().to_string();
    insta::assert_snapshot!(shown.join("\n").replace(&config, "CONFIG"));
}

#[test]
fn init_makes_keys_once_and_writes_their_public_halves() {
    let dir = Place::new();
    let args = [&INIT[..], &["--generate-password", "--force", "--json"]].concat();
    let first = json(&roost(dir.path(), &args));
    let keys = &first["keys"];
    assert_eq!(keys["made"], serde_json::json!(["update.key"]));
    let folder = config_home(dir.path()).join("roost/example.org");
    assert_eq!(keys["folder"], folder.display().to_string());
    let file = std::fs::read_to_string(dir.path().join("roost.toml")).unwrap();
    let line = format!("\nkeys = [\"{}\"]\n", keys["update"].as_str().unwrap());
    assert!(file.contains(&line), "{line} in {file}");
    let secret = std::fs::read_to_string(folder.join("update.key")).unwrap();
    assert!(!file.contains(secret.lines().last().unwrap()));

    let second = json(&roost(dir.path(), &args));
    assert_eq!(second["keys"]["made"], serde_json::json!([]));
    assert_eq!(second["keys"]["update"], keys["update"]);
    // A key that is damaged is no reason to make another one.
    std::fs::write(folder.join("update.key"), "gone").unwrap();
    let third = roost(dir.path(), &args);
    assert_eq!(third.status.code(), Some(1));
    assert_eq!(std::fs::read(folder.join("update.key")).unwrap(), b"gone");
}

#[test]
fn init_without_a_domain_leaves_it_to_the_browser() {
    let dir = Place::new();
    let out = roost(dir.path(), &["init", "--name", "attic", "--json"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let result = json(&out);
    assert_eq!(result.get("address"), None);
    let folder = result["keys"]["folder"].as_str().unwrap();
    assert!(folder.ends_with("/roost/attic.local"), "{folder}");
    let file = std::fs::read_to_string(dir.path().join("roost.toml")).unwrap();
    assert!(file.contains("\n#domain = ") && file.contains("\nname = \"attic\""));
}

#[test]
fn init_without_a_terminal_says_what_is_missing() {
    let dir = Place::new();
    for (name, args) in [
        ("no_domain", &["init", "--account", "alice"][..]),
        ("no_password", &INIT[..]),
        (
            "bad_domain",
            &["init", "--domain", "roost.local", "--account", "alice"],
        ),
        (
            "bad_account",
            &["init", "--domain", "example.org", "--account", "Postmaster"],
        ),
        (
            "two_sources",
            &["init", "--generate-password", "--password-file", "x"],
        ),
        (
            "no_password_file",
            &[
                "init",
                "--domain",
                "example.org",
                "--account",
                "a",
                "--password-file",
                "x",
            ],
        ),
    ] {
        let out = roost(dir.path(), args);
        assert_eq!(out.status.code(), Some(2), "{name}");
        assert_eq!(text(&out.stdout), "");
        insta::assert_snapshot!(name, text(&out.stderr));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_short_password_is_refused_and_not_repeated() {
    let dir = Place::new();
    let out = roost_with_input(
        dir.path(),
        &["password", "--password-file", "-"],
        "geheim\n",
    );
    assert_eq!(out.status.code(), Some(2));
    assert!(!text(&out.stderr).contains("geheim"));
    insta::assert_snapshot!(text(&out.stderr));
}

#[test]
fn a_password_line_fits_into_the_file() {
    let dir = Place::new();
    let out = roost_with_input(
        dir.path(),
        &["password", "--password-file", "-"],
        "correct horse",
    );
    let line = text(&out.stdout);
    assert!(
        line.starts_with("password_hash = \"$argon2id$v=19$m=7168,t=5,p=1$")
            && line.ends_with("\"\n"),
        "{line}"
    );
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_nearest() {
    let dir = Place::new();
    for (name, args) in [
        ("usage_command", &["biuld"][..]),
        ("usage_option", &["build", "--ofline"]),
        ("usage_machine", &["run", "--machine", "rasp3b"]),
        ("usage_port_offset", &["run", "--port-offset", "80"]),
    ] {
        let out = roost(dir.path(), args);
        assert_eq!(out.status.code(), Some(2), "{name}");
        insta::assert_snapshot!(name, text(&out.stderr));
    }
    assert_eq!(roost(dir.path(), &[]).status.code(), Some(2));
    assert_eq!(roost(dir.path(), &["--help"]).status.code(), Some(0));
    assert_eq!(
        text(&roost(dir.path(), &["--version"]).stdout),
        concat!("roost ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn a_faulty_file_ends_build_with_2_as_text_and_as_json() {
    let dir = Place::new();
    std::fs::write(
        dir.path().join("roost.toml"),
        "[box]\ndomian = \"example.org\"\nname = 1\n",
    )
    .unwrap();
    let out = roost(dir.path(), &["build", "--offline"]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    insta::assert_snapshot!("faulty_text", text(&out.stderr));
    let out = roost(dir.path(), &["build", "--offline", "--json"]);
    assert_eq!(out.status.code(), Some(2));
    insta::assert_snapshot!(
        "faulty_json",
        serde_json::to_string_pretty(&json(&out)).unwrap()
    );
}

/// Nothing is fetched or made for an image that is not there.
#[test]
fn run_without_an_image_says_how_to_get_one() {
    let dir = Place::new();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    for (name, args) in [
        ("no_image", &["run"][..]),
        ("image_is_a_folder", &["run", "--image", "folder"]),
    ] {
        let out = roost(dir.path(), args);
        assert_eq!(out.status.code(), Some(1), "{name}");
        insta::assert_snapshot!(name, text(&out.stderr));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn colours_follow_the_option() {
    let dir = Place::new();
    let coloured = |when: &str| {
        text(&roost(dir.path(), &["init", "--account", "alice", "--color", when]).stderr)
            .contains("\u{1b}[")
    };
    assert!(coloured("always"));
    assert!(!coloured("never"));
    assert!(!coloured("auto"), "standard error is a pipe here");
}

#[test]
fn every_shell_gets_completions_that_name_all_commands() {
    let dir = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let out = roost(dir.path(), &["completions", shell]);
        assert!(out.status.success());
        for command in [
            "init",
            "password",
            "build",
            "bundle",
            "run",
            "sdk",
            "lock",
            "update",
            "status",
            "logs",
            "reboot",
            "rollback",
            "serve",
            "completions",
        ] {
            assert!(
                text(&out.stdout).contains(command),
                "{shell} lacks {command}"
            );
        }
    }
}

#[test]
fn bash_completes_options() {
    let dir = Place::new();
    let script = dir.path().join("roost.bash");
    std::fs::write(&script, roost(dir.path(), &["completions", "bash"]).stdout).unwrap();
    let out = Command::new("bash")
        .args(["--norc", "-c"])
        .arg("source roost.bash && COMP_WORDS=(roost run --mac) COMP_CWORD=2 && _roost roost --mac run && echo \"${COMPREPLY[@]}\"")
        .current_dir(dir.path())
        .output()
        .expect("bash is there");
    assert_eq!(
        text(&out.stdout).trim(),
        "--machine",
        "{}",
        text(&out.stderr)
    );
}

/// A reader that goes away (`roost … | head`) is no failure.
#[test]
fn a_closed_pipe_does_no_harm() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_roost"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(
        !text(&out.stderr).contains("panic"),
        "{}",
        text(&out.stderr)
    );
}
