//! Every check with facts that make it well and facts that do not.

use super::facts::*;
use super::table::{GROUPS, decide};
use crate::time::Wall;
use proptest::prelude::*;
use roost_service::backup;
use roost_service::certificates::{self, CertificateStatus, Choice, Failure, Role, TlsKey};
use roost_service::control::{BoxStatus, ServiceStatus};
use roost_service::dns::{self, Delegation, DelegationState, Dmarc, DmarcState, Record};
use roost_service::health::{Checked, Health, Level};
use roost_service::mail::{self, Overview, QueuedMessage, QueuedReceiver};
use roost_service::resolver::{self, Way};
use roost_service::tunnel::{self, Guard, Replaced, State};
use roost_service::update::{self, Outcome, Phase, Reason, UpdateStatus, Version};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const NOW: u64 = 1_798_761_540;
const DAY: u64 = 86_400;
const KEY: &str = "97b0560280ed60a5a1eaa1bc45492543c8a986ad5a25b468c427eb83c3e88191";
const DOMAIN: &str = "example.org";
const HOST: &str = "mail.example.org";
const ADDRESS: &str = "192.0.2.25";

fn service(name: &str, state: &str, restarts: u32) -> ServiceStatus {
    ServiceStatus {
        name: name.into(),
        state: state.into(),
        detail: String::new(),
        pid: Some(9),
        restarts,
        memory: Some(1 << 20),
    }
}

fn version(number: u64) -> Version {
    Version {
        number,
        name: format!("0.1.0+{number}"),
    }
}

fn outcome(from: u64, to: u64, at: u64) -> Outcome {
    Outcome {
        from: version(from),
        to: version(to),
        at,
        took_s: 90,
        rolled_back: None,
    }
}

fn backup_made(at: u64) -> backup::Made {
    backup::Made {
        at,
        id: "3f".repeat(32),
        files: 40,
        bytes: 1_000_000,
        added: 4000,
        manifest: "5a".repeat(32),
    }
}

fn backup_failed(times: u32) -> Option<backup::BackupFailure> {
    Some(backup::BackupFailure {
        at: NOW - 600,
        times,
        why: "the server takes no connection".into(),
        hint: None,
    })
}

fn backups(facts: &mut Facts) -> &mut backup::BackupStatus {
    facts.backups.as_mut().unwrap()
}

fn shown(greeting: &str) -> Told<Shown> {
    Ok(Shown {
        greeting: greeting.into(),
        protocol: Some("TLSv1_3".into()),
        key_sha256: Some(KEY.into()),
    })
}

fn ports() -> BTreeMap<u16, Told<Shown>> {
    [
        (25, shown("220 mail.example.org ESMTP")),
        (465, shown("220 mail.example.org ESMTP")),
        (587, shown("220 mail.example.org ESMTP")),
        (993, shown("* OK ready")),
        (443, shown("")),
    ]
    .into()
}

fn row(name: &str, kind: &str, value: &str) -> dns::Row {
    let values = vec![value.to_owned()];
    dns::Row {
        name: name.into(),
        kind: kind.into(),
        expected: values.clone(),
        found: vec![Some(values); 5],
        right: true,
        advice: String::new(),
    }
}

fn answer(values: &[&str]) -> Told<Answer> {
    Ok(Answer {
        values: values.iter().map(ToString::to_string).collect(),
        secure: true,
    })
}

