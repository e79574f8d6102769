//! `roost relay apply`: the address first, then the rest, then box and relay learn of each other; then the
//! registrar is waited for, and the second phase done.

use super::delegation::{Delegation, Ended, stopped};
use super::home::{self, Home};
use super::{
    Choices, Made, Project, Scope, Secrets, Terraform, cost, finish, on_ctrl_c, planned, wanted,
};
use crate::ask::agreed;
use crate::certificates;
use crate::cli::RelayApplyArgs;
use crate::device::stop::Stop;
use crate::device::words::{plain, span};
use crate::error::Failure;
use crate::ui::{Mode, Ui};
use roost_service::tunnel::Tunnel;
use serde::Serialize;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The Elastic IP in the project, unless it is the owner's own.
const ADDRESS: &str = "module.relay.aws_eip.this[0]";
/// What the second phase makes.
const REVERSE_NAME: &str = "aws_eip_domain_name";
/// How long the registrar is waited for, in minutes: many pass on name servers of a new domain within ten.
const WAIT_FOR_MIN: u32 = 30;

/// `roost relay apply`.
pub fn run(args: &RelayApplyArgs, ui: &Ui) -> Result<(), Failure> {
    let stop = on_ctrl_c()?;
    let (project, secrets, mut home) = wanted(&args.project, &args.key, &stop, ui)?;
    let terraform = Terraform::new(&project.folder, Some(&secrets), stop.clone(), ui)?;
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
        project.forget_second_phase()?;
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
    let way = Way {
        args,
        project: &project,
        secrets: &secrets,
        terraform: &terraform,
        stop: &stop,
        ui,
    };
    way.go(made, home)
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

/// A relay that is made, on its way through the rest.
struct Way<'a> {
    args: &'a RelayApplyArgs,
    project: &'a Project,
    secrets: &'a Secrets,
    terraform: &'a Terraform<'a>,
    stop: &'a Stop,
    ui: &'a Ui,
}

/// What was reached, for scripts.
#[derive(Serialize)]
struct Reached<'a> {
    relay: &'a Made,
    tunnel: Option<home::Status>,
    box_text: &'a str,
    /// Whether the address leads back to the mail server's name: nothing is left to do for the relay.
    finished: bool,
}

