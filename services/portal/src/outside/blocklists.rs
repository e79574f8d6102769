//! Whether receivers' blocklists have an IPv4 address (RFC 5782).
//!
//! A list is a zone of the DNS. An address stands in it under its octets in reverse, with an `A` record
//! in 127.0.0.0/8 that says why (§2.1); if there is no such name, it is not listed. What a list
//! answers counts only if it has its own test entry 127.0.0.2 and has not 127.0.0.1 (§5): lists that have
//! been given up have answered yes, or no, to everything.
//!
//! | The list says of the address | of 127.0.0.2 | of 127.0.0.1 | ListState |
//! |---|---|---|---|
//! | nothing is there | listed | nothing is there | [`ListState::Clear`] |
//! | only codes in 127.0.0.0/8, none in 127.255.255.0/24 | listed | nothing is there | [`ListState::Listed`] |
//! | any other code, or there is no answer | | | [`ListState::Unanswered`] |
//! | | anything else | | [`ListState::Unanswered`] |
//! | | | anything else | [`ListState::Unanswered`] |

use crate::resolver::{Resolver, broken};
use domain::base::iana::Rtype;
use domain::rdata::A;
use futures_util::future::join_all;
use serde::Serialize;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::ToSchema;

/// Every list has it (RFC 5782 §5).
const ALWAYS_LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// No list has it (RFC 5782 §5).
const NEVER_LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

/// Addresses that no mail server outside ever sees (RFC 6890; RFC 6598, RFC 5771): network, bits, what they are.
/// The three networks for documentation are none of them here, though nobody has them either: tests use those.
const SPECIAL: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "no address of a machine"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (
        Ipv4Addr::new(100, 64, 0, 0),
        10,
        "an address within a provider's network",
    ),
    (
        Ipv4Addr::new(127, 0, 0, 0),
        8,
        "every machine's own address",
    ),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (
        Ipv4Addr::new(192, 0, 0, 0),
        24,
        "kept for protocols themselves",
    ),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "kept for measurements"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a group of machines"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "kept for later"),
];

/// An address that mail may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicAddress(Ipv4Addr);

impl PublicAddress {
    /// The same address, if it is public.
    ///
    /// # Errors
    /// What it is instead, e.g. `a private address`.
    pub fn new(address: Ipv4Addr) -> Result<Self, &'static str> {
        let within = |network: Ipv4Addr, bits: u32| {
            (address.to_bits() ^ network.to_bits()).leading_zeros() >= bits
        };
        match (SPECIAL.iter()).find(|(network, bits, _)| within(*network, *bits)) {
            Some((_, _, what)) => Err(what),
            None => Ok(Self(address)),
        }
    }
}

/// A list.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// As people know it.
    pub name: &'static str,
    /// Where it is asked.
    pub zone: &'static str,
    /// Codes of ranges from which no mail should come, whoever has the address.
    pub policy: &'static [Ipv4Addr],
    /// Page on which an owner can have an address taken from it.
    pub removal: &'static str,
}

/// What the lists say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Blocklists {
    /// Of this address.
    #[schema(value_type = String, format = Ipv4, example = "192.0.2.1")]
    pub address: Ipv4Addr,
    /// The most used list first.
    pub lists: Vec<ListEntry>,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ListEntry {
    /// The list, as people know it.
    #[schema(example = "Spamhaus ZEN")]
    pub name: &'static str,
    /// Where it was asked.
    #[schema(example = "zen.spamhaus.org")]
    pub zone: &'static str,
    /// Whether it has the address.
    pub state: ListState,
    /// The list's reasons, if it is listed; what they mean is up to the list.
    #[schema(value_type = Vec<String>, example = json!(["127.0.0.2"]))]
    pub codes: Vec<Ipv4Addr>,
    /// The same as a sentence for people.
    pub why: String,
    /// Page on which an address can be taken from the list.
    #[schema(example = "https://check.spamhaus.org/")]
    pub removal: &'static str,
}

/// Whether a list has an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ListState {
    /// It has not.
    Clear,
    /// It has.
    Listed,
    /// Nobody knows: the list did not answer, would not, or is given up.
    Unanswered,
}

