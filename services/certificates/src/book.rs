//! What the service knows, for all of its tasks: on the card first, then in memory.

use crate::keys::Published;
use crate::renew::{Lifetime, Next, Why};
use crate::setup::{self, Wanted};
use crate::store::{Account, Kept, Revoke, Store};
use roost_service::certificates::{Certificate, Setup};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// What the service knows.
pub struct Desk {
    book: Mutex<Book>,
    /// Counts changes of certificates.
    changed: watch::Sender<u64>,
    /// Something was asked for.
    pub wake: Notify,
}

struct Book {
    store: Store,
    setup: Option<Setup>,
    wanted: Vec<Wanted>,
    kept: BTreeMap<String, Kept>,
    accounts: Vec<Account>,
    seed: u64,
}

/// Something to do for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Take challenges out of the zone that an earlier run left there.
    Clean,
    /// Revoke the one before.
    Revoke,
    /// What [`crate::renew`] says.
    Renew(Next),
}

impl Desk {
    /// Reads what is on the card. What is damaged is said and begun anew: a box without a certificate
    /// gets one, one whose service does not start does not.
    ///
    /// # Errors
    /// When the card cannot be read.
    pub fn open(mut store: Store, seed: u64) -> io::Result<Self> {
        let setup = sound(store.setup())?.flatten();
        let accounts = sound(store.accounts())?.unwrap_or_default();
        let mut book = Book {
            store,
            setup: None,
            wanted: vec![],
            kept: BTreeMap::new(),
            accounts,
            seed,
        };
        if let Some(setup) = setup {
            match setup::wanted(&setup) {
                Ok(wanted) => book.take(setup, wanted)?,
                Err(why) => println!("certificates: what was chosen cannot be used: {why}"),
            }
        }
        Ok(Self {
            book: Mutex::new(book),
            changed: watch::channel(0).0,
            wake: Notify::new(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing is half done in memory: it follows the card.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was chosen.
    pub fn setup(&self) -> Option<Setup> {
        self.book().setup.clone()
    }

    /// All certificates that the box should have.
    pub fn wanted(&self) -> Vec<Wanted> {
        self.book().wanted.clone()
    }

    /// One of them.
    pub fn find(&self, id: &str) -> Option<Wanted> {
        self.book().wanted.iter().find(|w| w.id == id).cloned()
    }

    /// What is kept of one of them.
    pub fn kept(&self, id: &str) -> Option<Kept> {
        self.book().kept.get(id).cloned()
    }

    /// Chooses otherwise.
    ///
    /// # Errors
    /// Says what cannot be used, or that the card cannot be written.
    pub fn set(&self, setup: Setup) -> Result<(), String> {
        let wanted = setup::wanted(&setup)?;
        let mut book = self.book();
        book.store.keep_setup(&setup).map_err(card)?;
        book.take(setup, wanted).map_err(card)?;
        // What stood in the way may be gone.
        for kept in book.kept.values_mut() {
            kept.renewal.asked();
        }
        drop(book);
        self.tell();
        Ok(())
    }

    /// Changes what is kept of a certificate: on the card when this returns.
    ///
    /// # Errors
    /// When it is not wanted, or the card cannot be written; nothing was changed then.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Kept)) -> io::Result<()> {
        let mut book = self.book();
        let mut kept = book.kept.get(id).cloned().ok_or(io::ErrorKind::NotFound)?;
        change(&mut kept);
        book.store.keep(id, &kept)?;
        book.kept.insert(id.into(), kept);
        drop(book);
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The account at this directory.
    pub fn account(&self, directory: &str) -> Option<Account> {
        let book = self.book();
        (book.accounts.iter())
            .find(|a| a.directory == directory)
            .cloned()
    }

    /// Keeps an account in place of the one at the same directory.
    ///
    /// # Errors
    /// When the card cannot be written; nothing was changed then.
    pub fn keep_account(&self, account: Account) -> io::Result<()> {
        self.accounts(&account.directory.clone(), Some(account))
    }

    /// Forgets the account at this directory, key and all.
    ///
    /// # Errors
    /// As [`Self::keep_account`].
    pub fn forget_account(&self, directory: &str) -> io::Result<()> {
        self.accounts(directory, None)
    }

    fn accounts(&self, directory: &str, account: Option<Account>) -> io::Result<()> {
        let mut book = self.book();
        let others = book.accounts.iter().filter(|a| a.directory != directory);
        let accounts: Vec<_> = others.cloned().chain(account).collect();
        book.store.keep_accounts(&accounts)?;
        book.accounts = accounts;
        Ok(())
    }

    /// dns has said since when a key's hash can be looked up.
    ///
    /// # Errors
    /// When no key has this hash, or the card cannot be written.
    pub fn published(&self, sha256: &str, published: Published) -> Result<(), String> {
        let ids: Vec<String> = self.book().kept.keys().cloned().collect();
        for id in ids {
            let mut kept = self.kept(&id).ok_or("it is gone")?;
            if kept.keys.published(sha256, published) {
                return self
                    .change(&id, |k| k.keys = kept.keys)
                    .map_err(card)
                    .map(|()| self.tell());
            }
        }
        Err(format!("no key has the hash {sha256:?}"))
    }

    /// The owner wants something of a certificate.
    ///
    /// # Errors
    /// When there is no such certificate, or the card cannot be written.
    pub fn ask(&self, id: &str, change: impl FnOnce(&mut Kept)) -> Result<(), String> {
        let told = self.change(id, |kept| {
            change(kept);
            kept.renewal.asked();
        });
        told.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("there is no certificate {id:?}"),
            _ => card(error),
        })?;
        self.tell();
        Ok(())
    }

    /// Revokes a certificate, as soon as there is another.
    ///
    /// # Errors
    /// As [`Self::ask`], and when there is nothing to revoke.
    pub fn revoke(&self, id: &str, key_compromised: bool) -> Result<(), String> {
        let chain = self.kept(id).and_then(|kept| kept.chain);
        let chain = chain.ok_or_else(|| format!("there is no certificate {id:?} to revoke"))?;
        self.ask(id, |kept| {
            kept.asked = true;
            if key_compromised {
                kept.keys.ask(true);
            }
            kept.revoke = Some(Revoke {
                chain,
                key_compromised,
            });
        })
    }

    /// A certificate with its key, for those who use it.
    pub fn certificate(&self, id: &str) -> Option<Certificate> {
        let kept = self.kept(id)?;
        let (leaf, key) = kept.leaf()?;
        Some(Certificate {
            id: id.into(),
            version: leaf.version,
            serial: leaf.serial,
            names: leaf.names,
            chain_pem: kept.chain.clone()?,
            key_pem: key.pem().to_owned(),
            not_after: leaf.life.until,
        })
    }

    /// Sees each change of certificates from now on.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
        self.wake.notify_one();
    }

    /// What is to be done for each certificate. `now`: `None` while the clock is not set.
    pub fn jobs(&self, now: Option<u64>) -> Vec<(Wanted, Job)> {
        let book = self.book();
        let agreed = book.setup.as_ref().filter(|setup| setup.terms_agreed);
        let mut jobs = Vec::new();
        for wanted in &book.wanted {
            let Some(kept) = book.kept.get(&wanted.id) else {
                continue;
            };
            if !kept.challenges.is_empty() {
                jobs.push((wanted.clone(), Job::Clean));
            }
            let Some(setup) = agreed else { continue };
            if now.is_some()
                && kept
                    .revoke
                    .as_ref()
                    .is_some_and(|r| kept.chain.as_ref() != Some(&r.chain))
            {
                jobs.push((wanted.clone(), Job::Revoke));
            }
            let (life, wish) = standing(setup, wanted, kept, now);
            let next = kept.renewal.next(now, life, wish, book.seed);
            jobs.push((wanted.clone(), Job::Renew(next)));
        }
        jobs
    }
}

/// How long there is a certificate, and why another is wanted at once.
fn standing(
    setup: &Setup,
    wanted: &Wanted,
    kept: &Kept,
    now: Option<u64>,
) -> (Option<Lifetime>, Option<Why>) {
    let leaf = kept.leaf().map(|(leaf, _)| leaf);
    let fits = |leaf: &crate::leaf::Leaf| {
        leaf.is_for(&wanted.names()) && kept.directory == setup.directory.url()
    };
    let life = leaf.as_ref().map(|leaf| leaf.life);
    let wish = match leaf {
        Some(leaf) if fits(&leaf) => {
            let switch = now.is_some_and(|now| kept.keys.may_switch(now).is_ok());
            (switch.then_some(Why::Key)).or_else(|| kept.asked.then_some(Why::Asked))
        }
        _ => Some(Why::Missing),
    };
    (life, wish)
}

impl Book {
    /// Makes what was chosen hold. What is kept of certificates that are not wanted any more stays on
    /// the card: whoever chooses them again has their keys.
    fn take(&mut self, setup: Setup, wanted: Vec<Wanted>) -> io::Result<()> {
        let mut all = BTreeMap::new();
        for one in &wanted {
            let kept = match sound(self.store.kept(&one.id))?.flatten() {
                Some(kept) => kept,
                None => {
                    let kept = Kept::new(setup.directory.url())?;
                    self.store.keep(&one.id, &kept)?;
                    kept
                }
            };
            all.insert(one.id.clone(), kept);
        }
        (self.kept, self.wanted, self.setup) = (all, wanted, Some(setup));
        Ok(())
    }
}

/// What was read; nothing of what is damaged.
fn sound<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            println!("certificates: {error}; it is begun anew");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn card(error: io::Error) -> String {
    format!("the card: {error}")
}
