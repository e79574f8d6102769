use super::*;
use crate::config::tests::setup;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

/// 2026-11-25 09:05:03 UTC.
fn attempt() -> Attempt {
    let date = OffsetDateTime::from_unix_timestamp(1_795_597_503).unwrap();
    Attempt::new(address(&setup()), date)
}

/// Time stands still while anything else can go on, so a minute passes at once.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

/// As much of a mail server as the probe talks to.
#[derive(Clone, Default)]
struct Server {
    folders: Arc<Mutex<HashMap<String, Vec<String>>>>,
    /// Commands that are answered differently, by how they begin. Nothing to
    /// answer means that the server hangs up.
    answers: HashMap<&'static str, &'static str>,
    /// Whether it forgets what it accepted.
    loses: bool,
    /// Where it arrives.
    folder: &'static str,
    /// Every command but the passwords.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new() -> Self {
        let server = Server {
            folder: "INBOX",
            ..Server::default()
        };
        for folder in FOLDERS {
            server
                .folders
                .lock()
                .unwrap()
                .insert(folder.into(), Vec::new());
        }
        server
    }

    fn answering(mut self, command: &'static str, answer: &'static str) -> Self {
        self.answers.insert(command, answer);
        self
    }

    fn put(&self, folder: &str, message: &str) {
        let mut folders = self.folders.lock().unwrap();
        folders.get_mut(folder).unwrap().push(message.into());
    }

    fn messages(&self) -> usize {
        self.folders.lock().unwrap().values().map(Vec::len).sum()
    }

    fn special(&self, line: &str) -> Option<&'static str> {
        let found = self
            .answers
            .iter()
            .find(|(command, _)| line.contains(*command));
        found.map(|(_, answer)| *answer)
    }

    async fn smtp(self, stream: DuplexStream) -> io::Result<()> {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        let greeting = self
            .special("greeting 25")
            .unwrap_or("220 mail.example.org ESMTP");
        write
            .write_all(format!("{greeting}\r\n").as_bytes())
            .await?;
        while let Some(line) = lines.next_line().await? {
            self.heard.lock().unwrap().push(line.clone());
            let answer = match (self.special(&line), line.split(' ').next()) {
                (Some(""), _) => return Ok(()),
                (Some(answer), _) => answer,
                (None, Some("EHLO")) => "250-mail.example.org\r\n250-SIZE 100\r\n250 8BITMIME",
                (None, Some("DATA")) => "354 Go on",
                (None, Some("QUIT")) => return Ok(()),
                (None, _) => "250 2.1.0 OK",
            };
            write.write_all(format!("{answer}\r\n").as_bytes()).await?;
            if answer.starts_with("354") {
                let mut message = String::new();
                while let Some(line) = lines.next_line().await?.filter(|line| line != ".") {
                    message += line.strip_prefix('.').unwrap_or(&line);
                    message += "\r\n";
                }
                let answer = self
                    .special("the message")
                    .unwrap_or("250 2.0.0 Message queued");
                write.write_all(format!("{answer}\r\n").as_bytes()).await?;
                if answer.starts_with("250") && !self.loses {
                    self.put(self.folder, &format!("Received: by me\r\n{message}"));
                }
            }
        }
        Ok(())
    }

    async fn imap(self, stream: DuplexStream) -> io::Result<()> {
        let (read, mut write) = tokio::io::split(stream);
        let mut lines = BufReader::new(read).lines();
        let greeting = self.special("greeting 993").unwrap_or("* OK ready");
        write
            .write_all(format!("{greeting}\r\n").as_bytes())
            .await?;
        let mut open = String::new();
        while let Some(line) = lines.next_line().await? {
            let (tag, command) = line.split_once(' ').unwrap();
            if let Some(answer) = self.special(&line) {
                if answer.is_empty() {
                    return Ok(());
                }
                let answer = answer.replace("TAG", tag).replace("LINE", &line);
                write.write_all(format!("{answer}\r\n").as_bytes()).await?;
                continue;
            }
            let mut before = String::new();
            {
                let mut folders = self.folders.lock().unwrap();
                match command.split(' ').next().unwrap() {
                    "SELECT" => {
                        open = command.split('"').nth(1).unwrap().to_owned();
                        before = format!("* {} EXISTS\r\n* FLAGS ()\r\n", folders[&open].len());
                    }
                    "FETCH" => {
                        for (number, message) in folders[&open].iter().enumerate() {
                            let (number, length) = (number + 1, message.len());
                            before += &format!(
                                "* {number} FETCH (BODY[]<0> {{{length}}}\r\n{message} UID 7)\r\n"
                            );
                        }
                    }
                    "EXPUNGE" => {
                        for _ in folders.get_mut(&open).unwrap().drain(..) {
                            before += "* 1 EXPUNGE\r\n";
                        }
                    }
                    _ => {}
                }
            }
            write
                .write_all(format!("{before}{tag} OK done\r\n").as_bytes())
                .await?;
        }
        Ok(())
    }
}

