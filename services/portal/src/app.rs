//! What every page and every call of the API shares.

use crate::actions::laptops::Applicant;
use crate::actions::{certificates, outside, pairing, relay, sts};
use crate::code::Code;
use crate::health;
use crate::health::gather::Doors;
use crate::health::watch::Pace;
use crate::identity::Identity;
use crate::init::Init;
use crate::outside::Outside;
use crate::passkey::Waiting;
use crate::resolver::Resolver;
use crate::second::Pending;
use crate::session::{MAX_SESSIONS, SessionId};
use crate::setup::MailPassword;
use crate::store::{self, Change, Store, StoreError, View};
use crate::time::{Now, PoweredOn, SAVE_EVERY, Wall};
use crate::token::{SecretToken, TokenHash};
use crate::watchdog::{self, Watch};
use roost_service::card::Card;
use roost_service::control::Request;
use roost_service::settings::{Account, Chosen, Settings};
use roost_service::snapshot::{self, Held};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, Semaphore, watch};

/// Password hashes at a time. Each takes 7 MiB and one processor for some tenths of a second on a Pi:
/// two leave half of it to mail. Further ones wait; the limits of sign-in keep their number small.
const HASHES: usize = 2;
/// How often init is asked whether the clock is set.
const LOOK_EVERY: Duration = Duration::from_secs(5);

type StoreResult<T> = Result<T, StoreError>;

/// Where the portal finds things.
#[derive(Debug, Clone)]
pub struct Places {
    /// The portal's own folder.
    pub data: PathBuf,
    /// Its folder for sockets, where init puts the card.
    pub run: PathBuf,
    /// Socket of init.
    pub init: PathBuf,
    /// Socket of the updater.
    pub updater: PathBuf,
    /// Socket of the backup service for laptops.
    pub backup: PathBuf,
    /// Socket of the backup service for the portal's own questions.
    pub backup_door: PathBuf,
    /// Socket of mail for its owner's wishes.
    pub mail: PathBuf,
    /// Socket of the tunnel to the relay.
    pub tunnel: PathBuf,
    /// Socket of the name server.
    pub dns: PathBuf,
    /// Socket of the certificate service.
    pub certificates: PathBuf,
    /// Socket of the box's own resolver.
    pub resolver: PathBuf,
    /// Where the name server answers everybody.
    pub name_server: std::net::SocketAddr,
    /// Where mail speaks HTTP.
    pub mail_http: std::net::SocketAddr,
    /// Where mail speaks IMAP over TLS.
    pub mail_imaps: std::net::SocketAddr,
    /// Which resolver the box's programs ask, as resolv.conf(5): its own.
    pub resolv_conf: PathBuf,
    /// Port of that resolver.
    pub dns_port: u16,
    /// Who is asked about the box's mail.
    pub outside: Outside,
    /// Where the box's own ports are.
    pub doors: Doors,
}

/// What is shown once, after the pairing.
#[derive(Debug)]
pub enum Shown {
    /// A password that the box has made.
    Password(MailPassword),
    /// The image has the account and its password.
    OfImage,
}

/// How long something that is shown once can be loaded again, should the answer have been lost on a bad line.
const SHOWN_FOR: Duration = Duration::from_secs(15 * 60);

/// What `roost flash` told the card, as far as pairing needs it.
#[derive(Debug, Clone, Default)]
pub struct OfCard {
    /// Its pairing code, used up or not: it is no password.
    pub code: Option<Code>,
    /// The computer that wrote it. It opens nothing until the box gets an owner; then it is paired, in
    /// the same change, and is a laptop as any other from then on: who is removed stays so.
    pub computer: Option<Applicant>,
}

