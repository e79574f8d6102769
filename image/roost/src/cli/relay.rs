//! Commands about the box's public end.

use super::BoxArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Options of `roost relay`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
In this order, once the box has an owner:
  roost relay plan               see what would be made, and what it costs
  roost relay apply              make it, wait until your domain leads there, finish it
  roost relay port25             meanwhile: ask AWS to let your mail out
  roost relay finish             only if `apply` did not wait long enough for the domain

Keys and state:
  relay/ beside roost.toml is a Terraform project of its own, with its state.
  The relay's private key is in ~/.config/roost/DOMAIN. Keep a copy of both.
  Neither the state nor anything that is printed holds a secret. AWS credentials
  come from your environment, as for Terraform itself.")]
pub struct RelayArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RelayCommand,
}

/// What to do with the relay.
#[derive(Debug, Clone, Subcommand)]
pub enum RelayCommand {
    /// Show what `apply` would change at AWS, and what it costs; changes nothing
    Plan(RelayPlanArgs),
    /// Make the relay, or bring it to what roost.toml says
    ///
    /// Shows what will be made and what it costs, and asks. The Elastic IP is made first and looked
    /// up in blocklists; one with a bad name is given back and another is taken. Then the rest is
    /// made, the box learns of the relay, and the command waits until the tunnel is up.
    ///
    /// Then it shows what to enter at your registrar, and waits until your mail server's name leads to
    /// the relay; at last it does what `finish` does. Ctrl-C leaves all that was made; the same command
    /// goes on from there.
    Apply(RelayApplyArgs),
    /// Second phase: let the address lead back to your mail server's name
    ///
    /// AWS sets that (the PTR record) only when the name leads to the address already, and other
    /// mail servers take no mail without it.
    Finish(RelayFinishArgs),
    /// Show how the relay, the tunnel and outgoing mail stand
    Status(RelayLookArgs),
    /// Remove the relay from AWS and from the box; its keys stay here
    Destroy(RelayDestroyArgs),
    /// Show what the relay costs a month
    Cost(RelayCostArgs),
    /// Print what to ask AWS for so that mail gets out, or see that it does
    ///
    /// AWS blocks outgoing connections to port 25 until it has approved a request. The box tries
    /// them first: when one works, nothing is left to ask for.
    Port25(RelayLookArgs),
    /// Print a script that makes a relay of a Debian machine that you have elsewhere
    ///
    /// Run it there as root. It ends with the machine's key, which `roost relay connect` takes.
    Script(RelayScriptArgs),
    /// Tell the box of a relay that was made by hand or by `roost relay script`
    Connect(RelayConnectArgs),
    /// Have a card serve again whose place another with the same keys has taken
    ///
    /// A card that was restored from a backup takes the place of the one before, which stands down for
    /// good. This gives the place back, and the other one stands down.
    Takeover(RelayTakeoverArgs),
}

/// Whose relay.
#[derive(Debug, Clone, Args)]
pub struct ProjectArgs {
    /// The box's configuration; the folder `relay` beside it keeps the relay's state
    #[arg(long, value_name = "FILE", default_value = "roost.toml", value_hint = clap::ValueHint::FilePath)]
    pub config: PathBuf,
}

