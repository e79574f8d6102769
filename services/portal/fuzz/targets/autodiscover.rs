//! What Outlook, or anybody else, posts to learn the settings of an address, any bytes: never a
//! panic; the answer is a whole XML document; the log-in name in it is the first half of the
//! address that was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quick_xml::Reader;
use quick_xml::events::Event;
use roost_portal::guide::{Guide, MAX_REQUEST, read_autodiscover};

fuzz_target!(|request: &[u8]| {
    let guide = Guide::new("mail.example.org", ["example.org"]).expect("names");
    let (status, document) = guide
        .answer("POST", "/autodiscover/autodiscover.xml", request)
        .expect("this path is the guide's");
    assert_eq!(status, 200);
    let text = std::str::from_utf8(&document.body).expect("text");

    let mut reader = Reader::from_str(text);
    let (mut depth, mut login) = (0, None);
    let mut in_login = false;
    loop {
        match reader.read_event().expect("XML") {
            Event::Start(start) => {
                depth += 1;
                in_login = start.local_name().as_ref() == "LoginName";
            }
            Event::End(_) => {
                depth -= 1;
                in_login = false;
            }
            Event::Text(text) if in_login => login = Some(text.to_string()),
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0);

    match read_autodiscover(request) {
        None => assert!(text.contains("<ErrorCode>600</ErrorCode>"), "{text}"),
        Some(wish) => {
            assert!(request.len() <= MAX_REQUEST);
            if let Some(login) = login {
                // The domain may have been written in other letters that mean the same.
                let (local, _) = wish.address.rsplit_once('@').expect("an address");
                assert_eq!(local.to_lowercase(), login);
            } else {
                assert!(text.contains("<ErrorCode>"), "{text}");
            }
        }
    }
});
