//! The certificate service, played: it answers on its socket, does what it is told, and remembers that.

use roost_service::certificates::{
    Answer, Call, Certificate, CertificateStatus, Choice, Failure, Role, State, Status, TlsKey,
    Zones,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// 2027-03-04 05:06:07 UTC.
pub const UNTIL: u64 = 1_804_136_767;

/// How it stands, what it gives away, and what it was asked.
pub struct Certificates {
    pub status: Status,
    pub kept: BTreeMap<String, Certificate>,
    /// Calls that change something, the oldest first.
    pub orders: Vec<Call>,
    /// How often it was asked for a certificate.
    pub given: usize,
    /// Does what it is told, but breaks off before it says so.
    pub breaks_off: bool,
}

/// A hand on a service that listens.
#[derive(Clone)]
pub struct PlayedCertificates(Arc<Mutex<Certificates>>);

/// For which names.
pub fn zones() -> Zones {
    Zones {
        mail_host: "mail.example.org".into(),
        domains: vec!["example.org".into()],
        secondaries: Vec::new(),
    }
}

/// A choice of Let's Encrypt.
pub fn agreed() -> Choice {
    Choice {
        terms_agreed: true,
        ..Choice::default()
    }
}

fn one(id: &str, names: &[&str], readers: &[&str]) -> CertificateStatus {
    CertificateStatus {
        id: id.into(),
        names: names.iter().map(ToString::to_string).collect(),
        readers: readers.iter().map(ToString::to_string).collect(),
        state: State::Missing,
        summary: "There is no certificate yet. It is being ordered.".into(),
        serial: None,
        valid: None,
        next_at: None,
        tls_keys: Vec::new(),
        failure: None,
    }
}

/// Before the owner has chosen.
pub fn nothing_chosen() -> Status {
    Status {
        summary: "It is not chosen yet how to get certificates.".into(),
        choice: None,
        zones: Some(zones()),
        directory: None,
        account: None,
        caa: Vec::new(),
        certificates: Vec::new(),
    }
}

/// After the choice, before anything was got.
pub fn ordered(choice: Choice) -> Status {
    let pages = ["mta-sts", "autoconfig", "autodiscover"].map(|page| format!("{page}.example.org"));
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    Status {
        summary: "mail.example.org: There is no certificate yet. It is being ordered.".into(),
        directory: Some(choice.directory.url().to_owned()),
        choice: Some(choice),
        account: None,
        caa: Vec::new(),
        zones: Some(zones()),
        certificates: vec![
            one("mail", &["mail.example.org"], &["mail", "portal"]),
            one("example.org", &pages, &["portal"]),
            one("secret", &["secret.example.org"], &["mail"]),
        ],
    }
}

/// All are there.
pub fn valid() -> Status {
    let mut status = ordered(agreed());
    status.summary = "All certificates are there and hold.".into();
    status.account = Some("https://ca.example/acct/7".into());
    for (i, one) in status.certificates.iter_mut().enumerate() {
        one.state = State::Valid;
        one.summary = "The certificate holds for 89 days.".into();
        one.serial = Some(format!("0{i}"));
        one.valid = Some((UNTIL - 90 * 86_400, UNTIL));
        one.next_at = Some(UNTIL - 30 * 86_400);
    }
    status.certificates[0].tls_keys = vec![
        TlsKey {
            role: Role::Current,
            sha256: "ab".repeat(32),
            published_since: Some(UNTIL - 89 * 86_400),
        },
        TlsKey {
            role: Role::Next,
            sha256: "cd".repeat(32),
            published_since: None,
        },
    ];
    status
}

/// One cannot be renewed, one has expired.
pub fn failing() -> Status {
    let mut status = valid();
    let failure = Failure {
        at: UNTIL - 86_400,
        times: 3,
        what: "Ordering".into(),
        name: Some("mail.example.org".into()),
        why: "the authority saw no record at <b>_acme-challenge</b>".into(),
        hint: "look whether the domain is delegated to the box: `roost dns check`".into(),
    };
    status.summary = "mail.example.org: it cannot be renewed.".into();
    status.certificates[0].state = State::Failing;
    status.certificates[0].failure = Some(failure.clone());
    status.certificates[1].state = State::Expired;
    status.certificates[1].failure = Some(Failure {
        name: None,
        times: 1,
        ..failure
    });
    status
}

impl PlayedCertificates {
    /// Listens at `path`; nothing is chosen yet.
    pub fn listen(path: &Path) -> Self {
        let certificates = Certificates {
            status: nothing_chosen(),
            kept: BTreeMap::new(),
            orders: Vec::new(),
            given: 0,
            breaks_off: false,
        };
        let played = Self(Arc::new(Mutex::new(certificates)));
        let listener = UnixListener::bind(path).unwrap();
        let served = played.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                if reader.read_line(&mut line).unwrap_or_default() == 0 {
                    continue;
                }
                let call: Call = serde_json::from_str(&line).unwrap();
                let looks = matches!(call, Call::Status | Call::Get { .. });
                let (answer, breaks_off) = {
                    let mut certificates = served.lock();
                    (certificates.answer(call), certificates.breaks_off)
                };
                if looks || !breaks_off {
                    let line = serde_json::to_string(&answer).unwrap() + "\n";
                    // Who asks may have given up.
                    let _ = stream.write_all(line.as_bytes());
                }
            }
        });
        played
    }

    /// The service.
    pub fn lock(&self) -> MutexGuard<'_, Certificates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Certificates {
    fn answer(&mut self, call: Call) -> Answer {
        let refused = |why: &str| Answer::Refused { why: why.into() };
        match &call {
            Call::Status => return Answer::Status(Box::new(self.status.clone())),
            Call::Get { id } => {
                self.given += 1;
                return match self.kept.get(id) {
                    Some(certificate) => Answer::Certificate(Box::new(certificate.clone())),
                    None => refused("there is no such certificate for portal"),
                };
            }
            Call::Set { choice } => {
                if let Some(contact) = choice.contact.as_ref().filter(|c| !c.contains('@')) {
                    return refused(&format!("contact: {contact:?} is no mail address."));
                }
                self.status = ordered((**choice).clone());
            }
            Call::Renew { id } | Call::SwitchKey { id } | Call::Revoke { id, .. } => {
                if !self.status.certificates.iter().any(|one| one.id == *id) {
                    return refused(&format!("there is no certificate {id:?}"));
                }
            }
            call => panic!("the portal may not ask {call:?}"),
        }
        self.orders.push(call);
        Answer::Done
    }
}
