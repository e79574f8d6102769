//! A service for the tests of init: says that it is ready and ends when it is told to.
//! `service NAME`; built by the harness, statically, since its container shows it nothing else.

use std::io::Write;
use std::os::fd::FromRawFd;

unsafe extern "C" {
    fn pause() -> i32;
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn _exit(status: i32) -> !;
}

/// On every architecture of ours (`asm-generic/signal.h`).
const SIGTERM: i32 = 15;

extern "C" fn end(_: i32) {
    // SAFETY: may be called from a handler (signal-safety(7)).
    unsafe { _exit(0) }
}

fn main() {
    // SAFETY: `end` does nothing that a handler must not. Process 1 of its namespace is ended by no
    // signal that it does not handle.
    unsafe { signal(SIGTERM, end) };
    println!("hello");
    let fd = std::env::var("ROOST_NOTIFY_FD").expect("init gives a pipe");
    let fd = fd.parse().expect("its number");
    // SAFETY: init has opened it for this program, and nothing else here uses it.
    let mut notify = unsafe { std::fs::File::from_raw_fd(fd) };
    notify.write_all(b"READY\n").expect("init listens");
    loop {
        // SAFETY: takes nothing and waits for a signal.
        unsafe { pause() };
    }
}
