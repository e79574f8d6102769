//! Requests to init, as bytes on its socket: never a panic, at no time more
//! than one line in memory, and the same requests however the bytes are cut
//! into reads. What is read and written again is read as the same. The first
//! byte says how long a read is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::control::{MAX_REQUEST, Peer, parse};
use roost_init::lines::Splitter;
use roost_init::screen::{SETTLE, Screen};
use roost_service::control::Request;
use roost_service::spec::Right;
use std::time::Duration;

fn requests<'a>(reads: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Request, String>> {
    let mut requests = Vec::new();
    let mut splitter = Splitter::new(MAX_REQUEST);
    for read in reads {
        splitter.feed(read, |line| {
            assert!(line.bytes().len() <= MAX_REQUEST);
            requests.push(parse(line));
        });
    }
    requests
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&length, bytes)) = bytes.split_first() else {
        return;
    };
    let requests_found = requests(bytes.chunks(usize::from(length) + 1));
    assert_eq!(requests_found, requests([bytes].into_iter()));
    for request in requests_found.iter().flatten() {
        let line = serde_json::to_vec(request).expect("a request has a line");
        assert_eq!(
            requests([&line[..], b"\n"].into_iter()),
            [Ok(request.clone())]
        );
        if let Request::Announce {
            code,
            name,
            fingerprint,
        } = request {
            let mut screen = Screen::default();
            let now = Duration::ZERO;
            if screen.announce(now, code.clone(), name.clone(), fingerprint.clone()).is_ok() {
                let block = screen.take(SETTLE).expect("something was announced");
                let plain = |c: char| c == '\r' || c == '\n' || c == ' ' || c.is_ascii_graphic();
                assert!(block.chars().all(plain) && block.len() < 4096);
            }
        }
        let powerful = Peer::Service(vec![
            Right::Look,
            Right::Restart,
            Right::Reboot,
            Right::Announce,
            Right::Configure,
            Right::Reset,
        ]);
        let never = matches!(request, Request::Kill { .. } | Request::PowerOff);
        assert_eq!(powerful.may(request), !never);
        assert!(!Peer::Service(Vec::new()).may(request));
    }
});
