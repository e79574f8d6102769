//! `roost relay`: the box's public end, made by Terraform in the owner's AWS account.
//!
//! - [`project`]: the folder with the Terraform project and its state; [`secrets`]: what must not be in it.
//! - [`terraform`] runs the program, [`trouble`] explains what it complains of, [`words`] names what it makes.
//! - [`home`]: the box's side. [`delegation`]: the registrar's. [`apply`], [`finish`], [`status`], [`port25`], [`cost`]: the commands.

mod apply;
mod cost;
mod delegation;
mod finish;
mod home;
mod port25;
mod project;
mod secrets;
mod status;
mod terraform;
mod trouble;
mod words;

use crate::ask::agreed;
use crate::cli::{
    BoxKeyArgs, ProjectArgs, RelayArgs, RelayCommand, RelayConnectArgs, RelayDestroyArgs,
    RelayPlanArgs, RelayScriptArgs, RelayTakeoverArgs,
};
use crate::device::stop::Stop;
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::Ui;
use home::Home;
pub use project::Project;
use project::{Choices, write_script};
use roost_service::mail::Secret;
use roost_service::tunnel::{self, Tunnel};
use secrets::{Secrets, is_key};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use terraform::{Change, Scope, Terraform};

/// UDP port of the tunnel, as in `terraform/relay/variables.tf`.
const PORT: u16 = 51820;
/// The relay's and the box's addresses within the tunnel, as there.
const RELAY4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const BOX4: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const BOX6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0x77, 0, 0, 0, 0, 0, 2);
/// Bytes of the largest packet within the tunnel, as there.
const MTU: u16 = 1380;

/// What Terraform tells of a relay that was made (`terraform/relay/outputs.tf`).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Made {
    public_ipv4: Ipv4Addr,
    public_ipv6: Ipv6Addr,
    region: String,
    allocation_id: String,
    endpoint: String,
    tunnel: MadeTunnel,
    #[serde(default)]
    name_servers: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    reverse_name: Option<String>,
    instance_id: String,
    #[serde(default)]
    shell: Option<String>,
}

/// The tunnel's two ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MadeTunnel {
    relay_ipv4: Ipv4Addr,
    box_ipv4: Ipv4Addr,
    box_ipv6: Ipv6Addr,
    mtu: u16,
    #[serde(default)]
    relay_ipv6: Option<Ipv6Addr>,
    /// Name of the key of zone transfers, if the relay keeps copies of zones.
    #[serde(default)]
    tsig_name: Option<String>,
}

impl Made {
    /// What the box has to know.
    fn for_the_box(&self, secrets: &Secrets) -> Tunnel {
        let ends = &self.tunnel;
        let outside = tunnel::Outside {
            addresses: vec![self.public_ipv4.into(), self.public_ipv6.into()],
            second_name_server: self.second_name_server(),
            secondary: ends.tsig_name.clone().map(|key| tunnel::Secondary {
                addresses: [
                    Some(ends.relay_ipv4.into()),
                    ends.relay_ipv6.map(Into::into),
                ]
                .into_iter()
                .flatten()
                .collect(),
                key,
                secret: Secret(secrets.tsig.to_string()),
            }),
        };
        Tunnel {
            outside: Some(outside),
            ..tunnel_to(
                &secrets.public_key,
                &self.endpoint,
                ends.relay_ipv4,
                ends.box_ipv4,
                ends.box_ipv6,
                ends.mtu,
            )
        }
    }

    fn second_name_server(&self) -> Vec<IpAddr> {
        let addresses = self.name_servers.get("ns2").into_iter().flatten();
        addresses.filter_map(|ip| ip.parse().ok()).collect()
    }
}

fn tunnel_to(
    public_key: &str,
    endpoint: &str,
    relay4: Ipv4Addr,
    box4: Ipv4Addr,
    box6: Ipv6Addr,
    mtu: u16,
) -> Tunnel {
    let relay = tunnel::Relay {
        public_key: public_key.to_owned(),
        endpoint: endpoint.to_owned(),
        address4: Some(relay4),
    };
    Tunnel {
        address6: Some(box6),
        mtu: Some(mtu),
        ..Tunnel::new(relay, box4)
    }
}

/// `roost relay`.
pub fn run(args: &RelayArgs, ui: &Ui) -> Result<(), Failure> {
    match &args.command {
        RelayCommand::Plan(args) => plan(args, ui),
        RelayCommand::Apply(args) => apply::run(args, ui),
        RelayCommand::Finish(args) => finish::run(args, ui),
        RelayCommand::Status(args) => status::run(args, ui),
        RelayCommand::Destroy(args) => destroy(args, ui),
        RelayCommand::Cost(args) => cost::run(args, ui),
        RelayCommand::Port25(args) => port25::run(args, ui),
        RelayCommand::Script(args) => script(args, ui),
        RelayCommand::Connect(args) => connect(args, ui),
        RelayCommand::Takeover(args) => take_over(args, ui),
    }
}

