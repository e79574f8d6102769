//! The update service: see the crate's README for the whole story.

use anyhow::{Context, Result, bail};
use roost_bundle::PublicKey;
use roost_service::notifier::Notifier;
use roost_service::settings::Settings;
use roost_service::spec::{self, ServiceSpec};
use roost_service::{control, probe, update};
use roost_updater::api::{self, Limits};
use roost_updater::control::{Init, words};
use roost_updater::facts::Facts;
use roost_updater::reconcile::Then;
use roost_updater::start::{LOOKED_THROUGH, start};
use roost_updater::updater::{Places, Updater};
use roost_updater::{letter, pull, trial};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";
/// Where the mail service takes mail (RFC 5321).
const SMTP: u16 = 25;
/// One thread for the doors; the disk has threads of its own.
const WORKERS: usize = 1;
/// Longest wait for a thread inside a write: a sync of a slow card.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

fn main() -> std::process::ExitCode {
    let notifier = Notifier::from_env();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("updater")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("updater: start the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(&notifier));
    runtime.shutdown_timeout(STOP_TIMEOUT);
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("updater: {error:#}");
            notifier.status(&format!("failed: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs the service until SIGTERM or SIGINT.
async fn run(notifier: &Notifier) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let (stop, stopping) = watch::channel(false);

    let data = std::env::var_os(DATA_ENV).map(PathBuf::from);
    let data = data.with_context(|| {
        format!("{DATA_ENV} is not set (init gives the service its data folder)")
    })?;
    let settings = Settings::load()?;
    let services: Vec<ServiceSpec> = read_json(spec::PATH)?;
    let places = Places {
        devices: spec::DEVICES.into(),
        control: control::SOCKET.into(),
        probe: probe::socket,
    };
    let status = Init(places.control.clone()).status().await?;
    let facts = Facts::read(Path::new("/"), status.slot)?;
    let (ledger, then) = {
        let (facts, devices, data) = (facts.clone(), places.devices.clone(), data.clone());
        let (status, init) = (status.clone(), Init(places.control.clone()));
        let runtime = tokio::runtime::Handle::current();
        let log = move || {
            let lines = init.logs("init", LOOKED_THROUGH, None);
            runtime.block_on(lines).unwrap_or_default()
        };
        tokio::task::spawn_blocking(move || start(&facts, &status, &devices, &data, log))
            .await
            .context("look where updates stand")??
    };
    let keys = parse_keys(&settings.update.keys);
    let updater = Arc::new(Updater::new(facts, ledger, places, keys));
    let gate = match then {
        Then::Nothing => None,
        Then::EndTrial => {
            trial::end(&updater).await;
            None
        }
        Then::Gate { trial, wrong } => {
            let (updater, table) = (updater.clone(), services.clone());
            Some(tokio::spawn(async move {
                trial::run(updater, trial, wrong, &table, trial::since_boot).await;
            }))
        }
    };
    let pull = settings.update.url.clone().map(|url| {
        let window = settings.update.window;
        tokio::spawn(pull::run(updater.clone(), url, window))
    });
    let letter = tokio::spawn(letter::run(updater.clone(), settings.clone(), SMTP));
    let server = open(&updater, &services, stopping)?;
    notifier.ready();
    println!("updater: ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    println!("updater: stopping");
    stop.send_replace(true);
    if let Some(server) = server {
        let _ = server.await;
    }
    // A trial that is not over goes on after the restart, and so do a transfer
    // and a message to the owner.
    for task in [gate, pull, Some(letter)].into_iter().flatten() {
        task.abort();
    }
    Ok(())
}

/// Opens the socket for the portal, if the image has one.
fn open(
    updater: &Arc<Updater>,
    table: &[ServiceSpec],
    stopping: watch::Receiver<bool>,
) -> Result<Option<tokio::task::JoinHandle<()>>> {
    let Some(portal) = table.iter().find(|spec| spec.name == update::PORTAL) else {
        println!("updater: this image has no portal: nobody can ask for updates");
        return Ok(None);
    };
    let path = update::socket();
    let listener = api::listen(&path).with_context(|| format!("listen on {}", path.display()))?;
    let server = api::serve(
        updater.clone(),
        listener,
        portal.user,
        Limits::STANDARD,
        stopping,
    );
    Ok(Some(tokio::spawn(server)))
}

fn parse_keys(keys: &[String]) -> impl Iterator<Item = PublicKey> + '_ {
    keys.iter().filter_map(move |text| {
        let mut key = [0; 32];
        match hex::decode_to_slice(text, &mut key) {
            Ok(()) => Some(PublicKey(key)),
            Err(error) => {
                println!("updater: update.keys: {text:?} is no key and is left out: {error}");
                None
            }
        }
    })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &str) -> Result<T> {
    let bytes = std::fs::read(path).with_context(|| format!("read {path}"))?;
    match serde_json::from_slice(&bytes) {
        Ok(value) => Ok(value),
        Err(error) => bail!("{path}: {}", words(&error)),
    }
}
