//! What was chosen and the names that it is for ([`Setup`]), checked, and the certificates that follow.

use crate::http;
use roost_service::certificates::{Choice, MAIL, PORTAL, Zones};
use roost_service::names::Domain;
use std::collections::BTreeSet;

/// Most domains; each has a certificate.
pub const MAX_DOMAINS: usize = 50;
/// Longest `roots_pem`, in bytes: eight certificates or more. It is part of the status, for which
/// [`roost_service::certificates::MAX_LINE`] is all there is.
pub const MAX_ROOTS: usize = 16 << 10;
/// The names of a domain whose pages the portal serves.
const PAGES: [&str; 3] = ["mta-sts", "autoconfig", "autodiscover"];

/// All that certificates are ordered by. The portal tells one half, dns the other; there is none before
/// both have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// How: nothing that [`check_choice`] would tell.
    pub choice: Choice,
    /// For which names: nothing that [`check_zones`] would tell.
    pub zones: Zones,
}

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

impl Setup {
    /// Which certificates the box should have.
    pub fn wanted(&self) -> Vec<Wanted> {
        let Zones {
            mail_host, domains, ..
        } = &self.zones;
        let one = |id: &str, name: &str, readers| {
            let names = vec![place(name, domains)?];
            let id = id.into();
            Some(Wanted { id, names, readers })
        };
        let portal = own_portal(&self.choice, &self.zones);
        let hosts = [
            // Mail's pages (`/jmap`, `/dav`) are reached through the portal's port, by the mail host's name.
            one(MAIL, mail_host, &["mail", "portal"]),
            portal.and_then(|portal| one(PORTAL, portal, &["portal"])),
        ];
        let pages = |zone: &&String| Wanted {
            id: (*zone).clone(),
            names: PAGES
                .map(|page| Named {
                    name: format!("{page}.{zone}"),
                    zone: (*zone).clone(),
                })
                .into(),
            readers: &["portal"],
        };
        let zones: BTreeSet<&String> = domains.iter().collect();
        (hosts.into_iter().flatten())
            .chain(zones.iter().map(pages))
            .collect()
    }

    /// The portal's own name, if it is in none of the domains and so gets no certificate: the domain
    /// that it was in when it was chosen may be gone.
    pub fn stray(&self) -> Option<&str> {
        own_portal(&self.choice, &self.zones)
            .filter(|portal| place(portal, &self.zones.domains).is_none())
    }
}

/// The portal's name, if it is another than the mail host's.
fn own_portal<'a>(choice: &'a Choice, zones: &Zones) -> Option<&'a str> {
    (choice.portal.as_deref()).filter(|portal| *portal != zones.mail_host)
}

/// The name with the longest zone that it is in.
fn place(name: &str, zones: &[String]) -> Option<Named> {
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
}

/// Whether certificates can be got for these names.
///
/// # Errors
/// Says all that cannot be used, one sentence each.
pub fn check_zones(zones: &Zones) -> Result<(), String> {
    let Zones {
        mail_host, domains, ..
    } = zones;
    let mut faults = Vec::new();
    let count = domains.len();
    if count == 0 || count > MAX_DOMAINS {
        faults.push(format!(
            "domains: there are 1 to {MAX_DOMAINS}, not {count}."
        ));
    }
    let domains = domains.iter().take(MAX_DOMAINS);
    faults.extend(domains.filter_map(|domain| name_fault("domains", domain)));
    faults.extend(host_fault("mail_host", mail_host, zones));
    all(&faults)
}

/// Whether certificates can be got this way; for these names, once they are known.
///
/// # Errors
/// As [`check_zones`].
pub fn check_choice(choice: &Choice, zones: Option<&Zones>) -> Result<(), String> {
    let mut faults = Vec::new();
    if let Some(portal) = &choice.portal {
        faults.extend(match zones {
            Some(zones) => host_fault("portal", portal, zones),
            None => name_fault("portal", portal),
        });
    }
    let url = choice.directory.url();
    let plain = |text: &str| text.len() < 512 && text.bytes().all(|b| b.is_ascii_graphic());
    // RFC 8555, section 6.1: HTTPS is a MUST.
    if !url.starts_with("https://") || url.len() == 8 || !plain(url) {
        faults.push(format!("directory: {url:?} is no https address."));
    }
    if let Some(contact) = &choice.contact
        && (!plain(contact) || contact.split('@').filter(|p| !p.is_empty()).count() != 2)
    {
        faults.push(format!("contact: {contact:?} is no mail address."));
    }
    if let Some(profile) = &choice.profile
        && (profile.is_empty() || !plain(profile))
    {
        faults.push(format!("profile: {profile:?} is no profile's name."));
    }
    if let Some(roots) = &choice.roots_pem {
        match roots.len() {
            0..=MAX_ROOTS => faults.extend(http::trusted(Some(roots)).err()),
            length => faults.push(format!(
                "roots_pem: {length} bytes are too many; at most {MAX_ROOTS} are taken."
            )),
        }
    }
    all(&faults)
}