/// A box of which everything is known, and all is well.
fn well() -> Facts {
    let place = |name: &str| dns::Place {
        name: name.into(),
        address: Some(ADDRESS.into()),
        serial: Some(7),
        fault: None,
    };
    Facts {
        now: Some(Wall(NOW)),
        name: "attic".into(),
        announced: "attic".into(),
        spam_filter: true,
        machine: Ok(BoxStatus {
            name: "attic".into(),
            version: "0.1.0+14".into(),
            slot: 2,
            trial_left_s: None,
            uptime_s: 3.0 * DAY as f64,
            rescue: None,
            ready: true,
            ready_after_s: Some(9.0),
            clock_synced: true,
            addresses: vec!["192.168.1.5/24".into(), "fe80::1/64".into()],
            memory_total: 1 << 30,
            memory_available: 1 << 29,
            data_total: 30_000_000_000,
            data_free: 20_000_000_000,
            data_written: 1_000_000_000,
            services: vec![service("mail", "ready", 0), service("portal", "ready", 0)],
        }),
        kernel_log: Ok(vec!["Linux version 7.3".into()]),
        init_log: Ok(vec!["init: ready".into()]),
        degrees: Some(51.0),
        life: Some(Life {
            a: 1,
            b: 2,
            spare: 1,
        }),
        clock_offset: Ok(-12),
        resolver: Ok(resolver::Status {
            summary: String::new(),
            way: Way::Recursive,
            network: vec!["192.168.1.1".parse().unwrap()],
            asked: 5000,
            bogus: 0,
        }),
        tunnel: Ok(tunnel::Status {
            public_key: "k".into(),
            state: State::Up,
            summary: "It works.".into(),
            backend: None,
            addresses: vec!["10.77.0.2".parse().unwrap()],
            relay: Some("192.0.2.25:51820".into()),
            endpoint: None,
            mtu: Some(1420),
            handshake_age_s: Some(60),
            heard_s: Some(1),
            since_s: 7200,
            connected: 1,
            sent: Default::default(),
            received: Default::default(),
            rtt_ms: Some(21.0),
            probe_loss: Some(0.0),
            receive_loss: Some(0.0),
            rejected: Default::default(),
            send_fault: None,
            guard: Some(Guard::Held),
        }),
        outside: vec![ADDRESS.parse().unwrap(), "2001:db8:25::1".parse().unwrap()],
        relay: Some(Ok(RelaySays {
            uptime: 40 * DAY,
            dns: "box".into(),
            zones: [(DOMAIN.to_owned(), Some(7))].into(),
            reboot_required: false,
            conntrack: Some(12),
            conntrack_max: Some(8192),
        })),
        dns: Ok(dns::Status {
            summary: String::new(),
            addresses: vec![],
            zones: vec![dns::Zone {
                domain: DOMAIN.into(),
                serial: Some(7),
                fault: None,
                signed_until: Some(NOW + 25 * DAY),
                ds: vec![],
                keys: vec![],
                secondary: None,
                delegation: Some(Delegation {
                    at: NOW,
                    parent: Some("org".into()),
                    state: DelegationState::Secure,
                    name_servers: vec![],
                    ds: vec!["1 13 2 AA".into()],
                    advice: String::new(),
                }),
                dmarc: Some(DmarcState {
                    stage: Dmarc::Quarantine,
                    chosen: false,
                    next_at: None,
                }),
            }],
        }),
        alarms: vec![],
        records: [(
            DOMAIN.to_owned(),
            Ok(vec![Record {
                name: "roost._domainkey.example.org".into(),
                ttl: 3600,
                kind: "TXT".into(),
                value: "\"v=DKIM1; p=AA\" \"BB\"".into(),
                source: "box".into(),
                why: String::new(),
            }]),
        )]
        .into(),
        checks: [(
            DOMAIN.to_owned(),
            Ok(dns::Check {
                domain: DOMAIN.into(),
                at: NOW,
                places: ["box", "secondary", "ns1", "ns2", "parent"]
                    .map(place)
                    .into(),
                rows: vec![
                    row(DOMAIN, "MX", "10 mail.example.org."),
                    row(DOMAIN, "NS", "ns1.example.org."),
                ],
            }),
        )]
        .into(),
        names: [
            (key("", "SOA"), answer(&["2026112700"])),
            (key(DOMAIN, "SOA"), answer(&["7"])),
            (key(DOMAIN, "MX"), answer(&[HOST])),
            (
                key(DOMAIN, "TXT"),
                answer(&["v=spf1 mx -all", "something else"]),
            ),
            (key(DOMAIN, "A"), answer(&[ADDRESS])),
            (
                key("_dmarc.example.org", "TXT"),
                answer(&["v=DMARC1; p=quarantine; rua=mailto:a@example.org"]),
            ),
            (
                key("_mta-sts.example.org", "TXT"),
                answer(&["v=STSv1; id=1"]),
            ),
            (key(HOST, "A"), answer(&[ADDRESS])),
            (
                key("_25._tcp.mail.example.org", "TLSA"),
                answer(&[&format!("3 1 1 {KEY}")]),
            ),
            (key("25.2.0.192.in-addr.arpa", "PTR"), answer(&[HOST])),
            (
                key("roost._domainkey.example.org", "TXT"),
                answer(&["v=DKIM1; p=AABB"]),
            ),
        ]
        .into(),
        certificates: Ok(certificates::Status {
            summary: String::new(),
            choice: Some(Choice {
                terms_agreed: true,
                ..Choice::default()
            }),
            zones: None,
            directory: Some("https://acme-v02.api.letsencrypt.org/directory".into()),
            account: None,
            caa: vec![],
            certificates: vec![CertificateStatus {
                id: "mail".into(),
                names: vec![HOST.into()],
                readers: vec![],
                state: certificates::State::Valid,
                summary: String::new(),
                serial: Some("01".into()),
                valid: Some((NOW - 30 * DAY, NOW + 60 * DAY)),
                next_at: None,
                tls_keys: vec![TlsKey {
                    role: Role::Current,
                    sha256: KEY.to_uppercase(),
                    published_since: Some(NOW - DAY),
                }],
                failure: None,
            }],
        }),
        own_ports: ports(),
        public_ports: ports(),
        port25: Ok(Port25 {
            open: Some(true),
            why: "Mail gets out: mail servers outside answer on port 25.".into(),
        }),
        lists: Some(
            ["Spamhaus ZEN", "SpamCop", "PSBL", "Mailspike"]
                .map(|name| Listing {
                    name: name.into(),
                    listed: Some(false),
                    why: format!("{name} does not have the address."),
                    removal: "https://list.example/".into(),
                })
                .into(),
        ),
        mail: Ok(Overview {
            host: HOST.into(),
            domains: vec![],
            accounts: vec![mail::Account {
                name: "alice".into(),
                display_name: String::new(),
                first: true,
                addresses: vec!["alice@example.org".into()],
                quota: Some(1_000_000_000),
                used: 1_000_000,
                app_passwords: 0,
            }],
            queued: 0,
        }),
        queue: Ok(Queue::default()),
        policies: [(
            DOMAIN.to_owned(),
            "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmax_age: 86400\r\n"
                .to_owned(),
        )]
        .into(),
        backups: Ok(backup::BackupStatus {
            target: backup::Target::of("s3://backups/attic", None, None, "AKIA1").ok(),
            forgets: true,
            made: Some(backup_made(NOW - 7200)),
            proof: Some(backup::Proof {
                at: NOW - 3 * DAY,
                id: "3f".repeat(32),
                files: 40,
                bytes: 1_000_000,
                fault: None,
            }),
            next_at: Some(NOW + 79_200),
            ..backup::BackupStatus::default()
        }),
        updates: Ok(UpdateStatus {
            running: version(14),
            other: Some(version(13)),
            phase: Phase::Idle,
            last: Some(outcome(13, 14, NOW - 20 * DAY)),
            earlier: vec![],
        }),
        access: Ok(Access {
            owner: true,
            app: true,
            passkeys: 0,
            alarming: 0,
        }),
    }
}

/// A box of which nothing is known.
fn dark() -> Facts {
    fn no<T>() -> Told<T> {
        Err("nobody answers".into())
    }
    Facts {
        now: None,
        degrees: None,
        life: None,
        machine: no(),
        kernel_log: no(),
        init_log: no(),
        clock_offset: no(),
        resolver: no(),
        tunnel: no(),
        outside: vec![],
        relay: None,
        dns: no(),
        alarms: vec![],
        records: BTreeMap::new(),
        checks: BTreeMap::new(),
        names: BTreeMap::new(),
        certificates: no(),
        own_ports: BTreeMap::new(),
        public_ports: BTreeMap::new(),
        port25: no(),
        lists: None,
        mail: no(),
        queue: no(),
        policies: BTreeMap::new(),
        backups: no(),
        updates: no(),
        access: no(),
        ..well()
    }
}

fn of<'a>(health: &'a Health, id: &str) -> &'a Checked {
    let mut all = health.checks.iter();
    all.find(|checked| checked.id == id)
        .unwrap_or_else(|| panic!("there is no check {id}"))
}

fn machine(facts: &mut Facts) -> &mut BoxStatus {
    facts.machine.as_mut().unwrap()
}

fn replaced(tunnel: &mut tunnel::Status) {
    tunnel.state = State::Replaced;
    tunnel.guard = Some(Guard::Replaced(Replaced { by: 2, at_s: 3 }));
    tunnel.summary = "another card serves in place of this one; this one has stood down".into();
}

fn the_tunnel(facts: &mut Facts) -> &mut tunnel::Status {
    facts.tunnel.as_mut().unwrap()
}

fn the_relay(facts: &mut Facts) -> &mut RelaySays {
    facts.relay.as_mut().unwrap().as_mut().unwrap()
}

fn zone(facts: &mut Facts) -> &mut dns::Zone {
    &mut facts.dns.as_mut().unwrap().zones[0]
}

