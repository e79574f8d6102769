//! Following a URL: the box looks once a day whether there is a newer bundle,
//! and installs it as if the laptop had sent it. Off unless the owner sets a URL.
//!
//! The box needs no trust in the server or the line: the bundle is signed. What
//! it wants of the server are byte ranges (RFC 9110, section 14), which every
//! common web server gives for a file.

use crate::control::words;
use crate::engine::{Allowed, Staged};
use crate::updater::{Said, Updater};
use roost_bundle::{Error, Verified};
use roost_service::update::{MAX_HEAD, Version};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::sleep;

/// First look after a start, seconds: not at once, because a power cut may have
/// restarted a whole street.
const FIRST: Range<u64> = 5 * 60..30 * 60;
/// Between two looks, seconds.
const AGAIN: Range<u64> = 22 * 3600..26 * 3600;
/// After a look that failed, or a clock that is not set, seconds.
const SOON: Range<u64> = 40 * 60..80 * 60;
/// After the maintenance window opens, seconds.
const INTO_WINDOW: Range<u64> = 0..10 * 60;
/// Bytes asked for at first: manifest and tables of the usual bundle, or most of them.
const BEGINNING: u64 = 64 << 10;
/// Longest wait for a connection, for the beginning of an answer, and within one.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes handed on at once.
const PIECE: usize = 64 << 10;
const DAY: u64 = 24 * 3600;

/// A bundle on a web server.
#[derive(Debug, Clone)]
pub struct Remote {
    agent: ureq::Agent,
    url: String,
    /// The server's name for the content that was looked at last.
    tag: Option<String>,
}

/// A newer bundle.
#[derive(Debug)]
pub struct Candidate {
    /// What it is.
    pub version: Version,
    head: Vec<u8>,
    start: u64,
}

/// What a look at the URL gives.
#[derive(Debug)]
pub enum Look {
    /// The same as last time.
    Unchanged,
    /// What runs, or older.
    NotNewer(Version),
    /// It was tried here, and went wrong; only the owner may try it again.
    Failed(Version),
    /// Something new.
    Newer(Candidate),
}

impl Remote {
    /// A bundle at this address, `http` or `https`.
    pub fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .user_agent("roost")
            // The box's environment is init's; nothing in it speaks of proxies.
            .proxy(None)
            .timeout_connect(Some(TIMEOUT))
            .timeout_recv_response(Some(TIMEOUT))
            .timeout_per_read(Some(TIMEOUT))
            .build();
        Self {
            agent: config.new_agent(),
            url: url.to_owned(),
            tag: None,
        }
    }

    /// Looks at the bundle's beginning. Reads some hundred kilobytes of a newer
    /// bundle, and at most 64 KiB of one that was seen before.
    ///
    /// # Errors
    /// When the server cannot be reached, gives no ranges, or has no bundle
    /// that this box trusts.
    pub fn look(&mut self, updater: &Updater) -> Result<Look, Said> {
        let Some(first) = self.get(0..BEGINNING, self.tag.as_deref(), None)? else {
            return Ok(Look::Unchanged);
        };
        let (total, tag) = (first.total, first.tag.clone());
        let mut head = first.read()?;
        let verified = match self.verify(updater, &head) {
            Err(Error::Truncated { .. }) if (head.len() as u64) < total => {
                self.extend(&mut head, longest_envelope(), tag.as_deref())?;
                self.verify(updater, &head)
            }
            other => other,
        };
        let verified = verified.map_err(bundle_said)?;
        verified.check_length(total).map_err(bundle_said)?;
        let release = &verified.manifest().release;
        let version = Version {
            number: release.version,
            name: release.name.clone(),
        };
        let look = if version.number <= updater.facts.running.version.number {
            Look::NotNewer(version)
        } else if updater.ledger.state().has_failed(version.number) {
            Look::Failed(version)
        } else {
            let start = verified.payload_start();
            if start > MAX_HEAD {
                return Err(Said::new(format!(
                    "the bundle's beginning has {start} bytes; {MAX_HEAD} are possible"
                )));
            }
            self.extend(&mut head, start, tag.as_deref())?;
            head.truncate(start as usize);
            Look::Newer(Candidate {
                version,
                head,
                start,
            })
        };
        // A candidate is looked at anew until it is installed or has failed.
        self.tag = tag.filter(|_| !matches!(look, Look::Newer(_)));
        Ok(look)
    }

    fn verify(&self, updater: &Updater, head: &[u8]) -> Result<Verified, Error> {
        updater.verify(&mut &head[..])
    }

    fn extend(&self, head: &mut Vec<u8>, to: u64, tag: Option<&str>) -> Result<(), Said> {
        let from = head.len() as u64;
        if from < to
            && let Some(part) = self.get(from..to, None, tag)?
        {
            head.extend(part.read()?);
        }
        Ok(())
    }

    /// Bytes of the bundle; fewer at its end. `None` if its tag is `unless`; an
    /// error if it is no longer `only`.
    fn get(
        &self,
        range: Range<u64>,
        unless: Option<&str>,
        only: Option<&str>,
    ) -> Result<Option<Part>, Said> {
        let url = &self.url;
        let last = range.end - 1;
        let mut request = self
            .agent
            .get(url)
            .header("Range", format!("bytes={}-{last}", range.start));
        if let Some(tag) = unless {
            request = request.header("If-None-Match", tag);
        }
        if let Some(tag) = only {
            request = request.header("If-Match", tag);
        }
        let response = request
            .call()
            .map_err(|error| Said::new(format!("cannot get {url}: {}", words(&error))))?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        match response.status().as_u16() {
            206 => {}
            304 => return Ok(None),
            200 => {
                return Err(Said::new(format!("{url} is not given in byte ranges"))
                    .hint("use a web server that knows the header `Range`, or `roost serve`"));
            }
            412 => return Err(Said::new(format!("{url} has just been replaced"))),
            status => return Err(Said::new(format!("{url}: the server answers {status}"))),
        }
        let given = header("content-range").and_then(|text| content_range(&text));
        let Some((given, total)) = given.filter(|(given, _)| {
            given.start == range.start && given.end <= range.end && !given.is_empty()
        }) else {
            return Err(Said::new(format!("{url}: the server gives another range")));
        };
        // A weak tag does not promise equal bytes (RFC 9110, section 8.8.1).
        let tag = header("etag").filter(|tag| tag.starts_with('"'));
        Ok(Some(Part {
            body: Box::new(
                response
                    .into_body()
                    .into_reader()
                    .take(given.end - given.start),
            ),
            bytes: given.end - given.start,
            total,
            tag,
        }))
    }
}

