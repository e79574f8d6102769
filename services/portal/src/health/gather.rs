//! Asks everybody: services over their sockets, the DNS, ports, the kernel. What does not answer in time is an
//! error in its place, and holds up nothing else.
//!
//! First what is near ([`near`]), because it says which names, addresses and ports there are to ask for; then
//! all of those at once ([`far`]).

mod card;
mod clock;
mod names;
mod ports;
mod relay;

use super::facts::{
    Access, Answer, Facts, Listing, Port25, Queue, RelaySays, Shown, Told, key, reverse,
};
use crate::actions::outside::{check_lists, try_port25};
use crate::actions::{backups, certificates, dns, logs, mail, relay as way, updates};
use crate::app::App;
use crate::outside::blocklists::{ListState, PublicAddress};
use crate::outside::port25::PortState;
use crate::resolver;
use crate::setup::RelayText;
use crate::sockets;
use crate::store::StoreError;
use domain::base::iana::Rtype;
use futures_util::future::join_all;
use roost_service::dns::{Check, Record};
use roost_service::mail::ports as doors;
use roost_service::tunnel::State;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

pub use ports::Doors;

/// Longest that what is near may take: sockets of the box.
const NEAR: Duration = Duration::from_secs(8);
/// Longest that what is far may take. Both together leave the caller of the API, who waits for 30 s, some.
const FAR: Duration = Duration::from_secs(16);
/// Lines of a log that are looked at; init keeps no more in memory.
const LINES: usize = 5000;
/// Domains whose name servers are all asked; the box has some, seldom many.
const MOST_DOMAINS: usize = 20;
/// Who was too slow.
const LATE: &str = "no answer came in time";
/// Ports that mail programs and browsers use from outside.
const PUBLIC: [u16; 5] = [
    doors::SMTP,
    doors::SUBMISSIONS,
    doors::SUBMISSION,
    doors::IMAPS,
    doors::HTTPS,
];
/// Ports of the box itself that are looked at.
const OWN: [u16; 5] = PUBLIC;

/// Where it stands on a Pi, in thousandths of a degree.
const TEMPERATURE: &str = "/sys/class/thermal/thermal_zone0/temp";

/// Waits for somebody, for so long.
async fn within<T, E: Display>(
    time: Duration,
    asked: impl Future<Output = Result<T, E>>,
) -> Told<T> {
    match timeout(time, asked).await {
        Ok(answer) => answer.map_err(|why| why.to_string()),
        Err(_) => Err(LATE.to_owned()),
    }
}

/// Finds everything out; takes as long as the slowest.
pub async fn gather(app: &Arc<App>) -> Facts {
    let mut facts = near(app).await;
    far(app, &mut facts).await;
    facts
}

/// What the box itself knows.
async fn near(app: &Arc<App>) -> Facts {
    let updates = async {
        match updates::status(app).await {
            Ok(report) => report.update.map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        }
    };
    let resolver = async {
        let call = roost_service::resolver::Call::Status;
        match sockets::ask("the box's resolver", &app.places.resolver, &call).await {
            Ok(roost_service::resolver::Answer::Status(status)) => Ok(status),
            Ok(roost_service::resolver::Answer::Refused { why }) => Err(why),
            Err(why) => Err(why.to_string()),
        }
    };
    let queue = async {
        match mail::queue(app, None).await {
            Ok(waiting) => Ok(Queue {
                oldest: waiting.messages,
            }),
            Err(mail::No::Answer(why)) => Err(why.to_string()),
            Err(mail::No::Refused { because, .. }) => Err(because),
        }
    };
    let log = |service| logs::last(app, service, LINES, Some(0));
    let (machine, kernel_log, init_log, updates, resolver) = tokio::join!(
        within(NEAR, app.init.status()),
        within(NEAR, log("kernel")),
        within(NEAR, log("init")),
        within(NEAR, updates),
        within(NEAR, resolver),
    );
    let (backups, tunnel, outside, dns, certificates, overview, queue, policies, access) = tokio::join!(
        within(NEAR, backups::status(app)),
        within(NEAR, way::status(app)),
        outside(app),
        within(NEAR, dns::status(app)),
        within(NEAR, certificates::status(app)),
        within(NEAR, mail::overview(app)),
        within(NEAR, queue),
        within(NEAR, policies(app)),
        within(NEAR, access(app)),
    );
    let (outside, relay4) = outside;
    Facts {
        now: app.now().wall,
        name: app.settings.name.clone(),
        announced: app.host.borrow().clone(),
        spam_filter: app.settings.mail.spam_filter,
        machine,
        kernel_log,
        init_log,
        degrees: degrees(),
        life: card::life(),
        clock_offset: Err(LATE.to_owned()),
        resolver,
        tunnel,
        outside,
        relay: relay4.map(|_| Err(LATE.to_owned())),
        dns,
        alarms: app.signatures.alarms(),
        records: BTreeMap::new(),
        checks: BTreeMap::new(),
        names: BTreeMap::new(),
        certificates,
        own_ports: BTreeMap::new(),
        public_ports: BTreeMap::new(),
        port25: Err(LATE.to_owned()),
        lists: None,
        mail: overview,
        queue,
        policies: policies.unwrap_or_default(),
        backups,
        updates,
        access,
    }
}