fn on_ctrl_c() -> Result<Stop, Failure> {
    Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))
}

/// The project, written as `roost.toml` and the box's key want it now, its secrets, and the box if it was asked.
fn wanted<'a>(
    args: &ProjectArgs,
    key: &BoxKeyArgs,
    stop: &Stop,
    ui: &'a Ui,
) -> Result<(Project, Secrets, Option<Home<'a>>), Failure> {
    let project = Project::open(&args.config)?;
    let (box_public_key, home) = home::key(key, stop.clone(), ui)?;
    let secrets = Secrets::keep(&project.keys()?, &project.config.owner(), ui)?;
    project.write(&Choices {
        box_public_key,
        ..project.choices()?.unwrap_or_default()
    })?;
    Ok((project, secrets, home))
}

/// `roost relay plan`.
fn plan(args: &RelayPlanArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        changes: &'a [Change],
        usd_a_month: String,
    }
    let stop = on_ctrl_c()?;
    let (project, secrets, _) = wanted(&args.project, &args.key, &stop, ui)?;
    let terraform = Terraform::new(&project.folder, Some(&secrets), stop, ui)?;
    terraform.init()?;
    let changes = terraform.plan(&Scope::default())?;
    terraform.forget_plan();
    let sum = cost::sum(&project.config.relay);
    ui.result(
        planned(&changes, &sum),
        &Result {
            changes: &changes,
            usd_a_month: sum.clone(),
        },
    );
    Ok(())
}

/// What would change, and what it costs.
fn planned(changes: &[Change], sum: &str) -> String {
    if changes.is_empty() {
        return format!(
            "Nothing would change: the relay is as roost.toml says. It costs about {sum}.\n"
        );
    }
    format!(
        "{}\n  It costs about {sum} (`roost relay cost` has the parts).\n",
        words::changes(changes)
    )
}

/// `roost relay destroy`.
fn destroy(args: &RelayDestroyArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result {
        removed: usize,
    }
    let stop = on_ctrl_c()?;
    let project = Project::open(&args.project.config)?;
    project.made()?;
    let secrets = Secrets::keep(&project.keys()?, &project.config.owner(), ui)?;
    let terraform = Terraform::new(&project.folder, Some(&secrets), stop.clone(), ui)?;
    terraform.init()?;
    let changes = terraform.plan(&Scope {
        destroy: true,
        ..Scope::default()
    })?;
    if changes.is_empty() {
        terraform.forget_plan();
        ui.result("There is nothing to remove.\n", &Result { removed: 0 });
        return Ok(());
    }
    ui.info(words::changes(&changes));
    let own = match &project.config.relay.elastic_ip {
        Some(id) => format!("Your Elastic IP {id} stays, and is paid for, until you release it."),
        None => "Its address is given back: another relay will have another one.".to_owned(),
    };
    ui.info(format!(
        "  {own} Mail and web of the box will not be reachable from outside.\n"
    ));
    let no = "you said no; nothing was removed";
    agreed(ui, "Remove the relay?", args.yes, "removing a relay", no)
        .inspect_err(|_| terraform.forget_plan())?;
    match Home::of(&args.which, stop, ui).and_then(|mut home| home.disconnect()) {
        Ok(()) => {}
        Err(failure) => ui.warn(format!(
            "the box was not told ({}): `roost relay connect --remove` does that later",
            failure.in_a_line()
        )),
    }
    terraform.apply("remove the relay", changes.len())?;
    project.forget_second_phase()?;
    ui.result(
        format!(
            "The relay is gone. Its keys stay in {}: `roost relay apply` makes it again.\n",
            secrets.folder.display()
        ),
        &Result {
            removed: changes.len(),
        },
    );
    Ok(())
}

/// `roost relay script`.
fn script(args: &RelayScriptArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        script: &'a str,
    }
    let stop = on_ctrl_c()?;
    let (key, _) = home::key(&args.key, stop.clone(), ui)?;
    let folder = tempfile::Builder::new()
        .prefix("roost-relay-")
        .tempdir()
        .map_err(|e| Failure::new("cannot make a folder for the script").because(e))?;
    write_script(folder.path(), &key, args.ssh_port, args.public_ip)?;
    let terraform = Terraform::new(folder.path(), None, stop, ui)?;
    let script: String = terraform.text("script")?;
    ui.result(&script, &Result { script: &script });
    Ok(())
}

