//! What services write: lines to their notification pipes and to their logs;
//! and the kernel's log and device messages. Never a panic; what is kept is
//! short and can be shown on a terminal; a status that is written again is
//! read as the same. The first byte chooses how the bytes are taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::lines::Splitter;
use roost_init::ring::{self, Ring};
use roost_init::logs::KernelLine;
use roost_init::uevent;
use roost_service::notify::{MAX_LINE, MAX_STATUS, Message};
use std::time::Duration;

fn showable(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && c != '\t')
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 4 {
        0 => Splitter::new(MAX_LINE).feed(bytes, |line| match Message::parse(line.bytes()) {
            Some(Message::Status(text)) => {
                assert!(!text.is_empty() && text.len() <= MAX_STATUS);
                assert!(showable(&text) && !text.contains('\t'));
                let message = Message::Status(text.trim().to_owned());
                assert_eq!(
                    Message::parse(message.to_string().as_bytes()),
                    Some(message)
                );
            }
            Some(Message::Ready) => assert!(line.bytes().starts_with(b"READY")),
            None => {}
        }),
        1 => {
            let mut log = Ring::new(Duration::ZERO);
            let mut splitter = Splitter::new(ring::MAX_LINE);
            let mut time = Duration::ZERO;
            for read in bytes.chunks(100) {
                time += Duration::from_millis(u64::from(read[0]));
                splitter.feed(read, |line| {
                    let text = ring::clean(line.bytes());
                    assert!(showable(&text));
                    let before = log.next();
                    log.push(time, time, true, text);
                    assert!(log.next() - before <= 2);
                });
            }
            assert!(log.last(usize::MAX).all(|line| showable(&line.text)));
        }
        2 => {
            if let Some(line) = KernelLine::parse(bytes) {
                assert!(showable(&line.text));
            }
        }
        _ => {
            if let Some(event) = uevent::parse(bytes) {
                assert!(!event.action.contains('\0') && !event.subsystem.contains('\0'));
            }
        }
    }
});
