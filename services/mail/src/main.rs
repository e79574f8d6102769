//! The mail program: Stalwart as a library, started our way.
//!
//! - [`durable`]: an acknowledged message is on the disk.
//! - [`resolver`]: one name server address that never changes.
//! - [`provision`]: domain, first account and its addresses.
//! - [`imap`]: IMAP's clear-text port up to STARTTLS.
//! - [`notify`]: telling init how far it got.
//! - [`probe`]: proving on request that mail works.
//! - [`store_format`]: the way back from a version with another store.
//!
//! What needs no Stalwart is in `roost-mail-config`, where it can be tested;
//! what names Stalwart's types is in `roost-mail-server`, which takes minutes
//! to compile.

mod durable;
mod imap;
mod notify;
mod probe;
mod provision;
mod resolver;
mod store_format;

use anyhow::{Context, Result, bail};
use notify::Notifier;
use roost_mail_config::settings::Settings;
use roost_mail_config::{config, listeners, ports, prepare, secret_file};
use roost_mail_server::{Options, Running, Server};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;

/// glibc's allocator keeps an arena per thread and gives little back; jemalloc,
/// Stalwart's own choice, aborts on the Pi 5's 16 KiB pages.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";
/// Another folder than [`SHARE`], for tests.
const SHARE_ENV: &str = "ROOST_SHARE";
/// What the image ships for this service.
const SHARE: &str = "/share/mail";

/// After SIGTERM sessions get this long to finish a command and say good-bye.
/// What is not acknowledged by then is sent again by the other side. A client
/// that waits for new mail (IMAP IDLE) uses it up: the library does not wake it.
const GRACE: Duration = Duration::from_millis(1500);
/// Longest wait for threads inside a store operation.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

fn main() -> std::process::ExitCode {
    let notifier = Notifier::from_env();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config::WORKER_THREADS)
        .thread_name("mail")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("mail: start the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(&notifier));
    // Drops every session and then the store, which folds its log into the database.
    runtime.shutdown_timeout(STOP_TIMEOUT);
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mail: {error:#}");
            notifier.status(&format!("failed: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs the service until SIGTERM or SIGINT.
async fn run(notifier: &Notifier) -> Result<()> {
    // First, so that a stop request during a slow first start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;

    let data = path_from_env(DATA_ENV, None)?;
    let (running, probe) = tokio::select! {
        started = start(notifier, &data) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    notifier.ready();
    println!("mail: ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = store_format::tidy(&data) => {}
    }
    println!("mail: stopping");
    if let Some(probe) = probe {
        // Its session would use up the grace of the others.
        probe.abort();
    }
    running.stop(GRACE).await;
    Ok(())
}

/// Starts everything.
async fn start(notifier: &Notifier, data: &Path) -> Result<(Running, Option<AbortHandle>)> {
    let share = path_from_env(SHARE_ENV, Some(SHARE))?;
    let settings = prepare::read_settings()?;

    notifier.status("making keys");
    let (for_keys, folder) = (settings.clone(), data.to_owned());
    // Half a minute of arithmetic on a small board, once.
    tokio::task::spawn_blocking(move || prepare::prepare(&folder, &for_keys))
        .await
        .context("make keys")??;

    notifier.status("opening the mail store");
    store_format::settle(data)?;
    durable::install(data)?;
    let resolver = resolver::spawn(PathBuf::from(roost_mail_config::resolv::PATH)).await?;
    let config_path = data.join("config.toml");
    let text = render(&settings, data, &share, resolver.address)?;
    secret_file::write(&config_path, &text)?;
    let server = Server::boot(&text, config_path).await?;

    server.has_mail_exchanger(resolver::PROBE).await;
    if !resolver.was_probed() {
        bail!(
            "this program asks no name server and could never send mail: \
             it was compiled without services/mail/rustc as RUSTC_WRAPPER"
        );
    }

    notifier.status("checking domain and account");
    let directory = server.directory();
    provision::provision(&directory, &settings).await?;

    let running = server.serve(Options {
        host: settings.mail.host.clone(),
        imap_prelude: imap::until_starttls,
    })?;
    check_ports()?;
    Ok((running, probe::open(&settings, directory)))
}

fn path_from_env(name: &str, default: Option<&str>) -> Result<PathBuf> {
    match (std::env::var_os(name), default) {
        (Some(path), _) => Ok(path.into()),
        (None, Some(path)) => Ok(path.into()),
        (None, None) => bail!("{name} is not set (init gives the service its data folder)"),
    }
}

fn render(
    settings: &Settings,
    data: &Path,
    share: &Path,
    resolver: std::net::SocketAddr,
) -> Result<String> {
    let rules_path = share.join("spam-rules.toml");
    let rules = std::fs::read_to_string(&rules_path)
        .with_context(|| format!("read {}", rules_path.display()))?;
    let text = config::render(settings, config::Places { data, resolver })?;
    Ok(config::with_spam_rules(&text, &rules))
}

/// Asks the kernel whether every port is open: the library only logs when one is not.
fn check_ports() -> Result<()> {
    let Ok(table) = std::fs::read_to_string("/proc/self/net/tcp6") else {
        // Without /proc the bind, which succeeded, has to do.
        return Ok(());
    };
    let missing = ports::missing(&table, listeners::ALL.iter().map(|listener| listener.port));
    if !missing.is_empty() {
        bail!("listen on ports {missing:?}: the kernel does not show them as open");
    }
    Ok(())
}