/// The portal, once its store is open.
#[derive(Debug)]
pub struct App {
    /// What is remembered.
    pub store: Store,
    /// The image's settings.
    pub settings: Settings,
    /// The box's key and certificate.
    pub identity: Identity,
    /// Paths of sockets.
    pub places: Places,
    /// For requests to init.
    pub init: Init,
    /// What the card was told.
    pub card: OfCard,
    /// What the browser of this session is shown, since when.
    shown: Mutex<Option<(TokenHash, Instant, Shown)>>,
    /// Apps that are being set up, by session.
    pending: Mutex<Vec<(SessionId, Pending)>>,
    /// Passkeys that browsers are asked for.
    passkeys: Mutex<Waiting>,
    /// The code of the card or of this start, while pairing may need it on a screen.
    code: RwLock<Option<Code>>,
    /// Powered-on time when this program began.
    began: PoweredOn,
    begun: Instant,
    /// Whether a time server has set the clock in this start of the box.
    clock_set: AtomicBool,
    hashes: Semaphore,
    /// Held while a browser sends an update: one at a time.
    pub upload: tokio::sync::Mutex<()>,
    /// The store does not work any more; the program is to end and be started anew.
    pub broken: Notify,
    /// Why init does not take what was chosen.
    unconfigured: Mutex<Option<String>>,
    /// Something that init or the network is to be told has changed.
    pub changed: Notify,
    /// What is to be known of the relay.
    pub relay: relay::Care,
    /// What is to be known of certificates.
    pub certificates: certificates::Care,
    /// The domains' policies on encrypted delivery.
    pub policies: sts::Policies,
    /// Whose turn it is to ask outside.
    pub outside: outside::Turns,
    /// What was seen of the name server's answers.
    pub signatures: Watch,
    /// How the box is, and what the owner was told of that.
    pub health: health::Care,
    /// Names that browsers may reach the box by, in lower case, beside its addresses.
    names: RwLock<Vec<String>>,
    /// The box's name on the network; another machine may have its own.
    pub host: watch::Sender<String>,
    /// Whether the box has an owner, for those who look for it.
    pub paired: watch::Sender<bool>,
    /// Tells connections of laptops to look whether theirs is still paired.
    pub laptops: watch::Sender<()>,
}

impl App {
    /// What the portal keeps, for a backup; `card` is what `roost flash` told the card.
    ///
    /// # Errors
    /// The store's and the file system's.
    pub fn held(&self, card: Option<&Card>) -> std::io::Result<Held> {
        let data = &self.places.data;
        let mut held = Held::new(());
        let store = self.store.bytes(data).map_err(std::io::Error::other)?;
        held.add_bytes(store::FILE, 0o600, store);
        held.add_folder(data, |path| path == store::FILE || path.ends_with(".new"))?;
        if let Some(card) = card {
            // A box with an owner knows its computers by itself.
            let card = card.clone().alone();
            held.add_bytes(snapshot::CARD, 0o600, serde_json::to_vec(&card)?);
        }
        Ok(held)
    }

