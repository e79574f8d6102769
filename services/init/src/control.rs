//! Connections that ask init for something (`roost_service::control`): reading
//! requests and holding answers, without ever waiting for the other side.

use crate::lines::{Line, Splitter};
use crate::logs::Logs;
use crate::spill::Boot;
use roost_service::control::{Request, Response};
use roost_service::spec::{Right, ServiceSpec};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// Longest request line in bytes.
pub const MAX_REQUEST: usize = 4096;
/// Connections at a time; further ones are closed at once.
pub const MAX_CLIENTS: usize = 16;
/// Of these, such as follow a log.
pub const MAX_FOLLOWERS: usize = 8;
/// Answers not yet taken by the other side; beyond it nothing more is read.
pub const MAX_PENDING: usize = 1024 * 1024;
/// Most log lines in one answer.
pub const MAX_LOG_LINES: usize = 5000;

/// Reads one request line.
///
/// # Errors
/// Says what is wrong with the line, for the one who sent it.
pub fn parse(line: Line<'_>) -> Result<Request, String> {
    let bytes = match line {
        Line::Whole(bytes) => bytes,
        Line::Cut(_) => return Err(format!("the request is longer than {MAX_REQUEST} bytes")),
    };
    serde_json::from_slice(bytes).map_err(|error| format!("not a request: {error}"))
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// Root, or the emulator's owner: may ask for everything.
    Master,
    /// A service, with what its spec lists.
    Service(Vec<Right>),
}

impl Peer {
    /// The peer with this user number; `None` if it has no business here.
    pub fn of(user: u32, table: &[ServiceSpec]) -> Option<Self> {
        if user == 0 {
            return Some(Self::Master);
        }
        let spec = table.iter().find(|spec| spec.user == user)?;
        (!spec.control.is_empty()).then(|| Self::Service(spec.control.keys().copied().collect()))
    }

    /// Whether it may ask for this.
    pub fn may(&self, request: &Request) -> bool {
        let Self::Service(rights) = self else {
            return true;
        };
        let needed = match request {
            Request::Status | Request::BootTimes | Request::Logs { .. } => Right::Look,
            Request::Restart { .. } => Right::Restart,
            Request::Reboot { .. } | Request::EndTrial => Right::Reboot,
            Request::Announce { .. } => Right::Announce,
            Request::Configure { .. } => Right::Configure,
            Request::FactoryReset { .. } => Right::Reset,
            Request::Disks | Request::TakeDisk { .. } | Request::ReleaseDisk => Right::Disk,
            Request::Kill { .. } | Request::PowerOff => return false,
        };
        rights.contains(&needed)
    }
}

/// How a connection stands after [`Client::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All that had come was read.
    Drained,
    /// More may be there; it is not read before answers have gone out.
    More,
    /// The other side has closed it, or it is broken.
    Closed,
}

/// What somebody is told more and more of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// The log.
    pub service: String,
    /// Number of the first line that was not told.
    pub next: u64,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// Its descriptor, non-blocking.
    pub fd: OwnedFd,
    /// Who is at its other end.
    pub peer: Peer,
    splitter: Splitter,
    out: Vec<u8>,
    /// How much of `out` was written already.
    written: usize,
    /// Requests behind the one that is being carried out.
    pub queue: VecDeque<Result<Request, String>>,
    /// A request is being carried out by a child: until its end nothing more is read, so that
    /// answers stay in the order of their requests.
    pub waiting: bool,
    /// The log that it follows, until its next request.
    pub following: Option<Following>,
}

impl Client {
    /// A connection that nothing was read from yet.
    pub fn new(fd: OwnedFd, peer: Peer) -> Self {
        Self {
            fd,
            peer,
            splitter: Splitter::new(MAX_REQUEST),
            out: Vec::new(),
            written: 0,
            queue: VecDeque::new(),
            waiting: false,
            following: None,
        }
    }

    /// Reads what has come.
    pub fn read(&mut self) -> (Vec<Result<Request, String>>, Standing) {
        let mut requests = Vec::new();
        let mut buffer = [0; 4096];
        if self.waiting {
            return (requests, Standing::Drained);
        }
        if !self.queue.is_empty() {
            return (requests, Standing::More);
        }
        // Bounded, so that one chatty client does not hold up the loop.
        for _ in 0..8 {
            if self.is_stuffed() {
                break;
            }
            match rustix::io::read(&self.fd, &mut buffer[..]) {
                Ok(0) => return (requests, Standing::Closed),
                Ok(length) => self.splitter.feed(&buffer[..length], |line| {
                    if !line.bytes().trim_ascii().is_empty() {
                        requests.push(parse(line));
                    }
                }),
                Err(rustix::io::Errno::AGAIN) => return (requests, Standing::Drained),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return (requests, Standing::Closed),
            }
        }
        (requests, Standing::More)
    }

