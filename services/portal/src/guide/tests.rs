use super::*;
use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;

fn guide() -> Guide {
    Guide::new("mail.example.org", ["example.org", "bücher.example.net"]).unwrap()
}

fn alice() -> Person {
    Person {
        login: "alice".into(),
        address: "alice@example.org".into(),
        display_name: "Alice <&> \"Example\" ]]> Ægir\u{0}\u{b}".into(),
    }
}

fn text(document: &Document) -> &str {
    std::str::from_utf8(&document.body).unwrap()
}

fn request(address: &str, schema: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006\">\n\
         <Request><EMailAddress>{address}</EMailAddress>\n\
         <AcceptableResponseSchema>{schema}</AcceptableResponseSchema></Request></Autodiscover>"
    )
}

const OUTLOOK: &str =
    "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";
const ACTIVE_SYNC: &str =
    "http://schemas.microsoft.com/exchange/autodiscover/mobilesync/responseschema/2006";

/// Whether every tag is closed, and every text and attribute can be read.
fn is_xml(text: &str) -> bool {
    let mut reader = Reader::from_str(text);
    let mut depth = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_)) => depth += 1,
            Ok(Event::End(_)) => depth -= 1,
            Ok(Event::Eof) => return depth == 0,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

#[test]
fn a_guide_needs_names() {
    assert!(Guide::new("mail.example.org", []).is_none());
    assert!(Guide::new("", ["example.org"]).is_none());
    assert!(Guide::new("a b", ["example.org"]).is_none());
    assert!(Guide::new("roost.local", ["example"]).is_none());
    assert!(Guide::new("roost.local", ["example.org"]).is_some());
}

#[test]
fn what_people_type() {
    let settings: Vec<String> = guide()
        .settings()
        .into_iter()
        .map(|s| {
            format!(
                "{} {}: {} port {}, {}",
                if s.first_choice { "*" } else { " " },
                s.service,
                s.server,
                s.port,
                s.security.name()
            )
        })
        .chain(
            guide()
                .links()
                .into_iter()
                .map(|link| format!("  {}: {}", link.service, link.url)),
        )
        .collect();
    insta::assert_snapshot!(settings.join("\n"));
}

#[test]
fn what_thunderbird_fetches() {
    for path in [
        "/.well-known/autoconfig/mail/config-v1.1.xml",
        "/mail/config-v1.1.xml",
    ] {
        let (status, document) = guide().answer("GET", path, b"").unwrap();
        assert_eq!((status, document), (200, guide().autoconfig()));
    }
    let document = guide().autoconfig();
    assert!(is_xml(text(&document)));
    insta::assert_snapshot!(text(&document));
}

#[test]
fn what_outlook_fetches() {
    let body = request("Alice@Example.org", OUTLOOK);
    for path in [
        "/autodiscover/autodiscover.xml",
        "/Autodiscover/Autodiscover.xml",
        "/AutoDiscover/AutoDiscover.xml",
    ] {
        let (status, document) = guide().answer("POST", path, body.as_bytes()).unwrap();
        assert_eq!(status, 200);
        assert_eq!(document, guide().autodiscover(body.as_bytes()));
    }
    let document = guide().autodiscover(body.as_bytes());
    assert!(is_xml(text(&document)));
    insta::assert_snapshot!(text(&document));
    let (status, _) = guide()
        .answer("GET", "/autodiscover/autodiscover.xml", b"")
        .unwrap();
    assert_eq!(status, 405);
}

#[test]
fn outlook_hears_why_not() {
    let code = |request: &str| {
        let document = guide().autodiscover(request.as_bytes());
        let text = text(&document).to_owned();
        assert!(is_xml(&text));
        let (_, rest) = text.split_once("<ErrorCode>").expect("an error");
        rest[..3].to_owned()
    };
    assert_eq!(code(&request("alice@example.com", OUTLOOK)), "500");
    assert_eq!(code(&request("alice", OUTLOOK)), "500");
    assert_eq!(code(&request("alice@example.org", ACTIVE_SYNC)), "601");
    assert_eq!(code("alice@example.org"), "600");
    insta::assert_snapshot!(text(&guide().autodiscover(b"")));
}

