//! Whether an answer is what the owner of its zone signed (RFC 4033 to 4035, 5155, 6840), by the validator of
//! the crate `domain`.

use crate::found::Found;
use crate::source::Source;
use bytes::Bytes;
use domain::base::Message as Bare;
use domain::dnssec::validator::anchor::TrustAnchors;
use domain::dnssec::validator::context::{Config, ValidationContext, ValidationState};
use domain::net::client::request::{
    ComposeRequest, Error, GetResponse, RequestMessage, SendRequest,
};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::fmt;
use std::pin::Pin;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Longest that what failed is remembered of a zone's keys; as long as of its answers.
const BOGUS: Duration = Duration::from_secs(30);
/// Zones whose keys are remembered.
const ZONES: u64 = 512;
/// Signatures whose checks are remembered.
const SIGNATURES: u64 = 512;

/// What the check of an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is what the owner signed.
    Secure,
    /// The owner does not sign, which is proven.
    Insecure,
    /// It is forged, or the owner signs wrongly. With the code and the text for the client (RFC 8914).
    Bogus(u16, String),
}

/// RFC 8914, section 4.7.
const DNSSEC_BOGUS: u16 = 6;

/// Checks answers of one source.
pub struct Validator(ValidationContext<Keys>);

impl Validator {
    /// Checks against these keys of the root (DS or DNSKEY records); what else is needed is asked of `source`.
    ///
    /// # Errors
    /// When a key is none.
    pub fn new(anchors: &[String], source: Source) -> Result<Self, String> {
        let mut all = TrustAnchors::empty();
        for anchor in anchors {
            let add = all.add_u8(anchor.as_bytes());
            add.map_err(|error| format!("{anchor:?} is no key of the root: {error}"))?;
        }
        let mut config = Config::new();
        config.set_max_node_cache(ZONES);
        config.set_max_isig_cache(SIGNATURES);
        config.set_max_usig_cache(SIGNATURES);
        config.set_max_bogus_validity(BOGUS);
        Ok(Self(ValidationContext::with_config(
            all,
            Keys(source),
            config,
        )))
    }

    /// Checks an answer to this question. Its records may then have a shorter life: no longer than their
    /// signatures.
    pub async fn check(&self, found: &mut Found, name: &Name, kind: RecordType) -> Verdict {
        let verdict = self.look(found, name, kind).await;
        match verdict {
            Verdict::Bogus(..)
                if self.is_bare(found) && self.is_insecure(found, name, kind).await =>
            {
                Verdict::Insecure
            }
            verdict => verdict,
        }
    }

    async fn look(&self, found: &mut Found, name: &Name, kind: RecordType) -> Verdict {
        let unreadable = |what: String| Verdict::Bogus(DNSSEC_BOGUS, what);
        let bytes = match found.message(name, kind).to_vec() {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return unreadable(error.to_string()),
        };
        let mut message = match Bare::from_octets(bytes) {
            Ok(message) => message,
            Err(error) => return unreadable(error.to_string()),
        };
        let (state, why) = match self.0.validate_msg::<Bytes, Vec<u8>>(&mut message).await {
            Ok(told) => told,
            Err(error) => return unreadable(error.to_string()),
        };
        match state {
            ValidationState::Secure => match Message::from_vec(message.as_slice()) {
                Ok(message) => {
                    *found = Found::of(message);
                    Verdict::Secure
                }
                Err(error) => unreadable(error.to_string()),
            },
            // No key is above the name: only a root of one's own can be so.
            ValidationState::Insecure | ValidationState::Indeterminate => Verdict::Insecure,
            ValidationState::Bogus => match why {
                Some(why) => {
                    let text = String::from_utf8_lossy(why.text_slice().unwrap_or_default());
                    Verdict::Bogus(why.code().to_int(), text.into_owned())
                }
                None => unreadable(String::new()),
            },
        }
    }

    /// Whether an answer says that there is nothing, without the record that says who says so (RFC 2308,
    /// section 2.2). Servers of unsigned zones do that, and the validator takes it for a forgery.
    fn is_bare(&self, found: &Found) -> bool {
        let mut authorities = found.authorities.iter();
        !authorities.any(|record| record.record_type() == RecordType::SOA)
    }

    /// Whether the zone at the end of an answer is proven to be unsigned: an unsigned record that was not there
    /// would pass.
    async fn is_insecure(&self, found: &Found, name: &Name, kind: RecordType) -> bool {
        let Some(end) = found.end_of_aliases(name, kind) else {
            return false;
        };
        if found.has(&end, kind) {
            return false;
        }
        let mut with = Found {
            code: ResponseCode::NoError,
            answers: found.answers.clone(),
            authorities: found.authorities.clone(),
        };
        let record = Record::from_rdata(end, 0, RData::A(A::new(192, 0, 2, 1)));
        with.answers.push(record);
        self.look(&mut with, name, RecordType::A).await == Verdict::Insecure
    }
}

/// The way of the validator to the source.
#[derive(Clone)]
struct Keys(Source);

impl SendRequest<RequestMessage<Vec<u8>>> for Keys {
    fn send_request(&self, request: RequestMessage<Vec<u8>>) -> Box<dyn GetResponse + Send + Sync> {
        let source = self.0.clone();
        // Answers of the source cannot be waited for from several threads, those of a task can.
        Box::new(Fetch(tokio::spawn(async move {
            fetch(&source, &request).await
        })))
    }
}

/// A question of the validator that is under way.
struct Fetch(JoinHandle<Result<Bare<Bytes>, Error>>);

impl fmt::Debug for Fetch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fetch")
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl GetResponse for Fetch {
    fn get_response(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Bare<Bytes>, Error>> + Send + Sync + '_>> {
        Box::pin(async move { (&mut self.0).await.unwrap_or(Err(Error::ConnectionClosed)) })
    }
}

async fn fetch(source: &Source, request: &RequestMessage<Vec<u8>>) -> Result<Bare<Bytes>, Error> {
    let question = Message::from_vec(&request.to_vec()?).map_err(|_| Error::FormError)?;
    let question = question.queries.first().ok_or(Error::FormError)?;
    let (name, kind) = (question.name(), question.query_type());
    let found = source.ask(name, kind).await;
    let found = found.map_err(|_| Error::NoTransportAvailable)?;
    let bytes = found
        .message(name, kind)
        .to_vec()
        .map_err(|_| Error::FormError)?;
    Bare::from_octets(Bytes::from(bytes)).map_err(|_| Error::ShortMessage)
}

/// For tests and for errors: how a verdict is called.
impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secure => formatter.write_str("secure"),
            Self::Insecure => formatter.write_str("insecure"),
            Self::Bogus(code, why) => write!(formatter, "bogus ({code}: {why})"),
        }
    }
}

impl Verdict {
    /// Whether it is [`Verdict::Bogus`].
    pub fn is_bogus(&self) -> bool {
        matches!(self, Self::Bogus(..))
    }
}
