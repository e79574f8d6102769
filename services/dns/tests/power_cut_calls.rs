//! Power is cut at every system call with which the running program changes its folder, and between.
//!
//! `strace` records the program while it is used as always: zones, a program's updates, the owner's records and
//! keys. The record has the answers too, so it says by itself what was served and acknowledged before each call.

mod calls;
mod serve_support;

use calls::{Call, Medium};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use roost_dns::facts::facts;
use roost_dns::keeper::Keeper;
use roost_dns::serve::Zones;
use roost_dns::sign::rollover::{self, Observed, Parent, Timing};
use roost_dns::sign::serial;
use roost_dns::state::States;
use roost_dns::tsig;
use roost_service::certificates;
use roost_service::dns;
use roost_service::door::{self, Door, House};
use roost_service::mail::Published;
use roost_service::tunnel::Outside;
use serde_json::json;
use serve_support::{PATIENCE, SECRET, ask, free_port, query, run, text};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const DOMAIN: &str = "example.org";
const HOST: &str = "mail.example.org";
/// What somebody hears at the door whose call is done.
const DONE: &[u8] = b"{\"answer\":\"done\"}\n";

fn origin() -> Name {
    Name::from_ascii("example.org.").unwrap()
}

fn published() -> Published {
    Published {
        host: HOST.into(),
        domains: vec![DOMAIN.into()],
        dkim: Vec::new(),
    }
}

fn outside() -> Outside {
    Outside {
        addresses: vec!["192.0.2.1".parse().unwrap()],
        second_name_server: Vec::new(),
        secondary: None,
    }
}

