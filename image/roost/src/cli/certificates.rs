//! Commands about the box's certificates.

use super::BoxArgs;
use clap::{ArgGroup, Args, Subcommand};
use std::path::PathBuf;

/// Options of `roost certificates`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
With certificates, browsers and mail programs trust your box, and other mail servers can see that
they talk to it (MTA-STS, DANE). They cost nothing, and the box renews them by itself.

In this order:
  roost relay finish             your domain is delegated to the box, which proves that it is yours
  roost certificates agree       agree to Let's Encrypt's terms; the box orders what it needs
  roost certificates show        see how that goes

To look at it all first without counting against Let's Encrypt's limits:
  roost certificates agree --staging")]
pub struct CertificatesArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CertificatesCommand,
}

/// What to do with certificates.
#[derive(Debug, Clone, Subcommand)]
pub enum CertificatesCommand {
    /// Show each certificate: its names, how long it holds, what is next, and what failed
    Show(CertificatesShowArgs),
    /// Choose the certificate authority and agree to its terms; nothing is ordered before
    ///
    /// Let's Encrypt, unless you say otherwise. Contact, name of the portal and profile stay as they
    /// are unless you give them; see `roost certificates set`.
    Agree(CertificatesAgreeArgs),
    /// Change the portal's name, the contact or the profile; the authority stays
    Set(CertificatesSetArgs),
    /// Order a certificate anew now, for the same key
    ///
    /// The box renews by itself. This is for when a reason to wait has gone; a time that the authority
    /// has named stays.
    Renew(CertificatesOneArgs),
    /// Take a certificate's next key, as soon as other mail servers have seen it in the zone
    ///
    /// The box does that once a year by itself.
    SwitchKey(CertificatesOneArgs),
    /// Revoke a certificate, and order another one with the next key
    Revoke(CertificatesRevokeArgs),
}

/// Options of `roost certificates show`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost certificates show
  roost certificates show --json | jq -r '.certificates[] | select(.state != \"valid\").failure.why'")]
pub struct CertificatesShowArgs {
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost certificates agree`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost certificates agree
  roost certificates agree --contact alice@example.net --yes
  roost certificates agree --directory https://ca.example/directory --roots ca.pem")]
pub struct CertificatesAgreeArgs {
    /// Let's Encrypt's place for tests: nobody trusts its certificates
    #[arg(long, conflicts_with = "directory")]
    pub staging: bool,
    /// Address of another authority's ACME directory
    #[arg(long, value_name = "URL")]
    pub directory: Option<String>,
    /// Whom to trust on the way to that authority: certificates as PEM; without it, the well-known ones
    #[arg(long, value_name = "FILE", requires = "directory", value_hint = clap::ValueHint::FilePath)]
    pub roots: Option<PathBuf>,
    /// Mail address that the authority may write to; better one that does not depend on this box
    #[arg(long, value_name = "MAIL")]
    pub contact: Option<String>,
    /// I agree to the authority's terms; do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost certificates set`.
#[derive(Debug, Clone, Args)]
#[command(
    group = ArgGroup::new("change").required(true).multiple(true)
        .args(["portal", "no_portal", "contact", "no_contact", "profile", "no_profile"]),
    after_help = "\
Examples:
  roost certificates set --portal box.example.org
  roost certificates set --no-contact"
)]
pub struct CertificatesSetArgs {
    /// A name of its own for the portal, in one of your domains, beside the mail server's name
    #[arg(long, value_name = "NAME", conflicts_with = "no_portal")]
    pub portal: Option<String>,
    /// The portal has no name but the mail server's
    #[arg(long)]
    pub no_portal: bool,
    /// Mail address that the authority may write to
    #[arg(long, value_name = "MAIL", conflicts_with = "no_contact")]
    pub contact: Option<String>,
    /// The authority need not write to anybody
    #[arg(long)]
    pub no_contact: bool,
    /// Certificate profile, where the authority offers some, e.g. `shortlived`
    #[arg(long, value_name = "NAME", conflicts_with = "no_profile")]
    pub profile: Option<String>,
    /// The authority's usual certificates
    #[arg(long)]
    pub no_profile: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Which certificate.
#[derive(Debug, Clone, Args)]
pub struct CertificatesOneArgs {
    /// As `roost certificates show` names it: `mail`, `portal`, or a domain
    #[arg(value_name = "CERTIFICATE", default_value = "mail")]
    pub id: String,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}

/// Options of `roost certificates revoke`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  roost certificates revoke example.org
  roost certificates revoke mail --key-compromised --yes")]
pub struct CertificatesRevokeArgs {
    /// As `roost certificates show` names it: `mail`, `portal`, or a domain
    #[arg(value_name = "CERTIFICATE")]
    pub id: String,
    /// Somebody else may have its private key; the box never uses that again
    #[arg(long)]
    pub key_compromised: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Which box.
    #[command(flatten)]
    pub which: BoxArgs,
}
