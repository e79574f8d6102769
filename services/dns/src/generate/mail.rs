//! Where mail goes, and what proves where it comes from.

use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::MX;
use ring::digest;

use super::facts::{Facts, FactsError, Mode, MtaSts, Stage};
use super::{Draft, TTL, TTL_CHANGING, names, text};

/// Longest that senders keep an MTA-STS policy, in seconds: a year (RFC 8461, section 3.2).
const MAX_AGE: u32 = 31_557_600;

/// MX and SPF.
pub(super) fn delivery(draft: &mut Draft) -> Result<(), FactsError> {
    if !draft.reachable() {
        return Ok(());
    }
    let (domain, host) = (draft.domain.clone(), draft.host.clone());
    let mx = RData::MX(MX::new(10, host.clone()));
    draft.add(&domain, TTL, mx, "Mail for this domain goes to the box.");
    let spf = text("v=spf1 mx -all");
    let why = "Only the server that takes this domain's mail also sends it (SPF).";
    draft.add(&domain, TTL, spf, why);
    if draft.host_is_here() && host != domain {
        // Mail without a sender (bounces) is judged by the name the server gives in HELO (RFC 7208, 2.4).
        let why = "Only the mail server itself sends under its own name (SPF for HELO).";
        draft.add(&host, TTL, text("v=spf1 a -all"), why);
    }
    Ok(())
}

/// DKIM and DMARC.
pub(super) fn proof(draft: &mut Draft) -> Result<(), FactsError> {
    for key in &draft.facts.dkim {
        let name = format!("{}._domainkey", names::selector(&key.selector)?);
        let why = "The key that proves that mail of this domain is genuine (DKIM).";
        let name = draft.below(&name)?;
        draft.add(&name, TTL, text(names::dkim(&key.text)?), why);
    }
    if let Some(dmarc) = &draft.facts.dmarc {
        let (policy, why) = match dmarc.stage {
            Stage::None => (
                "none",
                "Receivers report forged mail and deliver it (DMARC).",
            ),
            Stage::Quarantine => (
                "quarantine",
                "Receivers put forged mail into the junk folder (DMARC).",
            ),
            Stage::Reject => ("reject", "Receivers refuse forged mail (DMARC)."),
        };
        let reports = match &dmarc.reports {
            Some(address) => format!("; rua=mailto:{}", names::address(address)?),
            None => String::new(),
        };
        let name = draft.below("_dmarc")?;
        draft.add(
            &name,
            TTL,
            text(&format!("v=DMARC1; p={policy}{reports}")),
            why,
        );
    }
    for other in &draft.facts.reports_of {
        let other = names::host("the reporting domain", other)?;
        if other == draft.domain {
            continue;
        }
        let other = other.to_ascii();
        let name = draft.below(&format!("{other}_report._dmarc"))?;
        let why = "Reports on another domain's mail may be sent to this one (DMARC).";
        draft.add(&name, TTL, text("v=DMARC1"), why);
    }
    Ok(())
}

/// Where reports on names below the domain can go: an address in another domain would need that one's consent
/// for every such name (RFC 7489, section 7.1).
pub(super) fn reports_inside<'a>(draft: &Draft<'a>) -> Result<Option<&'a str>, FactsError> {
    let Some(address) = draft
        .facts
        .dmarc
        .as_ref()
        .and_then(|dmarc| dmarc.reports.as_deref())
    else {
        return Ok(None);
    };
    let address = names::address(address)?;
    let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
    let domain = names::host("the mail domain", domain)?;
    Ok(draft.domain.zone_of(&domain).then_some(address))
}

/// MTA-STS and TLS-RPT.
pub(super) fn transport(draft: &mut Draft) -> Result<(), FactsError> {
    if !draft.reachable() {
        return Ok(());
    }
    if has_mta_sts(draft)?
        && let Some(policy) = mta_sts_policy(draft.facts)
    {
        let name = draft.below("_mta-sts")?;
        let value = format!("v=STSv1; id={}", id(&policy));
        let why = "Mail servers fetch the policy on encrypted delivery when this number changes (MTA-STS).";
        draft.add(&name, TTL_CHANGING, text(&value), why);
    }
    if let Some(address) = &draft.facts.tls_reports {
        let name = draft.below("_smtp._tls")?;
        let value = format!("v=TLSRPTv1; rua=mailto:{}", names::address(address)?);
        let why = "Other mail servers send reports on failed encryption here (TLS-RPT).";
        draft.add(&name, TTL, text(&value), why);
    }
    Ok(())
}

/// Whether the policy can be promised.
pub(super) fn has_mta_sts(draft: &Draft) -> Result<bool, FactsError> {
    let Some(MtaSts { max_age, .. }) = draft.facts.mta_sts else {
        return Ok(false);
    };
    if max_age == 0 || max_age > MAX_AGE {
        return Err(names::value(
            "the MTA-STS age",
            max_age,
            "is not between 1 second and a year",
        ));
    }
    Ok(draft.reachable() && is_certified(draft.facts)?)
}

/// Whether senders find a good certificate both where they would fetch an MTA-STS policy and where they
/// deliver.
///
/// # Errors
/// If a name in the facts is none.
pub fn is_certified(facts: &Facts) -> Result<bool, FactsError> {
    let domain = names::host("the domain", &facts.domain)?;
    let policy_host = names::below("mta-sts", &domain)?;
    let host = names::host("the mail host", &facts.mail_host)?;
    let mut certified = Vec::new();
    for name in &facts.certified {
        certified.push(names::host("the certified name", name)?);
    }
    Ok(certified.contains(&policy_host) && certified.contains(&host))
}

/// The policy to serve at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt` (RFC 8461, section 3.2), if the
/// facts have one.
pub fn mta_sts_policy(facts: &Facts) -> Option<String> {
    let policy = facts.mta_sts?;
    let mode = match policy.mode {
        Mode::Testing => "testing",
        Mode::Enforce => "enforce",
    };
    let host = facts.mail_host.to_ascii_lowercase();
    let age = policy.max_age;
    Some(format!(
        "version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: {age}\r\n"
    ))
}

/// Identifier of a policy: half of its SHA-256 in hex digits, which is the 32 letters that RFC 8461, section
/// 3.1 allows. It changes with the policy and only then, without a counter that could be lost.
fn id(policy: &str) -> String {
    let hash = digest::digest(&digest::SHA256, policy.as_bytes());
    hash.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