/// What is told to the program, in this order; each is acknowledged before the next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A program writes a challenge.
    Update(&'static str),
    /// The owner's records.
    Own(&'static str),
    /// Another key for the registrar.
    Key,
}

const STEPS: [Step; 7] = [
    Step::Update("one"),
    Step::Own("www A 198.51.100.7"),
    Step::Update("two"),
    Step::Key,
    Step::Update("three"),
    Step::Own("www A 198.51.100.8"),
    Step::Update("four"),
];

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The certificate service, as far as it is asked: it has the key for challenges.
fn open_partner(path: &Path, table: &[roost_service::spec::ServiceSpec]) {
    let house = House {
        service: certificates::SERVICE,
        guests: &["portal"],
        max_call: certificates::MAX_LINE,
        no_call: |why| certificates::Answer::Refused { why },
    };
    let mut door = Door::<certificates::Call, _>::open(path, table, house)
        .unwrap()
        .unwrap();
    tokio::spawn(async move {
        loop {
            let asked = door.next().await;
            let answer = match &asked.call {
                certificates::Call::DnsKey => certificates::Answer::DnsKey {
                    name: "acme".into(),
                    algorithm: "hmac-sha256".into(),
                    secret: SECRET.into(),
                },
                certificates::Call::Status => {
                    let status = json!({"summary": "", "certificates": []});
                    certificates::Answer::Status(serde_json::from_value(status).unwrap())
                }
                _ => certificates::Answer::Done,
            };
            asked.answer(answer);
        }
    });
}

/// A zone whose key the registrar knows: else it cannot be replaced.
fn trusted(states: &States, now: u64) {
    let mut kept = states.load(&origin(), now).unwrap();
    let ds = kept.keys.ksks().filter_map(|key| key.ds(&origin()));
    let parent = Some(Parent {
        ds: ds.collect(),
        ttl: 3600,
        at: now,
    });
    let seen = Observed {
        served: None,
        parent,
    };
    let events = rollover::step(&mut kept.keys, now, &seen, &Timing::default()).unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    states.save(&kept).unwrap();
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Does a step; returns once it is acknowledged.
async fn act(step: Step, at: SocketAddr, door: &Path) {
    let call = match step {
        Step::Update(value) => {
            let script = tempfile::NamedTempFile::new().unwrap();
            let name = format!("_acme-challenge.{HOST}.");
            let lines = format!(
                "server 127.0.0.1 {}\nzone {DOMAIN}\nttl 60\nupdate delete {name} TXT\nupdate add {name} TXT {value}\nsend\n",
                at.port()
            );
            fs::write(script.path(), lines).unwrap();
            let key = format!("hmac-sha256:acme:{SECRET}");
            let arguments = ["-t", "20", "-y", &key, script.path().to_str().unwrap()];
            assert_eq!(text(&run("bind9-dnsutils", "nsupdate", &arguments)), "");
            return;
        }
        Step::Own(text) => dns::Call::SetOwnRecords {
            domain: DOMAIN.into(),
            text: text.into(),
        },
        Step::Key => dns::Call::ReplaceKey {
            domain: DOMAIN.into(),
        },
    };
    let answer: dns::Answer = door::ask(door, &call, dns::MAX_ANSWER).await.unwrap();
    assert_eq!(answer, dns::Answer::Done);
}

/// The record of a life: what lay on the card before, and all calls.
async fn record() -> (BTreeMap<String, Vec<u8>>, Vec<Call>) {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for name in ["data", "run"] {
        fs::create_dir(place(name)).unwrap();
    }
    let user = fs::metadata("/proc/self").unwrap().uid();
    let table = json!([{
        "name": "portal", "description": "d", "program": "/bin/portal", "user": user,
        "required": false, "ready_timeout_s": 1, "stop_timeout_s": 1,
    }]);
    fs::write(place("services.json"), table.to_string()).unwrap();
    open_partner(
        &place("certificates"),
        &serde_json::from_value::<Vec<_>>(table).unwrap(),
    );
    let known = json!({"published": published(), "reached": {"outside": outside(), "within": []}});
    fs::write(place("data/known.json"), known.to_string()).unwrap();
    trusted(&States::new(&place("data")), tsig::now() - 86_400);
    let before = files(&place("data"));

    let port = free_port();
    let mut command = Command::new("strace");
    command.args(calls::STRACE).arg("-o").arg(place("trace"));
    command
        .arg(env!("CARGO_BIN_EXE_dns"))
        .env("ROOST_DATA", place("data"))
        .env("ROOST_RUN", place("run"))
        .env("ROOST_SERVICES", place("services.json"))
        .env("ROOST_DNS_PORT", port.to_string())
        .env("ROOST_MAIL_SOCKET", place("nobody"))
        .env("ROOST_TUNNEL_SOCKET", place("nobody"))
        .env("ROOST_CERTIFICATES_SOCKET", place("certificates"))
        .env("ROOST_RESOLV_CONF", place("nobody"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("strace: {error}. Install it: apt-get install strace"));
    let mut program = Program(child);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let soa = query("example.org.", RecordType::SOA, None);
    let began = Instant::now();
    let has_zone = || ask(at, &soa).is_some_and(|answer| !answer.answers.is_empty());
    while !has_zone() {
        assert!(began.elapsed() < PATIENCE, "the zone is not served");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    for step in STEPS {
        act(step, at, &place("run/dns.sock")).await;
        for kind in [RecordType::SOA, RecordType::DNSKEY] {
            assert!(ask(at, &query("example.org.", kind, None)).is_some());
        }
    }
    // The tracer lets nothing end it; it ends after the program, whose number its record begins with.
    let so_far = fs::read_to_string(place("trace")).unwrap();
    let pid = so_far.split(' ').next().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    program.0.wait().unwrap();
    let trace = fs::read_to_string(place("trace")).unwrap();
    (before, calls::read(&trace, &place("data")))
}

/// What others know at some point of the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    /// The highest serial number.
    serial: Option<u32>,
    /// The keys of the zone, when they were asked for last.
    keys: BTreeSet<u16>,
    /// How many steps were acknowledged.
    steps: usize,
}

impl Told {
    fn hear(&mut self, sent: &[u8]) {
        if sent == DONE {
            self.steps += 1;
        }
        // Over TCP its length stands before it.
        let whole = [Some(sent), sent.get(2..)].into_iter().flatten();
        let Some(message) = whole
            .filter_map(|bytes| Message::from_vec(bytes).ok())
            .next()
        else {
            return;
        };
        if message.metadata.response_code != ResponseCode::NoError {
            return;
        }
        if message.metadata.op_code == OpCode::Update {
            self.steps += 1;
        }
        let mut keys = BTreeSet::new();
        for record in &message.answers {
            match &record.data {
                RData::SOA(soa) => {
                    let before = self.serial.replace(soa.serial);
                    assert!(before.is_none_or(|before| !serial::is_newer(before, soa.serial)));
                }
                RData::DNSSEC(hickory_proto::dnssec::rdata::DNSSECRData::DNSKEY(key)) => {
                    keys.insert(key.calculate_key_tag().unwrap());
                }
                _ => {}
            }
        }
        if !keys.is_empty() {
            self.keys = keys;
        }
    }
}

/// What the steps so far come to: the challenge, the owner's records.
fn after(steps: usize) -> (Option<&'static str>, &'static str) {
    let mut state = (None, "");
    for step in &STEPS[..steps] {
        match step {
            Step::Update(value) => state.0 = Some(*value),
            Step::Own(text) => state.1 = text,
            Step::Key => {}
        }
    }
    state
}

/// The next start from what a cut has left behind, with a clock that says what it said then.
fn start(left: &BTreeMap<String, Vec<u8>>, told: &Told) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in left {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let states = States::new(folder.path());
    let kept = states.load(&origin(), 0).map_err(|e| e.to_string())?;
    // Serial numbers follow the clock where they can: a later one would hide that one was lost.
    let served = told.serial.map(u64::from);
    let now = served.max(kept.signed_at).unwrap_or_else(tsig::now);
    let zones = Zones::new();
    let mut keeper = Keeper::new(states, zones.clone());
    keeper.set_facts(facts(&published(), Some(&outside())), now);
    let status = keeper.status().remove(0);
    if let Some(fault) = status.fault {
        return Err(fault);
    }
    let serial = zones.current(&origin()).unwrap().serial;
    if told
        .serial
        .is_some_and(|old| !serial::is_newer(serial, old))
    {
        return Err(format!("serial number {serial} after {told:?}"));
    }
    let keys: BTreeSet<u16> = status.keys.iter().map(|key| key.tag).collect();
    if !keys.is_superset(&told.keys) {
        return Err(format!("the keys are {keys:?} after {told:?}"));
    }
    let text = keeper.export(DOMAIN, false).unwrap();
    // What was under way may be there, or not.
    let possible = [told.steps, (told.steps + 1).min(STEPS.len())].map(after);
    let challenge = ["one", "two", "three", "four"]
        .into_iter()
        .find(|value| text.contains(&format!("\"{value}\"")));
    let found = (challenge, keeper.own(DOMAIN).unwrap());
    match possible.contains(&found) {
        true => Ok(()),
        false => Err(format!("{found:?} after {told:?}")),
    }
}

/// Cuts the power after each of these calls, in all ways. Gives the number of starts and what was told in the
/// end, or what went wrong first.
fn cut_everywhere(
    before: &BTreeMap<String, Vec<u8>>,
    calls: &[Call],
) -> Result<(usize, Told), String> {
    let mut medium = Medium::new(before.clone());
    let mut told = Told::default();
    let mut tried = BTreeSet::new();
    let mut starts = 0;
    for (number, call) in calls.iter().enumerate() {
        match call {
            Call::Send(bytes) => told.hear(bytes),
            change => medium.take(change),
        }
        for left in medium.cut() {
            if tried.insert((left.clone(), told.clone())) {
                starts += 1;
                start(&left, &told).map_err(|why| format!("after call {number}: {why}"))?;
            }
        }
    }
    Ok((starts, told))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_call_is_the_last_one_nothing_that_was_told_is_lost() {
    let (before, calls) = record().await;
    let changes = calls.iter().filter(|call| !matches!(call, Call::Send(_)));
    // Of each step: create, write, sync, rename, the folder's sync.
    let changes = changes.count();
    assert!(changes >= 5 * STEPS.len(), "{changes}");
    let (starts, told) = cut_everywhere(&before, &calls).unwrap_or_else(|why| panic!("{why}"));
    println!("{starts} starts after cuts between {changes} calls");
    assert_eq!(told.steps, STEPS.len(), "each step was acknowledged");
    assert_eq!(told.keys.len(), 3, "{:?}", told.keys);

    // The model finds what it is there for: a sync that is forgotten, an answer that comes too soon.
    let without = |left_out: fn(&Call) -> bool| {
        let calls: Vec<Call> = calls
            .iter()
            .filter(|call| !left_out(call))
            .cloned()
            .collect();
        cut_everywhere(&before, &calls).unwrap_err()
    };
    let found = without(|call| matches!(call, Call::Sync(_)));
    assert!(found.contains("it is damaged"), "{found}");
    let found = without(|call| matches!(call, Call::SyncFolder));
    assert!(found.contains("after Told"), "{found}");
    let mut early = calls.clone();
    let answer = |call: &Call| matches!(call, Call::Send(bytes) if bytes == DONE);
    let at = early.iter().position(answer).unwrap();
    let create = early[..at]
        .iter()
        .rposition(|call| matches!(call, Call::Create(_)));
    let answer = early.remove(at);
    early.insert(create.unwrap(), answer);
    let found = cut_everywhere(&before, &early).unwrap_err();
    assert!(found.contains("after Told"), "{found}");
}
