//! The name server's door, played: it keeps what it is told, and remembers what it was asked.

use roost_service::dns::{
    Answer, Call, Check, Delegation, DelegationState, Dmarc, DmarcState, LeftOut, Place, Record,
    Row, Secondary, Status, Zone, ZoneKey,
};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What it has, and what it was asked.
pub struct Zones {
    pub zones: Vec<Zone>,
    pub records: Vec<Record>,
    pub own: String,
    pub check: Check,
    /// Calls that are more than a look, the oldest first.
    pub orders: Vec<Call>,
    /// Does what it is told, but breaks off before it says so.
    pub breaks_off: bool,
}

/// A hand on a name server that listens.
#[derive(Clone)]
pub struct PlayedZones(Arc<Mutex<Zones>>);

/// A zone as it should be.
pub fn zone() -> Zone {
    Zone {
        domain: "example.org".into(),
        serial: Some(1_795_700_000),
        fault: None,
        signed_until: Some(1_798_761_540),
        ds: vec!["example.org. IN DS 4711 13 2 AB12".into()],
        keys: vec![ZoneKey {
            tag: 4711,
            role: "KSK".into(),
            state: "in force".into(),
        }],
        secondary: Some(Secondary {
            address: "10.82.0.1".into(),
            told: Some(1_795_700_000),
            fault: None,
        }),
        delegation: Some(Delegation {
            at: 1_796_000_000,
            parent: Some("org".into()),
            state: DelegationState::Secure,
            name_servers: vec!["ns1.example.org".into(), "ns2.example.org".into()],
            ds: vec!["example.org. IN DS 4711 13 2 AB12".into()],
            advice: String::new(),
        }),
        dmarc: Some(DmarcState {
            stage: Dmarc::Quarantine,
            chosen: false,
            next_at: Some(1_801_000_000),
        }),
    }
}

/// One that nobody can ask: the box has no address.
pub fn nowhere() -> Zone {
    Zone {
        serial: None,
        fault: Some("the box has no address on the internet yet: make a relay first".into()),
        signed_until: None,
        ds: Vec::new(),
        keys: Vec::new(),
        secondary: None,
        delegation: None,
        dmarc: None,
        ..zone()
    }
}

pub fn record(name: &str, kind: &str, value: &str, why: &str) -> Record {
    Record {
        name: name.into(),
        ttl: 3600,
        kind: kind.into(),
        value: value.into(),
        source: "box".into(),
        why: why.into(),
    }
}

/// A check that found nothing wrong, and one row that is.
pub fn check() -> Check {
    let place = |name: &str, address: &str, fault: Option<&str>| Place {
        name: name.into(),
        address: Some(address.into()),
        serial: match name {
            "parent" => None,
            _ if fault.is_some() => None,
            _ => Some(1_795_700_000),
        },
        fault: fault.map(Into::into),
    };
    let mx = vec!["10 mail.example.org.".to_owned()];
    let a = vec!["192.0.2.1".to_owned()];
    Check {
        domain: "example.org".into(),
        at: 1_798_761_540,
        places: vec![
            place("box", "127.0.0.1", None),
            place("secondary", "10.82.0.1", None),
            place("ns1", "192.0.2.1", None),
            place("ns2", "2001:db8::2", Some("no answer came in time")),
            place("parent", "199.19.56.1", None),
        ],
        rows: vec![
            Row {
                name: "example.org".into(),
                kind: "MX".into(),
                expected: mx.clone(),
                found: vec![Some(mx.clone()), Some(mx.clone()), Some(mx), None, None],
                right: true,
                advice: String::new(),
            },
            Row {
                name: "mail.example.org".into(),
                kind: "A".into(),
                expected: a.clone(),
                found: vec![
                    Some(a.clone()),
                    Some(vec!["192.0.2.9".into()]),
                    Some(a),
                    None,
                    None,
                ],
                right: false,
                advice: "The relay has an older copy: look again in five minutes.".into(),
            },
        ],
    }
}

