//! docs/cli.md, made from the definition of the command line: a page that cannot tell of an option
//! that is not there.
//!
//! Our own and not clap-markdown, which runs the lines of our examples together into paragraphs.

use super::Cli;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;

/// The page in Markdown.
fn reference() -> String {
    let mut roost = Cli::command();
    roost.build();
    let mut out = String::from(
        "# Commands\n\n\
         <!-- Made from the definitions in image/roost/src/cli.rs: \
         UPDATE_DOCS=1 cargo test -p roost cli_page -->\n\n",
    );
    paragraphs(&mut out, &about(&roost));
    out.push_str("| Command | What it does |\n|---|---|\n");
    for command in shown(&roost) {
        let name = format!("roost {}", command.get_name());
        let what = short(command.get_about());
        let _ = writeln!(out, "| [`{name}`](#{}) | {what} |", name.replace(' ', "-"));
    }
    out.push('\n');
    after(&mut out, &roost);
    out.push_str("## Options of every command\n\n");
    for arg in roost.get_arguments().filter(|a| is_global(a)) {
        argument(&mut out, arg);
    }
    out.push_str("- `-h`, `--help`: Print help; `--help` prints more of it\n");
    for command in shown(&roost) {
        section(&mut out, "roost", command, 2);
    }
    out
}

/// A command and those below it.
fn section(out: &mut String, parent: &str, command: &Command, level: usize) {
    let name = format!("{parent} {}", command.get_name());
    let _ = write!(out, "\n{} {name}\n\n", "#".repeat(level));
    paragraphs(out, &about(command));
    let usage = command.clone().render_usage().to_string();
    let _ = write!(
        out,
        "```text\n{}\n```\n\n",
        usage.trim_start_matches("Usage: ").trim_end()
    );
    let mut any = false;
    for arg in command.get_arguments().filter(|a| !is_everywhere(a)) {
        argument(out, arg);
        any = true;
    }
    if any {
        out.push('\n');
    }
    after(out, command);
    out.truncate(out.trim_end().len());
    out.push('\n');
    for below in shown(command) {
        section(out, &name, below, level + 1);
    }
}

/// One line of a list for an argument or an option.
fn argument(out: &mut String, arg: &Arg) {
    let name = match arg.get_short() {
        Some(short) => format!("`-{short}`, `{arg}`"),
        None => format!("`{arg}`"),
    };
    let help = arg.get_long_help().or(arg.get_help());
    let text = help.map(ToString::to_string).unwrap_or_default();
    let mut parts = text
        .split("\n\n")
        .map(|p| escaped(&p.replace('\n', " ")))
        .collect::<Vec<_>>();
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|v| format!("`{}`", v.to_string_lossy()))
        .collect();
    // A switch has a default as well, which says nothing.
    if arg.get_action().takes_values() && !defaults.is_empty() && !arg.is_hide_default_value_set() {
        parts.push(format!("Default: {}", defaults.join(", ")));
    }
    if arg.get_action().takes_values() && !arg.is_hide_possible_values_set() {
        let values: Vec<_> = arg
            .get_possible_values()
            .iter()
            .filter(|v| !v.is_hide_set())
            .map(|v| match v.get_help() {
                Some(help) => format!("`{}` ({})", v.get_name(), escaped(&help.to_string())),
                None => format!("`{}`", v.get_name()),
            })
            .collect();
        if !values.is_empty() {
            parts.push(format!("One of {}", values.join(", ")));
        }
    }
    let _ = writeln!(out, "- {name}: {}", parts.join(". ").replace(".. ", ". "));
}

/// What stands below the options: lines under a heading are examples or a list, the rest is text.
fn after(out: &mut String, command: &Command) {
    let Some(text) = command
        .get_after_long_help()
        .or(command.get_after_help())
        .map(ToString::to_string)
    else {
        return;
    };
    for block in text.split("\n\n").filter(|b| !b.trim().is_empty()) {
        match block.split_once('\n') {
            Some((title, lines)) if title.ends_with(':') && lines.starts_with("  ") => {
                let lines: Vec<_> = lines
                    .lines()
                    .map(|l| l.strip_prefix("  ").unwrap_or(l))
                    .collect();
                let _ = write!(out, "{title}\n\n```text\n{}\n```\n\n", lines.join("\n"));
            }
            _ => paragraphs(out, block),
        }
    }
}

