//! The name server: see the crate's README for the whole story.

use anyhow::{Context, Result};
use roost_dns::facts::Sources;
use roost_dns::parent::Asking;
use roost_dns::run::{Places, Service};
use roost_service::door::{Door, House};
use roost_service::notifier::Notifier;
use roost_service::{certificates, dns, mail, snapshot, tunnel};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// The service's data folder; set by init.
const DATA_ENV: &str = "ROOST_DATA";
/// Another port, for tests.
const PORT_ENV: &str = "ROOST_DNS_PORT";
/// Another socket of the mail service, for tests.
const MAIL_ENV: &str = "ROOST_MAIL_SOCKET";
/// Another socket of the tunnel, for tests.
const TUNNEL_ENV: &str = "ROOST_TUNNEL_SOCKET";
/// Another socket of the certificate service, for tests.
const CERTIFICATES_ENV: &str = "ROOST_CERTIFICATES_SOCKET";
/// Another list of resolvers, for tests.
const RESOLV_CONF_ENV: &str = "ROOST_RESOLV_CONF";
/// The port at which others answer, for tests.
const WORLD_PORT_ENV: &str = "ROOST_DNS_WORLD_PORT";
/// The port of the DNS.
const PORT: u16 = 53;
/// Who may ask.
const HOUSE: House<dns::Answer> = House {
    service: dns::SERVICE,
    guests: &["portal"],
    max_call: dns::MAX_CALL,
    no_call: |why| dns::Answer::Refused { why },
};

fn main() -> std::process::ExitCode {
    let notifier = Notifier::from_env();
    let result = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("dns")
        .enable_all()
        .build()
        .context("start the runtime")
        .and_then(|runtime| runtime.block_on(run(&notifier)));
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dns: {error:#}");
            notifier.status(&format!("failed: {error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs the service until SIGTERM or SIGINT.
async fn run(notifier: &Notifier) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("catch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("catch SIGINT")?;
    let place = |name| std::env::var_os(name).map(PathBuf::from);
    let data = place(DATA_ENV).with_context(|| {
        format!("{DATA_ENV} is not set (init gives the service its data folder)")
    })?;
    let port = |name| match std::env::var(name) {
        Ok(port) => port.parse().with_context(|| format!("{name} is {port:?}")),
        Err(_) => Ok(PORT),
    };
    let mut asking = Asking {
        port: port(WORLD_PORT_ENV)?,
        ..Asking::default()
    };
    if let Some(resolv_conf) = place(RESOLV_CONF_ENV) {
        asking.resolv_conf = resolv_conf;
    }
    let sources = Sources {
        mail: place(MAIL_ENV).unwrap_or_else(mail::socket),
        tunnel: place(TUNNEL_ENV).unwrap_or_else(tunnel::socket),
        certificates: place(CERTIFICATES_ENV).unwrap_or_else(certificates::socket),
    };
    snapshot::open_folder(dns::SERVICE, &data)?;
    let mut door = Door::<dns::Call, _>::of_service(&dns::socket(), HOUSE)?;
    let mut service = Service::start(Places {
        data,
        port: port(PORT_ENV)?,
        sources,
        asking,
    })
    .await?;
    notifier.ready();
    println!("dns: ready; {}", service.summary());
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
            asked = asked => {
                // What others answer takes seconds, in which signatures and addresses have to be looked after.
                if let dns::Call::Check { domain } = &asked.call
                    && let Ok(answer) = service.check(domain).await
                {
                    tokio::spawn(async move { asked.answer(answer.await) });
                } else {
                    let answer = service.answer(&asked.call).await;
                    asked.answer(answer);
                }
            }
            () = service.due() => service.look().await,
        }
    }
    println!("dns: stopping");
    Ok(())
}
