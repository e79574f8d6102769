//! Any bytes as what comes back from somebody else's name server: never a panic, and what is taken from it is
//! about the zone that was asked for.
#![no_main]

use hickory_proto::rr::{Name, RecordType};
use libfuzzer_sys::fuzz_target;
use roost_dns::ask::{Question, answer};
use roost_dns::parent::{ds_records, referral};

fuzz_target!(|bytes: &[u8]| {
    let zone = Name::from_ascii("a.z.").unwrap();
    let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    for kind in [RecordType::NS, RecordType::DS] {
        let question = Question::of(&zone, kind);
        let Some(message) = answer(bytes, id, &question) else {
            continue;
        };
        assert_eq!(message.queries[0].name(), &zone);
        if let Ok(said) = referral(&message, &zone) {
            assert!(said.glue.iter().all(|(name, _)| said.name_servers.contains(name)));
            assert!(said.name_servers.iter().all(|name| *name == name.to_lowercase()));
        }
        if let Ok((ds, ttl)) = ds_records(&message, &zone) {
            assert!(!ds.is_empty() || ttl == 0);
        }
    }
});
