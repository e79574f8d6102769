//! Certificates that others trust.

use super::{DAY, NO_CLOCK};
use crate::health::facts::Facts;
use crate::health::table::Check;
use crate::health::verdict::{Verdict, failed, ok, together, unknown, warning};
use crate::web::{rounded, times};
use roost_service::certificates::{Role, State, Status};
use std::time::Duration;

/// In the order in which they are shown.
pub const CHECKS: &[Check] = &[
    Check {
        id: "cert-agreed",
        what: "An authority may be asked for certificates",
        how: "Whether you have agreed to its terms. A warning if not: browsers and mail programs then warn of the box, and \
              other mail servers cannot insist on encryption.",
        to_do: "Agree to Let's Encrypt's terms: `roost certificates agree`. The domain has to be delegated to the box.",
        decide: agreed,
    },
    Check {
        id: "cert-valid",
        what: "Every certificate holds",
        how: "How long each certificate holds. A warning with less than 14 days left (7 if it was made for less than 30 days, \
              2 for less than 10) or while one is missing, failed with less than a third of that, or if it has ended.",
        to_do: "`roost certificates show` says what failed; `roost certificates renew` tries now.",
        decide: valid,
    },
    Check {
        id: "cert-renewal",
        what: "Renewing works",
        how: "Whether the last try to get or renew each certificate failed. A warning until one succeeds.",
        to_do: "`roost certificates show` says why. The box tries again by itself.",
        decide: renewal,
    },
    Check {
        id: "cert-keys",
        what: "The keys are announced before they are used",
        how: "Whether all name servers have the hash of the current key (TLSA), as dns has said. A warning if not: other \
              mail servers that check would not deliver.",
        to_do: "`roost dns check` shows which name server lacks it. The next key waits until all have it.",
        decide: keys,
    },
];

fn status(facts: &Facts) -> Result<&Status, Verdict> {
    match &facts.certificates {
        Ok(status) => Ok(status),
        Err(why) => Err(unknown(why)),
    }
}

/// The status of a box that orders certificates.
fn ordered(facts: &Facts) -> Result<&Status, Verdict> {
    let status = status(facts)?;
    match &status.choice {
        Some(choice) if choice.terms_agreed => Ok(status),
        _ => Err(unknown("no authority may be asked for certificates yet")),
    }
}

fn agreed(facts: &Facts) -> Verdict {
    match ordered(facts) {
        Ok(status) => ok(format!(
            "Asked is {}.",
            status.directory.as_deref().unwrap_or("an authority")
        )),
        Err(not) if facts.certificates.is_err() => not,
        Err(_) => {
            warning("You have not agreed to an authority's terms, so the box vouches for itself.")
        }
    }
}

fn valid(facts: &Facts) -> Verdict {
    let status = match ordered(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let Some(now) = facts.now else {
        return unknown(NO_CLOCK);
    };
    if status.certificates.is_empty() {
        return unknown("there is no name yet that a certificate would be for");
    }
    let mut least = u64::MAX;
    let all: Vec<Verdict> = (status.certificates.iter())
        .map(|one| {
            let id = &one.id;
            let Some((from, until)) = one.valid else {
                return warning(format!("There is no certificate for {id} yet."));
            };
            let left = until.saturating_sub(now.0);
            least = least.min(left);
            // Short-lived ones hold for a week.
            let soon = match until.saturating_sub(from) / DAY {
                0..10 => 2 * DAY,
                10..30 => 7 * DAY,
                _ => 14 * DAY,
            };
            let rest = rounded(Duration::from_secs(left));
            if left == 0 || one.state == State::Expired {
                failed(format!("The certificate for {id} has ended."))
            } else if left < soon / 3 {
                failed(format!("The certificate for {id} ends in {rest}."))
            } else if left < soon {
                warning(format!("The certificate for {id} ends in {rest}."))
            } else {
                ok("")
            }
        })
        .collect();
    together(
        all,
        format!(
            "The first to end holds for {}.",
            rounded(Duration::from_secs(least))
        ),
    )
}

fn renewal(facts: &Facts) -> Verdict {
    let status = match ordered(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    let all = status.certificates.iter().map(|one| match &one.failure {
        None => ok(""),
        Some(why) => {
            let what = why.what.trim_end_matches('.');
            let because = why.why.trim_end_matches('.');
            warning(format!(
                "{}: {what} failed{}: {because}.",
                one.id,
                in_a_row(why.times)
            ))
            .to_do(format!("{}.", capital(why.hint.trim_end_matches('.'))))
        }
    });
    together(all, "The last try for each succeeded.")
}

fn in_a_row(count: u32) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(", {} in a row", times(count)),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn keys(facts: &Facts) -> Verdict {
    let status = match ordered(facts) {
        Ok(status) => status,
        Err(not) => return not,
    };
    // Only the mail host's keys are announced.
    let mail = status.certificates.iter();
    let Some(mail) = mail
        .into_iter()
        .find(|one| one.id == roost_service::certificates::MAIL)
    else {
        return unknown("there is no certificate for the mail server yet");
    };
    if mail.valid.is_none() {
        return unknown("there is no certificate for the mail server yet");
    }
    let current = mail.tls_keys.iter().find(|key| key.role == Role::Current);
    match current {
        None => unknown("the mail server's certificate has no key that is known"),
        Some(key) if key.published_since.is_some() => {
            ok("All name servers have the current key's hash.")
        }
        Some(_) => warning("Not all name servers have the hash of the mail server's current key."),
    }
}
