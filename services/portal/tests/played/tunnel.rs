//! The tunnel service, played: it answers on its socket, does what it is told, and remembers that.

use roost_service::tunnel::{
    Answer, Backend, Call, Guard, Rejected, Replaced, State, Status, Traffic,
};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A relay's text that the tunnel takes.
pub const TEXT: &str = r#"{"relay": {"public_key": "mDuTCUJBfoQ7Vi3MLsmFhS9VJcW8M1EtGcnJbSoYDxw=", "endpoint": "relay.example.org:51820"}, "address4": "10.82.0.2"}"#;
/// One that it does not take.
pub const UNFIT: &str = r#"{"relay": {"public_key": "x", "endpoint": "relay.example.org:51820"}, "address4": "10.82.0.2"}"#;

/// How it stands, and what it was asked.
pub struct Tunnel {
    pub status: Status,
    /// Calls that change something, the oldest first.
    pub orders: Vec<Call>,
    /// Does what it is told, but breaks off before it says so.
    pub breaks_off: bool,
}

/// A hand on a tunnel that listens.
#[derive(Clone)]
pub struct PlayedTunnel(Arc<Mutex<Tunnel>>);

/// A tunnel without a relay.
pub fn unconfigured() -> Status {
    Status {
        public_key: "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=".into(),
        state: State::Unconfigured,
        summary: "there is no relay yet".into(),
        backend: None,
        addresses: Vec::new(),
        relay: None,
        endpoint: None,
        mtu: None,
        handshake_age_s: None,
        heard_s: None,
        since_s: 60,
        connected: 0,
        sent: Traffic::default(),
        received: Traffic::default(),
        rtt_ms: None,
        probe_loss: None,
        receive_loss: None,
        rejected: Rejected::default(),
        send_fault: None,
        guard: None,
    }
}

/// One whose relay does not answer.
pub fn down() -> Status {
    Status {
        state: State::Down,
        summary: "calls <b>relay.example.org</b>".into(),
        backend: Some(Backend::Userspace),
        addresses: vec![[10, 82, 0, 2].into()],
        relay: Some("relay.example.org:51820".into()),
        endpoint: Some("192.0.2.1:51820".into()),
        mtu: Some(1380),
        since_s: 600,
        send_fault: Some("network is unreachable".into()),
        ..unconfigured()
    }
}

/// One whose place another card has taken.
pub fn replaced() -> Status {
    Status {
        state: State::Replaced,
        summary: "another card with this box's keys serves in place of this one since 2026-05-28 20:26 UTC; this one has stood down".into(),
        relay: Some("relay.example.org:51820".into()),
        since_s: 600,
        guard: Some(Guard::Replaced(Replaced { by: 2, at_s: 1_780_000_000 })),
        ..unconfigured()
    }
}

/// One that has taken another's place, which may not have noticed.
pub fn taking_over() -> Status {
    Status {
        state: State::Down,
        summary: "connected to relay.example.org; this card serves soon".into(),
        since_s: 5,
        guard: Some(Guard::Waiting),
        ..up()
    }
}

/// One that works.
pub fn up() -> Status {
    Status {
        state: State::Up,
        summary: "connected to relay.example.org".into(),
        handshake_age_s: Some(70),
        heard_s: Some(1),
        since_s: 10_800,
        connected: 1,
        sent: Traffic {
            bytes: 1_440_000,
            packets: Some(2000),
        },
        received: Traffic {
            bytes: 31_900_000_000,
            packets: None,
        },
        rtt_ms: Some(23.4),
        probe_loss: Some(0.004),
        send_fault: None,
        guard: Some(Guard::Held),
        ..down()
    }
}

impl PlayedTunnel {
    /// Listens at `path`, without a relay.
    pub fn listen(path: &Path) -> Self {
        let tunnel = Tunnel {
            status: unconfigured(),
            orders: Vec::new(),
            breaks_off: false,
        };
        let played = Self(Arc::new(Mutex::new(tunnel)));
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
                let looks = call == Call::Status;
                let (answer, breaks_off) = {
                    let mut tunnel = served.lock();
                    (tunnel.answer(call), tunnel.breaks_off)
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

    /// The tunnel.
    pub fn lock(&self) -> MutexGuard<'_, Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tunnel {
    fn answer(&mut self, call: Call) -> Answer {
        if call != Call::Status {
            self.orders.push(call.clone());
        }
        match call {
            Call::Outside => Answer::Outside { reached: None },
            Call::Status => Answer::Status(Box::new(self.status.clone())),
            Call::Set { tunnel } if tunnel.relay.public_key.len() != 44 => Answer::Refused {
                why: "relay.public_key: a key has 44 characters of base64".into(),
            },
            Call::Set { tunnel } => {
                self.status = down();
                self.status.relay = Some(tunnel.relay.endpoint);
                Answer::Done
            }
            Call::TakeOver if self.status.state != State::Replaced => Answer::Refused {
                why: "no other card has taken this one's place".into(),
            },
            Call::TakeOver => {
                self.status = taking_over();
                Answer::Done
            }
            Call::Clear => {
                self.status = unconfigured();
                Answer::Done
            }
        }
    }
}
