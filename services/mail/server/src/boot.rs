//! From the rendered configuration to a running core.
//!
//! The library's own boot reads a file named on the command line, ends the
//! process on errors, and fetches spam rules. This does the same steps with
//! the text at hand, and nothing is written to the library's settings.

use anyhow::{Result, anyhow, bail};
use stalwart_lib::common::config::{server::Listeners, telemetry::Telemetry};
use stalwart_lib::common::core::BuildServer;
use stalwart_lib::common::manager::boot::{IpcReceivers, build_ipc};
use stalwart_lib::common::manager::config::{ConfigManager, Patterns};
use stalwart_lib::common::{Caches, Core, Data, Inner};
use stalwart_lib::services::SpawnServices;
use stalwart_lib::smtp::SpawnQueueManager;
use stalwart_lib::store::Stores;
use stalwart_lib::utils::config::{Config, ConfigError};
use std::path::PathBuf;
use std::sync::Arc;

/// A core that is ready to serve.
pub(crate) struct Booted {
    /// The core.
    pub(crate) inner: Arc<Inner>,
    /// Ports, bound but not yet listening.
    pub(crate) servers: Listeners,
    receivers: IpcReceivers,
}

impl Booted {
    /// Starts the queue and the background work.
    pub(crate) fn spawn_services(&mut self) {
        self.receivers.spawn_services(self.inner.clone());
        self.receivers.spawn_queue_manager(self.inner.clone());
    }
}

/// Builds the core; `path` is where the library would save local settings.
pub(crate) async fn boot(text: &str, path: PathBuf) -> Result<Booted> {
    let mut config = Config::default();
    config
        .parse(text)
        .map_err(|reason| anyhow!("rendered configuration: {reason}"))?;
    let local = Arc::new(config.keys.clone());

    // Ports first: without them the rest is in vain, and a second copy of this
    // program must not reach the store.
    let mut servers = Listeners::parse(&mut config);
    servers.bind_and_drop_priv(&mut config);
    refuse_errors(&config)?;

    config.resolve_macros(&["file"]).await;
    let mut stores = Stores::parse(&mut config).await;
    let manager = ConfigManager {
        cfg_local_path: path,
        cfg_local_patterns: Patterns::parse(&mut config).into(),
        cfg_store: config
            .value("storage.data")
            .and_then(|id| stores.stores.get(id))
            .cloned()
            .unwrap_or_default(),
        ..Default::default()
    };
    manager.cfg_local.store(local);
    refuse_errors(&config)?;

    // Addresses that were banned before the restart.
    let saved = manager
        .db_list("", false)
        .await
        .map_err(|error| anyhow!("read saved settings: {error}"))?;
    for (key, value) in saved {
        config.keys.entry(key).or_insert(value);
    }

    let telemetry = Telemetry::parse(&mut config, &stores);
    stores.parse_in_memory(&mut config, false).await;
    let core = Box::pin(Core::parse(&mut config, stores, manager)).await;
    let data = Data::parse(&mut config);
    let cache = Caches::parse(&mut config);
    telemetry.enable(false);

    let (ipc, receivers) = build_ipc(!core.storage.pubsub.is_none());
    let inner = Arc::new(Inner {
        shared_core: core.into_shared(),
        data,
        cache,
        ipc,
    });
    let server = inner.build_server();
    if let Err(error) = server.spam_model_reload().await {
        // The model is learnt again; mail matters more.
        eprintln!("mail: load the spam model: {error}");
    }
    servers.parse_tcp_acceptors(&mut config, inner.clone());
    refuse_errors(&config)?;
    config.log_warnings();

    Box::pin(stalwart_lib::migration::try_migrate(&server))
        .await
        .map_err(|error| anyhow!("bring the mail store up to date: {error}"))?;
    Ok(Booted {
        inner,
        servers,
        receivers,
    })
}

/// The configuration is rendered, so whatever is wrong with it is a fault that
/// must show, and not a preference to be ignored.
fn refuse_errors(config: &Config) -> Result<()> {
    let mut errors: Vec<String> = config
        .errors
        .iter()
        .map(|(key, error)| {
            let reason = match error {
                ConfigError::Parse { error }
                | ConfigError::Build { error }
                | ConfigError::Macro { error } => error,
            };
            format!("{key}: {reason}")
        })
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    errors.sort_unstable();
    bail!("{}", errors.join("; "))
}
