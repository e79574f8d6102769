//! How programs find the box's services by themselves.

use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData};

use super::facts::{FactsError, Offer, Service};
use super::{Draft, TTL, names};

/// Every service: its label and what it is for.
const SERVICES: [(Service, &str, &str); 12] = [
    (Service::Submissions, "_submissions", "sending mail"),
    (
        Service::Submission,
        "_submission",
        "sending mail with STARTTLS",
    ),
    (Service::Imaps, "_imaps", "reading mail"),
    (Service::Imap, "_imap", "reading mail with STARTTLS"),
    (Service::Pop3s, "_pop3s", "fetching mail with POP3"),
    (
        Service::Pop3,
        "_pop3",
        "fetching mail with POP3 and STARTTLS",
    ),
    (Service::Jmap, "_jmap", "mail with JMAP"),
    (Service::Caldavs, "_caldavs", "calendars"),
    (Service::Caldav, "_caldav", "calendars without encryption"),
    (Service::Carddavs, "_carddavs", "address books"),
    (
        Service::Carddav,
        "_carddav",
        "address books without encryption",
    ),
    (Service::Sieve, "_sieve", "mail filters"),
];

/// SRV records of what is offered, and of what is not: a target of `.` tells a program to stop searching
/// (RFC 2782; RFC 6186, section 3.4; RFC 6764, section 3).
pub(super) fn services(draft: &mut Draft) -> Result<(), FactsError> {
    if !draft.reachable() {
        return Ok(());
    }
    for (service, label, purpose) in SERVICES {
        let name = draft.below(&format!("{label}._tcp"))?;
        let facts = draft.facts;
        let offers: Vec<&Offer> = facts
            .offers
            .iter()
            .filter(|o| o.service == service)
            .collect();
        for offer in &offers {
            let data = srv(draft, offer.port)?;
            draft.add(&name, TTL, data, format!("Programs find {purpose} here."));
        }
        if offers.is_empty() {
            let data = RData::SRV(SRV::new(0, 0, 0, Name::root()));
            let why = format!("The box does not offer {purpose}, so programs need not try.");
            draft.add(&name, TTL, data, why);
        }
    }
    if draft.facts.autoconfig {
        let name = draft.below("_autodiscover._tcp")?;
        let data = srv(draft, 443)?;
        draft.add(
            &name,
            TTL,
            data,
            "Outlook asks for the settings of a mail account here.",
        );
    }
    Ok(())
}

fn srv(draft: &Draft, port: u16) -> Result<RData, FactsError> {
    if port == 0 {
        return Err(names::value("the port", port, "is not a TCP port"));
    }
    Ok(RData::SRV(SRV::new(0, 1, port, draft.host.clone())))
}
