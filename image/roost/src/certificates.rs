//! `roost certificates`: who vouches for the box's names.

mod consent;

use crate::cli::{
    BoxArgs, CertificatesAgreeArgs, CertificatesArgs, CertificatesCommand, CertificatesOneArgs,
    CertificatesRevokeArgs, CertificatesSetArgs, CertificatesShowArgs,
};
use crate::device::Device;
use crate::device::error::DeviceError;
use crate::device::stop::Stop;
use crate::device::words::{plain, span};
use crate::error::Failure;
use crate::ui::Ui;
use crate::ui::table::{Align, Table};
pub use consent::{Answer, ask, offer};
use roost_service::certificates::{CertificateStatus, Choice, Directory, Failure as Why, State};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where Let's Encrypt's terms of service are.
const TERMS: &str = "https://letsencrypt.org/repository/";

/// How the box says that certificates stand.
#[derive(Debug, Serialize, Deserialize)]
struct Status {
    summary: String,
    choice: Option<Choice>,
    mail_host: Option<String>,
    domains: Vec<String>,
    directory: Option<String>,
    account: Option<String>,
    certificates: Vec<CertificateStatus>,
}

/// Nothing to tell but that it is done.
#[derive(Serialize)]
struct Done {}

/// `roost certificates`.
pub fn run(args: &CertificatesArgs, ui: &Ui) -> Result<(), Failure> {
    match &args.command {
        CertificatesCommand::Show(args) => show(args, ui),
        CertificatesCommand::Agree(args) => agree(args, ui),
        CertificatesCommand::Set(args) => set(args, ui),
        CertificatesCommand::Renew(args) => renew(args, ui),
        CertificatesCommand::SwitchKey(args) => switch_key(args, ui),
        CertificatesCommand::Revoke(args) => revoke(args, ui),
    }
}

fn open<'a>(which: &BoxArgs, ui: &'a Ui) -> Result<Device<'a>, Failure> {
    let stop = Stop::on_ctrl_c().map_err(|e| Failure::new("cannot watch for Ctrl-C").because(e))?;
    Device::of(which, None, stop, ui)
}

fn status(device: &mut Device<'_>) -> Result<Status, Failure> {
    let cannot = "cannot ask for the certificates of";
    let answer = device
        .api("GET", "/api/v1/certificates", None)
        .map_err(|e| device.failure(cannot, e))?;
    serde_json::from_value(answer)
        .map_err(|e| device.failure(cannot, DeviceError::NotUnderstood(e.to_string())))
}

fn choose(device: &mut Device<'_>, choice: &Choice) -> Result<(), Failure> {
    let body = serde_json::to_value(choice).expect("a choice is plain data");
    device
        .api("PUT", "/api/v1/certificates", Some(&body))
        .map(drop)
        .map_err(|e| device.failure("cannot choose how to get certificates for", e))
}

/// `roost certificates show`.
fn show(args: &CertificatesShowArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = open(&args.which, ui)?;
    let status = status(&mut device)?;
    ui.result(told(&status, SystemTime::now()), &status);
    Ok(())
}

/// How certificates stand, for people, as of `now` by this machine's clock.
fn told(status: &Status, now: SystemTime) -> String {
    let now = now
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let mut text = format!("{}\n", plain(&status.summary));
    if let Some(directory) = &status.directory {
        writeln!(text, "From {}.", plain(directory)).expect("writing to a string");
    }
    if !status.certificates.is_empty() {
        let mut table = Table::new(
            ["certificate", "names", "state", "holds for", "next"].map(|h| (h, Align::Left)),
        );
        for one in &status.certificates {
            let holds = match one.valid {
                Some((_, until)) if until >= now => span((until - now) as f64),
                Some((_, until)) => format!("ended {} ago", span((now - until) as f64)),
                None => "-".to_owned(),
            };
            let next = match one.next_at {
                Some(at) if at > now => format!("in {}", span((at - now) as f64)),
                Some(_) => "now".to_owned(),
                None => "-".to_owned(),
            };
            let mut names = one.names.iter().map(|name| plain(name));
            let first = names.next().unwrap_or_default();
            table.row([
                plain(&one.id),
                first,
                word(one.state).to_owned(),
                holds,
                next,
            ]);
            for name in names {
                table.row([String::new(), name]);
            }
        }
        write!(text, "\n{}", table.render()).expect("writing to a string");
    }
    for one in &status.certificates {
        if let Some(why) = &one.failure {
            text += &failed(&one.id, why, now);
        }
    }
    if !status
        .choice
        .as_ref()
        .is_some_and(|choice| choice.terms_agreed)
    {
        text += "\nNothing is ordered before you agree to the authority's terms: `roost certificates agree`.\n";
    }
    text
}