fn delegation(facts: &mut Facts) -> &mut Delegation {
    zone(facts).delegation.as_mut().unwrap()
}

fn certificate(facts: &mut Facts) -> &mut CertificateStatus {
    &mut facts.certificates.as_mut().unwrap().certificates[0]
}

fn updates(facts: &mut Facts) -> &mut UpdateStatus {
    facts.updates.as_mut().unwrap()
}

fn looked(facts: &mut Facts) -> &mut dns::Check {
    facts.checks.get_mut(DOMAIN).unwrap().as_mut().unwrap()
}

/// A place answers something else for MX (NS at the parent).
fn otherwise(facts: &mut Facts, place: usize) {
    let row = &mut looked(facts).rows[usize::from(place == 4)];
    row.found[place] = Some(vec!["another".into()]);
    row.right = false;
    row.advice = "Do this about it.".into();
}

fn silent(facts: &mut Facts, place: usize) {
    looked(facts).places[place].fault = Some("no answer came in time".into());
}

fn says(facts: &mut Facts, name: &str, kind: &str, values: &[&str]) {
    facts.names.insert(key(name, kind), answer(values));
}

fn unanswered(facts: &mut Facts, name: &str, kind: &str) {
    let why = "the box's resolver says SERVFAIL".to_owned();
    facts.names.insert(key(name, kind), Err(why));
}

fn listed(facts: &mut Facts, which: &[usize]) {
    for at in which {
        let list = &mut facts.lists.as_mut().unwrap()[*at];
        list.listed = Some(true);
        list.why = format!("{} has the address.", list.name);
    }
}

fn waits(facts: &mut Facts, seconds: u64) {
    facts.queue.as_mut().unwrap().oldest.push(QueuedMessage {
        id: "1".into(),
        from: "alice@example.org".into(),
        size: 9,
        came: NOW - seconds,
        receivers: vec![QueuedReceiver {
            address: "bob@example.com".into(),
            tries: 3,
            next: None,
            until: None,
            fault: Some("421 try\r\nlater".into()),
        }],
        waiting: 1,
    });
}

type Change = fn(&mut Facts);

