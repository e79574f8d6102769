//! The tunnel's configuration, any bytes: taken or refused, never a panic. What is refused is told in one
//! line, and what is taken has a relay that can be written down and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_tunnel::config;
use roost_tunnel::endpoint::Endpoint;
use roost_tunnel::keys::PublicKey;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(endpoint) = Endpoint::parse(text) {
            assert_eq!(Endpoint::parse(&endpoint.to_string()), Ok(endpoint));
        }
        if let Ok(key) = PublicKey::parse(text) {
            assert_eq!(PublicKey::parse(&key.to_string()), Ok(key));
        }
    }
    match config::parse(bytes) {
        Ok(config) => {
            let endpoint = config.endpoint.to_string();
            assert_eq!(Endpoint::parse(&endpoint), Ok(config.endpoint));
            assert!((1..=120).contains(&config.keepalive_s));
            assert!(
                config
                    .addresses
                    .iter()
                    .all(|a| !a.is_unspecified() && !a.is_multicast())
            );
        }
        Err(why) => assert!(!why.contains('\n') && !why.is_empty(), "{why}"),
    }
});
