//! The serial number of a zone, which only ever grows (RFC 1982).
//!
//! A secondary that has a higher number than ours ignores every change of ours, silently. So the next number
//! comes from three facts, and the highest wins:
//!
//! | Fact | What it guards against |
//! |---|---|
//! | the number served before | two changes within one second, a clock that went back |
//! | the numbers seen at the secondaries | state restored from an old backup; a zone that came from another server |
//! | the clock | state that was lost while no secondary can be reached |

/// The next serial number.
///
/// `previous` is what this box served last, `seen` what the secondaries answered, `now` the time in seconds
/// since 1970. The number is the time, unless that would not be an increase: then it is the highest number
/// known plus one. A zone that comes from a server with numbers such as 2026112601 goes on counting from there.
pub fn next(previous: Option<u32>, seen: &[u32], now: u64) -> u32 {
    // The time modulo 2^32 is what serial arithmetic is made for.
    let time = (now as u32).max(1);
    // Seen first: of two numbers half the circle apart, the one that is out there counts.
    let known = seen.iter().copied().chain(previous);
    let highest = known.reduce(|a, b| if is_newer(b, a) { b } else { a });
    match highest {
        Some(highest) if !is_newer(time, highest) => after(highest),
        _ => time,
    }
}

/// Whether `a` is a later serial number than `b` (RFC 1982, section 3.2). Of two that lie exactly half the
/// circle apart, neither is.
pub fn is_newer(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// The number after `serial`. Never 0, which some servers take for "no serial number".
fn after(serial: u32) -> u32 {
    serial.wrapping_add(1).max(1)
}
