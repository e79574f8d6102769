//! Keys and how they are stored.

use hickory_proto::dnssec::rdata::DNSKEY;
use proptest::prelude::*;
use roost_dns::sign::keys::{self, KeySet, Role};
use serde_json::{Value, json};

use crate::zones::{self, NOW};

fn stored() -> Value {
    serde_json::to_value(zones::keys()).unwrap()
}

fn refusal(value: Value) -> String {
    serde_json::from_value::<KeySet>(value)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_set_is_read_back_as_it_was() {
    let set = zones::keys();
    let text = serde_json::to_string(&set).unwrap();
    let again: KeySet = serde_json::from_str(&text).unwrap();
    let view = |set: &KeySet| -> Vec<(DNSKEY, u16, u64, Role)> {
        set.keys()
            .iter()
            .map(|key| (key.dnskey().clone(), key.tag(), key.created(), key.role()))
            .collect()
    };
    assert_eq!(view(&again), view(&set));
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
}

#[test]
fn a_set_has_one_key_of_each_kind() {
    let set = KeySet::generate(&zones::name("Example.ORG"), NOW).unwrap();
    assert_eq!(set.origin().to_ascii(), "example.org.");
    let flags: Vec<u16> = set.keys().iter().map(|key| key.dnskey().flags()).collect();
    assert_eq!(flags, [257, 256]);
    assert_eq!(set.active_zsk().unwrap().role(), Role::Zsk);
    assert_eq!(set.announced().count(), 1);
}

#[test]
fn debug_does_not_show_the_private_key() {
    let set = zones::keys();
    let shown = format!("{set:?}");
    for key in stored()["keys"].as_array().unwrap() {
        assert!(!shown.contains(key["pkcs8"].as_str().unwrap()));
    }
    assert!(!shown.contains("pkcs8"), "{shown}");
    assert!(shown.contains("tag"), "{shown}");
}

/// The line is what BIND's `dnssec-dsfromkey` makes of the DNSKEY.
#[test]
fn ds_is_what_bind_computes() {
    let set = zones::keys();
    let ksk = set.announced().next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(
        &file,
        format!("example.org. 3600 IN DNSKEY {}\n", ksk.dnskey()),
    )
    .unwrap();
    let output = std::process::Command::new("dnssec-dsfromkey")
        .args(["-2", "-f"])
        .arg(&file)
        .arg("example.org")
        .output();
    let output = output
        .unwrap_or_else(|error| panic!("dnssec-dsfromkey: {error}; apt-get install bind9-utils"));
    assert!(output.status.success(), "{output:?}");
    let theirs = String::from_utf8(output.stdout).unwrap();
    let words = |text: &str| -> Vec<String> {
        text.split_whitespace()
            .filter(|word| *word != "3600")
            .map(str::to_ascii_uppercase)
            .collect()
    };
    let ours = keys::ds(&set);
    assert_eq!(ours.len(), 1);
    assert_eq!(words(&ours[0]), words(&theirs));
}

#[test]
fn what_is_not_a_set_is_refused() {
    let mut refusals = Vec::new();
    let mut refuse = |change: fn(&mut Value)| {
        let mut value = stored();
        change(&mut value);
        refusals.push(refusal(value));
    };
    refuse(|set| set["keys"][1]["pkcs8"] = json!("AAAA"));
    refuse(|set| set["keys"][1]["pkcs8"] = json!("?"));
    refuse(|set| set["keys"] = json!([set["keys"][0]]));
    refuse(|set| set["keys"] = json!([set["keys"][1]]));
    refuse(|set| {
        set["keys"][1]["stage"] =
            json!({"zsk": {"retired": {"since": 1, "serial": null, "everywhere": null}}})
    });
    refuse(|set| set["origin"] = json!("a..b"));
    refuse(|set| set["unknown"] = json!(1));
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn two_keys_of_one_tag_are_refused() {
    let mut value = stored();
    let copy = value["keys"][0].clone();
    value["keys"].as_array_mut().unwrap().push(copy);
    let tag = zones::keys().keys().len();
    assert_eq!(tag, 2);
    assert!(refusal(value).starts_with("two keys have the tag "));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage of any kind is an error or gives a set that holds together; never a panic.
    #[test]
    fn a_damaged_file_never_panics(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        shorten: bool,
    ) {
        let mut bytes = serde_json::to_vec(&zones::keys()).unwrap();
        for (at, octet) in damage {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        if shorten {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(set) = serde_json::from_slice::<KeySet>(&bytes) {
            prop_assert!(set.active_zsk().is_some());
            prop_assert!(set.announced().next().is_some());
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,200}") {
        prop_assert!(serde_json::from_str::<KeySet>(&text).is_err());
    }
}
