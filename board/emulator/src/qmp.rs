//! QEMU's control channel, as much of it as is needed: start the guest, and
//! learn how it ended.
//!
//! Specification: QEMU, "QEMU Machine Protocol Specification" (docs/interop/qmp-spec)
//! and "QEMU QMP Reference Manual" (events SHUTDOWN and WATCHDOG). Own code:
//! the `qapi` crate brings types for hundreds of commands and a build step,
//! for the two commands and two events used here.

use serde_json::Value;
use std::io::{self, BufRead, Write};

/// Why QEMU ended, as it said itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The guest switched itself off.
    PowerOff,
    /// The guest restarted itself, or its watchdog did.
    Reset,
    /// A signal or command of the host, e.g. SIGTERM to QEMU.
    Host,
    /// It said nothing: it was killed or it crashed.
    Unsaid,
}

/// Starts the guest and follows it to its end, which is QEMU's own end.
/// `started` is called once the guest runs: QEMU obeys only after it has made
/// the whole machine, with its ports, disk and devices.
///
/// # Errors
/// When QEMU refuses a command or speaks something else.
pub fn follow(
    mut from: impl BufRead,
    mut to: impl Write,
    started: impl FnOnce(),
) -> io::Result<Ending> {
    let mut ending = Ending::Unsaid;
    let mut line = String::new();
    let mut started = Some(started);
    // The greeting, then one answer for each command; events may come between.
    let mut commands = ["qmp_capabilities", "cont"].iter();
    let mut greeted = false;
    loop {
        line.clear();
        match from.read_line(&mut line) {
            Ok(0) => return Ok(ending),
            Ok(_) => {}
            // The socket of a process that was killed.
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(ending),
            Err(e) => return Err(e),
        }
        let message: Value = serde_json::from_str(&line)?;
        if let Some(error) = message.get("error") {
            return Err(io::Error::other(format!("a command was refused: {error}")));
        }
        match message.get("event").and_then(Value::as_str) {
            Some("SHUTDOWN") => ending = shutdown(&message["data"]["reason"]),
            Some(_) => {}
            None if !greeted && message.get("QMP").is_none() => {
                return Err(io::Error::other(format!(
                    "unexpected greeting: {}",
                    line.trim()
                )));
            }
            None => {
                greeted = true;
                let Some(command) = commands.next() else {
                    if let Some(started) = started.take() {
                        started();
                    }
                    continue;
                };
                match writeln!(to, "{{\"execute\":\"{command}\"}}").and_then(|()| to.flush()) {
                    // QEMU is gone already: its last words are still to be read.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
                    sent => sent?,
                }
            }
        }
    }
}

fn shutdown(reason: &Value) -> Ending {
    match reason.as_str() {
        Some("guest-shutdown") => Ending::PowerOff,
        // With -no-reboot a reset, by the guest or by its watchdog, ends QEMU.
        Some("guest-reset" | "guest-panic") => Ending::Reset,
        _ => Ending::Host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n";
    const OK: &str = "{\"return\": {}}\r\n";

    /// What became of it, what was sent, and whether the guest was started.
    fn run(lines: &str) -> (io::Result<Ending>, String, bool) {
        let (mut sent, mut started) = (Vec::new(), false);
        let ending = follow(lines.as_bytes(), &mut sent, || started = true);
        (ending, String::from_utf8(sent).unwrap(), started)
    }

    fn event(reason: &str) -> String {
        format!(
            "{{\"event\": \"SHUTDOWN\", \"data\": {{\"guest\": true, \"reason\": \"{reason}\"}}}}\n"
        )
    }

    #[test]
    fn the_guest_is_started_and_its_end_is_told_apart() {
        for (reason, expected) in [
            ("guest-shutdown", Ending::PowerOff),
            ("guest-reset", Ending::Reset),
            ("host-signal", Ending::Host),
        ] {
            let resume = "{\"event\": \"RESUME\"}\n";
            let (ending, sent, started) = run(&format!(
                "{GREETING}{OK}{resume}{OK}{}{resume}",
                event(reason)
            ));
            assert_eq!(ending.unwrap(), expected);
            assert!(started);
            assert_eq!(
                sent,
                "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"cont\"}\n"
            );
        }
        assert_eq!(
            run(&format!("{GREETING}{OK}{OK}")).0.unwrap(),
            Ending::Unsaid
        );
        let (ending, _, started) = run(&format!("{GREETING}{OK}"));
        assert_eq!((ending.unwrap(), started), (Ending::Unsaid, false));
    }

    #[test]
    fn faults_are_reported() {
        let text = |lines: &str| run(lines).0.unwrap_err().to_string();
        assert_eq!(
            text("{\"hello\": 1}\n"),
            "unexpected greeting: {\"hello\": 1}"
        );
        assert_eq!(
            text(&format!(
                "{GREETING}{{\"error\": {{\"class\": \"GenericError\"}}}}\n"
            )),
            "a command was refused: {\"class\":\"GenericError\"}"
        );
        assert!(run("SSH-2.0\n").0.is_err());
    }
}