/// What is to come of a check when something is so.
const CASES: &[(&str, Level, Change)] = &[
    ("box-rescue", Level::Failed, |f| {
        machine(f).rescue = Some("the card has no data".into())
    }),
    ("box-rescue", Level::Failed, |f| {
        f.machine = Err("the box's init does not answer".into())
    }),
    ("box-services", Level::Failed, |f| {
        machine(f).services.push(ServiceStatus {
            detail: "it ended with code 3".into(),
            ..service("dns", "backoff", 3)
        })
    }),
    ("box-services", Level::Failed, |f| {
        machine(f).services.push(service("dns", "something new", 0))
    }),
    ("box-services", Level::Warning, |f| {
        machine(f).services.push(service("dns", "starting", 0))
    }),
    ("box-services", Level::Unknown, |f| {
        machine(f).services.clear()
    }),
    ("box-restarts", Level::Note, |f| {
        machine(f).services.push(service("dns", "ready", 2))
    }),
    ("box-restarts", Level::Warning, |f| {
        machine(f).services.push(service("dns", "ready", 5))
    }),
    ("box-memory", Level::Warning, |f| {
        machine(f).memory_available = (1 << 30) / 11
    }),
    ("box-memory", Level::Failed, |f| {
        machine(f).memory_available = (1 << 30) / 26
    }),
    ("box-memory-ended", Level::Warning, |f| {
        f.kernel_log = Ok(vec![
            "[ 9.1] Memory cgroup out of memory: Killed process 9 (mail)".into(),
        ])
    }),
    ("box-heat", Level::Warning, |f| f.degrees = Some(80.0)),
    ("box-heat", Level::Failed, |f| f.degrees = Some(85.2)),
    ("box-power", Level::Note, |f| {
        f.init_log = Ok(vec![
            "init: the box did not go down in order the last time: its power was cut".into(),
        ])
    }),
    ("card-room", Level::Warning, |f| {
        machine(f).data_free = 2_400_000_000
    }),
    ("card-room", Level::Failed, |f| {
        machine(f).data_free = 500_000_000
    }),
    ("card-room", Level::Failed, |f| {
        (machine(f).data_total, machine(f).data_free) = (100_000_000, 31_000_000)
    }),
    ("card-room", Level::Unknown, |f| machine(f).data_total = 0),
    ("card-errors", Level::Failed, |f| {
        f.kernel_log = Ok(vec![
            "mmcblk0: I/O error, dev mmcblk0, sector 5".into(),
            "EXT4-fs error (device mmcblk0p4)".into(),
        ])
    }),
    ("card-errors", Level::Failed, |f| {
        machine(f).rescue = Some("the card is failing: the data partition has errors".into())
    }),
    ("card-verity", Level::Failed, |f| {
        f.kernel_log = Ok(vec![
            "device-mapper: verity: 179:2: data block 5 is corrupted".into(),
        ])
    }),
    ("card-writes", Level::Note, |f| {
        machine(f).data_written = 3 * 4_000_000_000
    }),
    ("card-writes", Level::Warning, |f| {
        machine(f).data_written = 3 * 31_000_000_000
    }),
    ("card-writes", Level::Unknown, |f| {
        machine(f).uptime_s = 600.0
    }),
    ("card-life", Level::Warning, |f| {
        f.life = Some(Life {
            a: 10,
            b: 1,
            spare: 1,
        })
    }),
    ("card-life", Level::Warning, |f| {
        f.life = Some(Life {
            a: 1,
            b: 1,
            spare: 2,
        })
    }),
    ("card-life", Level::Failed, |f| {
        f.life = Some(Life {
            a: 1,
            b: 11,
            spare: 1,
        })
    }),
    ("card-life", Level::Failed, |f| {
        f.life = Some(Life {
            a: 0,
            b: 0,
            spare: 3,
        })
    }),
    ("card-life", Level::Unknown, |f| {
        f.life = Some(Life {
            a: 0,
            b: 0,
            spare: 0,
        })
    }),
    ("clock-set", Level::Failed, |f| {
        machine(f).clock_synced = false
    }),
    ("clock-right", Level::Warning, |f| {
        f.clock_offset = Ok(2_000)
    }),
    ("clock-right", Level::Failed, |f| {
        f.clock_offset = Ok(-61_000)
    }),
    ("clock-right", Level::Unknown, |f| f.now = None),
    ("net-address", Level::Failed, |f| {
        machine(f).addresses = vec!["169.254.7.7/16".into(), "fe80::1/64".into()]
    }),
    ("net-address", Level::Failed, |f| {
        machine(f).addresses.clear()
    }),
    ("net-name", Level::Note, |f| f.announced = "attic-2".into()),
    ("net-resolver", Level::Note, |f| {
        f.resolver.as_mut().unwrap().way = Way::Forwarded
    }),
    ("net-resolver", Level::Warning, |f| {
        f.resolver.as_mut().unwrap().way = Way::Unchecked
    }),
    ("net-resolver", Level::Failed, |f| {
        f.resolver.as_mut().unwrap().way = Way::Offline
    }),
    ("net-resolver", Level::Unknown, |f| {
        f.resolver.as_mut().unwrap().way = Way::Unknown
    }),
    ("net-lookups", Level::Failed, |f| unanswered(f, "", "SOA")),
    ("net-lookups", Level::Failed, |f| says(f, "", "SOA", &[])),
    ("net-validation", Level::Warning, |f| {
        f.names
            .get_mut(&key("", "SOA"))
            .unwrap()
            .as_mut()
            .unwrap()
            .secure = false
    }),
    ("net-validation", Level::Unknown, |f| {
        unanswered(f, "", "SOA")
    }),
    ("net-forged", Level::Note, |f| {
        f.resolver.as_mut().unwrap().bogus = 40
    }),
    ("net-forged", Level::Warning, |f| {
        f.resolver.as_mut().unwrap().bogus = 51
    }),
    ("tunnel-up", Level::Failed, |f| {
        the_tunnel(f).state = State::Down
    }),
    ("tunnel-up", Level::Failed, |f| {
        f.tunnel = Err("the tunnel service does not answer: it is not running".into())
    }),
    ("tunnel-up", Level::Warning, |f| {
        the_tunnel(f).state = State::Unconfigured
    }),
    ("tunnel-up", Level::Failed, |f| {
        let tunnel = the_tunnel(f);
        (tunnel.state, tunnel.guard) = (State::Down, Some(Guard::Waiting));
        tunnel.summary = "connected to the relay; this card serves soon".into();
    }),
    ("tunnel-up", Level::Failed, |f| replaced(the_tunnel(f))),
    ("tunnel-alone", Level::Failed, |f| replaced(the_tunnel(f))),
    ("tunnel-alone", Level::Warning, |f| {
        the_tunnel(f).guard = Some(Guard::Waiting)
    }),
    ("tunnel-alone", Level::Warning, |f| {
        the_tunnel(f).guard = Some(Guard::Asking)
    }),
    ("tunnel-alone", Level::Note, |f| {
        the_tunnel(f).guard = Some(Guard::Absent)
    }),
    ("tunnel-alone", Level::Unknown, |f| {
        the_tunnel(f).guard = None
    }),
    ("tunnel-loss", Level::Note, |f| {
        the_tunnel(f).probe_loss = Some(0.02)
    }),
    ("tunnel-loss", Level::Warning, |f| {
        the_tunnel(f).probe_loss = Some(0.1)
    }),
    ("tunnel-loss", Level::Failed, |f| {
        the_tunnel(f).probe_loss = Some(0.5)
    }),
    ("tunnel-loss", Level::Unknown, |f| {
        the_tunnel(f).state = State::Down
    }),
    ("tunnel-delay", Level::Note, |f| {
        the_tunnel(f).rtt_ms = Some(300.0)
    }),
    ("tunnel-delay", Level::Warning, |f| {
        the_tunnel(f).rtt_ms = Some(1000.0)
    }),
    ("tunnel-delay", Level::Unknown, |f| {
        the_tunnel(f).rtt_ms = None
    }),
    ("tunnel-steady", Level::Note, |f| {
        the_tunnel(f).connected = 10
    }),
    ("tunnel-steady", Level::Warning, |f| {
        the_tunnel(f).connected = 31
    }),
    ("tunnel-sending", Level::Warning, |f| {
        the_tunnel(f).send_fault = Some("Network is unreachable".into())
    }),
    ("tunnel-sending", Level::Unknown, |f| {
        the_tunnel(f).state = State::Unconfigured
    }),
    ("tunnel-strangers", Level::Note, |f| {
        the_tunnel(f).rejected.forged = u64::MAX
    }),
    ("relay-answers", Level::Warning, |f| {
        f.relay = Some(Err(
            "what it says cannot be understood: it is no JSON".into()
        ))
    }),
    ("relay-answers", Level::Unknown, |f| {
        f.relay = Some(Err("nobody answers at its port 8077".into()))
    }),
    ("relay-dns", Level::Warning, |f| {
        the_relay(f).dns = "relay".into()
    }),
    ("relay-zones", Level::Warning, |f| {
        the_relay(f).zones.clear()
    }),
    ("relay-zones", Level::Warning, |f| {
        the_relay(f).zones.insert(DOMAIN.into(), None);
    }),
    ("relay-restart", Level::Note, |f| {
        the_relay(f).reboot_required = true
    }),
    ("relay-connections", Level::Warning, |f| {
        the_relay(f).conntrack = Some(7000)
    }),
    ("relay-connections", Level::Failed, |f| {
        the_relay(f).conntrack = Some(8000)
    }),
    ("relay-connections", Level::Unknown, |f| {
        the_relay(f).conntrack_max = Some(0)
    }),
    ("dns-served", Level::Failed, |f| {
        zone(f).fault = Some("its keys are damaged".into())
    }),
    ("dns-served", Level::Failed, |f| zone(f).serial = None),
    ("dns-here", Level::Failed, |f| otherwise(f, 0)),
    ("dns-here", Level::Failed, |f| silent(f, 0)),
    ("dns-copy", Level::Warning, |f| otherwise(f, 1)),
    ("dns-copy", Level::Warning, |f| silent(f, 1)),
    ("dns-outside-first", Level::Failed, |f| otherwise(f, 2)),
    ("dns-outside-first", Level::Warning, |f| silent(f, 2)),
    ("dns-outside-first", Level::Unknown, |f| f.outside.clear()),
    ("dns-outside-second", Level::Failed, |f| otherwise(f, 3)),
    ("dns-outside-second", Level::Unknown, |f| silent(f, 3)),
    ("dns-registry", Level::Failed, |f| otherwise(f, 4)),
    ("dns-registry", Level::Unknown, |f| silent(f, 4)),
    ("dns-world", Level::Failed, |f| {
        says(f, DOMAIN, "MX", &[HOST, "mx.old.example"])
    }),
    ("dns-world", Level::Failed, |f| says(f, DOMAIN, "MX", &[])),
    ("dns-world", Level::Failed, |f| unanswered(f, DOMAIN, "MX")),
    ("dnssec-expiry", Level::Warning, |f| {
        zone(f).signed_until = Some(NOW + 10 * DAY)
    }),
    ("dnssec-expiry", Level::Failed, |f| {
        zone(f).signed_until = Some(NOW + 6 * DAY)
    }),
    ("dnssec-expiry", Level::Failed, |f| {
        zone(f).signed_until = Some(NOW - DAY)
    }),
    ("dnssec-expiry", Level::Failed, |f| {
        zone(f).signed_until = None
    }),
    ("dnssec-expiry", Level::Failed, |f| {
        f.alarms = vec!["The box's name server does not answer for example.org: `no`.".into()]
    }),
    ("dnssec-chain", Level::Warning, |f| {
        delegation(f).state = DelegationState::Unsigned
    }),
    ("dnssec-chain", Level::Failed, |f| {
        delegation(f).state = DelegationState::Broken;
        delegation(f).advice = "Remove the DS record.".into();
    }),
    ("dnssec-chain", Level::Unknown, |f| {
        delegation(f).state = DelegationState::Elsewhere
    }),
    ("dnssec-chain", Level::Unknown, |f| {
        zone(f).delegation = None
    }),
    ("dnssec-validates", Level::Failed, |f| {
        f.names
            .get_mut(&key(DOMAIN, "SOA"))
            .unwrap()
            .as_mut()
            .unwrap()
            .secure = false
    }),
    ("dnssec-validates", Level::Failed, |f| {
        unanswered(f, DOMAIN, "SOA")
    }),
    ("dnssec-validates", Level::Note, |f| {
        delegation(f).state = DelegationState::Unsigned;
        f.names
            .get_mut(&key(DOMAIN, "SOA"))
            .unwrap()
            .as_mut()
            .unwrap()
            .secure = false;
    }),
    ("dnssec-validates", Level::Unknown, |f| {
        unanswered(f, "", "SOA")
    }),
    ("cert-agreed", Level::Warning, |f| {
        f.certificates.as_mut().unwrap().choice = None
    }),
    ("cert-valid", Level::Warning, |f| {
        certificate(f).valid = Some((NOW - 80 * DAY, NOW + 10 * DAY))
    }),
    ("cert-valid", Level::Warning, |f| {
        certificate(f).valid = None
    }),
    ("cert-valid", Level::Failed, |f| {
        certificate(f).valid = Some((NOW - 86 * DAY, NOW + 4 * DAY))
    }),
    ("cert-valid", Level::Failed, |f| {
        certificate(f).valid = Some((NOW - 91 * DAY, NOW - DAY))
    }),
    ("cert-valid", Level::Ok, |f| {
        certificate(f).valid = Some((NOW - 3 * DAY, NOW + 3 * DAY))
    }),
    ("cert-valid", Level::Unknown, |f| {
        f.certificates.as_mut().unwrap().choice = None
    }),
    ("cert-renewal", Level::Warning, |f| {
        certificate(f).failure = Some(Failure {
            at: NOW,
            times: 3,
            what: "Ordering".into(),
            name: None,
            why: "the authority saw no record".into(),
            hint: "see whether the domain is delegated: `roost dns check`".into(),
        })
    }),
    ("cert-keys", Level::Warning, |f| {
        certificate(f).tls_keys[0].published_since = None
    }),
    ("cert-keys", Level::Unknown, |f| {
        certificate(f).id = "portal".into()
    }),
    ("tls-smtp", Level::Failed, |f| {
        f.own_ports.insert(25, Err("nobody answers".into()));
    }),
    ("tls-smtp", Level::Failed, |f| {
        f.own_ports.insert(
            25,
            Ok(Shown {
                greeting: "220 mail.example.org".into(),
                ..Shown::default()
            }),
        );
    }),
    ("tls-smtp", Level::Warning, |f| {
        certificate(f).tls_keys[0].sha256 = "aa".into()
    }),
    ("tls-submission", Level::Failed, |f| {
        f.own_ports.insert(465, Err("nobody answers".into()));
    }),
    ("tls-imap", Level::Warning, |f| {
        f.own_ports
            .get_mut(&993)
            .unwrap()
            .as_mut()
            .unwrap()
            .protocol = Some("TLSv1_1".into())
    }),
    ("tls-imap", Level::Ok, |f| certificate(f).valid = None),
    ("tls-web", Level::Failed, |f| {
        f.own_ports.insert(443, Err("it hung up".into()));
    }),
    ("ports-mail-in", Level::Failed, |f| {
        f.public_ports
            .insert(25, Err("no answer came in time".into()));
    }),
    ("ports-mail-in", Level::Unknown, |f| f.public_ports.clear()),
    ("ports-mail-in", Level::Unknown, |f| {
        the_tunnel(f).state = State::Unconfigured
    }),
    ("ports-programs", Level::Failed, |f| {
        f.public_ports.insert(993, Err("nobody answers".into()));
    }),
    ("ports-programs", Level::Failed, |f| {
        f.public_ports
            .get_mut(&465)
            .unwrap()
            .as_mut()
            .unwrap()
            .key_sha256 = Some("bb".into())
    }),
    ("ports-programs", Level::Failed, |f| {
        f.public_ports.insert(
            587,
            Ok(Shown {
                greeting: "220 router".into(),
                ..Shown::default()
            }),
        );
    }),
    ("ports-web", Level::Failed, |f| {
        f.public_ports.insert(443, Err("nobody answers".into()));
    }),
    ("ports-web", Level::Unknown, |f| {
        f.own_ports.remove(&443);
    }),
    ("out-port25", Level::Failed, |f| {
        f.port25 = Ok(Port25 {
            open: Some(false),
            why: "Mail does not get out.".into(),
        })
    }),
    ("out-port25", Level::Unknown, |f| {
        f.port25 = Ok(Port25 {
            open: None,
            why: "No name could be looked up.".into(),
        })
    }),
    ("out-port25", Level::Unknown, |f| {
        the_tunnel(f).state = State::Unconfigured
    }),
    ("out-ptr", Level::Failed, |f| {
        says(
            f,
            "25.2.0.192.in-addr.arpa",
            "PTR",
            &["ec2-192-0-2-25.example"],
        )
    }),
    ("out-ptr", Level::Failed, |f| {
        says(f, "25.2.0.192.in-addr.arpa", "PTR", &[])
    }),
    ("out-ptr", Level::Warning, |f| {
        says(f, "25.2.0.192.in-addr.arpa", "PTR", &["a.example", HOST])
    }),
    ("out-ptr", Level::Unknown, |f| {
        unanswered(f, "25.2.0.192.in-addr.arpa", "PTR")
    }),
    ("out-name", Level::Failed, |f| {
        says(f, HOST, "A", &["198.51.100.1"])
    }),
    ("out-name", Level::Failed, |f| says(f, HOST, "A", &[])),
    ("out-name", Level::Failed, |f| unanswered(f, HOST, "A")),
    ("out-name", Level::Unknown, |f| f.outside.clear()),
    ("out-helo", Level::Failed, |f| {
        f.own_ports.get_mut(&25).unwrap().as_mut().unwrap().greeting = "220 localhost ESMTP".into()
    }),
    ("out-helo", Level::Failed, |f| {
        f.own_ports.get_mut(&25).unwrap().as_mut().unwrap().greeting = "2".into()
    }),
    ("out-helo", Level::Failed, |f| {
        says(f, "25.2.0.192.in-addr.arpa", "PTR", &["ec2.example"])
    }),
    ("out-helo", Level::Unknown, |f| {
        f.own_ports.insert(25, Err("nobody answers".into()));
    }),
    ("out-blocklists", Level::Warning, |f| listed(f, &[1])),
    ("out-blocklists", Level::Failed, |f| listed(f, &[0])),
    ("out-blocklists", Level::Failed, |f| listed(f, &[1, 2, 3])),
    ("out-blocklists", Level::Ok, |f| {
        f.lists.as_mut().unwrap()[0].listed = None
    }),
    ("out-blocklists", Level::Unknown, |f| {
        f.lists
            .as_mut()
            .unwrap()
            .iter_mut()
            .for_each(|list| list.listed = None)
    }),
    ("out-blocklists", Level::Unknown, |f| f.lists = Some(vec![])),
    ("mail-spf", Level::Failed, |f| {
        says(f, DOMAIN, "TXT", &["nothing"])
    }),
    ("mail-spf", Level::Failed, |f| {
        says(f, DOMAIN, "TXT", &["v=spf1 mx -all", "v=spf1 -all"])
    }),
    ("mail-spf", Level::Failed, |f| {
        says(f, DOMAIN, "TXT", &["v=spf1 ip4:198.51.100.0/24 -all"])
    }),
    ("mail-spf", Level::Failed, |f| {
        says(f, DOMAIN, "TXT", &["v=spf1 -mx ~all"])
    }),
    ("mail-spf", Level::Failed, |f| {
        says(f, DOMAIN, "TXT", &["v=spf1"])
    }),
    ("mail-spf", Level::Ok, |f| {
        says(
            f,
            DOMAIN,
            "TXT",
            &["v=spf1 ip6:2001:db8::/32 ip4:192.0.2.0/24 -all"],
        )
    }),
    ("mail-spf", Level::Ok, |f| {
        says(f, DOMAIN, "TXT", &["v=spf1 a -all"])
    }),
    ("mail-spf", Level::Note, |f| {
        says(f, DOMAIN, "TXT", &["v=spf1 include:other.example -all"])
    }),
    ("mail-spf", Level::Unknown, |f| unanswered(f, DOMAIN, "TXT")),
    ("mail-dkim", Level::Failed, |f| {
        says(f, "roost._domainkey.example.org", "TXT", &[])
    }),
    ("mail-dkim", Level::Failed, |f| {
        says(f, "roost._domainkey.example.org", "TXT", &["v=DKIM1; p=CC"])
    }),
    ("mail-dkim", Level::Failed, |f| {
        f.records.insert(DOMAIN.into(), Ok(vec![]));
    }),
    ("mail-dkim", Level::Unknown, |f| {
        f.records
            .insert(DOMAIN.into(), Err("it takes too long".into()));
    }),
    ("mail-dmarc", Level::Failed, |f| {
        says(f, "_dmarc.example.org", "TXT", &[])
    }),
    ("mail-dmarc", Level::Failed, |f| {
        says(
            f,
            "_dmarc.example.org",
            "TXT",
            &["v=DMARC1; p=none", "v=DMARC1; p=reject"],
        )
    }),
    ("mail-dmarc", Level::Failed, |f| {
        says(f, "_dmarc.example.org", "TXT", &["v=DMARC1"])
    }),
    ("mail-dmarc", Level::Warning, |f| {
        says(f, "_dmarc.example.org", "TXT", &["v=DMARC1; p=none"])
    }),
    ("mail-dmarc", Level::Note, |f| {
        says(f, "_dmarc.example.org", "TXT", &["v=DMARC1; p=none"]);
        zone(f).dmarc.as_mut().unwrap().stage = Dmarc::None;
    }),
    ("mail-mta-sts", Level::Failed, |f| f.policies.clear()),
    ("mail-mta-sts", Level::Failed, |f| {
        f.policies
            .insert(DOMAIN.into(), "version: STSv1\nmx: old.example\n".into());
    }),
    ("mail-mta-sts", Level::Warning, |f| {
        says(f, "_mta-sts.example.org", "TXT", &[])
    }),
    ("mail-mta-sts", Level::Note, |f| {
        f.policies.clear();
        says(f, "_mta-sts.example.org", "TXT", &[]);
    }),
    ("mail-mta-sts", Level::Note, |f| {
        f.policies.insert(
            DOMAIN.into(),
            "mode: testing\nmx: mail.example.org\n".into(),
        );
    }),
    ("mail-tlsa", Level::Failed, |f| {
        says(f, "_25._tcp.mail.example.org", "TLSA", &["3 1 1 aa"])
    }),
    ("mail-tlsa", Level::Failed, |f| {
        f.own_ports
            .get_mut(&25)
            .unwrap()
            .as_mut()
            .unwrap()
            .key_sha256 = None
    }),
    ("mail-tlsa", Level::Note, |f| {
        says(f, "_25._tcp.mail.example.org", "TLSA", &[])
    }),
    ("mail-tlsa", Level::Note, |f| {
        f.names
            .get_mut(&key("_25._tcp.mail.example.org", "TLSA"))
            .unwrap()
            .as_mut()
            .unwrap()
            .secure = false
    }),
    ("mail-queue", Level::Ok, |f| {
        f.mail.as_mut().unwrap().queued = 49
    }),
    ("mail-queue", Level::Note, |f| {
        f.mail.as_mut().unwrap().queued = 50
    }),
    ("mail-queue", Level::Warning, |f| {
        f.mail.as_mut().unwrap().queued = 500
    }),
    ("mail-queue-age", Level::Ok, |f| waits(f, 60)),
    ("mail-queue-age", Level::Note, |f| waits(f, 7200)),
    ("mail-queue-age", Level::Warning, |f| waits(f, 2 * DAY)),
    ("mail-queue-age", Level::Failed, |f| waits(f, 3 * DAY)),
    ("mail-accounts", Level::Warning, |f| {
        f.mail.as_mut().unwrap().accounts[0].used = 900_000_000
    }),
    ("mail-accounts", Level::Failed, |f| {
        f.mail.as_mut().unwrap().accounts[0].used = u64::MAX
    }),
    ("mail-filter", Level::Note, |f| f.spam_filter = false),
    ("backup-made", Level::Warning, |f| {
        backups(f).made = None;
    }),
    ("backup-made", Level::Warning, |f| {
        backups(f).made = Some(backup_made(NOW - 4 * DAY));
    }),
    ("backup-made", Level::Failed, |f| {
        backups(f).made = Some(backup_made(NOW - 15 * DAY));
    }),
    ("backup-made", Level::Ok, |f| {
        backups(f).made = Some(backup_made(NOW - 15 * DAY));
        backups(f).fetched = Some(backup_made(NOW - DAY));
    }),
    // Its disk is not plugged in: no matter at once.
    ("backup-made", Level::Ok, |f| {
        backups(f).waits_since = Some(NOW - DAY);
    }),
    ("backup-made", Level::Warning, |f| {
        backups(f).waits_since = Some(NOW - 3 * DAY);
        backups(f).made = Some(backup_made(NOW - 4 * DAY));
    }),
    // A laptop's alone, which somebody has to think of.
    ("backup-made", Level::Ok, |f| {
        *backups(f) = backup::BackupStatus {
            fetched: Some(backup_made(NOW - 6 * DAY)),
            ..backup::BackupStatus::default()
        };
    }),
    ("backup-made", Level::Note, |f| {
        *backups(f) = backup::BackupStatus {
            fetched: Some(backup_made(NOW - 10 * DAY)),
            ..backup::BackupStatus::default()
        };
    }),
    ("backup-made", Level::Warning, |f| {
        *backups(f) = backup::BackupStatus {
            fetched: Some(backup_made(NOW - 100 * DAY)),
            ..backup::BackupStatus::default()
        };
    }),
    ("backup-made", Level::Unknown, |f| f.now = None),
    ("backup-last", Level::Note, |f| {
        backups(f).failure = backup_failed(1);
    }),
    ("backup-last", Level::Warning, |f| {
        backups(f).failure = backup_failed(4);
    }),
    ("backup-last", Level::Unknown, |f| backups(f).target = None),
    ("backup-proof", Level::Failed, |f| {
        backups(f).proof.as_mut().unwrap().fault =
            Some("services/mail/mail.sqlite3 is not what went in".into());
    }),
    ("backup-proof", Level::Warning, |f| {
        backups(f).proof.as_mut().unwrap().at = NOW - 15 * DAY;
        backups(f).proof_failure = backup_failed(9);
    }),
    ("backup-proof", Level::Note, |f| backups(f).proof = None),
    ("backup-proof", Level::Warning, |f| {
        backups(f).proof = None;
        backups(f).made = Some(backup_made(NOW - 2 * DAY));
    }),
    ("backup-proof", Level::Warning, |f| {
        backups(f).proof = None;
        backups(f).proof_failure = backup_failed(1);
    }),
    ("backup-proof", Level::Unknown, |f| backups(f).target = None),
    ("backup-proof", Level::Unknown, |f| backups(f).made = None),
    ("update-last", Level::Warning, |f| {
        updates(f).last.as_mut().unwrap().rolled_back = Some(Reason {
            summary: "mail did not work within 8 minutes".into(),
            checks: vec![],
            log: vec![],
        })
    }),
    ("update-last", Level::Ok, |f| updates(f).last = None),
    ("update-trial", Level::Note, |f| {
        updates(f).phase = Phase::Trial {
            version: version(15),
            from: version(14),
            checks: vec![],
        }
    }),
    ("update-trial", Level::Note, |f| {
        updates(f).phase = Phase::Staged {
            version: version(15),
        }
    }),
    ("update-trial", Level::Warning, |f| {
        updates(f).phase = Phase::Trial {
            version: version(15),
            from: version(14),
            checks: vec![update::Check {
                name: "mail works".into(),
                passed: Some(false),
                detail: "no answer".into(),
            }],
        }
    }),
    ("update-way-back", Level::Note, |f| updates(f).other = None),
    ("update-way-back", Level::Unknown, |f| {
        updates(f).other = None;
        updates(f).phase = Phase::Writing {
            version: version(15),
        };
    }),
    ("update-age", Level::Note, |f| {
        updates(f).last = Some(outcome(13, 14, NOW - 200 * DAY))
    }),
    ("update-age", Level::Warning, |f| {
        updates(f).last = Some(outcome(13, 14, NOW - 400 * DAY))
    }),
    ("update-age", Level::Unknown, |f| updates(f).last = None),
    ("access-owner", Level::Warning, |f| {
        f.access.as_mut().unwrap().owner = false
    }),
    ("access-second", Level::Note, |f| {
        f.access.as_mut().unwrap().app = false
    }),
    ("access-second", Level::Ok, |f| {
        let access = f.access.as_mut().unwrap();
        (access.app, access.passkeys) = (false, 2);
    }),
    ("access-alarms", Level::Warning, |f| {
        f.access.as_mut().unwrap().alarming = 2
    }),
];

