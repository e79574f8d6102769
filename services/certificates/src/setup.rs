//! What was chosen ([`Setup`]), checked, and the certificates that follow from it.

use roost_service::certificates::{MAIL, PORTAL, Setup};
use roost_service::names::Domain;
use std::collections::BTreeSet;

/// Most domains; each has a certificate.
const MAX_DOMAINS: usize = 50;
/// The names of a domain whose pages the portal serves.
const PAGES: [&str; 3] = ["mta-sts", "autoconfig", "autodiscover"];

/// A certificate that the box should have.
///
/// The mail host has one of its own: its key is what TLSA records pin, so it changes by a calm
/// timetable of its own, and a domain whose delegation broke cannot keep it from being renewed. A
/// domain's three pages share one: they are in one zone, so what stops one stops all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name among the box's certificates, and its file's.
    pub id: String,
    /// Names that it is for, in lower case; at least one.
    pub names: Vec<Named>,
    /// Services that may have it with its key.
    pub readers: &'static [&'static str],
}

/// A name, and the zone that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Full name without a dot at the end.
    pub name: String,
    /// The zone's.
    pub zone: String,
}

impl Wanted {
    /// Its names alone.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(|n| n.name.clone()).collect()
    }
}

/// Which certificates the box should have.
///
/// # Errors
/// Says all that cannot be used, one sentence each.
pub fn wanted(setup: &Setup) -> Result<Vec<Wanted>, String> {
    let mut faults = Vec::new();
    let zones = zones(setup, &mut faults);
    let mut named = |what: &str, name: &str| match place(what, name, &zones) {
        Ok(named) => vec![named],
        Err(fault) => {
            faults.push(fault);
            vec![]
        }
    };
    let mut all = vec![Wanted {
        id: MAIL.into(),
        names: named("mail_host", &setup.mail_host),
        // Mail's pages (`/jmap`, `/dav`) are reached through the portal's port, by the mail host's name.
        readers: &["mail", "portal"],
    }];
    let portal = setup.portal.as_ref().filter(|p| **p != setup.mail_host);
    if let Some(portal) = portal {
        all.push(Wanted {
            id: PORTAL.into(),
            names: named("portal", portal),
            readers: &["portal"],
        });
    }
    all.extend(zones.iter().map(|zone| {
        Wanted {
            id: zone.clone(),
            names: PAGES
                .map(|page| Named {
                    name: format!("{page}.{zone}"),
                    zone: zone.clone(),
                })
                .into(),
            readers: &["portal"],
        }
    }));
    check_rest(setup, &mut faults);
    match faults.is_empty() {
        true => Ok(all),
        false => Err(faults.join(" ")),
    }
}

fn zones(setup: &Setup, faults: &mut Vec<String>) -> BTreeSet<String> {
    let count = setup.domains.len();
    if count == 0 || count > MAX_DOMAINS {
        faults.push(format!(
            "domains: there are 1 to {MAX_DOMAINS}, not {count}."
        ));
    }
    let mut zones = BTreeSet::new();
    for domain in setup.domains.iter().take(MAX_DOMAINS) {
        match Domain::normalised(domain) {
            Ok(_) => {
                zones.insert(domain.clone());
            }
            Err(reason) => faults.push(format!("domains: {domain:?}: {}.", reason.message)),
        }
    }
    zones
}

/// The longest zone that the name is in.
fn place(what: &str, name: &str, zones: &BTreeSet<String>) -> Result<Named, String> {
    Domain::normalised(name).map_err(|r| format!("{what}: {name:?}: {}.", r.message))?;
    zones
        .iter()
        .filter(|zone| {
            name.strip_suffix(zone.as_str())
                .is_some_and(|left| left.is_empty() || left.ends_with('.'))
        })
        .max_by_key(|zone| zone.len())
        .map(|zone| Named {
            name: name.into(),
            zone: zone.clone(),
        })
        .ok_or_else(|| format!("{what}: {name} is in none of the domains."))
}

fn check_rest(setup: &Setup, faults: &mut Vec<String>) {
    let url = setup.directory.url();
    let plain = |text: &str| text.len() < 512 && text.bytes().all(|b| b.is_ascii_graphic());
    // RFC 8555, section 6.1: HTTPS is a MUST.
    if !url.starts_with("https://") || url.len() == 8 || !plain(url) {
        faults.push(format!("directory: {url:?} is no https address."));
    }
    if let Some(contact) = &setup.contact
        && (!plain(contact) || contact.split('@').filter(|p| !p.is_empty()).count() != 2)
    {
        faults.push(format!("contact: {contact:?} is no mail address."));
    }
    if let Some(profile) = &setup.profile
        && (profile.is_empty() || !plain(profile))
    {
        faults.push(format!("profile: {profile:?} is no profile's name."));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn setup(json: &str) -> Setup {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_certificate_has_its_names_and_readers() {
        let setup = setup(
            r#"{"mail_host": "mx.a.org", "domains": ["a.org", "b.a.org"],
                "portal": "box.b.a.org", "terms_agreed": true}"#,
        );
        let lines: Vec<_> = (wanted(&setup).unwrap().iter())
            .map(|w| {
                let names: Vec<_> = (w.names.iter())
                    .map(|n| format!("{} in {}", n.name, n.zone))
                    .collect();
                format!(
                    "{}: {} for {}",
                    w.id,
                    names.join(", "),
                    w.readers.join(" and ")
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @"
        mail: mx.a.org in a.org for mail and portal
        portal: box.b.a.org in b.a.org for portal
        a.org: mta-sts.a.org in a.org, autoconfig.a.org in a.org, autodiscover.a.org in a.org for portal
        b.a.org: mta-sts.b.a.org in b.a.org, autoconfig.b.a.org in b.a.org, autodiscover.b.a.org in b.a.org for portal
        ");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let setup = setup(
            r#"{"mail_host": "mail.other.org", "domains": ["-x"], "portal": "..", "contact": "me",
                "directory": {"url": "http://ca.org"}, "profile": "", "terms_agreed": true}"#,
        );
        insta::assert_snapshot!(wanted(&setup).unwrap_err().replace(". ", ".\n"), @r#"
        domains: "-x": "-x" begins or ends with a hyphen.
        mail_host: mail.other.org is in none of the domains.
        portal: "..": ".." has two dots in a row or one at its start.
        directory: "http://ca.org" is no https address.
        contact: "me" is no mail address.
        profile: "" is no profile's name.
        "#);
    }

    proptest! {
        /// Whatever is accepted: ids are file names, names are in their zones.
        #[test]
        fn accepted_names_are_safe(host in "[a-z./]{1,12}", domain in "[a-z./]{1,12}") {
            let setup = Setup {
                mail_host: format!("{host}.{domain}"),
                domains: vec![domain],
                portal: None,
                directory: Default::default(),
                terms_agreed: true,
                contact: None,
                profile: None,
                roots: None,
                secondaries: vec![],
            };
            if let Ok(all) = wanted(&setup) {
                for one in all {
                    prop_assert!(!one.id.contains('/') && !one.id.starts_with('.'));
                    for n in one.names {
                        prop_assert!(n.name.ends_with(&n.zone));
                        prop_assert!(!n.name.contains(".."));
                    }
                }
            }
        }
    }
}
