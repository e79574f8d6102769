//! A repository in a bucket of an S3 server, with the names that restic gives its files there.
//!
//! Requests are signed by `rusty-s3` and sent by `ureq`; what is here is when to ask what, and what an answer
//! means. A file is written with `If-None-Match: *`, so that no server that knows the condition ever
//! overwrites one, and with its MD5, so that it keeps nothing that has changed on the way. Signatures are
//! in the address of a request; therefore no address is ever part of an error.

use crate::store::{Kind, Name, Store, clear_beginning};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::{Digest, Md5};
use roost_service::backup::{BucketTarget, NoTarget, Secret};
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use std::io::{self, Read};
use std::time::Duration;

/// How long a signature holds. The server compares it with its own clock, from the second of the signing on.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Longest answer that is read: a list of a thousand names, or a file of a repository.
const MAX_ANSWER: u64 = 64 << 20;
/// Longest answer to a request that failed; some hundred bytes of XML are usual.
const MAX_FAULT: u64 = 16 << 10;
/// What a trial's file begins with, below the prefix.
const TRIAL: &str = "roost-trial";
/// Rests before a request is made again that failed as one may on a bad day.
const RESTS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(20),
];

/// How long somebody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Nobody waits: for a backup at night.
    Long,
    /// A person does.
    Short,
}

/// The place.
pub struct S3 {
    bucket: Bucket,
    credentials: Credentials,
    prefix: String,
    place: String,
    agent: ureq::Agent,
    rests: &'static [Duration],
}

