//! `roost relay status`: both ends, and whether mail gets through them.

use super::home::{Blocklists, Home, Port25, Status};
use super::{Made, Project, Terraform, on_ctrl_c};
use crate::cli::RelayLookArgs;
use crate::device::words::{plain, span};
use crate::error::Failure;
use crate::ui::Ui;
use serde::Serialize;
use std::fmt::Write as _;
use std::time::Duration;

/// All that could be found out.
#[derive(Debug, Serialize)]
struct Found {
    relay: Option<Made>,
    tunnel: Option<Status>,
    port25: Option<Port25>,
    blocklists: Option<Blocklists>,
    /// What is left to do at registrars: domain and advice.
    registrar: Vec<(String, String)>,
    /// Why the box said nothing.
    box_silent: Option<String>,
}

/// `roost relay status`.
pub fn run(args: &RelayLookArgs, ui: &Ui) -> Result<(), Failure> {
    let stop = on_ctrl_c()?;
    let project = Project::open(&args.project.config)?;
    let relay: Option<Made> = match project.choices()? {
        Some(_) => Terraform::new(&project.folder, None, stop.clone(), ui)?.output("relay")?,
        None => None,
    };
    let mut found = Found {
        relay,
        tunnel: None,
        port25: None,
        blocklists: None,
        registrar: Vec::new(),
        box_silent: None,
    };
    match Home::of(&args.which, stop, ui).and_then(|mut home| {
        let tunnel = home.tunnel()?;
        Ok((home, tunnel))
    }) {
        Ok((mut home, tunnel)) => {
            if tunnel.state == "up" {
                found.port25 = Some(home.port25().unwrap_or_else(|failure| Port25 {
                    state: "unknown".to_owned(),
                    why: failure.in_a_line(),
                }));
            }
            if let Some(relay) = &found.relay {
                match home.blocklists(relay.public_ipv4) {
                    Ok(lists) => found.blocklists = Some(lists),
                    Err(failure) => ui.warn(failure.in_a_line()),
                }
            }
            match home.registrar() {
                Ok(advice) => found.registrar = advice,
                Err(failure) => ui.warn(failure.in_a_line()),
            }
            found.tunnel = Some(tunnel);
        }
        // Without either there is nothing to show.
        Err(failure) if found.relay.is_none() => return Err(failure),
        Err(failure) => {
            found.box_silent = Some(failure.in_a_line());
        }
    }
    ui.result(render(&found, project.mail_host().as_deref()), &found);
    Ok(())
}

fn render(found: &Found, mail_host: Option<&str>) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<10}  {value}").expect("writing to a string");
    };
    match &found.relay {
        None => line("relay", "none was made here with `roost relay apply`"),
        Some(relay) => {
            let (v4, v6) = (relay.public_ipv4, relay.public_ipv6);
            line("relay", &format!("{v4} and {v6}"));
            line(
                "machine",
                &format!("{} in {}", relay.instance_id, relay.region),
            );
            line(
                "reverse",
                &match (&relay.reverse_name, mail_host) {
                    (Some(name), _) => format!("{v4} leads back to {}", name.trim_end_matches('.')),
                    (None, Some(host)) => {
                        format!("not set: `roost relay finish`, when {host} leads to {v4}")
                    }
                    (None, None) => "not set: `roost relay finish`".to_owned(),
                },
            );
        }
    }
    match (&found.tunnel, &found.box_silent) {
        (Some(tunnel), _) => line("tunnel", &tunnel_line(tunnel)),
        (None, Some(why)) => line("tunnel", &format!("not known: {}", plain(why))),
        (None, None) => {}
    }
    if let Some(port25) = &found.port25 {
        line(
            "mail out",
            &match port25.state.as_str() {
                "open" => "gets through".to_owned(),
                "closed" => "is blocked: `roost relay port25`".to_owned(),
                _ => format!("not known: {}", plain(&port25.why)),
            },
        );
    }
    if let Some(lists) = &found.blocklists {
        let listed: Vec<String> = lists.listed().map(|list| plain(&list.name)).collect();
        line(
            "blocklists",
            &match (listed.as_slice(), lists.answered()) {
                (_, 0) => "none has answered".to_owned(),
                ([], answered) => format!("on none of {answered}"),
                (names, _) => format!("on {}", names.join(", ")),
            },
        );
        for list in lists.listed() {
            if let Some(removal) = &list.removal {
                line("", &format!("{}: {}", plain(&list.name), plain(removal)));
            }
        }
    }
    for (i, (domain, advice)) in found.registrar.iter().enumerate() {
        let name = if i == 0 { "registrar" } else { "" };
        line(name, &format!("{domain}: {advice}"));
    }
    if let Some(shell) = found.relay.as_ref().and_then(|relay| relay.shell.as_ref()) {
        line("shell", &plain(shell));
    }
    text
}