/// The outcome of a probe of this server, as it is told.
fn probe(server: &Server) -> Result<(), String> {
    block_on(async {
        let (smtp, smtp_server) = tokio::io::duplex(4096);
        let (imap, imap_server) = tokio::io::duplex(4096);
        tokio::spawn(server.clone().smtp(smtp_server));
        tokio::spawn(server.clone().imap(imap_server));
        let deadline = Instant::now() + TIMEOUT;
        let (smtp, imap) = (async { Ok(smtp) }, async { Ok(imap) });
        run(&attempt(), &Password::random(), deadline, smtp, imap).await
    })
    .map_err(|fault| fault.to_string())
}

/// A server that says this, whatever it is told, and then hangs up.
fn replay(attempt: &Attempt, smtp: &[u8], imap: &[u8]) -> Result<(), Fault> {
    let said = |bytes: &[u8]| tokio::io::join(io::Cursor::new(bytes.to_vec()), tokio::io::sink());
    let (smtp, imap) = (said(smtp), said(imap));
    block_on(async {
        let deadline = Instant::now() + TIMEOUT;
        let (smtp, imap) = (async { Ok(smtp) }, async { Ok(imap) });
        run(attempt, &Password::random(), deadline, smtp, imap).await
    })
}

/// What a good server says to `attempt` on port 25 and on port 993.
fn transcript(attempt: &Attempt) -> (Vec<u8>, Vec<u8>) {
    let smtp = "220 x\r\n250-x\r\n250 y\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n";
    let message = attempt.message();
    let imap = format!(
        "* OK hello\r\np1 OK in\r\n\
         * 0 EXISTS\r\np2 OK\r\n* 0 EXISTS\r\np3 OK\r\n\
         * 1 EXISTS\r\np4 OK\r\n* 1 FETCH (BODY[]<0> {{{}}}\r\n{message})\r\np5 OK\r\n\
         * 1 EXISTS\r\np6 OK\r\np7 OK\r\n* 1 EXPUNGE\r\np8 OK\r\n* 0 EXISTS\r\np9 OK\r\n",
        message.len()
    );
    (smtp.into(), imap.into_bytes())
}

#[test]
fn a_message_goes_in_and_comes_out_and_nothing_is_left() {
    let server = Server::new();
    server.put("INBOX", "left behind by an interrupted probe");
    server.put("Junk Mail", "this too");
    assert_eq!(probe(&server), Ok(()));
    assert_eq!(server.messages(), 0);
    assert_eq!(
        server.heard.lock().unwrap()[..4],
        [
            "EHLO probe.roost.internal",
            "MAIL FROM:<>",
            "RCPT TO:<roost-probe@example.org>",
            "DATA"
        ]
    );
}

#[test]
fn what_the_filter_learnt_does_not_decide() {
    let mut server = Server::new();
    server.folder = "Junk Mail";
    assert_eq!(probe(&server), Ok(()));
    assert_eq!(server.messages(), 0);
}

#[test]
fn another_message_is_not_taken_for_it() {
    let mut server = Server::new();
    server.loses = true;
    let other = attempt().message();
    let (smtp, imap) = transcript(&attempt());
    assert_eq!(
        replay(&attempt(), &smtp, &imap).unwrap_err().step,
        Step::Find
    );
    server.put("INBOX", &other);
    assert!(probe(&server).unwrap_err().starts_with("read the message"));
}

#[test]
fn a_message_with_another_text_is_a_fault() {
    let attempt = attempt();
    let (smtp, imap) = transcript(&attempt);
    let changed = String::from_utf8(imap)
        .unwrap()
        .replace("The box sent", "The fox sent");
    let fault = replay(&attempt, &smtp, changed.as_bytes()).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "read the message back over IMAP: it came back with another text"
    );
}

