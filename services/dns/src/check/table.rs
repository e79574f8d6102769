//! The table: what there should be, and what each place has.

use super::{Expected, Place, Told, Wanted};
use crate::parent::{Heard, Judged, Said, plain, why};
use crate::sign::{policy, serial};
use crate::zonefile;
use hickory_proto::dnssec::rdata::{DNSSECRData, DS};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, NS};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use roost_service::dns::{self, Check, DelegationState, Row};
use std::net::IpAddr;

/// Puts together what was answered at `now` (seconds since 1970). `told` is in the order of `places`; behind these
/// comes the parent.
pub fn table(
    expected: &Expected,
    places: &[Place],
    told: &[Told],
    heard: &Heard,
    judged: Option<&Judged>,
    now: u64,
) -> Check {
    let origin = &expected.zone.origin;
    let table = Table {
        expected,
        places,
        told,
        judged,
    };
    let mut columns: Vec<dns::Place> = places
        .iter()
        .zip(told)
        .map(|(place, told)| dns::Place {
            name: place.name.clone(),
            address: told.address.map(|address| address.to_string()),
            serial: told.serial,
            fault: told.fault.clone(),
        })
        .collect();
    columns.push(parent(heard, judged));
    let mut rows = vec![table.serials()];
    rows.extend((0..expected.wanted.len()).map(|at| table.row(at)));
    rows.push(table.ds());
    Check {
        domain: plain(origin),
        at: now,
        places: columns,
        rows,
    }
}

/// The parent's column.
fn parent(heard: &Heard, judged: Option<&Judged>) -> dns::Place {
    let heard_of = heard.asked.iter().find(|asked| asked.said.is_ok());
    let fault = match (heard_of, judged) {
        (None, _) => Some(why(heard)),
        (Some(_), None) => Some("the zone is served no longer".into()),
        _ => None,
    };
    dns::Place {
        name: "parent".into(),
        address: heard_of
            .or(heard.asked.first())
            .map(|asked| asked.address.to_string()),
        serial: None,
        fault,
    }
}

struct Table<'a> {
    expected: &'a Expected,
    places: &'a [Place],
    told: &'a [Told],
    judged: Option<&'a Judged>,
}

