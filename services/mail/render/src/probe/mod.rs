//! The proof that mail works: a message goes in through port 25, as a
//! stranger's would, and comes out over IMAP (see `roost_service::probe`).
//!
//! - [`run`]: the whole conversation, over streams that the caller opens.
//! - [`Password`], [`address`], [`QUOTA`]: the mailbox that it uses.
//! - `wire`, `smtp`, `imap`: as much of the protocols as that takes. What a
//!   server sends is never trusted: every reply is bounded, and whatever is not
//!   understood is an error.

mod imap;
mod smtp;
#[cfg(test)]
mod tests;
mod wire;

use crate::setup::Setup;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use imap::Imap;
use rand::RngCore;
use roost_service::probe::{Answer, MAX_ANSWER};
use std::fmt::{self, Write};
use std::io;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout_at};
use wire::Trouble;

/// Log-in name of the mailbox, and the local part of its address.
pub const ACCOUNT: &str = "roost-probe";

/// What the account says of itself.
pub const DESCRIPTION: &str = "The box itself, when it tests its mail";

/// Most bytes that the mailbox may hold: it is empty but for one small message.
pub const QUOTA: u64 = 1 << 20;

/// Longest probe. It takes about a second on a board and several under emulation.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two looks into the mailbox.
const POLL: Duration = Duration::from_millis(250);

/// The probe's name in EHLO and in its own address: a domain that nobody can
/// own, so that nobody's rules for it decide about the message.
const STRANGER: &str = "probe.roost.internal";

/// The header with the token.
const HEADER: &str = "X-Roost-Probe";

/// Where the message may arrive. The owner's teaching of the spam filter must
/// not decide about an update, so the second folder is as good.
const FOLDERS: [&str; 2] = ["INBOX", "Junk Mail"];

/// The mailbox's address.
pub fn address(setup: &Setup) -> String {
    format!("{ACCOUNT}@{}", setup.domain)
}

/// A password for one probe. It is never written down, only its hash is.
pub struct Password(String);

impl Password {
    /// 256 random bits.
    pub fn random() -> Self {
        Password(random_hex::<32>())
    }

    /// Its hash, in the form that the mail server's directory takes. There is
    /// nothing to guess in 256 random bits, so it need not be slow.
    pub fn hash(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.0.as_bytes());
        format!("{{SHA256}}{}", BASE64_STANDARD.encode(digest))
    }
}

fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    rand::rngs::OsRng.fill_bytes(&mut bytes);
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// What the probe is doing when something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The mailbox gets its address and a password.
    OpenAccount,
    /// TCP and TLS to the port of IMAP.
    ConnectImap,
    /// IMAP's `LOGIN`.
    LogIn,
    /// What an interrupted probe left is deleted.
    Tidy,
    /// TCP to port 25.
    ConnectSmtp,
    /// The message is handed over.
    Deliver,
    /// The message is looked for.
    Find,
    /// The message is deleted.
    Delete,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::OpenAccount => "open the mailbox of the test",
            Step::ConnectImap => "connect to port 993",
            Step::LogIn => "log in over IMAP",
            Step::Tidy => "empty the mailbox of the test",
            Step::ConnectSmtp => "connect to port 25",
            Step::Deliver => "hand a message to port 25",
            Step::Find => "read the message back over IMAP",
            Step::Delete => "delete the message over IMAP",
        })
    }
}

/// Why mail does not work.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub struct Fault {
    /// What was tried.
    pub step: Step,
    /// What came of it, with the server's own words.
    pub reason: String,
}

/// One attempt: whom to write to and what.
pub struct Attempt {
    address: String,
    token: String,
    date: OffsetDateTime,
}

impl Attempt {
    /// A message of its own kind to `address`, dated `date`.
    pub fn new(address: String, date: OffsetDateTime) -> Self {
        Attempt {
            address,
            token: random_hex::<16>(),
            date,
        }
    }

    /// The message, with every header that a careful program writes.
    fn message(&self) -> String {
        format!("{}\r\n{}", self.headers(), self.body())
    }

    fn headers(&self) -> String {
        let (address, token, date) = (&self.address, &self.token, rfc5322(self.date));
        format!(
            "From: Test of the box <probe@{STRANGER}>\r\n\
             To: <{address}>\r\n\
             Subject: Test of the mail service\r\n\
             Date: {date}\r\n\
             Message-ID: <{token}@{STRANGER}>\r\n\
             {HEADER}: {token}\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=us-ascii\r\n"
        )
    }

