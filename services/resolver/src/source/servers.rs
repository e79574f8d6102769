//! What stands between hickory's recursion and one name server: less patience than it has, and a look at each
//! answer before it believes it.
//!
//! hickory waits five seconds for a server, which is all the time that it has for all of them, and takes the
//! first answer for the last word: a server that is down, or that knows nothing of its zone, would keep it from
//! those that answer. Here both are failures of that server alone, after which hickory asks the next.

use crate::found::{alias, is, is_alias_part, is_denial};
use futures_util::stream;
use hickory_proto::op::{DnsRequest, DnsResponse, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_resolver::{ConnectionProvider, PoolContext};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;

/// How long one server may take: the far end of the earth by TCP, and a second try by UDP.
const PATIENCE: Duration = Duration::from_millis(1300);

type Later<T> = Pin<Box<dyn Future<Output = Result<T, NetError>> + Send>>;

/// Connections to name servers.
#[derive(Clone, Default)]
pub struct Servers(TokioRuntimeProvider);

impl ConnectionProvider for Servers {
    type Conn = Server;
    type FutureConn = Later<Server>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let connecting = self.0.new_connection(ip, config, context)?;
        Ok(Box::pin(async move {
            let connected = timeout(PATIENCE, connecting).await;
            Ok(Server(connected.map_err(|_| NetError::Timeout)??))
        }))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        &self.0
    }
}

/// A connection to a name server.
#[derive(Clone)]
pub struct Server(DnsExchange<TokioRuntimeProvider>);

impl DnsHandle for Server {
    type Response = Pin<Box<dyn stream::Stream<Item = Result<DnsResponse, NetError>> + Send>>;
    type Runtime = TokioRuntimeProvider;

    fn send(&self, request: DnsRequest) -> Self::Response {
        let query = request.queries.first().cloned();
        let answer = self.0.send(request).first_answer();
        Box::pin(stream::once(async move {
            let response = timeout(PATIENCE, answer).await;
            let response = response.map_err(|_| NetError::Timeout)??;
            let (Some(query), false) = (query, response.truncation) else {
                return Ok(response);
            };
            let message = judge(&query, response.into_message()).map_err(|why| {
                // Of this kind, so that hickory asks the next server and remembers that this one failed.
                NetError::from(io::Error::other(why))
            })?;
            DnsResponse::from_message(message).map_err(NetError::from)
        }))
    }
}

/// What a server's answer is worth.
///
/// # Errors
/// Why it is of no use: another server has to be asked.
fn judge(query: &Query, mut message: Message) -> Result<Message, String> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(format!("a server answers {code}"));
    }
    if query.query_type() != RecordType::CNAME {
        cut_at_alias(query.name(), &mut message);
    }
    let nothing = message.answers.is_empty() && !message.metadata.authoritative;
    if nothing && !refers(query, &message) {
        return Err("a server does not know the zone that it is said to serve".into());
    }
    if message.answers.is_empty() && message.metadata.authoritative {
        // With names of servers in it hickory takes it for a referral.
        message
            .authorities
            .retain(|record| is_denial(record) || is(record) == RecordType::SOA);
    }
    Ok(message)
}

/// If `name` is an alias, leaves that and its proof, and nothing of what the server says about the target: that
/// is asked for by itself, where it belongs. hickory forgets an alias whose target does not exist.
fn cut_at_alias(name: &Name, message: &mut Message) {
    if !message
        .answers
        .iter()
        .any(|record| alias(record, name).is_some())
    {
        return;
    }
    message.metadata.response_code = ResponseCode::NoError;
    message.answers.retain(|record| is_alias_part(record, name));
    message.authorities.retain(is_denial);
}

/// Whether a message names the servers of the very zone that was asked for. hickory goes from label to label and
/// asks for them at each, so whoever names others, or names them when asked for something else, is no server
/// of the zone: it has never heard of it, or serves the one above.
fn refers(query: &Query, message: &Message) -> bool {
    query.query_type() == RecordType::NS
        && message
            .authorities
            .iter()
            .any(|record| record.record_type() == RecordType::NS && record.name == *query.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, NS};
    use hickory_proto::rr::{RData, Record};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, data: RData) -> Record {
        Record::from_rdata(name(owner), 300, data)
    }

    fn ns(owner: &str) -> Record {
        record(owner, RData::NS(NS(name("ns.example.org."))))
    }

    fn answer(
        asked: &str,
        kind: RecordType,
        change: impl FnOnce(&mut Message),
    ) -> Result<Message, String> {
        let mut message = Message::query().into_response();
        change(&mut message);
        judge(&Query::query(name(asked), kind), message)
    }

    #[test]
    fn servers_that_know_nothing_are_found_out() {
        let kind = RecordType::A;
        let refused = answer("a.example.org.", kind, |m| {
            m.metadata.response_code = ResponseCode::Refused
        });
        assert!(refused.is_err());
        for owner in [".", "org.", "example.org."] {
            assert!(answer("a.example.org.", kind, |m| m.authorities.push(ns(owner))).is_err());
        }
        let asked = ("example.org.", RecordType::NS);
        assert!(answer(asked.0, asked.1, |m| m.authorities.push(ns("example.org."))).is_ok());
        assert!(answer(asked.0, asked.1, |m| m.authorities.push(ns("org."))).is_err());
        assert!(answer("a.example.org.", kind, |m| m.metadata.authoritative = true).is_ok());
    }

    #[test]
    fn an_alias_is_all_that_is_believed_of_its_owner() {
        let found = answer("a.example.org.", RecordType::A, |m| {
            m.metadata.response_code = ResponseCode::NXDomain;
            m.answers = vec![
                record(
                    "a.example.org.",
                    RData::CNAME(CNAME(name("b.example.net."))),
                ),
                record("b.example.net.", RData::A(A::new(192, 0, 2, 1))),
            ];
            m.authorities.push(ns("example.net."));
        });
        let found = found.unwrap();
        assert_eq!(found.metadata.response_code, ResponseCode::NoError);
        assert_eq!((found.answers.len(), found.authorities.len()), (1, 0));
    }
}
