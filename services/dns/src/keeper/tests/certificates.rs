//! What certificates and the time that goes by do to a zone.

use super::*;
use crate::facts::Certificates;
use crate::facts::certified::tests::status;
use roost_service::certificates::{Role, Status, TlsKey};
use roost_service::dns::Dmarc;

/// The facts with what the certificate service said.
fn with(said: &Status, now: u64) -> Vec<Facts> {
    let mut all = known(&["example.org"]);
    Certificates::from(said).add_to(&mut all, now);
    all
}

fn with_all(now: u64) -> Vec<Facts> {
    with(&status(now), now)
}

fn pairs(all: &[(&str, u64)]) -> Vec<(String, u64)> {
    all.iter().map(|(hash, at)| ((*hash).into(), *at)).collect()
}

impl World {
    fn policy(&self) -> Option<String> {
        let policies = self.keeper.policies();
        assert!(policies.iter().all(|policy| policy.domain == "example.org"));
        policies.into_iter().next().map(|policy| policy.text)
    }

    fn of_kind(&self, kind: RecordType) -> usize {
        let records = &self.keeper.all[0].served;
        records.iter().filter(|r| r.record_type() == kind).count()
    }

    /// The beginnings of the hashes that all name servers have, and since when.
    fn hashes(&mut self, now: u64) -> Vec<(String, u64)> {
        let pinned = self.keeper.pinned(now).into_iter();
        pinned
            .map(|pin| (pin.sha256[..2].to_owned(), pin.since))
            .collect()
    }
}

#[test]
fn a_zone_with_certificates() {
    let mut world = World::new();
    world.keeper.set_facts(with_all(NOW), NOW + 1);
    assert_eq!(world.status().fault, None);
    insta::assert_snapshot!(world.keeper.export("example.org", false).unwrap());
}