    fn body(&self) -> String {
        format!(
            "The box sent this to itself to see whether mail works.\r\n\
             It reads the message and deletes it.\r\n\r\n{}\r\n",
            self.token
        )
    }

    /// Whether `message` is the one that was sent: `Some(false)` if it is, but
    /// came back with another text.
    fn recognise(&self, message: &[u8]) -> Option<bool> {
        let text = String::from_utf8_lossy(message);
        let (headers, body) = text.split_once("\r\n\r\n")?;
        let mine = format!("{HEADER}: {}", self.token);
        headers
            .split("\r\n")
            .any(|line| line == mine)
            .then(|| body == self.body())
    }
}

/// Date and time as in a message (RFC 5322 §3.3).
fn rfc5322(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
    format!(
        "{}, {} {} {:04} {:02}:{:02}:{:02} +0000",
        &weekday[..3],
        at.day(),
        &month[..3],
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// Tries it once, until `deadline`, from an empty mailbox to an empty mailbox.
///
/// `smtp` connects to port 25, `imap` to the port of IMAP over TLS; each is
/// polled when its turn comes.
///
/// # Errors
/// The first step that fails, or the one that was not over at the deadline.
pub async fn run<S, I>(
    attempt: &Attempt,
    password: &Password,
    deadline: Instant,
    smtp: impl Future<Output = io::Result<S>>,
    imap: impl Future<Output = io::Result<I>>,
) -> Result<(), Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
    I: AsyncRead + AsyncWrite + Unpin,
{
    let timer = Timer { deadline, password };
    let stream = timer.step(Step::ConnectImap, connect(imap)).await?;
    let mut imap = Imap::new(stream);
    timer
        .step(Step::LogIn, imap.log_in(ACCOUNT, &password.0))
        .await?;
    timer.step(Step::Tidy, empty(&mut imap)).await?;

    let stream = timer.step(Step::ConnectSmtp, connect(smtp)).await?;
    let message = attempt.message();
    let delivery = smtp::deliver(stream, STRANGER, &attempt.address, &message);
    timer.step(Step::Deliver, delivery).await?;

    timer.step(Step::Find, find(&mut imap, attempt)).await?;
    timer.step(Step::Delete, empty(&mut imap)).await?;
    imap.log_out().await;
    Ok(())
}

/// Gives every step what is left of the time.
struct Timer<'a> {
    deadline: Instant,
    password: &'a Password,
}

impl Timer<'_> {
    async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Fault> {
        let reason = match timeout_at(self.deadline, work).await {
            Ok(Ok(value)) => return Ok(value),
            // A confused server may repeat the command that it does not understand.
            Ok(Err(trouble)) => trouble.to_string().replace(&self.password.0, "…"),
            Err(_) => format!("not done within {} seconds in all", TIMEOUT.as_secs()),
        };
        Err(Fault { step, reason })
    }
}

async fn connect<S>(opening: impl Future<Output = io::Result<S>>) -> Result<S, Trouble> {
    opening.await.map_err(Trouble::Io)
}

/// Deletes whatever is in the mailbox.
async fn empty<S: AsyncRead + AsyncWrite + Unpin>(imap: &mut Imap<S>) -> Result<(), Trouble> {
    for folder in FOLDERS {
        if imap.select(folder).await? > 0 {
            imap.delete_all().await?;
        }
    }
    Ok(())
}

/// Waits until the message is there.
async fn find<S: AsyncRead + AsyncWrite + Unpin>(
    imap: &mut Imap<S>,
    attempt: &Attempt,
) -> Result<(), Trouble> {
    loop {
        for folder in FOLDERS {
            if imap.select(folder).await? == 0 {
                continue;
            }
            for message in imap.messages().await? {
                match attempt.recognise(&message) {
                    Some(true) => return Ok(()),
                    Some(false) => return Err(Trouble::Changed),
                    None => {}
                }
            }
        }
        sleep(POLL).await;
    }
}

/// The line for whoever asked, within [`MAX_ANSWER`].
pub fn answer(outcome: Result<(), Fault>, took: Duration) -> String {
    let mut answer = Answer {
        fault: outcome.err().map(|fault| fault.to_string()),
        took_ms: took.as_millis().try_into().unwrap_or(u64::MAX),
    };
    loop {
        // A struct of a string and a number always has a JSON form.
        let line = serde_json::to_string(&answer).unwrap_or_default() + "\n";
        match &mut answer.fault {
            Some(fault) if line.len() > MAX_ANSWER => {
                let shorter = fault.floor_char_boundary(fault.len() * 3 / 4);
                fault.truncate(shorter);
            }
            _ => return line,
        }
    }
}
