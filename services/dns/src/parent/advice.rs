//! What the parent's words mean, and what the owner can do about it.

use super::belief::in_our_form;
use super::read::absolute;
use super::{Heard, Said};
use crate::records::Signed;
use crate::sign::keys::{Key, KeySet};
use crate::sign::rollover::{Ksk, Stage};
use hickory_proto::dnssec::rdata::DS;
use hickory_proto::rr::{Name, RData};
use roost_service::dns::{Delegation, DelegationState};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What the parent should say.
#[derive(Debug, Clone)]
pub struct Ours<'a> {
    /// The zone's name servers.
    pub name_servers: BTreeSet<Name>,
    /// Addresses of those whose name is in the zone.
    pub addresses: BTreeSet<(Name, IpAddr)>,
    /// The zone's keys.
    pub keys: &'a KeySet,
}

impl<'a> Ours<'a> {
    /// What the parent of this zone should say.
    pub fn of(signed: &Signed, keys: &'a KeySet) -> Self {
        let servers = signed
            .records
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(ns) if record.name == signed.origin => Some(absolute(&ns.0)),
                _ => None,
            });
        let name_servers: BTreeSet<Name> = servers.collect();
        let addresses = signed.records.iter().filter_map(|record| {
            let address = match &record.data {
                RData::A(a) => IpAddr::V4(a.0),
                RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
                _ => return None,
            };
            let name = absolute(&record.name);
            name_servers.contains(&name).then_some((name, address))
        });
        Self {
            addresses: addresses.collect(),
            name_servers,
            keys,
        }
    }
}

/// What to do, in whole sentences; empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    /// About how it was asked.
    pub asking: String,
    /// About the name servers.
    pub name_servers: String,
    /// About their addresses.
    pub addresses: String,
    /// About DS records.
    pub ds: String,
}

impl Advice {
    fn whole(&self, state: DelegationState) -> String {
        let Self {
            asking,
            name_servers,
            addresses,
            ds,
        } = self;
        let all = match state {
            // A DS record has to be right before others are asked.
            DelegationState::Elsewhere => [asking, ds, name_servers, addresses],
            _ => [asking, name_servers, addresses, ds],
        };
        let said: Vec<&str> = all
            .into_iter()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
            .collect();
        said.join(" ")
    }
}

/// What was heard means.
#[derive(Debug, Clone)]
pub struct Judged {
    /// For the owner.
    pub delegation: Delegation,
    /// Its advice in parts.
    pub advice: Advice,
    /// What it is drawn from: the worst that anybody of the parent's says. `None`: nobody says anything.
    pub said: Option<Said>,
}

/// What was heard at `at` (seconds since 1970) means.
pub fn judge(ours: &Ours, heard: &Heard, at: u64) -> Judged {
    let zone = plain(ours.keys.origin());
    let parent = heard.parent.as_ref().map(plain);
    let above = parent.clone().unwrap_or_else(|| "the zone above".into());
    let mut asking = String::new();
    let worst = |said: &&Said| severity(state(ours, said));
    let said = match heard.first_hand().max_by_key(worst) {
        Some(said) => {
            if heard.first_hand().any(|other| other != said) {
                asking = format!(
                    "The name servers of {above} do not all say the same: a change is on its way."
                );
            }
            Some(said)
        }
        None => heard.second.as_ref().map(|second| {
            asking = format!(
                "The name servers of {above} cannot be asked from here ({}), so this is what the resolver \
                 says; no key is replaced on its word.",
                why(heard)
            );
            &second.said
        }),
    };
    let mut delegation = Delegation {
        at,
        parent,
        state: DelegationState::Unknown,
        name_servers: Vec::new(),
        ds: Vec::new(),
        advice: String::new(),
    };
    let Some(said) = said else {
        delegation.advice = format!("The zone above {zone} could not be asked: {}.", why(heard));
        return Judged {
            delegation,
            advice: Advice::default(),
            said: None,
        };
    };
    delegation.state = state(ours, said);
    delegation.name_servers = said.name_servers.iter().map(plain).collect();
    delegation.ds = said.ds.iter().map(DS::to_string).collect();
    let advice = Advice {
        asking,
        name_servers: about_name_servers(ours, said, &zone, &above),
        addresses: about_addresses(ours, said, &above),
        ds: about_ds(ours, said, &above, delegation.state),
    };
    delegation.advice = advice.whole(delegation.state);
    Judged {
        delegation,
        advice,
        said: Some(said.clone()),
    }
}