/// Where the internet reaches the box, and the relay's address within the tunnel, by the relay's text.
async fn outside(app: &Arc<App>) -> (Vec<IpAddr>, Option<Ipv4Addr>) {
    let settings = app.view(|store, _| store.settings()).await;
    let text = settings.ok().and_then(|settings| settings.relay);
    let Some(text) = text.and_then(|text| RelayText::parse(&text).ok()) else {
        return (Vec::new(), None);
    };
    let tunnel = text.tunnel();
    let outside = tunnel.outside.as_ref();
    let addresses = outside.map(|outside| outside.addresses.clone());
    (addresses.unwrap_or_default(), tunnel.relay.address4)
}

async fn policies(app: &App) -> Result<BTreeMap<String, String>, sockets::NoAnswer> {
    use roost_service::dns::{Answer, Call};
    match sockets::ask("the name server", &app.places.dns, &Call::Policies).await? {
        Answer::Policies { policies } => {
            let all = policies.into_iter();
            Ok(all
                .map(|of| (of.domain.to_ascii_lowercase(), of.text))
                .collect())
        }
        _ => Ok(BTreeMap::new()),
    }
}

async fn access(app: &Arc<App>) -> Result<Access, StoreError> {
    let day = Duration::from_secs(86_400);
    app.view(move |store, now| {
        let owner = store.owner()?;
        let alarming = store.audit(200)?.into_iter().filter(|entry| {
            entry.what.is_alarming() && now.powered_on.since(entry.at.powered_on) < day
        });
        Ok(Access {
            app: owner.as_ref().is_some_and(|owner| owner.second().is_some()),
            owner: owner.is_some(),
            passkeys: store.passkeys()?.len(),
            alarming: alarming.count(),
        })
    })
    .await
}

/// Degrees Celsius, where the machine tells.
fn degrees() -> Option<f64> {
    let text = std::fs::read_to_string(TEMPERATURE).ok()?;
    let thousandths: f64 = text.trim().parse().ok()?;
    Some(thousandths / 1000.0)
}

/// What has to be asked for over the network.
async fn far(app: &Arc<App>, facts: &mut Facts) {
    let domains: Vec<String> = (facts.domains().into_iter().take(MOST_DOMAINS))
        .map(str::to_owned)
        .collect();
    let asked: &Facts = facts;
    let (zones, names, clock, relay, own, public, (port25, lists)) = tokio::join!(
        zones(app, &domains),
        names(app, asked, &domains),
        within(FAR, clock::offset(app)),
        relay(asked, app),
        own_ports(app, asked),
        public_ports(asked),
        others(app, asked),
    );
    facts.records = zones
        .iter()
        .map(|(of, records, _)| (of.clone(), records.clone()))
        .collect();
    facts.checks = zones
        .into_iter()
        .map(|(of, _, check)| (of, check))
        .collect();
    facts.names = names;
    facts.clock_offset = clock;
    facts.relay = relay;
    facts.own_ports = own;
    facts.public_ports = public;
    facts.port25 = port25;
    facts.lists = lists;
    // Keys that sign mail have names that only their zone knows.
    let keys: Vec<(String, Rtype)> = (facts.records.iter())
        .filter_map(|(domain, records)| Some((domain, records.as_ref().ok()?)))
        .flat_map(|(domain, records)| {
            let own = records.iter();
            own.filter(|record| super::checks::records::is_dkim(&record.name, &record.kind, domain))
        })
        .map(|record| (record.name.clone(), Rtype::TXT))
        .collect();
    facts.names.extend(look_up(app, keys, NEAR).await);
}

/// Records, and what each name server answers, of each domain.
async fn zones(
    app: &Arc<App>,
    domains: &[String],
) -> Vec<(String, Told<Vec<Record>>, Told<Check>)> {
    join_all(domains.iter().map(|domain| async move {
        let (records, check) = tokio::join!(
            within(NEAR, dns::records(app, domain.clone())),
            within(FAR, dns::check(app, domain.clone())),
        );
        (domain.clone(), records, check)
    }))
    .await
}

