//! What this boot was told: kernel command line and the firmware's report.

use roost_board::cmdline::BootArgs;
use roost_board::layout::Slot;
use std::fs;
use std::path::Path;

/// Reads the boot arguments of the running kernel.
///
/// # Errors
/// A sentence that says what is wrong with them.
pub fn args() -> Result<BootArgs, String> {
    let read = || fs::read_to_string("/proc/cmdline");
    // Once more: without them the box knows neither its disk nor whether this is a trial.
    let line = read()
        .or_else(|_| read())
        .map_err(|e| format!("cannot read /proc/cmdline: {e}"))?;
    BootArgs::parse(&line).map_err(|e| format!("boot arguments: {e}"))
}

/// The slot's partition number: what the firmware reports wins over the boot argument.
///
/// # Errors
/// A sentence, when neither says it or the number is not a slot's.
pub fn slot(args: &BootArgs) -> Result<u8, String> {
    choose(reported("partition"), args.partition)
}

/// Whether this boot is a trial: what the firmware reports wins over the boot argument.
pub fn on_trial(args: &BootArgs) -> bool {
    is_trial(reported("tryboot"), args.tryboot)
}

/// What the firmware says about this boot: a 32-bit number in the device tree,
/// big endian (Raspberry Pi documentation, "Device trees", `/chosen/bootloader`).
fn reported(what: &str) -> Option<u32> {
    let path = Path::new("/proc/device-tree/chosen/bootloader").join(what);
    number(&fs::read(path).ok()?)
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

fn is_trial(reported: Option<u32>, argument: bool) -> bool {
    reported.map_or(argument, |number| number != 0)
}

fn choose(reported: Option<u32>, argument: Option<u8>) -> Result<u8, String> {
    let number = reported
        .or(argument.map(u32::from))
        .ok_or("neither the firmware nor roost.partition= says which slot was booted")?;
    u8::try_from(number)
        .ok()
        .and_then(Slot::from_partition)
        .map(Slot::partition)
        .ok_or_else(|| format!("the firmware booted partition {number}, which is not a slot"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slots_are_booted_from() {
        assert_eq!(choose(None, Some(2)), Ok(2));
        assert_eq!(choose(Some(3), Some(2)), Ok(3), "the firmware knows better");
        for number in [0, 1, 4, 5, 258, u32::MAX] {
            assert!(choose(Some(number), Some(2)).is_err(), "{number}");
        }
        assert!(choose(None, None).is_err());
    }

    #[test]
    fn the_firmware_knows_whether_this_is_a_trial() {
        for (bytes, argument, trial) in [
            (&[0, 0, 0, 1][..], false, true),
            (&[0, 0, 0, 0], true, false),
            // As good as nothing said.
            (&[1], false, false),
            (&[], true, true),
        ] {
            assert_eq!(is_trial(number(bytes), argument), trial, "{bytes:?}");
        }
    }
}
