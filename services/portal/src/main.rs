//! The portal: see the crate's README for the whole story.

use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::Request;
use roost_portal::actions::laptops::Applicant;
use roost_portal::app::{App, OfCard, Places};
use roost_portal::code::Code;
use roost_portal::device;
use roost_portal::identity::Identity;
use roost_portal::listen::{self, Limits};
use roost_portal::mdns;
use roost_portal::outside::Outside;
use roost_portal::resolver;
use roost_portal::store::{DataFolder, OpenError, Store};
use roost_portal::tls::{self, Shown};
use roost_portal::web;
use roost_service::card::Card;
use roost_service::notifier::Notifier;
use roost_service::settings::Settings;
use roost_service::{backup, certificates, control, dns, mail, snapshot, spec, tunnel, update};
use std::future::{pending, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";
/// Other ports than 443 and 80, e.g. `8443 8080`, for tests and for trying the portal on a desk.
const PORTS_ENV: &str = "ROOST_PORTS";
/// Another socket of init, for the same.
const INIT_ENV: &str = "ROOST_INIT";
/// Another socket of the updater, for the same.
const UPDATER_ENV: &str = "ROOST_UPDATER";
/// Another socket of the backup service, for the same.
const BACKUP_ENV: &str = "ROOST_BACKUP";
/// And its socket for the portal's own questions.
const BACKUP_DOOR_ENV: &str = "ROOST_BACKUP_DOOR";
/// Another socket of the mail service, for the same.
const MAIL_ENV: &str = "ROOST_MAIL";
/// Another socket of the tunnel, for the same. The tunnel itself has a `ROOST_TUNNEL`, which is no socket.
const TUNNEL_ENV: &str = "ROOST_TUNNEL_SOCKET";
/// Another place for mail's HTTP, e.g. `127.0.0.1:9080`, for the same.
const MAIL_HTTP_ENV: &str = "ROOST_MAIL_HTTP";
const MAIL_IMAPS_ENV: &str = "ROOST_MAIL_IMAPS";
/// Another socket of the name server, for the same.
const DNS_ENV: &str = "ROOST_DNS";
/// Another socket of the certificate service, for the same.
const CERTIFICATES_ENV: &str = "ROOST_CERTIFICATES";
/// Another place where the name server answers, e.g. `127.0.0.1:5353`, for the same.
const NAME_SERVER_ENV: &str = "ROOST_NAME_SERVER";
/// Another socket of the resolver, for the same.
const RESOLVER_ENV: &str = "ROOST_RESOLVER";
/// Another resolv.conf, for the same.
const RESOLV_CONF_ENV: &str = "ROOST_RESOLV_CONF";
/// Argument of the process that answers for the box's name.
const MDNS: &str = "--mdns";
/// Pages are short; a Pi has four processors, and mail wants some of them.
const WORKERS: usize = 2;

fn main() -> std::process::ExitCode {
    if std::env::args().nth(1).as_deref() == Some(MDNS) {
        return mdns::child();
    }
    let notifier = Notifier::from_env();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("portal")
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&notifier)),
        Err(error) => Err(error).context("start the runtime"),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("portal: {error:#}");
            notifier.status(&format!("failed: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs the portal until SIGTERM or SIGINT.
async fn run(notifier: &Notifier) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let (stop, stopping) = watch::channel(false);

    let places = places()?;
    let settings = Settings::load()?;
    let card = card(&places.run)?;
    let (code, identity, computer) = match card {
        Some(card) => (card.pairing, card.identity, card.computer),
        None => (None, None, None),
    };
    let computer = computer
        .map(|computer| Applicant::new(&computer.name, &computer.key))
        .transpose()
        .map_err(|why| anyhow::anyhow!("the computer that wrote the card: {why}"))?;
    let identity = match identity {
        Some(identity) => Identity::of_card(&identity)?,
        None => Identity::load_or_make(&places.data, &settings.name)?,
    };
    let shown = Arc::<Shown>::default();
    let config = listen::tls(&identity, shown.clone()).context("use the box's key")?;
    let card_code = code.map(|pairing| Code::parse(&pairing.code)).transpose()?;

    let name = settings.name.clone();
    let (https, http, laptops) = ports()?;
    let app = match Store::open(&DataFolder(places.data.clone())) {
        Ok(store) => {
            let told = OfCard {
                code: card_code.clone(),
                computer,
            };
            let app = App::new(store, settings, identity, places, told)?;
            let code = card_code.unwrap_or_else(|| Code::from_random(App::random()));
            app.begin_pairing(code).await?;
            Ok(app)
        }
        // Mail goes on, and another version would not help: the box stays up and says so.
        Err(why @ (OpenError::Damaged(_) | OpenError::Newer { .. })) => Err(why),
        // A new start may help.
        Err(why @ (OpenError::InUse | OpenError::Io(_))) => return Err(why.into()),
    };
    let pages = match &app {
        Ok(app) => web::router(app.clone()),
        Err(why) => web::closed::router(&name, why),
    };
    let (names, certified) = (app.as_ref().ok().cloned(), shown.clone());
    let plain = move |request: Request<Body>| {
        // Programs that look for `autoconfig.DOMAIN` begin here.
        let is_own = |host: &str| {
            certified.has(host) || names.as_ref().is_some_and(|app| app.is_own_name(host))
        };
        ready(web::plain::redirect(&request, &name, https, is_own))
    };
    if let Ok(app) = &app {
        let (app, run) = (app.clone(), app.places.run.clone());
        let opened = snapshot::open(update::PORTAL, move || {
            let card = crate::card(&run).map_err(std::io::Error::other)?;
            app.held(card.as_ref())
        });
        // On a desk there are no other services.
        if let Err(why) = opened {
            eprintln!("portal: there can be no backup: {why}");
        }
    }
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut doors = JoinSet::new();
    if let (Ok(app), Some(port)) = (&app, laptops) {
        let limits = device::door::Limits::STANDARD;
        let laptops = device::door::Door::new(app.clone(), limits).context("use the box's key")?;
        doors.spawn(laptops.serve(door(port).await?, stopping.clone()));
    }
    doors.spawn(listen::serve(
        door(https).await?,
        Some(acceptor),
        Limits::STANDARD,
        web::service(pages),
        stopping.clone(),
    ));
    doors.spawn(listen::serve(
        door(http).await?,
        None,
        Limits::PLAIN,
        plain,
        stopping.clone(),
    ));
    if let Ok(app) = &app {
        doors.spawn(be_found(app.clone(), https, stopping.clone()));
    }
    let ticking = app
        .as_ref()
        .ok()
        .map(|app| tokio::spawn(look_after(app.clone(), shown)));
    if let Err(why) = &app {
        eprintln!("portal: {why}");
        notifier.status(&format!("{why}; nobody is let in"));
    }
    notifier.ready();
    println!("portal: ready");
    let broken = async {
        match &app {
            Ok(app) => app.broken.notified().await,
            Err(_) => pending().await,
        }
    };
    let broken = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = broken => true,
    };
    println!("portal: stopping");
    stop.send_replace(true);
    if let Some(ticking) = ticking {
        ticking.abort();
    }
    while doors.join_next().await.is_some() {}
    anyhow::ensure!(
        !broken,
        "the store cannot be written any more; a new start opens it again"
    );
    Ok(())
}