impl Way<'_> {
    /// Hands the relay over to the box and the domain to the relay, and says what is next.
    fn go(&self, mut made: Made, mut home: Option<Home<'_>>) -> Result<(), Failure> {
        let tunnel = made.for_the_box(self.secrets);
        let box_text = without_secret(tunnel.clone());
        let mut status = None;
        let mut text = format!(
            "The relay is at {} and {}.\n",
            made.public_ipv4, made.public_ipv6
        );
        match &mut home {
            None => {
                text += &format!(
                    "\nGive the box this text, on its portal's page Relay:\n\n{box_text}\n"
                );
                if made.tunnel.tsig_name.is_some() {
                    text += "\nThe key by which the relay copies the box's zones is not in it: run `roost relay apply` again where the box can be reached.\n";
                }
            }
            Some(home) => {
                home.connect(&tunnel)?;
                if self.args.no_wait {
                    text += "The box connects to it.\n";
                } else {
                    status = Some(home.wait_until_up()?);
                    text += "The box is connected to it.\n";
                }
            }
        }
        let before = made.reverse_name.is_some();
        let mut finished = before;
        if !finished && let Some(limit) = self.limit(home.is_some()) {
            let by_hand = home.is_none().then_some(box_text.as_str());
            if let Some(now) = self.hand_over(&text, by_hand, &made, home.as_mut(), limit)? {
                made = now;
                finished = true;
                text += &format!(
                    "{}\n",
                    finish::leads_back(
                        &made,
                        made.reverse_name
                            .as_deref()
                            .unwrap_or_default()
                            .trim_end_matches('.')
                    )
                );
            }
        }
        if !before {
            text += &next_steps(self.project, &made);
        }
        self.ui.result(
            text,
            &Reached {
                relay: &made,
                tunnel: status,
                box_text: &box_text,
                finished,
            },
        );
        Ok(())
    }

    /// How long the registrar is waited for. Where the box is only told of the relay by hand, it cannot
    /// answer for the domain yet, so somebody has to want that.
    fn limit(&self, has_box: bool) -> Option<Duration> {
        let usual = if has_box { WAIT_FOR_MIN } else { 0 };
        let minutes = self.args.wait_for.unwrap_or(usual);
        let waits = !self.args.no_wait && minutes > 0;
        waits.then(|| Duration::from_secs(60 * u64::from(minutes)))
    }

    /// Waits until the domain leads to the relay, and does the second phase; `None` if it does not within
    /// the time. `so_far` is what people are told of the relay before.
    fn hand_over(
        &self,
        so_far: &str,
        box_text: Option<&str>,
        made: &Made,
        mut home: Option<&mut Home<'_>>,
        limit: Duration,
    ) -> Result<Option<Made>, Failure> {
        let ui = self.ui;
        let delegation = Delegation::of(self.project, made, home.as_deref_mut(), self.stop, ui)?;
        let Some(delegation) = delegation else {
            return Ok(None);
        };
        // Asked now, while somebody is there.
        let consent = match &mut home {
            Some(home) => self.consent(home)?,
            None => None,
        };
        delegation.tell(box_text, ui);
        if ui.mode() != Mode::Json {
            ui.info(format!("\n{so_far}\n{}", delegation.text()));
            ui.info("Meanwhile `roost relay port25`, in another terminal, prints what to ask AWS for, so that your mail gets out.\n");
        }
        match delegation.wait(limit, self.stop, ui) {
            Ended::Leads => {}
            Ended::Stopped => return Err(stopped(Some(&delegation.mail_host))),
            Ended::TimeUp(why) => {
                ui.warn(format!(
                    "{why}. It was waited for {}; a registrar may take a day",
                    span(limit.as_secs_f64())
                ));
                return Ok(None);
            }
        }
        let before = self.project.made()?;
        let wanted = Choices {
            mail_host: Some(delegation.mail_host),
            ..before.clone()
        };
        let phases = (&before, &wanted);
        let made = finish::second_phase(self.project, self.terraform, phases, |changes| {
            // It costs nothing, and is what was waited for. Anything else is asked about.
            if changes.iter().all(|change| change.kind == REVERSE_NAME) {
                return Ok(());
            }
            ui.info(planned(changes, &cost::sum(&self.project.config.relay)));
            let no = "you said no; nothing was changed";
            agreed(ui, "Go on?", self.args.yes, "the second phase", no)
        })?;
        if let (Some(home), Some(consent)) = (home, consent) {
            let passed = consent.pass_on(home.device(), ui);
            self.tolerate(passed)?;
        }
        Ok(Some(made))
    }

    /// Whether the owner agrees to the terms of Let's Encrypt; `None` if the box cannot be asked what it
    /// has.
    fn consent(&self, home: &mut Home<'_>) -> Result<Option<certificates::Answer>, Failure> {
        let asked = certificates::ask(home.device(), self.args.agree_terms, self.ui).map(Some);
        self.tolerate(asked)
    }

    /// The relay can be finished without certificates, unless their terms were agreed to in the same breath.
    fn tolerate<T: Default>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        match result {
            Err(failure) if !self.args.agree_terms => {
                self.ui.warn(failure.in_a_line());
                Ok(T::default())
            }
            other => other,
        }
    }
}

/// What only the owner can do now.
fn next_steps(project: &Project, made: &Made) -> String {
    let host = (project.mail_host()).unwrap_or_else(|| "the name of your mail server".to_owned());
    let mut steps = Vec::new();
    let elsewhere = !project.config.relay.registered_domain;
    if made.reverse_name.is_none() {
        if !made.name_servers.is_empty() && elsewhere {
            steps.push(
                "roost dns ds           what your registrar has to be given; or, where others answer for the domain,"
                    .to_owned(),
            );
            steps.push(format!(
                "let {host} lead to {} (A record) and {} (AAAA record)",
                made.public_ipv4, made.public_ipv6
            ));
        }
        steps.push(format!(
            "roost relay apply      again, once {host} leads there: it goes on from here"
        ));
    }
    steps.push("roost relay port25     what to ask AWS for, so that your mail gets out".to_owned());
    let mut text = "\nNext:\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        text += &format!("  {}. {step}\n", number + 1);
    }
    text
}