/// As text to read.
fn told(checked: &Checked) -> String {
    let mut text = format!(
        "{} [{}] {}",
        checked.id,
        checked.level.word(),
        checked.found
    );
    if !checked.to_do.is_empty() {
        text += &format!("\n      -> {}", checked.to_do);
    }
    text + "\n"
}

#[test]
fn all_is_well_with_a_box_that_is_well() {
    let health = decide(&well());
    let not: Vec<String> = (health.checks.iter())
        .filter(|checked| checked.level != Level::Ok)
        .map(told)
        .collect();
    assert!(not.is_empty(), "{not:#?}");
    assert!(health.checks.iter().all(|checked| checked.to_do.is_empty()));
    insta::assert_snapshot!(health.checks.iter().map(told).collect::<String>());
}

#[test]
fn every_check_hears_what_it_is_about() {
    let mut text = String::new();
    let mut bad = BTreeSet::new();
    for (id, level, change) in CASES {
        let mut facts = well();
        change(&mut facts);
        let health = decide(&facts);
        let checked = of(&health, id);
        assert_eq!(checked.level, *level, "{}", told(checked));
        // Whoever has to do something is told what.
        assert!(
            !checked.level.is_bad() || !checked.to_do.is_empty(),
            "{}",
            told(checked)
        );
        text += &told(checked);
        if !matches!(level, Level::Ok | Level::Unknown) {
            bad.insert(*id);
        }
    }
    let all = GROUPS.iter().flat_map(|group| group.checks);
    let untested: Vec<&str> = all
        .map(|check| check.id)
        .filter(|id| !bad.contains(id))
        .collect();
    assert!(untested.is_empty(), "never anything but well: {untested:?}");
    insta::assert_snapshot!(text);
}

