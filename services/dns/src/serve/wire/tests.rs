use super::super::zone::wire;
use super::*;
use hickory_proto::op::{Edns as Hickory, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;

fn names() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..8),
        prop::collection::vec(
            prop::sample::select(vec![0u8, 1, 2, b'.', b'A', b'a', b'*', 255]),
            1..3
        ),
    ];
    prop::collection::vec(label, 0..6).prop_map(|labels| {
        Name::from_labels(labels.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap()
    })
}

fn labels(name: &Name) -> Vec<Vec<u8>> {
    let mut labels: Vec<_> = name.iter().map(<[u8]>::to_ascii_lowercase).collect();
    labels.reverse();
    labels
}

proptest! {
    /// Keys sort as RFC 4034, section 6.1, says: label by label from the right, as bytes in lower case.
    #[test]
    fn keys_sort_as_names(one in names(), other in names()) {
        let keys = key(&wire(&one)).cmp(&key(&wire(&other)));
        prop_assert_eq!(keys, labels(&one).cmp(&labels(&other)));
    }

    #[test]
    fn ancestors_are_beginnings(one in names(), other in names()) {
        let below = labels(&other).starts_with(&labels(&one));
        prop_assert_eq!(key(&wire(&other)).starts_with(&key(&wire(&one))), below);
    }

    #[test]
    fn a_parent_is_a_label_less(name in names().prop_filter("not the root", |name| !name.is_root())) {
        let (own, above) = (key(&wire(&name)), key(&wire(&name.base_name())));
        prop_assert_eq!(parent(&own), &above[..]);
    }

    /// What hickory writes is read as it was meant.
    #[test]
    fn queries_are_read(name in names(), kind in any::<u16>(), id in any::<u16>(), edns in any::<Option<(u16, bool)>>()) {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = kind % 2 == 0;
        message.add_query(Query::query(name.clone(), RecordType::from(kind)));
        if let Some((payload, dnssec)) = edns {
            let mut hickory = Hickory::new();
            hickory.set_max_payload(payload).set_dnssec_ok(dnssec);
            message.set_edns(hickory);
        }
        let bytes = message.to_vec().unwrap();
        let request = Request::parse(&bytes).unwrap();
        prop_assert_eq!(request.question, Question { name: &wire(&name), kind, class: 1 });
        prop_assert_eq!((request.id, request.recursion), (id, kind % 2 == 0));
        let read = request.edns.map(|edns| (edns.payload, edns.dnssec));
        // hickory never says less than 512.
        prop_assert_eq!(read, edns.map(|(payload, dnssec)| (payload.max(512), dnssec)));
    }

    /// No bytes make it panic, and what it takes for a plain query hickory takes for the same.
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::parse(&bytes);
        let _ = signature_at(&bytes);
    }

    #[test]
    fn changed_queries_are_read_as_hickory_does(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii("a.b.example.org.").unwrap(), RecordType::MX));
        message.set_edns(Hickory::new());
        let mut bytes = message.to_vec().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let theirs = Message::from_vec(&bytes);
        if let (Ok(own), Ok(theirs)) = (Request::parse(&bytes), theirs) {
            prop_assert_eq!(own.id, theirs.metadata.id);
            let query = &theirs.queries[0];
            prop_assert_eq!(own.question.name, &wire(query.name())[..]);
            prop_assert_eq!(own.question.kind, u16::from(query.query_type()));
            prop_assert_eq!(own.edns.is_some(), theirs.edns.is_some());
        }
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told_apart() {
    let good = [
        &[0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
        b"\x01a\0",
        &[0, 1, 0, 1],
    ]
    .concat();
    assert!(Request::parse(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Request::parse(&bytes).map(|_| ())
    };
    assert_eq!(with(2, 0x80), Err(Malformed::Silent));
    assert_eq!(Request::parse(&good[..11]), Err(Malformed::Silent));
    assert_eq!(
        with(2, 4 << 3),
        Err(Malformed::Opcode),
        "NOTIFY is for secondaries"
    );
    assert_eq!(with(5, 0), Err(Malformed::Format), "no question");
    assert_eq!(with(5, 2), Err(Malformed::Format), "two questions");
    assert_eq!(
        with(11, 1),
        Err(Malformed::Format),
        "a record that is not there"
    );
    assert_eq!(
        with(12, 0xC0),
        Err(Malformed::Format),
        "a pointer in the first name"
    );
    let longer = [&good[..], &[0]].concat();
    assert_eq!(
        Request::parse(&longer),
        Err(Malformed::Format),
        "more than it says"
    );
    let opt = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];
    let mut twice = [&good[..], &opt, &opt].concat();
    twice[11] = 2;
    assert_eq!(Request::parse(&twice), Err(Malformed::Format), "EDNS twice");
}
