//! The portal: see the crate's README for the whole story.

use anyhow::{Context, Result};
use roost_portal::app::{App, Places};
use roost_portal::code::Code;
use roost_portal::identity::Identity;
use roost_portal::listen::{self, Limits};
use roost_portal::notify::Notifier;
use roost_portal::store::{DataFolder, Store};
use roost_portal::web;
use roost_service::card::Card;
use roost_service::settings::{self, Settings};
use roost_service::{control, spec};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";
/// Another file of settings, for tests and for trying the portal on a desk.
const SETTINGS_ENV: &str = "ROOST_SETTINGS";
/// Other ports than 443 and 80, e.g. `8443 8080`, for the same.
const PORTS_ENV: &str = "ROOST_PORTS";
/// Another socket of init, for the same.
const INIT_ENV: &str = "ROOST_INIT";
/// Where mail speaks HTTP.
const MAIL_HTTP: u16 = 8080;
/// Pages are short; a Pi has four processors, and mail wants some of them.
const WORKERS: usize = 2;

fn main() -> std::process::ExitCode {
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
    let settings = load_settings()?;
    let card = card(&places.run)?;
    let (code, identity) = match card {
        Some(card) => (card.pairing, card.identity),
        None => (None, None),
    };
    let identity = match identity {
        Some(identity) => Identity::of_card(&identity)?,
        None => Identity::load_or_make(&places.data, &settings.name)?,
    };
    let tls = listen::tls(&identity).context("use the box's key")?;
    let code = match code {
        Some(pairing) => Code::parse(&pairing.code)?,
        None => Code::from_random(App::random()),
    };

    let store = Store::open(&DataFolder(places.data.clone()))?;
    let app = App::new(store, settings, identity, places)?;
    app.begin_pairing(code).await?;
    let router = web::router(app.clone());
    let service = move |request| {
        let mut router = router.clone();
        async move {
            match router.call(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        }
    };

    let [https, _http] = ports()?;
    let listener = door(https).await?;
    let server = tokio::spawn(listen::serve(
        listener,
        Some(TlsAcceptor::from(Arc::new(tls))),
        Limits::STANDARD,
        service,
        stopping.clone(),
    ));
    let ticking = tokio::spawn(app.clone().tick());
    notifier.ready();
    println!("portal: ready");
    let broken = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = app.broken.notified() => true,
    };
    println!("portal: stopping");
    stop.send_replace(true);
    ticking.abort();
    let _ = server.await;
    anyhow::ensure!(
        !broken,
        "the store cannot be written any more; a new start opens it again"
    );
    Ok(())
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
        updater: spec::run_folder("updater").join("api.sock"),
        mail: spec::run_folder("mail").join("admin.sock"),
        mail_http: SocketAddr::from((Ipv4Addr::LOCALHOST, MAIL_HTTP)),
    })
}

fn load_settings() -> Result<Settings> {
    let path = std::env::var(SETTINGS_ENV).unwrap_or_else(|_| settings::PATH.into());
    let bytes = std::fs::read(&path).with_context(|| format!("read {path}"))?;
    let settings: Settings =
        serde_json::from_slice(&bytes).with_context(|| format!("read {path}"))?;
    Ok(settings.with_name_of_box())
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

fn ports() -> Result<[u16; 2]> {
    let Ok(text) = std::env::var(PORTS_ENV) else {
        return Ok([443, 80]);
    };
    let ports: Result<Vec<u16>, _> = text.split_whitespace().map(str::parse).collect();
    let ports = ports.ok().and_then(|ports| ports.try_into().ok());
    ports.with_context(|| format!("{PORTS_ENV} is not two ports: {text:?}"))
}
