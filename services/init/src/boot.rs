//! What this boot was told: kernel command line and the firmware's report.

use roost_board::cmdline::BootArgs;
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
/// A sentence, when neither says it or the number cannot be a slot's.
pub fn slot(args: &BootArgs) -> Result<u8, String> {
    let firmware = fs::read("/proc/device-tree/chosen/bootloader/partition").ok();
    let reported = firmware
        .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
        .and_then(|bytes| u8::try_from(u32::from_be_bytes(bytes)).ok());
    match reported.or(args.partition) {
        Some(number @ 1..=4) => Ok(number),
        Some(number) => Err(format!(
            "the firmware booted partition {number}, which cannot be a slot"
        )),
        None => Err("neither the firmware nor roost.partition= says which slot was booted".into()),
    }
}
