//! The mail service, played: a small household that answers on the admin socket and remembers what it
//! is told. It refuses as little as tests need, in the service's own words.

use roost_service::mail::{
    Account, Answer, AppPassword, Call, Domain, Overview, QueuedMessage, QueuedReceiver, Secret,
};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What it has, and what it was asked.
pub struct Household {
    overview: Overview,
    app_passwords: BTreeMap<String, Vec<AppPassword>>,
    queue: Vec<QueuedMessage>,
    made: u64,
    /// Calls that change something, the oldest first.
    pub orders: Vec<Call>,
    /// Does what it is told, but breaks off before it says so.
    pub breaks_off: bool,
    /// Does what it is told, but says so only once this is over.
    pub silent: bool,
}

/// A hand on a household that listens.
#[derive(Clone)]
pub struct PlayedMail(Arc<Mutex<Household>>);

fn account(name: &str, display_name: &str, first: bool) -> Account {
    let mut addresses = vec![format!("{name}@example.org")];
    if first {
        addresses.extend(["abuse@example.org".into(), "postmaster@example.org".into()]);
    }
    Account {
        name: name.into(),
        display_name: display_name.into(),
        first,
        addresses,
        quota: None,
        used: 1_440_000,
        app_passwords: 0,
    }
}

fn waiting(id: u64, from: &str, faulty: bool) -> QueuedMessage {
    QueuedMessage {
        id: id.to_string(),
        from: from.into(),
        size: 61_000,
        came: 1_798_761_540,
        receivers: vec![QueuedReceiver {
            address: "dave@example.com".into(),
            tries: u32::from(faulty),
            next: Some(1_798_765_140),
            until: faulty.then_some(1_799_193_540),
            fault: faulty.then(|| "the other server <b>does not answer</b>".into()),
        }],
        waiting: 3,
    }
}