impl Table<'_> {
    fn origin(&self) -> &Name {
        &self.expected.zone.origin
    }

    /// Who has which version of the zone. Who has another one need not answer what this one says.
    fn serials(&self) -> Row {
        let ours = self.expected.zone.serial;
        let found = |told: &Told| match told.serial {
            Some(serial) => Some(vec![serial.to_string()]),
            None => told.reached.then(Vec::new),
        };
        let advice: Vec<String> = (self.places.iter().zip(self.told))
            .filter(|(_, told)| told.reached && told.serial != Some(ours))
            .filter_map(|(place, told)| advice_on_serial(&place.name, told, ours))
            .collect();
        let mut found: Vec<Option<Vec<String>>> = self.told.iter().map(found).collect();
        found.push(None);
        Row {
            name: plain(self.origin()),
            kind: RecordType::SOA.to_string(),
            expected: vec![ours.to_string()],
            found,
            right: advice.is_empty(),
            advice: advice.join(" "),
        }
    }

    fn row(&self, at: usize) -> Row {
        let set = &self.expected.wanted[at];
        let mut others = Vec::new();
        let mut found: Vec<Option<Vec<String>>> = Vec::new();
        for (place, told) in self.places.iter().zip(self.told) {
            let answer = told.answers.get(at).and_then(Option::as_ref);
            let values = answer.and_then(|answer| values(set, answer));
            let same_zone = told.serial == Some(self.expected.zone.serial);
            if same_zone && values.as_ref().is_some_and(|values| *values != set.values) {
                others.push(place.name.as_str());
            }
            found.push(values);
        }
        let mut advice = String::new();
        if !others.is_empty() {
            advice = format!(
                "{} not what the box has, though with the same serial number: somebody in between changes \
                 answers, or two boxes serve this domain.",
                match &others[..] {
                    [one] => format!("What {one} answers is"),
                    more => format!("What {} answer is", more.join(" and ")),
                }
            );
        }
        let (above, what_to_do) = self.above(set);
        let differs = above.as_ref().is_some_and(|above| *above != set.values);
        if differs {
            advice = [advice.as_str(), what_to_do].join(" ").trim().to_owned();
        }
        found.push(above);
        Row {
            name: plain(&set.name),
            kind: set.kind.to_string(),
            expected: set.values.clone(),
            right: others.is_empty() && !differs,
            found,
            advice,
        }
    }

    /// What the parent has of a set, if it should, and what to do if that is wrong.
    fn above(&self, set: &Wanted) -> (Option<Vec<String>>, &str) {
        let Some((judged, said)) = self.judged.and_then(|j| Some((j, j.said.as_ref()?))) else {
            return (None, "");
        };
        let advice = &judged.advice;
        match set.kind {
            RecordType::NS if set.name == *self.origin() => {
                let servers = said.name_servers.iter();
                let all = servers.map(|server| RData::NS(NS(server.clone())));
                (Some(self.values(all)), &advice.name_servers)
            }
            RecordType::A | RecordType::AAAA if knows_address(said, &set.name) => {
                let own = said.glue.iter().filter(|(name, _)| *name == set.name);
                let of_type = own.filter_map(|(_, address)| match (address, set.kind) {
                    (IpAddr::V4(v4), RecordType::A) => Some(RData::A(A(*v4))),
                    (IpAddr::V6(v6), RecordType::AAAA) => Some(RData::AAAA(AAAA(*v6))),
                    _ => None,
                });
                (Some(self.values(of_type)), &advice.addresses)
            }
            _ => (None, ""),
        }
    }

    fn ds(&self) -> Row {
        let data = |ds: &DS| RData::DNSSEC(DNSSECRData::DS(ds.clone()));
        let said = self.judged.and_then(|judged| judged.said.as_ref());
        let mut found = vec![None; self.places.len()];
        found.push(said.map(|said| self.values(said.ds.iter().map(data))));
        let state = self.judged.map(|judged| judged.delegation.state);
        let right = said.is_none() || state == Some(DelegationState::Secure);
        let mut advice = self
            .judged
            .map_or(String::new(), |judged| judged.advice.ds.clone());
        if !right && advice.is_empty() {
            advice =
                "Enter it at your registrar when the box's name servers are named there.".into();
        }
        Row {
            name: plain(self.origin()),
            kind: RecordType::DS.to_string(),
            expected: self.values(self.expected.ds.iter().map(data)),
            found,
            right,
            advice,
        }
    }

    fn values(&self, all: impl Iterator<Item = RData>) -> Vec<String> {
        let record = |data| Record::from_rdata(self.origin().clone(), 0, data);
        let mut values: Vec<String> = all.map(|data| zonefile::value(&record(data))).collect();
        values.sort();
        values
    }
}

/// Whether the parent gives addresses at all, and should of this name server.
fn knows_address(said: &Said, name: &Name) -> bool {
    !said.glue.is_empty() && said.name_servers.contains(name)
}

fn advice_on_serial(place: &str, told: &Told, ours: u32) -> Option<String> {
    let Some(theirs) = told.serial else {
        let fault = told.fault.as_deref()?;
        return Some(format!(
            "{place}: {fault}. If it is the relay: that has to know the domain (`roost relay`)."
        ));
    };
    Some(match serial::is_newer(ours, theirs) {
        // It was changed while it was asked.
        false if place == "box" => return None,
        true => format!(
            "{place} has serial {theirs}, the box {ours}: it is told of each change, and if it misses that, it \
             fetches the zone within {} minutes.",
            policy::REFRESH / 60
        ),
        false => format!(
            "{place} has serial {theirs}, which is newer than the box's {ours}: it takes the next change, whose \
             number the box makes higher still."
        ),
    })
}

/// What an answer has of a set. `None`: it is none.
fn values(set: &Wanted, answer: &Message) -> Option<Vec<String>> {
    let code = answer.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    let of_set = |records: &[Record]| -> Vec<String> {
        let mut values: Vec<String> = records
            .iter()
            .filter(|record| record.name == set.name && record.record_type() == set.kind)
            .map(zonefile::value)
            .collect();
        values.sort();
        values
    };
    // What lies at a delegation of the owner's comes as a referral.
    let sections = [&answer.answers, &answer.authorities, &answer.additionals];
    let mut found = sections.into_iter().map(|records| of_set(records));
    Some(found.find(|values| !values.is_empty()).unwrap_or_default())
}
