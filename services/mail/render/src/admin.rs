//! What is done about a call on the admin socket: a call and the directory become steps and an
//! answer. Reads and changes nothing itself; whoever calls this reads the directory, decides
//! and performs the steps without letting another call in between.
//!
//! | what | cannot be taken away, because |
//! |---|---|
//! | the box's own domain | the box's settings name it, and it would be back after a restart |
//! | the box's first account | the box itself writes to it |
//! | an account's own address | the account would receive nothing |
//! | `postmaster@` and `abuse@` of a domain | RFC 2142 asks for them; they can be given to another account |

use crate::app_password;
use crate::book::{Book, Entry, REQUIRED, Step};
use crate::password_hash;
use crate::plan::own_address;
use crate::setup::Setup;
use roost_service::mail::{
    Account, Answer, Call, Domain, MAX_ACCOUNTS, MAX_ADDRESSES, MAX_APP_PASSWORDS, MAX_DOMAINS,
    MAX_LABEL, Overview, Published, Secret,
};
use roost_service::names::{self, AccountName, Address, Reason, printable};

/// Smallest quota: below it a phone's first look at its mailbox fails.
const MIN_QUOTA: u64 = 1 << 20;

/// What comes from outside and is never the same.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    /// Random bytes for an app password.
    pub random: [u8; app_password::RANDOM],
    /// Seconds since 1970.
    pub now: u64,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// Changes of the directory, in order.
    pub steps: Vec<Step>,
    /// What the portal is told once they are done.
    pub answer: Answer,
}

/// What a call is about.
#[derive(Debug)]
pub enum Topic {
    /// The directory: for [`decide`].
    Directory,
    /// The messages behind this one.
    Queue {
        /// Number of a message.
        after: Option<u64>,
    },
    /// Try to deliver this message.
    Retry {
        /// Number of a message.
        id: u64,
    },
    /// Forget this message.
    Forget {
        /// Number of a message.
        id: u64,
    },
}

/// What a call is about, its parts checked where that needs no directory.
///
/// # Errors
/// The answer that refuses it.
pub fn topic(call: &Call) -> Result<Topic, Answer> {
    let number = |id: &str| {
        let digits = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| id.parse().ok()).flatten();
        number.ok_or_else(|| Answer::Error {
            what: "nothing was done about the message".into(),
            because: format!("\"{}\" is no number of a message", printable(id)),
            hint: None,
        })
    };
    Ok(match call {
        Call::Queue { after } => Topic::Queue {
            after: after.as_deref().map(number).transpose()?,
        },
        Call::RetryQueued { id } => Topic::Retry { id: number(id)? },
        Call::DeleteQueued { id } => Topic::Forget { id: number(id)? },
        _ => Topic::Directory,
    })
}

/// The answer of a box that has no domain yet, whatever was asked.
pub fn waiting() -> Answer {
    Answer::Error {
        what: "the mail service has nothing to show".into(),
        because: "this box has no domain yet".into(),
        hint: Some("pair the box first".into()),
    }
}

