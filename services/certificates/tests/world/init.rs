//! Something in the place of init, as far as the program asks it.

use roost_service::control::{BoxStatus, Response};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says at this socket whether the clock is set.
pub(super) fn listen(path: &Path, clock: &Arc<AtomicBool>) {
    let listener = UnixListener::bind(path).unwrap();
    let clock = clock.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut line);
            let status = box_status(clock.load(Ordering::SeqCst));
            let _ = serde_json::to_writer(&stream, &Response::Status(status));
            let _ = stream.write_all(b"\n");
        }
    });
}

fn box_status(clock_synced: bool) -> BoxStatus {
    BoxStatus {
        name: "roost".into(),
        version: "1".into(),
        slot: 2,
        trial_left_s: None,
        uptime_s: 1.0,
        rescue: None,
        ready: true,
        ready_after_s: None,
        clock_synced,
        addresses: vec![],
        memory_total: 0,
        memory_available: 0,
        data_total: 0,
        data_free: 0,
        data_written: 0,
        services: vec![],
    }
}
