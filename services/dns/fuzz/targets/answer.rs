//! Any bytes, over UDP and TCP: never a panic, never an answer that is too long or that others cannot read.
#![no_main]

mod world;

use libfuzzer_sys::fuzz_target;
use roost_dns::serve::{Core, Transport};
use std::sync::LazyLock;

static CORE: LazyLock<Core> = LazyLock::new(|| world::world(&world::key()).0);

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let from = "127.0.0.1:5300".parse().unwrap();
    for (transport, limit) in [(Transport::Udp, 1232), (Transport::Tcp, 65535)] {
        for answer in runtime.block_on(CORE.answers(bytes, from, transport)) {
            world::check(bytes, &answer, limit);
        }
    }
});
