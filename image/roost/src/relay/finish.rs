//! `roost relay finish`: the second phase, when the mail server's name leads to the relay.

use super::home;
use super::project::DnssecKey;
use super::{Change, Choices, Made, Project, Scope, Secrets, Terraform, cost, on_ctrl_c, planned};
use crate::ask::agreed;
use crate::certificates;
use crate::cli::RelayFinishArgs;
use crate::config::names::Domain;
use crate::error::Failure;
use crate::ui::Ui;
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

/// `roost relay finish`.
pub fn run(args: &RelayFinishArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        relay: &'a Made,
    }
    let stop = on_ctrl_c()?;
    let project = Project::open(&args.project.config)?;
    let before = project.made()?;
    let dnssec_key = match &args.dnssec_key {
        Some(_) if !project.config.relay.registered_domain => {
            return Err(Failure::usage("--dnssec-key needs a domain at Route 53")
                .because("elsewhere your registrar makes the DS record")
                .hint("give the DS record to your registrar, or set `registered_domain` under [relay] in roost.toml"));
        }
        Some(text) => Some(DnssecKey::parse(text)?),
        None => before.dnssec_key.clone(),
    };
    let host = match &args.mail_host {
        Some(name) => Domain::parse(name)
            .map_err(Failure::of_option("--mail-host"))?
            .to_string(),
        None => (before.mail_host.clone().or_else(|| project.mail_host())).ok_or_else(|| {
            Failure::usage("nothing says what the mail server is called")
                .hint("add --mail-host, e.g. --mail-host mail.example.org")
        })?,
    };
    let secrets = Secrets::keep(&project.keys()?, &project.config.owner(), ui)?;
    let terraform = Terraform::new(&project.folder, Some(&secrets), stop.clone(), ui)?;
    let made: Made = terraform.output("relay")?.ok_or_else(|| {
        Failure::usage("the relay is not made yet").hint("run `roost relay apply` first")
    })?;
    leads_to(&host, made.public_ipv4)?;

    let (key, home) = home::key(&args.key, stop, ui)?;
    let wanted = Choices {
        box_public_key: key,
        mail_host: Some(host.clone()),
        dnssec_key,
    };
    let made = second_phase(&project, &terraform, (&before, &wanted), |changes| {
        ui.info(planned(changes, &cost::sum(&project.config.relay)));
        let no = "you said no; nothing was changed";
        agreed(ui, "Go on?", args.yes, "the second phase", no)
    })?;
    ui.result(
        format!(
            "{} `roost relay port25` shows whether mail gets out.\n",
            leads_back(&made, &host)
        ),
        &Result { relay: &made },
    );
    let Some(mut home) = home else {
        return Ok(());
    };
    match certificates::offer(home.device(), args.agree_terms, ui) {
        Err(failure) if args.agree_terms => Err(failure),
        // The relay is finished all the same.
        Err(failure) => {
            ui.warn(failure.in_a_line());
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Has Terraform make what is `wanted`, if `agree` agrees to the changes; else all stays as it was before.
///
/// # Errors
///
/// A [`Failure`] of Terraform, or of `agree`.
pub fn second_phase(
    project: &Project,
    terraform: &Terraform<'_>,
    (before, wanted): (&Choices, &Choices),
    agree: impl FnOnce(&[Change]) -> Result<(), Failure>,
) -> Result<Made, Failure> {
    project.write(wanted)?;
    terraform.init()?;
    // Until it has worked, `apply` shall not want it.
    let back = |failure| {
        terraform.forget_plan();
        match project.write(before) {
            Ok(()) => failure,
            Err(worse) => worse,
        }
    };
    let changes = terraform.plan(&Scope::default()).map_err(back)?;
    if changes.is_empty() {
        terraform.forget_plan();
    } else {
        agree(&changes).map_err(back)?;
        terraform
            .apply("finish the relay", changes.len())
            .map_err(back)?;
    }
    terraform
        .output("relay")?
        .ok_or_else(|| Failure::new("terraform made no relay"))
}

/// What the second phase has reached, in a sentence.
pub fn leads_back(made: &Made, host: &str) -> String {
    format!("{} leads back to {host}.", made.public_ipv4)
}

/// AWS refuses a reverse name that does not lead to the address, in words that nobody understands.
pub fn leads_to(host: &str, address: Ipv4Addr) -> Result<(), Failure> {
    let what = format!("{host} does not lead to {address} yet");
    let hint = format!(
        "set its A record to {address}; a change may take as long as the old record's time to live to be seen"
    );
    let found: Vec<Ipv4Addr> = (host, 25)
        .to_socket_addrs()
        .map_err(|e| Failure::new(what.clone()).because(e).hint(hint.clone()))?
        .filter_map(|socket| match socket.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect();
    if found.contains(&address) {
        return Ok(());
    }
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let where_to = match found.as_slice() {
        [] => "it has no IPv4 address".to_owned(),
        some => format!("it leads to {}", some.join(", ")),
    };
    Err(Failure::new(what).because(where_to).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_told() {
        leads_to("127.0.0.1", Ipv4Addr::LOCALHOST).unwrap();
        let failure = leads_to("127.0.0.1", Ipv4Addr::new(203, 0, 113, 7)).unwrap_err();
        let text = anstream::adapter::strip_str(&failure.render()).to_string();
        insta::assert_snapshot!(text);
    }
}
