//! What one record of an owner's means for the records that the box makes.

use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::records::{Entry, Source, Zone};

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// What is wrong.
    pub(crate) reason: &'static str,
    /// What to do.
    pub(crate) hint: &'static str,
}

const fn refusal(reason: &'static str, hint: &'static str) -> Refusal {
    Refusal { reason, hint }
}

/// What is to be done with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stands beside all others.
    Beside,
    /// This entry of the zone is the very same record.
    Same(usize),
    /// It stands in place of these entries of the zone.
    Replaces(Vec<usize>),
    /// It is not taken.
    Refused(Refusal),
}

/// Types that no owner can give, by number.
pub(crate) fn refused_type(number: u16) -> Option<Refusal> {
    match number {
        6 | 63 => Some(refusal(
            "the box writes the SOA and ZONEMD records itself",
            "Leave it out.",
        )),
        // SIG, KEY, NXT, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY.
        24 | 25 | 30 | 46 | 47 | 48 | 50 | 51 | 59 | 60 => Some(refusal(
            "the box signs the zone itself",
            "Leave it out: records of DNSSEC are made anew with the box's keys.",
        )),
        39 => Some(refusal(
            "a DNAME would hide every name below it",
            "Give each name its own record.",
        )),
        // NULL, OPT, and what RFC 6895, section 3.1 keeps for questions; ANAME is no standard.
        0 | 10 | 41 | 128..=255 | 65305 => {
            Some(refusal("a zone cannot hold this type", "Leave it out."))
        }
        _ => None,
    }
}

/// Decides on a record.
pub(crate) fn judge(zone: &Zone, record: &Record) -> Verdict {
    match place(zone, record) {
        Err(refusal) => Verdict::Refused(refusal),
        Ok(()) => against(zone, record),
    }
}

/// Whether a record can be where it is at all.
fn place(zone: &Zone, record: &Record) -> Result<(), Refusal> {
    let kind = record.record_type();
    if let Some(refusal) = refused_type(kind.into()) {
        return Err(refusal);
    }
    if !zone.origin.zone_of(&record.name) {
        return Err(refusal(
            "its name is not in this domain",
            "Add it to the domain that its name ends with.",
        ));
    }
    if record.name == zone.origin {
        return match kind {
            RecordType::NS => Err(refusal(
                "the box itself says which name servers the domain has",
                "To let others answer for a part, put the NS record at a name below the domain.",
            )),
            RecordType::DS => Err(refusal(
                "a DS record of the domain belongs to the registry",
                "Give it to the company where you bought the domain.",
            )),
            RecordType::CNAME => Err(refusal(
                "the domain itself cannot be an alias, it has other records",
                "Use A and AAAA records with the addresses.",
            )),
            _ => Ok(()),
        };
    }
    if record.name.is_wildcard() && matches!(kind, RecordType::NS | RecordType::DS) {
        return Err(refusal(
            "a part of the domain cannot be handed over under a *",
            "Name the part.",
        ));
    }
    if let Some(refusal) = certificates(zone, record) {
        return Err(refusal);
    }
    if kind == RecordType::NS
        && zone
            .entries
            .iter()
            .any(|e| record.name.zone_of(&e.record.name))
    {
        return Err(refusal(
            "the box has records at or below this name, which nobody would see any more",
            "Hand over another name.",
        ));
    }
    Ok(())
}

/// Whether a record would keep the box from getting its certificates.
fn certificates(zone: &Zone, record: &Record) -> Option<Refusal> {
    let ours = |name: &Name| {
        let has_address = |entry: &Entry| {
            entry.record.name == *name && matches!(entry.record.data, RData::A(_) | RData::AAAA(_))
        };
        zone.entries.iter().any(has_address)
    };
    match record.record_type() {
        // The authority reads the nearest CAA above a name, and no other (RFC 8659, section 3).
        RecordType::CAA if ours(&record.name) => Some(refusal(
            "it would shut out the authority from which the box gets its certificate for this name",
            "Put the CAA record at the domain itself, where it stands beside the box's.",
        )),
        RecordType::CNAME | RecordType::NS
            if record.name.iter().next() == Some(b"_acme-challenge")
                && ours(&record.name.base_name()) =>
        {
            Some(refusal(
                "the box proves at this name that it may have a certificate",
                "Leave it out.",
            ))
        }
        _ => None,
    }
}

