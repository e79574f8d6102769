//! The tunnel service: see the crate's README for the whole story.

use anyhow::{Context, Result};
use roost_service::notifier::Notifier;
use roost_service::snapshot;
use roost_service::tunnel::{self, Backend};
use roost_tunnel::config::{self, Config};
use roost_tunnel::generation::Kept;
use roost_tunnel::kernel::Kernel;
use roost_tunnel::keys::{self, PrivateKey};
use roost_tunnel::routing::Routing;
use roost_tunnel::run::{Door, Frame, HOUSE, Idle, Then, with_relay, without_tunnel};
use roost_tunnel::userspace::Userspace;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";
/// Another place for the configuration.
const CONFIG_ENV: &str = "ROOST_TUNNEL";
/// The configuration's name in the data folder.
const CONFIG: &str = "tunnel.json";

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
            eprintln!("tunnel: {error:#}");
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
    let place = std::env::var_os(CONFIG_ENV).map_or_else(|| data.join(CONFIG), PathBuf::from);
    let mut routing = Routing::new()?;
    // Before anything that may fail: mail must not leave by another way in the meantime.
    match config::load(&place) {
        Ok(None) => {}
        Ok(Some(config)) => routing.guard(config.table)?,
        Err(_) => routing.guard(tunnel::table())?,
    }
    let kept = Kept::load_or_make(&data).with_context(|| format!("keep {}", tunnel::GENERATION))?;
    let mut config = choose(&place, &kept, &mut routing)?;
    let key = keys::load_or_make(&data)?;
    snapshot::open_folder(tunnel::SERVICE, &data)?;
    let mut frame = Frame {
        key: key.public(),
        place: &place,
        kept,
        door: Door::of_service(&tunnel::socket(), HOUSE)?,
        notifier,
        stop: Box::pin(stopped(terminate, interrupt)),
    };
    println!("tunnel: this box's public key is {}", key.public());
    loop {
        let then = match &config {
            Ok(config) => {
                let ran = carry(config, &key, &mut routing, &mut frame).await;
                // Whoever stops it wants it so; a fault is no reason to let mail out.
                let stopped = matches!(ran, Ok(Then::Stop));
                let keep = (!stopped || config.keep_port_25_closed).then_some(config.table);
                routing.stop(keep)?;
                ran?
            }
            Err(idle) => {
                notifier.ready();
                println!("tunnel: ready; {}", idle.summary);
                if idle.guard.is_some() {
                    notifier.status(&idle.summary);
                }
                without_tunnel(&mut frame, idle).await
            }
        };
        if then == Then::Stop {
            println!("tunnel: stopping");
            return Ok(());
        }
        println!("tunnel: another relay was chosen or none, or another card has this one's place");
        config = choose(&place, &frame.kept, &mut routing)?;
    }
}

/// What was chosen, and the guard that belongs to it; or why there is no tunnel.
fn choose(place: &Path, kept: &Kept, routing: &mut Routing) -> Result<Result<Config, Idle>> {
    let idle = |summary: String| Idle {
        summary,
        guard: None,
    };
    Ok(match config::load(place) {
        Ok(Some(config)) => match Idle::stood_down(kept) {
            None => {
                routing.start(&config)?;
                Ok(config)
            }
            // No mail leaves by another way either: another box has the domain now.
            Some(down) => {
                routing.start(&config)?;
                routing.stop(Some(config.table))?;
                Err(down)
            }
        },
        Ok(None) => {
            routing.stop(None)?;
            Err(idle("there is no relay yet".into()))
        }
        // The owner chooses again. There is a relay somewhere, and mail must not leave without it.
        Err(why) => {
            routing.guard(tunnel::table())?;
            Err(idle(format!(
                "what was chosen cannot be used, set the relay again: {why}"
            )))
        }
    })
}

async fn carry(
    config: &Config,
    key: &PrivateKey,
    routing: &mut Routing,
    frame: &mut Frame<'_>,
) -> Result<Then> {
    match config.backend {
        Backend::Userspace => {
            let backend = Userspace::new(config, key)?;
            with_relay(config, backend, routing, frame).await
        }
        Backend::Kernel => {
            let backend = Kernel::new(config, key)?;
            with_relay(config, backend, routing, frame).await
        }
    }
}

async fn stopped(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