fn failed(id: &str, why: &Why, now: u64) -> String {
    let name = match &why.name {
        Some(name) => format!(" for {}", plain(name)),
        None => String::new(),
    };
    let times = match why.times {
        1 => String::new(),
        times => format!(", {times} times in a row"),
    };
    let age = span(now.saturating_sub(why.at) as f64);
    format!(
        "\n{}: {}{name} failed {age} ago{times}\n  because: {}\n  try: {}\n",
        plain(id),
        plain(&why.what),
        plain(&why.why),
        plain(&why.hint)
    )
}

fn word(state: State) -> &'static str {
    match state {
        State::Missing => "not there yet",
        State::Valid => "valid",
        State::Failing => "valid, renewal fails",
        State::Expired => "expired",
    }
}

/// `roost certificates agree`.
fn agree(args: &CertificatesAgreeArgs, ui: &Ui) -> Result<(), Failure> {
    let roots_pem = args.roots.as_deref().map(read).transpose()?;
    let mut device = open(&args.which, ui)?;
    let before = status(&mut device)?.choice.unwrap_or_default();
    let directory = match (&args.directory, args.staging) {
        (Some(url), _) => Directory::Url(url.clone()),
        (None, true) => Directory::LetsEncryptStaging,
        (None, false) => Directory::LetsEncrypt,
    };
    let choice = Choice {
        // A profile is of one authority.
        profile: before.profile.filter(|_| before.directory == directory),
        directory,
        terms_agreed: true,
        portal: before.portal,
        contact: args.contact.clone().or(before.contact),
        roots_pem,
    };
    device.confirm(
        &question(&choice.directory),
        args.yes,
        "agreeing to the authority's terms",
    )?;
    choose(&mut device, &choice)?;
    ui.result(
        "The box orders its certificates now. `roost certificates show` says how that goes.\n",
        &Done {},
    );
    Ok(())
}

/// What has to be answered with yes.
fn question(directory: &Directory) -> String {
    match directory {
        Directory::Url(url) => {
            format!("Do you agree to the terms of service of the certificate authority at {url}?")
        }
        _ => format!("Do you agree to Let's Encrypt's terms of service ({TERMS})?"),
    }
}

/// `roost certificates set`.
fn set(args: &CertificatesSetArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = open(&args.which, ui)?;
    let before = status(&mut device)?.choice.unwrap_or_default();
    let kept = |given: &Option<String>, none: bool, before: Option<String>| match (given, none) {
        (Some(given), _) => Some(given.clone()),
        (None, true) => None,
        (None, false) => before,
    };
    let choice = Choice {
        portal: kept(&args.portal, args.no_portal, before.portal)
            .map(|name| name.to_ascii_lowercase()),
        contact: kept(&args.contact, args.no_contact, before.contact),
        profile: kept(&args.profile, args.no_profile, before.profile),
        ..before
    };
    choose(&mut device, &choice)?;
    let text = match choice.terms_agreed {
        true => "It is kept. `roost certificates show` says what comes of it.\n",
        false => "It is kept. Nothing is ordered before `roost certificates agree`.\n",
    };
    ui.result(text, &choice);
    Ok(())
}

/// `roost certificates renew`.
fn renew(args: &CertificatesOneArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = open(&args.which, ui)?;
    order(
        &mut device,
        &args.id,
        "renew",
        None,
        "cannot renew a certificate of",
    )?;
    ui.result(
        "A new certificate is being ordered. `roost certificates show` says what comes of it.\n",
        &Done {},
    );
    Ok(())
}