fn paragraphs(out: &mut String, text: &str) {
    for paragraph in text.split("\n\n").filter(|p| !p.trim().is_empty()) {
        let _ = write!(out, "{}\n\n", escaped(&paragraph.replace('\n', " ")));
    }
}

fn about(command: &Command) -> String {
    command
        .get_long_about()
        .or(command.get_about())
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn short(text: Option<&clap::builder::StyledStr>) -> String {
    escaped(&text.map(ToString::to_string).unwrap_or_default())
}

/// Markdown would take `<` for the beginning of an element.
fn escaped(text: &str) -> String {
    text.trim().replace('<', "&lt;")
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|c| c.get_name() != "help" && !c.is_hide_set())
}

fn is_global(arg: &Arg) -> bool {
    arg.get_help_heading() == Some("Global options")
}

/// Told once, at the top of the page, or of nobody's interest.
fn is_everywhere(arg: &Arg) -> bool {
    is_global(arg) || arg.is_hide_set() || ["help", "version"].contains(&arg.get_id().as_str())
}

/// `UPDATE_DOCS=1` writes the page instead of comparing it.
#[test]
fn cli_page_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let page = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/cli.md is stale: run `UPDATE_DOCS=1 cargo test -p roost cli_page`"
    );
}

#[test]
fn every_command_is_on_the_cli_page_and_nothing_hidden() {
    let page = reference();
    for command in ["roost build", "roost relay apply", "roost dns check"] {
        assert!(page.contains(&format!("# {command}\n")), "{command}");
    }
    assert!(!page.contains("record-syscalls"));
}

/// What somebody copies from README or docs is understood: whole lines in blocks of code, and what stands between
/// backticks as far as it goes, as sentences leave arguments out.
#[test]
fn commands_in_the_documentation_are_commands() {
    use clap::Parser as _;
    /// The first words of every bundle.
    const NO_COMMAND: &str = "roost update bundle v1";
    use clap::error::ErrorKind as Kind;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages: Vec<_> = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    pages.push(root.join("README.md"));
    let (mut seen, mut wrong) = (0, Vec::new());
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut in_block = false;
        for line in text.lines() {
            if line.starts_with("```") {
                in_block = !in_block;
                continue;
            }
            let parts: Vec<&str> = match in_block {
                true => vec![command(line)],
                false => line.split('`').skip(1).step_by(2).collect(),
            };
            for part in parts {
                let words = part
                    .trim_start_matches("sudo ")
                    .replace("$(which roost)", "roost");
                // Left out, or a choice.
                if words == NO_COMMAND
                    || !words.starts_with("roost ")
                    || words.contains(['…', '|', '[', '<', '"'])
                {
                    continue;
                }
                seen += 1;
                let Err(error) = Cli::try_parse_from(words.split_whitespace()) else {
                    continue;
                };
                let is_cut_short = matches!(
                    error.kind(),
                    Kind::InvalidValue
                        | Kind::MissingRequiredArgument
                        | Kind::MissingSubcommand
                        | Kind::DisplayHelpOnMissingArgumentOrSubcommand
                );
                let is_help = matches!(error.kind(), Kind::DisplayHelp | Kind::DisplayVersion);
                if !is_help && (in_block || !is_cut_short) {
                    wrong.push(format!("{}: {words}: {}", page.display(), error.kind()));
                }
            }
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A line of a block without what stands behind the command: what it does, or where its output goes.
fn command(line: &str) -> &str {
    let end = ["  ", " #", " >", " &&", " |"]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min();
    &line[..end.unwrap_or(line.len())]
}
