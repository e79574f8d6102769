//! The files that tell init what to do, `settings.json` and `services.json`, of
//! any bytes: read or refused, never a panic. What is read and written again is
//! read as the same. A table that passed its check is supervised through any
//! events without a panic, and no deadline is ever left behind.
//!
//! The events stand behind a zero byte, two bytes each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roost_init::network::Network;
use roost_init::supervisor::{Action, Event, Exit, Jitter, Supervisor};
use roost_service::notify::Message;
use roost_service::settings::{Chosen, MAX_CHOSEN, Settings};
use roost_service::spec::{ServiceSpec, validate};
use std::time::Duration;

fuzz_target!(|bytes: &[u8]| {
    let zero = bytes.iter().position(|byte| *byte == 0);
    let (json, events) = bytes.split_at(zero.unwrap_or(bytes.len()));
    if let Ok(settings) = serde_json::from_slice::<Settings>(json) {
        let again = serde_json::to_vec(&settings).expect("settings can be written");
        assert_eq!(
            serde_json::from_slice::<Settings>(&again).ok(),
            Some(settings.clone())
        );
        let mut network = Network::new(1);
        let _ = network.start();
        let _ = network.configure(Duration::ZERO, settings.network, &settings.name);
    }
    if let Ok(chosen) = Chosen::parse(json) {
        let again = serde_json::to_vec(&chosen).expect("what was chosen can be written");
        assert!(again.len() <= MAX_CHOSEN);
        assert_eq!(Chosen::parse(&again), Ok(chosen));
    }
    let Ok(table) = serde_json::from_slice::<Vec<ServiceSpec>>(json) else {
        return;
    };
    let again = serde_json::to_vec(&table).expect("a table can be written");
    assert_eq!(
        serde_json::from_slice::<Vec<ServiceSpec>>(&again)
            .ok()
            .as_ref(),
        Some(&table)
    );
    if validate(&table).is_ok() {
        supervise(table, events.get(1..).unwrap_or_default());
    }
});

fn supervise(table: Vec<ServiceSpec>, events: &[u8]) {
    let mut supervisor = Supervisor::new(table, Jitter::new(1));
    let mut now = Duration::from_secs(1);
    let mut pid = 100;
    let mut step = |supervisor: &mut Supervisor, now, event| {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            for action in supervisor.handle(now, event) {
                if let Action::Start(index) = action {
                    pid += 1;
                    events.push(Event::Started(index, pid));
                }
            }
        }
    };
    step(&mut supervisor, now, Event::Release);
    for [what, which] in events.as_chunks::<2>().0 {
        let index = usize::from(*which);
        let pid = supervisor.services().get(index).and_then(|s| s.state.pid());
        let event = match what % 8 {
            0 => Event::NotStarted(index, "for a test".into()),
            1 => Event::Dead(pid.unwrap_or(1), Exit::Code(i32::from(*what))),
            2 => Event::Notified(index, Message::Ready),
            3 => Event::Notified(index, Message::Status("waits".into())),
            4 => Event::Kill(index),
            5 => Event::Restart(index),
            6 if *which == 255 => Event::Shutdown,
            _ => {
                now += Duration::from_secs(u64::from(*which));
                Event::Tick
            }
        };
        step(&mut supervisor, now, event);
        step(&mut supervisor, now, Event::Tick);
        assert!(supervisor.deadline().is_none_or(|due| due > now));
        let _ = (supervisor.ready(), supervisor.all_stopped());
    }
}
