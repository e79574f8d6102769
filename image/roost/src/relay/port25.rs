//! `roost relay port25`: AWS lets mail out only when it was asked to.

use super::home::{Home, Port25};
use super::{Made, Project, Terraform, on_ctrl_c};
use crate::cli::RelayLookArgs;
use crate::device::words::plain;
use crate::error::Failure;
use crate::ui::Ui;
use serde::Serialize;

/// AWS's form, "Request to remove email sending limitations".
const FORM: &str = "https://console.aws.amazon.com/support/contacts?#/rdns-limits";

/// `roost relay port25`.
pub fn run(args: &RelayLookArgs, ui: &Ui) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Result<'a> {
        port25: Option<&'a Port25>,
        form: Option<&'static str>,
        request: Option<&'a str>,
    }
    let stop = on_ctrl_c()?;
    let project = Project::open(&args.project.config)?;
    let choices = project.made()?;
    let made: Made = Terraform::new(&project.folder, None, stop.clone(), ui)?
        .output("relay")?
        .ok_or_else(|| {
            Failure::usage("the relay is not made yet").hint("run `roost relay apply` first")
        })?;
    let found = match Home::of(&args.which, stop, ui).and_then(|mut home| home.port25()) {
        Ok(found) => Some(found),
        Err(failure) => {
            ui.warn(format!("the box could not try: {}", failure.in_a_line()));
            None
        }
    };
    if let Some(found) = found.as_ref().filter(|found| found.state == "open") {
        let text = format!(
            "Mail gets out: {}. Nothing is left to ask AWS for.\n",
            plain(&found.why)
        );
        ui.result(
            text,
            &Result {
                port25: Some(found),
                form: None,
                request: None,
            },
        );
        return Ok(());
    }
    if let Some(found) = &found {
        ui.info(format!(
            "Mail does not get out yet: {}.\n",
            plain(&found.why)
        ));
    }
    let host = choices.mail_host.or_else(|| project.mail_host());
    let text = request(&made, host.as_deref());
    ui.result(
        format!(
            "Open {FORM}\n(signed in as the account's owner) and fill in:\n\n{text}\n\
             AWS answers by mail, mostly within two days. This command then says that mail gets out.\n"
        ),
        &Result {
            port25: found.as_ref(),
            form: Some(FORM),
            request: Some(&text),
        },
    );
    Ok(())
}

/// What the form wants to know.
fn request(made: &Made, host: Option<&str>) -> String {
    let host = host.unwrap_or("(the name of your mail server)");
    let domain = host.strip_prefix("mail.").unwrap_or(host);
    let Made {
        public_ipv4,
        allocation_id,
        instance_id,
        region,
        ..
    } = made;
    format!(
        "\
Region: {region}
Elastic IP address: {public_ipv4} ({allocation_id})
Instance: {instance_id}
Reverse DNS record: {host}
Use case description:
    This is the public address of a personal mail server for the domain {domain}, used by one
    household. It sends only mail that its own users write: no newsletters, no advertising, no
    notifications of any program, some dozens of messages a day. Users log in with a password;
    the server relays for nobody else. Outgoing mail is signed with DKIM, and SPF and DMARC
    records are published. Bounces and complaints reach postmaster@{domain} and abuse@{domain},
    which are read. Please remove the limitation of port 25 from this address and set the
    reverse DNS record above.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_says_all_that_aws_asks() {
        let made: Made = serde_json::from_value(serde_json::json!({
            "public_ipv4": "203.0.113.7", "public_ipv6": "2001:db8::10", "region": "eu-central-1",
            "allocation_id": "eipalloc-0123456789abcdef0", "endpoint": "203.0.113.7:51820",
            "tunnel": {"relay_ipv4": "10.77.0.1", "box_ipv4": "10.77.0.2", "box_ipv6": "fd77:77::2", "mtu": 1380},
            "instance_id": "i-0123456789abcdef0",
        }))
        .unwrap();
        insta::assert_snapshot!(request(&made, Some("mail.example.org")));
    }
}
