//! The update calls over the real socket. Init is played by a thread.

mod support;

use roost_board::Slot;
use roost_service::control::Request;
use roost_service::update::{Answer, Call, MAX_HEAD, MAX_LINE, Offer, Phase};
use roost_updater::api::{self, Limits};
use roost_updater::updater::{Places, Updater};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::*;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;

struct Served {
    on: BoxOfFiles,
    init: Arc<Mutex<PlayedInit>>,
    updater: Arc<Updater>,
    socket: PathBuf,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
}

const QUICK: Limits = Limits {
    idle: Duration::from_secs(20),
    stalled: Duration::from_millis(800),
    turn: Duration::from_millis(300),
    heartbeat: Duration::from_millis(100),
    ..Limits::STANDARD
};

async fn serve() -> Served {
    serve_user(own_user()).await
}

fn own_user() -> u32 {
    rustix::process::getuid().as_raw()
}

async fn serve_user(user: u32) -> Served {
    let on = BoxOfFiles::new(&versions().a, &noise(99, BLOCKS));
    let init = play_init(&on.path("control.sock"));
    let (ledger, _) = on.start(&facts(Slot::A, 1), false, 1000);
    let places = Places {
        devices: on.devices(),
        control: on.path("control.sock"),
        probe: |_| "/nowhere".into(),
    };
    let updater = Arc::new(Updater::new(facts(Slot::A, 1), ledger, places, [public(1)]));
    let socket = on.path("api.sock");
    // What a service that was killed leaves behind is in nobody's way.
    std::fs::write(&socket, "").unwrap();
    let listener = api::listen(&socket).unwrap();
    let (stop, stopping) = watch::channel(false);
    let server = tokio::spawn(api::serve(updater.clone(), listener, user, QUICK, stopping));
    Served {
        on,
        init,
        updater,
        socket,
        stop,
        server,
    }
}

struct Client(BufReader<UnixStream>);

impl Served {
    async fn connect(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).await.expect("connected");
        Client(BufReader::new(stream))
    }

    fn asked(&self) -> Vec<Request> {
        self.init.lock().unwrap().asked.clone()
    }
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    async fn call(&mut self, call: &Call) -> Answer {
        let mut line = serde_json::to_vec(call).unwrap();
        line.push(b'\n');
        self.send(&line).await.expect("sent");
        self.answer().await
    }

    async fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.0.read_line(&mut line).await.expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
    }

    /// Whether it is let in and answered.
    async fn answers(&mut self) -> bool {
        let _ = self.send(b"{\"op\":\"status\"}\n").await;
        let mut line = String::new();
        matches!(self.0.read_line(&mut line).await, Ok(1..))
    }

    async fn is_closed(&mut self) -> bool {
        let mut byte = [0; 1];
        matches!(self.0.read(&mut byte).await, Ok(0) | Err(_))
    }

    async fn offer(&mut self, bundle: &[u8]) -> Answer {
        let head = head_bytes(bundle);
        let mut sent = serde_json::to_vec(&Call::Offer {
            head_bytes: head as u64,
            allow_downgrade: false,
            allow_irreversible: false,
        })
        .unwrap();
        sent.push(b'\n');
        sent.extend(&bundle[..head]);
        self.send(&sent).await.expect("sent");
        loop {
            match self.answer().await {
                Answer::Progress { .. } => {}
                answer => return answer,
            }
        }
    }

    async fn offered(&mut self, bundle: &[u8]) -> Offer {
        match self.offer(bundle).await {
            Answer::Offer(offer) => offer,
            other => panic!("{other:?}"),
        }
    }
}