    /// Forgets what a peer that is gone has asked and not taken.
    pub fn reset(&mut self) {
        self.queue = VecDeque::new();
        self.following = None;
        self.splitter = Splitter::new(MAX_REQUEST);
        self.out = Vec::new();
        self.written = 0;
    }

    /// Whether so many answers wait that nothing more is read.
    pub fn is_stuffed(&self) -> bool {
        self.pending() > MAX_PENDING
    }

    /// Bytes of answers that wait to be taken.
    pub fn pending(&self) -> usize {
        self.out.len() - self.written
    }

    /// Queues an answer. It is dropped if the other side has left a megabyte
    /// of answers unread.
    pub fn answer(&mut self, response: &Response) {
        let Ok(line) = serde_json::to_vec(response) else {
            return;
        };
        if self.is_stuffed() {
            return;
        }
        self.out.extend_from_slice(&line);
        self.out.push(b'\n');
    }

    /// Whether one more answer can be queued, after writing what the other side takes.
    pub fn has_room(&mut self) -> bool {
        // A broken connection is found by the next write.
        !self.is_stuffed() || (self.flush() && !self.is_stuffed())
    }

    /// Tells new lines of the log that is followed. They wait in the ring, not here: the next piece
    /// is made when the one before was taken. Returns whether the connection is still usable.
    pub fn follow(&mut self, logs: &Logs, boot: &Boot) -> bool {
        while !self.wants_to_write()
            && let Some(following) = &mut self.following
        {
            let (lines, next) = logs.piece(&following.service, following.next, boot);
            following.next = next;
            if lines.is_empty() {
                break;
            }
            self.answer(&Response::Logs { lines });
            if !self.flush() {
                return false;
            }
        }
        true
    }

