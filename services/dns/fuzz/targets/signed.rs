//! Any bytes, well signed: updates, transfers, and what only looks like them. Whatever an update says, the
//! zone is one afterwards, with its SOA and a name server.
#![no_main]

mod world;

use hickory_proto::rr::RecordType;
use libfuzzer_sys::fuzz_target;
use roost_dns::serve::{Core, Transport, Zones};
use roost_dns::tsig::{self, Key, Signer};
use std::sync::{Arc, LazyLock};

static WORLD: LazyLock<(Arc<Key>, Core, Zones)> = LazyLock::new(|| {
    let key = world::key();
    let (core, zones) = world::world(&key);
    (key, core, zones)
});

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() < 12 || bytes.len() > 60_000 {
        return;
    }
    let (key, core, zones) = &*WORLD;
    zones.publish(Arc::new(world::zone(7))).unwrap();
    let mut request = bytes.to_vec();
    // One more record must not make a count wrap.
    request[10] &= 0x7F;
    Signer::request(Arc::clone(key)).sign(&mut request, tsig::now());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let from = "127.0.0.1:5300".parse().unwrap();
    for transport in [Transport::Udp, Transport::Tcp] {
        for answer in runtime.block_on(core.answers(&request, from, transport)) {
            world::check(&request, &answer, 65535);
        }
        let zone = zones.current(&world::name("z.")).unwrap();
        for kind in [RecordType::SOA, RecordType::NS] {
            let mut apex = zone
                .records
                .iter()
                .filter(|record| record.name == zone.origin);
            assert!(
                apex.any(|record| record.record_type() == kind),
                "no {kind} is left"
            );
        }
    }
});
