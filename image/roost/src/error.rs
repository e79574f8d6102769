//! How a command fails: what, why, and what to do about it, each kept apart.

use crate::config::problem::Problem;
use crate::config::read::Reason;
use anstyle::{AnsiColor, Style};
use serde::Serialize;
use std::error::Error;
use std::fmt;

/// Result of a command; exit codes are part of the command's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done.
    Ok = 0,
    /// The work failed.
    Failed = 1,
    /// Wrong usage, or a `roost.toml` that cannot be used. Nothing was done.
    Usage = 2,
    /// The network is needed, but `--offline` was given.
    Offline = 3,
    /// A version was tried on a box and rolled back.
    RolledBack = 4,
    /// Ended by Ctrl-C (128 + SIGINT, as shells count it).
    Interrupted = 130,
}

/// A failed command.
///
/// Printed as `error: what`, `because: …` for each cause, `try: hint`.
pub struct Failure(Box<Parts>);

#[derive(Debug)]
struct Parts {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
    exit: Exit,
    problems: Vec<Problem>,
}

impl Failure {
    /// A failure of the work; `what` names the action and the thing, e.g. `cannot read roost.toml`.
    pub fn new(what: impl Into<String>) -> Self {
        Self::with_exit(Exit::Failed, what)
    }

    /// Wrong usage or configuration.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::with_exit(Exit::Usage, what)
    }

    /// Why the value of an option of the command line, e.g. `--name`, is refused.
    pub fn of_option(option: &'static str) -> impl FnOnce(Reason) -> Self {
        move |reason| {
            let failure = Self::usage(format!("{option}: {}", reason.message));
            match reason.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
    }

    /// The network was needed though `--offline` forbids it.
    pub fn offline(what: impl Into<String>) -> Self {
        Self::with_exit(Exit::Offline, what)
            .hint("run once without --offline; later builds need no network")
    }

    /// A version was tried on a box and rolled back.
    pub fn rolled_back(what: impl Into<String>) -> Self {
        Self::with_exit(Exit::RolledBack, what)
    }

    /// The user pressed Ctrl-C, or said no.
    pub fn interrupted(what: impl Into<String>) -> Self {
        Self::with_exit(Exit::Interrupted, what)
    }

    fn with_exit(exit: Exit, what: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            what: what.into(),
            source: None,
            hint: None,
            exit,
            problems: Vec::new(),
        }))
    }

    /// Adds the cause: an error with its own chain of sources, or a text.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds what the user can do about it; replaces an earlier hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the places in a file that are wrong; they are printed before the error itself.
    #[must_use]
    pub fn problems(mut self, problems: Vec<Problem>) -> Self {
        self.0.problems = problems;
        self
    }

    /// The same with another code to exit with.
    #[must_use]
    pub fn exiting(mut self, exit: Exit) -> Self {
        self.0.exit = exit;
        self
    }

    /// The code to exit with.
    pub fn exit(&self) -> Exit {
        self.0.exit
    }

    /// The causes, outermost first.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut next: Option<&(dyn Error + 'static)> = self.0.source.as_deref().map(|e| e as _);
        while let Some(error) = next {
            let text = error.to_string().trim().to_owned();
            // Some errors print their own source as well.
            if !causes.last().is_some_and(|last| last.ends_with(&text)) {
                causes.push(text);
            }
            next = error.source();
        }
        causes
    }

    /// What failed and why in one line, for a text that goes on.
    pub fn in_a_line(&self) -> String {
        let mut parts = vec![self.0.what.clone()];
        parts.extend(self.causes());
        parts.join(": ")
    }

    /// The text for a terminal, with colours; `anstream` drops them where they don't belong.
    pub fn render(&self) -> String {
        use fmt::Write as _;
        let (red, bold, reset) = (RED.render(), BOLD.render(), RED.render_reset());
        let mut out = String::new();
        for problem in &self.0.problems {
            let _ = writeln!(out, "{}", problem.render());
        }
        let _ = writeln!(out, "{red}error:{reset} {}", indented(&self.0.what));
        for cause in self.causes() {
            let _ = writeln!(out, "  {bold}because:{reset} {}", indented(&cause));
        }
        if let Some(hint) = &self.0.hint {
            let _ = writeln!(out, "  {bold}try:{reset} {}", indented(hint));
        }
        out
    }

    /// The same as one JSON object for `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        #[derive(Serialize)]
        struct Json<'a> {
            event: &'static str,
            what: &'a str,
            because: Vec<String>,
            hint: Option<&'a str>,
            exit_code: u8,
            #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
            problems: &'a [Problem],
        }
        serde_json::to_value(Json {
            event: "error",
            what: &self.0.what,
            because: self.causes(),
            hint: self.0.hint.as_deref(),
            exit_code: self.0.exit as u8,
            problems: &self.0.problems,
        })
        .expect("strings and numbers always make JSON")
    }
}

const RED: Style = AnsiColor::Red.on_default().bold();
const BOLD: Style = Style::new().bold();

/// Later lines of a text are set in, so that each `error:` stands out at the left edge.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_why_and_hint_are_printed_apart() {
        let failure = Failure::new("cannot unpack linux-binary_7.3.4_arm64.deb")
            .because(
                Failure::new("cannot write vmlinuz")
                    .because(std::io::Error::other("No space left on device")),
            )
            .hint("free 2 GB in the cache folder");
        let text = anstream::adapter::strip_str(&failure.render()).to_string();
        insta::assert_snapshot!(text, @r"
        error: cannot unpack linux-binary_7.3.4_arm64.deb
          because: cannot write vmlinuz
          because: No space left on device
          try: free 2 GB in the cache folder
        ");
        assert_eq!(failure.to_json()["because"][1], "No space left on device");
    }

    #[test]
    fn an_error_that_repeats_its_source_is_shown_once() {
        let inner = std::io::Error::other("connection refused");
        let failure = Failure::new("cannot fetch").because(std::io::Error::other(inner));
        assert_eq!(failure.causes(), ["connection refused"]);
    }
}