/// Decides about a call that is about the directory. `queued` is how many messages wait.
///
/// # Errors
/// The answer that refuses it; nothing is to be changed.
pub fn decide(
    call: &Call,
    book: &Book,
    setup: &Setup,
    queued: u64,
    fresh: Fresh,
) -> Result<Decision, Answer> {
    let what = not_done(call);
    let desk = Desk { book, setup };
    let decided = match call {
        Call::Overview => Ok(answer(Answer::Overview(desk.overview(queued)))),
        Call::AddAccount {
            name,
            domain,
            display_name,
            password_hash,
            quota,
        } => desk.add_account(name, domain, display_name, &password_hash.0, *quota),
        Call::RemoveAccount { name } => desk.remove_account(name),
        Call::SetDisplayName { name, display_name } => desk.account(name).and_then(|entry| {
            Ok(step(Step::SetDisplayName {
                name: entry.name.clone(),
                display_name: person(display_name)?,
            }))
        }),
        Call::SetPassword {
            name,
            password_hash,
        } => desk.account(name).and_then(|entry| {
            Ok(step(Step::SetPassword {
                name: entry.name.clone(),
                password_hash: password_hash::check(&password_hash.0)?.to_owned(),
            }))
        }),
        Call::SetQuota { name, quota } => desk.account(name).and_then(|entry| {
            Ok(step(Step::SetQuota {
                name: entry.name.clone(),
                quota: size(*quota)?,
            }))
        }),
        Call::AddAlias { name, address } => desk.add_alias(name, address),
        Call::RemoveAlias { name, address } => desk.remove_alias(name, address),
        Call::AppPasswords { name } => desk.account(name).map(|entry| {
            answer(Answer::AppPasswords {
                passwords: passwords(entry),
            })
        }),
        Call::MakeAppPassword { name, label } => desk.make_app_password(name, label, fresh),
        Call::RevokeAppPassword { name, id } => desk.revoke_app_password(name, id),
        Call::SetCatchAll { domain, account } => desk.set_catch_all(domain, account.as_deref()),
        Call::AddDomain { domain, account } => desk.add_domain(domain, account.as_deref()),
        Call::RemoveDomain { domain } => desk.remove_domain(domain),
        Call::Published => Ok(answer(Answer::Published(Published {
            host: setup.host.clone(),
            domains: (desk.overview(0).domains.into_iter())
                .map(|domain| domain.name)
                .collect(),
            // The directory does not have them; the program does.
            dkim: Vec::new(),
        }))),
        Call::Queue { .. } | Call::RetryQueued { .. } | Call::DeleteQueued { .. } => {
            Err(Reason::new("this is not about accounts"))
        }
    };
    decided.map_err(|reason| Answer::Error {
        what,
        because: reason.message,
        hint: reason.hint,
    })
}

/// What did not happen if a call is refused or fails.
pub fn not_done(call: &Call) -> String {
    let p = printable;
    match call {
        Call::Overview => "the accounts cannot be shown".into(),
        Call::AddAccount { name, .. } => format!("the account \"{}\" was not made", p(name)),
        Call::RemoveAccount { name } => format!("the account \"{}\" was not deleted", p(name)),
        Call::SetDisplayName { name, .. } => format!("the name of \"{}\" stays", p(name)),
        Call::SetPassword { name, .. } => format!("the password of \"{}\" stays", p(name)),
        Call::SetQuota { name, .. } => format!("the space of \"{}\" stays", p(name)),
        Call::AddAlias { name, address } => {
            format!("\"{}\" was not given to \"{}\"", p(address), p(name))
        }
        Call::RemoveAlias { name, address } => {
            format!("\"{}\" was not taken from \"{}\"", p(address), p(name))
        }
        Call::AppPasswords { name } => {
            format!("the app passwords of \"{}\" cannot be shown", p(name))
        }
        Call::MakeAppPassword { name, .. } => {
            format!("no app password was made for \"{}\"", p(name))
        }
        Call::RevokeAppPassword { name, .. } => {
            format!("the app password of \"{}\" still works", p(name))
        }
        Call::SetCatchAll { domain, .. } => {
            format!("unknown addresses of \"{}\" go where they went", p(domain))
        }
        Call::AddDomain { domain, .. } => format!("the domain \"{}\" was not added", p(domain)),
        Call::RemoveDomain { domain } => format!("the domain \"{}\" was not removed", p(domain)),
        Call::Published => "what the DNS is to say cannot be shown".into(),
        Call::Queue { .. } => "the messages that wait cannot be shown".into(),
        Call::RetryQueued { .. } => "the message was not tried again".into(),
        Call::DeleteQueued { .. } => "the message was not deleted".into(),
    }
}

/// A mail server's words on one line, at most `most` bytes.
pub fn plain_line(text: &str, most: usize) -> String {
    let mut line: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    line.truncate(line.floor_char_boundary(most));
    line
}

fn answer(answer: Answer) -> Decision {
    Decision {
        steps: Vec::new(),
        answer,
    }
}

fn steps(steps: Vec<Step>) -> Decision {
    Decision {
        steps,
        answer: Answer::Done,
    }
}

fn step(step: Step) -> Decision {
    steps(vec![step])
}