/// What the world is told of the domains and the mail server.
async fn names(app: &App, facts: &Facts, domains: &[String]) -> BTreeMap<String, Told<Answer>> {
    let mut questions = vec![(String::new(), Rtype::SOA)];
    for domain in domains {
        questions.extend([
            (domain.clone(), Rtype::SOA),
            (domain.clone(), Rtype::MX),
            (domain.clone(), Rtype::TXT),
            (domain.clone(), Rtype::A),
            (format!("_dmarc.{domain}"), Rtype::TXT),
            (format!("_mta-sts.{domain}"), Rtype::TXT),
        ]);
    }
    if let Some(host) = facts.host() {
        questions.push((host.to_owned(), Rtype::A));
        questions.push((format!("_25._tcp.{host}"), Rtype::TLSA));
    }
    if let Some(address) = facts.address4() {
        questions.push((reverse(address), Rtype::PTR));
    }
    look_up(app, questions, FAR).await
}

async fn look_up(
    app: &App,
    questions: Vec<(String, Rtype)>,
    time: Duration,
) -> BTreeMap<String, Told<Answer>> {
    let server = resolver::address(&app.places.resolv_conf, app.places.dns_port);
    let asked = questions.into_iter().map(|(name, kind)| async move {
        let told = match server {
            Some(server) => within(time, names::ask(server, &name, kind)).await,
            None => Err("the box has no resolver".to_owned()),
        };
        (key(&name, &kind.to_string()), told)
    });
    join_all(asked).await.into_iter().collect()
}

/// What the relay says of itself, asked from the box's end of the tunnel.
async fn relay(facts: &Facts, app: &Arc<App>) -> Option<Told<RelaySays>> {
    let (_, relay4) = outside(app).await;
    let relay4 = relay4?;
    let tunnel = facts.tunnel.as_ref().ok()?;
    if tunnel.state != State::Up {
        return Some(Err("the tunnel is down".to_owned()));
    }
    let from = tunnel.addresses.iter().find(|address| address.is_ipv4());
    let Some(from) = from.copied() else {
        return Some(Err("the tunnel has no IPv4 address".to_owned()));
    };
    Some(within(FAR, relay::ask(from, relay4)).await)
}

/// What the box's own ports show.
async fn own_ports(app: &App, facts: &Facts) -> BTreeMap<u16, Told<Shown>> {
    let Some(host) = facts.host() else {
        return BTreeMap::new();
    };
    let asked = OWN.into_iter().map(|port| async move {
        let at = (app.places.doors)(port);
        (port, within(NEAR, ports::look_at(at, port, host)).await)
    });
    join_all(asked).await.into_iter().collect()
}

/// What ports show at the public address.
async fn public_ports(facts: &Facts) -> BTreeMap<u16, Told<Shown>> {
    let is_up = (facts.tunnel.as_ref()).is_ok_and(|tunnel| tunnel.state == State::Up);
    let (Some(host), Some(address), true) = (facts.host(), facts.address4(), is_up) else {
        return BTreeMap::new();
    };
    let asked = PUBLIC.into_iter().map(|port| async move {
        let at = (IpAddr::V4(address), port).into();
        (port, within(FAR, ports::look_at(at, port, host)).await)
    });
    join_all(asked).await.into_iter().collect()
}

/// Whether mail gets out, and who has its address on a list.
async fn others(app: &Arc<App>, facts: &Facts) -> (Told<Port25>, Option<Vec<Listing>>) {
    let port25 = async {
        // From home, another way than mail's would be tried.
        match facts.has_relay() {
            Some(true) => {}
            Some(false) => return Err("no relay is set up".to_owned()),
            None => return Err("whether there is a relay is not known".to_owned()),
        }
        let tried = timeout(FAR, try_port25(app))
            .await
            .map_err(|_| LATE.to_owned())?;
        Ok(Port25 {
            open: match tried.state {
                PortState::Open => Some(true),
                PortState::Closed => Some(false),
                PortState::Unknown => None,
            },
            why: tried.why,
        })
    };
    let lists = async {
        let address = PublicAddress::new(facts.address4()?).ok()?;
        let told = timeout(FAR, check_lists(app, address)).await.ok()?;
        let all = told.lists.into_iter().map(|list| Listing {
            name: list.name.to_owned(),
            listed: match list.state {
                ListState::Clear => Some(false),
                ListState::Listed => Some(true),
                ListState::Unanswered => None,
            },
            why: list.why,
            removal: list.removal.to_owned(),
        });
        Some(all.collect())
    };
    tokio::join!(port25, lists)
}