#[test]
fn requests_are_read_strictly() {
    let wish = read_autodiscover(request(" alice@example.org ", OUTLOOK).as_bytes()).unwrap();
    assert_eq!(wish.address, "alice@example.org");
    assert_eq!(wish.schema.as_deref(), Some(OUTLOOK));
    let https = OUTLOOK.replace("http:", "https:");
    let document = guide().autodiscover(request("alice@example.org", &https).as_bytes());
    assert!(text(&document).contains("<LoginName>alice</LoginName>"));
    let bare = "\u{feff}<Autodiscover><Request><EMailAddress>a@example.org</EMailAddress>\
                </Request></Autodiscover>\n";
    assert_eq!(read_autodiscover(bare.as_bytes()).unwrap().schema, None);

    let long = request(&"a".repeat(MAX_REQUEST), OUTLOOK);
    for bad in [
        "",
        "{}",
        "<Autodiscover/>",
        "<Autodiscover><Request/></Autodiscover>",
        "<Autodiscover><Request><LegacyDN>x</LegacyDN></Request></Autodiscover>",
        "<Request><EMailAddress>a@example.org</EMailAddress></Request>",
        "<Autodiscover><Request><EMailAddress>a@example.org</EMailAddress></Autodiscover></Request>",
        "<Autodiscover><Request><EMailAddress>a@example.org</EMailAddress></Request>",
        "<Autodiscover><Request><EMailAddress>a</EMailAddress><EMailAddress>b</EMailAddress></Request></Autodiscover>",
        "<Autodiscover><Request><EMailAddress>a</EMailAddress></Request><Request></Request></Autodiscover>",
        "<Autodiscover><Request>x<EMailAddress>a</EMailAddress></Request></Autodiscover>",
        "<Autodiscover><Request><EMailAddress><b>a</b></EMailAddress></Request></Autodiscover>",
        "<Autodiscover><Request><EMailAddress>&x;</EMailAddress></Request></Autodiscover>",
        "<Autodiscover><Request><EMailAddress><![CDATA[a]]></EMailAddress></Request></Autodiscover>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><Autodiscover><Request><EMailAddress>&x;</EMailAddress></Request></Autodiscover>",
        "<?php ?><Autodiscover><Request><EMailAddress>a</EMailAddress></Request></Autodiscover>",
        "<Autodiscover><Request><EMailAddress>a</EMailAddress></Request></Autodiscover><Autodiscover></Autodiscover>",
        &long,
    ] {
        assert_eq!(read_autodiscover(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(read_autodiscover(b"\xff\xfe<\0A\0"), None);
}

#[test]
fn what_an_iphone_installs() {
    let document = guide().apple_profile(&alice());
    assert_eq!(document.content_type, "application/x-apple-aspen-config");
    assert_eq!(document.file_name.as_deref(), Some("alice.mobileconfig"));
    assert!(is_xml(text(&document)));
    let profile = plist::Value::from_reader_xml(&document.body[..]).unwrap();
    let content = profile.as_dictionary().unwrap()["PayloadContent"]
        .as_array()
        .unwrap();
    let mail = content[0].as_dictionary().unwrap();
    assert_eq!(
        mail["EmailAccountName"].as_string(),
        Some("Alice <&> \"Example\" ]]> Ægir")
    );
    insta::assert_snapshot!(text(&document));
}

#[test]
fn profiles_of_one_account_replace_each_other() {
    let of = |person: &Person| guide().apple_profile(person);
    assert_eq!(of(&alice()), of(&alice()));
    let uuids = |document: &Document| {
        let mut found: Vec<String> = text(document)
            .lines()
            .skip_while(|line| !line.contains("PayloadUUID"))
            .filter(|line| line.matches('-').count() == 4 && !line.contains("roost"))
            .map(str::to_owned)
            .collect();
        assert_eq!(found.len(), 4);
        found.sort();
        found.dedup();
        assert_eq!(found.len(), 4);
        found
    };
    let mut renamed = alice();
    renamed.display_name = "Alice".into();
    assert_eq!(uuids(&of(&renamed)), uuids(&of(&alice())));
    let mut bob = alice();
    bob.address = "bob@example.org".into();
    assert!(
        uuids(&of(&bob))
            .iter()
            .all(|id| !uuids(&of(&alice())).contains(id))
    );
}

#[test]
fn what_a_phone_scans() {
    let mut person = alice();
    person.display_name = "Jane \"J\" Doe".into();
    assert_eq!(
        guide().phone_code(&person),
        r#"[1,[1,1],[0,"mail.example.org",993,3,1,"alice"],[[[0,"mail.example.org",465,3,1,"alice"],["alice@example.org","Jane \"J\" Doe"]]]]"#
    );
}

#[test]
fn other_requests_are_not_for_the_guide() {
    for (method, path) in [
        ("GET", "/"),
        ("POST", "/mail/config-v1.1.xml"),
        ("GET", "/.well-known/caldav"),
        ("GET", "/autodiscover/autodiscover.json"),
        ("GET", "/mail/config-v1.1.xml/"),
    ] {
        assert!(
            guide().answer(method, path, b"").is_none(),
            "{method} {path}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_get_a_whole_document(request in proptest::collection::vec(any::<u8>(), 0..300)) {
        let document = guide().autodiscover(&request);
        prop_assert!(is_xml(text(&document)));
    }

    #[test]
    fn any_text_in_a_request_gets_a_whole_document(address in "\\PC{0,40}", schema in "\\PC{0,40}") {
        let document = guide().autodiscover(request(&address, &schema).as_bytes());
        prop_assert!(is_xml(text(&document)));
    }

    #[test]
    fn any_name_makes_a_whole_profile(name in any::<String>(), login in any::<String>()) {
        let person = Person { login, address: "alice@example.org".into(), display_name: name.clone() };
        let document = guide().apple_profile(&person);
        let profile = plist::Value::from_reader_xml(&document.body[..]).unwrap();
        let content = profile.as_dictionary().unwrap()["PayloadContent"].as_array().unwrap();
        let mail = content[0].as_dictionary().unwrap();
        let shown = xml_text(&name);
        prop_assert_eq!(mail["EmailAccountName"].as_string(), Some(shown.as_str()));
        let file = document.file_name.unwrap();
        prop_assert!(file.bytes().all(|b| b.is_ascii_graphic() && b != b'"'));
    }
}
