//! The file that `roost flash` writes for one card, of any bytes: read or
//! refused, never a panic. What is read can be written again and is the same,
//! and the network begins with it. The bytes stand behind the file's first line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::card::choose;
use roost_init::network::Network;
use roost_service::card::{self, FIRST_LINE, SIZE};
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    let _ = card::parse(bytes);
    if let Ok(typed) = std::str::from_utf8(bytes)
        && let Some(code) = card::normalise_code(typed)
    {
        assert_eq!(
            card::normalise_code(&card::display_code(&code)),
            Some(code)
        );
    }
    let mut file = card::placeholder();
    let end = (FIRST_LINE + bytes.len()).min(SIZE);
    file[FIRST_LINE..end].copy_from_slice(&bytes[..end - FIRST_LINE]);
    if let Ok(Some(card)) = card::parse(&file) {
        let again = card::render(&card).expect("what was read can be written");
        assert_eq!(card::parse(&again), Ok(Some(card)));
    }
    let chosen = choose(None, Ok(file.to_vec()));
    assert!(!chosen.name.is_empty() && chosen.name.len() < 64);
    let mut network = Network::new(1);
    let _ = network.configure(Duration::ZERO, chosen.network, &chosen.name);
});
