//! A line to a server that is cut in the middle.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Listens on loopback, and hands everything on.
pub struct Proxy {
    /// Where.
    pub port: u16,
    /// Connections so far.
    pub connections: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of `to`. The connections have this many bytes each, both directions together; those after the
    /// last have no end.
    pub fn start(to: u16, bytes: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, end) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (count, over, bytes) = (connections.clone(), end.clone(), bytes.to_vec());
        thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let number = count.fetch_add(1, Ordering::Relaxed);
                let left = Arc::new(Mutex::new(bytes.get(number).copied().unwrap_or(usize::MAX)));
                let (client, server) = (
                    client.unwrap(),
                    TcpStream::connect(("127.0.0.1", to)).unwrap(),
                );
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, left) = (
                        from.try_clone().unwrap(),
                        to.try_clone().unwrap(),
                        left.clone(),
                    );
                    thread::spawn(move || hand_on(from, to, &left));
                }
            }
        });
        Self {
            port,
            connections,
            end,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, left: &Mutex<usize>) {
    let mut buffer = [0; 4096];
    loop {
        let n = from.read(&mut buffer).unwrap_or(0);
        let mut left = left.lock().unwrap();
        let passed = n.min(*left);
        *left -= passed;
        if to.write_all(&buffer[..passed]).is_err() || passed < n || n == 0 {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            return;
        }
    }
}