#[test]
fn policies_become_stricter() {
    let mut world = World::new();
    let mut lines = Vec::new();
    for day in [0, 1, 6, 7, 8, 21, 22, 60] {
        let now = NOW + day * DAY;
        world = World::over(world.folder);
        let facts = match day {
            0..8 => known(&["example.org"]),
            _ => with_all(now),
        };
        world.keeper.set_facts(facts, now);
        let dmarc = world.status().dmarc.unwrap();
        let next = dmarc.next_at.map(|at| (at - NOW) / DAY);
        let policy = world.policy();
        // What is announced is what is handed out.
        let text = world.keeper.export("example.org", false).unwrap();
        assert_eq!(policy.is_some(), text.contains("v=STSv1"));
        let policy = policy.unwrap_or_default().replace("\r\n", ", ");
        let stage = dmarc.stage;
        lines.push(format!(
            "day {day}: DMARC {stage:?}, next {next:?}; {policy}"
        ));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_the_owner_chooses_stays() {
    let mut world = World::new();
    let has = |world: &World, policy: &str| {
        let text = format!("v=DMARC1; p={policy}; rua=mailto:postmaster@example.org");
        world.has(&format!("_dmarc 3600 IN TXT \"{text}\""))
    };
    assert!(has(&world, "none"));
    let late = NOW + 30 * DAY;
    for (choice, text) in [
        (Dmarc::Reject, "reject"),
        (Dmarc::Quarantine, "quarantine"),
        (Dmarc::None, "none"),
    ] {
        let keeper = &mut world.keeper;
        keeper.set_dmarc("example.org", Some(choice), late).unwrap();
        assert!(has(&world, text), "{text}");
        world = world.restart(late);
        assert!(has(&world, text), "{text}");
        let state = world.status().dmarc.unwrap();
        assert_eq!((state.stage, state.chosen), (choice, true));
        assert_eq!(state.next_at, None);
    }
    world.keeper.set_dmarc("example.org", None, late).unwrap();
    assert!(has(&world, "quarantine"));
    assert!(!world.status().dmarc.unwrap().chosen);
    // A choice that changes no record is kept as well.
    let keeper = &mut world.keeper;
    let choice = Some(Dmarc::Quarantine);
    keeper.set_dmarc("example.org", choice, late).unwrap();
    world = world.restart(late);
    assert!(world.status().dmarc.unwrap().chosen);

    let keeper = &mut world.keeper;
    let own = "_dmarc TXT \"v=DMARC1; p=none\"";
    keeper.set_own("example.org", own, late).unwrap();
    insta::assert_snapshot!(keeper.set_dmarc("example.org", choice, late).unwrap_err());
    assert_eq!(world.status().dmarc, None);
}

#[test]
fn nothing_is_chosen_for_a_zone_that_is_not_served() {
    let mut world = World::over(tempfile::tempdir().unwrap());
    let mut facts = known(&["example.org"]);
    facts[0].name_servers.clear();
    world.keeper.set_facts(facts, NOW);
    let choice = Some(Dmarc::Reject);
    let said = world.keeper.set_dmarc("example.org", choice, NOW);
    assert_eq!(said.unwrap_err().to_string(), NOWHERE);
    assert_eq!(world.status().dmarc, None);
    world = world.restart(NOW);
    assert!(!world.status().dmarc.unwrap().chosen);
}

#[test]
fn when_certificates_run_out_unheard_the_promise_goes_and_the_pins_stay() {
    let mut world = World::new();
    let said = status(NOW);
    world.keeper.set_facts(with(&said, NOW), NOW);
    let counts = |world: &World| {
        let kinds = [RecordType::TLSA, RecordType::CAA];
        kinds.map(|kind| world.of_kind(kind))
    };
    assert_eq!(counts(&world), [14, 3]);
    assert!(world.policy().is_some());
    let end = NOW + 90 * DAY;
    world.keeper.set_facts(with(&said, end), end);
    assert_eq!(counts(&world), [14, 3]);
    assert_eq!(world.policy(), None);
    let text = world.keeper.export("example.org", false).unwrap();
    assert!(!text.contains("mta-sts"), "{text}");
}

#[test]
fn a_hash_is_told_when_all_name_servers_have_it() {
    let mut world = World::new();
    world.keeper.set_secondary(true);
    let mut said = status(NOW);
    world.keeper.set_facts(with(&said, NOW), NOW + 1);
    let first = world.serial();
    assert_eq!(world.hashes(NOW + 1), []);
    assert_eq!(world.keeper.awaited(), [(origin(), first)]);
    // One that has an older zone, and one that has somebody else's.
    for other in [first - 1, first + 1000] {
        world.keeper.seen(&origin(), other, NOW + 2);
        assert_eq!(world.hashes(NOW + 2), []);
    }
    world.keeper.seen(&origin(), first, NOW + 3);
    let both = pairs(&[("ab", NOW + 3), ("cd", NOW + 3)]);
    assert_eq!(world.hashes(NOW + 4), both);
    assert!(world.keeper.awaited().is_empty());
    // The next key is taken, and another comes after it.
    let keys = &mut said.certificates[0].tls_keys;
    keys.remove(0);
    keys[0].role = Role::Current;
    keys.push(TlsKey {
        role: Role::Next,
        sha256: "ef".repeat(32),
        published_since: None,
    });
    let later = NOW + DAY;
    world.keeper.set_facts(with(&said, later), later);
    assert_eq!(world.hashes(later), pairs(&[("cd", NOW + 3)]));
    let second = world.serial();
    assert_eq!(world.keeper.awaited(), [(origin(), second)]);
    world.keeper.seen(&origin(), second, later + 9);
    let both = pairs(&[("cd", NOW + 3), ("ef", later + 9)]);
    assert_eq!(world.hashes(later + 10), both);
    assert_eq!(world.keeper.pinned(later + 10)[0].ttl_s, 300);
}

#[test]
fn without_a_secondary_a_hash_is_everywhere_at_once() {
    let mut world = World::new();
    assert_eq!(world.hashes(NOW), []);
    let at = NOW + 5;
    world.keeper.set_facts(with_all(NOW), at);
    let both = pairs(&[("ab", at), ("cd", at)]);
    assert_eq!(world.hashes(at), both);
    assert_eq!(world.hashes(at + 10), both);
    // A secondary that comes now has yet to be seen with it.
    world.keeper.set_secondary(true);
    assert_eq!(world.hashes(at + 10), []);
}

#[test]
fn a_secondary_with_a_higher_number_gets_a_higher_one_at_once() {
    let mut world = World::new();
    world.keeper.set_secondary(true);
    let theirs = world.serial() + 5_000_000;
    world.keeper.seen(&origin(), theirs, NOW + 1);
    world.keeper.look(NOW + 2);
    assert!(serial::is_newer(world.serial(), theirs));
    let ours = world.serial();
    world.keeper.look(NOW + 3);
    assert_eq!(world.serial(), ours);
}

#[test]
fn a_zone_of_an_older_version_is_read() {
    let world = World::new();
    let path = world.folder.path().join("zone-example.org.json");
    let text = std::fs::read(&path).unwrap();
    let mut kept: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let stages = kept.as_object_mut().unwrap().remove("stages");
    assert!(stages.is_some_and(|stages| stages.is_object()));
    std::fs::write(&path, kept.to_string()).unwrap();
    let world = world.restart(NOW + 1);
    assert_eq!(world.status().fault, None);
    assert!(!world.status().dmarc.unwrap().chosen);
}
