//! Requests to init, as bytes on its socket: never a panic, at no time more
//! than one line in memory, and the same requests however the bytes are cut
//! into reads. What is read and written again is read as the same. The first
//! byte says how long a read is.
//!
//! Then the same bytes as a session over a socket whose other side reads only
//! now and then: each line has one answer, in order, and never more than a
//! bounded number of bytes waits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::control::{Client, MAX_PENDING, MAX_REQUEST, Peer, Standing, parse};
use roost_init::lines::Splitter;
use roost_init::screen::{SETTLE, Screen};
use roost_service::control::{Request, Response};
use roost_service::spec::Right;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
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

/// What comes back is as long as the request made it, up to some hundred kilobytes.
fn answer(number: usize, request: &Result<Request, String>) -> Response {
    let length = match request {
        Ok(Request::Logs { lines, .. }) => lines % 400_000,
        _ => 1,
    };
    Response::Error {
        message: format!("{number} {}", "x".repeat(length)),
    }
}

fn session(bytes: &[u8], length: usize) {
    let (ours, mut theirs) = UnixStream::pair().expect("a socket");
    ours.set_nonblocking(true).expect("a socket");
    theirs.set_nonblocking(true).expect("a socket");
    let mut client = Client::new(ours.into(), Peer::Master);
    let (mut sent, mut asked, mut answered) = (0, 0, 0);
    let mut taken = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    for turn in 0usize.. {
        if let Ok(more) = theirs.write(&bytes[sent..(sent + length).min(bytes.len())]) {
            sent += more;
        }
        let (requests, standing) = client.read();
        assert!(standing != Standing::Closed);
        assert!(requests.len() <= 8 * 4096);
        asked += requests.len();
        client.queue.extend(requests);
        while client.has_room() && let Some(request) = client.queue.pop_front() {
            client.answer(&answer(answered, &request));
            answered += 1;
            assert!(client.pending() <= MAX_PENDING + 500_000);
        }
        assert!(client.flush());
        // The other side is slow until it has said everything.
        if sent == bytes.len() || turn % 7 == 0 {
            while let Ok(more @ 1..) = theirs.read(&mut buffer) {
                taken.extend_from_slice(&buffer[..more]);
            }
            if sent == bytes.len()
                && standing == Standing::Drained
                && client.queue.is_empty()
                && client.pending() == 0
            {
                break;
            }
        }
    }
    while let Ok(more @ 1..) = theirs.read(&mut buffer) {
        taken.extend_from_slice(&buffer[..more]);
    }
    let lines = taken.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut count = 0;
    for line in lines {
        let Ok(Response::Error { message }) = serde_json::from_slice(line) else {
            panic!("not an answer");
        };
        assert_eq!(message.split(' ').next(), Some(&*count.to_string()));
        count += 1;
    }
    assert_eq!((count, answered), (asked, asked));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&length, bytes)) = bytes.split_first() else {
        return;
    };
    session(bytes, 16 * (usize::from(length) + 1));
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
            Right::Disk,
        ]);
        let never = matches!(request, Request::Kill { .. } | Request::PowerOff);
        assert_eq!(powerful.may(request), !never);
        assert!(!Peer::Service(Vec::new()).may(request));
    }
});