fn person(name: &str) -> Result<String, Reason> {
    let name = name.trim();
    if name.chars().count() > MAX_LABEL {
        return Err(Reason::new(format!(
            "the person's name is longer than {MAX_LABEL} letters"
        )));
    }
    if name.chars().any(char::is_control) {
        return Err(Reason::new(
            "the person's name has signs that cannot be shown",
        ));
    }
    Ok(name.to_owned())
}

fn size(quota: Option<u64>) -> Result<Option<u64>, Reason> {
    match quota {
        Some(bytes) if bytes < MIN_QUOTA => Err(Reason::new(
            "less than one megabyte is too little for a mailbox",
        )
        .hint("give more, or no limit")),
        // What fits into the library's signed counters.
        Some(bytes) if bytes > i64::MAX as u64 => Err(Reason::new("that is more than any card")),
        quota => Ok(quota),
    }
}

fn passwords(entry: &Entry) -> Vec<roost_service::mail::AppPassword> {
    let mut passwords: Vec<_> = entry
        .app_passwords
        .iter()
        .filter_map(|kept| app_password::read(kept))
        .collect();
    passwords.sort_by(|a, b| (a.made, &a.id).cmp(&(b.made, &b.id)));
    passwords
}

/// Whether an address is one that its domain must have.
fn is_required(address: &str) -> bool {
    let local = address.split('@').next().unwrap_or_default();
    REQUIRED.contains(&local)
}

/// The directory and the settings, while somebody decides.
struct Desk<'a> {
    book: &'a Book,
    setup: &'a Setup,
}