/// A part of the bundle on its way.
struct Part {
    body: Box<dyn Read + Send>,
    bytes: u64,
    /// Bytes of the whole bundle.
    total: u64,
    tag: Option<String>,
}

impl Part {
    fn read(mut self) -> Result<Vec<u8>, Said> {
        let mut bytes = Vec::new();
        match self.body.read_to_end(&mut bytes) {
            Ok(_) if bytes.len() as u64 == self.bytes => Ok(bytes),
            Ok(_) => Err(Said::new("the server broke off")),
            Err(error) => Err(Said::new(format!("the server broke off: {error}"))),
        }
    }
}

/// The header `Content-Range` of a part (RFC 9110, section 14.4): its bytes and
/// those of the whole, e.g. `bytes 0-99/1000`.
pub fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some((first.parse().ok()?..end, total.parse().ok()?))
}

fn longest_envelope() -> u64 {
    use roost_bundle::limits::{HEADER_BYTES, MAX_MANIFEST, MAX_SIGNATURES, SIGNATURE_BYTES};
    (HEADER_BYTES + usize::from(MAX_SIGNATURES) * SIGNATURE_BYTES) as u64 + u64::from(MAX_MANIFEST)
}

fn bundle_said(error: Error) -> Said {
    crate::engine::Refused::from(error).into()
}

