//! What the service knows, for all of its tasks: on the card first, then in memory.

mod jobs;

pub use jobs::Job;

use crate::keys::Published;
use crate::setup::{self, Setup, Wanted};
use crate::store::{Account, Kept, Revoke, Store};
use roost_service::certificates::{Certificate, Choice, Zones};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// What the service knows.
pub struct Desk {
    book: Mutex<Book>,
    /// Counts changes of certificates.
    changed: watch::Sender<u64>,
    /// Something was asked for.
    pub wake: Notify,
    /// How often the owner has chosen since the program started.
    choices: AtomicU64,
}

struct Book {
    store: Store,
    choice: Option<Choice>,
    zones: Option<Zones>,
    /// None before there are both.
    wanted: Vec<Wanted>,
    kept: BTreeMap<String, Kept>,
    accounts: Vec<Account>,
    seed: u64,
}

impl Desk {
    /// Reads what is on the card. What is damaged is said and begun anew: a box without a certificate
    /// gets one, one whose service does not start does not.
    ///
    /// # Errors
    /// When the card cannot be read.
    pub fn open(mut store: Store, seed: u64) -> io::Result<Self> {
        let choice = sound(store.choice())?.flatten();
        let zones = sound(store.zones())?.flatten();
        let accounts = sound(store.accounts())?.unwrap_or_default();
        // An earlier version of this program may have let more pass.
        let choice = usable(choice, |choice| setup::check_choice(choice, None));
        let zones = usable(zones, setup::check_zones);
        let mut book = Book {
            store,
            choice: choice.clone(),
            zones: zones.clone(),
            wanted: vec![],
            kept: BTreeMap::new(),
            accounts,
            seed,
        };
        book.take(choice, zones)?;
        Ok(Self {
            book: Mutex::new(book),
            changed: watch::channel(0).0,
            wake: Notify::new(),
            choices: AtomicU64::new(0),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing is half done in memory: it follows the card.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was chosen.
    pub fn choice(&self) -> Option<Choice> {
        self.book().choice.clone()
    }

    /// What the name server has told.
    pub fn zones(&self) -> Option<Zones> {
        self.book().zones.clone()
    }

    /// Both, once there are both.
    pub fn setup(&self) -> Option<Setup> {
        let book = self.book();
        both(book.choice.clone(), book.zones.clone())
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

    /// How often the owner has chosen, also the same again: what failed meanwhile was begun by what is past.
    pub fn choices(&self) -> u64 {
        self.choices.load(Ordering::Relaxed)
    }

    /// Chooses otherwise. Failures are forgotten, also when nothing else is new: what stood in the way
    /// may be gone.
    ///
    /// # Errors
    /// Says what cannot be used, or that the card cannot be written; nothing was changed then.
    pub fn set(&self, choice: Choice) -> Result<(), String> {
        let mut book = self.book();
        setup::check_choice(&choice, book.zones.as_ref())?;
        let zones = book.zones.clone();
        book.take(Some(choice), zones).map_err(card)?;
        for kept in book.kept.values_mut() {
            kept.renewal.asked();
        }
        self.choices.fetch_add(1, Ordering::Relaxed);
        drop(book);
        self.tell();
        Ok(())
    }

    /// Gets certificates for other names. Failures are forgotten only where something is new: dns tells
    /// this by itself, and may often.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn serve(&self, zones: Zones) -> Result<(), String> {
        setup::check_zones(&zones)?;
        let mut book = self.book();
        if book.zones.as_ref() == Some(&zones) {
            return Ok(());
        }
        let secondaries = book.zones.as_ref().map(|zones| &zones.secondaries);
        let elsewhere = secondaries != Some(&zones.secondaries);
        let (before, choice) = (book.wanted.clone(), book.choice.clone());
        book.take(choice, Some(zones)).map_err(card)?;
        let Book { wanted, kept, .. } = &mut *book;
        for one in wanted {
            if let Some(kept) = kept.get_mut(&one.id)
                && (elsewhere || !before.contains(one))
            {
                kept.renewal.asked();
            }
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
}

impl Book {
    /// Makes these hold. The files of new certificates come first: without the rest of it they are
    /// nothing.
    fn take(&mut self, choice: Option<Choice>, zones: Option<Zones>) -> io::Result<()> {
        let (wanted, kept) = match both(choice.clone(), zones.clone()) {
            Some(setup) => self.prepare(&setup)?,
            None => Default::default(),
        };
        if let Some(choice) = choice.as_ref().filter(|_| choice != self.choice) {
            self.store.keep_choice(choice)?;
        }
        if let Some(zones) = zones.as_ref().filter(|_| zones != self.zones) {
            self.store.keep_zones(zones)?;
        }
        (self.choice, self.zones) = (choice, zones);
        (self.wanted, self.kept) = (wanted, kept);
        Ok(())
    }

    /// The certificates that follow, and what is kept of each. What is kept of those that are not wanted
    /// any more stays on the card: whoever chooses them again has their keys.
    fn prepare(&mut self, setup: &Setup) -> io::Result<(Vec<Wanted>, BTreeMap<String, Kept>)> {
        let wanted = setup.wanted();
        let mut all = BTreeMap::new();
        for one in &wanted {
            let known = match self.kept.get(&one.id) {
                Some(kept) => Some(kept.clone()),
                None => sound(self.store.kept(&one.id))?.flatten(),
            };
            let kept = match known {
                Some(kept) => kept,
                None => {
                    let kept = Kept::new(setup.choice.directory.url())?;
                    self.store.keep(&one.id, &kept)?;
                    kept
                }
            };
            all.insert(one.id.clone(), kept);
        }
        Ok((wanted, all))
    }
}

fn both(choice: Option<Choice>, zones: Option<Zones>) -> Option<Setup> {
    let (choice, zones) = (choice?, zones?);
    Some(Setup { choice, zones })
}

/// What was kept, if it can be used.
fn usable<T>(kept: Option<T>, check: impl Fn(&T) -> Result<(), String>) -> Option<T> {
    let fault = kept.as_ref().and_then(|kept| check(kept).err());
    match fault {
        None => kept,
        Some(why) => {
            println!("certificates: what is kept cannot be used: {why}");
            None
        }
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
