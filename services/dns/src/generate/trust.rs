//! Which keys and certificates others should believe.

use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
use hickory_proto::rr::rdata::{CAA, TLSA};
use hickory_proto::rr::{Name, RData};

use super::facts::FactsError;
use super::{Draft, TTL_CHANGING, names};

/// TLSA records of the mail host: usage 3 (this very key, whoever certified it), selector 1 (the public key,
/// which survives a renewed certificate), matching 1 (SHA-256), as RFC 7671, section 5.1 advises.
pub(super) fn keys(draft: &mut Draft) -> Result<(), FactsError> {
    if !draft.reachable() || !draft.host_is_here() {
        return Ok(());
    }
    for key in &draft.facts.tls_keys {
        let names = key
            .ports
            .iter()
            .map(|port| Ok((*port, at_port(draft, *port)?)))
            .collect::<Result<Vec<(u16, Name)>, FactsError>>()?;
        let current = tlsa(&key.current)?;
        for (port, name) in &names {
            draft.add(name, TTL_CHANGING, current.clone(), why_current(*port));
        }
        let next = "The key that the box will use next, announced before it is used (DANE).";
        let previous = "The key that the box used before, until nobody shows it any more (DANE).";
        for (digest, why) in [(&key.next, next), (&key.previous, previous)] {
            let Some(data) = digest.as_deref().map(tlsa).transpose()? else {
                continue;
            };
            for (_, name) in &names {
                draft.add(name, TTL_CHANGING, data.clone(), why);
            }
        }
    }
    Ok(())
}

fn at_port(draft: &Draft, port: u16) -> Result<Name, FactsError> {
    if port == 0 {
        return Err(names::value("the port", port, "is not a TCP port"));
    }
    names::below(&format!("_{port}._tcp"), &draft.host)
}

fn tlsa(digest: &str) -> Result<RData, FactsError> {
    Ok(RData::TLSA(TLSA::new(
        CertUsage::DaneEe,
        Selector::Spki,
        Matching::Sha256,
        names::digest(digest)?,
    )))
}

fn why_current(port: u16) -> String {
    match port {
        25 => "Other mail servers deliver only to the holder of this key (DANE).".into(),
        443 => "Programs can check the key of the box's web server (DANE).".into(),
        _ => format!("Mail programs can check the key on port {port} (DANE)."),
    }
}

/// CAA records: only the box's own account gets certificates, only by way of the zone itself.
pub(super) fn authorities(draft: &mut Draft) -> Result<(), FactsError> {
    let Some(acme) = &draft.facts.acme else {
        return Ok(());
    };
    let issuer = names::host("the certificate authority", &acme.issuer)?;
    let issuer = issuer.to_ascii();
    let issuer = issuer.trim_end_matches('.');
    let (issue, why) = match &acme.account {
        Some(account) => (
            format!(
                "{issuer}; validationmethods=dns-01; accounturi={}",
                names::parameter(account)?
            ),
            "Only the box's own account at this authority gets certificates for the domain (CAA).",
        ),
        None => (
            format!("{issuer}; validationmethods=dns-01"),
            "Only this authority issues certificates for the domain (CAA).",
        ),
    };
    let domain = draft.domain.clone();
    draft.add(&domain, TTL_CHANGING, caa("issue", &issue), why);
    let why = "Nobody issues certificates for all names at once (CAA).";
    draft.add(&domain, TTL_CHANGING, caa("issuewild", ";"), why);
    if let Some(contact) = &acme.contact {
        let value = format!("mailto:{}", names::address(contact)?);
        let why = "Authorities report refused requests for certificates here (CAA).";
        draft.add(&domain, TTL_CHANGING, caa("iodef", &value), why);
    }
    Ok(())
}

fn caa(tag: &str, value: &str) -> RData {
    // The library's constructors take a `Url` for `iodef` and quote no parameter; here every value has been
    // checked letter by letter already.
    let mut caa = CAA::new_issue(false, None::<Name>, Vec::new());
    caa.tag = tag.into();
    caa.value = value.as_bytes().to_vec();
    RData::CAA(caa)
}
