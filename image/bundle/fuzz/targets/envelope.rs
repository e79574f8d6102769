//! Header and signatures as they come, then the same bytes as a signed manifest.
#![no_main]

mod sign;

use libfuzzer_sys::fuzz_target;
use roost_bundle::{BoxState, TrustedKeys, Unverified, admit};

fuzz_target!(|bytes: &[u8]| {
    let unsigned = Unverified::read(&mut &bytes[..]).and_then(|b| {
        let claimed: Vec<_> = b.claimed_signers().collect();
        b.verify(&TrustedKeys::new(claimed))
    });
    assert!(unsigned.is_err(), "nobody signed this");
    if let Ok(verified) = sign::signed(bytes) {
        let state = BoxState {
            board: "virt".into(),
            version: 1,
            slot_bytes: 1 << 28,
            mail_store: 1,
            settings_format: 1,
            allow_downgrade: false,
            allow_irreversible: false,
        };
        if let Ok(admitted) = admit(&verified, &state) {
            assert!(admitted.manifest().release.version > 1);
        }
        assert!(verified.total_bytes() >= verified.payload_start());
    }
});