impl PlayedMail {
    /// Listens at `path`, for alice, whose box it is, and bob.
    pub fn listen(path: &Path) -> Self {
        let mut bob = account("bob", "", false);
        (bob.quota, bob.app_passwords) = (Some(5_000_000_000), 1);
        bob.addresses.push("sales@example.net".into());
        let domain = |name: &str, main| Domain {
            name: name.into(),
            main,
            catch_all: main.then(|| "bob".into()),
        };
        let phone = AppPassword {
            id: "0a1b".into(),
            label: "phone".into(),
            made: 1_798_761_540,
        };
        let household = Household {
            overview: Overview {
                host: "mail.example.org".into(),
                domains: vec![domain("example.org", true), domain("example.net", false)],
                accounts: vec![account("alice", "Alice", true), bob],
                queued: 2,
            },
            app_passwords: BTreeMap::from([("bob".into(), vec![phone])]),
            queue: vec![waiting(7, "alice@example.org", true), waiting(9, "", false)],
            made: 0,
            orders: Vec::new(),
            breaks_off: false,
            silent: false,
        };
        let played = Self(Arc::new(Mutex::new(household)));
        let listener = UnixListener::bind(path).unwrap();
        let served = played.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, served) = (stream.unwrap(), served.clone());
                std::thread::spawn(move || {
                    let reader = BufReader::new(stream.try_clone().unwrap());
                    for text in reader.lines() {
                        let Ok(text) = text else { return };
                        let call = Call::read(text.as_bytes()).unwrap();
                        let (answer, breaks_off) = {
                            let mut household = served.lock();
                            (household.answer(call), household.breaks_off)
                        };
                        while served.lock().silent {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                        let line = roost_service::mail::line(&answer).unwrap();
                        if breaks_off || stream.write_all(line.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        played
    }

    /// The household.
    pub fn lock(&self) -> MutexGuard<'_, Household> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Household {
    /// Does what a call asks for.
    pub fn answer(&mut self, call: Call) -> Answer {
        let looks = matches!(
            call,
            Call::Overview | Call::AppPasswords { .. } | Call::Queue { .. }
        );
        if !looks {
            self.orders.push(call.clone());
        }
        self.perform(call)
            .unwrap_or_else(|(what, because)| Answer::Error {
                what,
                because,
                hint: Some("look at the page again".into()),
            })
    }

    fn account(&mut self, name: &str) -> Result<&mut Account, (String, String)> {
        let found = self.overview.accounts.iter_mut().find(|a| a.name == name);
        found.ok_or_else(|| {
            let because = format!("this box has no account \"{name}\"");
            ("nothing was done".into(), because)
        })
    }

    fn domain(&mut self, name: &str) -> Result<&mut Domain, (String, String)> {
        let found = self.overview.domains.iter_mut().find(|d| d.name == name);
        found.ok_or_else(|| {
            let because = format!("{name} is no domain of this box");
            ("nothing was done".into(), because)
        })
    }

    fn perform(&mut self, call: Call) -> Result<Answer, (String, String)> {
        match call {
            Call::Overview => return Ok(Answer::Overview(self.overview.clone())),
            Call::AddAccount {
                name,
                domain,
                display_name,
                password_hash,
                quota,
            } => {
                self.domain(&domain)?;
                assert!(password_hash.0.starts_with("$argon2id$"));
                if self.account(&name).is_ok() {
                    let what = format!("the account \"{name}\" was not made");
                    return Err((what, format!("there is an account \"{name}\" already")));
                }
                let mut new = account(&name, &display_name, false);
                new.addresses = vec![format!("{name}@{domain}")];
                (new.quota, new.used) = (quota, 0);
                self.overview.accounts.push(new);
            }
            Call::RemoveAccount { name } => {
                if self.account(&name)?.first {
                    let what = format!("the account \"{name}\" was not deleted");
                    let because = "it is the box's first account, to which the box itself writes";
                    return Err((what, because.into()));
                }
                self.overview.accounts.retain(|a| a.name != name);
            }
            Call::SetDisplayName { name, display_name } => {
                self.account(&name)?.display_name = display_name;
            }
            Call::SetPassword {
                name,
                password_hash,
            } => {
                assert!(password_hash.0.starts_with("$argon2id$"));
                self.account(&name)?;
            }
            Call::SetQuota { name, quota } => self.account(&name)?.quota = quota,
            Call::AddAlias { name, address } => self.account(&name)?.addresses.push(address),
            Call::RemoveAlias { name, address } => {
                let account = self.account(&name)?;
                if !account.addresses.contains(&address) {
                    let what = format!("\"{address}\" was not taken from \"{name}\"");
                    return Err((what, format!("{name} does not have it")));
                }
                account.addresses.retain(|own| *own != address);
            }
            Call::AppPasswords { name } => {
                self.account(&name)?;
                let passwords = self.app_passwords.get(&name).cloned().unwrap_or_default();
                return Ok(Answer::AppPasswords { passwords });
            }
            Call::MakeAppPassword { name, label } => {
                self.account(&name)?.app_passwords += 1;
                self.made += 1;
                let id = format!("{:04x}", self.made);
                self.app_passwords
                    .entry(name)
                    .or_default()
                    .push(AppPassword {
                        id: id.clone(),
                        label: label.trim().into(),
                        made: 1_798_761_600,
                    });
                let password = Secret("aaaa-bbbb-cccc-dddd".into());
                return Ok(Answer::AppPassword { id, password });
            }
            Call::RevokeAppPassword { name, id } => {
                self.account(&name)?;
                let all = self.app_passwords.entry(name.clone()).or_default();
                if !all.iter().any(|password| password.id == id) {
                    let what = format!("the app password of \"{name}\" still works");
                    return Err((what, format!("{name} has no such app password")));
                }
                all.retain(|password| password.id != id);
                self.account(&name)?.app_passwords -= 1;
            }
            Call::SetCatchAll { domain, account } => {
                if let Some(name) = &account {
                    self.account(name)?;
                }
                self.domain(&domain)?.catch_all = account;
            }
            Call::AddDomain { domain, .. } => self.overview.domains.push(Domain {
                name: domain,
                main: false,
                catch_all: None,
            }),
            Call::RemoveDomain { domain } => {
                if self.domain(&domain)?.main {
                    let what = format!("the domain \"{domain}\" was not removed");
                    return Err((what, "it is the box's own domain".into()));
                }
                self.overview.domains.retain(|d| d.name != domain);
            }
            Call::Published => {
                return Err(("it was not told".into(), "the portal need not know".into()));
            }
            Call::Queue { after } => {
                let after: u64 = after.map_or(0, |id| id.parse().unwrap());
                let later = |message: &&QueuedMessage| message.id.parse::<u64>().unwrap() > after;
                return Ok(Answer::Queue {
                    messages: self.queue.iter().filter(later).cloned().collect(),
                    more: false,
                });
            }
            Call::RetryQueued { id } => self.message("the message was not tried again", &id)?,
            Call::DeleteQueued { id } => {
                self.message("the message was not deleted", &id)?;
                self.queue.retain(|message| message.id != id);
            }
        }
        Ok(Answer::Done)
    }

    fn message(&self, what: &str, id: &str) -> Result<(), (String, String)> {
        match self.queue.iter().any(|message| message.id == id) {
            true => Ok(()),
            false => Err((what.into(), "it does not wait any more".into())),
        }
    }
}