/// Looks after what changes by time, and after certificates, until the end.
async fn look_after(app: Arc<App>, shown: Arc<Shown>) {
    tokio::join!(app.clone().tick(), tls::keep(app, shown));
}

/// Says on the network where the box is, until the end.
async fn be_found(app: Arc<App>, https_port: u16, stop: watch::Receiver<bool>) {
    let version = app.init.status().await.map(|status| status.version);
    let what = mdns::Announcement {
        name: app.settings.name.clone(),
        https_port,
        fingerprint: app.identity.fingerprint().hex(),
        version: version.unwrap_or_default(),
    };
    let command = || {
        // Of this version, whatever lies under its name by now.
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command.arg(MDNS);
        command
    };
    let (paired, host) = (app.paired.subscribe(), app.host.clone());
    mdns::announce(what, command, paired, host, stop).await;
}

async fn door(port: u16) -> Result<TcpListener> {
    listen::open(port)
        .await
        .with_context(|| format!("open port {port}"))
}

fn places() -> Result<Places> {
    let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let folder = |name: &str| {
        env(name).with_context(|| format!("{name} is not set (init gives the service its folders)"))
    };
    Ok(Places {
        data: folder(DATA_ENV)?,
        run: folder(spec::RUN_ENV)?,
        init: env(INIT_ENV).unwrap_or_else(|| control::SOCKET.into()),
        updater: env(UPDATER_ENV).unwrap_or_else(update::socket),
        backup: env(BACKUP_ENV).unwrap_or_else(backup::socket),
        backup_door: env(BACKUP_DOOR_ENV).unwrap_or_else(backup::door),
        mail: env(MAIL_ENV).unwrap_or_else(mail::socket),
        tunnel: env(TUNNEL_ENV).unwrap_or_else(tunnel::socket),
        dns: env(DNS_ENV).unwrap_or_else(dns::socket),
        certificates: env(CERTIFICATES_ENV).unwrap_or_else(certificates::socket),
        resolver: env(RESOLVER_ENV).unwrap_or_else(roost_service::resolver::socket),
        name_server: address(NAME_SERVER_ENV, resolver::PORT)?,
        mail_http: address(MAIL_HTTP_ENV, mail::HTTP_PORT)?,
        mail_imaps: address(MAIL_IMAPS_ENV, mail::ports::IMAPS)?,
        resolv_conf: env(RESOLV_CONF_ENV).unwrap_or_else(|| "/etc/resolv.conf".into()),
        dns_port: resolver::PORT,
        outside: Outside::STANDARD,
        doors: |port| SocketAddr::from(([127, 0, 0, 1], port)),
    })
}

/// The address in this variable, or this port of the box itself.
fn address(variable: &str, port: u16) -> Result<SocketAddr> {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{variable}: {text:?}")),
        Err(_) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
    }
}

/// The card as init has left it in the portal's folder, if it has anything to say.
fn card(run: &Path) -> Result<Option<Card>> {
    let path = run.join("card");
    match std::fs::read(&path) {
        // The parser's own words could repeat a secret.
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(card) => Ok(Some(card)),
            Err(_) => anyhow::bail!("{} cannot be understood", path.display()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Ports of HTTPS, of HTTP, and of the laptops' door.
fn ports() -> Result<(u16, u16, Option<u16>)> {
    let Ok(text) = std::env::var(PORTS_ENV) else {
        return Ok((443, 80, Some(update::PORT)));
    };
    let ports: Result<Vec<u16>, _> = text.split_whitespace().map(str::parse).collect();
    match ports.as_deref() {
        Ok([https, http]) => Ok((*https, *http, None)),
        Ok([https, http, laptops]) => Ok((*https, *http, Some(*laptops))),
        _ => anyhow::bail!("{PORTS_ENV} is not two or three ports: {text:?}"),
    }
}
