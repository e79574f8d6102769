//! Finds the parent zone and asks its name servers.

use super::read::{absolute, begins_zone};
use super::{Asked, Asking, Heard, Said, Second, ds_records, plain, referral};
use crate::ask::{Failure, Question, Server, many, one};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use roost_service::resolver;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Name servers of the parent that shall answer.
const WANTED: usize = 3;
/// Name servers of the parent that are tried for that.
const TRIED: usize = 6;
/// How long one of them may take, over TCP and then over UDP.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the parent of `zone`, which is in lower case and absolute. Whatever fails is part of the result. If half
/// of `patience` is over, no further name servers are tried in place of those that do not answer.
pub async fn ask(asking: &Asking, zone: &Name, patience: Duration) -> Heard {
    let until = Instant::now() + patience / 2;
    let asked = timeout(patience, hear(asking, zone, until)).await;
    asked.unwrap_or_else(|_| Heard {
        fault: Some("no answer came in time".into()),
        ..Heard::default()
    })
}

async fn hear(asking: &Asking, zone: &Name, until: Instant) -> Heard {
    let resolvers = asking.resolvers();
    if resolvers.is_empty() {
        return Heard {
            fault: Some("the box has got no resolver from its network yet".into()),
            ..Heard::default()
        };
    }
    let resolver = Resolver {
        port: asking.port,
        addresses: resolvers,
    };
    let parent = match resolver.parent(zone).await {
        Ok(parent) => parent,
        Err(why) => {
            return Heard {
                fault: Some(why),
                ..Heard::default()
            };
        }
    };
    let (second, first) = tokio::join!(
        resolver.second(zone),
        first_hand(&resolver, &parent, zone, until)
    );
    let mut heard = Heard {
        parent: Some(parent),
        own_resolver: resolver.is_own(),
        second,
        ..Heard::default()
    };
    match first {
        Ok((servers, asked)) => (heard.servers, heard.asked) = (servers, asked),
        Err(why) => heard.fault = Some(why),
    }
    heard
}

/// The parent's name servers: how many there are, and what those say that were asked.
async fn first_hand(
    resolver: &Resolver,
    parent: &Name,
    zone: &Name,
    until: Instant,
) -> Result<(usize, Vec<Asked>), String> {
    let answer = resolver.ask(parent, RecordType::NS).await?;
    let mut names: Vec<Name> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::NS(ns) if record.name == *parent => Some(absolute(&ns.0)),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    let servers = names.len();
    // Others shall be asked each time.
    let chance = RandomState::new();
    names.sort_by_key(|name| chance.hash_one(name));
    let mut rest = names.into_iter().take(TRIED);
    let mut asked: Vec<Asked> = Vec::new();
    loop {
        let there = asked.iter().filter(|asked| asked.said.is_ok()).count();
        let more: Vec<Name> = rest.by_ref().take(WANTED.saturating_sub(there)).collect();
        if more.is_empty() || Instant::now() >= until {
            return Ok((servers, asked));
        }
        let mut tasks = JoinSet::new();
        for name in more {
            let (resolver, zone) = (resolver.clone(), zone.clone());
            tasks.spawn(async move { one_of_them(&resolver, name, &zone).await });
        }
        while let Some(done) = tasks.join_next().await {
            asked.extend(done.ok().flatten());
        }
        asked.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

/// Asks one at its first address of each family; the first that answers counts. `None`: it has none.
async fn one_of_them(resolver: &Resolver, name: Name, zone: &Name) -> Option<Asked> {
    let (v4, v6) = tokio::join!(
        resolver.ask(&name, RecordType::A),
        resolver.ask(&name, RecordType::AAAA)
    );
    let first = |answer: Message| {
        let mut all = answer.answers.iter();
        all.find_map(|record| match &record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
            _ => None,
        })
    };
    let mut tasks = JoinSet::new();
    for address in [v4, v6].into_iter().flatten().filter_map(first) {
        let (name, zone, port) = (name.clone(), zone.clone(), resolver.port);
        tasks.spawn(async move {
            let said = at(SocketAddr::new(address, port), &zone).await;
            Asked {
                name,
                address,
                said,
            }
        });
    }
    let mut last = None;
    while let Some(done) = tasks.join_next().await {
        last = done.ok().or(last);
        if last.as_ref().is_some_and(|asked| asked.said.is_ok()) {
            break;
        }
    }
    last
}

async fn at(address: SocketAddr, zone: &Name) -> Result<Said, String> {
    let questions = [RecordType::NS, RecordType::DS].map(|kind| Question::of(zone, kind));
    let server = Server::from(address);
    // Over TCP a forger has to see what he answers.
    let answers = match many(server, &questions, PATIENCE).await {
        Ok(answers) => answers,
        Err(_) => {
            let both =
                async { tokio::try_join!(one(server, &questions[0]), one(server, &questions[1])) };
            let both = timeout(PATIENCE, both)
                .await
                .unwrap_or(Err(Failure::Silent));
            let (ns, ds) = both.map_err(|error| error.to_string())?;
            vec![Some(ns), Some(ds)]
        }
    };
    let [Some(ns), Some(ds)] = &answers[..] else {
        return Err(Failure::Silent.to_string());
    };
    if !ds.metadata.authoritative {
        return Err(Failure::Lame.to_string());
    }
    let (ds, ttl) = ds_records(ds, zone)?;
    Ok(Said {
        ds,
        ttl,
        ..referral(ns, zone)?
    })
}

/// The box's resolver.
#[derive(Debug, Clone)]
struct Resolver {
    port: u16,
    addresses: Vec<IpAddr>,
}

impl Resolver {
    /// Asks one after the other until one answers.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Message, String> {
        let question = Question {
            recursion: true,
            ..Question::of(name, kind)
        };
        let mut last = String::new();
        for address in &self.addresses {
            let server = Server::from(SocketAddr::new(*address, self.port));
            match one(server, &question).await {
                Ok(answer) => match answer.metadata.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => {
                        return Ok(answer);
                    }
                    code => last = Failure::Code(code).to_string(),
                },
                Err(error) => last = error.to_string(),
            }
        }
        Err(format!(
            "the resolver was asked for {kind} of {}: {last}",
            plain(name)
        ))
    }

    /// Whether it is the box's own and nobody else's.
    fn is_own(&self) -> bool {
        self.addresses == [IpAddr::V4(resolver::ADDRESS)]
    }

    /// The closest zone above this one.
    async fn parent(&self, zone: &Name) -> Result<Name, String> {
        let mut above = zone.clone();
        while !above.is_root() {
            above = above.base_name();
            let answer = self.ask(&above, RecordType::SOA).await?;
            if begins_zone(&answer, &above) {
                return Ok(above);
            }
        }
        Err("the resolver knows of no zone above".into())
    }

    /// What it says itself of the zone.
    async fn second(&self, zone: &Name) -> Option<Second> {
        let (ds, ns) = tokio::join!(
            self.ask(zone, RecordType::DS),
            self.ask(zone, RecordType::NS)
        );
        let answer = ds.ok()?;
        let (ds, ttl) = ds_records(&answer, zone).ok()?;
        let known = ns.ok().and_then(|ns| referral(&ns, zone).ok());
        Some(Second {
            proven: answer.metadata.authentic_data,
            said: Said {
                ds,
                ttl,
                glue: Default::default(),
                ..known.unwrap_or_default()
            },
        })
    }
}