impl Desk<'_> {
    fn overview(&self, queued: u64) -> Overview {
        let mut domains: Vec<Domain> = self
            .book
            .domains
            .iter()
            .map(|name| Domain {
                name: name.clone(),
                main: *name == self.setup.domain,
                catch_all: self
                    .book
                    .owner(&format!("@{name}"))
                    .map(|entry| entry.name.clone()),
            })
            .collect();
        domains.sort_by(|a, b| (!a.main, &a.name).cmp(&(!b.main, &b.name)));
        let mut accounts: Vec<Account> = self
            .book
            .accounts
            .iter()
            .map(|entry| Account {
                name: entry.name.clone(),
                display_name: entry.display_name.clone(),
                first: entry.name == self.setup.account.name,
                addresses: entry
                    .addresses
                    .iter()
                    .filter(|address| !address.starts_with('@'))
                    .cloned()
                    .collect(),
                quota: entry.quota,
                used: entry.used,
                app_passwords: passwords(entry).len() as u64,
            })
            .collect();
        accounts.sort_by(|a, b| (!a.first, &a.name).cmp(&(!b.first, &b.name)));
        Overview {
            host: self.setup.host.clone(),
            domains,
            accounts,
            queued,
        }
    }

    fn account(&self, name: &str) -> Result<&Entry, Reason> {
        self.book.account(name).ok_or_else(|| {
            Reason::new(format!(
                "this box has no account \"{}\"",
                names::printable(name)
            ))
            .hint("somebody may have deleted it meanwhile: load the page anew")
        })
    }

    fn domain(&self, typed: &str) -> Result<names::Domain, Reason> {
        let domain = names::Domain::parse(typed)?;
        if self.book.has_domain(domain.as_str()) {
            Ok(domain)
        } else {
            Err(Reason::new(format!("{domain} is no domain of this box"))
                .hint("add the domain first"))
        }
    }

    fn is_free(&self, address: &str) -> Result<(), Reason> {
        match self.book.owner(address) {
            None => Ok(()),
            Some(owner) => Err(Reason::new(format!("{address} belongs to {}", owner.name))
                .hint(format!("take it from {} first", owner.name))),
        }
    }

    fn add_account(
        &self,
        name: &str,
        domain: &str,
        display_name: &str,
        password_hash: &str,
        quota: Option<u64>,
    ) -> Result<Decision, Reason> {
        let name = AccountName::parse(name)?;
        let name = name.as_str();
        if self.book.account(name).is_some() {
            return Err(
                Reason::new(format!("there is an account \"{name}\" already")).hint(
                    "people log in by this name, so each may exist once, whatever the domain",
                ),
            );
        }
        // Domains and accounts share one list of names in the mail server.
        if self.book.has_domain(name) {
            return Err(Reason::new(format!("\"{name}\" is a domain of this box")));
        }
        if self.book.accounts.len() >= MAX_ACCOUNTS {
            return Err(Reason::new(format!(
                "this box holds {MAX_ACCOUNTS} accounts already"
            )));
        }
        let domain = self.domain(domain)?;
        let address = format!("{name}@{domain}");
        self.is_free(&address)?;
        let display_name = person(display_name)?;
        let password_hash = password_hash::check(password_hash)?.to_owned();
        let mut steps_ = vec![Step::AddAccount {
            name: name.to_owned(),
            display_name,
            password_hash,
            addresses: vec![address],
        }];
        if let Some(quota) = size(quota)? {
            steps_.push(Step::SetQuota {
                name: name.to_owned(),
                quota: Some(quota),
            });
        }
        Ok(steps(steps_))
    }

    fn remove_account(&self, name: &str) -> Result<Decision, Reason> {
        let entry = self.account(name)?;
        let first = &self.setup.account.name;
        if entry.name == *first {
            return Err(Reason::new(
                "it is the box's first account, to which the box itself writes",
            ));
        }
        let mut all = vec![Step::RemoveAccount {
            name: entry.name.clone(),
        }];
        // A cut before the last of these is made good at the next start (`crate::plan`).
        all.extend(
            entry
                .addresses
                .iter()
                .filter(|address| is_required(address))
                .map(|address| Step::AddAddress {
                    name: first.clone(),
                    address: address.clone(),
                }),
        );
        Ok(steps(all))
    }

    fn add_alias(&self, name: &str, address: &str) -> Result<Decision, Reason> {
        let entry = self.account(name)?;
        let address = Address::parse(address)?;
        self.domain(address.domain().as_str())?;
        let text = address.as_str();
        if entry.addresses.iter().any(|own| own == text) {
            return Err(Reason::new(format!("{} has it already", entry.name)));
        }
        if entry.addresses.len() >= MAX_ADDRESSES {
            return Err(Reason::new(format!(
                "{} has {MAX_ADDRESSES} addresses already",
                entry.name
            )));
        }
        let mut all = Vec::new();
        match self.book.owner(text) {
            Some(owner)
                if is_required(text) && owner.addresses.first().is_none_or(|own| own != text) =>
            {
                all.push(Step::RemoveAddress {
                    name: owner.name.clone(),
                    address: text.to_owned(),
                });
            }
            _ => self.is_free(text)?,
        }
        all.push(Step::AddAddress {
            name: entry.name.clone(),
            address: text.to_owned(),
        });
        Ok(steps(all))
    }

    fn remove_alias(&self, name: &str, address: &str) -> Result<Decision, Reason> {
        let entry = self.account(name)?;
        let address = Address::parse(address)?;
        let text = address.as_str();
        if !entry.addresses.iter().any(|own| own == text) {
            return Err(Reason::new(format!("{} does not have it", entry.name)));
        }
        if entry.addresses.first().is_some_and(|own| own == text) {
            return Err(Reason::new(format!("it is {}'s own address", entry.name)));
        }
        if entry.name == self.setup.account.name && text == own_address(self.setup) {
            return Err(Reason::new("the box itself writes to this address"));
        }
        if is_required(text) {
            return Err(
                Reason::new("every domain must have this address (RFC 2142)")
                    .hint("give it to another account instead"),
            );
        }
        Ok(step(Step::RemoveAddress {
            name: entry.name.clone(),
            address: text.to_owned(),
        }))
    }

    fn make_app_password(&self, name: &str, label: &str, fresh: Fresh) -> Result<Decision, Reason> {
        let entry = self.account(name)?;
        let label = app_password::check_label(label)?;
        if entry.app_passwords.len() >= MAX_APP_PASSWORDS {
            return Err(Reason::new(format!(
                "{} has {MAX_APP_PASSWORDS} app passwords already",
                entry.name
            ))
            .hint("revoke those of devices that are gone"));
        }
        let new = app_password::make(fresh.random, fresh.now, label);
        if passwords(entry).iter().any(|old| old.id == new.id) {
            return Err(Reason::new("chance gave it a number that exists").hint("try again"));
        }
        Ok(Decision {
            steps: vec![Step::AddAppPassword {
                name: entry.name.clone(),
                kept: new.kept,
            }],
            answer: Answer::AppPassword {
                id: new.id,
                password: Secret(new.password),
            },
        })
    }

    fn revoke_app_password(&self, name: &str, id: &str) -> Result<Decision, Reason> {
        let entry = self.account(name)?;
        let kept = entry
            .app_passwords
            .iter()
            .find(|kept| app_password::read(kept).is_some_and(|password| password.id == id))
            .ok_or_else(|| {
                Reason::new(format!("{} has no such app password", entry.name))
                    .hint("it may be revoked already: load the page anew")
            })?;
        Ok(step(Step::RemoveAppPassword {
            name: entry.name.clone(),
            kept: kept.clone(),
        }))
    }

    fn set_catch_all(&self, domain: &str, account: Option<&str>) -> Result<Decision, Reason> {
        let domain = self.domain(domain)?;
        let address = format!("@{domain}");
        let owner = self.book.owner(&address);
        let entry = account.map(|name| self.account(name)).transpose()?;
        if owner.map(|owner| &owner.name) == entry.map(|entry| &entry.name) {
            return Ok(steps(Vec::new()));
        }
        if let Some(entry) = entry
            && entry.addresses.len() >= MAX_ADDRESSES
        {
            return Err(Reason::new(format!(
                "{} has {MAX_ADDRESSES} addresses already",
                entry.name
            )));
        }
        let mut all = Vec::new();
        if let Some(owner) = owner {
            all.push(Step::RemoveAddress {
                name: owner.name.clone(),
                address: address.clone(),
            });
        }
        if let Some(entry) = entry {
            all.push(Step::AddAddress {
                name: entry.name.clone(),
                address,
            });
        }
        Ok(steps(all))
    }

    fn add_domain(&self, domain: &str, account: Option<&str>) -> Result<Decision, Reason> {
        let domain = names::Domain::parse(domain)?;
        let name = domain.as_str();
        if self.book.has_domain(name) {
            return Err(Reason::new("this box has it already"));
        }
        if self.book.account(name).is_some() {
            return Err(Reason::new("an account has this name"));
        }
        if self.book.domains.len() >= MAX_DOMAINS {
            return Err(Reason::new(format!(
                "this box has {MAX_DOMAINS} domains already"
            )));
        }
        let entry = self.account(account.unwrap_or(&self.setup.account.name))?;
        if entry.addresses.len() + REQUIRED.len() > MAX_ADDRESSES {
            return Err(Reason::new(format!(
                "{} has too many addresses for two more",
                entry.name
            )));
        }
        let mut all = vec![Step::AddDomain {
            name: name.to_owned(),
        }];
        all.extend(REQUIRED.map(|local| Step::AddAddress {
            name: entry.name.clone(),
            address: format!("{local}@{name}"),
        }));
        Ok(steps(all))
    }

    fn remove_domain(&self, domain: &str) -> Result<Decision, Reason> {
        let domain = self.domain(domain)?;
        if domain.as_str() == self.setup.domain {
            return Err(Reason::new("it is the box's own domain"));
        }
        let ending = format!("@{domain}");
        let own = self.book.accounts.iter().find(|entry| {
            entry
                .addresses
                .first()
                .is_some_and(|own| own.ends_with(&ending))
        });
        if let Some(entry) = own {
            return Err(
                Reason::new(format!("{}'s own address is in it", entry.name))
                    .hint(format!("delete the account {} first", entry.name)),
            );
        }
        let mut all: Vec<Step> = self
            .book
            .accounts
            .iter()
            .flat_map(|entry| {
                entry
                    .addresses
                    .iter()
                    .filter(|address| address.ends_with(&ending))
                    .map(|address| Step::RemoveAddress {
                        name: entry.name.clone(),
                        address: address.clone(),
                    })
            })
            .collect();
        all.push(Step::RemoveDomain {
            name: domain.as_str().to_owned(),
        });
        Ok(steps(all))
    }
}

#[cfg(test)]
mod tests;