/// No check says that something is well of which nothing is known.
#[test]
fn nothing_is_well_in_the_dark() {
    let health = decide(&dark());
    // These two are in the settings.
    let known = ["net-name", "mail-filter"];
    for checked in &health.checks {
        let is_well = checked.level == Level::Ok;
        assert_eq!(
            is_well,
            known.contains(&checked.id.as_str()),
            "{}",
            told(checked)
        );
    }
    insta::assert_snapshot!(health.checks.iter().map(told).collect::<String>());
}

/// A box at home with a domain and without a relay: what does not concern it is not checked, and says why.
/// Before it has a domain there is even less to look at.
#[test]
fn a_new_box_is_told_what_it_lacks() {
    let mut facts = well();
    the_tunnel(&mut facts).state = State::Unconfigured;
    (facts.outside, facts.relay, facts.lists) = (vec![], None, None);
    // Its zone waits for an address, and the world knows nothing of it.
    let waiting = zone(&mut facts);
    waiting.fault = Some("the box has no address on the internet yet: make a relay first".into());
    (waiting.serial, waiting.signed_until, waiting.delegation) = (None, None, None);
    let no = Err("the zone is not served".to_owned());
    facts.checks.insert(DOMAIN.into(), no);
    facts.policies.clear();
    for (name, told) in &mut facts.names {
        if name != " SOA" {
            *told = Err("the box's resolver says SERVFAIL".into());
        }
    }
    facts.certificates.as_mut().unwrap().choice = None;
    facts.public_ports.clear();
    facts.port25 = Err("no relay is set up".into());
    updates(&mut facts).last = None;
    let health = decide(&facts);
    assert_eq!(health.count(Level::Failed), 0);
    let not = health
        .checks
        .iter()
        .filter(|checked| checked.level != Level::Ok);
    insta::assert_snapshot!(not.map(told).collect::<String>());
    facts.dns.as_mut().unwrap().zones.clear();
    facts.records.clear();
    facts.checks.clear();
    assert_eq!(decide(&facts).count(Level::Failed), 0);
}