#[test]
fn every_fault_says_which_step_and_what_the_server_said() {
    let changed = "* 1 FETCH (BODY[] {0}\r\n)\r\nTAG OK";
    let cases = [
        ("greeting 25", "421 4.3.2 Too busy"),
        ("EHLO", "550-5.5.0 Not you,\r\n550 5.5.0 nor your friends"),
        ("MAIL FROM", ""),
        ("RCPT", "550 5.1.2 Mailbox does not exist."),
        ("DATA", "452 4.3.1 Mail system full\u{7}, try again later."),
        (
            "the message",
            "550 5.7.1 Message rejected due to excessive spam score.",
        ),
        ("greeting 993", "220 this is no IMAP"),
        ("LOGIN", "TAG NO [AUTHENTICATIONFAILED] Who is that"),
        ("LOGIN", "TAG BAD LINE"),
        ("LOGIN", "+ go on"),
        ("SELECT", "TAG NO There is no such folder"),
        ("SELECT", "TAG OK but nothing about it"),
        ("FETCH", "* BYE Going down"),
        ("FETCH", changed),
        ("EXPUNGE", "TAG NO Read-only"),
    ];
    let told: Vec<String> = cases
        .into_iter()
        .map(|(command, answer)| {
            let outcome = probe(&Server::new().answering(command, answer));
            format!("{command:<12} → {}", outcome.unwrap_err())
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_door_that_is_shut_is_named() {
    let shut = || async { Err::<DuplexStream, _>(io::ErrorKind::ConnectionRefused.into()) };
    let outcome = block_on(async {
        let deadline = Instant::now() + TIMEOUT;
        run(&attempt(), &Password::random(), deadline, shut(), shut()).await
    });
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "connect to port 993: connection refused"
    );
}

#[test]
fn a_minute_is_the_end_wherever_it_hangs() {
    let hangs = || std::future::pending::<io::Result<DuplexStream>>();
    let outcome = block_on(async {
        let deadline = Instant::now() + TIMEOUT;
        run(&attempt(), &Password::random(), deadline, hangs(), hangs()).await
    });
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "connect to port 993: not done within 60 seconds in all"
    );
}

#[test]
fn a_server_that_never_stops_is_left() {
    let (smtp, imap) = transcript(&attempt());
    let chatter = "* 1 RECENT\r\n".repeat(200_000);
    let on_imap = [&b"* OK hello\r\n"[..], chatter.as_bytes()].concat();
    let fault = replay(&attempt(), &smtp, &on_imap).unwrap_err();
    assert_eq!(
        fault.to_string(),
        "log in over IMAP: the server sent a line or an answer without an end"
    );
    let fault = replay(&attempt(), "250-x\r\n".repeat(200_000).as_bytes(), &imap).unwrap_err();
    assert_eq!(fault.step, Step::Deliver);
    assert!(fault.reason.ends_with("without an end"), "{fault}");
    let fault = replay(&attempt(), &[b'2'; 100_000], &imap).unwrap_err();
    assert!(fault.reason.ends_with("without an end"), "{fault}");
}

#[test]
fn the_good_transcript_is_good() {
    let attempt = attempt();
    let (smtp, imap) = transcript(&attempt);
    assert!(replay(&attempt, &smtp, &imap).is_ok());
}

#[test]
fn the_message_has_what_a_careful_program_writes() {
    let mut attempt = attempt();
    attempt.token = "0123456789abcdef".into();
    insta::assert_snapshot!(attempt.message().replace("\r\n", "\n"));
}

#[test]
fn a_password_is_new_each_time_and_its_hash_is_what_the_directory_takes() {
    let one = Password::random();
    assert_ne!(one.0, Password::random().0);
    assert_eq!(one.0.len(), 64);
    // printf secret | openssl dgst -sha256 -binary | base64
    let known = Password("secret".into());
    assert_eq!(
        known.hash(),
        "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="
    );
}

#[test]
fn the_answer_is_one_line_that_is_read_again() {
    let line = answer(Ok(()), Duration::from_millis(1234));
    assert_eq!(line, "{\"fault\":null,\"took_ms\":1234}\n");
}

/// Any fault that a server's words can make.
fn fault(reason: String) -> Fault {
    Fault {
        step: Step::Find,
        reason,
    }
}

proptest! {
    /// The reader's bound holds for whatever the server said.
    #[test]
    fn an_answer_fits(reason in ".{0,2000}") {
        let line = answer(Err(fault(reason)), Duration::MAX);
        prop_assert!(line.len() <= MAX_ANSWER);
        let read: Answer = serde_json::from_str(&line).unwrap();
        prop_assert!(read.fault.unwrap().starts_with("read the message"));
    }

    /// Whatever comes, there is a verdict, and it is not "works".
    #[test]
    fn junk_is_a_fault(
        smtp in proptest::collection::vec(any::<u8>(), 0..400),
        imap in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        prop_assert!(replay(&attempt(), &smtp, &imap).is_err());
        let good = attempt();
        let (good_smtp, good_imap) = transcript(&good);
        prop_assert!(replay(&good, &smtp, &good_imap).is_err());
        prop_assert!(replay(&good, &good_smtp, &imap).is_err());
    }

    /// A server that dies in the middle is noticed, wherever that is.
    #[test]
    fn a_conversation_that_is_cut_off_is_a_fault(at in any::<prop::sample::Index>()) {
        let attempt = attempt();
        let (smtp, imap) = transcript(&attempt);
        prop_assert!(replay(&attempt, &smtp[..at.index(smtp.len())], &imap).is_err());
        prop_assert!(replay(&attempt, &smtp, &imap[..at.index(imap.len())]).is_err());
    }

    /// A few wrong bytes in a good conversation: a verdict, and no panic.
    #[test]
    fn a_damaged_conversation_ends(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        on_smtp in any::<bool>(),
    ) {
        let attempt = attempt();
        let (mut smtp, mut imap) = transcript(&attempt);
        let bytes = if on_smtp { &mut smtp } else { &mut imap };
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = replay(&attempt, &smtp, &imap);
    }
}