fn error(answer: Answer) -> String {
    match answer {
        Answer::Error { message, hint } => match hint {
            Some(hint) => format!("{message} ({hint})"),
            None => message,
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_update_goes_over_one_connection_and_ends_in_a_trial() {
    let served = serve().await;
    let mut client = served.connect().await;
    let bundle = &versions().deltas;
    let offer = client.offered(bundle).await;
    assert_eq!((offer.from.number, offer.to.number), (1, 2));
    assert!(offer.send > 0 && offer.write > offer.send);
    assert_eq!(client.call(&Call::Write).await, Answer::Ok);
    client.send(&payloads(bundle, &offer.ranges)).await.unwrap();
    let mut last = (0, 0);
    loop {
        match client.answer().await {
            Answer::Progress { done, total } => {
                assert!(done >= last.0 && done <= total);
                last = (done, total);
            }
            Answer::Staged => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(last.0, last.1);
    assert!(served.on.read("slot_b") == versions().b);
    let Answer::Status(report) = client.call(&Call::Status).await else {
        panic!("no report");
    };
    assert_eq!(report.machine.name, "roost");
    assert_eq!(
        report.update.phase,
        Phase::Staged {
            version: version(2)
        }
    );
    assert_eq!(report.update.other, Some(version(2)));

    // Going back now would go forward.
    let told = error(
        client
            .call(&Call::Rollback {
                allow_older_mail: false,
            })
            .await,
    );
    insta::assert_snapshot!(told, @"the other slot holds version 0.1.0+2, which was never tried, and no longer the one before (run `roost update` to try it, or to install another version)");

    served.init.lock().unwrap().refuses = Some("this machine cannot boot on trial".into());
    let told = error(client.call(&Call::Trial).await);
    insta::assert_snapshot!(told, @"init refuses: this machine cannot boot on trial");
    assert_eq!(
        served.updater.status().phase,
        Phase::Staged {
            version: version(2)
        }
    );
    served.init.lock().unwrap().refuses = None;
    assert_eq!(client.call(&Call::Trial).await, Answer::Ok);
    assert!(served.asked().contains(&Request::Reboot { trial: true }));
    client.offered(bundle).await;
    let told = error(client.call(&Call::Write).await);
    insta::assert_snapshot!(told);
}

/// Everybody may look at the socket; only the portal's user gets an answer.
#[tokio::test]
async fn another_user_is_cut_off_and_nothing_is_said() {
    let served = serve_user(own_user() + 1).await;
    let mode = std::fs::metadata(&served.socket).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o666);
    let mut client = served.connect().await;
    let _ = client.send(b"{\"op\":\"status\"}\n").await;
    let mut got = Vec::new();
    let _ = client.0.read_to_end(&mut got).await;
    assert_eq!(got, b"", "nothing is said");
    assert_eq!(served.asked(), []);
}

#[tokio::test]
async fn only_so_many_connections_are_held() {
    let served = serve().await;
    let mut clients = Vec::new();
    for _ in 0..QUICK.connections {
        let mut client = served.connect().await;
        assert!(matches!(
            client.call(&Call::Status).await,
            Answer::Status(_)
        ));
        clients.push(client);
    }
    assert!(served.connect().await.is_closed().await);
    drop(clients.pop());
    // The place is free as soon as the box has noticed.
    let mut tries = 0;
    while !served.connect().await.answers().await {
        tries += 1;
        assert!(tries < 1000, "the place stays taken");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_too_long_or_no_call_ends_the_connection() {
    let served = serve().await;
    let mut client = served.connect().await;
    client.send(&vec![b'x'; MAX_LINE + 1]).await.unwrap();
    let told = error(client.answer().await);
    insta::assert_snapshot!(told);
    assert!(client.is_closed().await);

    let mut client = served.connect().await;
    client.send(b"{\"op\":\"format\"}\n").await.unwrap();
    let told = error(client.answer().await);
    assert!(
        told.starts_with("this is no call: unknown variant `format`"),
        "{told}"
    );
    assert!(client.is_closed().await);

    let mut client = served.connect().await;
    let told = error(
        client
            .call(&Call::Offer {
                head_bytes: MAX_HEAD + 1,
                allow_downgrade: false,
                allow_irreversible: false,
            })
            .await,
    );
    insta::assert_snapshot!(told);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn wrong_orders_and_wrong_bundles_are_refused_in_words() {
    let served = serve().await;
    let mut client = served.connect().await;
    let mut told = Vec::new();
    for call in [
        Call::Write,
        Call::Trial,
        Call::Rollback {
            allow_older_mail: false,
        },
    ] {
        told.push(error(client.call(&call).await));
    }
    let foreign = bundle_of(release(2), &versions().b, &[], 9);
    told.push(error(client.offer(&foreign).await));
    let same = bundle(1, &versions().b, &[]);
    told.push(error(client.offer(&same).await));
    insta::assert_snapshot!(told.join("\n"));
    assert!(served.on.read("slot_b") == noise(99, BLOCKS));
    // The connection is as good as before.
    client.offered(&versions().plain).await;
}

#[tokio::test]
async fn a_full_data_partition_is_said_before_anything_is_written() {
    let served = serve().await;
    let mut client = served.connect().await;
    let mut told = Vec::new();
    let migrating = roost_bundle::Release {
        mail_store: 2,
        ..release(2)
    };
    let migrating = bundle_of(migrating, &versions().b, &[], 1);
    for (free, bundle) in [(3 << 20, &versions().plain), (8 << 30, &migrating)] {
        served.init.lock().unwrap().status.data_free = free;
        told.push(error(client.offer(bundle).await));
    }
    insta::assert_snapshot!(told.join("\n"));
    assert!(served.on.read("slot_b") == noise(99, BLOCKS));
    served.init.lock().unwrap().status.data_free = 9 << 30;
    client.offered(&migrating).await;
}

#[tokio::test]
async fn one_update_at_a_time_and_a_cut_connection_frees_it() {
    let served = serve().await;
    let mut first = served.connect().await;
    first.offered(&versions().plain).await;
    let mut second = served.connect().await;
    let told = error(second.offer(&versions().plain).await);
    insta::assert_snapshot!(told);
    let told = error(second.call(&Call::Trial).await);
    assert!(told.starts_with("another update"), "{told}");
    assert!(matches!(
        second.call(&Call::Status).await,
        Answer::Status(_)
    ));
    drop(first);
    let mut tries = 0;
    while !matches!(second.offer(&versions().plain).await, Answer::Offer(_)) {
        tries += 1;
        assert!(tries < 20, "it stays taken");
    }
}

#[tokio::test]
async fn after_a_cut_only_the_rest_is_sent() {
    let served = serve().await;
    let bundle = &versions().plain;
    let mut first = served.connect().await;
    let offer = first.offered(bundle).await;
    assert_eq!(first.call(&Call::Write).await, Answer::Ok);
    let sent = payloads(bundle, &offer.ranges);
    first.send(&sent[..sent.len() / 2]).await.unwrap();
    // Until all that was sent is written; then the line is cut.
    loop {
        if let Answer::Progress { done, total } = first.answer().await
            && done > total * 2 / 5
        {
            break;
        }
    }
    drop(first);
    let mut second = served.connect().await;
    let mut tries = 0;
    let rest = loop {
        match second.offer(bundle).await {
            Answer::Offer(offer) => break offer,
            _ => tries += 1,
        }
        assert!(tries < 20, "it stays taken");
    };
    assert!(
        rest.send < offer.send * 7 / 10,
        "{} of {}",
        rest.send,
        offer.send
    );
    assert_eq!(second.call(&Call::Write).await, Answer::Ok);
    second.send(&payloads(bundle, &rest.ranges)).await.unwrap();
    while second.answer().await != Answer::Staged {}
    assert!(served.on.read("slot_b") == versions().b);
}

#[tokio::test]
async fn a_transfer_that_stalls_frees_the_box() {
    let served = serve().await;
    let mut client = served.connect().await;
    client.offered(&versions().plain).await;
    assert_eq!(client.call(&Call::Write).await, Answer::Ok);
    // Nothing more comes, and the connection stays open.
    let mut got = Vec::new();
    let _ = client.0.read_to_end(&mut got).await;
    assert_eq!(served.updater.status().phase, Phase::Idle);
    assert_eq!(served.updater.status().other, None);
    served.connect().await.offered(&versions().plain).await;
}

#[tokio::test]
async fn a_damaged_payload_is_told_though_the_laptop_is_still_sending() {
    let served = serve().await;
    let bundle = &versions().plain;
    let mut client = served.connect().await;
    let offer = client.offered(bundle).await;
    assert_eq!(client.call(&Call::Write).await, Answer::Ok);
    let mut sent = payloads(bundle, &offer.ranges);
    sent[1000] ^= 1;
    client.send(&sent).await.unwrap();
    let told = loop {
        match client.answer().await {
            Answer::Progress { .. } => {}
            other => break error(other),
        }
    };
    insta::assert_snapshot!(told);
    assert!(client.is_closed().await);
    assert_eq!(served.updater.status().other, None);
}

#[tokio::test]
async fn logs_are_relayed_and_followed() {
    let served = serve().await;
    let line = |i: usize| format!("line {i}");
    served.init.lock().unwrap().logs = (0..100).map(line).collect();
    let mut client = served.connect().await;
    let call = |service: &str, lines, follow| Call::Logs {
        service: service.into(),
        lines,
        boot: None,
        follow,
    };
    assert_eq!(
        error(client.call(&call("nobody", 5, false)).await),
        "init refuses: there is no service \"nobody\""
    );
    let Answer::Logs { lines } = client.call(&call("mail", 3, false)).await else {
        panic!("no logs");
    };
    assert_eq!(lines, [line(97), line(98), line(99)]);
    let Answer::Logs { lines } = client.call(&call("mail", 1, true)).await else {
        panic!("no logs");
    };
    assert_eq!(lines, [line(99)]);
    served
        .init
        .lock()
        .unwrap()
        .logs
        .extend((100..102).map(line));
    let mut got = Vec::new();
    while got.len() < 2 {
        match client.answer().await {
            Answer::Logs { lines } => got.extend(lines),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, [line(100), line(101)]);
    assert_eq!(
        client.answer().await,
        Answer::Logs { lines: vec![] },
        "a sign of life"
    );
}

#[tokio::test]
async fn boot_times_are_relayed() {
    let served = serve().await;
    let mut client = served.connect().await;
    assert_eq!(
        client.call(&Call::BootTimes).await,
        Answer::BootTimes(boot_times())
    );
    assert_eq!(served.init.lock().unwrap().asked, [Request::BootTimes]);
}

#[tokio::test]
async fn the_owner_may_have_it_look_for_an_update_now() {
    let served = serve().await;
    let mut client = served.connect().await;
    let told = error(client.call(&Call::Look).await);
    insta::assert_snapshot!(told, @"this box follows no address for updates (send it one with `roost update`, or set `url` under [update] in roost.toml and update it once)");
    let asked = served.updater.follow();
    assert_eq!(client.call(&Call::Look).await, Answer::Ok);
    asked.notified().await;
}

#[tokio::test]
async fn a_stop_ends_what_waits() {
    let served = serve().await;
    let mut idle = served.connect().await;
    assert_eq!(idle.call(&Call::Reboot).await, Answer::Ok);
    let mut writes = served.connect().await;
    writes.offered(&versions().plain).await;
    assert_eq!(writes.call(&Call::Write).await, Answer::Ok);
    served.stop.send_replace(true);
    served.server.await.unwrap();
    assert!(idle.is_closed().await);
    assert_eq!(served.updater.status().phase, Phase::Idle);
}