/// Why the parent's name servers have said nothing.
pub(crate) fn why(heard: &Heard) -> String {
    let first = heard.asked.iter().find_map(|asked| {
        let why = asked.said.as_ref().err()?;
        Some(format!("{}: {why}", asked.address))
    });
    (heard.fault.clone().or(first)).unwrap_or_else(|| "none has an address".into())
}

fn state(ours: &Ours, said: &Said) -> DelegationState {
    let strangers = said.name_servers.difference(&ours.name_servers);
    if said.name_servers.is_empty() || strangers.count() > 0 {
        return DelegationState::Elsewhere;
    }
    match (said.ds.is_empty(), named(ours.keys, said).next()) {
        (true, _) => DelegationState::Unsigned,
        (false, Some(_)) => DelegationState::Secure,
        (false, None) => DelegationState::Broken,
    }
}

fn severity(state: DelegationState) -> u8 {
    match state {
        DelegationState::Unknown => 0,
        DelegationState::Secure => 1,
        DelegationState::Unsigned => 2,
        DelegationState::Elsewhere => 3,
        DelegationState::Broken => 4,
    }
}

/// Keys whose DS record the parent has.
fn named<'a>(keys: &'a KeySet, said: &Said) -> impl Iterator<Item = &'a Key> {
    let ds = in_our_form(&said.ds, keys);
    let has = move |key: &&Key| key.ds(keys.origin()).is_some_and(|own| ds.contains(&own));
    keys.ksks().filter(has)
}

fn about_name_servers(ours: &Ours, said: &Said, zone: &str, above: &str) -> String {
    let strange: Vec<&Name> = said.name_servers.difference(&ours.name_servers).collect();
    let missing: Vec<&Name> = ours.name_servers.difference(&said.name_servers).collect();
    let all: Vec<&Name> = ours.name_servers.iter().collect();
    match (strange.is_empty(), missing.is_empty()) {
        _ if said.name_servers.is_empty() => format!(
            "{above} names no name server of {zone}: it is not registered, or nobody is named for it. Enter {} \
             at your registrar.",
            servers(ours, &all)
        ),
        (true, true) => String::new(),
        (true, false) => format!(
            "{above} does not name all of the box's name servers. Enter {} as well at your registrar.",
            servers(ours, &missing)
        ),
        (false, _) if missing.len() == all.len() => format!(
            "{above} names {} as {} of {zone}, not the box's. Enter {} at your registrar.",
            names(&strange),
            plural(strange.len(), "name server", "name servers"),
            servers(ours, &all)
        ),
        (false, _) => format!(
            "{above} names {} beside the box's name servers, so part of the world asks there. Leave only {} \
             at your registrar.",
            names(&strange),
            servers(ours, &all)
        ),
    }
}

fn about_addresses(ours: &Ours, said: &Said, above: &str) -> String {
    // A resolver knows of none.
    if said.glue.is_empty() {
        return String::new();
    }
    let of = |all: &BTreeSet<(Name, IpAddr)>, name: &Name| -> Vec<String> {
        let own = all.iter().filter(|(owner, _)| owner == name);
        own.map(|(_, address)| address.to_string()).collect()
    };
    let wrong = ours.name_servers.intersection(&said.name_servers);
    let wrong = wrong.filter_map(|name| {
        let (right, there) = (of(&ours.addresses, name), of(&said.glue, name));
        let there = match (right.is_empty(), there.is_empty()) {
            _ if right == there => return None,
            // It is in another zone, which has to know.
            (true, _) => return None,
            (_, true) => "no address".into(),
            _ => there.join(" and "),
        };
        Some(format!(
            "{above} has {there} for {}; enter {} at your registrar (some say glue, some say host).",
            plain(name),
            right.join(" and ")
        ))
    });
    wrong.collect::<Vec<_>>().join(" ")
}

