//! Any bytes, well signed: updates, transfers, and what only looks like them. Whatever an update says, the
//! zone is one afterwards, with its SOA and a name server.
#![no_main]

mod world;

use hickory_proto::rr::RecordType;
use libfuzzer_sys::fuzz_target;
use roost_dns::serve::Transport;
use roost_dns::tsig::{self, Signer};

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() < 12 || bytes.len() > 60_000 {
        return;
    }
    let key = world::key();
    let (core, zones) = world::world(&key);
    let mut request = bytes.to_vec();
    // One more record must not make a count wrap.
    request[10] &= 0x7F;
    Signer::request(key).sign(&mut request, tsig::now());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let from = "127.0.0.1:5300".parse().unwrap();
    for transport in [Transport::Udp, Transport::Tcp] {
        for answer in runtime.block_on(core.answers(&request, from, transport)) {
            world::check(&request, &answer, 65535);
        }
        let zone = zones.current(&world::name("z.")).unwrap();
        for kind in [RecordType::SOA, RecordType::NS] {
            let mut apex = zone.records.iter().filter(|record| record.name == zone.origin);
            assert!(apex.any(|record| record.record_type() == kind), "no {kind} is left");
        }
    }
});
