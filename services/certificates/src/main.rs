//! The certificate service: see the crate's README for the whole story.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use roost_certificates::book::Desk;
use roost_certificates::clock::Clock;
use roost_certificates::door::{self, Counter};
use roost_certificates::secret;
use roost_certificates::store::{Disk, Store};
use roost_certificates::work::Worker;
use roost_certificates::zone::NameServers;
use roost_service::notifier::Notifier;
use roost_service::spec::{self, ServiceSpec};
use roost_service::{certificates, control, snapshot};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";
/// Another place for the services table, for tests.
const SERVICES_ENV: &str = "ROOST_SERVICES";
/// Another place for init's socket, for tests.
const INIT_ENV: &str = "ROOST_CONTROL";
/// Another address and port of the box's own name server, for tests.
const NAME_SERVER_ENV: &str = "ROOST_NAME_SERVER";
/// Where the box's own name server takes updates.
const NAME_SERVER: &str = "127.0.0.1:53";

fn main() -> std::process::ExitCode {
    let notifier = Notifier::from_env();
    let result = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
        .and_then(|runtime| {
            let result = runtime.block_on(run(&notifier));
            // A look-up may hang in the resolver.
            runtime.shutdown_background();
            result
        });
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certificates: {error:#}");
            notifier.status(&format!("failed: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs the service until SIGTERM or SIGINT.
async fn run(notifier: &Notifier) -> Result<()> {
    let terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let data = std::env::var_os(DATA_ENV).map(PathBuf::from);
    let data = data.with_context(|| {
        format!("{DATA_ENV} is not set (init gives the service its data folder)")
    })?;
    let run = std::env::var_os(spec::RUN_ENV)
        .map_or_else(|| spec::run_folder(certificates::SERVICE), PathBuf::from);
    let folders = (&mut Disk(run.clone()), &mut Disk(data.clone()));
    let folder = data.clone();
    let secret = secret::load_or_make(&mut [folders.0, folders.1])
        .context("get the key for changes of the zone")?;
    let desk = Desk::open(Store::new(Disk(data)), seed(&secret)).context("read the data folder")?;
    let desk = Arc::new(desk);
    let init = std::env::var_os(INIT_ENV).map_or_else(|| control::SOCKET.into(), PathBuf::from);
    let clock = Arc::new(Clock::new(init));
    let counter = Counter {
        desk: desk.clone(),
        clock: clock.clone(),
        secret: BASE64_STANDARD.encode(&*secret).into(),
    };
    let socket = run.join(certificates::socket().file_name().unwrap_or_default());
    door::open(&socket, &table()?, Arc::new(counter))
        .with_context(|| format!("listen on {}", socket.display()))?;
    snapshot::open_folder(certificates::SERVICE, &folder)?;
    let servers = NameServers::new(name_server()?, vec![], &secret);
    notifier.ready();
    println!("certificates: ready");
    let worker = Worker {
        desk,
        clock,
        servers,
    };
    tokio::select! {
        () = worker.run() => {}
        () = stopped(terminate, interrupt) => println!("certificates: stopping"),
    }
    Ok(())
}

/// A number of this box's own: some of what a hash of its secret has.
fn seed(secret: &[u8]) -> u64 {
    let hash = roost_certificates::keys::hash(secret);
    u64::from_str_radix(&hash[..16], 16).unwrap_or(0)
}

fn name_server() -> Result<SocketAddr> {
    let text = std::env::var(NAME_SERVER_ENV).unwrap_or_else(|_| NAME_SERVER.to_owned());
    text.parse()
        .with_context(|| format!("{NAME_SERVER_ENV}: {text:?} is no address with a port"))
}

fn table() -> Result<Vec<ServiceSpec>> {
    let path = std::env::var(SERVICES_ENV).unwrap_or_else(|_| spec::PATH.to_owned());
    let table = std::fs::read(&path).with_context(|| format!("read {path}"))?;
    serde_json::from_slice(&table).with_context(|| format!("read {path}"))
}

async fn stopped(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
