//! `roost relay apply`: the address first, then the rest, then box and relay learn of each other.

use super::home::{self, Home};
use super::{Made, Project, Scope, Secrets, Terraform, cost, on_ctrl_c, planned, wanted};
use crate::cli::RelayApplyArgs;
use crate::device::words::plain;
use crate::error::Failure;
use crate::password::agreed;
use crate::ui::Ui;
use roost_service::tunnel::Tunnel;
use serde::Serialize;
use std::net::Ipv4Addr;

/// The Elastic IP in the project, unless it is the owner's own.
const ADDRESS: &str = "module.relay.aws_eip.this[0]";

/// `roost relay apply`.
pub fn run(args: &RelayApplyArgs, ui: &Ui) -> Result<(), Failure> {
    let stop = on_ctrl_c()?;
    let (project, secrets, mut home) = wanted(&args.project, &args.key, &stop, ui)?;
    let terraform = Terraform::new(&project.folder, Some(&secrets), stop, ui)?;
    terraform.init()?;
    let mut changes = terraform.plan(&Scope::default())?;
    let sum = cost::sum(&project.config.relay);
    if !changes.is_empty() {
        ui.info(planned(&changes, &sum));
        let no = "you said no; nothing was made";
        agreed(ui, "Go on?", args.yes, "making a relay", no)
            .inspect_err(|_| terraform.forget_plan())?;
    }
    let new_address = (changes.iter()).any(|c| c.address == ADDRESS && c.action == "create");
    if new_address {
        find_address(args, &terraform, home.as_mut(), ui)?;
        changes = terraform.plan(&Scope::default())?;
    }
    if changes.is_empty() {
        terraform.forget_plan();
    } else {
        terraform.apply("make the relay", changes.len())?;
    }
    let made: Made = terraform
        .output("relay")?
        .ok_or_else(|| Failure::new("terraform made no relay"))?;
    if !new_address && let Some(home) = &mut home {
        warn_of_blocklists(home, made.public_ipv4, ui);
    }
    finish(args, &project, &secrets, &made, home, ui)
}

/// Takes an Elastic IP that is on no blocklist; with bad luck the last one that was tried.
fn find_address(
    args: &RelayApplyArgs,
    terraform: &Terraform<'_>,
    mut home: Option<&mut Home<'_>>,
    ui: &Ui,
) -> Result<(), Failure> {
    let mut scope = Scope {
        targets: vec![ADDRESS.to_owned()],
        ..Scope::default()
    };
    let mut left = args.tries;
    loop {
        let changes = terraform.plan(&scope)?;
        terraform.apply("take an Elastic IP", changes.len())?;
        left -= 1;
        let address = terraform.value(ADDRESS, "public_ip")?;
        let address: Ipv4Addr = address
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Failure::new("AWS gave no Elastic IP"))?;
        let Some(home) = &mut home else {
            return Ok(());
        };
        let found = match home.blocklists(address) {
            Ok(found) => found,
            Err(failure) => {
                ui.warn(format!(
                    "{address} was not looked up in blocklists: {}",
                    failure.in_a_line()
                ));
                return Ok(());
            }
        };
        let listed: Vec<String> = found.listed().map(|list| plain(&list.name)).collect();
        if listed.is_empty() {
            return Ok(());
        }
        ui.warn(format!("{address} is on {}", listed.join(", ")));
        if left == 0 {
            ui.warn(format!(
                "none of {} addresses is on no blocklist: this one is kept; ask the lists to remove it",
                args.tries
            ));
            return Ok(());
        }
        if !args.yes {
            let again = "Give it back and take another?";
            // A no is no reason to end: the address can be used.
            if agreed(ui, again, false, "another address", "no").is_err() {
                return Ok(());
            }
        }
        scope.replace = vec![ADDRESS.to_owned()];
    }
}

/// An address that is there already is not given up, but its owner should know.
fn warn_of_blocklists(home: &mut Home<'_>, address: Ipv4Addr, ui: &Ui) {
    // An older box, or one without a network, cannot say.
    let Ok(found) = home.blocklists(address) else {
        return;
    };
    for list in found.listed() {
        let removal = match &list.removal {
            Some(link) => format!("; ask for removal at {}", plain(link)),
            None => String::new(),
        };
        ui.warn(format!("{address} is on {}{removal}", plain(&list.name)));
    }
}

/// The relay's text for people to copy, who are shown no secret.
fn without_secret(mut tunnel: Tunnel) -> String {
    if let Some(outside) = &mut tunnel.outside {
        outside.secondary = None;
    }
    serde_json::to_string(&tunnel).expect("a tunnel is plain data")
}

/// Hands the relay over to the box, and says what is next.
fn finish(
    args: &RelayApplyArgs,
    project: &Project,
    secrets: &Secrets,
    made: &Made,
    home: Option<Home<'_>>,
    ui: &Ui,
) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        relay: &'a Made,
        tunnel: Option<home::Status>,
        box_text: &'a str,
    }
    let tunnel = made.for_the_box(secrets);
    let box_text = without_secret(tunnel.clone());
    let mut status = None;
    let mut text = format!(
        "The relay is at {} and {}.\n",
        made.public_ipv4, made.public_ipv6
    );
    match home {
        None => {
            text +=
                &format!("\nGive the box this text, on its portal's page Relay:\n\n{box_text}\n");
            if made.tunnel.tsig_name.is_some() {
                text += "\nThe key by which the relay copies the box's zones is not in it: run `roost relay apply` again where the box can be reached.\n";
            }
        }
        Some(mut home) => {
            home.connect(&tunnel)?;
            if args.no_wait {
                text += "The box connects to it.\n";
            } else {
                status = Some(home.wait_until_up()?);
                text += "The box is connected to it.\n";
            }
        }
    }
    text += &next_steps(project, made);
    ui.result(
        text,
        &Result {
            relay: made,
            tunnel: status,
            box_text: &box_text,
        },
    );
    Ok(())
}

/// What only the owner can do now.
fn next_steps(project: &Project, made: &Made) -> String {
    let host = (project.mail_host()).unwrap_or_else(|| "the name of your mail server".to_owned());
    let ip = made.public_ipv4;
    let mut steps = Vec::new();
    if !made.name_servers.is_empty() && !project.config.relay.registered_domain {
        let servers: Vec<String> = (made.name_servers.iter())
            .map(|(name, addresses)| format!("{name}: {}", addresses.join(", ")))
            .collect();
        steps.push(format!(
            "at your registrar, set the name servers: {}",
            servers.join("; ")
        ));
    }
    if made.reverse_name.is_none() {
        steps.push(format!(
            "let {host} lead to {ip} (A record) and {} (AAAA record)",
            made.public_ipv6
        ));
        steps.push(
            "roost relay port25     what to ask AWS for, so that your mail gets out".to_owned(),
        );
        steps.push(format!("roost relay finish     when {host} leads there"));
    }
    if steps.is_empty() {
        return String::new();
    }
    let mut text = "\nNext:\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        text += &format!("  {}. {step}\n", number + 1);
    }
    text
}
