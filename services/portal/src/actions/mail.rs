//! Accounts, domains, DNS records, queue: what the mail service does when it is asked
//! ([`roost_service::mail`]). It checks names and limits itself; what it refuses is told.
//!
//! Every change is in the log, whoever asks and by whichever door. It is written down after the
//! service has done it, because much is refused; the task that asks is not the visitor's, so nobody
//! keeps a change out of the log by hanging up. Should the service break off, the entry says that
//! nobody knows whether it was done.

use super::entry;
use super::pairing::mail_password;
use crate::app::App;
use crate::audit::{Actor, Event, MailChange};
use crate::setup::MailPassword;
use crate::sockets::{NoAnswer, ask};
use crate::store::StoreError;
use roost_service::mail::{
    Account, Answer, AppPassword, Call, MAX_CALL, Overview, QueuedMessage, Secret, line,
};
use roost_service::names::{Address, Domain};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

const WHO: &str = "the mail service";
/// Longest name that the log keeps, in bytes: an address has 318 at most (RFC 5321, section 4.5.3.1).
const MAX_KEPT: usize = 320;

/// Who wants a change, for the log.
#[derive(Debug, Clone, Copy)]
pub struct By {
    /// Who.
    pub who: Actor,
    /// From where.
    pub from: IpAddr,
}

/// Why something about mail came to nothing.
#[derive(Debug)]
pub enum No {
    /// The mail service cannot be asked.
    Answer(NoAnswer),
    /// It said no.
    Refused {
        /// What did not happen.
        what: String,
        /// Why.
        because: String,
        /// What to do.
        hint: Option<String>,
    },
}

async fn call(app: &App, call: &Call) -> Result<Answer, No> {
    if line(call).is_ok_and(|line| line.len() > MAX_CALL) {
        return Err(No::Refused {
            what: "nothing was done".into(),
            because: "what was sent is longer than anything that mail has a use for".into(),
            hint: None,
        });
    }
    match ask(WHO, &app.places.mail, call).await {
        Ok(Answer::Error {
            what,
            because,
            hint,
        }) => Err(No::Refused {
            what,
            because,
            hint,
        }),
        Ok(answer) => Ok(answer),
        Err(no) => Err(No::Answer(no)),
    }
}

fn strange() -> No {
    No::Answer(NoAnswer {
        who: WHO,
        why: io::Error::other("it answers something else"),
    })
}