/// Writes a candidate and puts it on trial.
///
/// # Errors
/// When anything fails. What was written is found again by the next attempt.
pub async fn install(
    updater: &Arc<Updater>,
    remote: &Remote,
    candidate: Candidate,
) -> Result<(), Said> {
    let turn = updater.turn(Duration::ZERO).await?;
    let start = candidate.start;
    let offered = updater
        .offer(
            turn,
            candidate.head,
            Allowed::default(),
            watch::channel((0, 0)).0,
        )
        .await?;
    let ranges = offered.planned.offer().ranges.clone();
    let mut writing = updater.write(offered).await?;
    let (remote, payloads) = (remote.clone(), writing.payloads.take());
    let feed = tokio::task::spawn_blocking(move || -> Result<(), Said> {
        let Some(payloads) = payloads else {
            return Ok(());
        };
        for (from, to) in ranges {
            let part = remote.get(start + from..start + to, None, None)?;
            let mut part = part.ok_or_else(|| Said::new("the server has nothing to say"))?;
            loop {
                let mut piece = vec![0; PIECE];
                let count = read_some(&mut part.body, &mut piece)
                    .map_err(|error| Said::new(format!("the server broke off: {error}")))?;
                piece.truncate(count);
                // The thread that writes has ended: its result says why.
                if count == 0 || payloads.blocking_send(piece).is_err() {
                    break;
                }
            }
        }
        Ok(())
    });
    let fed = feed.await;
    let written = writing.done.await;
    // If both failed, the line is the cause and the writing the consequence.
    match (fed, written) {
        (Ok(Err(said)), _) => return Err(said),
        (Ok(Ok(())), Ok(written)) => drop(written?),
        _ => return Err(Said::new("the updater has a fault; its log says more")),
    }
    let _turn = updater.turn(Duration::ZERO).await?;
    let staged = Staged::written(&updater.ledger.state())?;
    updater.try_out(staged).await
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Seconds from this second of the day (UTC) until the maintenance window
/// opens; 0 while it is open. A window may go over midnight; one whose two
/// hours are the same never closes.
pub fn until_open(second: u64, window: Option<(u8, u8)>) -> u64 {
    let Some((from, to)) = window else {
        return 0;
    };
    let (from, to) = (u64::from(from) * 3600 % DAY, u64::from(to) * 3600 % DAY);
    let open = match from.cmp(&to) {
        std::cmp::Ordering::Less => (from..to).contains(&second),
        std::cmp::Ordering::Equal => true,
        std::cmp::Ordering::Greater => !(to..from).contains(&second),
    };
    if open { 0 } else { (from + DAY - second) % DAY }
}

/// Looks daily, and when the owner asks for it, for ever. The owner does not wait for the window.
pub async fn run(updater: Arc<Updater>, url: String, window: Option<(u8, u8)>) {
    let mut remote = Remote::new(&url);
    let mut wait = between(FIRST);
    let asked = updater.follow();
    loop {
        let window = tokio::select! {
            () = sleep(Duration::from_secs(wait)) => window,
            () = asked.notified() => None,
        };
        wait = match daily(&updater, &mut remote, window).await {
            Ok(wait) => wait,
            Err(said) => {
                println!("updater: looking for an update: {}", said.message);
                between(SOON)
            }
        };
    }
}

/// One look, and what follows from it. Says when to look again, in seconds.
async fn daily(
    updater: &Arc<Updater>,
    remote: &mut Remote,
    window: Option<(u8, u8)>,
) -> Result<u64, Said> {
    let status = updater.init.status().await?;
    if !status.clock_synced {
        // Neither certificates nor the hour of the day can be judged.
        return Err(Said::new("the clock is not set yet"));
    }
    let (looking, mut at) = (updater.clone(), remote.clone());
    let (look, at) = tokio::task::spawn_blocking(move || (at.look(&looking), at))
        .await
        .map_err(|_| Said::new("the updater has a fault"))?;
    *remote = at;
    let candidate = match look? {
        Look::Unchanged => return Ok(between(AGAIN)),
        Look::NotNewer(version) => {
            println!(
                "updater: {} offers version {}, nothing newer",
                remote.url, version.name
            );
            return Ok(between(AGAIN));
        }
        Look::Failed(version) => {
            println!(
                "updater: version {} went wrong here before and is not tried again by itself",
                version.name
            );
            return Ok(between(AGAIN));
        }
        Look::Newer(candidate) => candidate,
    };
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let closed = until_open(clock.map_or(0, |time| time.as_secs()) % DAY, window);
    let name = candidate.version.name.clone();
    if closed > 0 {
        println!("updater: version {name} waits for the maintenance window");
        return Ok(closed + between(INTO_WINDOW));
    }
    println!("updater: installing version {name} from {}", remote.url);
    install(updater, remote, candidate).await?;
    // The box goes down; should it not, tomorrow is another day.
    Ok(between(AGAIN))
}

/// A random number of this range. Without random bytes, its middle.
fn between(range: Range<u64>) -> u64 {
    let mut bytes = [0; 8];
    let random = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    let width = range.end - range.start;
    match random {
        Ok(8) => range.start + u64::from_le_bytes(bytes) % width,
        _ => range.start + width / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_of_servers() {
        assert_eq!(content_range("bytes 0-99/1000"), Some((0..100, 1000)));
        for text in [
            "",
            "bytes */1000",
            "bytes 0-99/*",
            "items 0-9/10",
            "bytes 0-18446744073709551615/1",
        ] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn windows() {
        let hour = |h: u64| h * 3600;
        assert_eq!(until_open(hour(3), None), 0);
        assert_eq!(until_open(hour(3), Some((2, 5))), 0);
        assert_eq!(until_open(hour(5), Some((2, 5))), hour(21));
        assert_eq!(until_open(hour(1), Some((2, 5))), hour(1));
        assert_eq!(until_open(hour(23), Some((22, 4))), 0);
        assert_eq!(until_open(hour(3), Some((22, 4))), 0);
        assert_eq!(until_open(hour(4), Some((22, 4))), hour(18));
        assert_eq!(until_open(hour(4), Some((7, 7))), 0);
        assert_eq!(until_open(hour(23), Some((22, 24))), 0);
    }

    proptest! {
        #[test]
        fn the_window_is_open_when_it_was_waited_for(second in 0..DAY, from in 0u8..24, to in 0u8..=24) {
            let wait = until_open(second, Some((from, to)));
            prop_assert!(wait < DAY);
            prop_assert_eq!(until_open((second + wait) % DAY, Some((from, to))), 0);
        }

        #[test]
        fn jitter_stays_in_its_range(start in 0u64..1000, width in 1u64..1000) {
            prop_assert!((start..start + width).contains(&between(start..start + width)));
        }
    }
}
