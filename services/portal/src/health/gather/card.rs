//! What the card says of its own age. Only memory of the kind eMMC does.

use crate::health::facts::Life;
use std::path::Path;

/// The card's folder in the kernel's view (Linux, Documentation/driver-api/mmc/mmc-dev-attrs.rst).
const CARD: &str = "/sys/block/mmcblk0/device";

/// What it says, if it does.
pub fn life() -> Option<Life> {
    life_in(Path::new(CARD))
}

fn life_in(folder: &Path) -> Option<Life> {
    let text = std::fs::read_to_string(folder.join("life_time")).ok()?;
    let mut numbers = text.split_whitespace().map(number);
    let (a, b) = (numbers.next()??, numbers.next()??);
    let spare = std::fs::read_to_string(folder.join("pre_eol_info")).ok();
    let spare = spare.and_then(|text| number(text.trim())).unwrap_or(0);
    Some(Life { a, b, spare })
}

/// `0x0b`
fn number(text: &str) -> Option<u8> {
    u8::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_shows_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(life_in(folder.path()), None, "an SD card");
        std::fs::write(folder.path().join("life_time"), "0x01 0x0b\n").unwrap();
        let life = |spare| Some(Life { a: 1, b: 11, spare });
        assert_eq!(life_in(folder.path()), life(0));
        std::fs::write(folder.path().join("pre_eol_info"), "0x03\n").unwrap();
        assert_eq!(life_in(folder.path()), life(3));
        for bad in ["", "0x01", "x y", "0x01 0xfff"] {
            std::fs::write(folder.path().join("life_time"), bad).unwrap();
            assert_eq!(life_in(folder.path()), None, "{bad:?}");
        }
    }
}