/// Has something changed, and writes it down.
async fn perform(
    app: &Arc<App>,
    by: By,
    order: Call,
    what: Option<MailChange>,
) -> Result<Answer, No> {
    let app = app.clone();
    let done = tokio::spawn(async move {
        let answer = call(&app, &order).await;
        let known = match &answer {
            Ok(_) => true,
            Err(No::Answer(no)) if no.may_have_been_done() => false,
            Err(_) => return answer,
        };
        if let Some(change) = what {
            let event = Event::Mail { change, known };
            let written: Result<(), StoreError> = app
                .change(move |store, now| store.audit_entry(&entry(now, by.who, by.from, event)))
                .await;
            // It is done all the same, and an answer may hold a password that nobody can ask for again.
            if let Err(error) = written {
                eprintln!("portal: a change of mail is not in the log: {error}");
            }
        }
        answer
    });
    match done.await {
        Ok(answer) => answer,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The same for what is answered with nothing but "done".
async fn change(app: &Arc<App>, by: By, order: Call, what: Option<MailChange>) -> Result<(), No> {
    match perform(app, by, order, what).await? {
        Answer::Done => Ok(()),
        _ => Err(strange()),
    }
}

/// Accounts and domains.
///
/// # Errors
/// [`No`].
pub async fn look(app: &App) -> Result<Overview, No> {
    match call(app, &Call::Overview).await? {
        Answer::Overview(overview) => Ok(overview),
        _ => Err(No::Answer(NoAnswer {
            who: WHO,
            why: io::ErrorKind::InvalidData.into(),
        })),
    }
}

/// The same for whoever needs no reason in parts.
///
/// # Errors
/// When the service does not answer, or refuses.
pub async fn overview(app: &App) -> Result<Overview, NoAnswer> {
    look(app).await.map_err(|no| match no {
        No::Answer(no) => no,
        No::Refused { what, because, .. } => NoAnswer {
            who: WHO,
            why: io::Error::other(format!("{what}: {because}")),
        },
    })
}

/// An account; `None` if there is none of this name.
///
/// # Errors
/// [`No`].
pub async fn account(app: &App, name: &str) -> Result<Option<Account>, No> {
    let all = look(app).await?.accounts;
    Ok(all.into_iter().find(|account| account.name == name))
}

/// Whether one of the box's domains is written like this.
pub fn has_domain(overview: &Overview, typed: &str) -> bool {
    let name = domain_name(typed);
    overview.domains.iter().any(|domain| domain.name == name)
}

/// Whether one of the account's addresses is written like this.
pub fn has_address(account: &Account, typed: &str) -> bool {
    let address = address_name(typed);
    account.addresses.contains(&address)
}

/// As the mail service spells it; what is none is left to it to refuse.
fn domain_name(typed: &str) -> String {
    Domain::parse(typed).map_or_else(|_| kept(typed), |domain| domain.to_string())
}

fn address_name(typed: &str) -> String {
    Address::parse(typed).map_or_else(|_| kept(typed), |address| address.to_string())
}

/// What was typed, as the log may keep it. The service refuses what is longer, but may break off
/// before it says so.
fn kept(typed: &str) -> String {
    let typed = typed.trim();
    typed[..typed.floor_char_boundary(MAX_KEPT)].to_owned()
}

/// A new account.
#[derive(Debug)]
pub struct NewAccount {
    /// Log-in name, and what stands before the `@`.
    pub name: String,
    /// One of the box's domains.
    pub domain: String,
    /// The person's name; may be empty.
    pub display_name: String,
    /// Most bytes that it may hold; `None`: as many as the card.
    pub quota: Option<u64>,
}

/// Makes an account, with a password that the box makes.
///
/// # Errors
/// [`No`].
pub async fn add_account(app: &Arc<App>, by: By, new: NewAccount) -> Result<MailPassword, No> {
    let (password, hash) = mail_password(app).await;
    let what = MailChange::AccountAdded {
        account: kept(&new.name),
        domain: domain_name(&new.domain),
    };
    let add = Call::AddAccount {
        name: new.name,
        domain: new.domain,
        display_name: new.display_name,
        password_hash: Secret(hash.into()),
        quota: new.quota,
    };
    change(app, by, add, Some(what)).await?;
    Ok(password)
}

/// Deletes an account with all that it holds.
///
/// # Errors
/// [`No`].
pub async fn remove_account(app: &Arc<App>, by: By, name: String) -> Result<(), No> {
    let account = kept(&name);
    let what = MailChange::AccountRemoved { account };
    change(app, by, Call::RemoveAccount { name }, Some(what)).await
}

/// Gives the person another name, which may be empty.
///
/// # Errors
/// [`No`].
pub async fn set_display_name(
    app: &Arc<App>,
    by: By,
    name: String,
    display_name: String,
) -> Result<(), No> {
    let before = account(app, &name).await.ok().flatten();
    let changes = before.is_none_or(|before| before.display_name != display_name.trim());
    let what = changes.then(|| MailChange::DisplayNameSet {
        account: kept(&name),
        display_name: kept(&display_name),
    });
    let order = Call::SetDisplayName { name, display_name };
    change(app, by, order, what).await
}

/// Sets how many bytes an account may hold; `None`: as many as the card.
///
/// # Errors
/// [`No`].
pub async fn set_quota(app: &Arc<App>, by: By, name: String, quota: Option<u64>) -> Result<(), No> {
    let before = account(app, &name).await.ok().flatten();
    let changes = before.is_none_or(|before| before.quota != quota);
    let what = changes.then(|| MailChange::QuotaSet {
        account: kept(&name),
        quota,
    });
    change(app, by, Call::SetQuota { name, quota }, what).await
}

/// Makes another password for an account; its app passwords stay.
///
/// # Errors
/// [`No`].
pub async fn set_password(app: &Arc<App>, by: By, name: String) -> Result<MailPassword, No> {
    let (password, hash) = mail_password(app).await;
    let account = kept(&name);
    let what = MailChange::PasswordSet { account };
    let password_hash = Secret(hash.into());
    let order = Call::SetPassword {
        name,
        password_hash,
    };
    change(app, by, order, Some(what)).await?;
    Ok(password)
}

/// One more address for an account.
///
/// # Errors
/// [`No`].
pub async fn add_alias(app: &Arc<App>, by: By, name: String, address: String) -> Result<(), No> {
    let what = MailChange::AddressAdded {
        account: kept(&name),
        address: address_name(&address),
    };
    change(app, by, Call::AddAlias { name, address }, Some(what)).await
}

/// Takes an address from an account.
///
/// # Errors
/// [`No`].
pub async fn remove_alias(app: &Arc<App>, by: By, name: String, address: String) -> Result<(), No> {
    let what = MailChange::AddressRemoved {
        account: kept(&name),
        address: address_name(&address),
    };
    change(app, by, Call::RemoveAlias { name, address }, Some(what)).await
}

/// The app passwords of an account, the oldest first.
///
/// # Errors
/// [`No`].
pub async fn app_passwords(app: &App, name: &str) -> Result<Vec<AppPassword>, No> {
    let name = name.to_owned();
    match call(app, &Call::AppPasswords { name }).await? {
        Answer::AppPasswords { passwords } => Ok(passwords),
        _ => Err(strange()),
    }
}

/// Makes a password for one device or program. Gives its id and the password, which nobody can
/// ask for again.
///
/// # Errors
/// [`No`].
pub async fn make_app_password(
    app: &Arc<App>,
    by: By,
    name: String,
    label: String,
) -> Result<(String, Secret), No> {
    let what = MailChange::AppPasswordMade {
        account: kept(&name),
        label: kept(&label),
    };
    let order = Call::MakeAppPassword { name, label };
    match perform(app, by, order, Some(what)).await? {
        Answer::AppPassword { id, password } => Ok((id, password)),
        _ => Err(strange()),
    }
}

/// Makes an app password useless.
///
/// # Errors
/// [`No`].
pub async fn revoke_app_password(
    app: &Arc<App>,
    by: By,
    name: String,
    id: String,
) -> Result<(), No> {
    // The log says which by what it was for: ids mean nothing to people.
    let all = app_passwords(app, &name).await.unwrap_or_default();
    let label = all.into_iter().find(|password| password.id == id);
    let what = MailChange::AppPasswordRevoked {
        account: kept(&name),
        label: label.map(|password| password.label).unwrap_or_default(),
    };
    let order = Call::RevokeAppPassword { name, id };
    change(app, by, order, Some(what)).await
}

/// One more domain.
///
/// # Errors
/// [`No`].
pub async fn add_domain(app: &Arc<App>, by: By, domain: String) -> Result<(), No> {
    let what = MailChange::DomainAdded {
        domain: domain_name(&domain),
    };
    let account = None;
    change(app, by, Call::AddDomain { domain, account }, Some(what)).await
}

/// No more mail for a domain.
///
/// # Errors
/// [`No`].
pub async fn remove_domain(app: &Arc<App>, by: By, domain: String) -> Result<(), No> {
    let what = MailChange::DomainRemoved {
        domain: domain_name(&domain),
    };
    change(app, by, Call::RemoveDomain { domain }, Some(what)).await
}

/// Who gets mail to addresses of a domain that nobody has; `None`: it is refused.
///
/// # Errors
/// [`No`].
pub async fn set_catch_all(
    app: &Arc<App>,
    by: By,
    domain: String,
    account: Option<String>,
) -> Result<(), No> {
    let name = domain_name(&domain);
    let before = look(app).await.map_or(vec![], |before| before.domains);
    let before = before.into_iter().find(|domain| domain.name == name);
    let changes = before.is_none_or(|before| before.catch_all != account);
    let what = changes.then(|| MailChange::CatchAllSet {
        domain: name,
        account: account.as_deref().map(kept),
    });
    change(app, by, Call::SetCatchAll { domain, account }, what).await
}

/// A page of what waits for delivery.
#[derive(Debug)]
pub struct Waiting {
    /// The oldest first.
    pub messages: Vec<QueuedMessage>,
    /// Whether more follow.
    pub more: bool,
}

/// What waits for delivery, behind the message `after` or from the beginning.
///
/// # Errors
/// [`No`].
pub async fn queue(app: &App, after: Option<String>) -> Result<Waiting, No> {
    match call(app, &Call::Queue { after }).await? {
        Answer::Queue { messages, more } => Ok(Waiting { messages, more }),
        _ => Err(strange()),
    }
}

/// Has a message tried again now. That changes nothing, so the log does not say so.
///
/// # Errors
/// [`No`].
pub async fn retry_queued(app: &App, id: String) -> Result<(), No> {
    match call(app, &Call::RetryQueued { id }).await? {
        Answer::Done => Ok(()),
        _ => Err(strange()),
    }
}

/// Forgets a message that waits; nobody is told. The log names neither sender nor receiver: strangers
/// choose those.
///
/// # Errors
/// [`No`].
pub async fn delete_queued(app: &Arc<App>, by: By, id: String) -> Result<(), No> {
    let what = MailChange::QueuedDeleted;
    change(app, by, Call::DeleteQueued { id }, Some(what)).await
}
