//! What the registrar is to be given, and the wait until it has passed that on.
//!
//! Only the owner can hand over the domain, and only after that will AWS let the address lead back to the
//! mail server's name. So this stands between the two phases of a relay.

use super::home::Home;
use super::{Made, Project, finish};
use crate::device::stop::Stop;
use crate::device::words::{plain, span};
use crate::dns::{self, ToDelegate};
use crate::error::Failure;
use crate::ui::Ui;
use serde::Serialize;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Between two looks whether the name leads to the relay. Resolvers keep a "no such name" for minutes
/// anyway (RFC 2308), and nobody waits at the screen for seconds.
const EVERY: Duration = Duration::from_secs(10);
/// A box that has just learnt of its addresses signs its zones anew within this.
const SIGNED: Duration = Duration::from_secs(120);
/// Between two questions about that.
const AGAIN: Duration = Duration::from_secs(2);

/// Everything that a registrar asks for.
#[derive(Debug, Clone, Serialize)]
pub struct Delegation {
    /// The domain that is handed over; `None` if `roost.toml` and box name none.
    pub domain: Option<String>,
    /// The mail server's name, which is to lead to the relay.
    pub mail_host: String,
    /// The relay's address.
    pub address: Ipv4Addr,
    /// The same, IPv6.
    pub address6: Ipv6Addr,
    /// Whether Terraform gives the name servers to the registrar, which is Route 53.
    pub by_itself: bool,
    /// Its name servers, each address of each.
    pub name_servers: Vec<NameServer>,
    /// DS records, as in a zone file; empty if the box was not asked, or has not signed the zone yet.
    pub ds: Vec<String>,
}

/// An address of a name server, called glue or host record by registrars.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameServer {
    /// Its whole name.
    pub name: String,
    /// One of its addresses.
    pub value: String,
}

/// How a wait has ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The name leads to the relay.
    Leads,
    /// Not within the time; why, for people.
    TimeUp(String),
    /// By Ctrl-C.
    Stopped,
}

impl Delegation {
    /// Asks the box, if it can be asked; else what Terraform says has to do. `None` if nothing says what
    /// the mail server is called.
    ///
    /// # Errors
    ///
    /// A [`Failure`] at Ctrl-C.
    pub fn of(
        project: &Project,
        made: &Made,
        home: Option<&mut Home<'_>>,
        stop: &Stop,
        ui: &Ui,
    ) -> Result<Option<Self>, Failure> {
        let known = project.mail_host();
        let told = match home {
            Some(home) => ask(home, known.as_deref(), stop, ui)?,
            None => None,
        };
        let host = known.or_else(|| told.as_ref().and_then(|told| told.mail_host.clone()));
        let Some(mail_host) = host else {
            return Ok(None);
        };
        let (domain, name_servers, ds) = match told {
            Some(told) => {
                let servers = told.name_servers.into_iter();
                let servers = servers.map(|record| NameServer {
                    name: record.name,
                    value: record.value,
                });
                (Some(told.domain), servers.collect(), told.ds)
            }
            None => {
                let domain = project.config.mailbox.as_ref();
                let domain = domain.map(|mailbox| mailbox.domain.to_string());
                (domain.clone(), of_terraform(made, domain), Vec::new())
            }
        };
        Ok(Some(Self {
            domain,
            mail_host,
            address: made.public_ipv4,
            address6: made.public_ipv6,
            by_itself: project.config.relay.registered_domain,
            name_servers,
            ds,
        }))
    }

    /// Tells scripts, which may act on it while the command waits; `box_text`: what the box is to be given
    /// by hand.
    pub fn tell(&self, box_text: Option<&str>, ui: &Ui) {
        let mut event = serde_json::to_value(self).expect("names and addresses are plain data");
        event["event"] = "delegate".into();
        if let Some(text) = box_text {
            event["box_text"] = text.into();
        }
        ui.event_line(&event);
    }