fn tunnel_line(tunnel: &Status) -> String {
    let since = span(Duration::from_secs(tunnel.since_s).as_secs_f64());
    match (tunnel.state.as_str(), tunnel.rtt_ms) {
        ("up", Some(ms)) => format!("up for {since}, {ms:.0} ms to the relay"),
        ("up", None) => format!("up for {since}"),
        ("replaced", _) => format!(
            "stood down for {since}: {} (`roost relay takeover` has this card serve again)",
            plain(&tunnel.summary)
        ),
        ("unconfigured", _) => "the box knows of no relay: `roost relay apply`".to_owned(),
        _ => format!("down for {since}: {}", plain(&tunnel.summary)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::MadeTunnel;
    use crate::relay::home::Blocklist;

    fn found() -> Found {
        let relay = Made {
            public_ipv4: "203.0.113.7".parse().unwrap(),
            public_ipv6: "2001:db8::10".parse().unwrap(),
            region: "eu-central-1".into(),
            allocation_id: "eipalloc-0123456789abcdef0".into(),
            endpoint: "203.0.113.7:51820".into(),
            tunnel: MadeTunnel {
                relay_ipv4: "10.77.0.1".parse().unwrap(),
                box_ipv4: "10.77.0.2".parse().unwrap(),
                box_ipv6: "fd77:77::2".parse().unwrap(),
                mtu: 1380,
                relay_ipv6: None,
                tsig_name: None,
            },
            name_servers: std::collections::BTreeMap::new(),
            reverse_name: None,
            instance_id: "i-0123456789abcdef0".into(),
            shell: Some(
                "aws ssm start-session --region eu-central-1 --target i-0123456789abcdef0".into(),
            ),
        };
        let tunnel = Status {
            public_key: "mDuTCUJBfoQ7Vi3MLsmFhS9VJcW8M1EtGcnJbSoYDxw=".into(),
            state: "up".into(),
            summary: "The tunnel is up.".into(),
            relay: Some("203.0.113.7:51820".into()),
            rtt_ms: Some(22.6),
            handshake_age_s: Some(40),
            since_s: 7300,
        };
        let list = |name: &str, state: &str| Blocklist {
            name: name.into(),
            state: state.into(),
            why: String::new(),
            removal: Some("https://example.net/removal".into()),
        };
        Found {
            relay: Some(relay),
            tunnel: Some(tunnel),
            port25: Some(Port25 {
                state: "closed".into(),
                why: "no connection came to a greeting".into(),
            }),
            blocklists: Some(Blocklists {
                lists: vec![
                    list("SpamCop", "clear"),
                    list("Spamhaus ZEN", "listed"),
                    list("PSBL", "unanswered"),
                ],
            }),
            registrar: vec![(
                "example.org".into(),
                "The DS record is missing: `roost dns ds` shows it.".into(),
            )],
            box_silent: None,
        }
    }

    #[test]
    fn one_screen_says_how_it_stands() {
        let mut one = found();
        let mut text = render(&one, Some("mail.example.org"));
        one.relay.as_mut().unwrap().reverse_name = Some("mail.example.org.".into());
        one.port25.as_mut().unwrap().state = "open".into();
        one.blocklists.as_mut().unwrap().lists.remove(1);
        text += "\n";
        text += &render(&one, Some("mail.example.org"));
        let tunnel = one.tunnel.as_mut().unwrap();
        tunnel.state = "replaced".into();
        tunnel.summary = "another card with this box's keys serves in place of this one".into();
        text += "\n";
        text += &render(&one, Some("mail.example.org"));
        one.tunnel = None;
        one.port25 = None;
        one.blocklists = None;
        one.registrar.clear();
        one.box_silent = Some("cannot ask for the tunnel of roost.local: no answer".into());
        text += "\n";
        text += &render(&one, None);
        insta::assert_snapshot!(text);
    }
}
