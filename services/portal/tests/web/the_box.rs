//! A portal that listens on loopback, with a store in a folder of its own and nobody behind its sockets
//! unless a test says so.

use roost_portal::actions::laptops::Applicant;
use roost_portal::app::{App, OfCard, Places};
use roost_portal::code::Code;
use roost_portal::health::gather::Doors;
use roost_portal::identity::Identity;
use roost_portal::listen::{self, Limits};
use roost_portal::outside::Outside;
use roost_portal::resolver;
use roost_portal::store::{DataFolder, Store, StoreError};
use roost_portal::time::PoweredOn;
use roost_portal::tls::{self, Shown};
use roost_portal::web;
use roost_service::settings::Settings;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub const CODE: &str = "ABCD-EFGH";
pub const PASSWORD: &str = "correct horse battery staple";

pub struct TheBox {
    pub app: Arc<App>,
    pub address: SocketAddr,
    pub certificate: CertificateDer<'static>,
    _folder: TempDir,
    _stop: watch::Sender<bool>,
}

/// Settings of an image without a domain.
pub fn settings() -> Settings {
    serde_json::from_str(
        r#"{"name":"roost","network":{"mode":"dhcp"},"time_servers":["time.example.org"],
            "mail":{"max_message_size":1000000,"spam_filter":true}}"#,
    )
    .unwrap()
}

impl TheBox {
    pub async fn start() -> Self {
        Self::with(Limits::STANDARD, PoweredOn(0), None).await
    }

    /// One whose name server answers there.
    pub async fn with_name_server(at: SocketAddr) -> Self {
        Self::made(Limits::STANDARD, PoweredOn(0), |places| {
            places.name_server = at
        })
        .await
    }

    /// One whose resolver answers at this port of loopback.
    pub async fn with_resolver(port: u16) -> Self {
        Self::made(Limits::STANDARD, PoweredOn(0), |places| {
            places.dns_port = port
        })
        .await
    }

    /// One whose own ports are there.
    pub async fn with_doors(doors: Doors) -> Self {
        Self::made(Limits::STANDARD, PoweredOn(0), |places| {
            places.doors = doors
        })
        .await
    }

    /// One that was powered on for so long after its pairing had begun.
    pub async fn with(limits: Limits, age: PoweredOn, mail: Option<SocketAddr>) -> Self {
        let change = |places: &mut Places| places.mail_http = mail.unwrap_or(places.mail_http);
        Self::made(limits, age, change).await
    }

    /// One whose card says that this computer wrote it.
    pub async fn written_by(computer: Applicant) -> Self {
        let (limits, age) = (Limits::STANDARD, PoweredOn(0));
        Self::made_of(limits, age, |_| {}, Some(computer)).await
    }

    async fn made(limits: Limits, age: PoweredOn, change: impl FnOnce(&mut Places)) -> Self {
        Self::made_of(limits, age, change, None).await
    }

    async fn made_of(
        limits: Limits,
        age: PoweredOn,
        change: impl FnOnce(&mut Places),
        computer: Option<Applicant>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let store = Store::open(&DataFolder(folder.path().into())).unwrap();
        store
            .change(|store| {
                store.begin_pairing(Code::parse(CODE).unwrap(), PoweredOn(0))?;
                store.save_powered_on(age)?;
                Ok::<_, StoreError>(())
            })
            .unwrap();
        let identity = Identity::load_or_make(folder.path(), "roost").unwrap();
        let certificate = identity.certificate.clone();
        let shown = Arc::<Shown>::default();
        let tls = listen::tls(&identity, shown.clone()).unwrap();
        let tls = TlsAcceptor::from(Arc::new(tls));
        let mut places = Places {
            data: folder.path().into(),
            run: folder.path().into(),
            init: path("init.sock"),
            updater: path("updater.sock"),
            backup: path("backup.sock"),
            backup_door: path("backup-door.sock"),
            mail: path("mail.sock"),
            tunnel: path("tunnel.sock"),
            dns: path("dns.sock"),
            certificates: path("certificates.sock"),
            resolver: path("resolver.sock"),
            name_server: SocketAddr::from(([127, 0, 0, 1], 1)),
            mail_http: SocketAddr::from(([127, 0, 0, 1], 1)),
            mail_imaps: SocketAddr::from(([127, 0, 0, 1], 1)),
            resolv_conf: path("resolv.conf"),
            dns_port: resolver::PORT,
            outside: Outside::STANDARD,
            // Nobody is there.
            doors: |_| SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        change(&mut places);
        let card = OfCard {
            code: Some(Code::parse(CODE).unwrap()),
            computer,
        };
        let app = App::new(store, settings(), identity, places, card).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(tls::keep(app.clone(), shown));
        let pages = web::service(web::router(app.clone()));
        tokio::spawn(listen::serve(listener, Some(tls), limits, pages, stopping));
        Self {
            app,
            address,
            certificate,
            _folder: folder,
            _stop: stop,
        }
    }

    /// Somebody at init's socket who knows the time, says yes to everything, and keeps what was asked.
    pub fn with_init(&self) -> Arc<Mutex<Vec<serde_json::Value>>> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = heard.clone();
        let listener = UnixListener::bind(&self.app.places.init).unwrap();
        let status = serde_json::json!({
            "answer": "status", "name": "roost", "version": "1.0.0+7", "slot": 2, "trial_left_s": null,
            "uptime_s": 200.0, "rescue": null, "ready": true, "ready_after_s": 9.0, "clock_synced": true,
            "addresses": ["192.0.2.5/24"], "memory_total": 1_000_000_000_u64,
            "memory_available": 600_000_000_u64, "data_total": 30_000_000_000_u64,
            "data_free": 28_000_000_000_u64, "data_written": 0,
            "services": [{"name": "mail", "state": "starting", "detail": "opens its store", "pid": 9,
                          "restarts": 2, "memory": 1_000_000}]
        });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (from, mut to) = stream.into_split();
                let mut lines = BufReader::new(from).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let asked: serde_json::Value = serde_json::from_str(&line).unwrap();
                    let answer = match asked["op"].as_str() {
                        Some("status") => status.to_string(),
                        Some("logs") => {
                            r#"{"answer":"logs","lines":["one","<b>two</b>"]}"#.to_owned()
                        }
                        _ => {
                            kept.lock().unwrap().push(asked);
                            r#"{"answer":"ok"}"#.to_owned()
                        }
                    };
                    to.write_all(format!("{answer}\n").as_bytes())
                        .await
                        .unwrap();
                }
            }
        });
        tokio::spawn(self.app.clone().tick());
        heard
    }
}