fn about_ds(ours: &Ours, said: &Said, above: &str, state: DelegationState) -> String {
    let keys = ours.keys;
    let strange: Vec<String> = in_our_form(&said.ds, keys)
        .iter()
        .filter(|ds| {
            keys.ksks()
                .all(|key| key.ds(keys.origin()).as_ref() != Some(ds))
        })
        .map(|ds| ds.key_tag().to_string())
        .collect();
    let records = match strange.len() {
        1 => format!("a DS record (tag {})", strange[0]),
        _ => format!("DS records (tags {})", strange.join(", ")),
    };
    let fit = plural(strange.len(), "fits", "fit");
    let them = plural(strange.len(), "it", "them");
    match state {
        DelegationState::Unknown => String::new(),
        DelegationState::Elsewhere if !strange.is_empty() => format!(
            "{above} has {records} that {fit} no key of the box. Remove {them} at your registrar before you \
             change the name servers, and wait for {}: until then whoever validates would see nothing of your \
             domain.",
            time(said.ttl)
        ),
        DelegationState::Elsewhere if !said.ds.is_empty() && !said.name_servers.is_empty() => {
            format!(
                "{above} has the DS record of the box's key already: whoever validates sees nothing of your domain \
             until the box's name servers alone are named."
            )
        }
        DelegationState::Elsewhere => String::new(),
        DelegationState::Unsigned => format!(
            "Enter this DS record at your registrar, so that nobody can forge answers: {}",
            give(keys.announced(), keys)
        ),
        DelegationState::Broken => format!(
            "{above} has {records} that {fit} no key of this zone: whoever validates sees nothing of your domain. \
             Replace {them} by {} or remove {them} at your registrar now.",
            give(keys.announced(), keys)
        ),
        DelegationState::Secure => changes(keys, said, &strange),
    }
}

/// What the owner may change though all is well.
fn changes(keys: &KeySet, said: &Said, strange: &[String]) -> String {
    let known: Vec<u16> = named(keys, said).map(Key::tag).collect();
    // Keys stand in the order in which they were made: one from before a known one is on its way out.
    let later = keys
        .ksks()
        .skip_while(|key| known.last() != Some(&key.tag()));
    let ready = |key: &&Key| matches!(key.stage(), Stage::Ksk(Ksk::Announced { .. }));
    let fresh: Vec<&Key> = later.skip(1).filter(ready).collect();
    let leaving = |key: &&Key| matches!(key.stage(), Stage::Ksk(Ksk::Leaving { .. }));
    let mut old: Vec<String> = named(keys, said)
        .filter(leaving)
        .map(|key| key.tag().to_string())
        .collect();
    if !fresh.is_empty() {
        let there: Vec<String> = known.iter().map(u16::to_string).collect();
        return format!(
            "A new key is ready. Enter its DS record at your registrar, in place of that with tag {} or beside \
             it: {}",
            there.join(", "),
            give(fresh.into_iter(), keys)
        );
    }
    old.extend_from_slice(strange);
    match old.len() {
        0 => String::new(),
        1 => format!(
            "The DS record with tag {} is of no use: remove it at your registrar.",
            old[0]
        ),
        _ => format!(
            "The DS records with tags {} are of no use: remove them at your registrar.",
            old.join(", ")
        ),
    }
}

fn give<'a>(keys: impl Iterator<Item = &'a Key>, set: &KeySet) -> String {
    let origin = set.origin();
    let lines = keys.filter_map(|key| Some(format!("{origin} IN DS {}", key.ds(origin)?)));
    lines.collect::<Vec<_>>().join(" and ")
}

/// Name servers with their addresses, as a registrar's form wants them.
fn servers(ours: &Ours, all: &[&Name]) -> String {
    let one = |name: &&Name| {
        let own = ours.addresses.iter().filter(|(owner, _)| owner == *name);
        let own: Vec<String> = own.map(|(_, address)| address.to_string()).collect();
        match own.is_empty() {
            true => plain(name),
            false => format!("{} ({})", plain(name), own.join(", ")),
        }
    };
    list(all.iter().map(one).collect())
}

fn names(all: &[&Name]) -> String {
    list(all.iter().map(|name| plain(name)).collect())
}

fn list(mut all: Vec<String>) -> String {
    match all.pop() {
        Some(last) if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        last => last.unwrap_or_default(),
    }
}

fn plural<'a>(count: usize, one: &'a str, more: &'a str) -> &'a str {
    if count == 1 { one } else { more }
}

/// Seconds in words, rounded up.
fn time(seconds: u32) -> String {
    match seconds.div_ceil(3600) {
        0 | 1 => "an hour".into(),
        hours => format!("{hours} hours"),
    }
}

/// Without the dot at its end.
pub(crate) fn plain(name: &Name) -> String {
    let text = name.to_ascii();
    match text.strip_suffix('.') {
        Some("") => "the root".into(),
        Some(text) => text.to_owned(),
        None => text,
    }
}