/// `roost relay connect`.
fn connect(args: &RelayConnectArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result {
        tunnel: Option<home::Status>,
    }
    let mut home = Home::of(&args.which, on_ctrl_c()?, ui)?;
    let (Some(endpoint), Some(relay_key)) = (&args.endpoint, &args.relay_key) else {
        home.disconnect()?;
        ui.result(
            "The box uses no relay any more.\n",
            &Result { tunnel: None },
        );
        return Ok(());
    };
    if !is_key(relay_key) {
        return Err(Failure::usage("--relay-key: this is no WireGuard key")
            .because("it has 44 characters of base64, the last of them =")
            .hint("the relay's script ends with it; `wg show roost0 public-key` on the relay shows it again"));
    }
    let endpoint = with_port(endpoint);
    home.connect(&tunnel_to(relay_key, &endpoint, RELAY4, BOX4, BOX6, MTU))?;
    if args.no_wait {
        let text = format!("The box connects to {endpoint}.\n");
        ui.result(text, &Result { tunnel: None });
        return Ok(());
    }
    let status = home.wait_until_up()?;
    ui.result(
        format!("The box is connected to {endpoint}.\n"),
        &Result {
            tunnel: Some(status),
        },
    );
    Ok(())
}

/// `roost relay takeover`.
fn take_over(args: &RelayTakeoverArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result {
        tunnel: Option<home::Status>,
    }
    let mut home = Home::of(&args.which, on_ctrl_c()?, ui)?;
    let status = home.tunnel()?;
    if status.state != "replaced" {
        return Err(Failure::new(format!(
            "{} has not stood down before another card",
            home.name()
        ))
        .because(plain(&status.summary))
        .hint("if two cards answer to this name, `--box` takes the address of the one that has"));
    }
    ui.info(format!("  {}.\n", plain(&status.summary)));
    let no = "you said no; nothing was changed";
    let question = "Have this card serve again? The other one stands down";
    agreed(ui, question, args.yes, "taking a place back", no)?;
    home.take_over()?;
    if args.no_wait {
        let text = "This card takes back its place, as soon as it reaches the relay.\n";
        ui.result(text, &Result { tunnel: None });
        return Ok(());
    }
    let status = home.wait_until_up()?;
    ui.result(
        "This card serves again, and the other one stands down.\n",
        &Result {
            tunnel: Some(status),
        },
    );
    Ok(())
}

/// The endpoint with a port; an IPv6 address gets its brackets.
fn with_port(endpoint: &str) -> String {
    if endpoint.parse::<Ipv6Addr>().is_ok() {
        return format!("[{endpoint}]:{PORT}");
    }
    let port = endpoint
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) if !endpoint.ends_with(']') => endpoint.to_owned(),
        _ => format!("{endpoint}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_gets_the_usual_port() {
        for (given, wanted) in [
            ("203.0.113.7", "203.0.113.7:51820"),
            ("203.0.113.7:4000", "203.0.113.7:4000"),
            ("relay.example.org", "relay.example.org:51820"),
            ("2001:db8::1", "[2001:db8::1]:51820"),
            ("[2001:db8::1]", "[2001:db8::1]:51820"),
            ("[2001:db8::1]:4000", "[2001:db8::1]:4000"),
        ] {
            assert_eq!(with_port(given), wanted);
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_terraform_module() {
        let variables = include_str!("../../../../terraform/relay/variables.tf");
        for said in [
            "\"10.77.0.0/30\"".to_owned(),
            "\"fd77:77::/126\"".to_owned(),
            format!("= {PORT}\n"),
            format!("= {MTU}\n"),
        ] {
            assert!(variables.contains(&said), "{said}");
        }
        assert_eq!(u32::from(BOX4), u32::from(RELAY4) + 1);
        assert_eq!(BOX6.to_string(), "fd77:77::2");
    }

    #[test]
    fn what_would_change_is_told_by_kinds() {
        let change = |action: &str, kind: &str| Change {
            action: action.into(),
            address: format!("module.relay.{kind}.this"),
            kind: kind.into(),
        };
        let changes = [
            change("create", "aws_eip"),
            change("create", "aws_vpc_security_group_ingress_rule"),
            change("create", "aws_vpc_security_group_egress_rule"),
            change("replace", "aws_instance"),
        ];
        let text = planned(&changes, "$7.36 a month");
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
        insta::assert_snapshot!(planned(&[], "$7.36 a month"));
    }
}