/// Where the box's key comes from.
#[derive(Debug, Clone, Args)]
pub struct BoxKeyArgs {
    /// The box's WireGuard key, if the box cannot be asked for it
    ///
    /// Its portal shows it on the page Relay. The box is then told nothing; what it needs is printed.
    #[arg(long, value_name = "KEY")]
    pub box_key: Option<String>,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost relay plan`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay plan
  roost relay plan --json | jq 'select(.event == \"result\").changes[].address'")]
pub struct RelayPlanArgs {
    /// Whose relay.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Which box.
    #[command(flatten)]
    pub key: BoxKeyArgs,
}

/// Options of `roost relay apply`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay apply
  roost relay apply --yes --agree-terms
  roost relay apply --wait-for 600
  roost relay apply --yes --no-wait
  AWS_PROFILE=home roost relay apply")]
pub struct RelayApplyArgs {
    /// Whose relay.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Do not ask; also give back addresses with a bad name without asking
    #[arg(long, short)]
    pub yes: bool,
    /// How many Elastic IPs to try at most, if the ones before are on blocklists
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub tries: u32,
    /// Wait for nothing: neither until the tunnel is up nor until the domain leads to the relay
    #[arg(long)]
    pub no_wait: bool,
    /// How many minutes to wait until the domain leads to the relay; 0: not at all [default: 30; with --box-key 0]
    #[arg(long, value_name = "MINUTES", conflicts_with = "no_wait", value_parser = clap::value_parser!(u32).range(..=10_080))]
    pub wait_for: Option<u32>,
    /// I agree to Let's Encrypt's terms of service (https://letsencrypt.org/repository/): the box
    /// gets certificates from it; asked for otherwise, once, if there is a terminal
    #[arg(long, conflicts_with = "box_key")]
    pub agree_terms: bool,
    /// Which box.
    #[command(flatten)]
    pub key: BoxKeyArgs,
}

/// Options of `roost relay finish`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay finish
  roost relay finish --dnssec-key \"257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\"")]
pub struct RelayFinishArgs {
    /// Whose relay.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Name of the mail server, if neither roost.toml nor the domain in it says it
    #[arg(long, value_name = "NAME")]
    pub mail_host: Option<String>,
    /// The domain's key-signing key as in its DNSKEY record, from which AWS makes the DS record
    ///
    /// With a domain at Route 53 (`registered_domain` in roost.toml). Without a signed zone a DS
    /// record makes the domain unreachable.
    #[arg(long, value_name = "RDATA")]
    pub dnssec_key: Option<String>,
    /// I agree to Let's Encrypt's terms of service (https://letsencrypt.org/repository/): the box
    /// gets certificates from it; asked for otherwise, once, if there is a terminal
    #[arg(long, conflicts_with = "box_key")]
    pub agree_terms: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which box.
    #[command(flatten)]
    pub key: BoxKeyArgs,
}

/// Options of the commands that only look.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay status
  roost relay status --json | jq 'select(.event == \"result\").tunnel.state'
  roost relay port25 > request.txt")]
pub struct RelayLookArgs {
    /// Whose relay.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost relay destroy`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay destroy
  roost relay destroy --yes")]
pub struct RelayDestroyArgs {
    /// Whose relay.
    #[command(flatten)]
    pub project: ProjectArgs,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost relay cost`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Example:
  roost relay cost")]
pub struct RelayCostArgs {
    /// Whose relay.
    #[command(flatten)]
    pub project: ProjectArgs,
}

/// Options of `roost relay script`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay script > relay.sh
  roost relay script | ssh root@203.0.113.7 sh
  roost relay script --ssh-port 2222 --public-ip 203.0.113.7 > relay.sh")]
pub struct RelayScriptArgs {
    /// Port of the machine's SSH server, which stays open; 0 closes it
    #[arg(long, value_name = "PORT", default_value_t = 22)]
    pub ssh_port: u16,
    /// Public address that is mapped to the machine, if it has none of its own
    #[arg(long, value_name = "ADDRESS")]
    pub public_ip: Option<std::net::Ipv4Addr>,
    /// Which box.
    #[command(flatten)]
    pub key: BoxKeyArgs,
}

/// Options of `roost relay takeover`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay takeover
  roost relay takeover --yes --no-wait")]
pub struct RelayTakeoverArgs {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Do not wait until the box serves
    #[arg(long)]
    pub no_wait: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost relay connect`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost relay connect 203.0.113.7 --relay-key mDuTCUJBfoQ7Vi3MLsmFhS9VJcW8M1EtGcnJbSoYDxw=
  roost relay connect --remove")]
pub struct RelayConnectArgs {
    /// Name or address of the relay, with a port if it is another than 51820
    #[arg(value_name = "ENDPOINT", required_unless_present = "remove")]
    pub endpoint: Option<String>,
    /// The relay's WireGuard key
    #[arg(long, value_name = "KEY", required_unless_present = "remove")]
    pub relay_key: Option<String>,
    /// Have the box use no relay
    #[arg(long, conflicts_with_all = ["endpoint", "relay_key"])]
    pub remove: bool,
    /// Do not wait until the tunnel is up
    #[arg(long)]
    pub no_wait: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}