impl PlayedZones {
    /// Listens at `path` from now on.
    pub fn listen(path: &Path) -> Self {
        let mut own = record("www.example.org", "A", "192.0.2.80", "my page");
        own.source = "owner".into();
        let played = Self(Arc::new(Mutex::new(Zones {
            zones: vec![zone()],
            records: vec![
                record(
                    "example.org",
                    "MX",
                    "10 mail.example.org.",
                    "Mail for this domain goes to the box.",
                ),
                record(
                    "example.org",
                    "NS",
                    "ns1.example.org.",
                    "This name server answers for the domain.",
                ),
                record(
                    "ns1.example.org",
                    "A",
                    "192.0.2.1",
                    "The address of a name server, which the registry has to know too.",
                ),
                record(
                    "_25._tcp.mail.example.org",
                    "TLSA",
                    "3 1 1 AB12",
                    "The key of the mail server.",
                ),
                own,
            ],
            own: "www 3600 IN A 192.0.2.80 ; my page\n".into(),
            check: check(),
            orders: Vec::new(),
            breaks_off: false,
        })));
        let listener = UnixListener::bind(path).unwrap();
        let hand = played.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, hand) = (stream.unwrap(), hand.clone());
                std::thread::spawn(move || {
                    let reader = BufReader::new(stream.try_clone().unwrap());
                    for line in reader.lines() {
                        let Ok(line) = line else { return };
                        let mut zones = hand.lock();
                        let answer = zones.answer(serde_json::from_str(&line).unwrap());
                        if zones.breaks_off {
                            return;
                        }
                        drop(zones);
                        let mut line = serde_json::to_vec(&answer).unwrap();
                        line.push(b'\n');
                        if stream.write_all(&line).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        played
    }

    pub fn lock(&self) -> MutexGuard<'_, Zones> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Zones {
    fn answer(&mut self, call: Call) -> Answer {
        let refused = |why: String| Answer::Refused { why };
        let domain = match &call {
            Call::Status | Call::Policies => None,
            Call::Records { domain }
            | Call::Export { domain, .. }
            | Call::OwnRecords { domain }
            | Call::SetOwnRecords { domain, .. }
            | Call::Import { domain, .. }
            | Call::ReplaceKey { domain }
            | Call::Check { domain }
            | Call::SetDmarc { domain, .. } => Some(domain.clone()),
        };
        let has = |domain: &String| self.zones.iter().any(|zone| zone.domain == *domain);
        if let Some(domain) = domain.filter(|domain| !has(domain)) {
            return refused(format!("{domain} is no domain of this box"));
        }
        let looks = matches!(
            call,
            Call::Status | Call::Records { .. } | Call::OwnRecords { .. }
        );
        if !looks {
            self.orders.push(call.clone());
        }
        match call {
            Call::Status => Answer::Status(Status {
                summary: "one zone is served on 3 addresses".into(),
                addresses: vec!["192.0.2.1".parse().unwrap()],
                zones: self.zones.clone(),
            }),
            Call::Records { .. } => Answer::Records {
                records: self.records.clone(),
            },
            Call::Export { .. } if self.zones[0].serial.is_none() => {
                refused("example.org is not served yet: make a relay first".into())
            }
            Call::Export { .. } => Answer::Text {
                text: "www A 192.0.2.1\n".into(),
            },
            Call::OwnRecords { .. } => Answer::Text {
                text: self.own.clone(),
            },
            Call::SetOwnRecords { text, .. } => {
                let wrong: Vec<String> = (text.lines().enumerate())
                    .filter(|(_, line)| line.contains("nonsense"))
                    .map(|(at, line)| {
                        let at = at + 1;
                        format!("line {at} ({line}): something is missing at its end. Write it like: www 3600 IN A 192.0.2.1")
                    })
                    .collect();
                if !wrong.is_empty() {
                    return refused(wrong.join("\n"));
                }
                self.own = text;
                Answer::Done
            }
            Call::Import { text, .. } if text.contains('(') => {
                refused("line 1: a bracket is not closed".into())
            }
            Call::Import { text, .. } => Answer::Import {
                keep: text
                    .lines()
                    .filter(|line| line.contains(" A "))
                    .fold(String::new(), |kept, line| kept + line + "\n"),
                left_out: vec![LeftOut {
                    record: "@ NS ns.old.example.".into(),
                    why: "the box itself says which name servers the domain has".into(),
                }],
            },
            Call::ReplaceKey { .. } => Answer::Done,
            Call::Check { .. } => Answer::Check(Box::new(self.check.clone())),
            Call::SetDmarc { stage, .. } => {
                self.zones[0].dmarc = Some(DmarcState {
                    stage: stage.unwrap_or(Dmarc::None),
                    chosen: stage.is_some(),
                    next_at: None,
                });
                Answer::Done
            }
            Call::Policies => Answer::Policies {
                policies: Vec::new(),
            },
        }
    }
}
