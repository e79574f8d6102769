//! Name servers, addresses, and names that have no mail.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, MX, NS};
use hickory_proto::rr::{Name, RData};

use super::facts::{FactsError, NameServer};
use super::{Draft, TTL, mail, names, text};

/// NS records, and the addresses of those servers whose name is in the zone (glue).
pub(super) fn name_servers(draft: &mut Draft) -> Result<(), FactsError> {
    let servers = draft
        .facts
        .name_servers
        .iter()
        .map(|server| Ok((names::host("the name server", &server.name)?, server)))
        .collect::<Result<Vec<(Name, &NameServer)>, FactsError>>()?;
    // A server without an address is an error to every checker, and of no use.
    let usable = |(name, server): &&(Name, &NameServer)| {
        !(draft.domain.zone_of(name) && server.ipv4.is_empty() && server.ipv6.is_empty())
    };
    let usable: Vec<(Name, &NameServer)> = servers.iter().filter(usable).cloned().collect();
    let domain = draft.domain.clone();
    for (name, _) in &usable {
        let data = RData::NS(NS(name.clone()));
        draft.add(
            &domain,
            TTL,
            data,
            "This name server answers for the domain.",
        );
    }
    for (name, server) in &usable {
        if domain.zone_of(name) {
            let why = "The address of a name server, which the registry has to know too.";
            add_addresses(draft, name, &server.ipv4, &server.ipv6, why);
        }
    }
    Ok(())
}

/// Addresses of the names that lead to the box.
pub(super) fn addresses(draft: &mut Draft) -> Result<(), FactsError> {
    if !draft.reachable() {
        return Ok(());
    }
    let mut hosts: Vec<(Name, &str)> = Vec::new();
    if draft.host_is_here() {
        hosts.push((draft.host.clone(), "Where the mail server is."));
    }
    if let Some(portal) = &draft.facts.portal {
        let portal = names::host("the portal", portal)?;
        if draft.domain.zone_of(&portal) {
            hosts.push((portal, "Where the box's own pages are."));
        }
    }
    for name in &draft.facts.web {
        let host = names::host("the web name", name)?;
        if !draft.domain.zone_of(&host) {
            return Err(FactsError::Outside {
                what: "the web name",
                name: name.clone(),
                domain: draft.facts.domain.clone(),
            });
        }
        hosts.push((host, "Leads to the box's web server."));
    }
    if draft.facts.autoconfig {
        let why = "Where Thunderbird and others ask for the settings of a mail account.";
        hosts.push((draft.below("autoconfig")?, why));
        let why = "Where Outlook asks for the settings of a mail account.";
        hosts.push((draft.below("autodiscover")?, why));
    }
    if mail::has_mta_sts(draft)? {
        let why = "Where mail servers fetch the policy on encrypted delivery (MTA-STS).";
        hosts.push((draft.below("mta-sts")?, why));
    }
    for (name, why) in hosts {
        let facts = draft.facts;
        add_addresses(draft, &name, &facts.ipv4, &facts.ipv6, why);
    }
    Ok(())
}

fn add_addresses(draft: &mut Draft, name: &Name, v4: &[Ipv4Addr], v6: &[Ipv6Addr], why: &str) {
    for address in v4 {
        draft.add(name, TTL, RData::A(A(*address)), why);
    }
    for address in v6 {
        draft.add(name, TTL, RData::AAAA(AAAA(*address)), why);
    }
}

/// Says of every name with an address, save the domain and its mail server, that no mail comes from it or
/// goes to it: a name that says nothing can be forged, and mail to it is tried for days.
pub(super) fn without_mail(draft: &mut Draft) -> Result<(), FactsError> {
    let mut silent: Vec<Name> = Vec::new();
    for entry in &draft.entries {
        let name = &entry.record.name;
        let has_address = matches!(entry.record.data, RData::A(_) | RData::AAAA(_));
        if has_address && *name != draft.domain && *name != draft.host && !silent.contains(name) {
            silent.push(name.clone());
        }
    }
    for name in &silent {
        let null = RData::MX(MX::new(0, Name::root()));
        draft.add(
            name,
            TTL,
            null,
            "This name takes no mail (null MX, RFC 7505).",
        );
    }
    for name in &silent {
        let why = "No server sends mail from this name (SPF).";
        draft.add(name, TTL, text("v=spf1 -all"), why);
    }
    let policy = match mail::reports_inside(draft)? {
        Some(address) => format!("v=DMARC1; p=reject; rua=mailto:{address}"),
        None => "v=DMARC1; p=reject".into(),
    };
    for name in &silent {
        let why = "Mail that claims to come from this name is forged (DMARC).";
        let dmarc = names::below("_dmarc", name)?;
        draft.add(&dmarc, TTL, text(&policy), why);
    }
    Ok(())
}