#[test]
fn names_of_checks_are_for_ever_and_lead_to_a_section() {
    let ids: Vec<&str> = (GROUPS.iter())
        .flat_map(|group| group.checks)
        .map(|check| check.id)
        .collect();
    let once: BTreeSet<&&str> = ids.iter().collect();
    assert_eq!(once.len(), ids.len(), "an id is there twice");
    assert!(ids.len() >= 40, "{}", ids.len());
    let plain = |id: &&str| {
        !id.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    assert_eq!(ids.iter().find(|id| plain(id)), None);
    // Scripts go by them: removing or renaming one is a decision.
    insta::assert_snapshot!(ids.join("\n"));
    for check in GROUPS.iter().flat_map(|group| group.checks) {
        for text in [check.how, check.to_do] {
            assert!(
                text.ends_with('.') && !text.contains("  "),
                "{}: {text}",
                check.id
            );
            assert_eq!(text.matches('`').count() % 2, 0, "{}: {text}", check.id);
        }
    }
}

/// What is found of a real box comes from elsewhere: anything may be in it.
#[derive(Debug, Clone)]
enum Twist {
    Number(u64),
    Negative(i64),
    Fraction(f64),
    Text(String),
    Nothing,
    Twice,
    Refused,
}

fn twist() -> impl Strategy<Value = Twist> {
    prop_oneof![
        prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>(), 0..100u64]
            .prop_map(Twist::Number),
        any::<i64>().prop_map(Twist::Negative),
        prop_oneof![Just(f64::MAX), Just(-1.0), Just(0.5), any::<f64>()].prop_map(Twist::Fraction),
        prop_oneof![
            ".{0,40}",
            Just(String::new()),
            Just("é\u{1b}[31m\"\\".to_owned())
        ]
        .prop_map(Twist::Text),
        Just(Twist::Nothing),
        Just(Twist::Twice),
        Just(Twist::Refused),
    ]
}

