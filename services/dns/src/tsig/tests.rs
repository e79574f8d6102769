use super::*;
use crate::serve::signature_at;
use hickory_proto::op::Message;
use proptest::prelude::*;

fn key() -> Arc<Key> {
    Arc::new(Key::new(Name::from_ascii("Key.Example.").unwrap(), vec![7; 32]).unwrap())
}

fn message() -> Vec<u8> {
    let mut bytes = vec![0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    bytes.extend_from_slice(b"\x07example\x03org\0\0\x06\0\x01");
    bytes
}

fn check(bytes: &[u8], before: Option<&[u8]>, now: u64) -> Result<Verified, Bad> {
    verify(bytes, signature_at(bytes).unwrap(), &[key()], before, now)
}

#[test]
fn what_is_signed_is_verified_by_us_and_by_hickory() {
    let mut bytes = message();
    let mut signer = Signer::request(key());
    signer.sign(&mut bytes, 1_000_000);
    let verified = check(&bytes, None, 1_000_300).unwrap();
    assert_eq!(verified.mac, signer.mac());
    let name = Name::from_ascii("key.example.").unwrap();
    let theirs =
        hickory_proto::rr::TSigner::new(vec![7; 32], TsigAlgorithm::HmacSha256, name, 300).unwrap();
    theirs.verify_message_byte(&bytes, None, true).unwrap();
    let mut answer = message();
    Signer::answer(&verified).sign(&mut answer, 1_000_001);
    check(&answer, Some(&verified.mac), 1_000_002).unwrap();
    assert!(matches!(
        check(&answer, None, 1_000_002),
        Err(Bad::Signature(_))
    ));
}

/// The messages of a transfer: each covers the one before (RFC 8945, section 5.3.1), as hickory's client checks.
#[test]
fn a_chain_is_verified_by_hickory() {
    let name = Name::from_ascii("key.example.").unwrap();
    let theirs =
        hickory_proto::rr::TSigner::new(vec![7; 32], TsigAlgorithm::HmacSha256, name, 300).unwrap();
    let mut request = message();
    let mut signer = Signer::request(key());
    signer.sign(&mut request, now());
    let mut answers = Signer::answer(&check(&request, None, now()).unwrap());
    let mut before = signer.mac().to_vec();
    for number in 0..4 {
        let mut answer = message();
        answer[2] = 0x80;
        answers.sign(&mut answer, now());
        let (mac, ..) = theirs
            .verify_message_byte(&answer, Some(&before), number == 0)
            .unwrap();
        before = mac;
    }
}

#[test]
fn time_counts_in_both_directions() {
    let mut bytes = message();
    Signer::request(key()).sign(&mut bytes, 1_000_000);
    for (now, good) in [
        (999_699, false),
        (999_700, true),
        (1_000_300, true),
        (1_000_301, false),
    ] {
        assert_eq!(check(&bytes, None, now).is_ok(), good, "{now}");
    }
    assert!(matches!(check(&bytes, None, 0), Err(Bad::Time(_))));
}

#[test]
fn an_answer_to_the_wrong_time_says_ours() {
    let mut bytes = message();
    Signer::request(key()).sign(&mut bytes, 1_000_000);
    let Err(Bad::Time(verified)) = check(&bytes, None, 2_000_000) else {
        panic!()
    };
    let mut answer = message();
    Signer::answer(&verified).sign_bad_time(&mut answer, verified.time, 2_000_000);
    let read = Message::from_vec(&answer).unwrap();
    let tsig = &read.signature().unwrap().data;
    assert_eq!(
        (tsig.time, tsig.error),
        (1_000_000, Some(TsigError::BadTime))
    );
    assert_eq!(tsig.other, [0, 0, 0, 0x1E, 0x84, 0x80]);
    check(&answer, Some(&verified.mac), 1_000_000).unwrap();
}

#[test]
fn a_key_hides_its_secret_and_a_bad_one_is_refused() {
    let name = || Name::from_ascii("acme.").unwrap();
    insta::assert_snapshot!(format!("{:?}", key()), @"Key(Key.Example., hidden)");
    let short = Key::new(name(), vec![1; 15]).unwrap_err();
    insta::assert_snapshot!(short, @"the secret of key acme. has 15 bytes; it needs at least 16, better 32");
    let text = Key::from_base64(name(), "?").unwrap_err();
    insta::assert_snapshot!(text, @"the secret of key acme. is not base64");
}

proptest! {
    /// A bit changed anywhere is noticed, except in what a signature does not cover: the case of the key's
    /// name and the number under which the message now goes (RFC 8945, section 4.3.2).
    #[test]
    fn a_changed_bit_is_noticed(at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = message();
        Signer::request(key()).sign(&mut bytes, 1_000_000);
        let at = at.index(bytes.len());
        let start = signature_at(&bytes).unwrap();
        prop_assume!(at > 1 && !(bit == 5 && (start..start + 13).contains(&at)));
        // Its algorithm's name, in any case.
        prop_assume!(!(bit == 5 && (start + 23..start + 36).contains(&at)));
        bytes[at] ^= 1u8 << bit;
        if let Some(start) = signature_at(&bytes) {
            prop_assert!(verify(&bytes, start, &[key()], None, 1_000_000).is_err(), "byte {at}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 12..200), at in any::<prop::sample::Index>()) {
        let at = at.index(bytes.len()).max(12);
        prop_assert!(verify(&bytes, at, &[key()], None, 0).is_err());
    }
}