    /// Begins with an open store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn new(
        store: Store,
        settings: Settings,
        identity: Identity,
        places: Places,
        card: OfCard,
    ) -> Result<Arc<Self>, StoreError> {
        let began = store.view(|store| store.powered_on())?;
        let names = vec![settings.name.clone(), format!("{}.local", settings.name)];
        let has_owner = store.view(|store| store.owner())?.is_some();
        Ok(Arc::new(Self {
            host: watch::Sender::new(settings.name.clone()),
            paired: watch::Sender::new(has_owner),
            store,
            settings,
            identity,
            init: Init(places.init.clone()),
            health: health::Care::load(&places.data),
            places,
            card,
            shown: Mutex::new(None),
            pending: Mutex::new(Vec::new()),
            passkeys: Mutex::default(),
            code: RwLock::new(None),
            began,
            begun: Instant::now(),
            clock_set: AtomicBool::new(false),
            hashes: Semaphore::new(HASHES),
            upload: tokio::sync::Mutex::new(()),
            broken: Notify::new(),
            unconfigured: Mutex::new(None),
            changed: Notify::new(),
            relay: relay::Care::default(),
            certificates: certificates::Care::default(),
            policies: sts::Policies::default(),
            outside: outside::Turns::default(),
            signatures: Watch::default(),
            names: RwLock::new(names),
            laptops: watch::Sender::new(()),
        }))
    }

    /// The resolver that the box's programs ask.
    pub fn resolver(&self) -> Option<Resolver> {
        Resolver::load(&self.places.resolv_conf, self.places.dns_port)
    }

    /// The present moment. [`Now::wall`] is there only once a time server has set the clock.
    pub fn now(&self) -> Now {
        let wall = self.clock_set.load(Ordering::Relaxed).then(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            Wall(since.unwrap_or_default().as_secs())
        });
        // Whole seconds, rounded down: nothing opens too early.
        let powered_on = PoweredOn(self.began.0 + self.begun.elapsed().as_secs());
        Now { powered_on, wall }
    }

    /// Changes the store, where it may block; powered-on time is saved with it. An answer is to
    /// be acted upon only after this has returned.
    ///
    /// # Errors
    /// What `change` returned, or the store's own.
    pub async fn change<T, E>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Change<'_>, Now) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let app = self.clone();
        blocking(move || {
            let changed = app.store.change(|store| {
                let now = app.now();
                let result = change(store, now).map_err(Failed::Change)?;
                // A try that was refused costs the card nothing.
                if store.wrote() {
                    store.save_powered_on(now.powered_on)?;
                }
                Ok(result)
            });
            changed.map_err(|failed| match failed {
                Failed::Change(error) => error,
                Failed::Store(error) => {
                    if matches!(error, StoreError::Io(_)) {
                        app.broken.notify_one();
                    }
                    error.into()
                }
            })
        })
        .await
    }

    /// Looks into the store, where it may block.
    ///
    /// # Errors
    /// What `look` returned, or the store's own.
    pub async fn view<T, E>(
        self: &Arc<Self>,
        look: impl FnOnce(&View<'_>, Now) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let app = self.clone();
        blocking(move || {
            let now = app.now();
            app.store.view(|store| look(store, now))
        })
        .await
    }

    /// Does something that hashes a password, when it is its turn.
    pub async fn hash<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _turn = self.hashes.acquire().await;
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Fresh random bytes of the system.
    pub fn random<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        let mut filled = 0;
        while filled < N {
            // It blocks until the kernel has gathered enough, and fails for no other reason than a signal.
            if let Ok(more) =
                rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            {
                filled += more;
            }
        }
        bytes
    }

    /// Shows something to the browser of this session, until it has it.
    pub fn show_once(&self, session: &SecretToken, shown: Shown) {
        *lock(&self.shown) = Some((session.hash(), Instant::now(), shown));
    }

    /// What there is to show to the browser of this session.
    pub fn shown<T>(&self, session: &SecretToken, show: impl FnOnce(Option<&Shown>) -> T) -> T {
        let mut kept = lock(&self.shown);
        kept.take_if(|(_, since, _)| since.elapsed() >= SHOWN_FOR);
        show(match &*kept {
            Some((of, _, shown)) if *of == session.hash() => Some(shown),
            _ => None,
        })
    }

    /// The browser of this session has it.
    pub fn show_no_more(&self, session: &SecretToken) {
        lock(&self.shown).take_if(|(of, ..)| *of == session.hash());
    }

    /// A session begins to set up an app, or begins anew.
    pub fn begin_second(&self, session: SessionId, pending: Pending) {
        let mut all = lock(&self.pending);
        all.retain(|(id, _)| *id != session);
        if all.len() >= MAX_SESSIONS {
            all.remove(0);
        }
        all.push((session, pending));
    }

    /// The app that this session is setting up.
    pub fn pending_second(&self, session: SessionId) -> Option<Pending> {
        let all = lock(&self.pending);
        let mut all = all.iter();
        all.find(|(id, _)| *id == session)
            .map(|(_, pending)| pending.clone())
    }

    /// It is set up.
    pub fn end_second(&self, session: SessionId) {
        lock(&self.pending).retain(|(id, _)| *id != session);
    }

    /// Passkeys that browsers are asked for.
    pub fn passkeys(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.passkeys)
    }

    /// Whether `host`, a name in lower case without a port, is one of the box's.
    pub fn is_own_name(&self, host: &str) -> bool {
        let announced = self.names.read();
        announced.is_ok_and(|names| names.iter().any(|name| name == host))
            || self.certificates.is_own_name(host)
    }

    /// Browsers may use this name as well, e.g. when another box has the one that was wanted.
    pub fn add_name(&self, name: &str) {
        if let Ok(mut names) = self.names.write()
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_ascii_lowercase());
        }
    }

    /// The pairing code that a screen may show.
    pub fn code(&self) -> Option<Code> {
        self.code.read().ok()?.clone()
    }

    /// Takes the code that a screen may show from now on.
    pub fn set_code(&self, code: Option<Code>) {
        if let Ok(mut kept) = self.code.write() {
            *kept = code;
        }
    }

    /// The code of the card, or one that was made for this start, opens the pairing of a new box.
    /// A screen may show the code that the store has, as long as there is one.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn begin_pairing(self: &Arc<Self>, code: Code) -> Result<(), StoreError> {
        let kept = self
            .change(move |store, now| {
                store.begin_pairing(code, now.powered_on)?;
                StoreResult::Ok(store.pairing()?.and_then(|pairing| pairing.code().cloned()))
            })
            .await?;
        self.set_code(kept);
        Ok(())
    }

    /// Looks after what changes by time alone, until the program ends: the clock, the pairing code,
    /// powered-on time, what init is to be told, what the tunnel is to have, whether the zones are signed, and how
    /// the box is.
    pub async fn tick(self: Arc<Self>) {
        // None waits for what the others ask.
        tokio::join!(
            self.clone().look_again(),
            relay::hand_over(self.clone()),
            sts::keep(self.clone()),
            watchdog::watch(self.clone()),
            health::watch::watch(self, Pace::STANDARD)
        );
    }

    async fn look_again(self: Arc<Self>) {
        let mut saved = Instant::now();
        let mut announced = None;
        loop {
            if let Err(error) = self.look_after(&mut saved, &mut announced).await {
                eprintln!("portal: {error}");
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.changed.notified()).await;
        }
    }

    async fn look_after(
        self: &Arc<Self>,
        saved: &mut Instant,
        announced: &mut Option<(Option<String>, Option<String>)>,
    ) -> StoreResult<()> {
        if let Ok(status) = self.init.status().await {
            self.clock_set.store(status.clock_synced, Ordering::Relaxed);
        }
        if saved.elapsed() >= SAVE_EVERY {
            *saved = Instant::now();
            self.change(|store, now| store.save_powered_on(now.powered_on))
                .await?;
        }
        pairing::renew_expired(self).await?;
        // What cannot be told now is told the next time.
        let code = self.code().map(|code| code.normalised().to_owned());
        let host = self.host.borrow().clone();
        let name = (host != self.settings.name).then_some(host);
        if let Some(name) = &name {
            self.add_name(name);
            self.add_name(&format!("{name}.local"));
        }
        if !*self.paired.borrow() && self.view(|store, _| store.owner()).await?.is_some() {
            self.paired.send_replace(true);
        }
        let said = (code, name);
        if announced.as_ref() != Some(&said) {
            let fingerprint = self.identity.fingerprint().words().join(" ");
            let request = Request::Announce {
                code: said.0.clone(),
                name: said.1.clone(),
                fingerprint,
            };
            if self.init.ask(&request).await.is_ok() {
                *announced = Some(said);
            }
        }
        self.configure().await
    }

    /// Hands what was chosen in the browser to init, which keeps it for all services.
    async fn configure(self: &Arc<Self>) -> StoreResult<()> {
        let settings = self.view(|store, _| store.settings()).await?;
        let store::Settings {
            domain: Some(domain),
            first_account: Some(name),
            mail_password: Some(hash),
            ..
        } = settings
        else {
            return Ok(());
        };
        let request = Request::Configure {
            chosen: Chosen {
                domain,
                account: Account {
                    display_name: name.clone(),
                    name,
                    password_hash: hash.clone().into(),
                },
            },
        };
        if let Err(error) = self.init.ask(&request).await {
            if lock(&self.unconfigured)
                .replace(error.to_string())
                .is_none()
            {
                eprintln!("portal: domain and account wait to be set up: {error}");
            }
            return Ok(());
        }
        lock(&self.unconfigured).take();
        self.change(move |store, _| {
            let mut settings = store.settings()?;
            // Unless it was chosen anew meanwhile.
            if settings.mail_password.as_ref() == Some(&hash) {
                settings.mail_password = None;
                store.set_settings(&settings)?;
            }
            Ok(())
        })
        .await
    }

    /// Why init does not take what was chosen, if it does not.
    pub fn unconfigured(&self) -> Option<String> {
        lock(&self.unconfigured).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is half done in any of these when a thread panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells a store that does not work from a change that was not wanted.
enum Failed<E> {
    Store(StoreError),
    Change(E),
}

impl<E> From<StoreError> for Failed<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn blocking<T: Send + 'static, E: From<StoreError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::Io(std::io::Error::other(error)).into()),
    }
}