/// Changes the n-th value, counted from the root.
fn apply(value: &mut Value, left: &mut usize, twist: &Twist) -> bool {
    if *left == 0 {
        match (value, twist) {
            (value @ Value::Number(_), Twist::Number(number)) => *value = json!(number),
            (value @ Value::Number(_), Twist::Negative(number)) => *value = json!(number),
            (value @ Value::Number(_), Twist::Fraction(number)) => *value = json!(number),
            (Value::String(text), Twist::Text(other)) => text.clone_from(other),
            (Value::Bool(set), _) => *set = !*set,
            (Value::Array(all), Twist::Nothing) => all.clear(),
            (Value::Array(all), Twist::Twice) => all.extend(all.clone()),
            (value, Twist::Refused) if value.get("Ok").is_some() => *value = json!({ "Err": "no" }),
            (Value::Object(all), Twist::Nothing) => {
                let first = all.keys().next().cloned();
                first.and_then(|key| all.remove(&key));
            }
            (value, Twist::Nothing) => *value = Value::Null,
            _ => {}
        }
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(all) => all.iter_mut().any(|one| apply(one, left, twist)),
        Value::Object(all) => all.values_mut().any(|one| apply(one, left, twist)),
        _ => false,
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(size).sum(),
        Value::Object(all) => all.values().map(size).sum(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn no_facts_make_it_panic(twists in prop::collection::vec((any::<prop::sample::Index>(), twist()), 1..12)) {
        let mut value = serde_json::to_value(well()).unwrap();
        let mut facts = well();
        for (at, twist) in &twists {
            let mut twisted = value.clone();
            let mut left = at.index(size(&value));
            apply(&mut twisted, &mut left, twist);
            // What is of another type does not come through a socket either.
            if let Ok(understood) = serde_json::from_value(twisted.clone()) {
                (value, facts) = (twisted, understood);
            }
        }
        let health = decide(&facts);
        prop_assert_eq!(health.checks.len(), decide(&well()).checks.len());
        for checked in &health.checks {
            prop_assert!(!checked.found.is_empty(), "{}", checked.id);
            prop_assert!(!checked.level.is_bad() || !checked.to_do.is_empty(), "{}", checked.id);
        }
        prop_assert!(!health.summary().is_empty());
    }
}

#[test]
fn what_is_found_out_survives_being_written_down() {
    let text = serde_json::to_string(&well()).unwrap();
    let facts: Facts = serde_json::from_str(&text).unwrap();
    assert_eq!(decide(&facts), decide(&well()));
}
