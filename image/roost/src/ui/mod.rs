//! What the user sees while a command works.
//!
//! Four ways of showing the same calls: live bars on a terminal, one plain line
//! for each finished step elsewhere, nothing but warnings with `--quiet`, and
//! JSON events (one object a line, on standard output) with `--json`.
//! Everything but results goes to standard error.

pub mod table;

use crate::error::Failure;
use anstyle::{AnsiColor, Style};
use indicatif::{DecimalBytes, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();

/// Bars redraw ten times a second: smooth to the eye, and no load.
const TICK: Duration = Duration::from_millis(100);
/// JSON progress of one step is told at most this often.
const JSON_PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Step names are padded to this width so that summaries stand in a column.
const NAME_WIDTH: usize = 24;

/// Bars of unknown length, of bytes and of things. Each fits into 80 columns: a line that the
/// terminal breaks cannot be redrawn.
const UNKNOWN: &str = "  {spinner} {prefix} {elapsed:>5}  {wide_msg}";
const BYTES: &str = "  {spinner} {prefix} {wide_bar} {done} of {all}  {rate}  {eta} left";
const ITEMS: &str = "  {spinner} {prefix} {wide_bar} {pos} of {len}  {eta} left  {msg:18!}";

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Live bars on standard error.
    Bars,
    /// One line for each finished step on standard error.
    Lines,
    /// Warnings and errors only.
    Quiet,
    /// JSON events on standard output.
    Json,
}

impl Mode {
    /// The mode that the options and standard error call for.
    pub fn choose(json: bool, quiet: bool) -> Self {
        match (json, quiet) {
            (true, _) => Self::Json,
            (false, true) => Self::Quiet,
            (false, false) if std::io::stderr().is_terminal() => Self::Bars,
            (false, false) => Self::Lines,
        }
    }
}

/// The user's side of a running command; shared by reference between threads.
pub struct Ui {
    mode: Mode,
    bars: MultiProgress,
    /// Lines of parallel steps must not be mixed.
    out: Mutex<()>,
}