    /// Writes what can be written. Returns whether the connection is still usable.
    pub fn flush(&mut self) -> bool {
        while self.written < self.out.len() {
            match rustix::io::write(&self.fd, &self.out[self.written..]) {
                Ok(length) => self.written += length,
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        self.out = Vec::new();
        self.written = 0;
        true
    }

    /// Whether answers wait to be written.
    pub fn wants_to_write(&self) -> bool {
        self.written < self.out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roost_service::disk::{DiskMark, FileSystem};
    use roost_service::settings::{Account, Chosen};
    use std::io::{Read, Write};

    #[test]
    fn requests() {
        assert_eq!(
            parse(Line::Whole(br#"{"op":"status"}"#)),
            Ok(Request::Status)
        );
        assert_eq!(
            parse(Line::Whole(br#"{"op":"kill","service":"mail"}"#)),
            Ok(Request::Kill {
                service: "mail".into()
            })
        );
        assert_eq!(
            parse(Line::Cut(b"{")).unwrap_err(),
            "the request is longer than 4096 bytes"
        );
        let error = parse(Line::Whole(br#"{"op":"explode"}"#)).unwrap_err();
        assert!(
            error.starts_with("not a request: unknown variant `explode`"),
            "{error}"
        );
    }

    #[test]
    fn a_connection_answers_in_order_and_forgets_a_peer_that_left() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours.into(), Peer::Master);
        (&theirs)
            .write_all(b"{\"op\":\"status\"}\r\n\nnonsense\n{\"op\":")
            .unwrap();
        let (requests, standing) = client.read();
        assert_eq!(standing, Standing::Drained);
        assert_eq!(
            requests.len(),
            2,
            "the empty line is no request, the last is not complete"
        );
        assert!(requests[0].is_ok() && requests[1].is_err());
        client.answer(&Response::Ok);
        assert!(client.wants_to_write() && client.flush() && !client.wants_to_write());
        let mut line = [0; 32];
        let length = (&theirs).read(&mut line).unwrap();
        assert_eq!(&line[..length], b"{\"answer\":\"ok\"}\n");
        drop(theirs);
        assert_eq!(client.read(), (vec![], Standing::Closed));
        client.reset();
        assert!(!client.wants_to_write());
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_read_from_and_takes_bounded_memory() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours.into(), Peer::Master);
        let long = Response::Error {
            message: "x".repeat(100_000),
        };
        for _ in 0..100 {
            client.answer(&long);
            assert!(client.flush());
        }
        assert!(client.is_stuffed() && client.out.len() < 2 * MAX_PENDING);
        (&theirs).write_all(b"{\"op\":\"status\"}\n").unwrap();
        assert_eq!(client.read(), (vec![], Standing::More));
        assert!(!client.has_room());
    }

    #[test]
    fn nothing_is_read_before_what_was_asked_had_its_turn() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours.into(), Peer::Master);
        client.queue.push_back(Ok(Request::Status));
        (&theirs).write_all(b"{\"op\":\"status\"}\n").unwrap();
        assert_eq!(client.read(), (vec![], Standing::More));
        client.queue.clear();
        assert_eq!(
            client.read(),
            (vec![Ok(Request::Status)], Standing::Drained)
        );
    }

    #[test]
    fn a_follower_that_is_slow_is_told_what_it_missed_and_takes_no_memory() {
        use std::io::BufRead;
        let s = std::time::Duration::from_secs(1);
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours.into(), Peer::Master);
        client.following = Some(Following {
            service: "mail".into(),
            next: 0,
        });
        let boot = Boot {
            id: "b".into(),
            began_ms: 0,
            set: false,
        };
        let (mut logs, mut largest) = (Logs::default(), 0);
        for second in 0..2000 {
            let line = format!("{second} {}", "x".repeat(1000));
            logs.push(s * second, s * second, true, "mail", line);
            assert!(client.follow(&logs, &boot));
            largest = largest.max(client.out.len());
        }
        assert!(largest < 128 * 1024, "{largest}");
        let (mut seen, mut reports) = (0, 0);
        let mut theirs = std::io::BufReader::new(theirs);
        while seen < 2000 {
            assert!(client.flush() && client.follow(&logs, &boot));
            let mut line = String::new();
            theirs.read_line(&mut line).unwrap();
            let Ok(Response::Logs { lines }) = serde_json::from_str(&line) else {
                panic!("{line}");
            };
            for line in lines {
                match line.split(' ').collect::<Vec<_>>()[..] {
                    [lost, "lines", ..] => {
                        seen += lost[1..].parse::<u64>().unwrap();
                        reports += 1;
                    }
                    _ => {
                        assert!(line.contains(&format!("] {seen} x")), "{line}");
                        seen += 1;
                    }
                }
            }
        }
        assert!(reports >= 1);
    }

    #[test]
    fn a_service_may_ask_for_what_its_spec_lists() {
        let service = || "mail".to_owned();
        let lines = 1;
        let requests = [
            (Request::Status, Some(Right::Look)),
            (
                Request::Logs {
                    service: service(),
                    lines,
                    boot: None,
                    follow: false,
                },
                Some(Right::Look),
            ),
            (
                Request::Restart { service: service() },
                Some(Right::Restart),
            ),
            (Request::Reboot { trial: false }, Some(Right::Reboot)),
            (Request::Reboot { trial: true }, Some(Right::Reboot)),
            (Request::EndTrial, Some(Right::Reboot)),
            (
                Request::Announce {
                    code: None,
                    name: None,
                    fingerprint: String::new(),
                },
                Some(Right::Announce),
            ),
            (
                Request::Configure {
                    chosen: Chosen {
                        domain: "example.org".into(),
                        account: Account {
                            name: "alice".into(),
                            display_name: "Alice".into(),
                            password_hash: "$6$".into(),
                        },
                    },
                },
                Some(Right::Configure),
            ),
            (Request::FactoryReset { code: None }, Some(Right::Reset)),
            (Request::Disks, Some(Right::Disk)),
            (
                Request::TakeDisk {
                    disk: DiskMark {
                        file_system: FileSystem::Exfat,
                        id: "1A2B-3C4D".into(),
                        label: String::new(),
                    },
                    folder: "roost-backups".into(),
                },
                Some(Right::Disk),
            ),
            (Request::ReleaseDisk, Some(Right::Disk)),
            // For nobody but the master.
            (Request::Kill { service: service() }, None),
            (Request::PowerOff, None),
        ];
        let all = [
            Right::Look,
            Right::Restart,
            Right::Reboot,
            Right::Announce,
            Right::Configure,
            Right::Reset,
            Right::Disk,
        ];
        for (request, needed) in requests {
            assert!(Peer::Master.may(&request), "{request:?}");
            for right in all {
                let may = Peer::Service(vec![right]).may(&request);
                assert_eq!(may, Some(right) == needed, "{request:?} with {right:?}");
            }
            let may = Peer::Service(all.to_vec()).may(&request);
            assert_eq!(may, needed.is_some(), "{request:?} with all rights");
            assert!(!Peer::Service(vec![]).may(&request), "{request:?}");
        }
    }

    #[test]
    fn who_has_no_right_at_all_is_nobody() {
        let spec = |name: &str, user, control: &[Right]| ServiceSpec {
            control: control
                .iter()
                .map(|&right| (right, "Why.".into()))
                .collect(),
            ..ServiceSpec::plain(name, user)
        };
        let updater = vec![Right::Look, Right::Reboot];
        let table = [spec("mail", 800, &[]), spec("updater", 810, &updater)];
        for (user, peer) in [
            (0, Some(Peer::Master)),
            (810, Some(Peer::Service(updater))),
            (800, None),
            (811, None),
            (65_534, None),
            (u32::MAX, None),
        ] {
            assert_eq!(Peer::of(user, &table), peer, "user {user}");
        }
    }

    proptest! {
        #[test]
        fn junk_gives_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            // No random bytes spell a request.
            prop_assert!(parse(Line::Whole(&bytes)).is_err());
        }
    }
}
