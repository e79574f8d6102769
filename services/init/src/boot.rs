//! What this boot was told: kernel command line and the firmware's report.

use roost_board::cmdline::BootArgs;
use roost_board::layout::Slot;
use std::fs;

/// Reads the boot arguments of the running kernel.
///
/// # Errors
/// A sentence that says what is wrong with them.
pub fn args() -> Result<BootArgs, String> {
    let line = fs::read_to_string("/proc/cmdline")
        .map_err(|e| format!("cannot read /proc/cmdline: {e}"))?;
    BootArgs::parse(&line).map_err(|e| format!("boot arguments: {e}"))
}

/// The slot's partition number: what the firmware reports wins over the boot argument.
///
/// # Errors
/// A sentence, when neither says it or the number is not a slot's.
pub fn slot(args: &BootArgs) -> Result<u8, String> {
    let firmware = fs::read("/proc/device-tree/chosen/bootloader/partition").ok();
    let reported = firmware
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
        .map(u32::from_be_bytes);
    choose(reported, args.partition)
}

/// Whether this boot is a trial: what the firmware reports wins over the boot argument.
pub fn on_trial(args: &BootArgs) -> bool {
    let firmware = fs::read("/proc/device-tree/chosen/bootloader/tryboot").ok();
    let reported = firmware.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    reported.map_or(args.tryboot, |bytes| u32::from_be_bytes(bytes) != 0)
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
}