    /// What is to be entered at the registrar, in one block to copy from.
    pub fn text(&self) -> String {
        let host = plain(&self.mail_host);
        let Some(domain) = self.domain.as_deref().map(plain) else {
            return format!(
                "Let {host} lead to {} (A record) and {} (AAAA record), where its domain is looked after.\n",
                self.address, self.address6
            );
        };
        let mut text = match self.by_itself {
            true => format!("AWS gives the name servers of {domain} to its registry by itself.\n"),
            false => {
                let mut text = format!("Enter this at the registrar of {domain}:\n\n");
                for (n, server) in self.name_servers.iter().enumerate() {
                    let label = if n == 0 { "name servers" } else { "" };
                    let (name, value) = (plain(&server.name), plain(&server.value));
                    writeln!(text, "  {label:<12}  {name}  {value}").expect("writing to a string");
                }
                for (n, record) in self.ds.iter().enumerate() {
                    let label = if n == 0 { "DS records" } else { "" };
                    writeln!(text, "  {label:<12}  {}", plain(record))
                        .expect("writing to a string");
                }
                text += "\nRegistrars call the addresses glue, or host records.";
                text
            }
        };
        text += match (self.by_itself, self.ds.is_empty()) {
            (true, true) => "",
            (true, false) => "Its key goes there by `roost relay finish --dnssec-key`.",
            (false, true) => {
                " The DS records come later: `roost dns ds` shows them once the box has signed the zone."
            }
            (false, false) => {
                " If others use the domain already, enter the DS records\n\
                 only once the name servers are in force (`roost dns check` tells): who checks signatures would find none before."
            }
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// Waits until the mail server's name leads to the relay, by the resolver of this computer.
    pub fn wait(&self, limit: Duration, stop: &Stop, ui: &Ui) -> Ended {
        let step = ui.step("wait for the registrar");
        let began = Instant::now();
        loop {
            let why = match finish::leads_to(&self.mail_host, self.address) {
                Ok(()) => {
                    step.done(format!(
                        "{} leads to {}",
                        plain(&self.mail_host),
                        self.address
                    ));
                    return Ended::Leads;
                }
                Err(failure) => failure.in_a_line(),
            };
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ended::TimeUp(why);
            }
            step.message(format!("{why}; {} left", span(left.as_secs_f64())));
            if !stop.wait(EVERY.min(left)) {
                return Ended::Stopped;
            }
        }
    }
}

/// What the box says, once it has signed its zone; what it has by then if it does not.
fn ask(
    home: &mut Home<'_>,
    host: Option<&str>,
    stop: &Stop,
    ui: &Ui,
) -> Result<Option<ToDelegate>, Failure> {
    let step = ui.step("ask the box for its zone");
    let began = Instant::now();
    loop {
        // A busy box may ask to be asked again.
        let told = dns::to_delegate(home.device(), host);
        if let Ok(told) = &told
            && !told.ds.is_empty()
            && !told.name_servers.is_empty()
        {
            step.done(plain(&told.domain));
            return Ok(Some(told.clone()));
        }
        if began.elapsed() > SIGNED {
            drop(step);
            return match told {
                Ok(told) => {
                    ui.warn("the box has not signed its zone yet: `roost dns show` says why");
                    Ok(Some(told))
                }
                Err(failure) => {
                    ui.warn(failure.in_a_line());
                    Ok(None)
                }
            };
        }
        if !stop.wait(AGAIN) {
            return Err(stopped(None));
        }
    }
}

/// The name servers without the box: their names stand before the domain.
fn of_terraform(made: &Made, domain: Option<String>) -> Vec<NameServer> {
    let Some(domain) = domain else {
        return Vec::new();
    };
    let servers = made.name_servers.iter();
    servers
        .flat_map(|(name, addresses)| {
            let name = format!("{name}.{domain}");
            addresses.iter().map(move |value| NameServer {
                name: name.clone(),
                value: value.clone(),
            })
        })
        .collect()
}

/// Ctrl-C while the registrar is waited for.
pub fn stopped(host: Option<&str>) -> Failure {
    let wait = match host {
        Some(host) => format!(
            "stopped; {} was not seen to lead to the relay yet",
            plain(host)
        ),
        None => "stopped; the domain was not handed over yet".to_owned(),
    };
    Failure::interrupted(wait)
        .because("the relay is made, and box and relay stay connected")
        .hint("`roost relay apply` goes on from here at any time; `roost relay finish`, once the name leads to the relay")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Mode;

    fn delegation() -> Delegation {
        let server = |name: &str, value: &str| NameServer {
            name: name.into(),
            value: value.into(),
        };
        Delegation {
            domain: Some("example.org".into()),
            mail_host: "mail.example.org".into(),
            address: Ipv4Addr::new(203, 0, 113, 7),
            address6: "2001:db8::10".parse().unwrap(),
            by_itself: false,
            name_servers: vec![
                server("ns1.example.org", "203.0.113.7"),
                server("ns1.example.org", "2001:db8::10"),
                server("ns2.example.org", "2001:db8::11\u{1b}"),
            ],
            ds: vec!["example.org. IN DS 4711 13 2 AB".into()],
        }
    }

    #[test]
    fn the_registrars_form_can_be_filled_in_from_one_block() {
        let all = delegation();
        let unsigned = Delegation {
            ds: Vec::new(),
            ..all.clone()
        };
        let at_aws = Delegation {
            by_itself: true,
            ..all.clone()
        };
        let elsewhere = Delegation {
            domain: None,
            ..all.clone()
        };
        let texts = [all, unsigned, at_aws, elsewhere].map(|one| one.text());
        insta::assert_snapshot!(texts.join("-----\n"));
    }

    #[test]
    fn the_wait_ends_by_the_name_by_time_and_by_ctrl_c() {
        let ui = Ui::new(Mode::Quiet);
        let stop = Stop::default();
        let mut here = delegation();
        here.mail_host = "127.0.0.1".into();
        here.address = Ipv4Addr::LOCALHOST;
        assert_eq!(here.wait(Duration::ZERO, &stop, &ui), Ended::Leads);
        here.address = Ipv4Addr::new(203, 0, 113, 7);
        let began = Instant::now();
        let Ended::TimeUp(why) = here.wait(Duration::from_millis(50), &stop, &ui) else {
            panic!("it leads nowhere");
        };
        assert!(why.contains("it leads to 127.0.0.1"), "{why}");
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
