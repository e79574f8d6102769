//! The mail program: Stalwart as a library, started our way.
//!
//! - [`durable`]: an acknowledged message is on the disk.
//! - [`certificates`]: what TLS shows, as the certificate service says.
//! - [`ledger`]: the directory as a whole.
//! - [`provision`]: domain, first account and its addresses.
//! - [`admin`]: the portal's calls.
//! - [`imap`]: IMAP's clear-text port up to STARTTLS.
//! - [`probe`]: proving on request that mail works.
//! - [`room`]: no new mail on a full card.
//! - [`store_format`]: the way back from a version with another store.
//!
//! What needs no Stalwart is in `roost-mail-config`, where it can be tested;
//! what names Stalwart's types is in `roost-mail-server`, which takes minutes
//! to compile.

mod admin;
mod certificates;
mod durable;
mod imap;
mod ledger;
mod probe;
mod provision;
mod room;
mod socket;
mod store_format;

use admin::Admin;
use anyhow::{Context, Result, bail};
use certificates::Certificates;
use ledger::Ledger;
use roost_mail_config::setup::Setup;
use roost_mail_config::{
    config, forwarded, forwarder, keys, listeners, ports, prepare, resolv, secret_file,
};
use roost_mail_server::{Options, PinnedKey, Running, Server};
use roost_service::notifier::Notifier;
use roost_service::spec::RUN_ENV;
use roost_service::{mail, snapshot};
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
/// The library looks at once after the rules have asked whether a server's keys are pinned, and they ask
/// before every connection.
const PINNED: Duration = Duration::from_secs(60);
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
    let Started { running, sockets } = tokio::select! {
        started = start(notifier, &data) => started?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    open_snapshot(&data)?;
    notifier.ready();
    match &running {
        Some(_) => println!("mail: ready"),
        None => {
            // Init starts this program anew when a domain was chosen.
            notifier.status("waiting for pairing");
            println!("mail: waiting for pairing");
        }
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = store_format::tidy(&data) => {}
        () = watch_room(running.is_some(), &data, notifier) => {}
    }
    println!("mail: stopping");
    for socket in sockets {
        // The probe's session would use up the grace of the others.
        socket.abort();
    }
    if let Some(running) = running {
        running.stop(GRACE).await;
    }
    Ok(())
}

/// Lets the backup service fetch what is kept here; without init nobody could connect.
fn open_snapshot(data: &Path) -> Result<()> {
    if std::env::var_os(RUN_ENV).is_none() {
        return Ok(());
    }
    let data = data.to_owned();
    snapshot::open(mail::SERVICE, move || {
        roost_mail_config::snapshot::hold(&data)
    })
    .context("let the backup service in")
}

/// Without a domain there is no store that could fill the card.
async fn watch_room(serving: bool, data: &Path, notifier: &Notifier) {
    if serving {
        room::watch(data.to_owned(), notifier).await;
    } else {
        std::future::pending().await
    }
}

/// What runs.
struct Started {
    /// The mail server, unless the box waits for pairing.
    running: Option<Running>,
    /// The tasks of the sockets inside the box.
    sockets: Vec<AbortHandle>,
}

/// Starts everything.
async fn start(notifier: &Notifier, data: &Path) -> Result<Started> {
    let share = path_from_env(SHARE_ENV, Some(SHARE))?;
    let folder = socket::folder();
    let Some(setup) = prepare::read_setup()? else {
        let sockets = folder.map(|folder| [probe::open(&folder, None), admin::open(&folder, None)]);
        return Ok(Started {
            running: None,
            sockets: sockets.into_iter().flatten().flatten().collect(),
        });
    };

    room::prepare(data)?;
    // Asked while everything else starts.
    let certificate = certificates::first();

    notifier.status("making keys");
    let (for_keys, data_) = (setup.clone(), data.to_owned());
    // Half a minute of arithmetic on a small board, once.
    let keys = tokio::task::spawn_blocking(move || {
        prepare::prepare(&data_, &for_keys)?;
        keys::public(&data_)
    })
    .await
    .context("make keys")??;

    notifier.status("opening the mail store");
    store_format::settle(data)?;
    durable::install(data)?;
    let resolver = forwarder::spawn(resolv::PATH.into(), forwarder::PORT)
        .await
        .context("bind the DNS forwarder")?;
    let config_path = data.join("config.toml");
    let text = render(&setup, data, &share, resolver.address)?;
    secret_file::write(&config_path, &text)?;
    let server = Server::boot(&text, config_path).await?;

    server.has_mail_exchanger(forwarder::PROBE).await;
    if !resolver.was_probed() {
        bail!(
            "this program asks no name server and could never send mail: \
             it was compiled without services/mail/rustc as RUSTC_WRAPPER"
        );
    }

    let pins = server.pins();
    resolver.tell_pins(move |server, found| {
        let found = found.into_iter().map(|pin| PinnedKey {
            key: pin.key,
            sha256: pin.sha256,
            hash: pin.hash,
        });
        pins.pin(&server, found.collect(), PINNED);
    });

    notifier.status("checking domain and account");
    let ledger = Ledger {
        directory: server.directory(),
        queue: server.queue(),
        data: data.to_owned(),
    };
    let directory = server.directory();
    provision::provision(&ledger, &setup).await?;

    let mut certificates = Certificates::new(server.certificates());
    if let Some(certificate) = certificate.in_time().await {
        certificates.take(&certificate);
    }
    tokio::spawn(certificates.follow());
    let running = server.serve(Options {
        host: setup.host.clone(),
        imap_prelude: imap::until_starttls,
        http_client: |headers| forwarded::client(headers.iter().copied()),
    })?;
    check_ports()?;
    let sockets = folder.map(|folder| {
        [
            probe::open(&folder, Some((&setup, directory))),
            admin::open(&folder, Some(Admin::new(ledger, setup.clone(), keys))),
        ]
    });
    Ok(Started {
        running: Some(running),
        sockets: sockets.into_iter().flatten().flatten().collect(),
    })
}

fn path_from_env(name: &str, default: Option<&str>) -> Result<PathBuf> {
    match (std::env::var_os(name), default) {
        (Some(path), _) => Ok(path.into()),
        (None, Some(path)) => Ok(path.into()),
        (None, None) => bail!("{name} is not set (init gives the service its data folder)"),
    }
}

fn render(
    setup: &Setup,
    data: &Path,
    share: &Path,
    resolver: std::net::SocketAddr,
) -> Result<String> {
    let rules_path = share.join("spam-rules.toml");
    let rules = std::fs::read_to_string(&rules_path)
        .with_context(|| format!("read {}", rules_path.display()))?;
    let text = config::render(setup, config::Places { data, resolver })?;
    Ok(config::with_spam_rules(&text, &rules))
}

/// Asks the kernel whether every port is open: the library only logs when one is not.
fn check_ports() -> Result<()> {
    let table = |name| std::fs::read_to_string(format!("/proc/self/net/{name}"));
    let (Ok(tcp), Ok(tcp6)) = (table("tcp"), table("tcp6")) else {
        // Without /proc the bind, which succeeded, has to do.
        return Ok(());
    };
    let missing = ports::missing(
        &[&tcp, &tcp6],
        listeners::ALL.iter().map(|listener| listener.port),
    );
    if !missing.is_empty() {
        bail!("listen on ports {missing:?}: the kernel does not show them as open");
    }
    Ok(())
}