/// `roost certificates switch-key`.
fn switch_key(args: &CertificatesOneArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = open(&args.which, ui)?;
    let cannot = "cannot take the next key of";
    order(&mut device, &args.id, "switch-key", None, cannot)?;
    ui.result(
        "The next key takes over as soon as others have seen it in the zone; that takes some hours.\n",
        &Done {},
    );
    Ok(())
}

/// `roost certificates revoke`.
fn revoke(args: &CertificatesRevokeArgs, ui: &Ui) -> Result<(), Failure> {
    let mut device = open(&args.which, ui)?;
    let question = format!(
        "Revoke the certificate {}? Until there is another one, programs may refuse to talk to the box.",
        plain(&args.id)
    );
    device.confirm(&question, args.yes, "revoking a certificate")?;
    let body = serde_json::json!({ "key_compromised": args.key_compromised });
    let cannot = "cannot revoke a certificate of";
    order(&mut device, &args.id, "revoke", Some(body), cannot)?;
    ui.result(
        "It is being revoked, and another one ordered. `roost certificates show` says what comes of it.\n",
        &Done {},
    );
    Ok(())
}

fn order(
    device: &mut Device<'_>,
    id: &str,
    what: &str,
    body: Option<serde_json::Value>,
    cannot: &str,
) -> Result<(), Failure> {
    // What is in a path is not typed by accident: ids are names.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if id.is_empty() || !id.chars().all(is_plain) {
        return Err(
            Failure::usage(format!("{:?} is no certificate's name", plain(id)))
                .hint("`roost certificates show` has their names, e.g. mail"),
        );
    }
    let path = format!("/api/v1/certificates/{id}/{what}");
    device
        .api("POST", &path, body.as_ref())
        .map(drop)
        .map_err(|e| device.failure(cannot, e))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|e| Failure::usage(format!("cannot read {}", path.display())).because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const NOW: u64 = 1_800_000_000;

    fn status() -> Status {
        let one = |id: &str, names: &[&str], state| CertificateStatus {
            id: id.into(),
            names: names.iter().map(ToString::to_string).collect(),
            readers: vec!["portal".into()],
            state,
            summary: String::new(),
            serial: None,
            valid: None,
            next_at: None,
            tls_keys: Vec::new(),
            failure: None,
        };
        Status {
            summary: "mail.example.org: it cannot be renewed.".into(),
            choice: Some(Choice {
                terms_agreed: true,
                ..Choice::default()
            }),
            mail_host: Some("mail.example.org".into()),
            domains: vec!["example.org".into()],
            directory: Some(Directory::LetsEncrypt.url().into()),
            account: None,
            certificates: vec![
                CertificateStatus {
                    valid: Some((NOW - 60 * DAY, NOW + 30 * DAY)),
                    next_at: Some(NOW + 600),
                    failure: Some(Why {
                        at: NOW - 7200,
                        times: 3,
                        what: "Ordering".into(),
                        name: Some("mail.example.org".into()),
                        why: "the authority saw no \u{1b}[31mrecord".into(),
                        hint: "see whether the domain is delegated: `roost dns check`".into(),
                    }),
                    ..one("mail", &["mail.example.org"], State::Failing)
                },
                CertificateStatus {
                    valid: Some((NOW - 90 * DAY, NOW - DAY)),
                    next_at: Some(NOW),
                    ..one("portal", &["box.example.org"], State::Expired)
                },
                one(
                    "example.org",
                    &["mta-sts.example.org", "autoconfig.example.org"],
                    State::Missing,
                ),
            ],
        }
    }

    fn at(status: &Status) -> String {
        let text = told(status, UNIX_EPOCH + Duration::from_secs(NOW));
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn certificates_are_told_with_what_failed_and_what_to_do() {
        insta::assert_snapshot!(at(&status()));
        let none = Status {
            summary: "It is not chosen yet how to get certificates.".into(),
            choice: None,
            directory: None,
            certificates: Vec::new(),
            ..status()
        };
        insta::assert_snapshot!(at(&none));
    }

    #[test]
    fn it_is_said_whose_terms_are_agreed_to() {
        let all = [
            Directory::LetsEncrypt,
            Directory::LetsEncryptStaging,
            Directory::Url("https://ca.example/directory".into()),
        ];
        insta::assert_snapshot!(all.map(|one| question(&one)).join("\n"));
    }
}
