//! The resolver: see the crate's README for the whole story.

use anyhow::{Context, Result};
use roost_resolver::anchors::Root;
use roost_resolver::clock::Clock;
use roost_resolver::engine::Engine;
use roost_resolver::keeper::Keeper;
use roost_resolver::network::{self, Watched};
use roost_resolver::serve::Ears;
use roost_service::door::{Door, House};
use roost_service::notifier::Notifier;
use roost_service::settings::Settings;
use roost_service::{control, resolver};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Another file of init's with the network's resolvers, for tests.
const RESOLV_CONF_ENV: &str = "ROOST_RESOLV_CONF";
/// Another place for init's socket, for tests.
const INIT_ENV: &str = "ROOST_CONTROL";
/// The port of the DNS.
const PORT: u16 = 53;
/// Who may ask how it stands.
const HOUSE: House<resolver::Answer> = House {
    service: resolver::SERVICE,
    guests: &["portal"],
    max_call: resolver::MAX_LINE,
    no_call: |why| resolver::Answer::Refused { why },
};

fn main() -> std::process::ExitCode {
    let notifier = Notifier::from_env();
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("resolver")
        .enable_all()
        .build()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(run(&notifier)));
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("resolver: {error:#}");
            notifier.status(&format!("failed: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs the service until SIGTERM or SIGINT.
async fn run(notifier: &Notifier) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let place =
        |name, or: &str| std::env::var_os(name).map_or_else(|| PathBuf::from(or), PathBuf::from);
    let settings = Settings::load()?;
    let root = Root::of(settings.resolver.as_ref());
    let engine = Arc::new(Engine::new(root.public));
    let address = SocketAddr::new(resolver::ADDRESS.into(), PORT);
    let ears = Ears::open(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    let mut door = Door::<resolver::Call, _>::of_service(&resolver::socket(), HOUSE)?;
    let watched = Watched::new(place(RESOLV_CONF_ENV, network::PATH));
    let clock = Clock::new(place(INIT_ENV, control::SOCKET));
    let keeper = Keeper::new(engine.clone(), root, watched, clock);
    let ears = ears.serve(engine.clone());
    let kept = tokio::spawn(async { tokio::join!(ears, keeper.run()) });
    notifier.ready();
    println!("resolver: ready on {address}");
    tokio::pin!(kept);
    loop {
        let asked = async {
            match &mut door {
                Some(door) => door.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // It ends only by a fault of its own; init starts the service anew then.
            ended = &mut kept => return ended.map(|_| ()).context("hear questions"),
            asked = asked => {
                let resolver::Call::Status = asked.call;
                let status = engine.status();
                asked.answer(resolver::Answer::Status(status));
            }
        }
    }
    println!("resolver: stopping");
    Ok(())
}