impl S3 {
    /// This one. Nothing is asked yet.
    ///
    /// # Errors
    /// [`NoTarget`].
    pub fn new(
        target: &BucketTarget,
        secret: &Secret,
        patience: Patience,
    ) -> Result<Self, NoTarget> {
        target.check()?;
        let no_endpoint = || NoTarget::Endpoint(target.endpoint.clone());
        let endpoint: url::Url = target.endpoint.parse().map_err(|_| no_endpoint())?;
        // Amazon wants the bucket in the host's name, where its certificate has room for it; others
        // rarely have a name for every bucket.
        let of_amazon = endpoint
            .host_str()
            .is_some_and(|host| host.ends_with(".amazonaws.com"));
        let style = match of_amazon && !target.bucket.contains('.') {
            true => UrlStyle::VirtualHost,
            false => UrlStyle::Path,
        };
        let bucket = Bucket::new(
            endpoint,
            style,
            target.bucket.clone(),
            target.region.clone(),
        )
        .map_err(|_| no_endpoint())?;
        let (connect, silence, whole, rests) = match patience {
            Patience::Long => (30, 120, None, &RESTS[..]),
            // A trial has four requests, and whoever waits for it does so for 20 s.
            Patience::Short => (4, 4, Some(Duration::from_millis(4500)), &[][..]),
        };
        let silence = Some(Duration::from_secs(silence));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A signed request goes to the server that it was signed for.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent("roost")
            .proxy(None)
            .timeout_global(whole)
            .timeout_connect(Some(Duration::from_secs(connect)))
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .timeout_per_write(silence)
            .build()
            .new_agent();
        Ok(Self {
            bucket,
            credentials: Credentials::new(target.key_id.as_str(), secret.reveal()),
            prefix: match target.prefix.as_str() {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
            place: target.to_string(),
            agent,
            rests,
        })
    }

    /// Does once all that a backup needs: lists, writes a small file, reads it back, and removes it. Tells
    /// whether the key may remove files; one that may not is enough for backups, and safer.
    ///
    /// # Errors
    /// What did not work, in plain words.
    pub fn try_out(&self) -> io::Result<bool> {
        let told = |what: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        self.list(Kind::Config)
            .map_err(told("its files cannot be listed"))?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let key = format!("{}{TRIAL}/{}", self.prefix, hex::encode(random));
        let bytes = [Bytes::copy_from_slice(&random)];
        self.put(&key, &bytes)
            .map_err(told("a file cannot be written"))?;
        let back = self
            .get(&key, None)
            .map_err(told("a file just written cannot be read back"))?;
        if back != bytes[0] {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a file just written comes back with other bytes",
            ));
        }
        match self.delete(&key) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
            Err(error) => Err(told("a file cannot be removed")(error)),
        }
    }

    /// As restic names them: packs below 256 prefixes, by the first digits.
    fn key(&self, kind: Kind, name: Name) -> String {
        let (prefix, folder, digits) = (&self.prefix, kind.folder(), name.to_string());
        match kind {
            Kind::Config => format!("{prefix}{folder}"),
            Kind::Pack => format!(
                "{prefix}{folder}/{}/{digits}",
                digits.get(..2).unwrap_or_default()
            ),
            _ => format!("{prefix}{folder}/{digits}"),
        }
    }

    /// Makes a request until it is answered for good. `send` signs it anew each time.
    fn ask(&self, send: impl Fn() -> Result<Answer, ureq::Error>) -> io::Result<Vec<u8>> {
        let mut rests = self.rests.iter();
        loop {
            let error = match send() {
                Ok(answer) => match self.read(answer) {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => error,
                },
                Err(error) => unreached(&error),
            };
            match (may_pass(&error), rests.next()) {
                (true, Some(rest)) => std::thread::sleep(*rest),
                _ => return Err(error),
            }
        }
    }

    fn read(&self, answer: Answer) -> io::Result<Vec<u8>> {
        let status = answer.status().as_u16();
        let max = match status {
            200..=299 => MAX_ANSWER,
            _ => MAX_FAULT,
        };
        let mut bytes = Vec::new();
        let mut body = answer.into_body().into_reader().take(max);
        match (body.read_to_end(&mut bytes), status) {
            (read, 200..=299) => read.map_err(|error| {
                // What ureq has to say comes in an error of the other kind.
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                inner.map_or_else(|| lost(&error), unreached)
            })?,
            (_, status) => return Err(refused(status, &String::from_utf8_lossy(&bytes))),
        };
        Ok(bytes)
    }

    fn get(&self, key: &str, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        let bytes = self.ask(|| {
            let action = self.bucket.get_object(Some(&self.credentials), key);
            let mut request = self.agent.get(action.sign(SIGNED_FOR).as_str());
            if let Some((offset, length)) = part {
                let (from, to) = (u64::from(offset), u64::from(offset) + u64::from(length));
                request = request.header("Range", format!("bytes={from}-{}", to - 1));
            }
            request.call()
        })?;
        if part.is_some_and(|(_, length)| bytes.len() != length as usize) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes.into())
    }

    /// A file that is there already stays as it is.
    fn put(&self, key: &str, pieces: &[Bytes]) -> io::Result<()> {
        let body = pieces.concat();
        let md5 = STANDARD.encode(Md5::digest(&body));
        let put = |unless_there: bool| {
            self.ask(|| {
                let action = self.bucket.put_object(Some(&self.credentials), key);
                let mut request = self
                    .agent
                    .put(action.sign(SIGNED_FOR).as_str())
                    .header("Content-MD5", &md5);
                if unless_there {
                    request = request.header("If-None-Match", "*");
                }
                request.send(&body[..])
            })
        };
        match put(true) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A server that knows no conditions. Names are hashes of what is in a file, so the same
            // name has the same bytes; only this one box writes here.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => match self.is_there(key)? {
                true => Ok(()),
                false => put(false).map(drop),
            },
            Err(error) => Err(error),
        }
    }

    fn is_there(&self, key: &str) -> io::Result<bool> {
        let found = self.ask(|| {
            let action = self.bucket.head_object(Some(&self.credentials), key);
            self.agent.head(action.sign(SIGNED_FOR).as_str()).call()
        });
        match found {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn delete(&self, key: &str) -> io::Result<()> {
        let done = self.ask(|| {
            let action = self.bucket.delete_object(Some(&self.credentials), key);
            self.agent.delete(action.sign(SIGNED_FOR).as_str()).call()
        });
        match done {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Names and lengths of all files that begin so.
    fn all(&self, prefix: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut more: Option<String> = None;
        loop {
            let bytes = self.ask(|| {
                let mut action = self.bucket.list_objects_v2(Some(&self.credentials));
                action.with_prefix(prefix);
                if let Some(token) = &more {
                    action.with_continuation_token(token.as_str());
                }
                self.agent.get(action.sign(SIGNED_FOR).as_str()).call()
            })?;
            let text = std::str::from_utf8(&bytes).map_err(|_| strange())?;
            let list = ListObjectsV2::parse_response(text).map_err(|_| strange())?;
            found.extend(
                list.contents
                    .into_iter()
                    .map(|one| (one.key, one.size.unwrap_or_default())),
            );
            match list.next_continuation_token {
                // One that says the same again would never end.
                Some(token) if more.as_ref() != Some(&token) => more = Some(token),
                Some(_) => return Err(strange()),
                None => return Ok(found),
            }
        }
    }
}

type Answer = ureq::http::Response<ureq::Body>;

fn strange() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what answers there does not speak S3",
    )
}

/// Whether it may work a moment later.
fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::TimedOut | Kind::ConnectionReset | Kind::ConnectionRefused | Kind::ResourceBusy
    )
}

fn lost(error: &io::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionReset,
        format!("the connection broke off: {error}"),
    )
}

/// Why a server was not reached, without the request's address.
fn unreached(error: &ureq::Error) -> io::Error {
    use io::ErrorKind as Kind;
    let (kind, why) = match error {
        ureq::Error::Timeout(_) => (Kind::TimedOut, "the server does not answer in time".into()),
        // The home's line, or its resolver, may be away for a while.
        ureq::Error::HostNotFound => (
            Kind::ConnectionRefused,
            "the server's name is not known, or the internet is not reached".into(),
        ),
        ureq::Error::ConnectionFailed => {
            (Kind::ConnectionRefused, "the server is not reached".into())
        }
        ureq::Error::Io(error) => match error.kind() {
            Kind::ConnectionRefused => (
                Kind::ConnectionRefused,
                "the server takes no connection".to_owned(),
            ),
            // What rustls found comes as an error of input and output.
            Kind::InvalidData => (Kind::InvalidData, tls(error)),
            _ => (
                Kind::ConnectionReset,
                format!("the connection broke off: {error}"),
            ),
        },
        ureq::Error::Rustls(error) => (Kind::InvalidData, tls(error)),
        ureq::Error::Tls(error) => (Kind::InvalidData, tls(error)),
        // Everything else may have the address in it.
        _ => return strange(),
    };
    io::Error::new(kind, why)
}