/// What the DNS says at an address's place in a list: its codes, or why there is no answer.
type Told = Result<Vec<Ipv4Addr>, String>;

/// Asks all lists at once; in place of a resolver, why there is none.
pub async fn check(
    resolver: Result<&Resolver, &str>,
    lists: &[List],
    address: PublicAddress,
    patience: Duration,
) -> Blocklists {
    let address = address.0;
    let ask = move |list: List, about| async move {
        let resolver = resolver.map_err(str::to_owned)?;
        let place = place(about, list.zone);
        let told = timeout(patience, ask(resolver, &place)).await;
        told.unwrap_or_else(|_| Err("no answer came in time".to_owned()))
    };
    let lists = join_all(lists.iter().map(|&list| async move {
        let (told, always, never) = tokio::join!(
            ask(list, address),
            ask(list, ALWAYS_LISTED),
            ask(list, NEVER_LISTED)
        );
        decide(list, told, &always, &never)
    }));
    Blocklists {
        address,
        lists: lists.await,
    }
}

/// Where an address stands in a list (RFC 5782 §2.1).
fn place(address: Ipv4Addr, zone: &str) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.{zone}")
}

async fn ask(resolver: &Resolver, name: &str) -> Told {
    let answer = resolver.ask(name, Rtype::A).await?;
    let records = answer.answer().map_err(broken)?;
    let codes = records
        .limit_to_in::<A>()
        .map(|record| record.map(|record| record.data().addr()));
    let mut codes: Vec<Ipv4Addr> = codes.collect::<Result<_, _>>().map_err(broken)?;
    // The DNS gives them in any order.
    codes.sort_unstable();
    Ok(codes)
}

/// By the table at the top. `always` and `never` are told of the list's test entries.
fn decide(list: List, told: Told, always: &Told, never: &Told) -> ListEntry {
    let name = list.name;
    let trusted = told.and_then(|codes| {
        codes_alone(&codes)?;
        test_entries_right(always, never)?;
        Ok(codes)
    });
    let (state, codes, why) = match trusted {
        Ok(codes) if codes.is_empty() => (
            ListState::Clear,
            codes,
            format!("{name} does not have the address."),
        ),
        Ok(codes) if codes.iter().all(|code| list.policy.contains(code)) => (
            ListState::Listed,
            codes,
            format!(
                "{name} has the address as part of a range for homes and other end users, whose mail should go by \
                 way of their provider. That is no complaint about anything that was sent."
            ),
        ),
        Ok(codes) => (
            ListState::Listed,
            codes,
            format!("{name} has the address: whoever asks this list may refuse mail from it."),
        ),
        Err(why) => (
            ListState::Unanswered,
            Vec::new(),
            format!("What {name} says is not known: {why}."),
        ),
    };
    ListEntry {
        name,
        zone: list.zone,
        state,
        codes,
        why,
        removal: list.removal,
    }
}

/// Whether a list has what every list has, and has not what no list has (RFC 5782 §5).
fn test_entries_right(always: &Told, never: &Told) -> Result<(), String> {
    let unknown = |why: &String| format!("whether it works could not be found out: {why}");
    let always = always.as_ref().map_err(unknown)?;
    codes_alone(always)?;
    if always.is_empty() {
        return Err("it does not even have its own test entry".to_owned());
    }
    if !never.as_ref().map_err(unknown)?.is_empty() {
        return Err("it lists what no list may have, so it may list everything".to_owned());
    }
    Ok(())
}

/// Whether all of these are reasons for a listing, which lie in 127.0.0.0/8 (RFC 5782 §2.1). Its last
/// 256 addresses are errors of the question: Spamhaus began with that
/// (<https://www.spamhaus.org/news/article/788/>), others follow.
fn codes_alone(codes: &[Ipv4Addr]) -> Result<(), String> {
    for code in codes {
        match code.octets() {
            [127, 255, 255, _] => {
                return Err(format!(
                    "it refuses to answer the resolver of the box's network ({code}), as lists do with public \
                     resolvers and with those that ask too much"
                ));
            }
            [127, ..] => {}
            _ => {
                return Err(format!(
                    "somebody else answers in its place ({code}), or it is given up"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "blocklists_tests.rs"]
mod tests;
