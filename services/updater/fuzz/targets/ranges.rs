//! What a web server says about the range that it gives, any bytes: never a
//! panic, and what is read and written again is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_updater::pull::content_range;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Some((range, total)) = content_range(&text)
        && let Some(last) = range.end.checked_sub(1)
    {
        let again = format!("bytes {}-{last}/{total}", range.start);
        assert_eq!(content_range(&again), Some((range, total)));
    }
});