fn tls(why: &dyn std::fmt::Display) -> String {
    format!("it cannot be told whether this is the right server: {why}")
}

/// What an answer means that is none of success, by its number and the code in its XML
/// (Amazon S3 API Reference, "Error responses").
fn refused(status: u16, body: &str) -> io::Error {
    use io::ErrorKind as Kind;
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| code)
        .filter(|code| code.len() < 64 && code.chars().all(|c| c.is_ascii_alphanumeric()));
    let (kind, why) = match (status, code) {
        (412, _) => (Kind::AlreadyExists, "the file is there already"),
        (_, Some("NoSuchBucket")) => (Kind::InvalidInput, "there is no such bucket"),
        (_, Some("InvalidAccessKeyId")) => (
            Kind::InvalidInput,
            "the server does not know the access key",
        ),
        (_, Some("SignatureDoesNotMatch")) => (
            Kind::InvalidInput,
            "the server refuses the signature: the secret key, or the region, is wrong",
        ),
        (_, Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect"))
        | (301 | 302 | 307 | 308, _) => (Kind::InvalidInput, "the bucket is in another region"),
        (_, Some("RequestTimeTooSkewed" | "RequestExpired")) => (
            Kind::InvalidInput,
            "the box's clock and the server's differ too much",
        ),
        (_, Some("BadDigest" | "InvalidDigest")) => (
            Kind::ResourceBusy,
            "a file has changed on its way to the server",
        ),
        (_, Some("QuotaExceeded" | "XMinioStorageFull")) | (507, _) => {
            (Kind::StorageFull, "there is no room left")
        }
        (404, _) => (Kind::NotFound, "there is no such file"),
        (401 | 403, _) => (Kind::PermissionDenied, "the access key may not do that"),
        (416, _) => (Kind::UnexpectedEof, "the file is shorter than it should be"),
        (501, _) => (Kind::Unsupported, "the server cannot do that"),
        (409 | 429 | 500 | 502..=504, _) => {
            (Kind::ResourceBusy, "the server is busy or out of order")
        }
        _ => (Kind::InvalidData, "the server refuses the request"),
    };
    let text = match code {
        Some(code) => format!("{why} ({status} {code})"),
        None => format!("{why} ({status})"),
    };
    io::Error::new(kind, text)
}

impl Store for S3 {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn list(&self, kind: Kind) -> io::Result<Vec<(Name, u32)>> {
        let prefix = format!("{}{}", self.prefix, kind.folder());
        let mut found = Vec::new();
        for (key, size) in self.all(&prefix)? {
            let name = match kind {
                Kind::Config if key == prefix => Name::default(),
                Kind::Config => continue,
                // Whatever else lies there is no file of a repository.
                _ => match key.rsplit('/').next().and_then(|name| name.parse().ok()) {
                    Some(name) if key == self.key(kind, name) => name,
                    _ => continue,
                },
            };
            let size = u32::try_from(size).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, "a file of 4 GiB or more")
            })?;
            found.push((name, size));
        }
        Ok(found)
    }

    fn read(&self, kind: Kind, name: Name, part: Option<(u32, u32)>) -> io::Result<Bytes> {
        match part {
            // There is no way to ask for nothing.
            Some((_, 0)) => Ok(Bytes::new()),
            part => self.get(&self.key(kind, name), part),
        }
    }

    fn write(&self, kind: Kind, name: Name, pieces: &[Bytes]) -> io::Result<()> {
        if kind == Kind::Key {
            clear_beginning(self)?;
        }
        self.put(&self.key(kind, name), pieces)
    }

    fn remove(&self, kind: Kind, name: Name) -> io::Result<()> {
        self.delete(&self.key(kind, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_by_what_they_mean_and_give_nothing_away() {
        let xml = |code: &str| format!("<Error><Code>{code}</Code><Message>m</Message></Error>");
        let all = [
            (403, xml("AccessDenied")),
            (403, xml("SignatureDoesNotMatch")),
            (403, xml("InvalidAccessKeyId")),
            (403, xml("RequestTimeTooSkewed")),
            (404, xml("NoSuchBucket")),
            (404, String::new()),
            (301, xml("PermanentRedirect")),
            (307, String::new()),
            (412, xml("PreconditionFailed")),
            (409, xml("ConditionalRequestConflict")),
            (501, xml("NotImplemented")),
            (503, xml("SlowDown")),
            (200 + 300, "<html>".into()),
            (400, xml("<b>")),
            (418, String::new()),
        ];
        let told: Vec<String> = all
            .iter()
            .map(|(status, body)| {
                let error = refused(*status, body);
                format!("{:?}: {error}", error.kind())
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }
}
