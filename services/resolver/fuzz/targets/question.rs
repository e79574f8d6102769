//! Any bytes as a client's question, and as the network's own words: never a panic; an answer has the
//! question's number, fits, and can be read by others.
#![no_main]

use hickory_proto::op::{Message, MessageType, ResponseCode};
use libfuzzer_sys::fuzz_target;
use roost_resolver::found::{Failure, Found};
use roost_resolver::names::whose;
use roost_resolver::network::Network;
use roost_resolver::reply::{Told, write};
use roost_resolver::wire::{Request, read};

fuzz_target!(|bytes: &[u8]| {
    let network = Network::parse(&String::from_utf8_lossy(bytes));
    assert!(network.servers.len() <= 3);
    match read(bytes) {
        Request::Nothing => {}
        Request::Refused(answer) => {
            assert_eq!(answer[..2], bytes[..2]);
            let answer = Message::from_vec(&answer).expect("readable");
            assert_eq!(answer.metadata.message_type, MessageType::Response);
            assert_ne!(answer.metadata.response_code, ResponseCode::NoError);
        }
        Request::Question(question) => {
            for public in [true, false] {
                whose(&question.name, question.kind, &network, public);
            }
            // Whatever the bytes say as an answer is told to the one who asked.
            let found = Message::from_vec(bytes)
                .map_or_else(|_| Found::empty(ResponseCode::NXDomain), Found::of);
            let told = [
                Told::Found {
                    found,
                    secure: true,
                },
                Told::Bogus(6, "x".repeat(1000)),
                Told::Failed(Failure::Silent),
                Told::Refused,
            ];
            for told in told {
                for (udp, limit) in [(true, question.payload), (false, u16::MAX)] {
                    let answer = write(&question, told.clone(), udp);
                    assert!(answer.len() <= usize::from(limit));
                    let answer = Message::from_vec(&answer).expect("readable");
                    assert_eq!(answer.metadata.id, question.id);
                }
            }
        }
    }
});