fn name_fault(what: &str, name: &str) -> Option<String> {
    let fault = Domain::normalised(name).err()?;
    Some(format!("{what}: {name:?}: {}.", fault.message))
}

fn host_fault(what: &str, name: &str, zones: &Zones) -> Option<String> {
    name_fault(what, name).or_else(|| {
        (place(name, &zones.domains).is_none())
            .then(|| format!("{what}: {name} is in none of the domains."))
    })
}

fn all(faults: &[String]) -> Result<(), String> {
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn zones(json: &str) -> Zones {
        serde_json::from_str(json).unwrap()
    }

    fn choice(json: &str) -> Choice {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn each_certificate_has_its_names_and_readers() {
        let mut setup = Setup {
            choice: choice(r#"{"portal": "box.b.a.org", "terms_agreed": true}"#),
            zones: zones(r#"{"mail_host": "mx.a.org", "domains": ["b.a.org", "a.org", "a.org"]}"#),
        };
        let told = |setup: &Setup| {
            let lines = setup.wanted().into_iter().map(|w| {
                let names: Vec<_> = (w.names.iter())
                    .map(|n| format!("{} in {}", n.name, n.zone))
                    .collect();
                format!(
                    "{}: {} for {}",
                    w.id,
                    names.join(", "),
                    w.readers.join(" and ")
                )
            });
            lines.collect::<Vec<_>>()
        };
        insta::assert_snapshot!(told(&setup).join("\n"), @"
        mail: mx.a.org in a.org for mail and portal
        portal: box.b.a.org in b.a.org for portal
        a.org: mta-sts.a.org in a.org, autoconfig.a.org in a.org, autodiscover.a.org in a.org for portal
        b.a.org: mta-sts.b.a.org in b.a.org, autoconfig.b.a.org in b.a.org, autodiscover.b.a.org in b.a.org for portal
        ");
        assert_eq!(setup.stray(), None);
        let before = told(&setup);
        // The domain of the portal's name is gone: the others go on.
        setup.choice.portal = Some("box.c.org".into());
        assert_eq!(setup.stray(), Some("box.c.org"));
        assert_eq!(told(&setup), [&before[..1], &before[2..]].concat());
        // The mail host's certificate is the portal's as well.
        setup.choice.portal = Some("mx.a.org".into());
        assert_eq!(setup.stray(), None);
        assert_eq!(told(&setup), [&before[..1], &before[2..]].concat());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let zones = zones(r#"{"mail_host": "mail.other.org", "domains": ["-x"]}"#);
        let mut choice = choice(
            r#"{"portal": "..", "contact": "me", "directory": {"url": "http://ca.org"},
                "profile": "", "roots_pem": "none", "terms_agreed": true}"#,
        );
        let mut told = vec![
            check_zones(&zones).unwrap_err(),
            check_choice(&choice, None).unwrap_err(),
        ];
        choice = Choice {
            portal: Some("box.other.org".into()),
            roots_pem: Some("x".repeat(MAX_ROOTS + 1)),
            ..Choice::default()
        };
        told.push(check_choice(&choice, Some(&zones)).unwrap_err());
        insta::assert_snapshot!(told.join("\n").replace(". ", ".\n"), @r#"
        domains: "-x": "-x" begins or ends with a hyphen.
        mail_host: mail.other.org is in none of the domains.
        portal: "..": ".." has two dots in a row or one at its start.
        directory: "http://ca.org" is no https address.
        contact: "me" is no mail address.
        profile: "" is no profile's name.
        roots_pem: there is no certificate in it.
        portal: box.other.org is in none of the domains.
        roots_pem: 16385 bytes are too many; at most 16384 are taken.
        "#);
        choice.roots_pem = None;
        // Which domains there are is not known yet.
        assert_eq!(check_choice(&choice, None), Ok(()));
    }

    proptest! {
        /// Whatever is accepted: ids are file names, names are in their zones.
        #[test]
        fn accepted_names_are_safe(host in "[a-z./]{1,12}", domain in "[a-z./]{1,12}") {
            let zones = Zones {
                mail_host: format!("{host}.{domain}"),
                domains: vec![domain],
                secondaries: vec![],
            };
            if check_zones(&zones).is_ok() {
                let choice = Choice::default();
                let all = Setup { choice, zones }.wanted();
                prop_assert_eq!(all.len(), 2);
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