fn against(zone: &Zone, record: &Record) -> Verdict {
    let mut replaced = Vec::new();
    for (index, entry) in zone.entries.iter().enumerate() {
        if entry.record.name != record.name {
            continue;
        }
        if entry.record.data == record.data {
            return Verdict::Same(index);
        }
        if !collide(&entry.record, record) {
            continue;
        }
        if let Some(refusal) = kept(zone, entry) {
            return Verdict::Refused(refusal);
        }
        replaced.push(index);
    }
    if replaced.is_empty() {
        Verdict::Beside
    } else {
        Verdict::Replaces(replaced)
    }
}

/// Whether two records of one name, the first the box's, cannot both be there.
fn collide(ours: &Record, theirs: &Record) -> bool {
    let address = |record: &Record| matches!(record.data, RData::A(_) | RData::AAAA(_));
    match (&ours.data, &theirs.data) {
        (_, RData::CNAME(_)) | (RData::CNAME(_), _) => true,
        // Apart from SPF, the box's texts are at names of their own, where nothing else may be.
        (RData::TXT(_), RData::TXT(_)) => is_spf(ours) == is_spf(theirs),
        // Each `issue` allows one authority more; only the ban on certificates for all names is lifted by
        // naming one that may issue them.
        (RData::CAA(ours), RData::CAA(theirs)) => {
            ours.tag == "issuewild" && theirs.tag == "issuewild"
        }
        _ if address(ours) => address(theirs),
        _ => ours.record_type() == theirs.record_type(),
    }
}

/// Whether a record is SPF (RFC 7208, section 4.5).
pub(super) fn is_spf(record: &Record) -> bool {
    let RData::TXT(text) = &record.data else {
        return false;
    };
    let text = text.txt_data.concat().to_ascii_lowercase();
    text == b"v=spf1" || text.starts_with(b"v=spf1 ")
}

/// Why an entry of the zone stays, if it does.
fn kept(zone: &Zone, entry: &Entry) -> Option<Refusal> {
    if entry.source != Source::Generated {
        return Some(refusal(
            "a program of the box has put another record there",
            "Choose another name.",
        ));
    }
    let record = &entry.record;
    let first = record.name.iter().next().unwrap_or_default();
    match &record.data {
        RData::NS(_) => Some(refusal("the box chooses its name servers", "Leave it out.")),
        RData::MX(_) if record.name == zone.origin => Some(refusal(
            "mail for the domain goes to the box, as DANE and MTA-STS promise",
            "To have mail elsewhere, put the MX record at a name below the domain.",
        )),
        RData::TLSA(_) => Some(refusal(
            "the box publishes the keys of its mail server itself",
            "Leave it out: with a wrong one, mail would no longer be delivered.",
        )),
        RData::A(_) | RData::AAAA(_) if is_needed(zone, &record.name) => Some(refusal(
            "the box would no longer be found: mail or the domain itself depends on this address",
            "Choose another name.",
        )),
        RData::TXT(_) if first == b"_mta-sts" => Some(refusal(
            "the box changes this record with its policy",
            "Leave it out.",
        )),
        RData::TXT(_)
            if record.name.iter().nth(1) == Some(b"_domainkey") || is_dkim(zone, record) =>
        {
            Some(refusal(
                "the box signs mail with the key that it publishes there",
                "Put the other key under another selector.",
            ))
        }
        _ => None,
    }
}

/// Whether a text is a DKIM key's: its name has `_domainkey` right below the domain.
fn is_dkim(zone: &Zone, record: &Record) -> bool {
    let above = usize::from(zone.origin.num_labels()) + 1;
    let labels: Vec<&[u8]> = record.name.iter().collect();
    labels.len() > above && labels[labels.len() - above] == b"_domainkey"
}

/// Whether the box's mail is lost when this name leads elsewhere.
fn is_needed(zone: &Zone, name: &Name) -> bool {
    let points = |entry: &Entry| match &entry.record.data {
        RData::NS(server) => server.0 == *name,
        RData::MX(mx) => entry.record.name == zone.origin && mx.exchange == *name,
        _ => false,
    };
    let policy = zone.origin.prepend_label("mta-sts");
    zone.entries.iter().any(points) || policy.is_ok_and(|policy| policy == *name)
}