impl Ui {
    /// Shows things in `mode`.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            bars: MultiProgress::new(),
            out: Mutex::new(()),
        }
    }

    /// How progress is shown.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Starts a step: `name` is what is being done, e.g. `fetch packages`.
    pub fn step(&self, name: impl Into<String>) -> Step<'_> {
        let name = name.into();
        let bar = match self.mode {
            Mode::Bars => {
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.set_style(style(UNKNOWN));
                bar.set_prefix(format!("{name:<NAME_WIDTH$}"));
                bar.enable_steady_tick(TICK);
                bar
            }
            _ => ProgressBar::hidden(),
        };
        self.event(|| json!({ "event": "step", "name": name, "state": "started" }));
        Step {
            ui: self,
            name,
            bar,
            started: Instant::now(),
            told: Mutex::new(Instant::now()),
            finished: false,
        }
    }

    /// Tells something that needs no action.
    pub fn info(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        match self.mode {
            Mode::Bars | Mode::Lines => self.line(text),
            Mode::Quiet => {}
            Mode::Json => self.event(|| json!({ "event": "info", "text": text })),
        }
    }

    /// Tells something that the user should look at, though the work goes on.
    pub fn warn(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        match self.mode {
            Mode::Json => self.event(|| json!({ "event": "warning", "text": text })),
            _ => self.line(&format!(
                "{}warning:{} {text}",
                YELLOW.render(),
                YELLOW.render_reset()
            )),
        }
    }

    /// Prints the command's result: `text` for people on standard output, or `value` as a JSON event.
    ///
    /// `value`'s fields stand beside `"event": "result"`, so it must be a struct or a map.
    pub fn result(&self, text: impl AsRef<str>, value: &impl Serialize) {
        match self.mode {
            Mode::Json => self.event(|| {
                let mut event = json!({ "event": "result" });
                let value = serde_json::to_value(value).expect("a result is plain data");
                match (event.as_object_mut(), value) {
                    (Some(event), serde_json::Value::Object(fields)) => event.extend(fields),
                    (Some(event), other) => drop(event.insert("value".to_owned(), other)),
                    (None, _) => unreachable!("built as an object above"),
                }
                event
            }),
            _ => {
                let text = text.as_ref();
                self.bars.suspend(|| {
                    let _lock = self.lock();
                    let mut out = anstream::stdout().lock();
                    // A closed pipe (`roost … | head`) is no reason to fail.
                    let _ = write!(
                        out,
                        "{text}{}",
                        if text.ends_with('\n') { "" } else { "\n" }
                    );
                    let _ = out.flush();
                });
            }
        }
    }

    /// Prints why the command failed.
    pub fn failure(&self, failure: &Failure) {
        match self.mode {
            Mode::Json => self.event(|| failure.to_json()),
            _ => self.bars.suspend(|| {
                let _lock = self.lock();
                let _ = write!(anstream::stderr().lock(), "{}", failure.render());
            }),
        }
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| {
            let _lock = self.lock();
            let _ = writeln!(anstream::stderr().lock(), "{text}");
        });
    }

    /// Tells scripts something that has its own form; nothing for people.
    pub fn event_line(&self, event: &serde_json::Value) {
        self.event(|| event.clone());
    }

    fn event(&self, event: impl FnOnce() -> serde_json::Value) {
        if self.mode == Mode::Json {
            let _lock = self.lock();
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{}", event());
            let _ = out.flush();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.out
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Something that is being done. Dropped without [`Step::done`] it counts as failed.
pub struct Step<'a> {
    ui: &'a Ui,
    name: String,
    bar: ProgressBar,
    started: Instant,
    told: Mutex<Instant>,
    finished: bool,
}

impl Step<'_> {
    /// From here on progress is counted in bytes of `total`; shows rate and time left.
    pub fn total_bytes(&self, total: u64) {
        self.bar.set_length(total);
        self.bar.set_style(style(BYTES));
    }

    /// From here on progress is counted in `total` things, e.g. crates or packages.
    pub fn total_items(&self, total: u64) {
        self.bar.set_length(total);
        self.bar.set_style(style(ITEMS));
    }

    /// `n` more bytes (or things) are done.
    pub fn advance(&self, n: u64) {
        self.bar.inc(n);
        self.tell();
    }

    /// `n` bytes (or things) are done in all.
    pub fn position(&self, n: u64) {
        self.bar.set_position(n);
        self.tell();
    }

    /// What is being worked on now, e.g. a file's name; only for live display.
    pub fn message(&self, text: impl Into<String>) {
        if self.ui.mode == Mode::Bars {
            self.bar.set_message(text.into());
        }
    }

    /// The step is done; `summary` says with what result, e.g. `142 packages, 310.2 MB`.
    pub fn done(self, summary: impl AsRef<str>) {
        self.finish(summary.as_ref(), false);
    }

    /// The step's result was there already.
    pub fn cached(self, summary: impl AsRef<str>) {
        self.finish(summary.as_ref(), true);
    }

    fn finish(mut self, summary: &str, cached: bool) {
        self.finished = true;
        self.bar.finish_and_clear();
        let took = self.started.elapsed();
        let name = &self.name;
        match self.ui.mode {
            Mode::Bars | Mode::Lines => {
                let time = if cached {
                    "cached".to_owned()
                } else {
                    seconds(took)
                };
                let (g, d, r) = (GREEN.render(), DIM.render(), DIM.render_reset());
                let text = format!("  {g}✓{r} {name:<NAME_WIDTH$} {d}{time:>7}{r}  {summary}");
                self.ui.line(text.trim_end());
            }
            Mode::Quiet => {}
            Mode::Json => self.ui.event(|| {
                json!({
                    "event": "step", "name": name, "state": "done", "cached": cached,
                    "seconds": rounded(took), "summary": summary,
                })
            }),
        }
    }

    fn tell(&self) {
        if self.ui.mode != Mode::Json {
            return;
        }
        let mut told = self
            .told
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed() >= JSON_PROGRESS_EVERY {
            *told = Instant::now();
            self.ui.event(|| {
                json!({
                    "event": "step", "name": self.name, "state": "running",
                    "position": self.bar.position(), "total": self.bar.length(),
                })
            });
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.bar.finish_and_clear();
            self.ui.event(|| {
                json!({
                    "event": "step", "name": self.name, "state": "failed",
                    "seconds": rounded(self.started.elapsed()),
                })
            });
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("templates are fixed and tested")
        .progress_chars("━╸─")
        .with_key("done", |s: &ProgressState, w: &mut dyn fmt::Write| {
            let _ = write!(w, "{:>8}", size(s.pos()));
        })
        .with_key("all", |s: &ProgressState, w: &mut dyn fmt::Write| {
            let _ = write!(w, "{}", size(s.len().unwrap_or(0)));
        })
        .with_key("rate", |s: &ProgressState, w: &mut dyn fmt::Write| {
            let _ = write!(w, "{:>8}/s", size(s.per_sec() as u64));
        })
}

fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A size for people, in decimal units as on the label of an SD card: `17.6 MB`.
pub fn size(bytes: u64) -> String {
    let text = DecimalBytes(bytes).to_string();
    let Some((number, unit)) = text.split_once(' ') else {
        return text;
    };
    match number.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{} {unit}", &fraction[..1]),
        None => text,
    }
}

/// A time for people: `0.4 s`, `12.3 s`, `31 min 07 s`.
pub fn seconds(time: Duration) -> String {
    // Rounded first: 59.96 s must not become "60.0 s".
    let tenths = time.as_millis().saturating_add(50) / 100;
    if tenths < 600 {
        format!("{}.{} s", tenths / 10, tenths % 10)
    } else {
        let whole = (time.as_millis() + 500) / 1000;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_template_is_valid() {
        let ui = Ui::new(Mode::Bars);
        let step = ui.step("fetch packages");
        step.total_bytes(1_000);
        step.advance(10);
        step.total_items(20);
        step.message("linux-binary");
        drop(step);
    }

    /// A terminal of 80 columns that keeps what is written.
    #[derive(Debug, Clone, Default)]
    struct Screen(std::sync::Arc<Mutex<String>>);

    impl indicatif::TermLike for Screen {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_of_bytes_tells_what_is_done_the_rate_and_the_time_left() {
        let screen = Screen::default();
        let target = indicatif::ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let bar = ProgressBar::with_draw_target(Some(809_500_672), target);
        bar.set_style(style(BYTES));
        bar.set_prefix(format!("{:<NAME_WIDTH$}", "write"));
        screen.0.lock().unwrap().clear();
        bar.set_position(386_000_000);
        bar.tick();
        let text = screen.0.lock().unwrap().clone();
        let text = anstream::adapter::strip_str(&text).to_string();
        let (done, rest) = text.split_once("of 809.5 MB").expect("it is drawn");
        assert_eq!(done, "  ⠁ write                    ━━━━╸──── 386.0 MB ");
        let words: Vec<&str> = rest.split_whitespace().collect();
        // e.g. `12.3 MB/s 34s left`
        assert!(
            words[1].ends_with("/s") && words.last() == Some(&"left"),
            "{rest:?}"
        );
    }

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500), "1.5 kB");
        assert_eq!(size(17_650_000), "17.6 MB");
        assert_eq!(seconds(Duration::from_millis(0)), "0.0 s");
        assert_eq!(seconds(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(seconds(Duration::from_millis(59_960)), "1 min 00 s");
        assert_eq!(seconds(Duration::from_secs(1867)), "31 min 07 s");
    }
}
